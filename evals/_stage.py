"""The store before a task, the scripted run of it, and its score."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from mcp import Client

from cs_mcp.connectors.loading import load_source
from cs_mcp.db.store import open_store
from cs_mcp.demo.seed import seed
from cs_mcp.domain.calendar import Clock, FixedClock, SystemClock
from cs_mcp.domain.identity import Role
from cs_mcp.server import build_server
from cs_mcp.services.imports.imports import Imports
from cs_mcp.services.wiring import Services
from cs_mcp.tools._context import FixedCaller
from evals import tasks
from evals._task import After, Hands, Stagehand, Task
from evals._world import World

SECRET = b"evals need no secret: no token is made"
A_DAY = "2026-03-16"  # a Monday: what the scripted run takes for today
COMPANY = "brightline.example"


def clock_at(day: str | None) -> Clock:
    return SystemClock() if day is None else FixedClock(datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=UTC))


def load() -> None:
    """Enter every task of the folder."""
    for module in pkgutil.iter_modules(tasks.__path__):
        importlib.import_module(f"{tasks.__name__}.{module.name}")


@dataclass(frozen=True)
class Score:
    task: Task
    claims: list[tuple[str, bool]]
    calls: list[str]
    failure: str | None = None

    @property
    def passed(self) -> bool:
        return self.failure is None and all(held for _, held in self.claims)

    @property
    def as_json(self) -> dict[str, Any]:
        claims = [{"claim": claim, "holds": held} for claim, held in self.claims]
        told = {"task": self.task.name, "passed": self.passed, "calls": self.calls, "claims": claims}
        return told if self.failure is None else {**told, "failure": self.failure}


@asynccontextmanager
async def opened(file: Path, clock: Clock) -> AsyncGenerator[Services, None]:
    store = await open_store(f"sqlite:///{file}", clock=clock)
    try:
        yield Services(store, SECRET)
    finally:
        await store.close()


async def set_up(folder: Path, clock: Clock) -> World:
    """The demo book and somebody who may only look, once; tasks work on copies of it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "before.db"
    async with opened(file, clock) as services:
        workspace = await seed(services)
        await services.identity.add_member(workspace, name="Vera Lind", email=f"vera@{COMPANY}", role=Role.viewer)
        profile = await services.store.workspace(workspace)
        return World(file, profile.calendar.today(clock.now()))


@dataclass(frozen=True)
class Office:
    """One open store, and the doors into it."""

    services: Services
    workspace: str
    mode: Any

    @asynccontextmanager
    async def door(self, person: str) -> AsyncGenerator[Client, None]:
        who = await self.services.identity.by_email(self.workspace, f"{person}@{COMPANY}", client="evals")
        server = build_server(self.services, FixedCaller(self.services, self.workspace, who.user))
        async with Client(server, mode=self.mode) as client:
            yield client

    async def load(self, files: Mapping[str, str]) -> None:
        operator = await self.services.identity.operator(self.workspace)
        with tempfile.TemporaryDirectory() as folder:
            for name, rows in files.items():
                (Path(folder) / f"{name}.csv").write_text(rows)
            report = await load_source(Imports(self.services.store), operator, Path(folder), source="folder")
        assert not report.stopped, report


@asynccontextmanager
async def office(file: Path, clock: Clock, mode: Any = "auto") -> AsyncGenerator[Office, None]:
    async with opened(file, clock) as services:
        yield Office(services, await services.identity.the_workspace(None), mode)


@dataclass(frozen=True)
class Scene:
    """A task's store as it was found, and the one to work on."""

    before: World
    file: Path

    @property
    def today(self) -> date:
        return self.before.today

    def after(self, answer: str) -> After:
        return After(self.before, World(self.file, self.today), answer)


async def scene_of(task: Task, before: World, folder: Path, clock: Clock) -> Scene:
    file = folder / f"{task.name}.db"
    shutil.copyfile(before.file, file)
    if task.given is None:
        return Scene(before, file)
    async with office(file, clock) as place, place.door(task.person) as client:
        await task.given(Stagehand(client, before.today, place.door, file=file, load=place.load))
    found = folder / f"{task.name}.before.db"
    shutil.copyfile(file, found)
    return Scene(World(found, before.today), file)


async def play(task: Task, scene: Scene, clock: Clock, mode: Any = "auto") -> Score:
    """The scripted caller through the protocol, on a store of its own."""
    failure, answer = None, ""
    async with office(scene.file, clock, mode) as place, place.door(task.person) as client:
        hands = Hands(client, scene.today, place.door)
        try:
            answer = await task.caller(hands) or ""
        except Exception as broke:  # a task that breaks is a task that failed; the others go on
            failure = f"{type(broke).__name__}: {broke}"
    claims = [] if failure else task.verdict(scene.after(answer))
    return Score(task, claims, hands.calls, failure)
