"""What moved a score, and the smallest way up: against plain statements of both, over rubrics of any make."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.health.explained import Cause, Judged, difference
from cs_mcp.domain.health.path import YES_OR_NO, path_up
from cs_mcp.domain.health.rubric import Rubric
from cs_mcp.domain.health.scoring import contributions, losses, points_of, rounded, totals


def a_rubric(measures: list[dict[str, Any]], version: str = "1", **more: Any) -> Rubric:
    return Rubric.model_validate(
        {
            "version": version,
            "title": "Test",
            "min_coverage": 0,
            "bands": {"green": 75, "yellow": 50},
            "cadence_days": {"high": 30, "mid": 90, "low": 365},
            "groups": [{"name": "all", "title": "All", "says": "Everything"}],
            "measures": [
                {"group": "all", "title": "T", "says": "S", "unit": "u", "remedy": "R", "fresh_days": 30} | measure
                for measure in measures
            ],
            **more,
        }
    )


LINE = [(0, 0), (100, 100)]
NAMES = ["a", "b", "c", "d", "e", "f"]
RISING = st.lists(st.integers(-50, 50), min_size=2, max_size=4, unique=True).flatmap(
    lambda raws: st.lists(st.integers(0, 100), min_size=len(raws), max_size=len(raws)).map(
        lambda points: list(zip(sorted(raws), points, strict=True))
    )
)


@st.composite
def measures(draw: st.DrawFn, names: list[str]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for name in names:
        switch = draw(st.booleans())
        made.append(
            {
                "name": name,
                "weight": draw(st.integers(1, 12)),
                "points": [(0, 0), (1, 100)] if switch else draw(RISING),
                "unit": YES_OR_NO if switch else "u",
                "movable": draw(st.integers(0, 3)) > 0,
            }
        )
    return made


@st.composite
def judged(draw: st.DrawFn, names: list[str], rubric: Rubric | None = None) -> Judged:
    rubric = rubric or a_rubric(draw(measures(names)))
    raws = {
        measure.name: float(draw(st.integers(0, 1)))
        if measure.unit == YES_OR_NO
        else draw(st.one_of(st.none(), st.floats(-60, 60).map(lambda raw: round(raw, 3))))
        for measure in rubric.measures
    }
    points = {measure.name: points_of(measure, raws[measure.name]) for measure in rubric.measures}
    return Judged(rubric, "smb", points, raws)


def mean(day: Judged) -> int | None:
    summed, coverage = totals(day.weights, day.known)
    return rounded(summed, coverage) if coverage else None


# -- why it moved ----------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_moved_a_score_adds_up_to_the_last_tenth(data: st.DataObject) -> None:
    some = st.lists(st.sampled_from(NAMES), min_size=1, unique=True)
    before = data.draw(judged(data.draw(some)))
    after = data.draw(st.one_of(judged(data.draw(some)), judged([], before.rubric)))
    assume(mean(before) is not None and mean(after) is not None)

    moved = difference(before, after)

    assert moved.tenths == mean(after) - mean(before)
    assert sum(moved.by_cause.values()) == moved.tenths
    assert sum(moved.measures.values()) == moved.by_cause[Cause.behaviour]
    if after.rubric is before.rubric:
        assert moved.by_cause[Cause.configuration] == 0
        if before.known.keys() == after.known.keys():
            assert moved.by_cause[Cause.missing_data] == 0
    unmoved = {name for name in moved.measures if before.raws[name] == after.raws[name]}
    assert not unmoved


def test_each_cause_is_told_apart() -> None:
    one = a_rubric([{"name": name, "weight": 1, "points": LINE, "movable": True} for name in "ab"])
    two = a_rubric(
        [{"name": "a", "weight": 3, "points": LINE, "movable": True}]
        + [{"name": "b", "weight": 1, "points": LINE, "movable": True}],
        version="2",
    )

    def day(rubric: Rubric, **raws: float | None) -> Judged:
        return Judged(rubric, "smb", {n: None if r is None else int(r * 100) for n, r in raws.items()}, raws)

    fell = difference(day(one, a=80.0, b=60.0), day(one, a=50.0, b=60.0))
    assert (fell.tenths, fell.by_cause[Cause.behaviour], fell.measures) == (-150, -150, {"a": -150})

    went_quiet = difference(day(one, a=80.0, b=60.0), day(one, a=80.0, b=None))
    assert (went_quiet.by_cause[Cause.missing_data], went_quiet.lost) == (100, ["b"])

    weighed_anew = difference(day(one, a=80.0, b=60.0), day(two, a=80.0, b=60.0))
    assert weighed_anew.by_cause[Cause.configuration] == 50

    # 70.0 → a falls to 40 (50.0) → b goes quiet first, so a falls by 40 alone → weights make no difference to one.
    together = difference(day(one, a=80.0, b=60.0), day(two, a=40.0, b=None))
    assert together.by_cause == {
        Cause.behaviour: -400,
        Cause.missing_data: 100,
        Cause.configuration: 0,
        Cause.override: 0,
    }


@given(judged(NAMES))
def test_contributions_and_losses_add_up_to_the_score_and_the_rest(day: Judged) -> None:
    score = mean(day)
    assume(score is not None)

    assert sum(contributions(day.weights, day.points).values()) == score
    assert sum(losses(day.weights, day.points).values()) == 1000 - score


# -- the way up ------------------------------------------------------------------------------------------------


def least(day: Judged, need: int) -> tuple[int, int] | None:
    """Fewest measures and fewest points by trying every set of measures in every order of filling."""
    room = {
        measure.name: max(points for _, points in measure.points) * 100 - day.known[measure.name]
        for measure in day.rubric.measures
        if measure.movable and measure.name in day.known
    }
    for count in range(len(room) + 1):
        found = [
            cost
            for chosen in combinations([name for name in room if room[name] > 0], count)
            for order in permutations(chosen)
            if (cost := _filled(day, room, order, need)) is not None
        ]
        if found:
            return count, min(found)
    return None


def _filled(day: Judged, room: dict[str, int], order: tuple[str, ...], need: int) -> int | None:
    cost, units = 0, day.rubric.by_name
    for name in sorted(order, key=lambda name: units[name].unit != YES_OR_NO):
        weight = day.weights[name]
        gained = room[name] if units[name].unit == YES_OR_NO else min(room[name], max(1, -(-need // weight)))
        cost, need = cost + gained, need - weight * gained
    return cost if need <= 0 else None


@settings(max_examples=150, deadline=None)
@given(judged(NAMES[:5]))
def test_no_smaller_way_up_exists_and_walking_it_gets_there(day: Judged) -> None:
    score = mean(day)
    assume(score is not None and score < 750)
    band = day.rubric.bands.of(score)
    path = path_up(day, band, [])
    assert path is not None
    wanted = {Band.yellow: 500, Band.green: 750}[path.target]
    summed, coverage = totals(day.weights, day.known)
    need = next(x for x in range(10 * coverage * wanted - 5 * coverage - summed - 1, 10**9)
                if rounded(summed + x, coverage) >= wanted)  # fmt: skip
    best = least(day, need)

    assert path.reaches == (best is not None)
    walked = day.known | {step.measure.name: points_of(step.measure, step.to) or 0 for step in path.steps}
    assert path.score_tenths == rounded(*totals(day.weights, walked))
    assert all(step.measure.movable for step in path.steps)
    if best is not None:
        count, cost = best
        assert len(path.steps) == count
        assert path.score_tenths >= wanted
        assert path.band in (path.target, Band.green)
        assert sum(step.points_needed for step in path.steps) == cost


def test_a_hard_rule_is_part_of_the_way_and_clearing_it_may_be_all() -> None:
    rules = [
        {"name": "gone", "says": "s", "when": {"fact": "open_sev1", "at_least": 1}, "cap": cap, "clears": "c",
         "feed": "tickets"} for cap in ["red"]
    ]  # fmt: skip
    rubric = a_rubric([{"name": "a", "weight": 1, "points": LINE, "movable": True}], rules=rules)
    good = Judged(rubric, "smb", {"a": 6000}, {"a": 60.0})

    path = path_up(good, Band.red, ["gone"])

    assert path is not None
    assert (path.target, path.steps, [rule.name for rule in path.clear]) == (Band.yellow, [], ["gone"])
    assert (path.band, path.reaches) == (Band.yellow, True)


def test_what_nobody_can_move_is_no_way_up() -> None:
    rubric = a_rubric(
        [
            {"name": "a", "weight": 1, "points": LINE, "movable": True},
            {"name": "b", "weight": 9, "points": LINE, "movable": False},
        ]
    )
    path = path_up(Judged(rubric, "smb", {"a": 0, "b": 0}, {"a": 0.0, "b": 0.0}), Band.red, [])

    assert path is not None
    assert (path.reaches, path.score_tenths, [step.to for step in path.steps]) == (False, 100, [100.0])
    assert path_up(Judged(rubric, "smb", {"a": 10000, "b": 10000}, {}), Band.green, []) is None


def test_what_is_yes_or_no_moves_whole_and_the_rest_no_further_than_it_must() -> None:
    # 58 925 weighted hundredths are missing: neither does it alone (50 000, 20 000); beside all of b, a needs 77.85.
    rubric = a_rubric(
        [
            {"name": "a", "weight": 5, "points": LINE, "movable": True},
            {"name": "b", "weight": 2, "points": [(0, 0), (1, 100)], "unit": YES_OR_NO, "movable": True},
            {"name": "c", "weight": 8, "points": LINE, "movable": False},
        ]
    )
    day = Judged(rubric, "smb", {"a": 0, "b": 0, "c": 2000}, {"a": 0.0, "b": 0.0, "c": 20.0})

    path = path_up(day, Band.red, [])

    assert path is not None
    assert [(step.measure.name, step.to, step.points_needed) for step in path.steps] == [
        ("b", 1.0, 10_000),
        ("a", 78.0, 7785),
    ]
    assert path.score_tenths == 500
