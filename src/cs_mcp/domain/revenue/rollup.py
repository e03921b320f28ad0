"""What one account's ledger, summed by month, adds to the figures that are kept of the whole book.

Months are counted from year 0. A figure that an account adds to a run of months alike is told once, with the first and
the last of them: see `Spread`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

from cs_mcp.domain.revenue.cohorts import Moved, steps_of
from cs_mcp.domain.revenue.conventions import Conventions
from cs_mcp.domain.revenue.retention import Bar, pieces
from cs_mcp.domain.revenue.subscriptions import MovementKind

# The windows whose netted sums are kept: a month, a quarter, a year, each ending with any month.
LENGTHS: Final = (1, 3, 12)
KEPT: Final = Conventions()

Ladder = Mapping[int, Mapping[MovementKind, int]]  # month → kind → what was posted
# What sums are kept by, beside those of everything (EVERYTHING, whose one slice has no name).
DIMENSIONS: Final = ("segment", "tier")
EVERYTHING: Final = ""


class Course(NamedTuple):
    """The value of an attribute when a month began: `past` has the values that ended, each with its last month."""

    now: str
    past: tuple[tuple[int, str], ...] = ()

    def at(self, month: int) -> str:
        return next((value for until, value in self.past if until >= month), self.now)


Courses = Mapping[str, Course]  # by dimension
Joint = tuple[str, ...]  # a value of each dimension, in their order


class _JointCourse(NamedTuple):
    """The values of all dimensions together: what is the same for all of them is added once."""

    now: Joint
    past: tuple[tuple[int, Joint], ...]

    @classmethod
    def of(cls, courses: Courses) -> _JointCourse:
        return _joint(tuple([courses[dimension] for dimension in DIMENSIONS]))

    def spans(self, first: int, last: int) -> Iterable[tuple[int, int, Joint]]:
        """(from, to, values) over the months from `first` to `last`."""
        return self._divided(first, last) if self.past else ((first, last, self.now),)

    def _divided(self, first: int, last: int) -> Iterator[tuple[int, int, Joint]]:
        for until, values in self.past:
            if first > last:
                return
            if until >= first:
                yield first, min(until, last), values
                first = until + 1
        if first <= last:
            yield first, last, self.now

    def at(self, month: int) -> Joint:
        return next((values for until, values in self.past if until >= month), self.now)


@lru_cache(maxsize=1024)  # few values, and most accounts keep theirs
def _joint(named: tuple[Course, ...]) -> _JointCourse:
    turns = sorted({until for course in named for until, _ in course.past})
    past = tuple((until, tuple(course.at(until) for course in named)) for until in turns)
    return _JointCourse(tuple(course.now for course in named), past)


@lru_cache(maxsize=1024)
def _slices(joint: Joint) -> tuple[Slice, ...]:
    return (Slice(EVERYTHING, ""), *(Slice(*named) for named in zip(DIMENSIONS, joint, strict=True)))


class Slice(NamedTuple):
    dimension: str
    value: str


class WindowSum(NamedTuple):
    """One sum of the kept windows: `months` long, of accounts with ARR at the opening (`in_cohort`) or without."""

    months: int
    currency: str
    in_cohort: bool
    bar: Bar


def month_of(day: date) -> int:
    return day.year * 12 + day.month - 1


@lru_cache(maxsize=4096)
def first_day(month: int) -> date:
    return date(month // 12, month % 12 + 1, 1)


@dataclass(slots=True)
class Spread:
    """Sums by key and month. What is the same from one month to another is added as two steps, up and down."""

    steps: defaultdict[tuple[Joint, WindowSum], defaultdict[int, list[int]]] = field(
        default_factory=lambda: defaultdict[tuple[Joint, WindowSum], defaultdict[int, list[int]]](
            lambda: defaultdict(lambda: [0, 0])
        )
    )

    def add(self, key: tuple[Joint, WindowSum], first: int, last: int, amount: int, count: int) -> None:
        steps = self.steps[key]
        up, down = steps[first], steps[last + 1]
        up[0] += amount
        up[1] += count
        down[0] -= amount
        down[1] -= count

    def sums(self) -> Iterator[tuple[tuple[Joint, WindowSum], int, int, int]]:
        """(key, month, amount, count), nothing where both are 0."""
        for key, steps in self.steps.items():
            amount = count = 0
            for month, following in pairwise([*sorted(steps), None]):
                assert month is not None
                amount += steps[month][0]
                count += steps[month][1]
                if (amount or count) and following is not None:
                    for each in range(month, following):
                        yield key, each, amount, count


@dataclass(slots=True)
class Figures:
    """What accounts add to the sums that are kept."""

    _book: defaultdict[tuple[Joint, str, int], list[int]] = field(
        default_factory=lambda: defaultdict[tuple[Joint, str, int], list[int]](lambda: [0, 0, 0])
    )
    _spread: Spread = field(default_factory=Spread)
    # (currency, month it started, month) → the figures of a `Step` of its cohort.
    cohorts: defaultdict[tuple[str, date, date], list[int]] = field(
        default_factory=lambda: defaultdict[tuple[str, date, date], list[int]](lambda: [0] * 5)
    )

    def book(self) -> dict[tuple[Slice, str, int], list[int]]:
        """(slice, currency, month) → change of ARR above zero, of what is below it, of accounts with ARR.

        An account that passes from one slice to another within a month changes both by what it has at the month's end.
        """
        found: defaultdict[tuple[Slice, str, int], list[int]] = defaultdict(lambda: [0, 0, 0])
        for (joint, currency, month), sums in self._book.items():
            for of in _slices(joint):
                row = found[of, currency, month]
                for place, amount in enumerate(sums):
                    row[place] += amount
        return {key: sums for key, sums in found.items() if any(sums)}

    def windows(self) -> dict[tuple[Slice, WindowSum, int], list[int]]:
        """(slice, sum, last month of the window) → amount, accounts."""
        found: defaultdict[tuple[Slice, WindowSum, int], list[int]] = defaultdict(lambda: [0, 0])
        for (joint, key), month, amount, count in self._spread.sums():
            for of in _slices(joint):
                row = found[of, key, month]
                row[0] += amount
                row[1] += count
        return {key: sums for key, sums in found.items() if any(sums)}

    def add(self, currency: str, ladder: Ladder, courses: Courses, sign: int, since: int) -> None:
        """Add an account's figures, or with `sign` -1 take them away, of months from `since` on."""
        months = _moved_in(ladder)
        if months:
            self._sliced(currency, ladder, months, ((_JointCourse.of(courses), sign),), since)
            self._cohort(currency, ladder, months, sign)

    def pass_over(self, currency: str, ladder: Ladder, were: Courses, are: Courses, since: int) -> None:
        """Take the figures of an account whose ledger stays from its former slices to those it is in."""
        months = _moved_in(ladder)
        if months:
            courses = ((_JointCourse.of(were), -1), (_JointCourse.of(are), 1))
            self._sliced(currency, ladder, months, courses, since)

    def _sliced(self, currency: str, ladder: Ladder, months: list[int], courses: _Signed, since: int) -> None:
        balances = [0, *accumulate([sum(ladder[month].values()) for month in months])]
        for course, sign in courses:
            past = {until for until, _ in course.past if until >= months[0]}
            for month in sorted(past.union(months)) if past else months:
                if month < since:
                    continue
                before, after = balances[bisect_left(months, month)], balances[bisect_right(months, month)]
                left, entered = course.at(month), course.at(month + 1)
                if before != after or left != entered:
                    self._step((left, currency, month), before, -sign)
                    self._step((entered, currency, month), after, sign)
        for length in LENGTHS:
            if months[-1] + length > since:
                self._windows(length, currency, ladder, months, balances, courses, since)

    def _cohort(self, currency: str, ladder: Ladder, months: list[int], sign: int) -> None:
        """All of the account's months: an earlier one may have moved where it starts."""
        moved = [
            Moved(first_day(month), sum(ladder[month].values()), ladder[month].get(MovementKind.new, 0))
            for month in months
        ]
        for started, month, *sums in steps_of(moved):
            row = self.cohorts[currency, started, month]
            for place, amount in enumerate(sums):
                row[place] += sign * amount

    def _step(self, key: tuple[Joint, str, int], balance: int, sign: int) -> None:
        row = self._book[key]
        if balance > 0:
            row[0] += sign * balance
            row[2] += sign
        else:
            row[1] += sign * balance

    def _windows(
        self,
        length: int,
        currency: str,
        ladder: Ladder,
        months: list[int],
        balances: list[int],
        courses: _Signed,
        since: int,
    ) -> None:
        # The months within a window change where one comes in at its end, and where one leaves at its start.
        turns = sorted({*months, *[month + length for month in months]})
        start = end = 0
        for turn, following in pairwise(turns):
            while end < len(months) and months[end] <= turn:
                end += 1
            while start < len(months) and months[start] <= turn - length:
                start += 1
            first, last = max(turn, since), following - 1
            if first > last or start == end:
                continue
            for bar, amount, in_cohort in pieces(balances[start], _added(ladder, months[start:end]), KEPT):
                key = WindowSum(length, currency, in_cohort, bar)
                # A window that ends with `last` began `length - 1` months before.
                for course, sign in courses:
                    for opened, closed, joint in course.spans(first - length + 1, last - length + 1):
                        at = (opened + length - 1, closed + length - 1)
                        self._spread.add((joint, key), *at, sign * amount, sign)


_Signed = Sequence[tuple[_JointCourse, int]]  # courses, to be added (1) or taken away (-1)


def _moved_in(ladder: Ladder) -> list[int]:
    return sorted([month for month, posted in ladder.items() if any(posted.values())])


def _added(ladder: Ladder, months: list[int]) -> Mapping[MovementKind, int]:
    if len(months) == 1:
        return ladder[months[0]]
    added: defaultdict[MovementKind, int] = defaultdict(int)
    for month in months:
        for kind, amount in ladder[month].items():
            added[kind] += amount
    return added
