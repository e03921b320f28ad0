"""Many rows at once: `executemany` on SQLite, one array a column on PostgreSQL.

On PostgreSQL `executemany` costs a bind and an execute message a row; COPY is refused on tables with row-level
security. On SQLite a long VALUES list was tried and is slower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Dialect, String, Table

from cs_mcp.db.read_path import turned_column

Turn = Callable[[Any], Any]


class Insertion:
    """How rows of one table go in. Columns named in `as_text` hold JSON that is text already."""

    def __init__(self, table: Table, *, as_text: frozenset[str] = frozenset()) -> None:
        self._table = table
        self._as_text = as_text
        self._shapes: dict[str, Shape] = {}

    def shape(self, dialect: Dialect) -> Shape:
        known = self._shapes.get(dialect.name)
        if known is None:
            known = self._shapes[dialect.name] = Shape(self._table, dialect, self._as_text)
        return known


class Upsertion(Insertion):
    """Rows that replace those of their key; `instead` says how, in SQL that both stores read. Empty: they do not."""

    def __init__(self, table: Any, instead: str) -> None:
        super().__init__(table)
        key = ", ".join(f'"{column.name}"' for column in table.primary_key.columns)
        self._tail = f" ON CONFLICT ({key}) DO " + (f"UPDATE SET {instead}" if instead else "NOTHING")
        self._made: dict[str, Shape] = {}

    def shape(self, dialect: Dialect) -> Shape:
        known = self._made.get(dialect.name)
        if known is None:
            known = self._made[dialect.name] = super().shape(dialect)
            known.of_a_row += self._tail
            # Between a SELECT and ON CONFLICT SQLite would want a WHERE; PostgreSQL takes it as it is.
            known.from_arrays += self._tail
        return known


class Shape:
    """One table's insertion on one dialect."""

    def __init__(self, table: Table, dialect: Dialect, as_text: frozenset[str]) -> None:
        columns: list[Column[Any]] = list(table.columns)
        quoted = dialect.identifier_preparer
        self._keys = [column.key for column in columns]
        self._turns = [
            (place, turn)
            for place, column in enumerate(columns)
            if column.key not in as_text and (turn := _turn(column, dialect)) is not None
        ]
        names = ", ".join(quoted.format_column(column) for column in columns)
        head = f"INSERT INTO {quoted.format_table(table)} ({names}) "
        self.of_a_row = f"{head}VALUES ({', '.join('?' * len(columns))})"
        arrays = [f"${n}::{_pg_type(column, dialect)}[]" for n, column in enumerate(columns, 1)]
        self.from_arrays = f"{head}SELECT * FROM unnest({', '.join(arrays)})"  # noqa: S608 - names of our tables

    def columns(self, given: Mapping[str, Sequence[Any]]) -> list[Sequence[Any]]:
        """The values in the table's order, as the driver takes them."""
        columns = [given[key] for key in self._keys]
        for place, turn in self._turns:
            columns[place] = turned_column(turn, columns[place])
        return columns


def _turn(column: Column[Any], dialect: Dialect) -> Turn | None:
    return column.type.dialect_impl(dialect).bind_processor(dialect)


def _pg_type(column: Column[Any], dialect: Dialect) -> str:
    # A cast to varchar(32) would cut a longer value in silence; from text, the insert refuses it.
    return "text" if isinstance(column.type, String) else column.type.compile(dialect)
