"""What one account's ledger, summed by month, adds to the figures that are kept of the whole book.

Months are counted from year 0. A figure that an account adds to a run of months alike is told once, with the first and
the last of them: see `Spread`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Final, NamedTuple

from cs_mcp.domain.retention import Bar, pieces
from cs_mcp.domain.revenue_conventions import Conventions
from cs_mcp.domain.subscriptions import MovementKind

# The windows whose netted sums are kept: a month, a quarter, a year, each ending with any month.
LENGTHS: Final = (1, 3, 12)
KEPT: Final = Conventions()

Ladder = Mapping[int, Mapping[MovementKind, int]]  # month → kind → what was posted


class WindowSum(NamedTuple):
    """One sum of the kept windows: `months` long, of accounts with ARR at the opening (`in_cohort`) or without."""

    months: int
    currency: str
    in_cohort: bool
    bar: Bar


def month_of(day: date) -> int:
    return day.year * 12 + day.month - 1


def first_day(month: int) -> date:
    return date(month // 12, month % 12 + 1, 1)


@dataclass(slots=True)
class Spread:
    """Sums by key and month. What is the same from one month to another is added as two steps, up and down."""

    steps: defaultdict[WindowSum, defaultdict[int, list[int]]] = field(
        default_factory=lambda: defaultdict[WindowSum, defaultdict[int, list[int]]](lambda: defaultdict(lambda: [0, 0]))
    )

    def add(self, key: WindowSum, first: int, last: int, amount: int, count: int) -> None:
        steps = self.steps[key]
        up, down = steps[first], steps[last + 1]
        up[0] += amount
        up[1] += count
        down[0] -= amount
        down[1] -= count

    def sums(self) -> Iterator[tuple[WindowSum, int, int, int]]:
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
    """`book`: (currency, month) → change of ARR above zero, of what is below it, of accounts with ARR.

    `windows`: sums by the last month of the window.
    """

    book: defaultdict[tuple[str, int], list[int]] = field(
        default_factory=lambda: defaultdict[tuple[str, int], list[int]](lambda: [0, 0, 0])
    )
    windows: Spread = field(default_factory=Spread)

    def add(self, currency: str, ladder: Ladder, sign: int, since: int) -> None:
        """Add an account's figures, or with `sign` -1 take them away, of months from `since` on."""
        months = sorted(month for month, posted in ladder.items() if any(posted.values()))
        balance = 0
        balances = [0]
        for month in months:
            before, balance = balance, balance + sum(ladder[month].values())
            balances.append(balance)
            if month >= since and balance != before:
                row = self.book[currency, month]
                row[0] += sign * (max(balance, 0) - max(before, 0))
                row[1] += sign * (min(balance, 0) - min(before, 0))
                row[2] += sign * ((balance > 0) - (before > 0))
        for length in LENGTHS:
            self._windows(length, currency, ladder, months, balances, sign, since)

    def _windows(
        self,
        length: int,
        currency: str,
        ladder: Ladder,
        months: list[int],
        balances: list[int],
        sign: int,
        since: int,
    ) -> None:
        # The months within a window change where one comes in at its end, and where one leaves at its start.
        turns = sorted({turn for month in months for turn in (month, month + length)})
        start = end = 0
        for turn, following in pairwise(turns):
            while end < len(months) and months[end] <= turn:
                end += 1
            while start < len(months) and months[start] <= turn - length:
                start += 1
            if following <= since or start == end:
                continue
            if end - start == 1:
                posted = ladder[months[start]]
            else:
                added: defaultdict[MovementKind, int] = defaultdict(int)
                for month in months[start:end]:
                    for kind, amount in ladder[month].items():
                        added[kind] += amount
                posted = added
            for bar, amount, in_cohort in pieces(balances[start], posted, KEPT):
                key = WindowSum(length, currency, in_cohort, bar)
                self.windows.add(key, max(turn, since), following - 1, sign * amount, sign)
