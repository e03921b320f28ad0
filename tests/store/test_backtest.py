"""A replay knows of each day what was dated by then; who left is read off the ledger."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any, NamedTuple

import pytest
from _health_book import HealthBook, random_book
from book import unit
from sqlalchemy import bindparam, update

from conftest import NOW, Team
from cs_mcp.db.bulk import bulk_create
from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.people.sponsors import ContactRow, SponsorshipRow
from cs_mcp.db.read_path import Statement
from cs_mcp.db.revenue.subscriptions import ArrMovementRow, SubscriptionRow
from cs_mcp.db.signals.signals import CompanyEventRow, InvoiceRow, SurveyResponseRow, TicketRow
from cs_mcp.db.store import Store
from cs_mcp.db.usage.writing import UsageTold, UsageWritten, write_usage
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.health.rubric import Rubric
from cs_mcp.domain.health.scoring import score
from cs_mcp.domain.signals.usage import METRICS
from cs_mcp.services.health.backtest import Backtests, Period, Replay, judged
from cs_mcp.services.health.rubric_files import default_text, read_rubric

TODAY = NOW.date()
DAY = TODAY - timedelta(days=40)
NEXT = DAY + timedelta(days=1)
LATER = DAY + timedelta(days=3)
RUBRIC = read_rubric(default_text().replace("min_coverage: 0.3 ", "min_coverage: 0.05 "))


class Said(NamedTuple):
    """What a replay said of an account on a day, its outcome apart."""

    segment: str
    score_tenths: int | None
    band: Band
    points: tuple[int | None, ...]
    rules: str


async def replayed(team: Team, *days: date, horizon_days: int = 90, rubric: Rubric = RUBRIC, **more: Any) -> Replay:
    operator = await team.services.identity.operator(team.workspace)
    return await Backtests(team.services.store).replay(operator, rubric, Period(days, horizon_days), **more)


def said(replay: Replay, day: date) -> dict[str, Said]:
    told = zip(replay.cases, replay.points, replay.rules, strict=True)
    return {c.account: Said(c.segment, c.score_tenths, c.band, p, rules) for c, p, rules in told if c.on == day}


@pytest.fixture
async def book(store: Store, team: Team) -> HealthBook:
    made, random = random_book(store, Random(11), TODAY, 110), Random(12)
    worth = {account: random.choice([100, 1_000, 10_000]) for account in made.accounts}  # for each segment some
    for row in made.rows["arr_movement"]:
        row["amount_minor"] *= worth[row["account_id"]]
    await made.write(store, team)
    return made


# -- no leak ----------------------------------------------------------------------------------------------------


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


async def plant_the_next_day(store: Store, team: Team, book: HealthBook) -> None:
    """Everything that can happen to each account the day after `DAY`, and everything open then ends."""
    async with unit(store, await team.services.identity.operator(team.workspace)) as work:

        async def add(row: Any, of: list[str], **values: Any) -> None:
            await bulk_create(
                work, row, [{"id": work.ids.new(row.__tablename__), "account_id": a, **values} for a in of]
            )

        contacts = {row["account_id"]: row["id"] for row in book.rows["contact"] if row["removed_at"] is None}
        every = book.accounts
        await add(TicketRow, every, severity=1, opened_at=_noon(NEXT), status="open", escalated=True, sla_breached=True)
        await add(InvoiceRow, every, amount_minor=100, currency="USD", due_on=NEXT, status="open")
        nps: dict[str, Any] = {"kind": "nps", "score": 0.0, "scale_max": 10, "invited": True, "tags": []}
        await add(SurveyResponseRow, every, answered_at=_noon(NEXT), **nps)
        await add(CompanyEventRow, every, on=NEXT, kind="layoff")
        await add(HealthNoteRow, every, written_on=NEXT, text="They are leaving.", sentiment="negative")
        for note in [row for row in book.rows["health_note"] if row["removed_at"] is None]:
            await add(HealthNoteRow, [note["account_id"]], written_on=NEXT, text="Not so.", corrects_id=note["id"])
        lists: dict[str, Any] = {"decisions": [], "product_requests": [], "roi_shown": False}
        for account, contact in contacts.items():
            who = [{"contact_id": contact, "user_id": None, "attended": True}]
            met = {"kind": "qbr", "status": "held", "held_on": NEXT, "attendees": who, "sentiment": "negative"}
            await add(MeetingRow, [account], **met, **lists)
            await add(SponsorshipRow, [account], contact_id=contact, role="executive_sponsor", from_on=NEXT)
        cut = {"on": NEXT, "kind": "contraction", "currency": "USD"}
        await add(ArrMovementRow, every, **cut, amount_minor=-1)
        term = {"starts_on": NEXT, "ends_on": LATER, "arr_minor": 1, "currency": "USD", "trial": False}
        await add(SubscriptionRow, every, **term, seats=1_000, term_months=36, auto_renew=True)

        wire = await work.wire()
        for row, column, others in (
            (TicketRow, "resolved_at", {"status": "resolved"}),
            (InvoiceRow, "paid_on", {"status": "paid"}),
            (ContactRow, "departed_on", {"status": "departed"}),
            (SponsorshipRow, "to_on", {}),
            (SubscriptionRow, "canceled_on", {}),
        ):
            table: Any = row.__table__
            still = [one["id"] for one in book.rows[table.name] if one[column] is None and one.get("status") != "paid"]
            if row is ContactRow:
                still = [one["id"] for one in book.rows["contact"] if one["status"] == "active" and not one[column]]
            if row is InvoiceRow:
                still = [one["id"] for one in book.rows["invoice"] if one["status"] == "open"]
            ends = Statement(
                lambda table=table, column=column, others=others: (
                    update(table)
                    .where(table.c.workspace == bindparam("w"), table.c.id == bindparam("one"))
                    .values({column: bindparam("ended", type_=table.c[column].type), **others})
                )
            )
            when = _noon(NEXT) if column == "resolved_at" else NEXT
            await wire.many(ends, [{"w": team.workspace, "one": one, "ended": when} for one in still])
        told = UsageTold()
        for account in every:
            for day in (NEXT, LATER):
                for metric in ("active_users", "power_sessions", "seats_used"):
                    told.tell(account, day.toordinal(), METRICS.index(metric), 900)
                told.tell_feature(account, day.toordinal(), book.core[0], 5)
        await write_usage(work, told, UsageWritten())


async def test_what_comes_after_a_day_changes_no_score_of_that_day(store: Store, team: Team, book: HealthBook) -> None:
    before = await replayed(team, DAY, LATER)

    await plant_the_next_day(store, team, book)

    after = await replayed(team, DAY, LATER)
    assert len(said(before, DAY)) > 20
    assert said(after, DAY) == said(before, DAY)
    # Each of these moves scores as soon as its day has come; what no feed tells yet is never known.
    names = [measure.name for measure in RUBRIC.measures]
    now, then = said(after, LATER), said(before, LATER)
    moved = {
        name for a in now.keys() & then.keys() for name, p, q in zip(names, now[a].points, then[a].points, strict=True)
        if p != q
    }  # fmt: skip
    untold = {"objectives_on_track", "value_confirmed", "first_value"}
    assert moved == set(names) - untold


async def test_what_is_entered_late_counts_from_the_day_it_happened(store: Store, team: Team, book: HealthBook) -> None:
    before = said(await replayed(team, DAY), DAY)
    async with unit(store, await team.services.identity.operator(team.workspace)) as work:
        told = {"opened_at": _noon(DAY), "severity": 1, "status": "open", "escalated": False}
        await bulk_create(
            work, TicketRow, [{"id": work.ids.new("ticket"), "account_id": a, **told} for a in book.accounts]
        )

    after = said(await replayed(team, DAY), DAY)

    slot = RUBRIC.slots["open_severe"] - 1
    known = [account for account in before if set(after[account].points) != {None}]
    had = [(before[account].points[slot], after[account].points[slot]) for account in known]
    assert any(then is None for then, _ in had)
    assert all(now is not None and (now == 0 or then is None or now < then) for then, now in had)


# -- who was there, and who left --------------------------------------------------------------------------------


def balances(book: HealthBook) -> dict[str, dict[date, int]]:
    """ARR of each account at the end of each day on which it moved, by plain addition."""
    found: dict[str, dict[date, int]] = {}
    for account in book.rows["account"]:
        if account["removed_at"] is not None:
            continue
        moved: defaultdict[date, int] = defaultdict(int)
        for row in book.rows["arr_movement"]:
            own = row["account_id"] == account["id"] and row["currency"] == account["currency"]
            if own and row["removed_at"] is None:
                moved[row["on"]] += row["amount_minor"]
        total, course = 0, {}
        for day in sorted(moved):
            total += moved[day]
            course[day] = total
        found[account["id"]] = course
    return found


def at(course: dict[date, int], day: date) -> int:
    return next((course[on] for on in sorted(course, reverse=True) if on <= day), 0)


async def test_customers_and_churns_are_those_of_the_ledger(team: Team, book: HealthBook) -> None:
    courses, horizon = balances(book), timedelta(days=90)
    churns = {
        (account, on)
        for account, course in courses.items()
        for on in course
        if on <= TODAY and course[on] <= 0 < at(course, on - timedelta(days=1))
    }
    last = max(on for _, on in churns)
    days = sorted({TODAY - timedelta(days=back) for back in (400, 200, 100, 5)} | {last - horizon, last})

    replay = await replayed(team, *days, horizon_days=horizon.days)

    left = {(account, on) for account, on in churns if on > days[0]}
    assert {(churn.account, churn.on) for churn in replay.churns} == left
    assert left
    outcomes = {(case.account, case.on): case.left for case in replay.cases}
    for day in days:
        customers = {account for account, course in courses.items() if at(course, day) > 0}
        assert {account for account, on in outcomes if on == day} == customers
        for account in customers:
            gone = any(day < on <= day + horizon for who, on in left if who == account)
            assert outcomes[account, day] is (None if day + horizon > TODAY else gone), (account, day)


async def test_a_case_is_weighed_by_the_segment_of_its_arr_that_day(team: Team, book: HealthBook) -> None:
    replay = await replayed(team, DAY)

    courses = balances(book)
    bounds = (await team.services.store.workspace(team.workspace)).segment_bounds
    kinds = set()
    for case, points, rules in zip(replay.cases, replay.points, replay.rules, strict=True):
        assert case.segment == bounds.segment_of(at(courses[case.account], DAY) / 100)
        assert (case.score_tenths, case.band) == judged(RUBRIC, RUBRIC.weights(case.segment), points, rules)
        kinds.add(case.segment)
    assert kinds == {"smb", "mid_market", "enterprise"}


def test_judging_points_again_is_scoring() -> None:
    random = Random(5)
    for _ in range(200):
        raws = {m.name: random.choice([None, random.uniform(-1, 100)]) for m in RUBRIC.measures}
        facts = {"overdue_days": random.choice([0, 90]), "sponsor_departed": random.random() < 0.2}
        whole = score(RUBRIC, "smb", raws, facts)

        points = tuple(whole.points[measure.name] for measure in RUBRIC.measures)

        again = judged(RUBRIC, RUBRIC.weights("smb"), points, ";".join(whole.rules))
        assert again == (whole.score_tenths, whole.band)


async def test_a_large_book_is_drawn_from_by_whole_accounts(team: Team, book: HealthBook) -> None:
    days = (DAY, LATER)
    whole = await replayed(team, *days)

    part = await replayed(team, *days, most_cases=len(whole.cases) // 2)

    assert whole.sampled_from is None
    assert part.sampled_from == len({case.account for case in whole.cases})
    drawn = {case.account for case in part.cases}
    assert len(whole.cases) / 4 < len(part.cases) <= len(whole.cases) / 2
    assert part.cases == [case for case in whole.cases if case.account in drawn]
    assert part.churns == [churn for churn in whole.churns if churn.account in drawn]
