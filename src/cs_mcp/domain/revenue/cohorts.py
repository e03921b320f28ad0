"""Customers by the period they started in, and how much of each cohort is left as it grows older."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Literal, NamedTuple

from cs_mcp.domain.calendar import add_months

Interval = Literal["month", "quarter"]


class Step(NamedTuple):
    """What happened in `month` to the accounts that started in `started`; both are first days of months.

    `accounts` is how many became customers less how many stopped being one, `arr` what their ARR moved by and `kept`
    what it moved by where no account counts for more than it started with. In the month they started,
    `initial_accounts` and `initial_arr` say how many there were and at what ARR. Money in minor units of one currency.
    """

    started: date
    month: date
    accounts: int = 0
    arr: int = 0
    kept: int = 0
    initial_accounts: int = 0
    initial_arr: int = 0


class Moved(NamedTuple):
    """A month of an account's ledger in one currency: what its ARR moved by, and what of it as a new customer."""

    month: date
    net: int
    won: int


def steps_of(months: Iterable[Moved]) -> Iterator[Step]:
    """What one account adds to its cohort, from its months in order. It starts where its ARR first rises."""
    started, arr, initial = None, 0, 0
    for month, net, won in months:
        before, arr = arr, arr + net
        if started is not None:
            became = (arr > 0) - (before > 0)
            yield Step(started, month, became, net, min(arr, initial) - min(before, initial))
        elif won > 0 or net > 0:
            started, initial = month, won if won > 0 else net
            yield Step(started, month, int(arr > 0), arr, min(arr, initial), 1, initial)


class Standing(NamedTuple):
    """A cohort at the end of a period of its life: customers, their ARR, and their ARR without growth."""

    accounts: int
    arr: int
    kept: int


class Cohort(NamedTuple):
    """`standings[n]` is how it stood at the end of the n-th period after the one it started in, `standings[0]`."""

    started: date
    accounts: int
    arr: int
    standings: Sequence[Standing]

    def logos(self, age: int) -> Fraction | None:
        return _ratio(self.standings[age].accounts, self.accounts)

    def revenue(self, age: int) -> Fraction | None:
        """Net: with what its customers grew by."""
        return _ratio(self.standings[age].arr, self.arr)

    def gross(self, age: int) -> Fraction | None:
        return _ratio(self.standings[age].kept, self.arr)


class Average(NamedTuple):
    """Over the cohorts that are old enough, each weighing what it started with."""

    cohorts: int
    logos: Fraction | None
    revenue: Fraction | None
    gross: Fraction | None


def period_of(interval: Interval, quarter_starts: Callable[[date], date]) -> Callable[[date], date]:
    """From a day to the first day of its month, or of its fiscal quarter as `quarter_starts` tells it."""
    return quarter_starts if interval == "quarter" else _month_of


def cohorts(
    steps: Iterable[Step], *, first_day_of: Callable[[date], date], interval: Interval, end: date
) -> list[Cohort]:
    """Cohorts in the order they started, each up to the last period that is over on `end`."""
    length = 3 if interval == "quarter" else 1
    initial: defaultdict[date, list[int]] = defaultdict(lambda: [0, 0])
    moved: defaultdict[date, defaultdict[date, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
    for step in steps:
        started, period = first_day_of(step.started), first_day_of(step.month)
        initial[started][0] += step.initial_accounts
        initial[started][1] += step.initial_arr
        for place, change in enumerate((step.accounts, step.arr, step.kept)):
            moved[started][period][place] += change
    return [
        Cohort(started, accounts, arr, _standings(started, moved[started], length, end))
        for started, (accounts, arr) in sorted(initial.items())
        if _over(started, length, end)
    ]


def joined(parts: Iterable[tuple[Sequence[Cohort], Fraction]]) -> list[Cohort]:
    """Cohorts of several currencies as one: each minor unit of a part is worth its factor, and what comes of it is
    rounded, half to even, to whole minor units. All parts end on the same day.
    """
    found: dict[date, Cohort] = {}
    for part, factor in parts:
        for cohort in part:
            worth = _worth(cohort, factor)
            before = found.get(cohort.started)
            found[cohort.started] = worth if before is None else _both(before, worth)
    return [found[started] for started in sorted(found)]


def _worth(cohort: Cohort, factor: Fraction) -> Cohort:
    if factor == 1:
        return cohort
    standings = [Standing(s.accounts, round(s.arr * factor), round(s.kept * factor)) for s in cohort.standings]
    return Cohort(cohort.started, cohort.accounts, round(cohort.arr * factor), standings)


def _both(one: Cohort, other: Cohort) -> Cohort:
    standings = [
        Standing(a.accounts + b.accounts, a.arr + b.arr, a.kept + b.kept)
        for a, b in zip(one.standings, other.standings, strict=True)
    ]
    return Cohort(one.started, one.accounts + other.accounts, one.arr + other.arr, standings)


def averages(of: Sequence[Cohort]) -> list[Average]:
    """By age, from 0 up to that of the oldest cohort."""
    found: list[Average] = []
    for age in range(max((len(cohort.standings) for cohort in of), default=0)):
        old_enough = [cohort for cohort in of if len(cohort.standings) > age]
        accounts, arr = sum(cohort.accounts for cohort in old_enough), sum(cohort.arr for cohort in old_enough)
        left = [cohort.standings[age] for cohort in old_enough]
        found.append(
            Average(
                cohorts=len(old_enough),
                logos=_ratio(sum(standing.accounts for standing in left), accounts),
                revenue=_ratio(sum(standing.arr for standing in left), arr),
                gross=_ratio(sum(standing.kept for standing in left), arr),
            )
        )
    return found


def _standings(started: date, moved: Mapping[date, Sequence[int]], length: int, end: date) -> list[Standing]:
    standings: list[Standing] = []
    accounts = arr = kept = 0
    period = started
    while _over(period, length, end):
        of_accounts, of_arr, of_kept = moved.get(period, (0, 0, 0))
        accounts, arr, kept = accounts + of_accounts, arr + of_arr, kept + of_kept
        standings.append(Standing(accounts, arr, kept))
        period = add_months(period, length)
    return standings


def _over(period: date, length: int, end: date) -> bool:
    """Whether the last day of the period is `end` or before."""
    return add_months(period, length) <= date.fromordinal(end.toordinal() + 1)


def _month_of(day: date) -> date:
    return day.replace(day=1)


def _ratio(part: int, whole: int) -> Fraction | None:
    return Fraction(part, whole) if whole else None
