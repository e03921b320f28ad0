"""Bring a store to this code's schema. Imported only when there is something to do: alembic costs start-up time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.ext.asyncio import create_async_engine

from cs_mcp.db.migrations import HEAD
from cs_mcp.db.store import BUSY_MILLISECONDS, StoreUrl, refuse_unknown
from cs_mcp.domain.errors import Invalid

_SCRIPTS: Final = Path(__file__).parent / "migrations"
_ROLE_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}\Z")


def alembic_config(connection: Connection | None = None, *, app_role: str | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    config.attributes["app_role"] = app_role
    return config


def current_revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def upgrade_sqlite(where: StoreUrl, to: str = HEAD) -> None:
    """Migrate a SQLite file in one transaction; whoever comes second finds it done."""
    engine = create_engine(f"sqlite:///{where.path}", connect_args={"timeout": BUSY_MILLISECONDS / 1000})

    @event.listens_for(engine, "connect")
    def _manual(driver: Any, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        driver.isolation_level = None

    @event.listens_for(engine, "begin")
    def _immediate(connection: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.exec_driver_sql("begin immediate")

    try:
        with engine.begin() as connection:
            found = current_revision(connection)
            refuse_unknown(found)
            if found != to:
                command.upgrade(alembic_config(connection), to)
    finally:
        engine.dispose()


@dataclass(frozen=True)
class Upgraded:
    before: str | None
    after: str
    app_role: str


async def upgrade_postgres(admin: StoreUrl, app: StoreUrl, to: str = HEAD) -> Upgraded:
    """Migrate as the owner and make sure the application role exists, owns nothing and may do its work.

    `admin` owns the schema; `app` names the role that serves (it is created with its password if missing).
    """
    role = app.url.username or "cs_app"
    if not _ROLE_NAME.match(role):
        raise Invalid(
            f"The application role {role!r} is not a plain PostgreSQL name.",
            remedy="Use lower-case letters, digits and underscores in the user of --db.",
        )
    if role == admin.url.username:
        raise Invalid(
            f"--db and --admin-db both name the role {role!r}.",
            remedy="Give --db another user: the role that serves must not own the tables.",
        )
    engine = create_async_engine(admin.url.set(drivername="postgresql+asyncpg"))
    try:
        async with engine.begin() as connection:
            await connection.execute(text("select pg_advisory_xact_lock(4711)"))  # one migration at a time
            before = await connection.run_sync(current_revision)
            refuse_unknown(before)
            exists = await connection.execute(text("select 1 from pg_roles where rolname = :role"), {"role": role})
            if exists.scalar_one_or_none() is None:
                password = "" if app.url.password is None else f" password {_literal(str(app.url.password))}"
                await connection.exec_driver_sql(f"create role {role} login nosuperuser nobypassrls{password}")
            await connection.run_sync(_migrate, role, to)
            return Upgraded(before, to, role)
    finally:
        await engine.dispose()


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _migrate(connection: Connection, role: str, to: str) -> None:
    from cs_mcp.db.migrations.walls import grant

    if current_revision(connection) != to:
        command.upgrade(alembic_config(connection, app_role=role), to)
    grant(connection, role)
