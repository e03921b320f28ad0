"""The arithmetic of a score, in plain words of Python. `db/health/scoring.py` is the same for every account at once.

Integers all through, so that both stores and this give the same: points of a measure are hundredths (0 to 10 000), a
score is tenths (0 to 1 000), confidence is thousandths.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.facts.conditions import Facts, judge
from cs_mcp.domain.health.rubric import FULL, Measure, Rubric

_BEST_FIRST: Final = (Band.green, Band.yellow, Band.red)


@dataclass(frozen=True, slots=True)
class Scored:
    """One account on one day. `computed_band` is before the hard rules named in `rules`, `band` after them."""

    score_tenths: int | None
    band: Band
    computed_band: Band
    confidence: int
    points: dict[str, int | None]
    raws: dict[str, float | None]
    rules: list[str]


def score(rubric: Rubric, segment: str, raws: Mapping[str, float | None], facts: Facts) -> Scored:
    """Score one account from the raw values of its measures; facts decide the hard rules."""
    weights = rubric.weights(segment)
    points = {measure.name: points_of(measure, raws.get(measure.name)) for measure in rubric.measures}
    summed, coverage = totals(weights, points)
    confidence = coverage * 1000 // sum(weights.values())
    known = coverage > 0 and confidence >= rubric.min_coverage
    tenths = rounded(summed, coverage) if known else None
    computed = rubric.bands.of(tenths) if tenths is not None else Band.unknown
    applied = [rule for rule in rubric.rules if judge(rule.when, facts)]
    band = computed
    for rule in applied:
        band = capped(band, rule.cap)
    names = [rule.name for rule in applied]
    return Scored(tenths, band, computed, confidence, points, {name: raws.get(name) for name in points}, names)


def points_of(measure: Measure, raw: float | None) -> int | None:
    """Points of a raw value, in hundredths; None stays None."""
    if raw is None:
        return None
    first, last = measure.points[0], measure.points[-1]
    if raw <= first[0]:
        return first[1] * 100
    for x0, x1, start, difference, length in measure.steps:
        if raw <= x1:
            return math.floor((start + (raw - x0) * difference / length) + 0.5)
    return last[1] * 100


def totals(weights: Mapping[str, int], points: Mapping[str, int | None]) -> tuple[int, int]:
    """Σ weight × points, and Σ weight, of the measures that have data."""
    summed = coverage = 0
    for name, got in points.items():
        if got is not None:
            summed += weights[name] * got
            coverage += weights[name]
    return summed, coverage


def rounded(summed: int, coverage: int) -> int:
    """The score in tenths, halves up."""
    return (summed * 2 + coverage * 10) // (coverage * 20)


def capped(band: Band, cap: Band) -> Band:
    """A band under a hard rule. Unknown health is red under a red cap; "at most yellow" leaves it open."""
    if band is Band.unknown:
        return Band.red if cap is Band.red else Band.unknown
    return max(band, cap, key=_BEST_FIRST.index)


# -- shares that add up ---------------------------------------------------------------------------------------


def contributions(weights: Mapping[str, int], points: Mapping[str, int | None]) -> dict[str, int]:
    """What each measure with data gives to the score, in tenths; they add up to the score exactly."""
    return _shares(weights, {name: got for name, got in points.items() if got is not None}, lost=False)


def losses(weights: Mapping[str, int], points: Mapping[str, int | None]) -> dict[str, int]:
    """What each measure with data costs, in tenths; they add up to 1 000 less the score exactly."""
    return _shares(weights, {name: got for name, got in points.items() if got is not None}, lost=True)


def _shares(weights: Mapping[str, int], points: Mapping[str, int], *, lost: bool) -> dict[str, int]:
    summed, coverage = totals(weights, points)
    if not coverage:
        return dict.fromkeys(points, 0)
    total = rounded(summed, coverage)
    parts = [weights[name] * (FULL - got if lost else got) for name, got in points.items()]
    shares = apportioned(1000 - total if lost else total, parts, coverage * 10)
    return dict(zip(points, shares, strict=True))


def apportioned(total: int, parts: Sequence[int], divisor: int) -> list[int]:
    """Whole shares of `parts` ÷ `divisor` that add up to `total`, by largest remainder; the earlier wins a tie.

    `total` is Σ parts ÷ divisor, rounded either way.
    """
    shares = [part // divisor for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda place: (-(parts[place] % divisor), place))
    for place in by_remainder[: total - sum(shares)]:
        shares[place] += 1
    return shares
