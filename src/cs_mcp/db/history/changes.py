"""Every write is a change: entries are captured from the flush by one listener, in the same transaction.

`change` and `change_payload` are two tables, so that erasing a person's payload leaves the chain of entries
valid. What the flush cannot see is refused: JSON edited in place, a column set before it was loaded or set
to SQL, and statements that bypass the flush.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import Any, Final, cast

from sqlalchemy import Alias, BigInteger, Column, Index, Integer, String, Table, Text, event, inspect, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import InstanceState, Mapper, Session, UOWTransaction
from sqlalchemy.orm.attributes import History
from sqlalchemy.sql.dml import Delete, Insert, Update, UpdateBase
from sqlalchemy.sql.elements import ClauseElement

from cs_mcp.db.base import REMEMBERED, Base, Id, Instant, Json, JsonAsWritten, Remembered
from cs_mcp.domain.changes import ChangeKind, Fields, canonical

CHANGES: Final = Table(
    "change",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("change_id", Id, nullable=False),
    Column("entity", String(32), nullable=False),
    Column("entity_id", Id, nullable=False),
    Column("entity_version", Integer, nullable=False),
    Column("account_id", Id),
    Column("kind", String(16), nullable=False),
    Column("fields", Json, nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor_id", Id, nullable=False),
    Column("on_behalf_of", Id),
    Column("client", Text),
    Column("tool", String(48), nullable=False),
    Column("reason", Text),
    Column("run_id", Id),
    Column("plan_id", Id),
    Column("undoes", Id),
    # The revision whose column names the payload uses; a migration that renames a column rewrites payloads.
    Column("schema_revision", String(32), nullable=False),
    Column("payload_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("ix_change_record", "workspace", "entity_id", "seq"),
    Index("ix_change_write", "workspace", "change_id", "seq"),
    Index("ix_change_account", "workspace", "account_id", "seq"),
    Index("ix_change_run", "workspace", "run_id", "seq", sqlite_where=text("run_id IS NOT NULL")),
    sqlite_with_rowid=False,
)

PAYLOADS: Final = Table(
    "change_payload",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("before", JsonAsWritten),
    Column("after", JsonAsWritten),
    Column("salt", String(32)),
    sqlite_with_rowid=False,
)


class Unrecordable(RuntimeError):
    """A write whose before or after could not be kept: a mistake in our code, never in a caller's."""


@dataclass(frozen=True, slots=True)
class Act:
    """What all entries of one write share: who, through what, why."""

    change_id: str
    actor_id: str
    tool: str
    at: datetime
    on_behalf_of: str | None = None
    client: str | None = None
    reason: str | None = None
    run_id: str | None = None
    plan_id: str | None = None
    undoes: str | None = None


@dataclass(slots=True)  # not frozen: a bulk unit makes many thousands, and frozen ones cost three times as much
class Captured:
    """One record's change, as the flush saw it; it has no place in the history yet."""

    entity: str
    entity_id: str
    entity_version: int
    account_id: str | None
    kind: ChangeKind
    before: Fields | None
    after: Fields | None
    as_text: tuple[str | None, str | None] | None = None  # before and after as canonical JSON, where already made

    @property
    def fields(self) -> list[str]:
        return sorted(self.after or ())

    def texts(self) -> tuple[str | None, str | None]:
        """Before and after as canonical JSON; None where there is none."""
        if self.as_text is None:
            self.as_text = (
                None if self.before is None else canonical(self.before),
                None if self.after is None else canonical(self.after),
            )
        return self.as_text


@dataclass(slots=True)
class Capture:
    """What one session's flushes changed; lives in `session.info["capture"]`."""

    entries: list[Captured] = field(default_factory=list[Captured])


# Columns that are the record's name and count, not its content.
_NAMES: Final = frozenset({"workspace", "id", "version"})


def plain(value: Any) -> Any:
    """A value as JSON keeps it."""
    kind = cast("type[Any]", type(value))
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else value


def recorded_columns(row: type[Remembered]) -> tuple[str, ...]:
    """The columns of a table that changes record: all but names and derived ones."""
    known = _RECORDED.get(row)
    if known is None:
        mapper = cast("Mapper[Any]", inspect(row))
        known = tuple(a.key for a in mapper.column_attrs if a.key not in _NAMES and a.key not in row.derived)
        _RECORDED[row] = known
    return known


_RECORDED: dict[type[Remembered], tuple[str, ...]] = {}


def account_of(row: Remembered) -> str | None:
    return row.id if row.__tablename__ == "account" else getattr(row, "account_id", None)


def _describe(row: Remembered, *, created: bool) -> Captured | None:
    columns = recorded_columns(type(row))
    before: Fields | None
    if created:
        before, after = None, {name: plain(getattr(row, name)) for name in columns}
        kind = ChangeKind.created
    else:
        state = cast("InstanceState[Any]", inspect(row))
        before, after = {}, {}
        for name in columns:
            history: History = state.attrs[name].history
            if history.has_changes():
                old = plain(history.deleted[0]) if history.deleted else None
                new = plain(history.added[0]) if history.added else None
                if old != new:
                    before[name], after[name] = old, new
        if not after:
            return None
        kind = ChangeKind.updated
        if "removed_at" in after:
            kind = ChangeKind.restored if after["removed_at"] is None else ChangeKind.removed
    return Captured(row.__tablename__, row.id, row.version, account_of(row), kind, before, after)


def _touched(session: Session) -> list[tuple[Remembered, bool]]:
    new = [(row, True) for row in session.new if isinstance(row, Remembered)]
    dirty = [(row, False) for row in session.dirty if isinstance(row, Remembered) and session.is_modified(row)]
    # session.dirty is a set: in a fixed order the same write gives the same entries.
    return new + sorted(dirty, key=lambda pair: (pair[0].__tablename__, pair[0].id))


_FLUSHING: Final = "cs_mcp_flushing"
DERIVED: Final = "cs_mcp_derived"
BULK: Final = "cs_mcp_bulk"


def listen_on(session_class: type[Session]) -> None:
    """Install the listener on a class of sessions."""
    event.listen(session_class, "before_flush", _refuse_the_unknowable)
    event.listen(session_class, "after_flush", _keep)


def _refuse_the_unknowable(session: Session, _context: UOWTransaction, _instances: Any) -> None:
    for row in session.deleted:
        if isinstance(row, Remembered):
            raise Unrecordable(f"{row.__tablename__} {row.id} is remembered: set removed_at instead of deleting it")
    refuse_edits_in_place(session)
    for row, created in _touched(session):
        state = cast("InstanceState[Any]", inspect(row))
        for name in recorded_columns(type(row)):
            history: History = state.attrs[name].history
            if history.added and isinstance(history.added[0], ClauseElement):
                raise Unrecordable(f"{row.__tablename__}.{name} is set to SQL: load the row and set the value")
            if not created and history.added and not history.deleted:
                raise Unrecordable(f"{row.__tablename__}.{name} was set before it was loaded, or edited in place")
            if not created and name in row.settled and history.has_changes():
                raise Unrecordable(f"{row.__tablename__}.{name} is settled: correct it with a reversing entry")
    session.connection().info[_FLUSHING] = True


def remember_json(row: Remembered) -> None:
    """Copy the row's lists and dicts: the flush does not see one that is edited in place."""
    held = cast("dict[str, Any]", row.__dict__)
    held["_json_as_known"] = {
        key: plain_copy(value) for key, value in held.items() if isinstance(value, list | dict) and key[0] != "_"
    }


def refuse_edits_in_place(session: Session) -> None:
    """A list or dict edited in place makes no row dirty: the edit would be lost, or be written without an entry."""
    for row in cast("list[Remembered]", session.identity_map.values()):
        known: dict[str, Any] = row.__dict__.get("_json_as_known", {})
        for name, was in known.items():
            if row.__dict__.get(name, was) != was and not inspect(row).attrs[name].history.has_changes():
                raise Unrecordable(f"{row.__tablename__}.{name} was edited in place: assign a new value")


def plain_copy(value: Any) -> Any:
    """A copy of a JSON value that later edits of the value do not reach."""
    if isinstance(value, dict):
        return {key: plain_copy(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [plain_copy(item) for item in cast("list[Any]", value)]
    return value


def _keep(session: Session, _context: UOWTransaction) -> None:
    capture: Capture = session.info["capture"]
    for row, created in _touched(session):
        if (entry := _describe(row, created=created)) is not None:
            capture.entries.append(entry)
        remember_json(row)
    session.connection().info.pop(_FLUSHING, None)


def guard_engine(engine: Engine) -> None:
    """Refuse, on all connections of the writer's engine, DML that the record would not see."""
    event.listen(engine, "before_execute", _guard)
    event.listen(engine, "rollback", _flush_is_over)
    event.listen(engine, "rollback_savepoint", _flush_is_over)


def _flush_is_over(connection: Connection, *_savepoint: Any) -> None:
    # A flush that failed never came to `_keep`, and the connection goes back to the pool.
    connection.info.pop(_FLUSHING, None)


def _guard(connection: Connection, statement: Any, multi: Any, given: Any, options: Any) -> None:
    """Refuse any DML on a remembered table that is not the flush, the derived columns or the bulk path.

    Core statements and ORM bulk statements meet it alike.
    """
    if not isinstance(statement, UpdateBase):
        return
    table = cast("Any", statement.table)
    while isinstance(table, Alias):
        table = cast("Any", table).element
    name = getattr(table, "name", "")
    if name in ("change", "change_payload") and isinstance(statement, Update | Delete):
        raise Unrecordable("the record of changes is only ever added to")
    row = REMEMBERED.get(name)
    if row is None or connection.info.get(_FLUSHING):
        return
    if options.get(BULK) and isinstance(statement, Insert | Update):
        return
    if options.get(DERIVED) and isinstance(statement, Update):
        values = cast("dict[Any, Any]", cast("Any", statement)._values or {})
        written: set[str] = {getattr(column, "key", str(column)) for column in values}
        # A parameter called like a column is set too.
        written |= {key for row_given in (*multi, given) for key in row_given if key in table.c}
        if written <= row.derived:
            return
        raise Unrecordable(f"{name}: {sorted(written - row.derived)} are not derived columns")
    raise Unrecordable(f"{name} is remembered: write its rows through the session, or by changes.bulk()")
