"""Failures at the driver's own calls: whatever reaches SQLite or PostgreSQL passes here, and the Nth of them fails.

On SQLite that is `aiosqlite.Connection._execute`, the one way to its thread, for SQLAlchemy's cursors and for
`cs_mcp.db.wire` alike. On PostgreSQL it is the protocol object below asyncpg's connection: one call is one message
to the server. Reads outside the unit of work count too.
"""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import weakref
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any

import anyio
import asyncpg
from sqlalchemy import event

from cs_mcp.db.store import Store


class How(StrEnum):
    raises_before = "raises before"
    raises_after = "raises after"
    busy = "asks to try again"  # a failure that the store may meet by running the whole unit again
    cancelled_before = "cancelled before"
    cancelled_during = "cancelled during"
    # Cancelled after a call is cancelled during the next one: the await where it arrives.
    task_cancelled = "task cancelled during"  # by Task.cancel(), which anyio's shields do not hold off
    lost_before = "connection lost before"
    lost_after = "connection lost after"
    lost_during = "connection lost during"  # the server did it, and its answer never came; PostgreSQL only


class Injection:
    """Counts the driver's calls while a write runs, and makes one of them fail."""

    def __init__(self, store: Store, how: How, at: int, terminate: Callable[[int], Awaitable[None]] | None) -> None:
        self._store = store
        self.how = how
        self._at = at
        self._terminate = terminate
        self.calls: list[str] = []
        self.committed = False
        self.scope = anyio.CancelScope()
        self.task: asyncio.Task[Any] | None = None
        self._failing = False

    @property
    def reached(self) -> bool:
        return len(self.calls) >= self._at

    @property
    def where(self) -> str:
        return self.calls[self._at - 1]

    async def around(self, name: str, driver: Any, call: Callable[[], Awaitable[Any]]) -> Any:
        if self._failing or self.reached:  # what the store does about the failure is left alone
            return await self._noting_commits(name, call)
        self.calls.append(name)
        if not self.reached:
            return await self._noting_commits(name, call)
        match self.how:
            case How.raises_before:
                raise self._failure()
            case How.raises_after:
                await self._noting_commits(name, call)
                raise self._failure()
            case How.busy:
                raise self._busy()
            case How.cancelled_before:
                self.scope.cancel()
                await asyncio.sleep(0)
                return await self._noting_commits(name, call)
            case How.cancelled_during:
                asyncio.get_running_loop().call_soon(self.scope.cancel)
                return await self._noting_commits(name, call)
            case How.task_cancelled:
                assert self.task is not None
                asyncio.get_running_loop().call_soon(self.task.cancel)
                return await self._noting_commits(name, call)
            case How.lost_before:
                await self._lose(driver)
                return await self._noting_commits(name, call)
            case How.lost_after:
                answer = await self._noting_commits(name, call)
                await self._lose(driver)
                return answer
            case How.lost_during:
                await self._noting_commits(name, call)
                await self._lose(driver)
                while not driver.is_closed():
                    await asyncio.sleep(0.001)
                raise asyncpg.exceptions.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    async def _noting_commits(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        if name.lower().startswith("commit"):
            self.committed = True  # from here on the outcome may be either
        return await call()

    def _failure(self) -> Exception:
        if self._store.dialect == "sqlite":
            return sqlite3.OperationalError("disk I/O error")
        return asyncpg.exceptions.InternalServerError("injected")

    def _busy(self) -> Exception:
        if self._store.dialect == "sqlite":
            return sqlite3.OperationalError("database is locked")
        return asyncpg.exceptions.SerializationError("could not serialize access")

    async def _lose(self, driver: Any) -> None:
        self._failing = True
        try:
            if self._store.dialect == "sqlite":
                # Open cursors would keep the transaction alive in a closed connection; a lost one keeps nothing.
                for cursor in driver.cursors:
                    await driver._execute(cursor.close)
                await driver.rollback()
                await driver.close()
            else:
                assert self._terminate is not None
                await self._terminate(driver.get_server_pid())
        finally:
            self._failing = False


class Boundary:
    """Installed once on a store; lets calls through until an injection is armed."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.armed: Injection | None = None
        self._drivers: list[Any] = []

    async def cut(self) -> None:
        """Close every driver connection there ever was, whatever the pool knows of it."""
        gc.collect()  # cursors in the frames of failures
        for driver in self._drivers:
            if self.store.dialect == "postgresql":
                driver.terminate()
            elif driver._connection is not None:
                await driver.rollback()
                await driver.close()

    @classmethod
    async def on(cls, store: Store) -> Boundary:
        boundary = cls(store)
        await store.writer.dispose()  # connections from before would pass by

        @event.listens_for(store.writer.sync_engine, "connect")
        def _wrap(adapted: Any, _record: Any) -> None:
            boundary._wrap_driver(adapted.driver_connection)

        if store.dialect == "sqlite":
            # Reads have a synchronous driver in threads of its own; the whole read is one point.
            run = store.reads.run

            async def _run(statements: Any, given: Any) -> Any:
                return await boundary.around("read", None, lambda: run(statements, given))

            store.reads.run = _run
        return boundary

    async def around(self, name: str, driver: Any, call: Callable[[], Awaitable[Any]]) -> Any:
        if self.armed is None or (
            driver is None and self.armed.how in (How.lost_before, How.lost_after, How.lost_during)
        ):
            return await call()
        return await self.armed.around(name, driver, call)

    def _wrap_driver(self, driver: Any) -> None:
        self._drivers.append(driver)
        if self.store.dialect == "sqlite":
            execute = driver._execute
            driver.cursors = weakref.WeakSet()

            async def _execute(function: Any, *args: Any, **named: Any) -> Any:
                said = args[0] if args and isinstance(args[0], str) else ""
                name = f"{function.__name__.strip('_')} {said[:60]}".strip()
                if isinstance(owner := getattr(function, "__self__", None), sqlite3.Cursor):
                    driver.cursors.add(owner)
                return await self.around(name, driver, lambda: execute(function, *args, **named))

            driver._execute = _execute
        else:
            driver._protocol = _Protocol(self, driver, driver._protocol)


class _Protocol:
    """asyncpg's protocol with its messages to the server counted."""

    _MESSAGES = frozenset({"prepare", "bind_execute", "bind_execute_many", "bind", "execute", "query"})

    def __init__(self, boundary: Boundary, driver: Any, protocol: Any) -> None:
        self._boundary = boundary
        self._driver = driver
        self._real = protocol

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if name not in self._MESSAGES:
            return real

        async def _send(*args: Any, **named: Any) -> Any:
            if name in ("prepare", "query"):
                text = args[0] if name == "query" else args[1]
            else:
                text = (named["state"] if "state" in named else args[0]).query
            said = f"{name} {text[:60]}" if name != "query" else text[:60]
            return await self._boundary.around(said, self._driver, lambda: real(*args, **named))

        return _send
