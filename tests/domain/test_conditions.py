"""Conditions: what they hold for, what they leave open, what they say, and what is wrong with a broken one."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from cs_mcp.domain.facts.conditions import Condition, facts_of, in_words, judge, needs_history, problems_of

READ = TypeAdapter[Any](Condition)
TYPES = {"score": "number", "open_sev1": "number", "days_to_renewal": "number", "band": "text", "trial": "bool"}

NEAR_RENEWAL = {
    "all": [{"fact": "open_sev1", "at_least": 1}, {"fact": "days_to_renewal", "at_least": 0, "at_most": 90}]
}


@pytest.mark.parametrize(
    ("facts", "answer"),
    [
        ({"open_sev1": 1, "days_to_renewal": 90}, True),
        ({"open_sev1": 1, "days_to_renewal": 91}, False),
        ({"open_sev1": 1, "days_to_renewal": None}, None),
        ({"open_sev1": 0}, False),  # what is not known cannot save it
        ({}, None),
    ],
)
def test_what_is_not_known_decides_nothing_by_itself(facts: dict[str, Any], answer: bool | None) -> None:
    assert judge(READ.validate_python(NEAR_RENEWAL), facts) is answer


TWO_WEEKS_LOW = {"fact": "score", "less_than": 60, "for_days": 14}


@pytest.mark.parametrize(
    ("past", "answer"),
    [
        ([(7, 55.0), (14, 58.0)], True),  # weekly snapshots
        ([(7, 55.0), (16, 58.0)], True),  # what stood at the beginning was recorded two days before
        ([(7, 61.0), (14, 58.0)], False),
        ([(7, 55.0), (14, 60.0)], False),
        ([(7, 55.0), (14, None), (15, 58.0)], True),  # a day without data breaks nothing and proves nothing
        ([(7, 55.0)], None),  # nobody knows how it began
        ([(7, 55.0), (22, 58.0)], None),
    ],
)
def test_how_long_it_held_is_read_off_recorded_days(past: list[tuple[int, Any]], answer: bool | None) -> None:
    assert judge(READ.validate_python(TWO_WEEKS_LOW), {"score": 59.0}, {"score": past}) is answer
    assert judge(READ.validate_python(TWO_WEEKS_LOW), {"score": 60.0}, {"score": past}) is False


@pytest.mark.parametrize(
    ("condition", "now", "answer"),
    [
        ({"crossed_below": 75, "within_days": 7}, 74.9, True),
        ({"crossed_below": 75, "within_days": 7}, 75, False),
        ({"crossed_below": 50, "within_days": 7}, 40, True),
        ({"crossed_below": 50, "within_days": 2}, 40, None),  # no day of these two is recorded
        ({"crossed_above": 80, "within_days": 7}, 80, True),
        ({"crossed_above": 70, "within_days": 7}, 80, False),  # it never stood below
        ({"fell_by": 10, "within_days": 30}, 69, True),  # from 79, the highest of the month
        ({"fell_by": 10, "within_days": 7}, 69, False),
        ({"rose_by": 5, "within_days": 7}, 80, True),
        ({"rose_by": 5, "within_days": 7}, None, None),
    ],
)
def test_crossings_and_moves_look_back_so_far_and_no_further(
    condition: dict[str, Any], now: float | None, answer: bool | None
) -> None:
    past = {"score": [(3, 75.0), (6, None), (20, 79.0), (31, 99.0)]}
    assert judge(READ.validate_python({"fact": "score"} | condition), {"score": now}, past) is answer


def test_a_condition_says_itself_in_words() -> None:
    condition = READ.validate_python(
        {"any": [NEAR_RENEWAL, TWO_WEEKS_LOW, {"none": [{"fact": "band", "one_of": ["green", "yellow"]}]}]}
    )
    assert in_words(condition, {"open_sev1": "open sev-1 tickets"}) == (
        "(open sev-1 tickets is at least 1 and days to renewal is at least 0 and is at most 90)"
        " or score is less than 60 for 14 days on end or not (band is one of green, yellow)"
    )
    assert facts_of(condition) == {"open_sev1", "days_to_renewal", "score", "band"}
    assert needs_history(condition) == {"score"}
    fall = {"fact": "score", "fell_by": 10, "within_days": 30}
    assert in_words(READ.validate_python(fall)) == "score fell by 10 or more within 30 days"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"fact": "score"}, "says nothing of score"),
        ({"fact": "score", "atleast": 3}, "compare.atleast"),
        ({"fact": "score", "at_least": True}, "compare.at_least"),
        ({"fact": "score", "at_least": "60"}, "compare.at_least"),
        ({"fact": "score", "crossed_below": 50, "for_days": 3}, "crossing.for_days"),
        ({"fact": "score", "fell_by": 10}, "move.within_days"),
        ({"fact": "score", "is_missing": True, "for_days": 3}, "stands alone"),
        ({"all": []}, "all.all"),
        ({"any": [{"fact": "score", "at_leats": 1}]}, "any.any.0.compare.at_leats"),
    ],
)
def test_a_broken_condition_is_refused_where_it_is_broken(broken: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace(".", r"\.")):
        READ.validate_python(broken)


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ({"fact": "open_sev", "at_least": 1}, "there is no fact open_sev; did you mean open_sev1?"),
        ({"fact": "band", "at_least": 1}, "band is a text: at_least needs a number or a day"),
        ({"fact": "score", "equals": "red"}, "score is a number: equals is given the text red"),
        ({"fact": "days_to_renewal", "less_than": date(2026, 1, 1)}, "is given the date 2026-01-01"),
        ({"fact": "band", "crossed_below": 3}, "only a number crosses"),
        ({"fact": "open_sev1", "at_least": 1, "for_days": 3}, "no past values of open_sev1 are kept"),
    ],
)
def test_a_condition_that_cannot_be_judged_says_what_to_write(condition: dict[str, Any], problem: str) -> None:
    assert problem in " ".join(problems_of(READ.validate_python({"all": [condition]}), TYPES, dated=["score", "band"]))
