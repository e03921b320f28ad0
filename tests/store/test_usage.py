"""Usage comes in any order, late and corrected, and its rollup says what the facts say."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from book import Desk, desk, unit
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Integer, bindparam

from conftest import NOW, SECRET, Postgres, new_team
from cs_mcp.db.facts.terms import LISTED
from cs_mcp.db.planning import merging
from cs_mcp.db.read_path import Statement
from cs_mcp.db.store import Store, open_store
from cs_mcp.db.usage.keeping import Brought, bring_to, rebuild
from cs_mcp.db.usage.rollup import kept, windows
from cs_mcp.db.usage.sliding import SLIDE_IN_ORDER
from cs_mcp.db.usage.usage import FIGURES
from cs_mcp.db.usage.writing import UsageTold, UsageWritten, write_usage
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.people.sponsors import Contact, SponsorRole, Sponsorship
from cs_mcp.domain.signals.signals import Feature
from cs_mcp.domain.signals.usage import METRICS
from cs_mcp.services.wiring import Services

TODAY = NOW.date()
FIRST = TODAY - timedelta(days=75)
ACCOUNTS, FEATURES = 3, 3
DEPARTMENTS = ("", "ingénierie", "ops")
WINDOWS_OF = Statement(lambda: windows(bindparam("as_of", type_=Integer)))
WINDOWS_OF_SOME = Statement(lambda: windows(bindparam("as_of", type_=Integer), LISTED))
KEPT = Statement(lambda: kept())

Figures = dict[str, int | None]


# -- the same in plain Python -----------------------------------------------------------------------------------


@dataclass
class Model:
    """Everything that was told, and what it comes to."""

    days: dict[tuple[int, int, str, str], int] = field(default_factory=dict[tuple[int, int, str, str], int])
    features: dict[tuple[int, int, int, str], int] = field(default_factory=dict[tuple[int, int, int, str], int])
    core: set[int] = field(default_factory=set[int])
    sponsors: dict[int, str] = field(default_factory=dict[int, str])
    merged: dict[int, int] = field(default_factory=dict[int, int])

    def total(self, account: int, day: int, metric: str) -> int | None:
        if (told := self.days.get((account, day, "", metric))) is not None:
            return told
        parts = [self.days[key] for d in DEPARTMENTS[1:] if (key := (account, day, d, metric)) in self.days]
        if parts:
            return sum(parts)
        if metric != "feature_events":
            return None
        totals = [total for f in range(FEATURES) if (total := self.events(account, f, day)) is not None]
        return sum(totals) if totals else None

    def events(self, account: int, feature: int, day: int) -> int | None:
        if (told := self.features.get((account, feature, day, ""))) is not None:
            return told
        parts = [self.features[key] for d in DEPARTMENTS[1:] if (key := (account, feature, day, d)) in self.features]
        return sum(parts) if parts else None

    def owner(self, account: int) -> int:
        return self.owner(self.merged[account]) if account in self.merged else account

    def of_account(self, account: int, as_of: int) -> Figures | None:
        """The figures of a live account; None without any usage by then."""
        records = [self.of_record(r, as_of) for r in range(ACCOUNTS) if self.owner(r) == account]
        known = [record for record in records if record["last_day"] is not None]
        return {name: self._together(name, [record[name] for record in known]) for name in FIGURES} if known else None

    @staticmethod
    def _together(name: str, values: list[int | None]) -> int | None:
        there = [value for value in values if value is not None]
        if not there:
            return None
        if name == "first_day":
            return min(there)
        largest = "day" in name or name.startswith("core")
        return max(there) if largest else sum(there)

    def of_record(self, account: int, as_of: int) -> Figures:
        told = {day for a, day, *_ in self.days if a == account} | {d for a, _, d, _ in self.features if a == account}
        known = sorted(day for day in told if day <= as_of)
        found: Figures = {"first_day": known[0] if known else None, "last_day": known[-1] if known else None}

        def values(metric: str, first: int, last: int, department: str = "") -> list[tuple[int, int]]:
            days = range(as_of - last, as_of - first + 1)
            one = self.total if not department else lambda a, d, m: self.days.get((a, d, department, m))
            return [(day, value) for day in days if (value := one(account, day, metric)) is not None]

        def window(name: str, days: str, metric: str, first: int, last: int, department: str = "") -> None:
            told = [value for _, value in values(metric, first, last, department)]
            found[name], found[days] = (sum(told) if told else None), len(told)

        def latest(name: str, day: str, metric: str, first: int) -> None:
            found[day], found[name] = (values(metric, first, 59) or [(None, None)])[-1]

        latest("seats_used", "seats_day", "seats_used", 0)
        latest("integrations", "integrations_day", "integrations", 0)
        latest("integrations_prev", "integrations_prev_day", "integrations", 30)
        window("active_7", "days_7", "active_users", 0, 6)
        window("active_30", "days_30", "active_users", 0, 29)
        window("active_prev_30", "days_prev_30", "active_users", 30, 59)
        window("events_30", "event_days_30", "feature_events", 0, 29)
        window("events_prev_30", "event_days_prev_30", "feature_events", 30, 59)
        window("power_w1", "power_days_w1", "power_sessions", 0, 6)
        window("power_w2", "power_days_w2", "power_sessions", 7, 13)
        window("power_w3", "power_days_w3", "power_sessions", 14, 20)
        last = [value for _, value in values("active_users", 0, 29)][-7:]
        found["active_now"] = int(sum(last) * 100 / len(last) + 0.5) if last else None
        department = self.sponsors.get(self.owner(account), "?")
        window("sponsor_dept_30", "sponsor_dept_days_30", "active_users", 0, 29, department)
        window("sponsor_dept_prev_30", "sponsor_dept_days_prev_30", "active_users", 30, 59, department)
        used = {f for (a, f, day, _), n in self.features.items() if a == account and as_of - 30 < day <= as_of and n}
        ever = any(a == account and day <= as_of for a, _, day, _ in self.features)
        found["core_used_30"], found["core_total"] = (
            (len(used & self.core) if ever and self.core else None),
            len(self.core),
        )
        return found


# -- the same told to a store -----------------------------------------------------------------------------------


@dataclass
class Told:
    """A store that is told what the model is told."""

    store: Store
    ada: Desk
    accounts: list[str]
    features: list[str]

    @classmethod
    async def new(cls, store: Store) -> Told:
        team = await new_team(Services(store, SECRET))
        ada = await desk(team, "ada")
        accounts = [await ada.opens(f"Account {n}") for n in range(ACCOUNTS)]
        async with unit(store, ada.principal) as work:
            features = [Feature(id=store.ids.new("feature"), name=f"Feature {n}") for n in range(FEATURES)]
            for feature in features:
                work.features.add(feature)
        return cls(store, ada, accounts, [feature.id for feature in features])

    async def rows(self, statement: Statement, **given: Any) -> dict[str, dict[str, Any]]:
        [found] = await self.store.reads.run([statement], given | {"workspace": self.ada.principal.workspace})
        return {row.pop("account_id"): row for row in found}

    async def write(self, told: UsageTold) -> UsageWritten:
        written = UsageWritten()
        async with unit(self.store, self.ada.principal) as work:
            await write_usage(work, told, written)
        return written

    async def bring(self, day: date) -> Brought:
        async with unit(self.store, self.ada.principal) as work:
            return await bring_to(work, day)

    async def figures(self, model: Model, facts: list[tuple[Any, ...]]) -> None:
        told = UsageTold()
        for account, back, department, feature, metric, value in facts:
            day, name = TODAY.toordinal() - back, DEPARTMENTS[department]
            if feature is not None:
                told.tell_feature(self.accounts[account], day, self.features[feature], value, name)
                model.features[account, feature, day, name] = value
            else:
                told.tell(self.accounts[account], day, METRICS.index(metric), value, name)
                model.days[account, day, name, metric] = value
        await self.write(told)

    async def core(self, model: Model, feature: int, is_core: bool | None) -> None:
        async with unit(self.store, self.ada.principal) as work:
            work.features.save((await work.features.get(self.features[feature])).changed(is_core=is_core))
        (model.core.add if is_core else model.core.discard)(feature)

    async def sponsor(self, model: Model, account: int, department: int) -> None:
        """Somebody of the department takes the seat."""
        name = DEPARTMENTS[department]
        async with unit(self.store, self.ada.principal) as work:
            for seat in await work.sponsorships.of_account(self.accounts[account]):
                work.sponsorships.save(seat.changed(removed_at=work.now))
            who = work.contacts.add(
                Contact(
                    id=self.store.ids.new("contact"),
                    account_id=self.accounts[account],
                    name="Sponsor",
                    department=f" {name.upper()} ",
                )
            )
            work.sponsorships.add(
                Sponsorship(
                    id=self.store.ids.new("sponsorship"),
                    account_id=self.accounts[account],
                    contact_id=who.id,
                    role=SponsorRole.executive_sponsor,
                    from_on=FIRST - timedelta(days=100),
                )
            )
        model.sponsors[account] = name or "?"

    async def merge(self, model: Model, old: int, new: int) -> None:
        """Into what `new` belongs to; or apart again, where it is merged already."""
        new = model.owner(new)
        async with unit(self.store, self.ada.principal) as work:
            if old in model.merged:
                row = (await work.rows_of([("account", self.accounts[old])])).popitem()[1]
                row.removed_at = row.merged_into_id = None  # type: ignore[attr-defined]
                del model.merged[old]
            elif new != old:
                account = await work.accounts.get(self.accounts[old])
                gone = {"removed_at": work.now, "merged_into_id": self.accounts[new]}
                work.accounts.save(account.changed(**gone))
                model.merged[old] = new

    async def holds(self, model: Model, as_of: date, found: Mapping[str, Mapping[str, Any]]) -> None:
        expected = {
            self.accounts[account]: figures
            for account in range(ACCOUNTS)
            if account not in model.merged and (figures := model.of_account(account, as_of.toordinal())) is not None
        }
        assert {account: dict(row) for account, row in found.items()} == expected


some = st.integers(0, ACCOUNTS - 1)
facts = st.tuples(
    some,
    st.one_of(st.integers(-3, 75), st.sampled_from([0, 1, 6, 7, 13, 14, 20, 21, 29, 30, 31, 59, 60, 61])),
    st.sampled_from([0, 0, 0, 1, 2]),
    st.sampled_from([None, None, None, *range(FEATURES)]),
    st.sampled_from(["active_users", "active_users", "power_sessions", "feature_events", "seats_used", "integrations"]),
    st.integers(0, 9),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("figures"), st.lists(facts, min_size=1, max_size=25)),
        st.tuples(st.just("figures"), st.lists(facts, min_size=1, max_size=25)),
        st.tuples(st.just("bring"), st.sampled_from([0, 1, 1, 1, 2, -3])),
        st.tuples(st.just("core"), st.integers(0, FEATURES - 1), st.sampled_from([True, True, False, None])),
        st.tuples(st.just("sponsor"), some, st.integers(0, 2)),
        st.tuples(st.just("merge"), some, some),
    ),
    min_size=4,
    max_size=14,
)
COMMON: dict[str, Any] = {
    "deadline": None,
    "phases": (Phase.explicit, Phase.reuse, Phase.generate),
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


async def play(store: Store, story: list[tuple[Any, ...]]) -> None:
    told, model, at = await Told.new(store), Model(), TODAY - timedelta(days=1)
    for what, *given_ in [*story, ("bring", 1)]:
        if what != "bring":
            await getattr(told, what)(model, *given_)
            continue
        at += timedelta(days=given_[0])
        await told.bring(at)
        assert await told.bring(at) == Brought()
        await told.holds(model, at, await told.rows(KEPT))
        await told.holds(model, at, await told.rows(WINDOWS_OF, as_of=at.toordinal()))
    past = TODAY - timedelta(days=20)
    await told.holds(model, past, await told.rows(WINDOWS_OF, as_of=past.toordinal()))
    before = await told.rows(KEPT)
    async with unit(store, told.ada.principal) as work:
        await rebuild(work, at)
    assert await told.rows(KEPT) == before
    some = await told.rows(WINDOWS_OF_SOME, as_of=at.toordinal(), accounts=told.accounts[:1])
    assert some == {account: row for account, row in before.items() if account == told.accounts[0]}


async def played(url: str, story: list[tuple[Any, ...]]) -> None:
    store = await open_store(url, clock=FixedClock(NOW))
    try:
        await play(store, story)
    finally:
        await store.close()


def every_day(value: int) -> tuple[Any, ...]:
    return ("figures", [(0, back, 0, None, "active_users", value) for back in range(61)])


# A book that is slid over each edge of its windows, with a late row, a correction and a department of the sponsor.
SLIDING: list[tuple[Any, ...]] = [
    ("sponsor", 0, 1),
    ("core", 0, True),
    every_day(3),
    ("figures", [(0, back, 1, None, "active_users", 2) for back in (0, 1, 29, 30, 58, 59, 60)]),
    ("figures", [(0, 29, 0, 0, "", 4), (0, 28, 1, 0, "", 4), (1, 59, 0, None, "seats_used", 7)]),
    ("bring", 0),
    ("bring", 1),
    ("bring", 1),
    ("figures", [(0, 5, 0, None, "active_users", 9), (2, 40, 2, None, "integrations", 1)]),
    ("bring", 1),
    ("merge", 1, 0),
    ("bring", 1),
    ("core", 1, True),
    ("bring", 1),
    ("figures", [(2, 2, 0, None, "seats_used", 9)]),
    ("bring", 0),
    ("figures", [(2, 8, 0, None, "seats_used", 4), (2, 1, 0, 0, "", 3)]),
    ("bring", 0),
]


@settings(max_examples=15, **COMMON)
@given(story=steps)
@example(story=SLIDING)
def test_the_rollup_says_what_the_facts_say(
    story: list[tuple[Any, ...]], sqlite_template: Path, tmp_path_factory: Any
) -> None:
    path = tmp_path_factory.mktemp("usage") / "store.db"
    shutil.copy(sqlite_template, path)
    asyncio.run(played(f"sqlite:///{path}", story))


@settings(max_examples=6, **COMMON)
@given(story=steps)
@example(story=SLIDING)
def test_so_it_does_on_postgresql(story: list[tuple[Any, ...]], postgres: Postgres, postgres_database: str) -> None:
    asyncio.run(played(postgres.app(postgres_database), story))


async def test_figures_sent_again_change_nothing_and_corrected_ones_are_told(store: Store) -> None:
    told = await Told.new(store)
    usage = UsageTold()
    day = TODAY.toordinal()
    usage.tell(told.accounts[0], day, METRICS.index("logins"), 5)
    usage.tell(told.accounts[0], day, METRICS.index("active_users"), 2, "ops")
    usage.tell_feature(told.accounts[1], day - 1, told.features[0], 3)

    first = await told.write(usage)
    again = await told.write(usage)
    usage.tell(told.accounts[0], day, METRICS.index("logins"), 6)
    third = await told.write(usage)

    assert (first.created, first.updated, first.unchanged) == (3, 0, 0)
    assert (first.first_day, first.last_day, first.accounts) == (day - 1, day, set(told.accounts[:2]))
    assert (again.changed, again.unchanged, again.first_day) == (0, 3, None)
    assert (third.created, third.updated, third.unchanged, third.accounts) == (0, 1, 2, {told.accounts[0]})
    assert third.digest != first.digest


async def test_a_slide_on_postgresql_reads_its_days_from_their_indexes_alone(
    postgres: Postgres, postgres_database: str, clock: FixedClock
) -> None:
    """An index that does not fit the question is no error: the night takes twice as long."""
    store = await open_store(postgres.app(postgres_database), clock=clock)
    team = await new_team(Services(store, SECRET))
    operator = (await desk(team, "ana")).principal
    told = {"workspace": team.workspace, "as_of": TODAY.toordinal(), "after": "", "last": "z", "core": "none"}
    async with unit(store, operator) as work, merging(work):
        wire = await work.wire()
        await wire.run("set local enable_seqscan = off; set local enable_bitmapscan = off")
        prepared = SLIDE_IN_ORDER.prepared(wire.dialect)
        driver: Any = (await (await work.session.connection()).get_raw_connection()).driver_connection
        plan = [row[0] for row in await driver.fetch(f"explain {prepared.sql}", *prepared.arguments(told))]
    await store.close()

    read = sorted(line.split(" using ")[1].split("  (")[0] for line in plan if "Index Only Scan using ix_usage" in line)
    of_all = [f"ix_usage_day_by_day on usage_day all_{back}" for back in (0, 14, 21, 30, 60, 7)]
    of_sponsor = [f"ix_usage_day_departments on usage_day sponsor_{back}" for back in (0, 30, 60)]
    assert read == of_all + of_sponsor
