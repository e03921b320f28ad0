"""Figures of accuracy against plain counting, and intervals against what they promise."""

from __future__ import annotations

import math
from datetime import date, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.health.accuracy import (
    Auc,
    Case,
    Churn,
    accuracy,
    auc_of,
    by_band,
    calibration,
    effective,
    foreseen,
    share_of,
    verdict,
    warned,
    wilson,
)

START = date(2025, 1, 1)
HORIZON = 180
WARNING = {Band.red, Band.yellow}


def case(account: str, day: int, score: int | None, left: bool | None, band: Band = Band.green) -> Case:
    return Case(account, START + timedelta(days=day), "smb", score, band, left)


cases = st.lists(
    st.builds(
        case,
        st.sampled_from("abcdefgh"),
        st.integers(0, 400),
        st.none() | st.sampled_from([0, 99, 100, 500, 500, 999, 1000]),
        st.sampled_from([True, False, None]),
        st.sampled_from(list(Band)),
    ),
    max_size=40,
)
churns = st.lists(
    st.builds(Churn, st.sampled_from("abcdefgh"), st.integers(0, 500).map(lambda day: START + timedelta(days=day))),
    max_size=8,
)


@given(cases)
def test_the_auc_is_the_share_of_pairs_in_which_who_left_had_the_lower_score(given_cases: list[Case]) -> None:
    scored = [(c.score_tenths, c.left) for c in given_cases if c.score_tenths is not None and c.left is not None]
    pairs = [(gone, kept) for gone, left in scored if left for kept, stays in scored if not stays]

    found = auc_of(given_cases)

    if not pairs:
        assert found is None
        return
    assert found is not None
    assert found.value == pytest.approx(sum((gone < kept) + (gone == kept) / 2 for gone, kept in pairs) / len(pairs))
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(cases)
def test_every_share_is_what_plain_counting_gives(given_cases: list[Case]) -> None:
    told, figures = accuracy(given_cases), warned(given_cases, [], WARNING)

    true = sum(c.left is True and c.band in WARNING for c in given_cases)
    false = sum(c.left is False and c.band in WARNING for c in given_cases)
    missed = sum(c.left is True and c.band not in WARNING for c in given_cases)
    quiet = sum(c.left is False and c.band not in WARNING for c in given_cases)
    for share, hits, of in (
        (figures.precision, true, true + false),
        (figures.recall, true, true + missed),
        (figures.false_alarms, false, false + quiet),
        (told.left, true + missed, true + false + missed + quiet),
    ):
        assert (share.hits, share.of) == (hits, of) if share is not None else of == 0
    assert sum(share.of for share in by_band(given_cases).values()) == told.cases
    assert sum(share.hits for share in by_band(given_cases).values()) == true + missed
    assert sum(found.left.of for found in calibration(given_cases)) == told.cases - told.without_score


@given(cases, churns)
def test_a_warning_counts_only_where_it_stood_sixty_days_before(
    given_cases: list[Case], given_churns: list[Churn]
) -> None:
    told = warned(given_cases, foreseen(given_cases, given_churns, horizon_days=HORIZON), WARNING)

    heard: list[bool] = []
    for churn in given_churns:
        before = [c for c in given_cases if c.account == churn.account and 60 <= (churn.on - c.on).days <= HORIZON]
        if before:
            last = max(c.on for c in before)
            heard.append(next(c for c in before if c.on == last).band in WARNING)
    assert (told.ahead is None) == (not heard)
    if told.ahead is not None:
        assert (told.ahead.hits, told.ahead.of) == (sum(heard), len(heard))
    assert told.too_new == len(given_churns) - len(heard)


@given(st.integers(1, 400).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_wilsons_bounds_are_the_shares_that_would_just_not_be_surprised(counted: tuple[int, int]) -> None:
    hits, of = counted
    share = hits / of
    low, high = wilson(share, of)

    assert 0 <= low <= share <= high <= 1
    for bound in {low, high} - {0.0, 1.0}:
        assert abs(share - bound) == pytest.approx(1.959964 * math.sqrt(bound * (1 - bound) / of), rel=1e-5)


def test_an_account_scored_a_hundred_times_is_one_account() -> None:
    often = share_of([("a", True)] * 100 + [("b", False)] * 100)
    once = share_of([("a", True), ("b", False)])

    assert often is not None
    assert once is not None
    assert (often.low, often.high) == pytest.approx((once.low, once.high))
    assert effective([3, 3, 3]) == 3
    assert effective([9, 1]) == pytest.approx(100 / 82)


def test_chance_is_called_chance_at_least_as_often_as_promised() -> None:
    """Scores and churn drawn apart, each account scored six times with scores that hang together."""
    random, rounds, told_apart = Random(4), 300, 0
    for _ in range(rounds):
        drawn: list[Case] = []
        for account in range(60):
            level, left = random.gauss(600, 150), random.random() < 0.25
            for month in range(6):
                score = min(1000, max(0, round(level + random.gauss(0, 60))))
                drawn.append(case(str(account), month * 30, score, left))
        found = auc_of(drawn)
        assert found is not None
        told_apart += not found.low <= 0.5 <= found.high
    assert told_apart <= rounds * 0.07


def test_words_claim_no_more_than_the_interval_holds() -> None:
    clear, wide = Auc(0.80, 0.70, 0.87, 60, 400), Auc(0.80, 0.45, 0.95, 6, 40)

    assert verdict(clear, 60) == "The score tells who leaves better than chance: AUC 0.80, between 0.70 and 0.87."
    assert "not told apart from chance" in verdict(wide, 6)
    assert "Only 6 accounts churned: too few to judge" in verdict(wide, 6)
    assert "the wrong way" in verdict(Auc(0.2, 0.1, 0.4, 50, 50), 50)
    assert "small sample" in verdict(Auc(0.8, 0.6, 0.9, 12, 50), 12)
    assert "Nobody churned" in verdict(None, 0)
