"""What moved a score between two days.

Whole numbers as in `scoring.py`: points are hundredths, scores tenths. Shares add up to what is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from cs_mcp.domain.health.rubric import Rubric
from cs_mcp.domain.health.scoring import apportioned, points_of, rounded, totals


class Cause(StrEnum):
    behaviour = "behaviour"  # the customer, or we, did something
    missing_data = "missing_data"  # a measure came to have data, or lost it
    configuration = "configuration"  # the rubric, or the segment whose weights apply
    override = "override"  # a person's word in place of the sum


@dataclass(frozen=True)
class Judged:
    """The values an account was judged by on a day, and the rubric and weights that did it."""

    rubric: Rubric
    segment: str
    points: Mapping[str, int | None]
    raws: Mapping[str, float | None]

    @cached_property
    def weights(self) -> dict[str, int]:
        return self.rubric.weights(self.segment)

    @cached_property
    def known(self) -> dict[str, int]:
        """Points of the measures that have data."""
        return {name: got for name, got in self.points.items() if got is not None}


@dataclass(frozen=True)
class Difference:
    """What moved a score, in tenths. `by_cause` adds up to `tenths`, `measures` to its behaviour."""

    tenths: int
    by_cause: Mapping[Cause, int]
    measures: Mapping[str, int]
    gained: list[str] = field(default_factory=list[str])  # measures that have data now and had none
    lost: list[str] = field(default_factory=list[str])


def difference(before: Judged, after: Judged) -> Difference:
    """What moved the weighted mean from one day to another, one cause after the other.

    What is no longer asked or told leaves first; then what both days know takes its new values under the old rubric;
    then the new rubric and weights apply; what is newly asked or told comes last. Where two causes act together, their
    joint effect so goes to the later one.
    """
    then, now = before.known, after.known
    still_asked = {name: got for name, got in then.items() if name in after.weights}
    both = {name: got for name, got in still_asked.items() if name in now}
    moved = {name: _under(before, after, name) for name in both}
    asked_anew = {name: got for name, got in now.items() if name in both or name not in before.weights}
    stages = (
        (Cause.configuration, before.weights, still_asked),
        (Cause.missing_data, before.weights, both),
        (Cause.behaviour, before.weights, moved),
        (Cause.configuration, after.weights, {name: now[name] for name in both}),
        (Cause.configuration, after.weights, asked_anew),
        (Cause.missing_data, after.weights, now),
    )
    first = at = _mean(before.weights, then) or 0
    by_cause = dict.fromkeys(Cause, 0)
    for cause, weights, points in stages:
        # Between two days that share no measure there is no score to pass through: the next one takes the whole step.
        score = _mean(weights, points)
        if score is not None:
            by_cause[cause] += score - at
            at = score
    return Difference(
        tenths=at - first,
        by_cause=by_cause,
        measures=_by_measure(before.weights, both, moved, by_cause[Cause.behaviour]),
        gained=[name for name in now if name in before.weights and name not in then],
        lost=[name for name in then if name in after.weights and name not in now],
    )


def _under(before: Judged, after: Judged, name: str) -> int:
    """Points of the later value as the earlier rubric gives them."""
    measure = before.rubric.by_name[name]
    if measure.points == after.rubric.by_name[name].points:
        return after.known[name]
    given = points_of(measure, after.raws[name])
    assert given is not None, "a measure with points has a raw value"
    return given


def _mean(weights: Mapping[str, int], points: Mapping[str, int]) -> int | None:
    summed, coverage = totals(weights, points)
    return rounded(summed, coverage) if coverage else None


def _by_measure(
    weights: Mapping[str, int], before: Mapping[str, int], after: Mapping[str, int], total: int
) -> dict[str, int]:
    coverage = sum(weights[name] for name in before)
    if not coverage:
        return {}
    parts = [weights[name] * (after[name] - before[name]) for name in before]
    shares = apportioned(total, parts, coverage * 10)
    return {name: share for name, share in zip(before, shares, strict=True) if share or before[name] != after[name]}
