"""What a change needs beside it to be read by a person: names for ids, currencies for amounts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from sqlalchemy import select

from cs_mcp.db.base import Base
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.scoped import Scoped, ScopedReads, scope_of
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.identity import Principal

_SAYING: Final[Mapping[str, tuple[str, ...]]] = {
    "member": ("name",),
    "contact": ("name",),
    "account": ("name", "currency"),
    "renewal": ("currency",),
    "subscription": ("currency",),
    "arr_movement": ("currency",),
}
TELLING: Final = frozenset(_SAYING)
Wanted = Mapping[str, set[str]]


def _told(table: str) -> Scoped:
    columns = ("id", *_SAYING[table])

    def build(scope: Any) -> Any:
        rows = Base.metadata.tables[table]
        return select(*(rows.c[name] for name in columns)).where(*scope, any_of(rows.c.id, texts(f"{table}_ids")))

    return Scoped(table, build, removed_too=True)


_TOLD: Final = {table: _told(table) for table in _SAYING}


class Tellings(ScopedReads):
    """Outside a unit of work."""

    async def read(self, principal: Principal, wanted: Wanted) -> dict[str, Row]:
        """By id: `name` and `currency` of records of these tables that the caller may see."""
        tables = sorted(table for table, ids in wanted.items() if ids)
        given = {f"{table}_ids": sorted(wanted[table]) for table in tables}
        found = await self.rows(principal, [_TOLD[table] for table in tables], **given) if tables else []
        return {row["id"]: row for rows in found for row in rows}


async def told_within(work: UnitOfWork, wanted: Wanted) -> dict[str, Row]:
    """The same within a unit of work, its own rows included once flushed."""
    rows: Callable[[Statement, Mapping[str, Any]], Awaitable[list[Row]]] = (await work.wire()).rows
    found: dict[str, Row] = {}
    for table, ids in wanted.items():
        if ids:
            given = scope_of(work.principal) | {f"{table}_ids": sorted(ids)}
            found |= {row["id"]: row for row in await rows(_TOLD[table].seen_by(work.principal), given)}
    return found
