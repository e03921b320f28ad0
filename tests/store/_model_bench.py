"""A store with a fresh workspace for each example, and every row of it read past the code under test."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from book import Desk
from sqlalchemy import Engine, bindparam, create_engine, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from conftest import NOW, SECRET, Postgres
from cs_mcp.db.base import Base
from cs_mcp.db.store import Store, open_store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.identity import Role
from cs_mcp.services.wiring import Services

PEOPLE = {"ada": Role.admin, "lea": Role.cs_leader, "ana": Role.csm, "kim": Role.account_manager}
PLAN = {
    name: select(table).where(table.c.workspace == bindparam("here")).order_by(*table.primary_key)
    for name, table in Base.metadata.tables.items()
    if "workspace" in table.c
}
Tables = dict[str, list[dict[str, Any]]]


class Bench:
    """One event loop, held for all examples: a driver's connections belong to the loop they were opened in."""

    store: Store
    services: Services
    workspace: str

    def __init__(self, runner: asyncio.Runner, folder: Path, template: Path) -> None:
        self._runner = runner
        self._folder = folder
        self._template = template
        self._founded: str | None = None
        self._examples = 0

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    def _open(self, url: str) -> None:
        self.store = self.run(open_store(url, clock=FixedClock(NOW), pool_size=2))
        self.services = Services(self.store, SECRET)

    def begin(self) -> dict[str, Desk]:
        """A workspace nobody has written to yet; its people at their desks. Lea leads Ana, Kim sees her own."""
        # A SQLite file holds one workspace: each example has a copy of one that was founded once.
        if self._founded is None:
            self._open(f"sqlite:///{shutil.copy(self._template, self._folder / 'founded.db')}")
            self._founded = self.run(self._found())
            self.run(self.store.close())
        self.workspace = self._founded
        self._examples += 1
        path = shutil.copy(self._folder / "founded.db", self._folder / f"{self._examples}.db")
        self._open(f"sqlite:///{path}")
        self._eyes: Engine = create_engine(f"sqlite:///{path}")
        self._looking = self._eyes.connect()
        return self.run(self._desks())

    async def _found(self) -> str:
        identity = self.services.identity
        workspace = await identity.found_workspace(name="Acme Software")
        for name, role in PEOPLE.items():
            manager = "lea@acme.example" if name == "ana" else None
            await identity.add_member(
                workspace, name=name.title(), email=f"{name}@acme.example", role=role, manager=manager
            )
        return workspace

    async def _desks(self) -> dict[str, Desk]:
        by_email = self.services.identity.by_email
        return {
            name: Desk(self.services, await by_email(self.workspace, f"{name}@acme.example", client="test"))
            for name in PEOPLE
        }

    def rows(self) -> Tables:
        """Every row of the workspace, by table."""
        found = {
            name: [dict(row) for row in self._looking.execute(wanted, {"here": self.workspace}).mappings()]
            for name, wanted in PLAN.items()
        }
        self._looking.rollback()
        return found

    def end(self) -> None:
        self._looking.close()
        self._eyes.dispose()
        self.run(self.store.close())

    def close(self) -> None:
        """After the last example."""


class PostgresBench(Bench):
    """One database for all examples, each in its workspace; read as its owner, past the wall."""

    def __init__(self, runner: asyncio.Runner, postgres: Postgres, database: str) -> None:
        self._runner = runner
        self._open(postgres.app(database))
        url = postgres.owner(database).replace("postgresql:", "postgresql+asyncpg:")
        self._owner: AsyncEngine = create_async_engine(url)

    def begin(self) -> dict[str, Desk]:
        self.workspace = self.run(self._found())
        return self.run(self._desks())

    def rows(self) -> Tables:
        return self.run(self._read())

    async def _read(self) -> Tables:
        async with self._owner.connect() as connection:
            return {
                name: [dict(row) for row in (await connection.execute(wanted, {"here": self.workspace})).mappings()]
                for name, wanted in PLAN.items()
            }

    def end(self) -> None:
        pass

    def close(self) -> None:
        self.run(self._owner.dispose())
        self.run(self.store.close())
