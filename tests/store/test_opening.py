"""A store is opened at this code's schema by who may, or refused with what to do."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from book import as_owner, owner_url
from sqlalchemy import Column, Connection, String, create_engine, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import CreateIndex

import cs_mcp.db.store
from conftest import APP_ROLE, SECRET, Postgres, clone_database
from cs_mcp.db.base import Base
from cs_mcp.db.migrations import HEAD, REVISIONS
from cs_mcp.db.search import SHELVES
from cs_mcp.db.store import Store, StoreUrl, check_journal, is_wal_file, open_store, wal_is_safe
from cs_mcp.db.upgrade import alembic_config, upgrade_postgres
from cs_mcp.domain.errors import Invalid, StoreUnusable
from cs_mcp.services.wiring import Services


async def refusal(url: str) -> StoreUnusable:
    with pytest.raises(StoreUnusable) as refused:
        await open_store(url)
    assert refused.value.remedy
    return refused.value


@pytest.fixture
async def database(postgres: Postgres) -> str:
    """A PostgreSQL database of this test's own, with the schema."""
    name = f"opening_{uuid4().hex[:12]}"
    await clone_database(postgres, name)
    return name


async def administer(postgres: Postgres, *statements: str, database: str = "postgres") -> None:
    connection = await asyncpg.connect(postgres.owner(database))
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


# -- addresses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["nonsense", "", "postgresql://HOST:port/cs", "//", "sqlite:store.db"])
async def test_an_address_that_names_no_store_is_refused_with_the_form_of_one(address: str) -> None:
    refused = await refusal(address)

    assert refused.message == f"{address!r} does not name a store."
    assert "sqlite:///path/to/file.db" in refused.remedy


async def test_a_password_in_a_wrong_address_is_not_told() -> None:
    assert "S3CR3T" not in str(await refusal("postgresql:/cs_app:S3CR3T@HOST/cs"))


# -- schemas ----------------------------------------------------------------------------------------------------


def test_the_head_named_in_code_is_alembics() -> None:
    scripts = ScriptDirectory.from_config(alembic_config())

    assert scripts.get_heads() == [HEAD]
    assert [script.revision for script in scripts.walk_revisions()] == list(reversed(REVISIONS))


# Alembic reads an index with a DESC column only approximately on SQLite.
DESCENDING = "ix_account_arr"
OF_POSTGRESQL = ("ix_usage_day_by_day", "ix_usage_day_departments", "ix_account_kind")
OF_SQLITE = "ix_account_list"


def differences(connection: Connection) -> list[object]:
    def compared(_item: object, name: str | None, _kind: str, _reflected: bool, _other: object) -> bool:
        if connection.dialect.name != "sqlite":
            return name not in {"step", OF_SQLITE} | {f"gin_{shelf}" for shelf in SHELVES}
        # FTS5 keeps tables of its own beside the one it indexes.
        return name not in (DESCENDING, *OF_POSTGRESQL) and not (name or "").startswith(
            tuple(f"{shelf}_index" for shelf in SHELVES)
        )

    options = {"compare_type": True, "include_object": compared}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))


# What Alembic does not compare.
COLLATED = """
select c.relname || '.' || a.attname, l.collname from pg_attribute a
join pg_class c on c.oid = a.attrelid and c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace
join pg_collation l on l.oid = a.attcollation and l.collname <> 'default'
where not a.attisdropped
"""


def described_collations() -> dict[str, str]:
    kinds = {str(column): column.type.dialect_impl(postgresql.dialect()) for column in columns_of_all()}
    return {name: kind.collation for name, kind in kinds.items() if isinstance(kind, String) and kind.collation}


def columns_of_all() -> list[Column[Any]]:
    return [column for table in Base.metadata.tables.values() for column in table.c]


def test_every_id_is_compared_byte_by_byte_on_postgresql() -> None:
    ids = {str(column) for column in columns_of_all() if re.fullmatch(r"workspace|id|\w+_id", column.name)}
    keys = {str(key.parent) for column in columns_of_all() for key in column.foreign_keys}
    keys |= {str(key.column) for column in columns_of_all() for key in column.foreign_keys}

    assert keys
    assert {name: described_collations().get(name) for name in ids | keys} == dict.fromkeys(ids | keys, "C")


async def test_the_migrated_schema_is_the_one_the_code_describes(store: Store) -> None:
    if not store.where.is_sqlite:
        admin = create_async_engine(owner_url(store).set(drivername="postgresql+asyncpg"))
        async with admin.connect() as connection:
            assert await connection.run_sync(differences) == []
            assert dict((await connection.execute(text(COLLATED))).all()) == described_collations()
        await admin.dispose()
        return
    engine = create_engine(f"sqlite:///{store.where.path}")
    with engine.connect() as connection:
        assert differences(connection) == []
        wanted = "select sql from sqlite_master where name = ?"
        migrated = connection.exec_driver_sql(wanted, (DESCENDING,)).scalar_one()
    [described] = [index for index in Base.metadata.tables["account"].indexes if index.name == DESCENDING]
    assert migrated == str(CreateIndex(described).compile(engine))
    engine.dispose()


async def test_a_sqlite_file_of_a_newer_schema_is_refused(sqlite_url: str) -> None:
    store = await open_store(sqlite_url)
    await as_owner(store, "update alembic_version set version_num = '9999'")
    await store.close()

    assert str(await refusal(sqlite_url)) == (
        f"The store has schema 9999, which this version of cs-mcp (schema {HEAD}) does not know. "
        "Upgrade cs-mcp to the version that wrote the store, or open another store."
    )


async def test_a_postgresql_database_of_a_newer_schema_is_refused(postgres: Postgres, database: str) -> None:
    await administer(postgres, "update alembic_version set version_num = '9999'", database=database)

    assert str(await refusal(postgres.app(database))) == (
        f"The store has schema 9999, which this version of cs-mcp (schema {HEAD}) does not know. "
        "Upgrade cs-mcp to the version that wrote the store, or open another store."
    )
    with pytest.raises(StoreUnusable, match="schema 9999"):
        await upgrade_postgres(StoreUrl.parse(postgres.owner(database)), StoreUrl.parse(postgres.app(database)))


async def test_an_empty_postgresql_database_is_sent_to_upgrade(postgres: Postgres) -> None:
    name = f"empty_{uuid4().hex[:12]}"
    await administer(postgres, f"create database {name}")

    refused = await refusal(postgres.app(name))

    assert refused.message == "The PostgreSQL database has no cs_mcp schema yet."
    assert "cs-mcp db upgrade --admin-db" in refused.remedy


async def test_upgrading_twice_and_at_once_is_harmless(postgres: Postgres) -> None:
    name = f"twice_{uuid4().hex[:12]}"
    await administer(postgres, f"create database {name}")
    admin, app = StoreUrl.parse(postgres.owner(name)), StoreUrl.parse(postgres.app(name))

    done = await asyncio.gather(*(upgrade_postgres(admin, app) for _ in range(3)))

    assert sorted(str(upgraded.before) for upgraded in done) == [HEAD, HEAD, "None"]
    store = await open_store(postgres.app(name))
    assert await store.workspaces() == []
    await store.close()


# -- files --------------------------------------------------------------------------------------------------------


async def test_a_missing_file_is_made_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "store.db"

    store = await open_store(f"sqlite:///{path}")
    await Services(store, SECRET).identity.found_workspace(name="Acme")
    await store.close()

    assert path.exists()
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_a_file_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    with sqlite3.connect(path) as other:
        other.execute("create table photo (name text)")
    other.close()
    before = path.read_bytes()

    refused = await refusal(f"sqlite:///{path}")

    assert str(refused) == f"{path} is a SQLite file of something else. Name another file with --db or CS_MCP_DB."
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Buy milk.\n" * 100)

    assert "cannot be read as a SQLite file" in (await refusal(f"sqlite:///{path}")).message


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://localhost/cs", "The store 'mysql' is not supported."),
        ("sqlite://", "The SQLite store needs a file."),
        ("sqlite:///:memory:", "The SQLite store needs a file."),
    ],
)
async def test_an_address_that_names_no_store_is_refused(url: str, said: str) -> None:
    assert (await refusal(url)).message == said


OPEN = """
import asyncio, json, sys
from cs_mcp.db.store import open_store

async def main():
    store = await open_store(sys.argv[1])
    print(json.dumps([store.journal_mode, await store.workspaces()]))
    await store.close()

asyncio.run(main())
"""


async def test_eight_processes_open_a_fresh_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "fresh.db"
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", OPEN, f"sqlite:///{path}"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(8)
    ]

    outcomes = await asyncio.gather(*(process.communicate() for process in processes))

    assert [(json.loads(out or "null"), err.decode()) for out, err in outcomes] == [(["truncate", []], "")] * 8
    with sqlite3.connect(path) as check:
        assert check.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert check.execute("select version_num from alembic_version").fetchall() == [(HEAD,)]
    check.close()


# -- the journal --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 44, 99), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 0), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((4, 0, 0), True),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_wal_is_safe_from_the_fix_on(version: tuple[int, ...], safe: bool) -> None:
    assert wal_is_safe(version) is safe


def in_wal_mode(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("pragma journal_mode=wal")
    connection.close()


@pytest.fixture
def affected(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a Python whose SQLite has the bug."""
    monkeypatch.setattr(cs_mcp.db.store, "wal_is_safe", lambda: False)


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a Python whose SQLite has the fix."""
    monkeypatch.setattr(cs_mcp.db.store, "wal_is_safe", lambda: True)


@pytest.mark.usefixtures("affected")
async def test_an_affected_sqlite_refuses_a_file_left_in_wal_mode(sqlite_url: str) -> None:
    path = StoreUrl.parse(sqlite_url).path
    in_wal_mode(path)
    assert is_wal_file(path)

    refused = await refusal(sqlite_url)

    assert refused.message.startswith(f"{path} is in WAL mode")
    assert "PRAGMA journal_mode=truncate" in refused.remedy
    assert is_wal_file(path)


@pytest.mark.usefixtures("affected")
def test_an_affected_sqlite_refuses_to_be_put_in_wal_mode(tmp_path: Path) -> None:
    assert check_journal(tmp_path / "none.db", "auto") == "truncate"
    with pytest.raises(StoreUnusable, match="can lose commits"):
        check_journal(tmp_path / "none.db", "wal")


@pytest.mark.usefixtures("fixed")
async def test_a_fixed_sqlite_runs_in_the_mode_asked_for(sqlite_url: str) -> None:
    path = StoreUrl.parse(sqlite_url).path
    modes: list[tuple[str, bool]] = []
    for wanted in ("auto", "wal", "truncate"):
        store = await open_store(sqlite_url, sqlite_journal=wanted)
        await store.workspaces()
        await store.close()
        modes.append((store.journal_mode, is_wal_file(path)))

    assert modes == [("truncate", False), ("wal", True), ("truncate", False)]


# -- roles --------------------------------------------------------------------------------------------------------


async def test_postgresql_is_not_served_as_its_superuser(postgres: Postgres, database: str) -> None:
    refused = await refusal(postgres.owner(database))

    assert refused.message == (
        "The role 'postgres' stands above row-level security, so one workspace could read another's."
    )
    assert "cs-mcp db upgrade" in refused.remedy


async def test_postgresql_is_not_served_by_a_role_that_passes_the_wall(postgres: Postgres, database: str) -> None:
    role = f"passing_{uuid4().hex[:8]}"
    await administer(postgres, f"create role {role} login bypassrls in role {APP_ROLE}")

    refused = await refusal(postgres.app(database).replace(APP_ROLE, role))

    assert refused.message.startswith(f"The role '{role}' stands above row-level security")


async def test_postgresql_is_not_served_as_the_owner_of_the_schema(postgres: Postgres) -> None:
    name = f"owned_{uuid4().hex[:12]}"
    await administer(postgres, f"create role {name} login", f"create database {name} owner {name}")
    admin = postgres.app(name).replace(APP_ROLE, name)
    await upgrade_postgres(StoreUrl.parse(admin), StoreUrl.parse(postgres.app(name)))

    refused = await refusal(admin)

    assert refused.message.startswith(f"The role '{name}' owns ")
    assert refused.message.endswith(" relations of the schema, and an owner can lift the wall.")
    store = await open_store(postgres.app(name))
    await Services(store, SECRET).identity.found_workspace(name="Acme")
    await store.close()


async def test_one_role_cannot_be_both_owner_and_application(postgres: Postgres, database: str) -> None:
    admin = StoreUrl.parse(postgres.owner(database))

    with pytest.raises(Invalid, match="both name the role 'postgres'"):
        await upgrade_postgres(admin, admin)
    with pytest.raises(Invalid, match="not a plain PostgreSQL name"):
        await upgrade_postgres(admin, StoreUrl.parse(postgres.app(database).replace(APP_ROLE, "Robert;--")))
