"""What the waterfall and its rates must be for any ledger, and worked cases of each convention."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cs_mcp.domain.revenue.conventions import Conventions
from cs_mcp.domain.revenue.ledger import SubscriptionSpan, derive_movements
from cs_mcp.domain.revenue.retention import FALLS, Bar, Posting, Retention, Tally, Waterfall, retention, shared_out
from cs_mcp.domain.revenue.subscriptions import MovementKind

DAY = date(2025, 1, 1)
K = MovementKind


@st.composite
def ledgers(draw: st.DrawFn) -> list[Posting]:
    """Well-formed ledgers: each movement is of the kind that it is, from the balance it finds. Prices change too."""
    postings: list[Posting] = []
    for account in draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=6)):
        balance, known = 0, False
        for day in sorted(draw(st.lists(st.integers(0, 59), max_size=8))):
            target = draw(st.sampled_from([0, 0, 50, 100, 100, 170, 300]))
            if target == balance:
                continue
            if balance == 0:
                kind = K.reactivation if known else K.new
            elif target == 0:
                kind = K.churn
            elif draw(st.booleans()):
                kind = K.price_change
            else:
                kind = K.expansion if target > balance else K.contraction
            postings.append(Posting(account, DAY + timedelta(day), kind, target - balance))
            balance, known = target, True
    return postings


conventions = st.builds(
    Conventions,
    netting=st.sampled_from(["window", "none"]),
    reactivation=st.sampled_from(["nets_out", "separate"]),
    price_change=st.sampled_from(["in_nrr", "apart"]),
    new_and_churned=st.sampled_from(["netted", "shown"]),
)
days = st.integers(0, 60)


def balances(ledger: list[Posting], before: date) -> dict[str, int]:
    found: Counter[str] = Counter()
    for posting in ledger:
        if posting.on < before:
            found[posting.account] += posting.amount
    return dict(found)


def window(ledger: list[Posting], first: int, last: int, how: Conventions | None = None) -> Retention:
    """From day `first` up to and without day `last`."""
    start, end = DAY + timedelta(first), DAY + timedelta(last)
    return retention(balances(ledger, start), [p for p in ledger if start <= p.on < end], how)


@given(ledgers(), days, days, conventions)
def test_a_window_ties_out_to_the_ledger_and_to_the_accounts_behind_each_bar(
    ledger: list[Posting], one: int, other: int, how: Conventions
) -> None:
    first, last = sorted((one, other))
    found = window(ledger, first, last, how)

    assert found.total.starting_arr == sum(balances(ledger, DAY + timedelta(first)).values())
    assert found.total.ending_arr == sum(balances(ledger, DAY + timedelta(last)).values())
    assert found.cohort.new == 0
    assert min(getattr(found.total, bar) for bar in Bar) >= 0
    for bar in Bar:
        behind = sum(amount for _, amount in found.by_bar.get(bar, []))
        assert (-behind if bar in FALLS else behind) == getattr(found.total, bar)


@given(ledgers(), days, days, conventions)
def test_grr_is_at_most_one_and_at_most_nrr(ledger: list[Posting], one: int, other: int, how: Conventions) -> None:
    found = window(ledger, *sorted((one, other)), how)
    if found.grr is None or found.nrr is None:
        assert found.cohort == Waterfall()
        return
    assert found.grr <= min(Fraction(1), found.nrr)


@given(ledgers(), days, days)
def test_by_default_the_rates_are_of_each_accounts_two_balances(ledger: list[Posting], one: int, other: int) -> None:
    first, last = sorted((one, other))
    found = window(ledger, first, last)
    opening = {who: arr for who, arr in balances(ledger, DAY + timedelta(first)).items() if arr > 0}
    closing = balances(ledger, DAY + timedelta(last))
    if not opening:
        assert found.nrr is found.grr is found.logo_churn_rate is None
        return
    there = sum(opening.values())
    assert found.nrr == Fraction(sum(closing[who] for who in opening), there)
    assert found.grr == Fraction(sum(min(closing[who], arr) for who, arr in opening.items()), there)
    assert found.logo_churn_rate == Fraction(sum(closing[who] == 0 for who in opening), len(opening))


@given(ledgers(), days, days, days)
def test_a_window_is_the_sum_of_the_windows_it_is_split_into(
    ledger: list[Posting], one: int, other: int, third: int
) -> None:
    first, middle, last = sorted((one, other, third))
    every = Conventions(netting="none")
    parts = [window(ledger, first, middle, every), window(ledger, middle, last, every)]
    whole = window(ledger, first, last, every)

    assert parts[0].total.ending_arr == parts[1].total.starting_arr
    assert whole.total.ending_arr == parts[1].total.ending_arr

    def moved(found: Retention) -> Counter[str]:
        # A price that fell in one part and rose in the other is one net change of price in the whole.
        figures = Counter({bar.value: getattr(found.total, bar) for bar in Bar})
        figures["net price and contraction"] = figures.pop("price_change") - figures.pop("contraction")
        return figures

    together = moved(parts[0])
    for name, amount in moved(parts[1]).items():
        together[name] += amount
    assert moved(whole) == together


@given(ledgers(), days, days, conventions, st.fractions(Fraction(1, 90), 90))
def test_parts_told_in_another_currency_add_up_to_the_rounded_whole(
    ledger: list[Posting], one: int, other: int, how: Conventions, rate: Fraction
) -> None:
    first, last = sorted((one, other))
    start = DAY + timedelta(first)
    whole, parts = Tally(), [Tally() for _ in range(3)]
    for account in "abcdef":
        posted: Counter[MovementKind] = Counter()
        for posting in ledger:
            if posting.account == account and start <= posting.on < DAY + timedelta(last):
                posted[posting.kind] += posting.amount
        mine = Tally()
        mine.add(account, balances(ledger, start).get(account, 0), posted, how)
        whole.plus(mine, rate)
        parts["abcdef".index(account) // 2].plus(mine, rate)

    told, total = [part.retention(how) for part in shared_out(parts)], whole.retention(how)
    for name in (*Bar, "starting_arr", "ending_arr"):
        assert sum(getattr(part.total, name) for part in told) == getattr(total.total, name)
        assert sum(getattr(part.cohort, name) for part in told) == getattr(total.cohort, name)


# -- the conventions on which sources differ --------------------------------------------------------------------
def of(opening: dict[str, int], *posted: tuple[str, MovementKind, int], **how: Any) -> Retention:
    return retention(opening, [Posting(who, DAY, kind, amount) for who, kind, amount in posted], Conventions(**how))


GONE_AND_BACK = (("a", K.churn, -100), ("a", K.reactivation, 80))


@pytest.mark.parametrize(
    ("how", "nrr", "grr", "lost", "bars"),
    [
        ({}, "0.9", "0.9", 0, {"contraction": 20}),
        ({"reactivation": "separate"}, "0.5", "0.5", 1, {"churn": 100, "reactivation": 80}),
        ({"netting": "none"}, "0.9", "0.5", 0, {"churn": 100, "reactivation": 80}),
        ({"netting": "none", "reactivation": "separate"}, "0.5", "0.5", 1, {"churn": 100, "reactivation": 80}),
    ],
)
def test_who_came_back_inside_the_window(
    how: dict[str, str], nrr: str, grr: str, lost: int, bars: dict[str, int]
) -> None:
    found = of({"a": 100, "b": 100}, *GONE_AND_BACK, **how)
    assert (found.nrr, found.grr, found.accounts_lost) == (Fraction(nrr), Fraction(grr), lost)
    assert {bar.value: getattr(found.total, bar) for bar in Bar if getattr(found.total, bar)} == bars
    assert found.total.ending_arr == 180


def test_a_price_rise_counts_for_nrr_unless_it_stands_apart() -> None:
    moved = (("a", K.price_change, 10), ("a", K.expansion, 5))
    assert of({"a": 100}, *moved).nrr == Fraction(115, 100)
    assert of({"a": 100}, *moved, price_change="apart").nrr == Fraction(105, 100)
    assert of({"a": 100}, *moved).cohort == Waterfall(starting_arr=100, expansion=5, price_change=10)
    assert of({"a": 100}, ("a", K.price_change, -10)).cohort == Waterfall(starting_arr=100, contraction=10)


def test_who_came_and_went_inside_the_window_is_left_out_or_shown() -> None:
    blip = (("n", K.new, 40), ("n", K.churn, -40))
    assert of({"a": 100}, *blip).total == Waterfall(starting_arr=100)
    for how in ({"new_and_churned": "shown"}, {"netting": "none"}):
        shown = of({"a": 100}, *blip, **how)
        assert shown.total == Waterfall(starting_arr=100, new=40, churn=40)
        assert shown.nrr == shown.grr == 1  # never of the cohort


def test_a_reversing_entry_leaves_no_trace_in_the_figures() -> None:
    correct = of({"a": 100}, ("a", K.expansion, 30))
    for how in ({}, {"netting": "none"}):
        found = of({"a": 100}, ("a", K.expansion, 50), ("a", K.expansion, -50), ("a", K.expansion, 30), **how)
        assert (found.total, found.nrr, found.grr) == (correct.total, correct.nrr, correct.grr)


def test_derived_ledgers_are_counted_by_what_each_customer_pays_at_both_ends() -> None:
    spans = [
        SubscriptionSpan(account="a", subscription="1", starts_on=date(2024, 1, 1), arr_minor=100),
        SubscriptionSpan(account="a", subscription="2", starts_on=date(2025, 3, 1), arr_minor=20),
        SubscriptionSpan(
            account="b", subscription="3", starts_on=date(2024, 6, 1), first_day_without=date(2025, 6, 1), arr_minor=50
        ),
        SubscriptionSpan(account="c", subscription="4", starts_on=date(2025, 7, 1), arr_minor=70),
    ]
    ledger = [Posting(m.account, m.on, m.kind, m.amount_minor) for m in derive_movements(spans)]
    found = window(ledger, 0, 365)
    assert found.total == Waterfall(starting_arr=150, new=70, expansion=20, churn=50)
    assert (found.nrr, found.grr) == (Fraction(120, 150), Fraction(100, 150))
    assert found.by_bar[Bar.churn] == [("b", -50)]
