from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cs_mcp.domain.revenue.ledger import (
    Movement,
    SubscriptionSpan,
    arr_on,
    derive_movements,
    first_day_without,
    overlaps,
)
from cs_mcp.domain.revenue.subscriptions import MovementKind

START = date(2024, 1, 1)
DAYS = 40


def day(number: int) -> date:
    return START + timedelta(days=number)


def span(
    starts: int,
    ends: int | None,
    arr: int,
    *,
    account: str = "A",
    subscription: str = "S",
    trial: bool = False,
    product: str | None = None,
) -> SubscriptionSpan:
    """Live from day `starts` to the day before `ends`."""
    return SubscriptionSpan(
        account=account,
        subscription=subscription,
        starts_on=day(starts),
        first_day_without=None if ends is None else day(ends),
        arr_minor=arr,
        trial=trial,
        product=product,
    )


def told(movements: list[Movement]) -> list[tuple[int, str, int]]:
    return [((movement.on - START).days, movement.kind.value, movement.amount_minor) for movement in movements]


histories = st.lists(
    st.builds(
        span,
        st.integers(0, DAYS),
        st.none() | st.integers(0, DAYS),
        st.sampled_from([0, 100, 100, 250, 900]),
        account=st.sampled_from(["A", "B"]),
        subscription=st.sampled_from(["S1", "S2", "S3"]),
        trial=st.booleans(),
    ),
    max_size=10,
)


def live_arr(history: list[SubscriptionSpan], account: str, on: date) -> int:
    """The rule as the format's page says it, a day at a time."""
    return sum(
        span.arr_minor
        for span in history
        if span.account == account
        and not span.trial
        and span.starts_on <= on
        and (span.first_day_without is None or on < span.first_day_without)
    )


def by_account(movements: list[Movement]) -> dict[str, list[Movement]]:
    accounts: defaultdict[str, list[Movement]] = defaultdict(list)
    for movement in movements:
        accounts[movement.account].append(movement)
    return accounts


@given(histories)
def test_movements_add_up_to_the_arr_of_the_live_subscriptions_on_every_day(history: list[SubscriptionSpan]) -> None:
    accounts = by_account(derive_movements(history))

    for account in ("A", "B"):
        for number in range(-1, DAYS + 2):
            assert arr_on(accounts.get(account, []), day(number)) == live_arr(history, account, day(number))


@given(histories, st.integers(0, 10))
def test_a_movements_kind_is_what_it_does_to_the_account(history: list[SubscriptionSpan], gap: int) -> None:
    for movements in by_account(derive_movements(history, reactivation_gap_days=gap)).values():
        assert [movement.on for movement in movements] == sorted({movement.on for movement in movements})
        before = 0
        for position, movement in enumerate(movements):
            after = before + movement.amount_minor
            if before == 0:
                expected = MovementKind.new if position == 0 else MovementKind.reactivation
            elif after == 0:
                expected = MovementKind.churn
            else:
                expected = MovementKind.expansion if after > before else MovementKind.contraction
            assert movement.kind is expected
            assert movement.amount_minor != 0
            assert after >= 0
            before = after


@given(histories, st.integers(1, 10))
def test_a_gap_that_counts_as_late_changes_only_the_days_inside_it(history: list[SubscriptionSpan], gap: int) -> None:
    accounts = by_account(derive_movements(history, reactivation_gap_days=gap))

    for account in ("A", "B"):
        for number in range(DAYS + 2):
            bridged, live = arr_on(accounts.get(account, []), day(number)), live_arr(history, account, day(number))
            if bridged != live:
                assert live == 0
                assert any(live_arr(history, account, day(number + later)) for later in range(1, gap + 1))


@given(histories)
def test_the_order_of_the_subscriptions_does_not_matter(history: list[SubscriptionSpan]) -> None:
    assert derive_movements(history) == derive_movements(reversed(history))


def test_one_customer_from_new_to_reactivated() -> None:
    movements = derive_movements(
        [
            span(0, 20, 1000, subscription="S1"),
            span(5, 10, 300, subscription="S2"),
            span(25, None, 400, subscription="S3"),
        ]
    )

    assert told(movements) == [
        (0, "new", 1000),
        (5, "expansion", 300),
        (10, "contraction", -300),
        (20, "churn", -1000),
        (25, "reactivation", 400),
    ]
    assert [movement.subscription for movement in movements] == ["S1", "S2", "S2", "S1", "S3"]
    assert {movement.expansion_kind for movement in movements} == {None}


def test_changes_of_one_day_net_to_one_movement_which_names_no_single_subscription() -> None:
    movements = derive_movements([span(0, 10, 1000, subscription="S1"), span(10, None, 1200, subscription="S2")])

    assert told(movements) == [(0, "new", 1000), (10, "expansion", 200)]
    assert movements[1].subscription is None


def test_a_like_for_like_replacement_is_no_movement() -> None:
    assert told(derive_movements([span(0, 10, 1000), span(10, None, 1000)])) == [(0, "new", 1000)]


def test_a_trial_is_not_arr_and_its_end_is_no_churn() -> None:
    assert derive_movements([span(0, 10, 1000, trial=True)]) == []


def test_the_first_paid_day_after_a_trial_is_new() -> None:
    assert told(derive_movements([span(0, 10, 1000, trial=True), span(10, None, 1000)])) == [(10, "new", 1000)]


def test_a_subscription_that_ended_no_later_than_it_began_was_never_live() -> None:
    assert derive_movements([span(5, 5, 1000), span(9, 3, 1000)]) == []


def test_a_renewal_signed_within_the_gap_is_not_a_churn() -> None:
    late = [span(0, 10, 1000), span(13, None, 1500)]

    assert told(derive_movements(late, reactivation_gap_days=3)) == [(0, "new", 1000), (13, "expansion", 500)]
    assert told(derive_movements(late, reactivation_gap_days=2)) == [
        (0, "new", 1000),
        (10, "churn", -1000),
        (13, "reactivation", 1500),
    ]


def test_a_churn_at_the_end_of_what_is_known_is_a_churn_whatever_the_gap() -> None:
    assert told(derive_movements([span(0, 10, 1000)], reactivation_gap_days=90))[-1] == (10, "churn", -1000)


def test_the_term_ends_the_day_after_its_last_day_and_a_cancellation_on_its_own() -> None:
    last_day, canceled = date(2024, 6, 30), date(2024, 5, 1)

    assert first_day_without(ends_on=last_day, canceled_on=None) == date(2024, 7, 1)
    assert first_day_without(ends_on=last_day, canceled_on=canceled) == canceled
    assert first_day_without(ends_on=last_day, canceled_on=date(2024, 8, 1)) == date(2024, 7, 1)
    assert first_day_without(ends_on=None, canceled_on=canceled) == canceled
    assert first_day_without(ends_on=None, canceled_on=None) is None
    assert first_day_without(ends_on=date.max, canceled_on=None) is None


bought = st.lists(
    st.tuples(st.integers(0, 12), st.none() | st.integers(0, 14), st.sampled_from(["Pro", "Add-on", None])), max_size=6
)


@given(bought)
def test_overlaps_are_the_days_on_which_one_product_runs_twice(
    history: list[tuple[int, int | None, str | None]],
) -> None:
    spans = [
        span(starts, ends, 100, subscription=f"S{number}", product=product)
        for number, (starts, ends, product) in enumerate(history)
    ]
    runs = {one.subscription: {n for n in range(20) if live_arr([one], "A", day(n))} for one in spans}
    product_of = {one.subscription: one.product for one in spans}
    twice: defaultdict[str, set[int]] = defaultdict(set)
    for first in spans:
        for second in spans:
            if first is not second and first.product is not None and first.product == second.product:
                twice[first.product] |= runs[first.subscription] & runs[second.subscription]

    told: defaultdict[str, set[int]] = defaultdict(set)
    for found in overlaps(spans):
        days = {n for n in range(20) if found.start <= day(n) and (found.to is None or day(n) <= found.to)}
        assert days == runs[found.first] & runs[found.second]
        assert product_of[found.first] == product_of[found.second] == found.product
        told[found.product] |= days
    assert {product: days for product, days in told.items() if days} == {p: d for p, d in twice.items() if d}
