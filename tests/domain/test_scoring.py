"""The arithmetic of a score: points on their lines, halves up, and shares that add up."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.health.rubric import Rubric
from cs_mcp.domain.health.scoring import capped, contributions, losses, points_of, rounded, score, totals
from cs_mcp.services.health.rubric_files import default_text, read_rubric

RUBRIC = read_rubric(default_text())
SEATS = RUBRIC.by_name["active_seats"]  # [[0.1, 0], [0.3, 40], [0.5, 70], [0.7, 100]]

weighed = st.lists(
    st.tuples(st.integers(0, 1000), st.none() | st.integers(0, 10_000) | st.sampled_from([0, 10_000])),
    min_size=1,
    max_size=32,
)


@pytest.mark.parametrize(
    ("raw", "points"),
    [(None, None), (-5, 0), (0.1, 0), (0.2, 2000), (0.3, 4000), (0.31, 4150), (0.6, 8500), (0.7, 10_000), (9, 10_000)],
)  # fmt: skip
def test_points_lie_on_the_lines_between_the_pairs(raw: float | None, points: int | None) -> None:
    assert points_of(SEATS, raw) == points


@given(weighed)
def test_what_measures_give_and_cost_adds_up_to_the_score_and_to_the_rest(given: list[tuple[int, int | None]]) -> None:
    weights = {f"m{n}": weight for n, (weight, _) in enumerate(given)}
    points = {f"m{n}": got for n, (_, got) in enumerate(given)}
    summed, coverage = totals(weights, points)
    if not coverage:
        return
    tenths = rounded(summed, coverage)
    assert abs(Fraction(summed, coverage * 10) - tenths) <= Fraction(1, 2)
    gives, costs = contributions(weights, points), losses(weights, points)
    assert sum(gives.values()) == tenths
    assert sum(costs.values()) == 1000 - tenths
    for name, got in points.items():
        if got is not None:
            assert abs(gives[name] - Fraction(weights[name] * got, coverage * 10)) < 1
            assert abs(costs[name] - Fraction(weights[name] * (10_000 - got), coverage * 10)) < 1


def test_missing_data_lowers_confidence_and_not_the_score() -> None:
    full = score(RUBRIC, "mid_market", dict.fromkeys(RUBRIC.by_name, 1.0), {})
    some = {name: value for name, value in full.raws.items() if full.points[name] == 10_000}
    fewer = score(RUBRIC, "mid_market", some, {})

    assert fewer.score_tenths == 1000 > (full.score_tenths or 0)
    assert fewer.confidence < full.confidence == 1000


def test_below_the_least_coverage_the_band_is_unknown_and_only_a_red_rule_decides() -> None:
    raws = {"sponsor_present": 1.0}
    assert score(RUBRIC, "smb", raws, {}).band is Band.unknown
    assert score(RUBRIC, "smb", raws, {"overdue_days": 61}).band is Band.unknown
    gone = score(RUBRIC, "smb", raws, {"sponsor_departed": True})
    assert (gone.score_tenths, gone.computed_band, gone.band, gone.rules) == (
        None,
        Band.unknown,
        Band.red,
        ["sponsor_departed"],
    )


def test_a_rule_lowers_a_band_and_never_raises_it() -> None:
    assert capped(Band.green, Band.yellow) is Band.yellow
    assert capped(Band.red, Band.yellow) is Band.red
    assert capped(Band.yellow, Band.red) is Band.red


def test_a_segment_weighs_by_its_own_weights_where_it_has_any() -> None:
    raws = dict.fromkeys(RUBRIC.by_name, 0.0) | {"breadth": 6.0}
    by_segment = {s: score(RUBRIC, s, raws, {}).score_tenths for s in ("smb", "mid_market", "enterprise")}
    assert by_segment["smb"] != by_segment["mid_market"] != by_segment["enterprise"]
    assert RUBRIC.weights("enterprise")["breadth"] == 5
    assert RUBRIC.weights("mid_market")["breadth"] == 3


def test_the_default_rubric_weighs_groups_as_agreed() -> None:
    by_group: dict[str, int] = {}
    for measure in RUBRIC.measures:
        by_group[measure.group] = by_group.get(measure.group, 0) + measure.weight
    assert by_group == {
        "usage": 30,
        "value": 10,
        "support": 15,
        "sentiment": 15,
        "commercial": 10,
        "relationship": 20,
    }
    assert isinstance(RUBRIC, Rubric)
