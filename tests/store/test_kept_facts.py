"""What is kept of the feeds says what their records say, whatever was written between two nights, and whenever."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from _health_book import CADENCE, TABLES, HealthBook, random_book
from book import Desk, desk, rows_of, unit
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from conftest import NOW, SECRET, Postgres, Team, new_team
from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.bulk import bulk_create
from cs_mcp.db.facts.facts import facts_of
from cs_mcp.db.facts.groups import GROUPS
from cs_mcp.db.facts.kept import ACCOUNT_FACTS, KEPT, until
from cs_mcp.db.facts.terms import LISTED, WORKSPACE, moment
from cs_mcp.db.facts.turns import NEVER, TURNS, NextTurns
from cs_mcp.db.health.scoring import scored
from cs_mcp.db.health.scoring_tables import SNAPSHOTS
from cs_mcp.db.history.changes import remember_json
from cs_mcp.db.read_path import Statement
from cs_mcp.db.store import Store, open_store
from cs_mcp.domain.calendar import Calendar, FixedClock
from cs_mcp.domain.facts.facts import FACTS
from cs_mcp.domain.health.rubric import Cadence
from cs_mcp.services.accounts.merge import MergeRecords
from cs_mcp.services.health.rubric_files import default_text, read_rubric
from cs_mcp.services.health.scoring import Scoring
from cs_mcp.services.wiring import Services

TODAY = NOW.date()
ACCOUNT: Any = AccountRow.__table__
EVERY = [name for name in FACTS if name != "segment"]
READ = Statement(lambda: facts_of(EVERY, LISTED, Cadence(**CADENCE), rollup=False))
KEPT_FACTS = Statement(lambda: facts_of(EVERY, LISTED, Cadence(**CADENCE), rollup=True))
RUBRIC = read_rubric(default_text())
SCORES = Statement(lambda: scored(RUBRIC, LISTED, rollup=False))
SLOTS = [f"{letter}{slot}" for letter in "pv" for slot in RUBRIC.slots.values()]
TOLD = ("score_tenths", "band", "computed_band", "confidence", "rules", *SLOTS)
ZONES = ("UTC", "America/Los_Angeles", "Pacific/Kiritimati", "Africa/Casablanca")


def test_every_column_of_a_group_is_kept_and_every_group_has_its_turns() -> None:
    read = {group: [c.key for c in columns(LISTED).selected_columns] for group, columns in GROUPS.items()}
    assert {group: ["account_id", *names] for group, names in KEPT.items() if names} == read
    assert TURNS.keys() == KEPT.keys()


# -- a story ------------------------------------------------------------------------------------------------------
def _shift(random: Random, value: Any) -> Any:
    days = timedelta(days=random.choice([-200, -31, -30, -1, 1, 29, 30, 91, 400]))
    return value + days


def _days_of(row: Any) -> list[str]:
    days = [c.key for c in row.__table__.c if c.key.endswith(("_on", "_at")) or c.key == "on"]
    return [name for name in days if name not in row.settled]


@dataclass
class Story:
    """A book that is written to while nights go by."""

    store: Store
    clock: FixedClock
    team: Team
    ada: Desk
    book: HealthBook

    @classmethod
    async def begin(cls, store: Store, clock: FixedClock, seed: int) -> Story:
        team = await new_team(Services(store, SECRET))
        book = random_book(store, Random(seed), TODAY, 12)
        await book.write(store, team)
        return cls(store, clock, team, await desk(team, "ada"), book)

    async def night(self, days: int) -> None:
        self.clock.advance(timedelta(days=days))
        operator = await self.team.services.identity.operator(self.team.workspace)
        await Scoring(self.store).score_all(operator, size=4)
        calendar = (await self.store.workspace(self.team.workspace)).calendar
        day = calendar.today(self.clock.now())
        given = moment(day, calendar) | {"workspace": self.team.workspace, "accounts": self.book.accounts}
        read, kept, scores = (
            {row["account_id"]: row for row in rows}
            for rows in await self.store.reads.run([READ, KEPT_FACTS, SCORES], given)
        )
        assert kept == read
        assert len(read) > 3
        snapshots = await rows_of(self.store, self.team.workspace, SNAPSHOTS, "account_id", "on")
        written = {row["account_id"]: row for row in snapshots if row["on"] == day}
        assert {account: [written[account][name] for name in TOLD] for account in scores} == {
            account: [row[name] for name in TOLD] for account, row in scores.items()
        }

    async def edit(self, seed: int) -> None:
        """A record of any kind is dated otherwise, removed, brought back, led to another account, or joined by one."""
        random = Random(seed)
        entity = random.choice([table for table in TABLES if table != "account"])
        if not self.book.rows[entity]:
            return
        told = random.choice(self.book.rows[entity])
        how = random.choice(["date", "date", "remove", "move", "copy", "currency"])
        async with unit(self.store, self.ada.principal) as work:
            if how == "copy":
                copy = told | {"id": self.store.ids.new(entity), "account_id": random.choice(self.book.accounts)}
                await bulk_create(work, TABLES[entity], [copy])
                self.book.rows[entity].append(copy)
                return
            key = ("account", told["account_id"]) if how == "currency" else (entity, told["id"])
            row: Any = (await work.rows_of([key]))[key]
            remember_json(row)
            if how == "currency":
                row.currency = "EUR" if row.currency == "USD" else "USD"
            elif how == "remove":
                row.removed_at = work.now if row.removed_at is None else None
            elif how == "move":
                row.account_id = random.choice(self.book.accounts)
            else:
                name = random.choice(_days_of(TABLES[entity]))
                if (value := getattr(row, name)) is not None and name != "removed_at":
                    setattr(row, name, _shift(random, value))

    async def zone(self, name: str) -> None:
        """Days are counted otherwise from now on."""
        async with unit(self.store, self.ada.principal) as work:
            workspace = await work.workspaces.get(work.workspace.id)
            work.workspaces.save(workspace.changed(time_zone=name))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("edit"), st.integers(0, 10_000)),
        st.tuples(st.just("edit"), st.integers(0, 10_000)),
        st.tuples(st.just("night"), st.sampled_from([0, 1, 1, 1, 2, 29, 60])),
        st.tuples(st.just("zone"), st.sampled_from(ZONES)),
    ),
    min_size=4,
    max_size=12,
)
COMMON: dict[str, Any] = {
    "deadline": None,
    "phases": (Phase.explicit, Phase.reuse, Phase.generate),
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
# A month of nights with a write of each kind between them, and the clocks of summer beginning in the middle.
A_MONTH: list[tuple[Any, ...]] = [
    ("zone", "America/Los_Angeles"),
    *(step for n in range(30) for step in (("night", 1), ("edit", n), ("edit", 100 + n))),
]


async def played(url: str, seed: int, story: list[tuple[Any, ...]]) -> None:
    clock = FixedClock(NOW)
    store = await open_store(url, clock=clock)
    try:
        told = await Story.begin(store, clock, seed)
        for what, value in [("night", 0), *story, ("night", 1)]:
            await getattr(told, what)(value)
    finally:
        await store.close()


@settings(max_examples=8, **COMMON)
@given(seed=st.integers(0, 1000), story=steps)
@example(seed=3, story=A_MONTH)
def test_kept_facts_are_what_the_records_say_after_any_writes_and_days(
    seed: int, story: list[tuple[Any, ...]], sqlite_template: Path, tmp_path_factory: Any
) -> None:
    path = tmp_path_factory.mktemp("kept") / "store.db"
    shutil.copy(sqlite_template, path)
    asyncio.run(played(f"sqlite:///{path}", seed, story))


@settings(max_examples=3, **COMMON)
@given(seed=st.integers(0, 1000), story=steps)
@example(seed=4, story=A_MONTH[:30])
def test_so_they_are_on_postgresql(
    seed: int, story: list[tuple[Any, ...]], postgres: Postgres, postgres_database: str
) -> None:
    asyncio.run(played(postgres.app(postgres_database), seed, story))


# -- single writes ------------------------------------------------------------------------------------------------
async def test_a_merge_and_its_undo_move_what_is_kept(store: Store, clock: FixedClock) -> None:
    story = await Story.begin(store, clock, 5)
    await story.night(0)
    live = [row["id"] for row in story.book.rows["account"] if row["removed_at"] is None]
    plan = await story.ada.do(MergeRecords(kind="account", keep=live[0], merge=live[1], reason="One customer"))
    merged = await story.ada.commits(plan.plan_id)
    await story.night(1)

    await story.ada.undoes(merged.change_id)

    await story.night(0)
    await story.night(1)


async def test_what_was_written_of_an_account_that_is_removed_is_read_once_it_is_back(
    store: Store, clock: FixedClock
) -> None:
    story = await Story.begin(store, clock, 6)
    await story.night(0)
    touched = next(row for row in story.book.rows["ticket"] if _is_live(story.book, row["account_id"]))

    async def save(entity: str, record: str, **values: Any) -> None:
        async with unit(store, story.ada.principal) as work:
            row: Any = (await work.rows_of([(entity, record)]))[entity, record]
            remember_json(row)
            for name, value in values.items():
                setattr(row, name, value)

    await save("ticket", touched["id"], removed_at=None, status="open", resolved_at=None, severity=1)
    await save("account", touched["account_id"], removed_at=clock.now())
    await story.night(1)
    await save("account", touched["account_id"], removed_at=None)

    await story.night(0)

    assert (await kept_rows(story))[touched["account_id"]]["tickets_open_sev1"] > 0


def _is_live(book: HealthBook, account: str) -> bool:
    return any(row["id"] == account and row["removed_at"] is None for row in book.rows["account"])


async def test_a_night_renews_what_was_written_or_came_due_and_nothing_else(store: Store, clock: FixedClock) -> None:
    story = await Story.begin(store, clock, 6)
    await story.night(0)
    before = await kept_rows(story)
    touched = next(account for account, row in before.items() if row[until("tickets")] > TODAY.toordinal() + 1)
    await story.ada.meets(touched)

    await story.night(1)

    after, tomorrow = await kept_rows(story), TODAY.toordinal() + 1
    due = {account for account, row in before.items() if any(row[until(group)] <= tomorrow for group in KEPT)}
    renewed = {account for account, row in after.items() if row["as_of_day"] == tomorrow}
    assert renewed == due | {touched}
    assert len(renewed) < len(after)
    assert after[touched][until("tickets")] == before[touched][until("tickets")]


async def kept_rows(story: Story) -> dict[str, dict[str, Any]]:
    rows = await rows_of(story.store, story.team.workspace, ACCOUNT_FACTS, "account_id")
    return {row["account_id"]: row for row in rows}


# -- turns --------------------------------------------------------------------------------------------------------
def _untils(group: str) -> Any:
    turns = NextTurns((group,), LISTED)
    source: Any = ACCOUNT
    for read in turns.reads.values():
        source = source.outerjoin(read, read.c.account_id == ACCOUNT.c.id)
    told = select(ACCOUNT.c.id, turns.of(group).label("until")).select_from(source)
    return told.where(ACCOUNT.c.workspace == WORKSPACE, LISTED.of(ACCOUNT.c.id))


UNTILS = {group: Statement(lambda group=group: _untils(group)) for group in TURNS}


def _first_turn(book: HealthBook, group: str, account: str, as_of: int, calendar: Calendar) -> int:
    days = [
        (calendar.day_of(value) if isinstance(value, datetime) else value).toordinal() + later
        for turn in TURNS[group]
        for row in book.rows[turn.row.__tablename__]
        if row["account_id"] == account and row["removed_at"] is None and (value := row.get(turn.column)) is not None
        for later in turn.after
    ]
    return min((day for day in days if day > as_of), default=NEVER)


@pytest.mark.parametrize("zone", ZONES)
async def test_the_next_turn_of_each_group_is_the_first_day_a_date_of_it_is_so_old(
    store: Store, team: Team, zone: str
) -> None:
    """Midnight is of the day that begins. By the season's clocks a turn may be told early, and then again."""
    calendar, random = Calendar(time_zone=zone), Random(zone)
    book = random_book(store, random, TODAY, 40)
    for row in (row for rows in book.rows.values() for row in rows):
        for name in ("opened_at", "resolved_at", "answered_at"):
            if row.get(name) is not None and random.random() < 0.6:
                row[name] = calendar.start_of(calendar.day_of(row[name]))
    await book.write(store, team)
    steady = zone in ("UTC", "Pacific/Kiritimati")
    turns = 0
    for back in range(12):
        day = TODAY - timedelta(days=back)
        given = moment(day, calendar) | {"workspace": team.workspace, "accounts": book.accounts}
        for group, rows in zip(UNTILS, await store.reads.run(list(UNTILS.values()), given), strict=True):
            for row in rows:
                first = _first_turn(book, group, row["id"], day.toordinal(), calendar)
                turns += first < NEVER
                if steady or first == NEVER:
                    assert row["until"] == first, (group, row, first)
                else:
                    assert day.toordinal() < row["until"] <= first, (group, row, first)
    assert turns > 1000
