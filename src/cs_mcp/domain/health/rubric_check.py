"""What is wrong with a rubric as it was written, each with where it stands and what to write instead."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final, NamedTuple, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cs_mcp.domain.facts.conditions import Compare, Crossing, Move, needs_history, problems_of
from cs_mcp.domain.facts.facts import FACT_TYPES
from cs_mcp.domain.health.rubric import Bands, Cadence, Group, HardRule, Measure, Rubric

Path = tuple[str | int, ...]
_ENUM: Final = re.compile(r"<\w+\.(\w+): '\w+'>")
_CONDITION: Final = {name for form in (Compare, Crossing, Move) for name in form.model_fields} | {"all", "any", "none"}
_FIELDS: Final[Mapping[str, Collection[str]]] = {
    "": Rubric.model_fields,
    "bands": Bands.model_fields,
    "cadence_days": Cadence.model_fields,
    "groups": Group.model_fields,
    "measures": Measure.model_fields,
    "rules": HardRule.model_fields,
}


class Problem(NamedTuple):
    """`path` leads from the top of the file to what is meant: keys, and places in lists from 0."""

    path: Path
    what: str
    remedy: str


def checked(value: Any, measures: Collection[str]) -> Rubric | list[Problem]:
    """The rubric, or everything that keeps it from being one. `measures` are those that can be computed."""
    try:
        rubric = Rubric.model_validate(value)
    except ValidationError as wrong:
        return [_told(error, value) for error in wrong.errors(include_url=False)]
    return list(_contradictions(rubric, measures)) or rubric


def _told(error: ErrorDetails, value: Any) -> Problem:
    path, rest = _path_in(value, error["loc"])
    name = str(rest[-1]) if rest else ""
    if error["type"] == "missing":
        return Problem(path, f"`{name}` is missing", f"Add `{name}: …`.")
    if error["type"] == "extra_forbidden":
        known = _CONDITION if "when" in path else _FIELDS.get(str(path[0]) if len(path) > 1 else "", ())
        name = str(path[len(path) - 1])
        return Problem(path, f"`{name}` is not known here", _nearest(name, known))
    said = _ENUM.sub(r"\1", error["msg"].removeprefix("Value error, "))
    got = error.get("input")
    shown = f", got {got!r}"[:80] if isinstance(got, str | int | float | bool) or got is None else ""
    return Problem(path, f"{_name_of(path)}: {said[:1].lower()}{said[1:]}{shown}", _remedy(error))


def _remedy(error: ErrorDetails) -> str:
    match error["type"]:
        case "string_type":
            return "Write it as text; put quotes around a number."
        case "string_pattern_mismatch":
            return "Use letters, digits and _; names are lower case and start with a letter."
        case "int_type" | "int_from_float" | "int_parsing":
            return "Write a whole number."
        case "float_type" | "float_parsing":
            return "Write a number."
        case "list_type" | "tuple_type":
            return "Write a list, such as [[0, 0], [1, 100]]."
        case "enum" | "literal_error":
            return "Use one of the words named."
        case _:
            return "Correct the value; docs/health.md says what stands here."


def _path_in(value: Any, loc: Iterable[str | int]) -> tuple[Path, Path]:
    """The part of an error's place that leads through the file, without the names of forms that it passes; the rest."""
    path: list[str | int] = []
    rest: list[str | int] = []
    here = value
    for step in loc:
        if not _leads_on(here, step):
            rest.append(step)
            continue
        here = here[step]
        path.append(step)
        rest.clear()
    return tuple(path), tuple(rest)


def _leads_on(here: Any, step: str | int) -> bool:
    if isinstance(here, list):
        return isinstance(step, int) and step < len(cast("list[Any]", here))
    return isinstance(here, dict) and step in here


def _name_of(path: Path) -> str:
    words = [str(step) for step in path if isinstance(step, str)]
    return f"`{words[-1]}`" if words else "the file"


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 3, 0.5)
    return f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(names)}."


# -- what is well formed and still contradicts itself -----------------------------------------------------------


def _contradictions(rubric: Rubric, measures: Collection[str]) -> Iterator[Problem]:
    if rubric.bands.green <= rubric.bands.yellow:
        yield Problem(("bands", "green"), "green starts no higher than yellow", "Give green the higher score.")
    for part in ("groups", "measures", "rules"):
        counted = Counter(one.name for one in getattr(rubric, part))
        for place, one in enumerate(getattr(rubric, part)):
            if counted[one.name] > 1:
                yield Problem((part, place, "name"), f"`{one.name}` is there twice", "Rename one, or take it out.")
    yield from _of_measures(rubric, measures)
    for place, rule in enumerate(rubric.rules):
        for wrong in problems_of(rule.when, FACT_TYPES):
            yield Problem(
                ("rules", place, "when"), f"rule `{rule.name}`: {wrong.rstrip('?')}", "Correct the condition."
            )
        if past := sorted(needs_history(rule.when)):
            yield Problem(
                ("rules", place, "when"),
                f"rule `{rule.name}` asks for past values of {', '.join(past)}",
                "A hard rule judges the day alone: use at_least, at_most, more_than, less_than, equals or one_of.",
            )
    yield from _of_segments(rubric)


def _of_measures(rubric: Rubric, known: Collection[str]) -> Iterator[Problem]:
    groups = {group.name for group in rubric.groups}
    for place, measure in enumerate(rubric.measures):
        if measure.name not in known:
            yield Problem(
                ("measures", place, "name"),
                f"nothing computes a measure `{measure.name}`",
                _nearest(measure.name, known),
            )
        if measure.group not in groups:
            what = f"measure `{measure.name}` belongs to no group of this file: `{measure.group}`"
            yield Problem(("measures", place, "group"), what, _nearest(measure.group, groups))
        raws = [raw for raw, _ in measure.points]
        for at, (before, after) in enumerate(pairwise(raws), 1):
            if after <= before:
                what = f"measure `{measure.name}`: raw value {after:g} comes after {before:g}"
                yield Problem(("measures", place, "points", at), what, "Order the pairs by raw value, each once.")
        if len({points for _, points in measure.points}) == 1:
            what = f"measure `{measure.name}` gives the same points for every value"
            yield Problem(("measures", place, "points"), what, "Give the ends different points, or take it out.")
    for place, group in enumerate(rubric.groups):
        if all(measure.group != group.name for measure in rubric.measures):
            yield Problem(("groups", place), f"group `{group.name}` has no measure", "Take it out, or add a measure.")


def _of_segments(rubric: Rubric) -> Iterator[Problem]:
    for segment, weights in rubric.segments.items():
        for name in weights:
            if name not in rubric.by_name:
                what = f"segment {segment.value} weighs a measure that is not in this file: `{name}`"
                yield Problem(("segments", segment.value, name), what, _nearest(name, rubric.by_name))
        if not sum(rubric.weights(segment).values()):
            what = f"segment {segment.value} weighs nothing at all"
            yield Problem(("segments", segment.value), what, "Give one measure a weight.")
