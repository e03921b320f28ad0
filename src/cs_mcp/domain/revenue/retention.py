"""Retention: what became, over a window, of the ARR there was at its start. Money in minor units of one currency.

Each account is looked at by itself: its ARR at the opening and, by kind, what the ledger posted within the window.
`pieces` says which bars of the waterfall that is; a `Tally` adds them up; `retention` reads the rates off it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from typing import Final, NamedTuple

from cs_mcp.domain.revenue.conventions import Conventions
from cs_mcp.domain.revenue.subscriptions import MovementKind

SLICES: Final = ("segment", "tier", "owner", "industry", "cohort")  # and custom:<field>

FORMULAS: Final = {
    "waterfall": "starting_arr + new + reactivation + expansion + price_change - contraction - churn = ending_arr",
    "nrr": "cohort ending_arr / starting_arr",
    "grr": "(cohort starting_arr - contraction - churn) / starting_arr",
    "logo_churn_rate": "accounts_lost / accounts_at_start",
}


class Bar(StrEnum):
    new = "new"
    expansion = "expansion"
    price_change = "price_change"
    contraction = "contraction"
    churn = "churn"
    reactivation = "reactivation"


FALLS: Final = frozenset({Bar.contraction, Bar.churn})


class Posting(NamedTuple):
    """A movement of the ledger: signed, a fall is negative."""

    account: str
    on: date
    kind: MovementKind
    amount: int


class Piece(NamedTuple):
    """A signed part of what an account's ARR moved by, and whether the cohort's waterfall has it too."""

    bar: Bar
    amount: int
    in_cohort: bool


@dataclass(frozen=True, slots=True)
class Waterfall:
    """Minor units, every bar told as a size: contraction and churn are what went."""

    starting_arr: int = 0
    new: int = 0
    expansion: int = 0
    price_change: int = 0
    contraction: int = 0
    churn: int = 0
    reactivation: int = 0

    @property
    def ending_arr(self) -> int:
        rises = self.new + self.reactivation + self.expansion + self.price_change
        return self.starting_arr + rises - self.contraction - self.churn


@dataclass(frozen=True, slots=True)
class Retention:
    """`cohort`: accounts with ARR at the opening; `total`: all. Rates are exact, None where nobody was there to lose.

    `by_bar` has the accounts behind each bar of `total`, with signed amounts.
    """

    cohort: Waterfall
    total: Waterfall
    nrr: Fraction | None
    grr: Fraction | None
    logo_churn_rate: Fraction | None
    accounts_at_start: int
    accounts_lost: int
    by_bar: Mapping[Bar, list[tuple[str, int]]] = field(default_factory=dict[Bar, list[tuple[str, int]]])


def retention(
    opening: Mapping[str, int], postings: Iterable[Posting], conventions: Conventions | None = None
) -> Retention:
    """Of the window that the postings are in; `opening` holds each account's ARR at the end of the day before it."""
    conventions = conventions or Conventions()
    posted: defaultdict[str, defaultdict[MovementKind, int]] = defaultdict(lambda: defaultdict(int))
    for posting in postings:
        posted[posting.account][posting.kind] += posting.amount
    tally = Tally()
    for account in sorted({*opening, *posted}):
        tally.add(account, opening.get(account, 0), posted.get(account, {}), conventions)
    return tally.retention(conventions)


# -- one account ------------------------------------------------------------------------------------------------
def pieces(opening: int, posted: Mapping[MovementKind, int], conventions: Conventions) -> Iterator[Piece]:
    """The bars of one account, from its ARR at the opening and the sum of each kind of movement since."""
    if conventions.netting == "none":
        yield from _each_kind(opening, posted, conventions)
        return
    net = sum(posted.values())
    closing = opening + net
    came_back = posted.get(MovementKind.reactivation, 0) > 0
    if opening > 0:
        if closing <= 0:
            yield Piece(Bar.churn, net, True)
        elif came_back and conventions.reactivation == "separate":
            yield Piece(Bar.churn, -opening, True)
            yield Piece(Bar.reactivation, closing, False)
        else:
            yield from _moved(net, posted.get(MovementKind.price_change, 0), in_cohort=True)
        return
    entry = Bar.reactivation if came_back and posted.get(MovementKind.new, 0) <= 0 else Bar.new
    if closing > 0:
        yield Piece(entry, net, False)
        return
    gone = -posted.get(MovementKind.churn, 0)
    if conventions.new_and_churned == "shown" and gone > 0:
        yield Piece(entry, gone, False)
        yield Piece(Bar.churn, -gone, False)
    yield from _moved(net, 0, in_cohort=False)


def _moved(net: int, price: int, *, in_cohort: bool) -> Iterator[Piece]:
    """A net fall is a contraction whatever it came from; of a net rise, as much is price as prices rose."""
    if net < 0:
        yield Piece(Bar.contraction, net, in_cohort)
        return
    of_price = min(max(price, 0), net)
    if of_price:
        yield Piece(Bar.price_change, of_price, in_cohort)
    if net > of_price:
        yield Piece(Bar.expansion, net - of_price, in_cohort)


def _each_kind(opening: int, posted: Mapping[MovementKind, int], conventions: Conventions) -> Iterator[Piece]:
    """Every kind by itself. A sum that goes against its kind (a reversal, a price cut) is what it is in effect."""
    there, stays = opening > 0, opening + sum(posted.values()) > 0
    for kind, amount in posted.items():
        if amount < 0 and kind not in (MovementKind.contraction, MovementKind.churn):
            bar = Bar.contraction if stays or kind is MovementKind.price_change else Bar.churn
        elif amount > 0 and kind in (MovementKind.contraction, MovementKind.churn):
            bar = Bar.expansion if there else Bar.reactivation
        elif there and kind is MovementKind.new:
            bar = Bar.expansion  # new logos never count in the cohort
        else:
            bar = Bar(kind.value)
        apart = bar is Bar.reactivation and conventions.reactivation == "separate"
        if amount:
            yield Piece(bar, amount, there and not apart)


def is_lost(opening: int, posted: Mapping[MovementKind, int], conventions: Conventions) -> bool:
    if opening <= 0:
        return False
    came_back = posted.get(MovementKind.reactivation, 0) > 0
    return opening + sum(posted.values()) <= 0 or (came_back and conventions.reactivation == "separate")


# -- many accounts ----------------------------------------------------------------------------------------------
Count = int | Fraction  # minor units; a fraction of one once a figure was told in another currency


@dataclass(slots=True)
class Tally:
    """Figures of some accounts; those of others are added to it. `starting` is the cohort's, `apart` any other ARR."""

    starting: Count = 0
    apart: Count = 0
    at_start: int = 0
    lost: int = 0
    moved: defaultdict[tuple[bool, Bar], Count] = field(
        default_factory=lambda: defaultdict[tuple[bool, Bar], Count](int)
    )
    accounts: defaultdict[Bar, int] = field(default_factory=lambda: defaultdict[Bar, int](int))
    by_bar: defaultdict[Bar, list[tuple[str, int]]] = field(
        default_factory=lambda: defaultdict[Bar, list[tuple[str, int]]](list)
    )

    def add(self, account: str, opening: int, posted: Mapping[MovementKind, int], conventions: Conventions) -> None:
        if opening > 0:
            self.starting += opening
            self.at_start += 1
        else:
            self.apart += opening
        self.lost += is_lost(opening, posted, conventions)
        mine: defaultdict[Bar, int] = defaultdict(int)
        for bar, amount, in_cohort in pieces(opening, posted, conventions):
            self.moved[in_cohort, bar] += amount
            mine[bar] += amount
        for bar, amount in mine.items():
            self.accounts[bar] += 1
            self.by_bar[bar].append((account, amount))

    def plus(self, other: Tally, factor: Fraction | int = 1, sign: int = 1) -> None:
        """Add (or with `sign` -1 take away) the figures of other accounts, each unit of theirs worth `factor`."""
        self.starting += sign * other.starting * factor
        self.apart += sign * other.apart * factor
        self.at_start += sign * other.at_start
        self.lost += sign * other.lost
        for key, amount in other.moved.items():
            self.moved[key] += sign * amount * factor
        for bar, count in other.accounts.items():
            self.accounts[bar] += sign * count

    def whole(self) -> Tally:
        """In whole minor units, halves to even. Waterfalls still add up: what is rounded are their parts."""
        rounded = Tally(round(self.starting), round(self.apart), self.at_start, self.lost)
        rounded.moved.update({key: round(amount) for key, amount in self.moved.items()})
        rounded.accounts.update(self.accounts)
        rounded.by_bar.update(self.by_bar)
        return rounded

    def retention(self, conventions: Conventions) -> Retention:
        figures = self.whole()
        cohort = _waterfall(figures, Fraction(figures.starting), everyone=False)
        total = _waterfall(figures, Fraction(figures.starting + figures.apart), everyone=True)
        there = cohort.starting_arr
        kept = cohort.ending_arr - (cohort.price_change if conventions.price_change == "apart" else 0)
        return Retention(
            cohort=cohort,
            total=total,
            nrr=Fraction(kept, there) if there else None,
            grr=Fraction(there - cohort.contraction - cohort.churn, there) if there else None,
            logo_churn_rate=Fraction(self.lost, self.at_start) if self.at_start else None,
            accounts_at_start=self.at_start,
            accounts_lost=self.lost,
            by_bar=dict(self.by_bar),
        )


def _waterfall(figures: Tally, starting: Fraction, *, everyone: bool) -> Waterfall:
    def size(bar: Bar) -> int:
        amount = figures.moved.get((True, bar), 0) + (figures.moved.get((False, bar), 0) if everyone else 0)
        return int(-amount if bar in FALLS else amount)

    return Waterfall(int(starting), **{bar.value: size(bar) for bar in Bar})


def shared_out(parts: Iterable[Tally]) -> list[Tally]:
    """Tallies in whole minor units whose sum is the rounded sum of all: each is the step between two rounded totals."""
    told: list[Tally] = []
    until = Tally()
    before = until.whole()
    for part in parts:
        until.plus(part)
        now = until.whole()
        step = Tally()
        step.plus(now)
        step.plus(before, sign=-1)
        step.by_bar.update(part.by_bar)
        told.append(step)
        before = now
    return told


WORSE_IN_A_ROW: Final = 3


def worsens(values: Sequence[float | Fraction], *, falls_are_worse: bool = True) -> bool:
    """Whether each of the last three values is worse than the one before it."""
    last = values[-WORSE_IN_A_ROW - 1 :]
    steps = [after - before for before, after in pairwise(last)]
    return len(steps) == WORSE_IN_A_ROW and all(step < 0 if falls_are_worse else step > 0 for step in steps)
