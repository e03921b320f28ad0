"""Words of SQL that facts and measures are made of, with one meaning on both stores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Date,
    Double,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    null,
    or_,
    true,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.expression import FunctionElement

from cs_mcp.db.base import Instant
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.domain.calendar import Calendar

AS_OF: Final = bindparam("as_of", type_=Date)
AS_OF_DAY: Final = bindparam("as_of_day", type_=Integer)
# Seconds that the workspace's clocks are ahead of UTC, in the season that they are so least.
LEAST_AHEAD: Final = bindparam("least_ahead", type_=Integer)
UNTIL: Final = bindparam("until", type_=Instant)  # the first instant after the day
WORKSPACE: Final = bindparam("workspace", type_=Text)
_WINDOWS: Final = (30, 90, 180, 365)


def first_day(days: int) -> BindParameter[date]:
    """The first of the last `days` days, as-of included."""
    assert days in _WINDOWS
    return bindparam(f"day_{days}", type_=Date)


def first_instant(days: int) -> BindParameter[Any]:
    assert days in _WINDOWS
    return bindparam(f"at_{days}", type_=Instant)


def moment(as_of: date, calendar: Calendar) -> dict[str, Any]:
    """The parameters that place a statement on a day, as the workspace counts days."""
    firsts = {days: as_of - timedelta(days=days - 1) for days in _WINDOWS}
    return {
        "least_ahead": calendar.least_ahead_of_utc(as_of),
        "as_of": as_of,
        "as_of_day": as_of.toordinal(),
        "until": calendar.end_of(as_of),
        **{f"day_{days}": first for days, first in firsts.items()},
        **{f"at_{days}": calendar.start_of(first) for days, first in firsts.items()},
    }


@dataclass(frozen=True, slots=True)
class Among:
    """Which accounts a statement is about, as a condition on a column that names one."""

    of: Callable[[Any], ColumnElement[bool]]


# A batch is a range of ids, which a primary key is read by.
BATCH: Final = Among(lambda column: and_(column > bindparam("after"), column <= bindparam("upto")))
LISTED: Final = Among(lambda column: any_of(column, texts("accounts")))
EVERY: Final = Among(lambda _column: true())


def too(among: Among, column: Any) -> ColumnElement[bool]:
    """The same accounts on the other side of a join, which PostgreSQL then reads in one range as well."""
    return among.of(beside(column))


def table_of(row: Any) -> Any:
    return row.__table__


def live_of(table: Any, among: Among) -> tuple[ColumnElement[bool], ...]:
    """Rows of these accounts that were not removed."""
    return table.c.workspace == WORKSPACE, among.of(table.c.account_id), table.c.removed_at.is_(None)


def one_of(column: Any, values: Iterable[str]) -> ColumnElement[bool]:
    # Written out: a list as one parameter would be a table to search for each row.
    return or_(*(column == value for value in values))


def count_of(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((condition, 1)))


def total_of(value: Any) -> ColumnElement[int]:
    """A sum of whole numbers, whole on PostgreSQL too."""
    return cast(func.sum(value), BigInteger)


def flag(condition: Any) -> ColumnElement[int]:
    return case((condition, 1), else_=0)


class number(FunctionElement[float]):  # noqa: N801 - reads as SQL
    """A number as a double."""

    type = Double[float]()
    inherit_cache = True
    name = "number"


@compiles(number, "postgresql")
def _number_postgresql(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return f"CAST({compiler.process(element.clauses, **kw)} AS DOUBLE PRECISION)"


@compiles(number, "sqlite")
def _number_sqlite(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    # A cast would have it turned into a double once more wherever it is handed on.
    return f"(({compiler.process(element.clauses, **kw)}) * 1.0)"


def decimal(value: float) -> ColumnElement[float]:
    """A short decimal, written out: the same double on both stores."""
    return literal_column(repr(float(value)), Double)


class ratio(FunctionElement[float]):  # noqa: N801 - reads as SQL
    """One number ÷ another as doubles; NULL where there is nothing to divide by."""

    type = Double[float]()
    inherit_cache = True
    name = "ratio"


@compiles(ratio, "postgresql")
def _ratio_postgresql(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    part, by = (compiler.process(one, **kw) for one in element.clauses)
    return f"(CAST({part} AS DOUBLE PRECISION) / CAST(nullif({by}, 0) AS DOUBLE PRECISION))"


@compiles(ratio, "sqlite")
def _ratio_sqlite(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    part, by = (compiler.process(one, **kw) for one in element.clauses)
    return f"((({part}) * 1.0) / ({by}))"  # by nothing it is NULL


def quotient(part: Any, by: Any) -> ColumnElement[float]:
    """One double ÷ another. SQLAlchemy's own would turn the second into a double once more, on SQLite."""
    return part.op("/", precedence=8, return_type=Double())(by)


def divided(part: Any, by: Any) -> ColumnElement[int]:
    """Integer division as both stores have it, which cuts: for numbers that are not negative."""
    return part.op("/", precedence=8, return_type=BigInteger())(by)


class whole(FunctionElement[int]):  # noqa: N801 - reads as SQL
    """The floor of a double that is not negative."""

    type = Integer()
    inherit_cache = True
    name = "whole"


@compiles(whole, "postgresql")
def _whole_postgresql(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    # A cast alone rounds here, and cuts on SQLite.
    return f"CAST(floor({compiler.process(element.clauses, **kw)}) AS INTEGER)"


@compiles(whole, "sqlite")
def _whole_sqlite(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return f"CAST({compiler.process(element.clauses, **kw)} AS INTEGER)"


class seconds(FunctionElement[int]):  # noqa: N801 - reads as SQL
    """An instant in whole seconds since 1970."""

    type = BigInteger()
    inherit_cache = True
    name = "seconds"


@compiles(seconds, "postgresql")
def _seconds_postgresql(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    # As a double, which takes half as long as the numeric of EXTRACT and is exact for this century and the next.
    return f"CAST(floor(date_part('epoch', {compiler.process(element.clauses, **kw)})) AS BIGINT)"


@compiles(seconds, "sqlite")
def _seconds_sqlite(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return f"CAST(strftime('%s', substr({compiler.process(element.clauses, **kw)}, 1, 19)) AS INTEGER)"


def fenced(statement: Any, name: str) -> Any:
    """A subquery that stays one. Without OFFSET 0 both stores put its expressions into the query around it, as often as
    they are named there, and compute each so many times.
    """
    return statement.offset(literal_column("0", Integer)).subquery(name)


class beside(FunctionElement[str]):  # noqa: N801 - reads as SQL
    """A column as it is, which SQLite then looks for no index by: it has a better one for the row at hand."""

    type = Text()
    inherit_cache = True
    name = "beside"


@compiles(beside, "postgresql")
def _beside_postgresql(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return compiler.process(element.clauses, **kw)


@compiles(beside, "sqlite")
def _beside_sqlite(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return f"+{compiler.process(element.clauses, **kw)}"


class each_of(FunctionElement[Any]):  # noqa: N801 - reads as SQL
    """The elements of a JSON list, as rows with one column `value`."""

    inherit_cache = True
    name = "each_of"


@compiles(each_of, "postgresql")
def _each_of_postgresql(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return f"jsonb_array_elements({compiler.process(element.clauses, **kw)})"


@compiles(each_of, "sqlite")
def _each_of_sqlite(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return f"json_each({compiler.process(element.clauses, **kw)})"


class attending_contact(FunctionElement[str]):  # noqa: N801 - reads as SQL
    """The contact of an attendee who was there; NULL for one of us, and for who was invited and did not come."""

    type = Text()
    inherit_cache = True
    name = "attending_contact"


@compiles(attending_contact, "postgresql")
def _attending_postgresql(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    who = compiler.process(element.clauses, **kw)
    return f"CASE WHEN {who} ->> 'attended' = 'false' THEN NULL ELSE {who} ->> 'contact_id' END"


@compiles(attending_contact, "sqlite")
def _attending_sqlite(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    who = compiler.process(element.clauses, **kw)
    return f"CASE WHEN json_extract({who}, '$.attended') = 0 THEN NULL ELSE json_extract({who}, '$.contact_id') END"


class attended(FunctionElement[bool]):  # noqa: N801 - reads as SQL
    """Whether anybody of the customer is among the attendees of a meeting and was there."""

    type = Boolean()
    inherit_cache = True
    name = "attended"


@compiles(attended, "postgresql")
def _attended_postgresql(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    told = compiler.process(element.clauses, **kw)
    return f"jsonb_path_exists({told}, '$[*] ? (@.contact_id != null && !(@.attended == false))')"


@compiles(attended, "sqlite")
def _attended_sqlite(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    told = compiler.process(element.clauses, **kw)
    return (
        f"EXISTS (SELECT 1 FROM json_each({told}) AS attendee WHERE "  # noqa: S608 - compiled parts
        "json_extract(attendee.value, '$.contact_id') IS NOT NULL "
        "AND coalesce(json_extract(attendee.value, '$.attended'), 1) <> 0)"
    )


def boolean(value: Any) -> ColumnElement[bool]:
    """A 0/1 as a truth value; NULL stays NULL."""
    return case((value.is_(None), null()), (value == 1, True), else_=False).cast(Boolean)
