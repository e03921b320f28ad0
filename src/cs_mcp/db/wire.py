"""Statements of a unit of work that need no ORM, on the driver connection of its own transaction.

SQLAlchemy's async cursor costs three to four thread hops a statement on SQLite; the driver's own call costs one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import Dialect
from sqlalchemy.ext.asyncio import AsyncSession

from cs_mcp.db.many_rows import Insertion, Revision
from cs_mcp.db.read_path import Row, Statement

_ROWS_A_MESSAGE: Final = 5_000  # PostgreSQL: bounds what one statement holds in memory
A_PART: Final = 1_000  # rows of a long write that are sent while the next are made ready
A_TURN: Final = 250  # rows that are made ready at a time


@asynccontextmanager
async def alongside() -> AsyncGenerator[Callable[[Coroutine[Any, Any, None]], None]]:
    """What the block starts runs while it does something else, and is done, or has failed, when this ends."""
    tasks: list[asyncio.Task[None]] = []

    def start(work: Coroutine[Any, Any, None]) -> None:
        tasks.append(asyncio.create_task(work))

    try:
        yield start
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    for task in tasks:
        await task


class Wire:
    """The driver connection under a session, inside the session's transaction."""

    def __init__(self, driver: Any, dialect: Dialect) -> None:
        self._driver = driver
        self._dialect = dialect

    @classmethod
    async def of(cls, session: AsyncSession) -> Wire:
        connection = await session.connection()
        raw = await connection.get_raw_connection()
        return cls(raw.driver_connection, connection.dialect)

    @property
    def dialect(self) -> Dialect:
        return self._dialect

    async def rows(self, statement: Statement, given: Mapping[str, Any]) -> list[Row]:
        """What the statement gives back, with typed values."""
        prepared = statement.prepared(self._dialect)
        arguments = prepared.arguments(given)
        if self._dialect.name == "sqlite":
            return prepared.rows(await self._driver.execute_fetchall(prepared.sql, arguments))
        return prepared.rows(await self._driver.fetch(prepared.sql, *arguments))

    async def run(self, sql: str) -> None:
        await self._driver.execute(sql)

    async def standing(self) -> tuple[int, int]:
        """On SQLite: the same pair again where nobody wrote in between, neither this connection nor another."""
        [(others,)] = await self._driver.execute_fetchall("pragma data_version")
        return others, self._driver.total_changes

    async def many(self, statement: Statement, given: Sequence[Mapping[str, Any]]) -> None:
        """The statement once for each set of values."""
        prepared = statement.prepared(self._dialect)
        arguments = prepared.arguments_of_all(given)
        if self._dialect.name != "sqlite":
            await self._driver.executemany(prepared.sql, arguments)
        else:
            await self._row_by_row(prepared.sql, arguments)

    async def changed(self, statement: Statement, given: Mapping[str, Any]) -> int:
        """How many rows the statement changed. On PostgreSQL."""
        prepared = statement.prepared(self._dialect)
        told: str = await self._driver.execute(prepared.sql, *prepared.arguments(given))
        return int(told.rpartition(" ")[2])

    async def insert(self, insertion: Insertion, given: Mapping[str, Sequence[Any]]) -> None:
        """Rows, given as the values of each column of the table."""
        shape = insertion.shape(self._dialect)
        columns = shape.columns(given)
        count = len(columns[0])
        if self._dialect.name != "sqlite":
            for start in range(0, count, _ROWS_A_MESSAGE):
                sql, values = shape.at_once([column[start : start + _ROWS_A_MESSAGE] for column in columns])
                await self._driver.execute(sql, *values)
            return
        if count:
            await self._row_by_row(shape.of_a_row, list(zip(*columns, strict=True)))

    async def revise(self, revision: Revision, workspace: str, given: Mapping[str, Sequence[Any]]) -> None:
        """New values for rows of the workspace, given as the revision says."""
        shape = revision.shape(self._dialect)
        columns = shape.columns(given)
        count = len(columns[0])
        if self._dialect.name == "sqlite":
            await self._row_by_row(shape.of_a_row, list(zip(*columns, [workspace] * count, strict=True)))
            return
        for start in range(0, count, _ROWS_A_MESSAGE):
            sql, values = shape.at_once([column[start : start + _ROWS_A_MESSAGE] for column in columns])
            await self._driver.execute(sql, *values, workspace)

    @asynccontextmanager
    async def beside(self, statement: Coroutine[Any, Any, None]) -> AsyncGenerator[None, None]:
        """Run a statement while the block makes ready what follows; it is done, or has failed, when this ends.

        A long block awaits `asyncio.sleep(0)` now and then: a long message goes out in parts.

        PostgreSQL works in a process of its own. SQLite works in a thread of this one, which would wait after each
        row until the block lets go of the interpreter: there the statement comes first.
        """
        if self._dialect.name == "sqlite":
            await statement
            yield
            return
        async with alongside() as start:
            start(statement)
            await asyncio.sleep(0)  # on its way
            yield

    async def _row_by_row(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """On SQLite. One row alone costs one hop to the driver's thread, `executemany` two."""
        if len(rows) == 1:
            await self._driver.execute_fetchall(sql, rows[0])
        else:
            await (await self._driver.executemany(sql, rows)).close()
