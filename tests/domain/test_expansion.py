"""What speaks for an expansion, what against asking now, and what winning one posts."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cs_mcp.domain.errors import CustomerSuccessError
from cs_mcp.domain.opportunities.expansion import Booked, Telemetry, Value, early_because, findings, growth, whitespace
from cs_mcp.domain.opportunities.opportunities import ORDER, Opportunity, OpportunityKind, OpportunityStage, check_move
from cs_mcp.domain.revenue.subscriptions import MovementKind
from cs_mcp.services.criteria import expansion_criteria

TODAY = date(2026, 3, 16)
CRITERIA = expansion_criteria()
LONG_AGO = TODAY - timedelta(days=400)


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


@pytest.mark.parametrize(
    ("used", "licensed", "is_near"),
    [
        (85, 100, True),
        (84, 100, False),
        (17, 20, True),
        (120, 100, True),
        (0, 100, False),
        (5, 0, False),
        (5, None, False),
    ],
)
def test_a_plan_is_near_its_limit_from_85_percent_on(used: int, licensed: int | None, is_near: bool) -> None:
    told = Telemetry(seats_used=used, seats_used_on=ago(1), seat_limit=licensed)
    assert bool(findings(told, CRITERIA, TODAY)) is is_near


def test_what_is_new_is_new_within_30_days_of_a_customer_of_longer() -> None:
    departments = {"sales": (ago(29), 5), "support": (ago(30), 5), "legal": (ago(3), 1)}
    features = {"Forecasts": ago(0), "Dashboards": ago(31)}
    told = Telemetry(first_day=LONG_AGO, departments=departments, features=features)
    assert [one.what for one in findings(told, CRITERIA, TODAY)] == [
        f"New in usage since {ago(29)}: sales, 5 active users",
        f"First used on {TODAY}: Forecasts",
    ]
    begun = Telemetry(first_day=ago(58), departments=departments, features=features)
    assert findings(begun, CRITERIA, TODAY) == []


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Value(ago(10), onboarded=True, first_value_reached=None, health_band="yellow"), []),
        (Value(ago(366), onboarded=True, first_value_reached=None, health_band="green"), ["ROI was last shown"]),
        (Value(None, onboarded=False, first_value_reached=True, health_band="red"), ["onboarding", "ROI", "red"]),
        (Value(ago(10), onboarded=True, first_value_reached=False, health_band="green"), ["first value"]),
    ],
)
def test_asking_is_early_while_value_is_unproven_or_health_is_red(value: Value, says: list[str]) -> None:
    why = early_because(value, CRITERIA, TODAY)
    assert len(why) == len(says)
    assert all(word in line for word, line in zip(says, why, strict=True))


def test_whitespace_leaves_out_what_they_have_whatever_its_spelling() -> None:
    gaps = whitespace(["platform  TEAM"], {"Platform Team": 9, "Vault": 1, "Forecasting": 4, "Alerts": 4}, 10)
    assert [(gap.product, gap.have_it, gap.of) for gap in gaps] == [
        ("Alerts", 4, 10),
        ("Forecasting", 4, 10),
        ("Vault", 1, 10),
    ]


# -- what winning posts ---------------------------------------------------------------------------------------

amounts = st.integers(1, 10**9)
days = st.integers(0, 800).map(lambda n: date(2025, 1, 1) + timedelta(days=n))


@given(
    arr=amounts,
    amount=amounts,
    starts=days,
    on=st.integers(0, 300),
    runs=st.integers(300, 700),
    books_end=st.booleans(),
)
def test_a_win_adds_its_amount_for_as_long_as_the_contract_runs(
    arr: int, amount: int, starts: date, on: int, runs: int, books_end: bool
) -> None:
    last_day, day = starts + timedelta(days=runs), starts + timedelta(days=on)
    after = last_day + timedelta(days=1)
    ledger = [Booked(starts, arr, MovementKind.new, "sub")]
    ledger += [Booked(after, -arr, MovementKind.churn, None)] if books_end else []

    posted = growth(ledger, on=day, amount_minor=amount, subscription="sub", last_day=last_day)

    def balance(at: date) -> int:
        return sum(b.amount_minor for b in ledger if b.on <= at) + sum(p.amount_minor for p in posted if p.on <= at)

    assert balance(day) == balance(last_day) == arr + amount
    assert balance(after) == (0 if books_end else arr + amount)
    assert posted[0].kind is MovementKind.expansion
    assert {one.kind for one in posted[1:]} <= {MovementKind.churn}


@pytest.mark.parametrize(
    ("ledger", "kind"),
    [
        ([], MovementKind.new),
        ([(300, 5, MovementKind.new), (20, -5, MovementKind.churn)], MovementKind.reactivation),
        ([(300, 5, MovementKind.new), (-20, -5, MovementKind.churn)], MovementKind.expansion),
    ],
)
def test_from_nothing_it_is_no_expansion(ledger: list[tuple[int, int, MovementKind]], kind: MovementKind) -> None:
    booked = [Booked(ago(days), amount, what, "sub") for days, amount, what in ledger]
    [posted] = growth(booked, on=TODAY, amount_minor=7, subscription="sub", last_day=None)
    assert (posted.kind, posted.amount_minor) == (kind, 7)


# -- stages -----------------------------------------------------------------------------------------------------

READY: dict[str, Any] = {
    "hypothesis": "They grow", "trigger": "near_limit", "amount_minor": 5, "success_criteria": "x",
    "expected_on": TODAY, "lost_reason": "y",
}  # fmt: skip


@given(
    at=st.sampled_from(ORDER[:-1]),
    to=st.sampled_from(list(OpportunityStage)),
    without=st.sets(st.sampled_from(sorted(READY))),
    owned=st.booleans(),
    reason=st.sampled_from([None, "because"]),
)
def test_a_stage_is_entered_with_what_it_needs_in_order_or_with_a_reason(
    at: OpportunityStage, to: OpportunityStage, without: set[str], owned: bool, reason: str | None
) -> None:
    given_fields = {name: value for name, value in READY.items() if name not in without}
    one = Opportunity.model_validate(
        {"id": "opp", "account_id": "acc", "name": "n", "kind": OpportunityKind.seat, "currency": "USD",
         "opened_on": TODAY, "stage": at} | given_fields
    )  # fmt: skip
    needs = {
        "identified": set[str](), "qualified": {"hypothesis", "trigger"},
        "proposed": {"amount_minor", "success_criteria"},
        "negotiation": {"expected_on"}, "won": {"amount_minor"}, "lost": {"lost_reason"},
    }[to.value]  # fmt: skip
    complete = not needs & without and (owned or to is not OpportunityStage.qualified)
    step = 1 if to is OpportunityStage.lost else ORDER.index(to) - ORDER.index(at)
    allowed = complete and (reason is not None or step in (0, 1))
    try:
        check_move(one, to, owned=owned, reason=reason)
    except CustomerSuccessError as refused:
        assert not allowed, refused
    else:
        assert allowed
