"""One night's scoring of a book with 90 days of usage and signals of every kind: its time beside a plain scan of that
usage, and the memory of the process it has for its own.

The book is written past the product: what is measured is the night, not the import.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from benchmarks._night import Night, sleeping
from benchmarks._repeated import repeat
from benchmarks._stores import Kind, Postgres
from benchmarks._year import Year, year
from cs_mcp.db.base import Base
from cs_mcp.db.bulk import bulk_create
from cs_mcp.db.history.changes import Act
from cs_mcp.db.signals.signals import TicketRow
from cs_mcp.db.store import Store, StoreUrl, open_store
from cs_mcp.db.usage.usage import USAGE_DAY
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.identity import Principal
from cs_mcp.services.identity import Identity

TODAY: Final = date(2026, 3, 16)
NOW: Final = datetime(2026, 3, 16, 3, tzinfo=UTC)
DAYS: Final = 90
CHUNK: Final = 5_000  # accounts written at a time
NIGHTS: Final = 3  # that are measured, after the first
REPEATED: Final = 100_000  # accounts of which a larger book on SQLite is made
LEVELS: Final = ("c_level", "vp", "director", "manager", "individual")
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Nights:
    """The nights after the first, each with a day more of usage and of work, and the last of them once more.

    A plain scan of the usage table goes before each of them, by one process on either store; on PostgreSQL another by
    as many as it takes. Of times on a machine that others work on too the least is told, of nights as of scans.
    """

    kind: Kind
    accounts: int
    days: int
    scans: list[float]
    scans_at_will: list[float]
    first: Night
    nights: list[Night]
    again: Night
    year: Year | None = None

    @property
    def seconds(self) -> float:
        return min(night.seconds for night in self.nights)

    @property
    def scan(self) -> float:
        return min(self.scans)

    @property
    def rate(self) -> float:
        return self.accounts / self.seconds

    @property
    def peak_mb(self) -> float:
        return self.again.peak_mb


async def nights(
    kind: Kind, url: str, accounts: int, postgres: Postgres | None, *, days: int = DAYS, of_a_year: bool = False
) -> Nights:
    """The first night, the next ones after a day more of usage and of work each, the last once more; then a year."""
    clock = FixedClock(NOW)
    store = await open_store(url, clock=clock)
    try:
        identity = Identity(store, b"")
        workspace = await identity.found_workspace(name="Benchmark")
        operator = await identity.operator(workspace)
        filler = Filler(workspace, accounts, days)
        await fill(store, postgres, filler)
        return await nights_of(kind, store, clock, postgres, operator, filler, of_a_year=of_a_year)
    finally:
        await store.close()


async def nights_of(
    kind: Kind,
    store: Store,
    clock: FixedClock,
    postgres: Postgres | None,
    operator: Principal,
    filler: Filler,
    *,
    of_a_year: bool,
) -> Nights:
    accounts, scans, at_will, following = filler.accounts, [], [], []
    async with sleeping(store.where.url.render_as_string(hide_password=False)) as sleeper:
        first = await sleeper.night(clock.now())
        for night in range(1, NIGHTS + 1):
            clock.advance(timedelta(days=1))
            for numbers in filler.parts():
                await write_rows(store, postgres, {"usage_day": filler.usage(numbers, [TODAY + timedelta(days=night)])})
                await _work(store, operator, numbers, night)
            os.sync()  # what was written without waiting for the disk is not the night's to wait for
            scans.append(await _scan(store, filler.workspace))
            if kind == "postgresql":
                at_will.append(await _scan(store, filler.workspace, at_will=True))
            following.append(await sleeper.night(clock.now()))
        again = await sleeper.night(clock.now())
    if (scored := {night.accounts for night in (first, *following)}) != {accounts}:
        raise AssertionError(f"{scored} of {accounts} accounts were scored")
    last = TODAY + timedelta(days=NIGHTS)
    trends = await year(store, postgres, operator, accounts, last) if of_a_year else None
    return Nights(kind, accounts, filler.days, scans, at_will, first, following, again, trends)


async def _work(store: Store, operator: Principal, numbers: range, night: int) -> None:
    """What a day brings besides usage: one account in fifty opens a ticket, and another one was met."""
    opened_at, held_on = NOW + timedelta(days=night - 1), TODAY + timedelta(days=night - 1)
    act = Act(change_id=store.ids.new("change"), actor_id=operator.user, tool="benchmark", at=store.clock.now())
    async with store.unit_of_work(operator, act) as work:
        for row, shared, first in (
            (TicketRow, {"severity": 2, "status": "open", "opened_at": opened_at, "escalated": False}, 7 + night),
            (MeetingRow, {"kind": "call", "status": "held", "held_on": held_on, "attendees": [], "decisions": [],
                          "product_requests": [], "roi_shown": False}, 31 + night),
        ):  # fmt: skip
            told = [
                {"id": store.ids.new(row.__tablename__), "account_id": f"acc_{n:018d}"} | shared
                for n in numbers[first::50]
            ]
            await bulk_create(work, row, told)


async def _scan(store: Store, workspace: str, *, at_will: bool = False) -> float:
    from sqlalchemy import func, select, text

    statement = select(func.count(), func.sum(USAGE_DAY.c.active_users)).where(USAGE_DAY.c.workspace == workspace)
    async with store.writer.connect() as connection:
        if store.dialect == "postgresql":
            await connection.execute(select(func.set_config("app.workspace", workspace, True)))
            if not at_will:
                await connection.execute(text("set local max_parallel_workers_per_gather = 0"))
        started = time.perf_counter()
        (await connection.execute(statement)).one()
        took = time.perf_counter() - started
        await connection.rollback()
    return took


# -- the book -----------------------------------------------------------------------------------------------------
class Filler:
    """Rows by table as tuples of `COLUMNS`: per account its days of usage, five contacts, three meetings, two notes,
    four tickets, two answers, four invoices, three movements, a subscription, a sponsor and a champion.
    """

    def __init__(self, workspace: str, accounts: int, days: int = DAYS) -> None:
        self.workspace = workspace
        self.accounts = accounts
        self.days = days
        self._random = random.Random(20260316)

    def parts(self, accounts: int | None = None) -> Iterator[range]:
        """All accounts, or the first so many, `CHUNK` at a time."""
        end = self.accounts if accounts is None else accounts
        for start in range(0, end, CHUNK):
            yield range(start, min(start + CHUNK, end))

    def chunks(self, accounts: int) -> Iterator[dict[str, Rows]]:
        days = [TODAY - timedelta(days=back) for back in range(self.days)]
        for numbers in self.parts(accounts):
            yield self.records(numbers) | {"usage_day": self.usage(numbers, days)}

    def usage(self, numbers: Sequence[int], days: Sequence[date]) -> Rows:
        of, draw = self.workspace, self._random.randrange
        ordinals = sorted(day.toordinal() for day in days)
        return [
            (of, f"acc_{n:018d}", "", day, draw(5, 40), draw(9), draw(200), 40, 3, 0)
            for n in numbers
            for day in ordinals
        ]

    def records(self, numbers: Sequence[int]) -> dict[str, Rows]:
        rows: dict[str, Rows] = {table: [] for table in COLUMNS if table != "usage_day"}
        for n in numbers:
            self._account(n, rows)
        return rows

    def _account(self, n: int, rows: dict[str, Rows]) -> None:
        draw, of, account = self._random.randrange, self.workspace, f"acc_{n:018d}"

        def ago(most: int) -> date:
            return TODAY - timedelta(days=draw(most))

        def then(most: int) -> datetime:
            return datetime(2026, 3, 16, draw(3), 30, tzinfo=UTC) - timedelta(days=draw(most))

        segment, touch = (("smb", "low"), ("mid_market", "mid"), ("enterprise", "high"))[n % 3]
        rows["usage_rollup"].append((of, account, False, True))
        rows["account_score"].append((of, account))
        rows["account"].append((of, account, 1, f"Customer {n}", f"customer {n}", segment, "gold", touch, "adoption",
                                "complete", "USD", "[]", "{}", 0, "unknown"))  # fmt: skip
        people = [f"con_{n:016d}{k:02d}" for k in range(5)]
        for k, person in enumerate(people):
            department = f"department {k % 3}"
            rows["contact"].append((of, person, 1, account, f"Person {k}", department, department, LEVELS[k], "[]",
                                    "active", ago(200)))  # fmt: skip
        for k, role in enumerate(("executive_sponsor", "champion")):
            rows["sponsorship"].append((of, f"spo_{n:016d}{k:02d}", 1, account, people[k], role, ago(500)))
        for k in range(3):
            there = json.dumps([{"contact_id": people[draw(5)], "attended": True}, {"user_id": "usr_1"}])
            rows["meeting"].append((of, f"mtg_{n:016d}{k:02d}", 1, account, ("qbr", "check_in", "call")[k], "held",
                                    ago(300), there, "positive", "[]", "[]", False))  # fmt: skip
        for k in range(2):
            rows["health_note"].append((of, f"nte_{n:016d}{k:02d}", 1, account, ago(200), "A note.", "neutral"))
        for k in range(4):
            opened = then(200)
            solved = opened + timedelta(hours=draw(300)) if k else None
            status = "resolved" if solved else "open"
            rows["ticket"].append((of, f"tkt_{n:016d}{k:02d}", 1, account, 1 + draw(4), status, opened, solved,
                                   draw(9) == 0, draw(9) == 0))  # fmt: skip
            due = ago(400)
            paid = due + timedelta(days=draw(40) - 20)
            rows["invoice"].append((of, f"inv_{n:016d}{k:02d}", 1, account, 100_00, "USD", due, paid, "paid"))
        for k in range(2):
            rows["survey_response"].append((of, f"svy_{n:016d}{k:02d}", 1, account, "nps", float(draw(11)), 10,
                                            then(400), True, "[]"))  # fmt: skip
        for k, kind in enumerate(("new", "expansion", "contraction")):
            amount = (50_000_00, 9_000_00, -2_000_00)[k]
            rows["arr_movement"].append((of, f"mov_{n:016d}{k:02d}", 1, account, ago(600), kind, amount, "USD"))
        rows["subscription"].append((of, f"sub_{n:018d}", 1, account, ago(300), TODAY + timedelta(days=draw(300)), 1,
                                     "USD", 50, 12, n % 2 == 0, False))  # fmt: skip


_RECORD: Final = ("workspace", "id", "version")
COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "account_score": ("workspace", "account_id"),
    "account": (*_RECORD, "name", "name_key", "segment", "tier", "touch", "stage", "onboarding_status", "currency",
                "tags", "custom", "arr_minor", "health_band"),
    "contact": (*_RECORD, "account_id", "name", "department", "department_key", "level", "roles", "status",
                "last_confirmed_on"),
    "sponsorship": (*_RECORD, "account_id", "contact_id", "role", "from_on"),
    "meeting": (*_RECORD, "account_id", "kind", "status", "held_on", "attendees", "sentiment", "decisions",
                "product_requests", "roi_shown"),
    "health_note": (*_RECORD, "account_id", "written_on", "text", "sentiment"),
    "ticket": (*_RECORD, "account_id", "severity", "status", "opened_at", "resolved_at", "escalated", "sla_breached"),
    "invoice": (*_RECORD, "account_id", "amount_minor", "currency", "due_on", "paid_on", "status"),
    "survey_response": (*_RECORD, "account_id", "kind", "score", "scale_max", "answered_at", "invited", "tags"),
    "arr_movement": (*_RECORD, "account_id", "on", "kind", "amount_minor", "currency"),
    "subscription": (*_RECORD, "account_id", "starts_on", "ends_on", "arr_minor", "currency", "seats", "term_months",
                     "auto_renew", "trial"),
    # What the import leaves behind: an account whose windows are still to be computed.
    "usage_rollup": ("workspace", "account_id", "touched", "stale"),
    "usage_day": ("workspace", "account_id", "department", "day", "active_users", "power_sessions", "feature_events",
                  "seats_used", "integrations", "summed"),
}  # fmt: skip


async def fill(store: Store, postgres: Postgres | None, filler: Filler) -> None:
    if store.where.is_sqlite:
        # The index of search is kept by triggers, and is nothing to this part. What follows an account is part of it.
        with sqlite3.connect(store.where.path) as connection:
            named = connection.execute(
                "select name from sqlite_master where type = 'trigger' and name glob 'search_*'"
            ).fetchall()
            for (name,) in named:
                connection.execute(f"drop trigger {name}")
        connection.close()
    by_row = min(filler.accounts, REPEATED) if store.where.is_sqlite else filler.accounts
    for rows in filler.chunks(by_row):
        await write_rows(store, postgres, rows)
    if by_row < filler.accounts:
        repeat(store.where.path, COLUMNS, by_row, filler.accounts)
    if postgres is not None and not store.where.is_sqlite:
        # What autovacuum would have done by the time such a book is in use.
        await postgres.execute("vacuum analyze", database=str(store.where.url.database))


async def write_rows(store: Store, postgres: Postgres | None, rows: dict[str, Rows]) -> None:
    if store.where.is_sqlite:
        _write_sqlite(store.where, rows)
    else:
        assert postgres is not None
        await _write_postgresql(postgres.owner(str(store.where.url.database)), rows)


def _write_sqlite(where: StoreUrl, rows: dict[str, Rows]) -> None:
    connection = sqlite3.connect(where.path, timeout=60)
    try:
        connection.execute("pragma synchronous = off")
        connection.execute("pragma cache_size = -262144")  # so that no page of a chunk is written twice
        with connection:
            for table, given in rows.items():
                names = ", ".join(f'"{name}"' for name in COLUMNS[table])
                places = ", ".join("?" * len(COLUMNS[table]))
                values = given if table == "usage_day" else [tuple(map(_as_sqlite, row)) for row in given]
                connection.executemany(f"insert into {table} ({names}) values ({places})", values)
    finally:
        connection.close()


def _as_sqlite(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    return value.isoformat() if isinstance(value, date) else value


async def _write_postgresql(owner: str, rows: dict[str, Rows]) -> None:
    import asyncpg

    connection = await asyncpg.connect(owner)
    try:
        # Neither triggers nor keys: what they would check is right, and search is nothing to this part.
        await connection.execute("set session_replication_role = replica")
        for table, given in rows.items():
            assert table in Base.metadata.tables
            await connection.copy_records_to_table(table, records=given, columns=COLUMNS[table])
    finally:
        await connection.close()
