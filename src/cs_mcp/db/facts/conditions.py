"""Conditions as SQL, with the three values of `domain/facts/conditions.py`: true, false and NULL for not known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Date,
    Double,
    FromClause,
    Integer,
    Text,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from cs_mcp.domain.facts.conditions import (
    CARRIED_DAYS,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Crossing,
    Move,
    NoneOf,
    needs_history,
    type_of,
)

Columns = Mapping[str, ColumnElement[Any]]


class days_before(FunctionElement[date]):  # noqa: N801 - reads as SQL
    """The day so many days before another."""

    type = Date()
    inherit_cache = True
    name = "days_before"


@compiles(days_before, "postgresql")
def _days_before_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    day, days = list(element.clauses)
    return f"(CAST({compiler.process(day, **kw)} AS DATE) - CAST({compiler.process(days, **kw)} AS INTEGER))"


@compiles(days_before, "sqlite")
def _days_before_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    day, days = list(element.clauses)
    return f"date({compiler.process(day, **kw)}, -{compiler.process(days, **kw)} || ' days')"


@dataclass(frozen=True, slots=True)
class PastFacts:
    """Where the past values of facts are: one row an account and day."""

    table: FromClause
    of_account: ColumnElement[bool]  # joins a row of `table` to the account the condition is asked of
    day: ColumnElement[date]
    today: ColumnElement[date]
    columns: Columns

    def between(self, oldest: int, newest: int) -> ColumnElement[bool]:
        """Rows from so many days ago to so many days ago, both included."""
        return and_(
            self.of_account,
            self.day >= days_before(self.today, literal(oldest, Integer)),
            self.day <= days_before(self.today, literal(newest, Integer)),
        )


def compiled(condition: Condition, columns: Columns, history: PastFacts | None = None) -> ColumnElement[bool]:
    """The condition over these columns. ValueError where it asks for a history that is not given."""
    if history is None and (asked := needs_history(condition)):
        raise ValueError(f"no history is given, and the condition asks for past values of {', '.join(sorted(asked))}")
    return _compiled(condition, columns, history)


def _compiled(condition: Condition, columns: Columns, history: Any) -> ColumnElement[bool]:
    match condition:
        case AllOf(all=parts):
            return and_(*(_compiled(part, columns, history) for part in parts))
        case AnyOf(any=parts):
            return or_(*(_compiled(part, columns, history) for part in parts))
        case NoneOf(none=parts):
            return not_(or_(*(_compiled(part, columns, history) for part in parts)))
        case Compare(is_missing=bool(missing)):
            column = columns[condition.fact]
            return column.is_(None) if missing else column.is_not(None)
        case Compare():
            return _compared(condition, columns[condition.fact], history)
        case Crossing():
            return _crossed(condition, columns[condition.fact], history)
        case Move():
            return _moved(condition, columns[condition.fact], history)


def _compared(condition: Compare, now: ColumnElement[Any], history: PastFacts) -> ColumnElement[bool]:
    if condition.for_days is None:
        return _meets(condition, now)
    length, then = condition.for_days, history.columns[condition.fact]
    known, meets = then.is_not(None), _meets(condition, then)
    broken = exists(select(literal(1)).select_from(history.table).where(history.between(length, 1), known, not_(meets)))
    at_start = (
        select(case((meets, 1), else_=0))
        .select_from(history.table)
        .where(history.between(length + CARRIED_DAYS, length), known)
        .order_by(history.day.desc())
        .limit(1)
        .scalar_subquery()
    )
    return and_(_meets(condition, now), not_(broken), at_start == 1)


_MEETS: Final[dict[str, Callable[[ColumnElement[Any], Any], ColumnElement[bool]]]] = {
    "at_least": lambda column, bound: column >= bound,
    "at_most": lambda column, bound: column <= bound,
    "more_than": lambda column, bound: column > bound,
    "less_than": lambda column, bound: column < bound,
    "equals": lambda column, bound: column == bound,
}


def _meets(condition: Compare, column: ColumnElement[Any]) -> ColumnElement[bool]:
    met: list[ColumnElement[bool]] = []
    for name, bound in condition.bounds.items():
        if name == "one_of":
            met.append(or_(*(_typed(column, one) == _bound(one) for one in bound)))
        else:
            met.append(_MEETS[name](_typed(column, bound), _bound(bound)))
    return and_(*met)


def _crossed(condition: Crossing, column: ColumnElement[Any], history: PastFacts) -> ColumnElement[bool]:
    now, at = _double(column), _bound(condition.value)
    if condition.crossed_below is not None:
        return and_(now < at, _within(condition, history, func.max) >= at)
    return and_(now >= at, _within(condition, history, func.min) < at)


def _moved(condition: Move, column: ColumnElement[Any], history: PastFacts) -> ColumnElement[bool]:
    now, amount = _double(column), _bound(condition.amount)
    if condition.fell_by is not None:
        return _within(condition, history, func.max) - now >= amount
    return now - _within(condition, history, func.min) >= amount


def _within(condition: Crossing | Move, history: PastFacts, pick: Callable[[Any], Any]) -> ColumnElement[float]:
    then = _double(history.columns[condition.fact])
    found = select(pick(then)).select_from(history.table).where(history.between(condition.within_days, 1))
    return found.scalar_subquery()


def _double(column: ColumnElement[Any]) -> ColumnElement[float]:
    # Both stores compare and subtract numbers as doubles, as Python does.
    return cast(column, Double)


def _typed(column: ColumnElement[Any], bound: Any) -> ColumnElement[Any]:
    return _double(column) if type_of(bound) == "number" else column


_TYPES: Final = {"number": Double, "text": Text, "date": Date, "bool": Boolean}


def _bound(bound: Any) -> ColumnElement[Any]:
    kind = type_of(bound)
    return literal(float(bound) if kind == "number" else bound, _TYPES[kind])
