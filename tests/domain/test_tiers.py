"""Tiers proposed by ARR and criteria: shares, ties, tags, lifts, and what is not known."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cs_mcp.domain.accounts.accounts import Tier
from cs_mcp.domain.accounts.tiers import ORDER, CustomerFacts, TierProposal, propose
from cs_mcp.domain.errors import Invalid
from cs_mcp.services.criteria import default_tier_text, tier_criteria

DEFAULT = tier_criteria(default_tier_text())
GOOD: dict[str, Any] = {
    "grown": 0.4, "employees": 1_000, "seats": 20, "term_months": 36, "auto_renew": True, "tickets_90": 0,
    "champion": True, "nps": 10, "integrations": 6,
}  # fmt: skip


def customer(name: str, arr: int, **more: Any) -> CustomerFacts:
    return CustomerFacts(account=name, tier=Tier.standard, arr=Fraction(arr), **more)


def by_name(customers: list[CustomerFacts]) -> dict[str, TierProposal]:
    return {one.account: one for one in propose(customers, DEFAULT)}


def test_the_top_fifth_by_arr_is_platinum_and_the_next_three_tenths_gold() -> None:
    proposed = [one.proposed for one in propose([customer(f"a{n}", 1_000 - n) for n in range(40)], DEFAULT)]
    assert proposed == [Tier.platinum] * 8 + [Tier.gold] * 12 + [Tier.standard] * 20


def test_who_has_the_same_arr_stands_equally_high() -> None:
    proposed = propose([customer(f"a{n}", 100 if n < 9 else 10) for n in range(10)], DEFAULT)
    assert Counter(one.proposed for one in proposed) == {Tier.platinum: 9, Tier.standard: 1}


def test_a_tag_makes_an_account_strategic_and_a_score_lifts_by_one_tier() -> None:
    book = [customer(f"a{n}", 1_000 - n) for n in range(10)]
    book[7] = customer("tagged", 993, tags=["Strategic"])
    book[8] = customer("good", 992, **GOOD)
    book[4] = customer("better", 996, **GOOD)
    found = by_name(book)
    assert found["tagged"].proposed is Tier.platinum
    assert "strategic by its tag Strategic: platinum" in found["tagged"].reasons
    assert (found["good"].by_arr, found["good"].proposed) == (Tier.standard, Tier.gold)
    assert (found["better"].by_arr, found["better"].proposed) == (Tier.gold, Tier.platinum)
    assert any("lift it one tier: platinum" in reason for reason in found["better"].reasons)


def test_a_score_from_too_little_lifts_nobody() -> None:
    book = [customer(f"a{n}", 1_000 - n) for n in range(10)]
    book[4] = customer("unknown", 996, champion=True, grown=0.5)
    found = by_name(book)["unknown"]
    assert found.score is not None
    assert (found.known_weight, found.proposed) == (0.5, Tier.gold)


@given(
    arrs=st.lists(st.integers(1, 50), min_size=1, max_size=60),
    known=st.lists(
        st.fixed_dictionaries({}, optional={name: st.just(value) for name, value in GOOD.items()}), max_size=60
    ),
)
def test_more_arr_is_never_a_lower_tier_by_arr_and_a_lift_is_one_tier(
    arrs: list[int], known: list[dict[str, Any]]
) -> None:
    facts = [customer(f"a{n}", arr, **(known[n] if n < len(known) else {})) for n, arr in enumerate(arrs)]
    found = {one.account: one for one in propose(facts, DEFAULT)}
    ranked = sorted(facts, key=lambda one: one.arr)
    for lower, higher in pairwise(ranked):
        assert ORDER.index(found[lower.account].by_arr) <= ORDER.index(found[higher.account].by_arr)
        if lower.arr == higher.arr:
            assert found[lower.account].by_arr is found[higher.account].by_arr
    for one in found.values():
        assert ORDER.index(one.proposed) - ORDER.index(one.by_arr) in (0, 1)
        assert one.score is None or 0 <= one.score <= 100
        assert one.reasons


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('version: "1.0"', "version: 1", "version"),
        ("{platinum: 0.2, gold: 0.3}", "{platinum: 0.8, gold: 0.3}", "more than all customers"),
        ("name: growth", "name: shrink", "is no criterion"),
        ("[[0, 10], [1, 100]]", "[[1, 10], [0, 100]]", "must rise"),
        ("lift:", "lifted:", "lift: Field required"),
        ("criteria:", "criteria: [", "not YAML"),
    ],
)
def test_criteria_that_cannot_be_used_say_what_is_wrong(old: str, new: str, said: str) -> None:
    assert old in default_tier_text()
    with pytest.raises(Invalid, match=said):
        tier_criteria(default_tier_text().replace(old, new, 1))
