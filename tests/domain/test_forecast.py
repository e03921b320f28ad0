"""The rules of a forecast: odds, what moved, and how true it was."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.money import MINOR_LIMIT
from cs_mcp.domain.renewals.renewals import ForecastCategory, RenewalStage
from cs_mcp.domain.revenue.forecast import (
    ASSUMED,
    FORECAST,
    LEAST_CLOSED,
    Bucket,
    Foretold,
    Odds,
    Shift,
    Standing,
    accuracy_of_total,
    bucket_of,
    expected,
    moved,
    odds,
    share_close,
)

CALENDAR = Calendar(fiscal_year_starts=2)
FIRST, LAST = date(2026, 2, 1), date(2026, 7, 31)  # the first two quarters of the fiscal year


def standing(close_on: date, bucket: Bucket, amount: int = 100, likely: int = 80) -> Standing:
    likely = {Bucket.won: amount, Bucket.lost: 0}.get(bucket, likely)
    return Standing(CALENDAR.quarter_of(close_on).starts_on, close_on, bucket, amount, likely)


standings = st.none() | st.builds(
    standing,
    close_on=st.dates(date(2026, 1, 1), date(2026, 12, 31)),
    bucket=st.sampled_from(Bucket),
    amount=st.integers(0, 10**6),
    likely=st.integers(0, 10**6),
)


@given(amount=st.integers(0, MINOR_LIMIT), permille=st.integers(0, 1000))
def test_an_expectation_is_rounded_once_and_exactly(amount: int, permille: int) -> None:
    exact = Decimal(amount) * permille / 1000

    assert expected(amount, permille) == int(exact.quantize(Decimal(1), ROUND_HALF_UP))


def test_odds_are_assumed_until_enough_of_a_band_has_closed() -> None:
    found = odds({Band.green: (19, LEAST_CLOSED), Band.red: (1, LEAST_CLOSED - 1), Band.yellow: (2, 300)})

    assert found == {
        Band.green: Odds(950, "history", 19, 20),
        Band.yellow: Odds(7, "history", 2, 300),
        Band.red: Odds(ASSUMED[Band.red], "assumed", 1, 19),
        Band.unknown: Odds(ASSUMED[Band.unknown], "assumed", 0, 0),
    }


@pytest.mark.parametrize(
    ("stage", "category", "bucket"),
    [
        (RenewalStage.closed_won, ForecastCategory.at_risk, Bucket.won),
        (RenewalStage.closed_lost, ForecastCategory.commit, Bucket.lost),
        (RenewalStage.proposal, None, Bucket.not_judged),
        (RenewalStage.not_started, ForecastCategory.omitted, Bucket.omitted),
    ],
)
def test_a_closed_renewal_is_what_it_became_whatever_was_judged(
    stage: RenewalStage, category: ForecastCategory | None, bucket: Bucket
) -> None:
    assert bucket_of(stage, category) is bucket


Q1, Q2, LATER = date(2026, 3, 1), date(2026, 6, 1), date(2026, 9, 1)


@pytest.mark.parametrize(
    ("before", "after", "shift", "effect"),
    [
        (standing(Q1, Bucket.commit), standing(Q1, Bucket.won, 120), Shift.won, 20),
        (standing(Q1, Bucket.best_case), standing(Q1, Bucket.won), Shift.won, 100),
        (standing(Q1, Bucket.commit), standing(Q1, Bucket.lost), Shift.lost, -100),
        (standing(Q1, Bucket.commit), standing(Q2, Bucket.commit), Shift.pushed, 0),
        (standing(Q2, Bucket.commit), standing(LATER, Bucket.commit), Shift.pushed, -100),
        (standing(LATER, Bucket.commit), standing(Q2, Bucket.at_risk), Shift.pulled, 0),
        (standing(Q1, Bucket.at_risk), standing(Q1, Bucket.commit, 90), Shift.recategorised, 90),
        (standing(Q1, Bucket.commit), standing(Q1, Bucket.commit, 70), Shift.repriced, -30),
        (standing(Q1, Bucket.won), standing(Q1, Bucket.commit), Shift.reopened, 0),
        (None, standing(Q2, Bucket.commit), Shift.added, 100),
        (standing(Q2, Bucket.commit), None, Shift.removed, -100),
        # Within a quarter a close day moves without a word, and outside the window nothing is told.
        (standing(Q1, Bucket.commit), standing(date(2026, 4, 30), Bucket.commit), None, 0),
        (standing(LATER, Bucket.commit), standing(LATER, Bucket.won), None, 0),
        (None, standing(LATER, Bucket.commit), None, 0),
    ],
)
def test_what_moved(before: Standing | None, after: Standing | None, shift: Shift | None, effect: int) -> None:
    found = moved(before, after, FIRST, LAST)

    assert (found and found.shift, found.forecast_effect if found else 0) == (shift, effect)


@given(st.lists(st.tuples(standings, standings), max_size=12))
def test_effects_add_up_to_the_difference_of_the_figures(pairs: list[tuple[Standing | None, Standing | None]]) -> None:
    def figure(side: int) -> int:
        there = [pair[side] for pair in pairs]
        return sum(s.amount_minor for s in there if s and FIRST <= s.close_on <= LAST and s.bucket in FORECAST)

    effects = [found.forecast_effect for was, is_ in pairs if (found := moved(was, is_, FIRST, LAST)) is not None]

    assert figure(0) + sum(effects) == figure(1)


@pytest.mark.parametrize(
    ("forecast", "result", "close"),
    [(100, 105, True), (100, 106, False), (100, 95, True), (100, 94, False), (0, 0, True), (0, 1, False)],
)
def test_within_five_percent_of_the_forecast(forecast: int, result: int, close: bool) -> None:
    assert Foretold(forecast, forecast, forecast, result).is_close is close


def test_accuracy_of_the_total_and_of_single_renewals_differ() -> None:
    # Two misses that cancel out: the total is right, no renewal is.
    foretold = [Foretold(100, 100, 90, 200), Foretold(200, 200, 180, 100)]

    assert share_close(foretold) == 0
    assert accuracy_of_total(300, 300) == 1
    assert accuracy_of_total(270, 300) == Fraction(9, 10)
    assert accuracy_of_total(900, 300) == 0
    assert accuracy_of_total(5, 0) is None
    assert share_close([]) is None
