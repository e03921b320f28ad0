"""The rubric replayed over past days: what it would have said of each customer then, and who left afterwards.

Each day is scored from records dated on or before it. Segments are those of the ARR of that day, and so are the weights
that go with them: the record holds only today's, which may have followed the outcome.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from typing import Final, Literal

from cs_mcp.db.health.backtest_reads import BacktestReads
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.calendar import add_months
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.health.accuracy import Case, Churn
from cs_mcp.domain.health.rubric import Rubric
from cs_mcp.domain.health.scoring import capped, rounded, totals
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.money import exponent
from cs_mcp.domain.workspaces import Workspace

Every = Literal["month", "quarter"]
Points = tuple[int | None, ...]
Progress = Callable[[int], None]  # told how many days are done

DEFAULT_MONTHS: Final = 18
MOST_DAYS: Final = 120
BATCH: Final = 5_000
_MONTHS: Final[dict[Every, int]] = {"month": 1, "quarter": 3}


@dataclass(frozen=True, slots=True)
class Period:
    """The days to replay, and how long after each of them a churn counts as foretold."""

    days: tuple[date, ...]
    horizon_days: int

    @classmethod
    def of(cls, first: date | None, last: date | None, every: Every, horizon_days: int, today: date) -> Period:
        """From `first` a month or a quarter apart, up to `last`; the last 18 months where none are told."""
        end = last or today
        begin = first or add_months(end, -DEFAULT_MONTHS)
        if end > today:
            raise Invalid(f"period_end {end} is in the future; today is {today}.", remedy="Give today or a past day.")
        if begin > end:
            raise Invalid(f"period_start {begin} is after period_end {end}.", remedy="Swap them.")
        days: list[date] = []
        while (day := add_months(begin, len(days) * _MONTHS[every])) <= end:
            days.append(day)
            if len(days) > MOST_DAYS:
                raise Invalid(
                    f"{begin} to {end} holds more than {MOST_DAYS} days to replay.",
                    remedy="Give a later period_start, or every: quarter.",
                )
        return cls(tuple(days), horizon_days)


@dataclass(frozen=True, slots=True)
class Replay:
    """`points` and `rules` stand beside the cases: what each measure gave, by slot, and the hard rules that held.

    `sampled_from` is how many accounts there are, where only some of them were replayed.
    """

    rubric: Rubric
    period: Period
    today: date
    cases: list[Case]
    points: list[Points]
    rules: list[str]
    churns: list[Churn]
    sampled_from: int | None


class Backtests:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._reads = BacktestReads(store)

    async def begins_on(self, principal: Principal) -> date | None:
        return await self._reads.begins_on(principal)

    async def replay(
        self,
        principal: Principal,
        rubric: Rubric,
        period: Period,
        *,
        most_cases: int | None = None,
        progress: Progress = lambda _done: None,
    ) -> Replay:
        """Score every customer the caller may see on each day. Past `most_cases`, a part of the accounts is drawn."""
        workspace = await self._store.workspace(principal.workspace)
        today = workspace.calendar.today(self._store.clock.now())
        ended = await self._reads.churns(principal, period.days[0], today)
        churns = [Churn(row["account_id"], row["on"]) for row in ended]
        books = {day: await self._reads.customers(principal, day) for day in period.days}
        kept = _sample(books, most_cases)
        sampled_from = None
        if kept is not None:
            sampled_from = len({row["account_id"] for book in books.values() for row in book})
            books = {day: [row for row in book if row["account_id"] in kept] for day, book in books.items()}
            churns = [churn for churn in churns if churn.account in kept]
        found = Replay(rubric, period, today, [], [], [], churns, sampled_from)
        outcome = _Outcomes(churns, period.horizon_days, today)
        for done, (day, book) in enumerate(books.items(), 1):
            for start in range(0, len(book), BATCH):
                batch = book[start : start + BATCH]
                accounts = [row["account_id"] for row in batch]
                scores = await self._reads.scores(principal, rubric, accounts, day, workspace.calendar)
                _collect(found, day, batch, {row["account_id"]: row for row in scores}, workspace, outcome)
            progress(done)
        return found


class _Outcomes:
    """What became of an account after a day."""

    def __init__(self, churns: Iterable[Churn], horizon_days: int, today: date) -> None:
        self._horizon = timedelta(days=horizon_days)
        self._today = today
        self._days: defaultdict[str, list[date]] = defaultdict(list)
        for churn in churns:
            self._days[churn.account].append(churn.on)

    def left(self, account: str, day: date) -> bool | None:
        """None while the horizon is not over: those who have left so far would be told, and the others not."""
        if day + self._horizon > self._today:
            return None
        return any(day < on <= day + self._horizon for on in self._days.get(account, ()))


def _sample(books: Mapping[date, Sequence[Row]], most: int | None) -> set[str] | None:
    """Accounts whose cases stay within `most`, drawn by a hash of their id; None where all do."""
    if most is None or sum(map(len, books.values())) <= most:
        return None
    counts: defaultdict[str, int] = defaultdict(int)
    for book in books.values():
        for row in book:
            counts[row["account_id"]] += 1
    kept: set[str] = set()
    cases = 0
    for account in sorted(counts, key=lambda account: blake2b(account.encode(), digest_size=8).digest()):
        cases += counts[account]
        if cases > most:
            break
        kept.add(account)
    return kept


def _collect(
    replay: Replay,
    day: date,
    customers: Sequence[Row],
    scores: Mapping[str, Row],
    workspace: Workspace,
    outcome: _Outcomes,
) -> None:
    slots = [f"p{slot}" for slot in range(1, len(replay.rubric.measures) + 1)]
    for customer in customers:
        account = customer["account_id"]
        row = scores.get(account)
        # The account came on record with a later day than its first ARR: nothing is said of it yet.
        points: Points = tuple(row[slot] for slot in slots) if row is not None else (None,) * len(slots)
        rules: str = (row["rules"] if row is not None else None) or ""
        as_set: str | None = row["segment"] if row is not None else None
        segment = _segment(customer, workspace) or as_set or "unknown"
        if row is not None and segment == as_set:
            tenths, band = row["score_tenths"], Band(row["band"])
        else:
            tenths, band = judged(replay.rubric, replay.rubric.weights(segment), points, rules)
        replay.cases.append(Case(account, day, segment, tenths, band, outcome.left(account, day)))
        replay.points.append(points)
        replay.rules.append(rules)


def _segment(customer: Row, workspace: Workspace) -> str | None:
    """By the ARR of the day; None where its currency has no rate."""
    if customer["currency"] != workspace.currency:
        return None
    return workspace.segment_bounds.segment_of(customer["arr_minor"] / 10 ** exponent(customer["currency"]))


def judged(rubric: Rubric, weights: Mapping[str, int], points: Points, rules: str) -> tuple[int | None, Band]:
    """Score and band from the points of each slot, and the names of the hard rules that held, divided by `;`."""
    known = {measure.name: got for measure, got in zip(rubric.measures, points, strict=True) if got is not None}
    summed, coverage = totals(weights, known)
    tenths = None
    if coverage and coverage * 1000 // sum(weights.values()) >= rubric.min_coverage:
        tenths = rounded(summed, coverage)
    band = rubric.bands.of(tenths) if tenths is not None else Band.unknown
    held = rules.split(";") if rules else ()
    for rule in rubric.rules:
        if rule.name in held:
            band = capped(band, rule.cap)
    return tenths, band
