"""Is the store what its history says? The chain is made again entry by entry, and figures are held to the ledger."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite as SqliteDialect

from cs_mcp.db.base import REMEMBERED
from cs_mcp.db.migrations import HEAD, REVISIONS
from cs_mcp.db.read_path import Statement
from cs_mcp.db.revenue.attribute_verification import attribute_faults
from cs_mcp.db.revenue.verification import revenue_faults
from cs_mcp.db.unit_of_work import UnitOfWork  # its imports enter every table into REMEMBERED
from cs_mcp.db.usage.verification import rollup_faults
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.changes import CHAINED_FIELDS, canonical, chained, payload_hash

if TYPE_CHECKING:
    from cs_mcp.db.store import Store
    from cs_mcp.domain.calendar import Clock

assert UnitOfWork is not None

PAGE: Final = 2_000
REVENUE_SINCE: Final = "0005"  # the schema that has rollups of the ledger
TRIES: Final = 3
TOLD: Final = 50  # problems told one by one; the rest are counted
_ABSENT: Final = canonical(None)

Row = Mapping[str, Any]


@dataclass(slots=True)
class Verified:
    """What was looked at, and what is wrong. `notes` are no fault of the store."""

    revision: str | None = None
    workspaces: int = 0
    entries: int = 0
    erased: int = 0
    accounts: int = 0
    records: int = 0
    heads: dict[str, str] = field(default_factory=dict[str, str])  # workspace → "seq:hash", to keep as an anchor
    problems: list[str] = field(default_factory=list[str])
    problems_not_told: int = 0
    derived: int = 0  # problems, of all, in what 'cs-mcp db rebuild' makes anew
    notes: list[str] = field(default_factory=list[str])

    @property
    def sound(self) -> bool:
        return not self.problems

    @property
    def is_mended_by_rebuild(self) -> bool:
        return 0 < self.derived == len(self.problems) + self.problems_not_told

    def wrong(self, what: str) -> None:
        if len(self.problems) < TOLD:
            self.problems.append(what)
        else:
            self.problems_not_told += 1


# -- the chain --------------------------------------------------------------------------------------------------
class _Chain:
    """Makes one workspace's chain again. After a break it goes on from what is stored, so each break is told once."""

    def __init__(self, workspace: str, verified: Verified, anchors: Mapping[int, str]) -> None:
        self.workspace = workspace
        self.seq = 0
        self._previous = ""
        self._verified = verified
        self._anchors = anchors

    def take(self, row: Row) -> None:
        seq = row["seq"]
        if seq != self.seq + 1:
            gone = f"{self.seq + 1}" if seq == self.seq + 2 else f"{self.seq + 1} to {seq - 1}"
            self._wrong(f"entry {gone} is missing")
        whole = True
        try:
            at, fields = _instant(row["at"]), _list(row["fields"])
            made = chained(self._previous, {**row, "at": at, "fields": fields})
        except (ValueError, TypeError, KeyError):
            made, whole = "", False
        if made != row["hash"] and seq == self.seq + 1:
            why = "does not fit the chain" if whole else "cannot be read"
            self._wrong(f"entry {seq} ({_named(row)}) {why}: it or the entry before it was altered")
        self._payload(row)
        if seq in self._anchors and self._anchors[seq] != row["hash"]:
            self._wrong(f"entry {seq} is not the one the anchor names")
        self.seq, self._previous = seq, row["hash"]
        self._verified.entries += 1

    def _payload(self, row: Row) -> None:
        if row["payload_seq"] is None or (row["salt"] is None and row["before"] is None and row["after"] is None):
            self._verified.erased += 1  # a person's data may be erased; the entry stands without it
            return
        before = _ABSENT if row["before"] is None else row["before"]
        after = _ABSENT if row["after"] is None else row["after"]
        if payload_hash(str(row["salt"]), str(before), str(after)) != row["payload_hash"]:
            self._wrong(f"entry {row['seq']} ({_named(row)}): its values were altered after it was written")

    def ends(self, head: Row | None) -> None:
        if head is None:
            self._wrong("the head of the history is missing")
        elif head["seq"] != self.seq:
            self._wrong(f"the history ends at entry {self.seq}, its head names {head['seq']}")
        elif head["hash"] != self._previous:
            self._wrong("the head of the history is not the hash of its last entry")
        else:
            self._verified.heads[self.workspace] = f"{self.seq}:{self._previous}"
        for seq in self._anchors:
            if seq > self.seq:
                self._wrong(f"the history ends at entry {self.seq}, and the anchor names entry {seq}")

    def _wrong(self, what: str) -> None:
        self._verified.wrong(f"{self.workspace}: {what}")


def _named(row: Row) -> str:
    return f"{row['kind']} {row['entity_id']} by {row['tool']}"


def _instant(value: Any) -> datetime:
    at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _list(value: Any) -> list[str]:
    found: Any = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, list):
        raise TypeError("no list")
    return [str(name) for name in found]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


_ENTRIES: Final = (
    "select "  # noqa: S608 - names of columns, no value in it
    + ", ".join(f'c."{name}"' for name in (*CHAINED_FIELDS, "hash"))
    + ", p.seq as payload_seq, p.salt, "
    # As text: the driver would take JSON apart, and the hash is of what was written.
    'cast(p."before" as text) as "before", cast(p."after" as text) as "after" from change c left join change_payload p'
    " on p.workspace = c.workspace and p.seq = c.seq where c.workspace = $1 and c.seq > $2 order by c.seq limit $3"
)
_WORKSPACES: Final = "select id from workspace order by id"
_ZONE: Final = "select time_zone from workspace_profile where workspace = $1 and removed_at is null"
_HEAD: Final = "select seq, hash from workspace_head where workspace = $1"

# -- figures ----------------------------------------------------------------------------------------------------
_LEDGER: Final = (
    "select coalesce(sum(m.amount_minor), 0) from arr_movement m where m.workspace = a.workspace "
    'and m.account_id = a.id and m.removed_at is null and m.currency = a.currency and m."on" <= '
)
_ARR: Final = (
    f"select a.id, a.name, a.arr_minor, ({_LEDGER} $2) as ledger_minor from account a "  # noqa: S608 - no value in it
    "where a.workspace = $1 and a.removed_at is null order by a.id"
)
# What follows from the ledger is computed when a movement is written: one dated ahead counts from the next write on.
_LAST_POSTED: Final = (
    "select max(at) as at from change where workspace = $1 and account_id = $2 and entity = 'arr_movement'"
)
_ARR_THEN: Final = f"select ({_LEDGER} $3) as ledger_minor from account a where a.workspace = $1 and a.id = $2"  # noqa: S608
_FOLLOWED: Final = (
    ("band", "r.account_band", "a.health_band"),
    ("segment", "r.account_segment", "a.segment"),
    ("responsible", "r.responsible_id", "coalesce(r.owner_id, a.owner_id)"),
)
_ASTRAY: Final = (
    "select r.id, "  # noqa: S608 - names of columns, no value in it
    + ", ".join(f"{mine} as {name}, {theirs} as account_{name}" for name, mine, theirs in _FOLLOWED)
    + " from renewal r join account a on a.workspace = r.workspace and a.id = r.account_id "
    "where r.workspace = $1 and r.removed_at is null and ("
    + " or ".join(f"coalesce({mine}, '') <> coalesce({theirs}, '')" for _, mine, theirs in _FOLLOWED)
    + ") order by r.id"
)
_UNSCORED: Final = (
    "select a.id from account a where a.workspace = $1 and not exists (select 1 from account_score s "
    "where s.workspace = a.workspace and s.account_id = a.id) order by a.id"
)
_MISPLACED: Final = (
    "select s.account_id as id, s.score, s.step from account_score s where s.workspace = $1 and not coalesce("
    "s.score >= s.step * 10.0 and s.score < s.step * 10.0 + 10, s.score is null and s.step is null) order by id"
)
_COUNT: Final = 'select count(*) as n from "{table}" where workspace = $1'
_AHEAD: Final = (
    'select r.id, r.version, max(c.entity_version) as told from "{table}" r left join change c '
    "on c.workspace = r.workspace and c.entity_id = r.id where r.workspace = $1 "
    "group by r.id, r.version having coalesce(max(c.entity_version), 0) <> r.version order by r.id"
)

Question = tuple[str | Statement, Any]  # with the arguments: in order, or by name
Steps = Generator[Question, Sequence[Row], None]


def _steps(verified: Verified, clock: Clock, anchors: Mapping[int, str], workspace: str) -> Steps:
    """The questions of one workspace, in order; the answers are sent in. The stores differ in how they are asked."""
    chain = _Chain(workspace, verified, anchors)
    page = yield _ENTRIES, (workspace, 0, PAGE)
    head = None
    while page:
        for row in page:
            chain.take(row)
        # The head is read before the page that may be the last, so that it names no entry past it.
        head = next(iter((yield _HEAD, (workspace,))), None)
        page = yield _ENTRIES, (workspace, chain.seq, PAGE)
    chain.ends(head)
    zone = yield _ZONE, (workspace,)
    calendar = Calendar(time_zone=zone[0]["time_zone"]) if zone else Calendar()
    accounts = yield _ARR, (workspace, calendar.today(clock.now()))
    verified.accounts += len(accounts)
    for account in accounts:
        if account["arr_minor"] == account["ledger_minor"]:
            continue
        posted = (yield _LAST_POSTED, (workspace, account["id"]))[0]["at"]
        then: Sequence[Row] = [{"ledger_minor": None}]
        if posted is not None:
            then = yield _ARR_THEN, (workspace, account["id"], calendar.day_of(_instant(posted)))
        if then[0]["ledger_minor"] == account["arr_minor"]:
            verified.notes.append(f"{account['id']}: a movement fell due since its ARR was computed")
        else:
            told = f"ARR is {account['arr_minor']}, its ledger says {int(account['ledger_minor'])} (minor units)"
            verified.wrong(f"{workspace}: {account['id']} ({account['name']}): {told}")
    for table in sorted(REMEMBERED):
        verified.records += (yield _COUNT.format(table=table), (workspace,))[0]["n"]
        for row in (yield _AHEAD.format(table=table), (workspace,)):
            told = f"the record is at version {row['version']}, its history at {row['told'] or 'none'}"
            verified.wrong(f"{workspace}: {table} {row['id']}: {told}")
    for row in (yield _ASTRAY, (workspace,)):
        for name, _, _ in _FOLLOWED:
            said, follows = row[name], row[f"account_{name}"]
            if said != follows:
                verified.derived += 1
                verified.wrong(f"{workspace}: renewal {row['id']}: its {name} is {said}, by its account {follows}")
    for row in (yield _UNSCORED, (workspace,)):
        verified.derived += 1
        verified.wrong(f"{workspace}: {row['id']}: it has no row for its score")
    for row in (yield _MISPLACED, (workspace,)):
        verified.derived += 1
        verified.wrong(f"{workspace}: {row['id']}: its score of {row['score']} is listed at step {row['step']}")
    faults: list[str] = []
    yield from rollup_faults(workspace, faults)
    if verified.revision in REVISIONS[REVISIONS.index(REVENUE_SINCE) :]:
        past: list[str] = []
        yield from attribute_faults(workspace, past, faults)
        verified.derived += len(past)
        faults += past
        faults += yield from _revenue_faults(verified, workspace, calendar)
    for told in faults:
        verified.wrong(f"{workspace}: {told}")


def _revenue_faults(
    verified: Verified, workspace: str, calendar: Calendar
) -> Generator[Question, Sequence[Row], list[str]]:
    """Sums over the book differ from a ledger that is written to meanwhile: then they are looked at again."""
    for _ in range(TRIES):
        faults: list[str] = []
        before = yield _HEAD, (workspace,)
        yield from revenue_faults(workspace, calendar, faults)
        if not faults or (yield _HEAD, (workspace,)) == before:
            verified.derived += len(faults)
            return faults
    verified.notes.append(f"{workspace}: written to all the while; its rollups of revenue could not be compared")
    return []


# -- SQLite -----------------------------------------------------------------------------------------------------
@contextmanager
def looking_at(path: Path) -> Generator[sqlite3.Connection, None, None]:
    """A connection that changes nothing. It may write a journal back, which a read-only one could not."""
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=30, isolation_level=None)
    try:
        connection.execute("pragma query_only=on")
        # Damaged text must still be readable, to be told from what was written.
        connection.text_factory = _as_far_as_readable
        connection.row_factory = sqlite3.Row
        yield connection
    finally:
        connection.close()


_SQLITE: Final = SqliteDialect()


def _as_far_as_readable(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def verify_sqlite(path: Path, clock: Clock, anchors: Mapping[int, str] | None = None) -> Verified:
    """Check a file of any schema this code knows; nothing is upgraded. Problems are told, never raised."""
    verified = Verified()
    try:
        with looking_at(path) as connection:
            _check_file(connection, verified)
            if verified.revision in REVISIONS:
                for found in connection.execute(_WORKSPACES).fetchall():
                    verified.workspaces += 1
                    _ask(connection, _steps(verified, clock, anchors or {}, found["id"]))
    except sqlite3.DatabaseError as broken:
        verified.wrong(f"the file cannot be read any further: {broken}")
    return verified


def _check_file(connection: sqlite3.Connection, verified: Verified) -> None:
    for (said,) in connection.execute("pragma integrity_check(20)").fetchall():
        if said != "ok":
            verified.wrong(f"the file is damaged: {said}")
    for row in connection.execute("pragma foreign_key_check").fetchmany(TOLD):
        verified.wrong(f"{row[0]}, row {row[1]}: it names a record of {row[2]} that does not exist")
    if connection.execute("select 1 from sqlite_master where name = 'alembic_version'").fetchone() is None:
        verified.wrong("the file is no store of cs-mcp: it names no schema")
        return
    row = connection.execute("select version_num from alembic_version").fetchone()
    verified.revision = row[0] if row else None
    if verified.revision not in REVISIONS:
        verified.wrong(f"its schema {verified.revision} is unknown to this version (schema {HEAD})")
    elif verified.revision != HEAD:
        verified.notes.append(f"its schema {verified.revision} is older than this version's {HEAD}")


def _ask(connection: sqlite3.Connection, steps: Steps) -> None:
    try:
        question = next(steps)
        while True:
            question = steps.send(_asked(connection, *question))
    except StopIteration:
        return


def _asked(connection: sqlite3.Connection, question: str | Statement, given: Any) -> list[Row]:
    """The rows of one answer. A table that an older schema lacks holds nothing to check."""
    try:
        if isinstance(question, Statement):
            prepared = question.prepared(_SQLITE)
            raw = connection.execute(prepared.sql, prepared.arguments(given)).fetchall()
            return [dict(row) for row in prepared.rows(raw)]
        for number in range(len(given), 0, -1):
            question = question.replace(f"${number}", f"?{number}")
        told = [value.isoformat() if hasattr(value, "isoformat") else value for value in given]
        return [dict(row) for row in connection.execute(question, told)]
    except sqlite3.OperationalError as lacking:
        if not str(lacking).startswith("no such table"):
            raise
        return [{"n": 0}] if isinstance(question, str) and question.startswith("select count") else []


# -- PostgreSQL -------------------------------------------------------------------------------------------------
async def verify_postgres(store: Store, anchors: Mapping[int, str] | None = None) -> Verified:
    """Check every workspace of an open store, each in one snapshot behind its wall."""
    verified = Verified(revision=HEAD)
    for workspace in await store.workspaces():
        verified.workspaces += 1
        async with store.writer.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            async with driver.transaction(isolation="repeatable_read", readonly=True):
                await driver.execute("select set_config('app.workspace', $1, true)", workspace)
                steps = _steps(verified, store.clock, anchors or {}, workspace)
                question = next(steps)
                while True:
                    asked, given = question
                    if isinstance(asked, Statement):
                        prepared = asked.prepared(connection.dialect)
                        raw = await driver.fetch(prepared.sql, *prepared.arguments(given))
                        found: list[Row] = [dict(row) for row in prepared.rows(raw)]
                    else:
                        found = [dict(row) for row in await driver.fetch(asked, *given)]
                    try:
                        question = steps.send(found)
                    except StopIteration:
                        break
    return verified
