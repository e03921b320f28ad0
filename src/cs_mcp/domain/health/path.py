"""The smallest way to a better band: which measures to move how far, and which hard rules to clear.

Exact over the measures that a team can move and that have data: the fewest measures, then the fewest points gained on
them together. What is yes or no moves whole. Points are hundredths, scores tenths, as in `scoring.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.health.explained import Judged
from cs_mcp.domain.health.rubric import HardRule, Measure
from cs_mcp.domain.health.scoring import capped, points_of, rounded, totals

_NEXT: Final = {Band.red: Band.yellow, Band.yellow: Band.green}
YES_OR_NO: Final = "yes or no"  # the unit of a measure that knows nothing between
_DECIMALS: Final = range(7)


@dataclass(frozen=True, slots=True)
class Step:
    """Move one measure: its raw value to `to`, the nearest readable one that brings the points needed or more."""

    measure: Measure
    raw: float
    to: float
    points: int
    points_needed: int
    to_points: int


@dataclass(frozen=True, slots=True)
class Path:
    """A way from a band to `target`. `score_tenths` is the score once it is walked, computed from the raw values.

    Where `reaches` is False, even the best values of everything movable (`steps`) do not get there.
    """

    target: Band
    steps: list[Step]
    clear: list[HardRule]
    score_tenths: int
    band: Band
    reaches: bool


class _Candidate(NamedTuple):
    measure: Measure
    weight: int
    gain: int  # points it can still gain
    whole: bool


def path_up(judged: Judged, band: Band, rules: Sequence[str]) -> Path | None:
    """The way from `band`, which the hard rules named in `rules` may hold down, to the next better one.

    None for what is green or unknown: there is no better band, or no score to start from.
    """
    target = _NEXT.get(band)
    summed, coverage = totals(judged.weights, judged.known)
    if target is None or not coverage:
        return None
    bands = judged.rubric.bands
    wanted = (bands.green if target is Band.green else bands.yellow) * 10
    # rounded(summed + x, coverage) >= wanted, solved for x
    need = 10 * coverage * wanted - 5 * coverage - summed
    candidates = list(_candidates(judged))
    chosen = _fewest(candidates, need)
    gains = chosen if chosen is not None else {each.measure.name: each.gain for each in candidates}
    steps = [_step(judged, each.measure, gains[each.measure.name]) for each in candidates if each.measure.name in gains]
    clear = [rule for rule in judged.rubric.rules if rule.name in rules and capped(target, rule.cap) is not target]
    score, after = _rescored(judged, steps, [name for name in rules if name not in {rule.name for rule in clear}])
    return Path(target, steps, clear, score, after, chosen is not None)


def _candidates(judged: Judged) -> Iterator[_Candidate]:
    """Movable measures with room above, those of most effect a point first, yes-or-no ones before all."""
    found: list[_Candidate] = []
    for measure in judged.rubric.measures:
        got, weight = judged.points.get(measure.name), judged.weights[measure.name]
        if measure.movable and got is not None and weight:
            best = max(points for _, points in measure.points) * 100
            if best > got:
                found.append(_Candidate(measure, weight, best - got, measure.unit == YES_OR_NO))
    found.sort(key=lambda each: (not each.whole, -each.weight, -each.gain))
    return iter(found)


class _Chosen(NamedTuple):
    cost: int  # points gained
    effect: int  # Σ weight × points
    names: tuple[str, ...]


def _fewest(candidates: Sequence[_Candidate], need: int) -> dict[str, int] | None:
    """Points to gain by measure: fewest measures, then fewest points, with Σ weight × points at least `need`."""
    if need <= 0:
        return {}
    effects = sorted((each.weight * each.gain for each in candidates), reverse=True)
    count = next((k for k in range(1, len(effects) + 1) if sum(effects[:k]) >= need), None)
    if count is None:
        return None
    # In a best choice all but one measure are gained whole, for points are better spent where they weigh more; the one
    # that is not is the lightest of its kind, and so the last in this order. `whole[k]` holds the choices of k measures
    # gained whole so far, without those that another beats in both cost and effect.
    whole: list[list[_Chosen]] = [[_Chosen(0, 0, ())], *([] for _ in range(count))]
    best: tuple[int, dict[str, int]] | None = None
    by_name = {each.measure.name: each for each in candidates}
    for each in candidates:
        for before in whole[count - 1]:
            last = each.gain if each.whole else max(1, -((before.effect - need) // each.weight))
            if last <= each.gain and before.effect + each.weight * last >= need:
                cost = before.cost + last
                if best is None or cost < best[0]:
                    full = {name: by_name[name].gain for name in before.names}
                    best = cost, full | {each.measure.name: last}
        for k in range(count - 1, 0, -1):
            longer = [
                _Chosen(cost + each.gain, effect + each.weight * each.gain, (*names, each.measure.name))
                for cost, effect, names in whole[k - 1]
            ]
            whole[k] = _undominated(whole[k] + longer)
    assert best is not None, "the measures of most effect reach it"
    return best[1]


def _undominated(choices: list[_Chosen]) -> list[_Chosen]:
    kept: list[_Chosen] = []
    for choice in sorted(choices, key=lambda choice: (choice.cost, -choice.effect)):
        if not kept or choice.effect > kept[-1].effect:
            kept.append(choice)
    return kept


def _step(judged: Judged, measure: Measure, gain: int) -> Step:
    raw, got = judged.raws[measure.name], judged.known[measure.name]
    assert raw is not None, "a measure with points has a raw value"
    to = nearest_raw(measure, raw, got + gain)
    reached = points_of(measure, to)
    assert reached is not None
    return Step(measure, raw, to, got, gain, reached)


def nearest_raw(measure: Measure, raw: float, points: int) -> float:
    """The raw value nearest to `raw` that is worth at least `points`, with as few decimals as say it."""
    found = [
        value
        for (x0, y0), (x1, y1) in zip(measure.points, measure.points[1:], strict=False)
        for value in _at_least(x0, y0 * 100, x1, y1 * 100, points)
    ]
    exact = min(found, key=lambda value: abs(value - raw))
    up = exact > raw
    for decimals in _DECIMALS:
        factor = 10**decimals
        value = (math.ceil(exact * factor) if up else math.floor(exact * factor)) / factor
        worth = points_of(measure, value)
        if worth is not None and worth >= points and _is_near(measure, decimals, value, exact):
            return value
    return exact


def _is_near(measure: Measure, decimals: int, value: float, exact: float) -> bool:
    """Whether rounding keeps within a hundredth of the measure's span; whole numbers stay whole."""
    ends = [raw for raw, _ in measure.points]
    if decimals == 0 and all(end == int(end) for end in ends):
        return True
    return abs(value - exact) <= (ends[-1] - ends[0]) / 100


def _at_least(x0: float, y0: int, x1: float, y1: int, points: int) -> Iterator[float]:
    """Where a line between two pairs has at least `points`: its ends, and where it crosses."""
    if y0 >= points:
        yield x0
    if y1 >= points:
        yield x1
    if (y0 >= points) != (y1 >= points):
        yield x0 + (points - y0) * (x1 - x0) / (y1 - y0)


def _rescored(judged: Judged, steps: Sequence[Step], rules: Sequence[str]) -> tuple[int, Band]:
    points: Mapping[str, int] = judged.known | {step.measure.name: step.to_points for step in steps}
    score = rounded(*totals(judged.weights, points))
    band = judged.rubric.bands.of(score)
    for rule in judged.rubric.rules:
        if rule.name in rules:
            band = capped(band, rule.cap)
    return score, band
