"""Drafts of SQLite tables: rows that are worked out beside the writer, while it writes others.

A draft is a small file with empty tables of the store's names, and a connection that has it for its own and the store
beside it, to read. SQLite finds its own tables first, so a statement that fills a table of the store fills the draft's
there, from the store as it was last committed. The writer knows a draft as a schema, and takes its rows over.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import anyio
from sqlalchemy import MetaData, Table
from sqlalchemy.schema import CreateTable

from cs_mcp.db.store import BUSY_MILLISECONDS, Store
from cs_mcp.db.wire import Wire

_STORE: Final = "store"  # as a draft knows it
_WRITERS: Final = "temp"  # of no file of the store's
# Of the writer's cache, while it knows drafts: what it writes is kept whatever the cache, and what it reads once has
# been read before the next batch comes.
_OF_CACHE: Final = 4
_PRAGMAS: Final = (
    "page_size=32768",  # filled from one end to the other and read so: a twentieth less work than pages of 4096
    f"busy_timeout={BUSY_MILLISECONDS}",
    "journal_mode=off",  # what is in a draft when something breaks is worked out again
    "synchronous=off",
    "cache_size=-4096",
)


@dataclass(frozen=True, slots=True)
class Draft:
    """`schema` is the name the writer knows it by; `wire` writes it."""

    schema: str
    wire: Wire
    tables: tuple[str, ...]

    async def clear(self) -> None:
        for table in self.tables:
            await self.wire.run(f"delete from main.{table}")  # noqa: S608 - our name


@cache
def of_schema(table: Table, schema: str) -> Any:
    """The table as the schema has it."""
    return table.to_metadata(MetaData(), schema=schema)


def of_store(table: Table) -> Any:
    """The store's own table, for a statement of a draft that has one of that name."""
    return of_schema(table, _STORE)


def of_writer(table: Table) -> Any:
    """A table the writer has for itself while it knows drafts."""
    return of_schema(table, _WRITERS)


@asynccontextmanager
async def drafts(
    store: Store, tables: Sequence[Table], own: Sequence[Table]
) -> AsyncGenerator[tuple[Draft, Draft], None]:
    """Two drafts of these tables: one is written while the writer reads the other, which has its `own` tables too."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="cs-mcp-", ignore_cleanup_errors=True)))
        one, other = [await stack.enter_async_context(_opened(store, folder / f"draft_{n}.db", tables)) for n in (1, 2)]
        await stack.enter_async_context(_known_to_writer(store, folder, (one, other), own))
        yield one, other


@asynccontextmanager
async def _opened(store: Store, path: Path, tables: Sequence[Table]) -> AsyncGenerator[Draft, None]:
    import aiosqlite  # only where it is used: who scores on PostgreSQL starts without it

    driver = await aiosqlite.connect(_unlocked(path), isolation_level=None, uri=True)
    try:
        for pragma in _PRAGMAS:
            await driver.execute_fetchall(f"pragma {pragma}")
        await driver.execute_fetchall(f"attach ? as {_STORE}", (f"{store.where.path.resolve().as_uri()}?mode=ro",))
        for table in tables:
            await driver.execute_fetchall(*_created(store, table))
        yield Draft(path.stem, Wire(driver, store.writer.dialect), tuple(table.name for table in tables))
    finally:
        with anyio.CancelScope(shield=True):
            await driver.close()


def _unlocked(path: Path) -> str:
    """A draft without locks: each transaction of the writer holds every file it knows, read or not.

    Nobody else has the file, and it is read in another transaction than it is written in.
    """
    return f"{path.as_uri()}?nolock=1"


@asynccontextmanager
async def _known_to_writer(
    store: Store, folder: Path, known: Sequence[Draft], own: Sequence[Table]
) -> AsyncGenerator[None, None]:
    files = [folder / f"{draft.schema}.db" for draft in known]
    # A writer that spilled pages before its commit would shut drafts out, and then wait for them.
    attached = [(f"attach ? as {file.stem}", (f"{_unlocked(file)}&mode=ro",)) for file in files]
    [[(cache,)]] = await _outside_transactions(store, [("pragma main.cache_size", ())])
    smaller = (f"pragma main.cache_size={cache // _OF_CACHE}", ())
    mine = [_created(store, of_writer(table)) for table in own]
    await _outside_transactions(store, [*attached, ("pragma cache_spill=off", ()), smaller, *mine])
    try:
        if sys.platform != "win32":
            shutil.rmtree(folder)  # so that nothing is left behind when the process is killed
        yield
    finally:
        with anyio.CancelScope(shield=True), contextlib.suppress(sqlite3.OperationalError):
            usual = [("pragma cache_spill=on", ()), (f"pragma main.cache_size={cache}", ())]
            usual += [(f"drop table {_WRITERS}.{table.name}", ()) for table in own]
            await _outside_transactions(store, [*usual, *((f"detach {draft.schema}", ()) for draft in known)])


def _created(store: Store, table: Any) -> tuple[str, tuple[str, ...]]:
    return str(CreateTable(table).compile(dialect=store.writer.dialect)), ()


async def _outside_transactions(store: Store, statements: Sequence[tuple[str, tuple[str, ...]]]) -> list[Any]:
    """What each of them gives back."""
    async with store.writer.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        return [await driver.execute_fetchall(sql, arguments) for sql, arguments in statements]
