"""The score of every account in one statement: `domain/health/scoring.py` compiled to SQL, layer by layer.

Facts → raw values → points → sums → score → bands. Layers are fenced where an expression is named often in the next.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    Integer,
    Select,
    String,
    and_,
    case,
    cast,
    func,
    literal,
    literal_column,
    null,
    select,
)

from cs_mcp.db.facts.conditions import compiled
from cs_mcp.db.facts.facts import TO_COME, facts_of
from cs_mcp.db.facts.measures import facts_needed, facts_needed_by, raw_value
from cs_mcp.db.facts.terms import Among, decimal, divided, fenced, flag, quotient, whole
from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.health.rubric import Measure, Rubric

AnySelect = Select[*tuple[Any, ...]]
# Two sums in one number: what is above it counts the weights with data, what is below their points. 32 weights of at
# most 1 000 times 10 000 points stay below it.
_WEIGHED: Final = literal_column(str(1 << 32), BigInteger)
_CAPS: Final = {"reds": Band.red, "yellows": Band.yellow}
_WEIGHTS: Final = ("told", "every_weight", *_CAPS)


def scored(rubric: Rubric, among: Among, *, rollup: bool, merged: bool = True, with_facts: bool = False) -> AnySelect:
    """One row an account: `account_id`, `segment`, `score_tenths`, `band`, `computed_band`, `confidence`, `rules`,
    `p1…` and `v1…` by slot, and where asked the facts they come from as `f_…`. `merged` is that of `facts_of`.
    """
    layer = fenced(weighed(rubric, among, rollup=rollup, merged=merged, with_facts=with_facts), "weighed")
    layer = fenced(select(*layer.c, *figures_of(rubric, layer.c)), "scores")
    carried = [column for column in layer.c if column.key not in _WEIGHTS]
    return select(*carried, *bands_of(rubric, layer.c))


def weighed(
    rubric: Rubric,
    among: Among,
    *,
    rollup: bool,
    merged: bool = True,
    with_facts: bool = False,
    carried: Collection[Any] = (),
) -> AnySelect:
    """The same before it is judged: `told` and `every_weight` sum what has data, `reds` and `yellows` count the hard
    rules that cap at them. `merged` and `carried` are those of `facts_of`.
    """
    needed = facts_needed_by(rubric)
    # What waits for its feed is missing everywhere, and is not carried from layer to layer.
    fed = {
        slot: measure
        for slot, measure in enumerate(rubric.measures, 1)
        if not TO_COME.keys() >= set(facts_needed([measure.name]))
    }
    found = facts_of(needed, among, rubric.cadence_days, rollup=rollup, merged=merged, carried=carried)
    facts = fenced(found, "facts")
    known = {name: facts.c[name] for name in needed}
    rules = [flag(compiled(rule.when, known)).label(f"r{n}") for n, rule in enumerate(rubric.rules)]
    kept = [known[name].label(f"f_{name}") for name in needed] if with_facts else []
    raws = [raw_value(measure.name, known).label(f"v{slot}") for slot, measure in fed.items()]
    own = [facts.c[column.key] for column in carried]
    layer = fenced(select(facts.c.account_id, facts.c.segment, *own, *rules, *kept, *raws), "raws")
    points = [_points(measure, layer.c[f"v{slot}"]).label(f"p{slot}") for slot, measure in fed.items()]
    layer = fenced(select(*layer.c, *points), "points")
    told = _told(rubric, fed, layer.c)
    every = _by_segment({segment: sum(rubric.weights(segment).values()) for segment in rubric.segments},
                        sum(rubric.weights("").values()), layer.c.segment)  # fmt: skip
    return select(
        layer.c.account_id,
        layer.c.segment,
        *(layer.c[column.key] for column in carried),
        told.label("told"),
        every.label("every_weight"),
        *(_caps(rubric, layer.c, cap).label(name) for name, cap in _CAPS.items()),
        _applied(rubric, layer.c).label("rules"),
        *(_slot(layer, f"p{slot}", Integer) for slot in range(1, len(rubric.measures) + 1)),
        *(_slot(layer, f"v{slot}", Double) for slot in range(1, len(rubric.measures) + 1)),
        *(layer.c[column.name] for column in kept),
    )


def _slot(layer: Any, name: str, type_: Any) -> ColumnElement[Any]:
    return layer.c[name] if name in layer.c else cast(null(), type_).label(name)


def figures_of(rubric: Rubric, row: Any) -> tuple[ColumnElement[int], ColumnElement[int]]:
    """`confidence` and `score_tenths` of what was weighed."""
    coverage = divided(row.told, _WEIGHED)
    summed = row.told - coverage * _WEIGHED
    confidence = divided(coverage * 1000, row.every_weight)
    enough = and_(row.told > 0, confidence >= rubric.min_coverage)
    tenths = divided(summed * 2 + coverage * 10, func.nullif(coverage * 20, 0))
    return confidence.label("confidence"), case((enough, tenths)).label("score_tenths")


def bands_of(rubric: Rubric, row: Any) -> tuple[ColumnElement[str], ColumnElement[str]]:
    """`band` and `computed_band` of what has its score."""
    computed = band_of(rubric, row.score_tenths)
    lowered = and_(row.yellows > 0, computed == Band.green.value)
    band = case((row.reds > 0, Band.red.value), (lowered, Band.yellow.value), else_=computed)
    return band.label("band"), computed.label("computed_band")


def band_of(rubric: Rubric, tenths: Any) -> ColumnElement[str]:
    return case(
        (tenths.is_(None), Band.unknown.value),
        (tenths >= rubric.bands.green * 10, Band.green.value),
        (tenths >= rubric.bands.yellow * 10, Band.yellow.value),
        else_=Band.red.value,
    )


def _points(measure: Measure, raw: Any) -> ColumnElement[int]:
    """`points_of`, with its operations in the same order."""
    (lowest, first), (highest, last) = measure.points[0], measure.points[-1]
    lines = [
        (
            raw <= decimal(x1),
            whole(decimal(start) + quotient((raw - decimal(x0)) * decimal(risen), decimal(length)) + decimal(0.5)),
        )
        for x0, x1, start, risen, length in measure.steps
    ]
    # Of no data nothing of this is true.
    return case((raw <= decimal(lowest), first * 100), *lines, (raw > decimal(highest), last * 100))


def _told(rubric: Rubric, fed: Mapping[int, Measure], row: Any) -> ColumnElement[int]:
    """What is told, weighed as it is in the segment of the account at hand: which one is asked once."""

    def summed(weights: Mapping[str, int]) -> ColumnElement[int]:
        terms = (
            func.coalesce(_constant(weights[measure.name]) * (row[f"p{slot}"] + _WEIGHED), _constant(0))
            for slot, measure in fed.items()
        )
        return _sum([_constant(0), *terms])

    own = {segment: summed(rubric.weights(segment)) for segment in rubric.segments}
    return _in_segment(own, summed(rubric.weights("")), row.segment)


def _by_segment(own: Mapping[Any, int], otherwise: int, segment: Any) -> ColumnElement[int]:
    if set(own.values()) <= {otherwise}:
        return _constant(otherwise)
    return _in_segment({name: _constant(value) for name, value in own.items()}, _constant(otherwise), segment)


def _in_segment(own: Mapping[Any, Any], otherwise: Any, segment: Any) -> Any:
    named = {name: literal_column(f"'{name.value}'", String) for name in own}
    return case(*((segment == named[name], value) for name, value in own.items()), else_=otherwise)


def _constant(value: int) -> ColumnElement[int]:
    return literal_column(str(value), Integer)


def _sum(terms: Any) -> ColumnElement[int]:
    first, *others = terms
    for term in others:
        first = first + term
    return first


def _caps(rubric: Rubric, row: Any, cap: Band) -> ColumnElement[int]:
    """How many hard rules hold that cap at a band."""
    held = [row[f"r{n}"] for n, rule in enumerate(rubric.rules) if rule.cap == cap]
    return _sum(held) if held else _constant(0)


def _applied(rubric: Rubric, row: Any) -> ColumnElement[Any]:
    """Names of the hard rules that hold, in the rubric's order, divided by `;`."""
    if not rubric.rules:
        return null()
    said: Any = literal("")
    for n, rule in enumerate(rubric.rules):
        said = said + case((row[f"r{n}"] == 1, f"{rule.name};"), else_="")
    # Of most accounts there is none to name.
    return case((_sum(row[f"r{n}"] for n in range(len(rubric.rules))) > 0, func.rtrim(said, ";")))
