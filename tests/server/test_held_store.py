"""A SQLite file that another program holds: waited for, then told in words."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from conftest import SECRET, Team, new_team
from cs_mcp.db.store import open_store
from cs_mcp.services.wiring import Services

from ._client import Desk, Desks


@pytest.fixture
async def impatient(sqlite_url: str) -> AsyncIterator[Team]:
    """A team whose store waits 50 ms for a lock."""
    store = await open_store(sqlite_url, busy_milliseconds=50)
    yield await new_team(Services(store, SECRET))
    await store.close()


@pytest.fixture
def other_program(sqlite_url: str, impatient: Team) -> sqlite3.Connection:
    return sqlite3.connect(Path(sqlite_url.removeprefix("sqlite:///")), isolation_level=None, check_same_thread=False)


@pytest.fixture
async def ana(desks: Desks, impatient: Team) -> Desk:
    return await desks.of(impatient, "ana")


async def test_a_write_goes_through_once_the_file_is_free(ana: Desk, other_program: sqlite3.Connection) -> None:
    other_program.execute("begin immediate")

    async def lets_go() -> None:
        await asyncio.sleep(0.12)  # longer than one attempt waits
        other_program.execute("rollback")

    freed = asyncio.create_task(lets_go())
    await ana.account("Globex")
    await freed

    assert (await ana.done("find_accounts"))["total"] == 1


async def test_who_waited_in_vain_is_told_so_and_nothing_was_written(
    ana: Desk, other_program: sqlite3.Connection
) -> None:
    other_program.execute("begin immediate")
    written = await ana.refused("create_account", name="Globex")
    other_program.execute("rollback")
    other_program.execute("begin exclusive")
    read = await ana.refused("find_accounts")
    other_program.execute("rollback")

    assert written.startswith("Others held the store the whole time that a write waits for them. Nothing was done.")
    assert "Another program held the store's file" in read
    assert "Call again" in written
    assert "Call again" in read
    assert (await ana.done("find_accounts"))["total"] == 0
