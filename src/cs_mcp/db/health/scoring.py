"""The score of every account in one statement: `domain/health/scoring.py` compiled to SQL, layer by layer.

Facts → raw values → points → sums → score → bands. Layers are fenced where an expression is named often in the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    String,
    and_,
    case,
    func,
    literal,
    literal_column,
    null,
    select,
)

from cs_mcp.db.facts.conditions import compiled
from cs_mcp.db.facts.facts import facts_of
from cs_mcp.db.facts.measures import facts_needed_by, raw_value
from cs_mcp.db.facts.terms import Among, decimal, divided, fenced, flag, whole
from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.health.rubric import Measure, Rubric

AnySelect = Select[*tuple[Any, ...]]
# Two sums in one number: what is above it counts the weights with data, what is below their points. 32 weights of at
# most 1 000 times 10 000 points stay below it.
_WEIGHED: Final = literal_column(str(1 << 32), BigInteger)


def scored(rubric: Rubric, among: Among, *, rollup: bool, with_facts: bool = False) -> AnySelect:
    """One row an account: `account_id`, `segment`, `score_tenths`, `band`, `computed_band`, `confidence`, `rules`,
    `p1…` and `v1…` by slot, and where asked the facts they come from as `f_…`.
    """
    needed = facts_needed_by(rubric)
    slots = range(1, len(rubric.measures) + 1)
    facts = fenced(facts_of(needed, among, rubric.cadence_days, rollup=rollup), "facts")
    known = {name: facts.c[name] for name in needed}
    rules = [flag(compiled(rule.when, known)).label(f"r{n}") for n, rule in enumerate(rubric.rules)]
    kept = [known[name].label(f"f_{name}") for name in needed] if with_facts else []
    raws = [raw_value(measure.name, known).label(f"v{slot}") for slot, measure in enumerate(rubric.measures, 1)]
    layer = fenced(select(facts.c.account_id, facts.c.segment, *rules, *kept, *raws), "raws")
    points = [
        _points(measure, layer.c[f"v{slot}"]).label(f"p{slot}") for slot, measure in enumerate(rubric.measures, 1)
    ]
    layer = fenced(select(*layer.c, *points), "points")
    weights = _weights(rubric, layer.c.segment)
    told = _sum(func.coalesce(weights[slot] * (layer.c[f"p{slot}"] + _WEIGHED), 0) for slot in slots)
    every = _by_segment({segment: sum(rubric.weights(segment).values()) for segment in rubric.segments},
                        sum(rubric.weights("").values()), layer.c.segment)  # fmt: skip
    layer = fenced(select(*layer.c, told.label("told"), every.label("every_weight")), "sums")
    coverage = divided(layer.c.told, _WEIGHED)
    summed = layer.c.told - coverage * _WEIGHED
    confidence = divided(coverage * 1000, layer.c.every_weight)
    enough = and_(layer.c.told > 0, confidence >= rubric.min_coverage)
    tenths = divided(summed * 2 + coverage * 10, func.nullif(coverage * 20, 0))
    carried = [column for column in layer.c if column.key not in ("told", "every_weight")]
    layer = fenced(
        select(*carried, confidence.label("confidence"), case((enough, tenths)).label("score_tenths")), "scores"
    )
    computed = band_of(rubric, layer.c.score_tenths)
    return select(
        layer.c.account_id,
        layer.c.segment,
        layer.c.score_tenths,
        _capped(rubric, layer.c, computed).label("band"),
        computed.label("computed_band"),
        layer.c.confidence,
        _applied(rubric, layer.c).label("rules"),
        *(layer.c[f"p{slot}"] for slot in slots),
        *(layer.c[f"v{slot}"] for slot in slots),
        *(layer.c[column.name] for column in kept),
    )


def band_of(rubric: Rubric, tenths: Any) -> ColumnElement[str]:
    return case(
        (tenths.is_(None), Band.unknown.value),
        (tenths >= rubric.bands.green * 10, Band.green.value),
        (tenths >= rubric.bands.yellow * 10, Band.yellow.value),
        else_=Band.red.value,
    )


def _points(measure: Measure, raw: Any) -> ColumnElement[int]:
    """`points_of`, with its operations in the same order."""
    (lowest, first), (_, last) = measure.points[0], measure.points[-1]
    lines = [
        (raw <= decimal(x1), whole((decimal(start) + (raw - decimal(x0)) * decimal(risen) / decimal(length)) + 0.5))
        for x0, x1, start, risen, length in measure.steps
    ]
    return case((raw.is_(None), null()), (raw <= decimal(lowest), first * 100), *lines, else_=last * 100)


def _weights(rubric: Rubric, segment: Any) -> dict[int, ColumnElement[int]]:
    """What each slot weighs for the account at hand."""
    return {
        slot: _by_segment(
            {name: own[measure.name] for name, own in rubric.segments.items() if measure.name in own},
            measure.weight,
            segment,
        )
        for slot, measure in enumerate(rubric.measures, 1)
    }


def _by_segment(own: Mapping[Any, int], otherwise: int, segment: Any) -> ColumnElement[int]:
    if not own:
        return _constant(otherwise)
    named = {name: literal_column(f"'{name.value}'", String) for name in own}
    return case(
        *((segment == named[name], _constant(value)) for name, value in own.items()), else_=_constant(otherwise)
    )


def _constant(value: int) -> ColumnElement[int]:
    return literal_column(str(value), Integer)


def _sum(terms: Any) -> ColumnElement[int]:
    first, *others = terms
    for term in others:
        first = first + term
    return first


def _capped(rubric: Rubric, row: Any, computed: Any) -> ColumnElement[str]:
    caps: dict[Band, list[Any]] = {Band.red: [], Band.yellow: []}
    for n, rule in enumerate(rubric.rules):
        caps[rule.cap].append(row[f"r{n}"])
    cases: list[Any] = []
    if caps[Band.red]:
        cases.append((_sum(caps[Band.red]) > 0, Band.red.value))
    if caps[Band.yellow]:
        lowered = and_(_sum(caps[Band.yellow]) > 0, computed == Band.green.value)
        cases.append((lowered, Band.yellow.value))
    return case(*cases, else_=computed) if cases else computed


def _applied(rubric: Rubric, row: Any) -> ColumnElement[Any]:
    """Names of the hard rules that hold, in the rubric's order, divided by `;`."""
    if not rubric.rules:
        return null()
    said: Any = literal("")
    for n, rule in enumerate(rubric.rules):
        said = said + case((row[f"r{n}"] == 1, f"{rule.name};"), else_="")
    return func.nullif(func.rtrim(said, ";"), "")
