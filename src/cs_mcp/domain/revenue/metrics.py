"""Figures that follow from a waterfall and from closed renewals. Ratios are exact; nothing is rounded here.

Money is in minor units of one currency, and a ratio without a denominator is None rather than zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final, Literal, NamedTuple

from cs_mcp.domain.revenue.retention import Waterfall

DAYS_A_YEAR: Final = 365
TOP: Final = (1, 5, 10)  # how many of the largest customers concentration tells of


def ratio(part: int | Fraction, whole: int | Fraction) -> Fraction | None:
    return Fraction(part) / Fraction(whole) if whole else None


# -- of the waterfall ---------------------------------------------------------------------------------------


class Lost(NamedTuple):
    """What a cohort lost and gained within a window, as sizes."""

    opening: int
    gained: int
    lost: int

    @classmethod
    def of(cls, cohort: Waterfall) -> Lost:
        gained = cohort.expansion + cohort.price_change + cohort.reactivation
        return cls(cohort.starting_arr, gained, cohort.contraction + cohort.churn)

    @property
    def revenue_churn(self) -> Fraction | None:
        """Gross: 1 − GRR."""
        return ratio(self.lost, self.opening)

    @property
    def net_churn(self) -> Fraction | None:
        """Below zero where growth outweighs losses."""
        return ratio(self.lost - self.gained, self.opening)

    @property
    def expansion_rate(self) -> Fraction | None:
        return ratio(self.gained, self.opening)


def quick_ratio(total: Waterfall) -> Fraction | None:
    """ARR won over ARR lost, of all accounts; None where none was lost."""
    won = total.new + total.reactivation + total.expansion + total.price_change
    return ratio(won, total.contraction + total.churn)


# -- lifetime value -----------------------------------------------------------------------------------------


def margin_over_churn(arpa: Fraction, margin: Fraction, churn: Fraction) -> Fraction | None:
    """ARPA × margin ÷ churn, where ARPA and churn are of the same length of time."""
    return ratio(arpa * margin, churn)


def discounted(arpa: Fraction, margin: Fraction, churn: Fraction, discount: Fraction) -> Fraction | None:
    """m · r ÷ (1 + d − r): margins of the periods to come, each weighed by survival and by time.

    Gupta, Lehmann and Stuart, Valuing Customers, Journal of Marketing Research 41 (2004): margin is earned at the end
    of each period a customer is still there. All arguments are of the same length of time.
    """
    retained = 1 - churn
    return ratio(arpa * margin * retained, 1 + discount - retained)


def over_lifespan(arpa: Fraction, periods: Fraction) -> Fraction:
    """ARPA × how many of its periods a customer stays: revenue, no margin."""
    return arpa * periods


def lifespan(churn: Fraction) -> Fraction | None:
    """How many periods a customer stays on average, where `churn` of them leave in each."""
    return ratio(1, churn)


def of_a_year(rate: Fraction, days: int) -> Fraction:
    """A rate of a window as one of a year, in proportion to the days."""
    return rate * Fraction(DAYS_A_YEAR, days)


# -- concentration ------------------------------------------------------------------------------------------


def concentration(
    largest: Sequence[int | Fraction], total: int | Fraction, top: Sequence[int] = TOP
) -> Mapping[int, Fraction]:
    """Share of `total` ARR that the n largest customers hold; `largest` in descending order, at least max(top) long
    or all there are."""
    return {n: Fraction(sum(largest[:n])) / total for n in top if total and n <= max(len(largest), 1)}


# -- renewals -----------------------------------------------------------------------------------------------


class Renewed(NamedTuple):
    """Of the contracts that came to their end in a window. A contract still open past its end is due, not renewed."""

    due: int
    renewed: int
    on_time: int
    due_arr: int
    renewed_arr: int  # no contract counts for more than it was worth
    with_concession: int

    @property
    def by_count(self) -> Fraction | None:
        return ratio(self.renewed, self.due)

    @property
    def by_arr(self) -> Fraction | None:
        return ratio(self.renewed_arr, self.due_arr)

    @property
    def on_time_rate(self) -> Fraction | None:
        return ratio(self.on_time, self.due)

    @property
    def concession_rate(self) -> Fraction | None:
        return ratio(self.with_concession, self.renewed)


# -- books --------------------------------------------------------------------------------------------------


class Range(NamedTuple):
    least: int
    most: int


# Accounts a CSM can look after, by what the book is made of; small ones are pooled.
BOOK_RANGES: Final[Mapping[str, Range]] = {
    "enterprise": Range(10, 30),
    "mid_market": Range(30, 75),
    "smb": Range(100, 500),
}


def book_load(by_segment: Mapping[str, int], ranges: Mapping[str, Range] = BOOK_RANGES) -> Fraction:
    """How full a book is: each account takes its share of what a book of its segment holds at most; 1 is full."""
    return sum((Fraction(count, ranges[segment].most) for segment, count in by_segment.items()), Fraction(0))


def book_stands(
    by_segment: Mapping[str, int], ranges: Mapping[str, Range] = BOOK_RANGES
) -> Literal["above", "within", "below"]:
    if book_load(by_segment, ranges) > 1:
        return "above"
    filled = sum((Fraction(count, ranges[segment].least) for segment, count in by_segment.items()), Fraction(0))
    return "within" if filled >= 1 else "below"


# -- targets -------------------------------------------------------------------------------------


# Whether more of it is better. What is not here has no better and no worse.
HIGHER_IS_BETTER: Final[Mapping[str, bool]] = {
    "nrr": True,
    "grr": True,
    "logo_churn_rate": False,
    "revenue_churn": False,
    "net_churn": False,
    "expansion_rate": True,
    "quick_ratio": True,
    "renewal_rate": True,
    "renewal_rate_arr": True,
    "on_time_rate": True,
    "concession_rate": False,
    "clv": True,
}


def met(metric: str, value: Fraction, target: Fraction) -> bool:
    return value >= target if HIGHER_IS_BETTER.get(metric, True) else value <= target
