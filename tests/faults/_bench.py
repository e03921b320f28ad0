"""A store to be maltreated: writes with a failure armed, and looks at it from outside."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, cast

import asyncpg

from conftest import APP_ROLE, NOW, SECRET, Team, new_team
from cs_mcp.db.base import Base
from cs_mcp.db.store import Store, open_store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.contract import Command
from cs_mcp.domain.identity import Principal
from cs_mcp.services.accounts.accounts import CreateAccount
from cs_mcp.services.history.changes import CommitPlan
from cs_mcp.services.wiring import Services

from ._injection import Boundary, How, Injection
from ._oracle import Effect

PATIENCE = 10.0  # seconds after which the store counts as stuck

WHOLE_MEETING: Effect = Counter(
    {
        ("meeting", "created"): 2,
        ("contact", "created"): 1,
        ("contact", "updated"): 1,
        ("sponsorship", "created"): 1,
        ("sponsorship", "updated"): 1,
        ("health_note", "created"): 1,
        ("task", "created"): 2,
    }
)


def a_meeting(key: str, account: str = "Globex") -> dict[str, Any]:
    """With all it can set off: the next meeting, a note, tasks, and a new champion in the seat of the one before."""
    return {
        "account": account,
        "kind": "qbr",
        "summary": f"Summary {key}",
        "attendees": [{"name": f"Guest {key}", "title": "CFO"}, {"user": "me"}],
        "health_note": {"text": f"Note {key}"},
        "news": [{"contact": f"Guest {key}", "news": "champion"}],
        "follow_ups": [{"title": f"Follow-up of {key}"}, {"title": "Another", "purpose": key}],
        "next_meeting": {"kind": "check_in", "on": "2026-04-20"},
        "idempotency_key": key,
        "reason": key,
    }


class Look(NamedTuple):
    fingerprint: str
    counts: dict[str, int]


def as_owner(url: str) -> str:
    """The same store past the wall."""
    return url.replace(f"{APP_ROLE}@", "postgres@")


class Bench:
    """A store with a boundary for failures, and a way to look at it from outside."""

    def __init__(self, url: str, *, pool_size: int = 2) -> None:
        self.url = url
        self._pool_size = pool_size
        self._admin: Any = None  # asyncpg knows few types
        self.numbers = itertools.count(1)
        self.account = "Globex"

    async def open(self) -> None:
        self.store: Store = await open_store(self.url, clock=FixedClock(NOW), pool_size=self._pool_size)
        self.boundary = await Boundary.on(self.store)
        self.services = Services(self.store, SECRET)

    async def populate(self) -> None:
        await self.open()
        if self.store.dialect == "postgresql":
            self._admin = await cast("Any", asyncpg).connect(as_owner(self.url))
        else:  # one for all looks: to open a file is to read its whole schema
            self._file = sqlite3.connect(self.store.where.path, timeout=2, isolation_level=None)
        self.team: Team = await new_team(self.services)
        self.workspace = self.team.workspace
        self.ada: Principal = await self.team.principal("ada")
        for name in ("Globex", "Initech"):
            await self.services.writes.perform(self.ada, CreateAccount(name=name))

    async def close(self) -> None:
        await self.store.close()
        if self._admin is not None:
            await self._admin.close()
        else:
            self._file.close()

    async def turn_to_a_new_account(self) -> None:
        """So that an account's records stay as few as they are in life."""
        self.account = f"Globex {next(self.numbers)}"
        await self.perform(CreateAccount(name=self.account))

    async def reopen(self) -> None:
        """After a fault the store may be stuck: the points that follow are judged on a new one."""
        await self.boundary.cut()
        await self.open()

    async def perform(self, command: Command) -> Any:
        if isinstance(command, CommitPlan):
            return await self.services.changes.decide(self.ada, command)
        return await self.services.writes.perform(self.ada, command)

    async def inject(self, command: Command, how: How, at: int) -> tuple[Injection, Any, BaseException | None]:
        """Perform a command whose `at`th call to the driver fails; its answer, or what it raised."""
        return await self.inject_into(lambda: self.perform(command), how, at)

    async def inject_into(
        self, call: Callable[[], Awaitable[Any]], how: How, at: int
    ) -> tuple[Injection, Any, BaseException | None]:
        injection = Injection(self.store, how, at, self.terminate if self._admin is not None else None)

        async def attempt() -> Any:
            with injection.scope:
                return await call()

        self.boundary.armed = injection
        injection.task = asyncio.create_task(attempt())
        try:
            return injection, await asyncio.wait_for(asyncio.shield(injection.task), PATIENCE), None
        except (Exception, asyncio.CancelledError) as failure:
            return injection, None, failure
        finally:
            self.boundary.armed = None

    async def terminate(self, pid: int) -> None:
        assert self._admin is not None
        await self._admin.execute("select pg_terminate_backend($1)", pid)
        while await self._admin.fetchval("select 1 from pg_stat_activity where pid = $1", pid):
            await asyncio.sleep(0.001)

    # -- from outside -----------------------------------------------------------------------------------------
    async def look(self) -> Look:
        """The store as it is now: a fingerprint of all it holds, and how many rows each table has."""
        tables = [name for name, table in Base.metadata.tables.items() if "workspace" in table.c]
        if self._admin is not None:
            columns = ", ".join(
                f'(select count(*) from "{name}" where workspace = $1), '
                f"(select md5(string_agg(t::text, '' order by t::text)) from \"{name}\" t where workspace = $1)"
                for name in tables
            )
            row = await self._admin.fetchrow(f"select {columns}", self.workspace)
            assert row is not None
            return Look(repr(row[1::2]), dict(zip(tables, row[0::2], strict=True)))
        counts = ", ".join(f'(select count(*) from "{name}")' for name in tables)
        [row] = self._file.execute(f"select {counts}").fetchall()  # to its end: a read left open would hold the file
        held = self.store.where.path.read_bytes()
        return Look(hashlib.sha256(held).hexdigest(), dict(zip(tables, row, strict=True)))

    async def unhealthy(self) -> str | None:
        """What the failed write left in the way of the next: connections in use, open transactions, locks."""
        if (used := self.store.writer.pool.checkedout()) != 0:  # type: ignore[attr-defined]
            return f"{used} connections were not given back"
        if self._admin is not None:
            open_ = 0
            for _ in range(200):  # a server takes a moment to see that a connection is gone
                open_ = await self._admin.fetchval(
                    "select count(*) from pg_stat_activity where datname = current_database() "
                    "and usename = $1 and state like 'idle in transaction%'",
                    APP_ROLE,
                )
                if not open_:
                    return None
                await asyncio.sleep(0.01)
            return f"{open_} transactions are still open"
        try:
            self._file.execute("begin exclusive")
            self._file.execute("rollback")
        except sqlite3.OperationalError as locked:
            return f"the file is still held: {locked}"
        return None

    async def effects(self, key: str) -> list[Effect]:
        """What was written under a key (it is the reason too): one effect for each change."""
        sql = "select change_id, entity, kind from change where workspace = {} and reason = {}"
        rows: list[Any]
        if self._admin is not None:
            rows = await self._admin.fetch(sql.format("$1", "$2"), self.workspace, key)
        else:
            rows = self._file.execute(sql.format("?", "?"), (self.workspace, key)).fetchall()
        found: dict[str, Effect] = {}
        for change, entity, kind in rows:
            found.setdefault(change, Counter())[entity, kind] += 1
        return list(found.values())


@asynccontextmanager
async def a_bench(url: str, *, pool_size: int = 2) -> AsyncGenerator[Bench]:
    made = Bench(url, pool_size=pool_size)
    await made.populate()
    yield made
    await made.close()
