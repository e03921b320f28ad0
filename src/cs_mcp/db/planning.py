"""How PostgreSQL is to join within one transaction, where it cannot know better. SQLite is left alone.

Tables just imported have no statistics, and row-level security hides how many rows a condition leaves: it then takes
ten thousand rows for one and joins tables row against row.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from cs_mcp.db.unit_of_work import UnitOfWork

_FOR_BATCHES: Final = "; ".join(
    (
        "set local jit = off",
        "set local plan_cache_mode = force_custom_plan",
        "set local random_page_cost = 1",  # rows of a batch lie beside each other, so it is read by its range alone
        "set local work_mem = '64MB'",  # ten thousand rows are sorted and hashed in memory
        # What a crash loses of a run is scored again: it is over with `finish_run`, which waits for all before it.
        "set local synchronous_commit = off",
    )
)
_HASHING: Final = "set local enable_nestloop = off"
_MERGING: Final = "set local enable_nestloop = off; set local enable_hashjoin = off"
_HASHED: Final = "set local enable_hashjoin = on"
_BY_KEYS: Final = "set local enable_nestloop = on"


async def for_batches(work: UnitOfWork) -> None:
    """Each statement is planned for the batch at hand."""
    await _set(work, _FOR_BATCHES)


async def hashing(work: UnitOfWork) -> None:
    """What follows joins many rows with many: none of them by a nested loop."""
    await _set(work, _HASHING)


@asynccontextmanager
async def merging(work: UnitOfWork) -> AsyncGenerator[None, None]:
    """What the block joins comes in one order from each side; what follows is as for `hashing`."""
    await _set(work, _MERGING)
    yield
    await _set(work, _HASHED)


async def by_keys(work: UnitOfWork) -> None:
    """What follows looks rows up one by one."""
    await _set(work, _BY_KEYS)


async def _set(work: UnitOfWork, settings: str) -> None:
    wire = await work.wire()
    if wire.dialect.name == "postgresql":
        await wire.run(settings)
