"""Conditions over an account's facts and their history: what hard rules, exit criteria and playbooks are written in.

A condition is plain YAML, read into one of six forms. Its answer is true, false or None: not known. `all`, `any` and
`none` follow Kleene: a fact that is not known decides nothing by itself. `db/facts/conditions.py` says the same in SQL.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StrictBool, Tag, model_validator

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Day = Annotated[date, Field(strict=True)]
Scalar = StrictBool | Number | Day | Annotated[str, Field(max_length=200)]
Fact = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
Days = Annotated[int, Field(ge=1, le=366)]
FactType = Literal["number", "text", "date", "bool"]

Value = float | int | str | date | bool | None
Facts = Mapping[str, Value]
History = Mapping[str, Sequence[tuple[int, Value]]]
"""Of each fact its values on past days: how many days ago (1 is yesterday), and what it was."""

CARRIED_DAYS: Final = 7  # a recorded value stands for a week, so that weekly snapshots make a history without gaps


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Compare(_Form):
    """What one fact is today; several bounds hold together. With `for_days`, what it has been for so long."""

    fact: Fact
    at_least: Number | Day | None = None
    at_most: Number | Day | None = None
    more_than: Number | Day | None = None
    less_than: Number | Day | None = None
    equals: Scalar | None = None
    one_of: Annotated[tuple[Scalar, ...], Field(min_length=1, max_length=50)] | None = None
    is_missing: StrictBool | None = None
    for_days: Days | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Compare:
        if not self.bounds and self.is_missing is None:
            raise ValueError(f"says nothing of {self.fact}: give {', '.join(_BOUNDS)} or is_missing")
        if self.is_missing is not None and (self.bounds or self.for_days is not None):
            raise ValueError("is_missing stands alone: join it to others with all, any or none")
        return self

    @property
    def bounds(self) -> dict[str, Any]:
        return {name: bound for name in _BOUNDS if (bound := getattr(self, name)) is not None}


class Crossing(_Form):
    """The fact is past the value now and was on the other side within the last days.

    Below means less than the value, above means at least the value.
    """

    fact: Fact
    crossed_below: Number | None = None
    crossed_above: Number | None = None
    within_days: Days = 1

    @model_validator(mode="after")
    def _one_way(self) -> Crossing:
        if self.crossed_below is not None and self.crossed_above is not None:
            raise ValueError("give crossed_below or crossed_above, not both: join two conditions with any")
        if self.crossed_below is None and self.crossed_above is None:
            raise ValueError("give the value that was crossed")
        return self

    @property
    def value(self) -> float:
        value = self.crossed_above if self.crossed_below is None else self.crossed_below
        assert value is not None
        return value


class Move(_Form):
    """The fact stands lower (higher) by so much than at its highest (lowest) within the last days."""

    fact: Fact
    fell_by: Annotated[Number, Field(gt=0)] | None = None
    rose_by: Annotated[Number, Field(gt=0)] | None = None
    within_days: Days

    @model_validator(mode="after")
    def _one_way(self) -> Move:
        if self.fell_by is not None and self.rose_by is not None:
            raise ValueError("give fell_by or rose_by, not both: join two conditions with any")
        if self.fell_by is None and self.rose_by is None:
            raise ValueError("give the amount it moved by")
        return self

    @property
    def amount(self) -> float:
        amount = self.rose_by if self.fell_by is None else self.fell_by
        assert amount is not None
        return amount


class AllOf(_Form):
    all: Annotated[tuple[Condition, ...], Field(min_length=1, max_length=20)]


class AnyOf(_Form):
    any: Annotated[tuple[Condition, ...], Field(min_length=1, max_length=20)]


class NoneOf(_Form):
    none: Annotated[tuple[Condition, ...], Field(min_length=1, max_length=20)]


_BOUNDS: Final = ("at_least", "at_most", "more_than", "less_than", "equals", "one_of")
_KIND_OF_FORM: Final[dict[type[_Form], str]] = {
    Compare: "compare",
    Crossing: "crossing",
    Move: "move",
    AllOf: "all",
    AnyOf: "any",
    NoneOf: "none",
}
_KIND_OF_WORD: Final = {
    "all": "all",
    "any": "any",
    "none": "none",
    "crossed_below": "crossing",
    "crossed_above": "crossing",
    "fell_by": "move",
    "rose_by": "move",
}


def _kind(raw: Any) -> str:
    """By its words, so that what is wrong with a condition is said of the one form that was meant."""
    if isinstance(raw, _Form):
        return _KIND_OF_FORM[type(raw)]
    words = cast("Mapping[Any, Any]", raw) if isinstance(raw, Mapping) else ()
    return next((kind for word in words if (kind := _KIND_OF_WORD.get(str(word)))), "compare")


Condition = Annotated[
    Annotated[Compare, Tag("compare")]
    | Annotated[Crossing, Tag("crossing")]
    | Annotated[Move, Tag("move")]
    | Annotated[AllOf, Tag("all")]
    | Annotated[AnyOf, Tag("any")]
    | Annotated[NoneOf, Tag("none")],
    Discriminator(_kind),
]


# -- judging -------------------------------------------------------------------------------------------------


def judge(condition: Condition, facts: Facts, history: History | None = None) -> bool | None:
    """Whether the condition holds; None where what is known does not decide it."""
    past = history or {}
    match condition:
        case AllOf(all=parts):
            return _every(judge(part, facts, past) for part in parts)
        case AnyOf(any=parts):
            return _not(_every(_not(judge(part, facts, past)) for part in parts))
        case NoneOf(none=parts):
            return _every(_not(judge(part, facts, past)) for part in parts)
        case Compare():
            return _compared(condition, facts.get(condition.fact), past.get(condition.fact, ()))
        case Crossing():
            return _crossed(condition, facts.get(condition.fact), past.get(condition.fact, ()))
        case Move():
            return _moved(condition, facts.get(condition.fact), past.get(condition.fact, ()))


def _every(answers: Iterable[bool | None]) -> bool | None:
    every: bool | None = True
    for answer in answers:
        if answer is False:
            return False
        every = every if answer else None
    return every


def _not(answer: bool | None) -> bool | None:
    return None if answer is None else not answer


_MEETS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "at_least": lambda value, bound: value >= bound,
    "at_most": lambda value, bound: value <= bound,
    "more_than": lambda value, bound: value > bound,
    "less_than": lambda value, bound: value < bound,
    "equals": lambda value, bound: value == bound,
    "one_of": lambda value, bound: value in bound,
}


def _compared(condition: Compare, now: Value, past: Sequence[tuple[int, Value]]) -> bool | None:
    if condition.is_missing is not None:
        return (now is None) is condition.is_missing
    if condition.for_days is None:
        return _meets(condition, now)
    length = condition.for_days
    held = all(_meets(condition, value) is not False for ago, value in past if 1 <= ago <= length)
    before = [(ago, value) for ago, value in past if length <= ago <= length + CARRIED_DAYS and value is not None]
    at_start = _meets(condition, min(before)[1]) if before else None
    return _every([_meets(condition, now), held, at_start])


def _meets(condition: Compare, value: Value) -> bool | None:
    return None if value is None else all(_MEETS[name](value, bound) for name, bound in condition.bounds.items())


def _crossed(condition: Crossing, now: Value, past: Sequence[tuple[int, Value]]) -> bool | None:
    window, at = _numbers(past, condition.within_days), condition.value
    value = None if now is None else _number(now)
    if condition.crossed_below is not None:
        return _every([None if value is None else value < at, max(window) >= at if window else None])
    return _every([None if value is None else value >= at, min(window) < at if window else None])


def _moved(condition: Move, now: Value, past: Sequence[tuple[int, Value]]) -> bool | None:
    window = _numbers(past, condition.within_days)
    if now is None or not window:
        return None
    fall = max(window) - _number(now) if condition.fell_by is not None else _number(now) - min(window)
    return fall >= condition.amount


def _numbers(past: Sequence[tuple[int, Value]], days: int) -> list[float]:
    return [_number(value) for ago, value in past if 1 <= ago <= days and value is not None]


def _number(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number: check the condition with problems_of() first")
    return float(value)


# -- about a condition ----------------------------------------------------------------------------------------


def parts_of(condition: Condition) -> Iterator[Compare | Crossing | Move]:
    """What the condition is made of, without the words that join it."""
    match condition:
        case AllOf(all=parts) | AnyOf(any=parts) | NoneOf(none=parts):
            for part in parts:
                yield from parts_of(part)
        case _:
            yield condition


def facts_of(condition: Condition) -> set[str]:
    return {part.fact for part in parts_of(condition)}


def needs_history(condition: Condition) -> set[str]:
    """Facts of which past values are asked."""
    return {part.fact for part in parts_of(condition) if not isinstance(part, Compare) or part.for_days is not None}


def problems_of(condition: Condition, types: Mapping[str, str], dated: Iterable[str] | None = None) -> list[str]:
    """What keeps the condition from being judged over these facts, each with what to write instead.

    `types` is the catalogue: fact → number, text, date or bool. `dated` names those whose past values are kept,
    where not all are.
    """
    kept = set(types if dated is None else dated)
    problems: list[str] = []
    for part in parts_of(condition):
        kind = types.get(part.fact)
        if kind is None:
            near = difflib.get_close_matches(part.fact, types, 3, 0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(types))}"
            problems.append(f"there is no fact {part.fact}; {hint}")
            continue
        problems += [f"{part.fact} is a {kind}: {wrong}" for wrong in _misfits(part, kind)]
        if part.fact in needs_history(part) and part.fact not in kept:
            problems.append(f"no past values of {part.fact} are kept; of these there are: {', '.join(sorted(kept))}")
    return problems


def _misfits(part: Compare | Crossing | Move, kind: str) -> Iterator[str]:
    if not isinstance(part, Compare):
        if kind != "number":
            yield "only a number crosses, falls or rises; compare it with equals or one_of"
        return
    for name, bound in part.bounds.items():
        if name not in ("equals", "one_of") and kind not in ("number", "date"):
            yield f"{name} needs a number or a day; compare it with equals or one_of"
        for one in _each(bound):
            if type_of(one) != kind:
                yield f"{name} is given the {type_of(one)} {one}"


def _each(bound: Any) -> tuple[Any, ...]:
    return cast("tuple[Any, ...]", bound) if isinstance(bound, tuple) else (bound,)


def type_of(value: Value) -> FactType:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "text"
    return "date" if isinstance(value, date) else "number"


# -- in words -------------------------------------------------------------------------------------------------

_SAID: Final = {
    "at_least": "is at least",
    "at_most": "is at most",
    "more_than": "is more than",
    "less_than": "is less than",
    "equals": "is",
    "one_of": "is one of",
}


def in_words(condition: Condition, names: Mapping[str, str] | None = None) -> str:
    """The condition as a sentence's part; `names` says what a fact is called where its own name will not do."""

    def called(fact: str) -> str:
        return (names or {}).get(fact) or fact.replace("_", " ")

    match condition:
        case AllOf(all=parts):
            return _joined(parts, " and ", names)
        case AnyOf(any=parts):
            return _joined(parts, " or ", names)
        case NoneOf(none=parts):
            return f"not ({_joined(parts, ' or ', names)})"
        case Compare(is_missing=bool(missing)):
            return f"{called(condition.fact)} is {'not known' if missing else 'known'}"
        case Compare():
            said = " and ".join(f"{_SAID[name]} {_shown(bound)}" for name, bound in condition.bounds.items())
            held = f" for {_days(condition.for_days)} on end" if condition.for_days is not None else ""
            return f"{called(condition.fact)} {said}{held}"
        case Crossing():
            way = "below" if condition.crossed_below is not None else "above"
            how_long = _days(condition.within_days)
            return f"{called(condition.fact)} went {way} {_shown(condition.value)} within {how_long}"
        case Move():
            way = "fell" if condition.fell_by is not None else "rose"
            how_long = _days(condition.within_days)
            return f"{called(condition.fact)} {way} by {_shown(condition.amount)} or more within {how_long}"


def _joined(parts: Sequence[Condition], by: str, names: Mapping[str, str] | None) -> str:
    said = [in_words(part, names) for part in parts]
    if len(parts) == 1:
        return said[0]
    joins = [isinstance(part, AllOf | AnyOf) for part in parts]
    return by.join(f"({text})" if join else text for text, join in zip(said, joins, strict=True))


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def _shown(bound: Any) -> str:
    if isinstance(bound, tuple):
        return ", ".join(map(_shown, _each(bound)))
    if isinstance(bound, bool):
        return "true" if bound else "false"
    return f"{bound:g}" if isinstance(bound, float) else str(bound)
