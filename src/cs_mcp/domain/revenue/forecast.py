"""The forecast: what categories and health make of the renewals of a quarter, what moved since a day, how true it was.

A renewal counts in the fiscal quarter of its close day, won and lost ones too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from enum import StrEnum
from fractions import Fraction
from typing import Final, Literal, NamedTuple

from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.renewals.renewals import ForecastCategory, RenewalStage
from cs_mcp.domain.revenue.conventions import RenewalOdds


class Bucket(StrEnum):
    """Where a renewal stands: closed, or as its category says."""

    won = "won"
    commit = "commit"
    best_case = "best_case"
    at_risk = "at_risk"
    not_judged = "not_judged"
    omitted = "omitted"
    lost = "lost"


_CLOSED: Final = {RenewalStage.closed_won: Bucket.won, RenewalStage.closed_lost: Bucket.lost}
FORECAST: Final = frozenset({Bucket.won, Bucket.commit})
UPSIDE: Final = FORECAST | {Bucket.best_case}
# What a renewal is forecast to bring when single ones are judged: its amount, unless it is written off.
WRITTEN_OFF: Final = frozenset({Bucket.omitted, Bucket.lost})


def bucket_of(stage: RenewalStage, category: ForecastCategory | None) -> Bucket:
    return _CLOSED.get(stage) or (Bucket.not_judged if category is None else Bucket(category.value))


# -- what health tells to expect ----------------------------------------------------------------------------


def assumed(told: RenewalOdds) -> dict[Band, int]:
    """Thousandths by band."""
    return {band: int(getattr(told, band.value) * 1000) for band in Band}


ASSUMED: Final[Mapping[Band, int]] = assumed(RenewalOdds())
LEAST_CLOSED: Final = 20  # renewals of a band
MILESTONES: Final = (120, 90, 60, 30)  # days before its close at which a renewal's forecast is kept for good
LOOK_AHEAD_DAYS: Final = 90  # how long before its close a renewal's band, or its forecast, is taken


class Odds(NamedTuple):
    """The share of renewals that are won, in thousandths, and where it comes from."""

    permille: int
    source: Literal["history", "assumed"]
    won: int
    closed: int


def odds(closed: Mapping[Band, tuple[int, int]], until_learned: Mapping[Band, int] = ASSUMED) -> dict[Band, Odds]:
    """By band, from (won, closed) renewals of it; `until_learned` where too few of them closed."""
    found: dict[Band, Odds] = {}
    for band in Band:
        won, of = closed.get(band, (0, 0))
        if of >= LEAST_CLOSED:
            found[band] = Odds((won * 2000 + of) // (2 * of), "history", won, of)
        else:
            found[band] = Odds(until_learned[band], "assumed", won, of)
    return found


def expected(amount_minor: int, permille: int) -> int:
    """`amount_minor` × `permille` / 1000, halves up; as the stores compute it, where a product could overflow."""
    return amount_minor // 1000 * permille + (amount_minor % 1000 * permille + 500) // 1000


# -- what moved since a day ---------------------------------------------------------------------------------


class Standing(NamedTuple):
    """A renewal as it stood on a day; `quarter` is the first day of the fiscal quarter of its close day."""

    quarter: date
    close_on: date
    bucket: Bucket
    amount_minor: int
    expected_minor: int

    @property
    def is_closed(self) -> bool:
        return self.bucket in (Bucket.won, Bucket.lost)

    @property
    def forecast_minor(self) -> int:
        return self.amount_minor if self.bucket in FORECAST else 0


class Shift(StrEnum):
    won = "won"
    lost = "lost"
    pushed = "pushed"  # to a later quarter
    pulled = "pulled"  # to an earlier one
    recategorised = "recategorised"
    repriced = "repriced"
    added = "added"
    reopened = "reopened"
    removed = "removed"


class Moved(NamedTuple):
    """What became of one renewal; the effects are on the figures of the quarters that were asked for."""

    shift: Shift
    forecast_effect: int
    expected_effect: int


def moved(before: Standing | None, after: Standing | None, first: date, last: date) -> Moved | None:
    """The one thing that says most of it; None where no figure of the quarters within `first`..`last` names it.

    Only the band changed: None, too, though the expectation moved.
    """
    shift = _shift(before, after)
    sides = [s for s in (before, after) if s is not None and first <= s.close_on <= last]
    if shift is None or not sides:
        return None

    def counted(standing: Standing | None) -> tuple[int, int]:
        if standing is None or standing not in sides:
            return 0, 0
        return standing.forecast_minor, standing.expected_minor

    (was, expected_before), (now, expected_now) = counted(before), counted(after)
    return Moved(shift, now - was, expected_now - expected_before)


def _shift(before: Standing | None, after: Standing | None) -> Shift | None:
    if before is None:
        return None if after is None else Shift.added
    if after is None:
        return Shift.removed
    if after.is_closed and after.bucket is not before.bucket:
        return Shift.won if after.bucket is Bucket.won else Shift.lost
    if before.is_closed and not after.is_closed:
        return Shift.reopened
    if after.quarter != before.quarter:
        return Shift.pushed if after.quarter > before.quarter else Shift.pulled
    if after.bucket is not before.bucket:
        return Shift.recategorised
    return Shift.repriced if after.amount_minor != before.amount_minor else None


# -- how true a forecast was --------------------------------------------------------------------------------

CLOSE_ENOUGH: Final = Fraction(5, 100)
GOAL: Final = 0.8


class Foretold(NamedTuple):
    """One renewal, as forecast 90 days before its close, and what it brought by the end of the quarter."""

    amount_minor: int  # 0 where it was written off
    forecast_minor: int  # its part in the categories' figure
    expected_minor: int
    result_minor: int

    @property
    def is_close(self) -> bool:
        return abs(self.result_minor - self.amount_minor) <= CLOSE_ENOUGH * self.amount_minor


def share_close(foretold: Iterable[Foretold]) -> Fraction | None:
    of = [one.is_close for one in foretold]
    return Fraction(sum(of), len(of)) if of else None


def accuracy_of_total(forecast_minor: int, result_minor: int) -> Fraction | None:
    """1 − |forecast − result| ÷ result, never below zero; None where there was no result to hit."""
    if result_minor <= 0:
        return None
    return max(Fraction(0), 1 - Fraction(abs(forecast_minor - result_minor), result_minor))
