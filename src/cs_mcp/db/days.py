"""Days as numbers in SQL: Python's proleptic ordinals, the same on both stores."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import Date, Integer
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement


class day_number(FunctionElement[int]):  # noqa: N801 - reads as SQL
    """`date.toordinal()` of a date column."""

    type = Integer()
    inherit_cache = True
    name = "day_number"


@compiles(day_number, "postgresql")
def _day_number_postgresql(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return f"({compiler.process(element.clauses, **kw)} - DATE '0001-01-01' + 1)"


@compiles(day_number, "sqlite")
def _day_number_sqlite(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return f"CAST(julianday({compiler.process(element.clauses, **kw)}) - 1721424.5 AS INTEGER)"


class month_start(FunctionElement[date]):  # noqa: N801 - reads as SQL
    """The first day of a date's month."""

    type = Date()
    inherit_cache = True
    name = "month_start"


@compiles(month_start, "postgresql")
def _month_start_postgresql(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return f"CAST(date_trunc('month', {compiler.process(element.clauses, **kw)}) AS DATE)"


@compiles(month_start, "sqlite")
def _month_start_sqlite(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return f"(substr({compiler.process(element.clauses, **kw)}, 1, 8) || '01')"
