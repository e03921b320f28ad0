"""Opens a store and hands out reads and units of work. Settings are those measured in architecture.md, Store facts."""

from __future__ import annotations

import asyncio
import re
import secrets
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
from sqlalchemy import URL, create_engine, event, func, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session

from cs_mcp.db.history import changes
from cs_mcp.db.history.changes import Act, Capture
from cs_mcp.db.migrations import HEAD, REVISIONS
from cs_mcp.db.occupancy import occupy
from cs_mcp.db.read_path import PostgresReads, Reads, SqliteReads, Statement
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.workspaces import WORKSPACES, WorkspaceRow
from cs_mcp.domain.calendar import Clock, SystemClock
from cs_mcp.domain.errors import StoreUnusable
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.records import Ids
from cs_mcp.domain.workspaces import Workspace

BUSY_MILLISECONDS: Final = 30_000
PROFILE_KEPT_SECONDS: Final = 5.0
_ENDED: Final = "cs_mcp.ended"  # how the transaction of a connection ended; nothing where that is not known
CACHE_KIB: Final = 32 * 1024  # a connection, at most; SQLite's own default is 2 MiB


class RememberingSession(Session):
    """A session whose every flush is recorded."""


changes.listen_on(RememberingSession)


@dataclass(frozen=True)
class StoreUrl:
    """Where the store is: `sqlite:///path` or `postgresql://…`."""

    url: URL

    @classmethod
    def parse(cls, text: str) -> StoreUrl:
        try:
            url = make_url(text)
        except (ArgumentError, ValueError) as unreadable:
            raise StoreUnusable(
                f"{_without_password(text)!r} does not name a store.",
                remedy="Use sqlite:///path/to/file.db or postgresql://user@host/database.",
            ) from unreadable
        if url.get_backend_name() not in ("sqlite", "postgresql"):
            raise StoreUnusable(
                f"The store {url.get_backend_name()!r} is not supported.",
                remedy="Use sqlite:///path/to/file.db or postgresql://user@host/database.",
            )
        if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
            raise StoreUnusable("The SQLite store needs a file.", remedy="Use sqlite:///path/to/file.db.")
        return cls(url)

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def path(self) -> Path:
        return Path(str(self.url.database)).expanduser()


def _without_password(text: str) -> str:
    return re.sub(r":[^:@/]*@", ":***@", text)


def wal_is_safe(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """Whether this SQLite carries the fix of the WAL-reset bug (sqlite.org/wal.html#walresetbug)."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


def is_wal_file(path: Path) -> bool:
    """Bytes 18 and 19 of the header are 2 in a file that was left in WAL mode (sqlite.org/fileformat.html)."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        return file.read(20)[18:20] == b"\x02\x02"


class Store:
    """The open store. One a process; `close()` it at the end."""

    def __init__(
        self,
        where: StoreUrl,
        writer: AsyncEngine,
        reads: Reads,
        *,
        clock: Clock,
        ids: Ids,
        journal_mode: str,
        dispose: Callable[[], Any],
        random_hex: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self.where = where
        self.writer = writer
        self.reads = reads
        self.clock = clock
        self.ids = ids
        self.journal_mode = journal_mode
        self._dispose = dispose
        self._random_hex = random_hex
        self._profiles: dict[str, tuple[float, Workspace]] = {}
        self._sessions = async_sessionmaker(
            writer, sync_session_class=RememberingSession, expire_on_commit=False, autoflush=False
        )

    @property
    def dialect(self) -> str:
        return self.writer.dialect.name

    async def close(self) -> None:
        await self.writer.dispose()
        self._dispose()

    async def workspace(self, workspace: str) -> Workspace:
        """The workspace's profile; a change to it is seen everywhere within five seconds."""
        known = self._profiles.get(workspace)
        if known is not None and time.monotonic() - known[0] < PROFILE_KEPT_SECONDS:
            return known[1]
        profile = await self._load_profile(workspace)
        if profile is None:
            raise StoreUnusable(
                f"The store holds no workspace {workspace!r}.",
                remedy="Run 'cs-mcp demo' or 'cs-mcp import', or create one with 'cs-mcp workspace create NAME'.",
            )
        self._profiles[workspace] = (time.monotonic(), profile)
        return profile

    async def _load_profile(self, workspace: str) -> Workspace | None:
        [found] = await self.reads.run([_PROFILE], {"workspace": workspace})
        return Workspace.model_validate(found[0]) if found else None

    async def workspaces(self) -> list[str]:
        """Ids of all workspaces; ids only, the one table outside the wall."""
        async with self.writer.connect() as connection:
            found = await connection.execute(select(WORKSPACES.c.id).order_by(WORKSPACES.c.id))
            return list(found.scalars())

    @asynccontextmanager
    async def unit_of_work(
        self, principal: Principal, act: Act, *, profile: bool = True
    ) -> AsyncGenerator[UnitOfWork, None]:
        """Commit when the block ends, roll back when it raises."""
        workspace = await self.workspace(principal.workspace) if profile else None
        session = self._sessions()
        session.sync_session.info["capture"] = Capture()
        try:
            if self.dialect == "postgresql":
                await session.execute(_SET_WORKSPACE, {"workspace": principal.workspace})
            else:
                await session.connection()
            work = UnitOfWork(
                session,
                principal,
                act,
                workspace=workspace,
                clock=self.clock,
                ids=self.ids,
                salt=self._random_hex(8),
            )
            yield work
            await work.flush()
            await work.record()
            # A caller that hangs up now must not leave the outcome open: the commit finishes, its answer is kept.
            with anyio.CancelScope(shield=True):
                await _commit(session)
            if any(entry.entity == "workspace_profile" for entry in work.changes):
                self._profiles.pop(principal.workspace, None)
        finally:
            with anyio.CancelScope(shield=True):
                await session.close()


async def _commit(session: AsyncSession) -> None:
    try:
        await session.commit()
    except DBAPIError as failure:
        if not failure.connection_invalidated:
            raise
        raise StoreUnusable(
            "The connection to the store broke during the commit, so this may have been written.",
            remedy="Call again with the same idempotency_key; without one, look at list_changes first.",
        ) from failure


_SET_WORKSPACE: Final = select(func.set_config("app.workspace", text(":workspace"), True))


def _profile() -> Any:
    table = WorkspaceRow.__table__
    from sqlalchemy import bindparam

    return select(*(table.c[name] for name in Workspace.model_fields)).where(
        table.c.workspace == bindparam("workspace"), table.c.removed_at.is_(None)
    )


_PROFILE: Final = Statement(_profile)


# -- opening ------------------------------------------------------------------------------------------------


async def open_store(
    url: str,
    *,
    clock: Clock | None = None,
    ids: Ids | None = None,
    sqlite_journal: str = "auto",
    pool_size: int = 8,
    busy_milliseconds: int = BUSY_MILLISECONDS,
) -> Store:
    """Open a store that is at this code's schema, or say what to do about it."""
    where = StoreUrl.parse(url)
    clock, ids = clock or SystemClock(), ids or Ids()
    if where.is_sqlite:
        leave = occupy(where.path)
        try:
            return await _open_sqlite(where, clock, ids, sqlite_journal, leave, busy_milliseconds)
        except BaseException:
            leave()
            raise
    return await _open_postgres(where, clock, ids, pool_size)


def check_journal(path: Path, wanted: str) -> str:
    """The journal mode to run in. WAL is a property of the file: one that has it is refused where it is unsafe."""
    safe = wal_is_safe()
    if not safe and (is_wal_file(path) or wanted == "wal"):
        raise StoreUnusable(
            f"{path} is in WAL mode or was asked to be, and SQLite {sqlite3.sqlite_version} can lose commits in it.",
            remedy="Close every program that uses the file, run "
            f"\"sqlite3 '{path}' 'PRAGMA journal_mode=truncate'\" with SQLite 3.51.3 or newer, or install "
            "'cs-mcp[sqlite]', which brings a newer SQLite.",
        )
    return "wal" if wanted == "wal" else "truncate"


def _tuned(engine: Any, journal: str, busy_milliseconds: int, *, reader: bool) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(driver: Any, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        driver.isolation_level = None
        cursor = driver.cursor()
        pragmas = [
            f"busy_timeout={busy_milliseconds}",
            "foreign_keys=on",
            "synchronous=full",
            f"cache_size=-{CACHE_KIB}",
        ]
        pragmas += ["query_only=on"] if reader else [f"journal_mode={journal}"]
        for pragma in pragmas:
            cursor.execute(f"pragma {pragma}")
        cursor.close()


async def _open_sqlite(
    where: StoreUrl, clock: Clock, ids: Ids, wanted: str, leave: Callable[[], None], busy_milliseconds: int
) -> Store:
    path = where.path
    journal = check_journal(path, wanted)
    found = sqlite_revision(path)
    if found != HEAD:
        refuse_unknown(found)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        from cs_mcp.db.upgrade import upgrade_sqlite

        await anyio.to_thread.run_sync(upgrade_sqlite, where)
    location = str(path)
    writer = create_async_engine(
        URL.create("sqlite+aiosqlite", database=location),
        pool_size=1,
        max_overflow=0,
        pool_timeout=60,
        pool_reset_on_return=None,  # a unit of work always ends its transaction itself
        connect_args={"uri": True},  # so that it can attach drafts (db/drafts.py)
    )
    _tuned(writer.sync_engine, journal, busy_milliseconds, reader=False)

    @event.listens_for(writer.sync_engine, "begin")
    def _immediate(connection: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        # A deferred BEGIN that writes after it read fails under contention whatever the timeout (spikes, A6).
        adapted = connection.connection.dbapi_connection
        connection.info.pop(_ENDED, None)
        try:
            adapted.run_async(_begin_immediate)
        except BaseException:
            connection.info[_ENDED] = "rollback"
            adapted.rollback()  # a cancelled BEGIN still comes to pass in the driver's thread; this waits behind it
            raise

    @event.listens_for(writer.sync_engine, "commit")
    def _still_open(connection: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        # SQLite ends a transaction by itself on some failures, and the driver's commit says nothing then.
        if not connection.connection.driver_connection.in_transaction:
            raise StoreUnusable("The store ended the transaction early; nothing was written.", remedy="Try once more.")
        connection.info[_ENDED] = "commit"

    @event.listens_for(writer.sync_engine, "rollback")
    def _given_up(connection: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.info[_ENDED] = "rollback"

    @event.listens_for(writer.sync_engine, "handle_error")
    def _keep_when_cancelled(context: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        # SQLAlchemy would close the connection with its cursor open; SQLite then keeps transaction and lock until the
        # cursor is garbage. The driver's thread works in order, so a rollback after the statement is enough.
        cancelled = isinstance(context.original_exception, asyncio.CancelledError)
        if cancelled:
            context.is_disconnect = False
        ends: dict[str, Any] = {} if context.connection is None else context.connection.info
        if not (cancelled and ends.get(_ENDED) == "rollback"):  # one that was cancelled is on its way none the less
            ends.pop(_ENDED, None)

    _settle_on_return(writer.sync_engine)
    changes.guard_engine(writer.sync_engine)
    reader = create_engine(URL.create("sqlite", database=location), pool_size=4, max_overflow=4)
    _tuned(reader, journal, busy_milliseconds, reader=True)

    def dispose() -> None:
        reader.dispose()
        leave()

    return Store(where, writer, SqliteReads(reader), clock=clock, ids=ids, journal_mode=journal, dispose=dispose)


def _begin_immediate(driver: Any) -> Any:
    return driver.execute_fetchall("begin immediate")


def _settle_on_return(engine: Any) -> None:
    """No connection goes back to the pool inside a transaction.

    SQLAlchemy takes a transaction whose COMMIT failed for ended; on SQLite it is still open, and would hold the file's
    lock and stop every later write.
    """

    @event.listens_for(engine, "reset")
    def _settle(adapted: Any, record: Any, state: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        if not state.asyncio_safe:
            return
        driver = adapted.driver_connection
        if engine.dialect.name == "postgresql":
            if not driver.is_closed() and driver.is_in_transaction():
                record.invalidate()
            return
        _ = driver.row_factory  # raises where the connection is closed: the pool forgets it then
        if not record.info.pop(_ENDED, None):
            # Waits its turn behind a COMMIT that is still under way. SQLite 3.53 does not say whether a transaction is
            # open until the statement at work is done: asked here, it would stop the event loop for as long.
            adapted.rollback()


def sqlite_revision(path: Path) -> str | None:
    """The schema revision a file names; None where it has none yet. Only the sqlite3 of this process may open it."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    connection = sqlite3.connect(path, timeout=BUSY_MILLISECONDS / 1000)
    try:
        tables = {name for (name,) in connection.execute("select name from sqlite_master where type='table'")}
        if "alembic_version" not in tables:
            if tables:
                raise StoreUnusable(
                    f"{path} is a SQLite file of something else.", remedy="Name another file with --db or CS_MCP_DB."
                )
            return None
        row = connection.execute("select version_num from alembic_version").fetchone()
        return row[0] if row else None
    except sqlite3.DatabaseError as broken:
        raise StoreUnusable(
            f"{path} cannot be read as a SQLite file: {broken}.", remedy="Restore a backup, or name another file."
        ) from broken
    finally:
        connection.close()


def refuse_unknown(found: str | None) -> None:
    if found is not None and found not in REVISIONS:
        raise StoreUnusable(
            f"The store has schema {found}, which this version of cs-mcp (schema {HEAD}) does not know.",
            remedy="Upgrade cs-mcp to the version that wrote the store, or open another store.",
        )


async def _open_postgres(where: StoreUrl, clock: Clock, ids: Ids, pool_size: int) -> Store:
    writer = create_async_engine(
        where.url.set(drivername="postgresql+asyncpg"),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_timeout=60,
        connect_args={
            "server_settings": {
                "application_name": "cs_mcp",
                "statement_timeout": "60000",
                "lock_timeout": "30000",
                "idle_in_transaction_session_timeout": "60000",
            }
        },
    )
    try:
        await _check_postgres(writer)
    except BaseException:
        await writer.dispose()
        raise

    @event.listens_for(writer.sync_engine, "handle_error")
    def _replace_what_cannot_be_pinged(context: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        # After a BEGIN that failed the driver believes in a transaction for good, and the server knows of none.
        if context.is_pre_ping:
            context.is_disconnect = True

    _settle_on_return(writer.sync_engine)
    changes.guard_engine(writer.sync_engine)
    return Store(where, writer, PostgresReads(writer), clock=clock, ids=ids, journal_mode="wal", dispose=lambda: None)


async def _check_postgres(engine: AsyncEngine) -> None:
    upgrade = "Run 'cs-mcp db upgrade --admin-db postgresql://OWNER@HOST/DATABASE' as the owner of the schema."
    async with engine.connect() as connection:
        role = (
            await connection.execute(
                text("select rolname, rolsuper or rolbypassrls as above from pg_roles where rolname = current_user")
            )
        ).one()
        if role.above:
            raise StoreUnusable(
                f"The role {role.rolname!r} stands above row-level security, so one workspace could read another's.",
                remedy="Serve as a role that is neither superuser nor BYPASSRLS; 'cs-mcp db upgrade' prepares one.",
            )
        if (await connection.execute(text("select to_regclass('alembic_version')"))).scalar_one() is None:
            raise StoreUnusable("The PostgreSQL database has no cs_mcp schema yet.", remedy=upgrade)
        owned = (
            await connection.execute(
                text(
                    "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace "
                    "where n.nspname = current_schema() and pg_get_userbyid(c.relowner) = current_user"
                )
            )
        ).scalar_one()
        if owned:
            raise StoreUnusable(
                f"The role {role.rolname!r} owns {owned} relations of the schema, and an owner can lift the wall.",
                remedy="Serve as the application role; 'cs-mcp db upgrade --admin-db' migrates as the owner.",
            )
        found = (await connection.execute(text("select version_num from alembic_version"))).scalar_one_or_none()
        refuse_unknown(found)
        if found != HEAD:
            raise StoreUnusable(f"The store has schema {found}; this version needs {HEAD}.", remedy=upgrade)
