"""Many rows at once, new or changed: `executemany` on SQLite, one array a column on PostgreSQL.

On PostgreSQL `executemany` costs a bind and an execute message a row; COPY is refused on tables with row-level
security. On SQLite a long VALUES list was tried and is slower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from operator import is_
from typing import Any, Final

from sqlalchemy import Column, Dialect, String, Table

from cs_mcp.db.read_path import turned_column

Turn = Callable[[Any], Any]
NONE_ALIKE: Final[frozenset[int]] = frozenset()


class _Turned:
    """Columns of values on their way to a driver, in the order of `keys`."""

    def __init__(self, keys: Sequence[str], turned: Sequence[Column[Any]], dialect: Dialect) -> None:
        """`turned`: the columns, among those of `keys`, whose values the driver takes in a form of its own."""
        self._keys = keys
        places = {key: place for place, key in enumerate(keys)}
        self._turns = [(places[column.key], turn) for column in turned if (turn := _turn(column, dialect)) is not None]

    def columns(self, given: Mapping[str, Sequence[Any]]) -> list[Sequence[Any]]:
        """The values in the statement's order, as the driver takes them."""
        columns = [given[key] for key in self._keys]
        for place, turn in self._turns:
            columns[place] = turned_column(turn, columns[place])
        return columns


class Insertion:
    """How rows of one table go in. Columns named in `as_text` hold JSON that is text already."""

    def __init__(self, table: Table, *, as_text: frozenset[str] = frozenset(), tail: str = "") -> None:
        self._table = table
        self._as_text = as_text
        self._tail = tail
        self._shapes: dict[str, Shape] = {}

    def shape(self, dialect: Dialect) -> Shape:
        known = self._shapes.get(dialect.name)
        if known is None:
            known = self._shapes[dialect.name] = Shape(self._table, dialect, self._as_text, self._tail)
        return known


class Upsertion(Insertion):
    """Rows that replace those of their key; `instead` says how, in SQL that both stores read. Empty: they do not."""

    def __init__(self, table: Any, instead: str) -> None:
        key = ", ".join(f'"{column.name}"' for column in table.primary_key.columns)
        super().__init__(table, tail=f" ON CONFLICT ({key}) DO " + (f"UPDATE SET {instead}" if instead else "NOTHING"))


class Revision:
    """How rows of one table, named by id and version, get new values in the columns `names`.

    The values come as `insert` takes them: the columns `at_id`, `at_version`, `version` and those of `names`.
    """

    def __init__(self, table: Table, names: tuple[str, ...]) -> None:
        self._table = table
        self._names = ("version", *names)
        self._shapes: dict[str, RevisionShape] = {}

    def shape(self, dialect: Dialect) -> RevisionShape:
        known = self._shapes.get(dialect.name)
        if known is None:
            known = self._shapes[dialect.name] = RevisionShape(self._table, dialect, self._names)
        return known


class RevisionShape(_Turned):
    """One table's revision on one dialect. Values in the order: the new ones, the workspace, id and version."""

    def __init__(self, table: Table, dialect: Dialect, names: tuple[str, ...]) -> None:
        columns = [table.c[name] for name in names]
        quoted = dialect.identifier_preparer
        super().__init__((*names, "at_id", "at_version"), columns, dialect)
        named = [quoted.format_column(column) for column in columns]
        its = quoted.format_table(table)
        self.of_a_row = (
            f"UPDATE {its} SET {', '.join(f'{name} = ?' for name in named)} "  # noqa: S608 - names of our tables
            "WHERE id = ? AND version = ? AND workspace = ?"
        )
        types = [_pg_type(column, dialect) for column in (*columns, table.c.id, table.c.version)]
        arrays = ", ".join(f"${n}::{its_type}[]" for n, its_type in enumerate(types, 1))
        given = ", ".join(f"n{n}" for n in range(1, len(types) + 1))
        self.from_arrays = (
            f"UPDATE {its} SET {', '.join(f'{name} = given.n{n}' for n, name in enumerate(named, 1))} "  # noqa: S608
            f"FROM unnest({arrays}) AS given ({given}) WHERE {its}.id = given.n{len(types) - 1} "
            f"AND {its}.version = given.n{len(types)} AND {its}.workspace = ${len(types) + 1}"
        )


class Shape(_Turned):
    """One table's insertion on one dialect."""

    def __init__(self, table: Table, dialect: Dialect, as_text: frozenset[str], tail: str) -> None:
        columns: list[Column[Any]] = list(table.columns)
        quoted = dialect.identifier_preparer
        told = [column for column in columns if column.key not in as_text]
        super().__init__([column.key for column in columns], told, dialect)
        names = ", ".join(quoted.format_column(column) for column in columns)
        head = f"INSERT INTO {quoted.format_table(table)} ({names}) "
        self.of_a_row = f"{head}VALUES ({', '.join('?' * len(columns))}){tail}"
        self._head, self._tail = head, tail
        self._types = [_pg_type(column, dialect) for column in columns]
        self._from_arrays: dict[frozenset[int], str] = {}

    def from_arrays(self, alike: frozenset[int]) -> str:
        """One array a column, or one value at the places of `alike`, in the order of the columns."""
        known = self._from_arrays.get(alike)
        if known is None:
            types = list(enumerate(self._types, 1))
            values = [f"${n}::{kind}" if n - 1 in alike else f"given.n{n}" for n, kind in types]
            arrays = [(f"n{n}", f"${n}::{kind}[]") for n, kind in types if n - 1 not in alike]
            rows = f"unnest({', '.join(array for _, array in arrays)}) AS given ({', '.join(n for n, _ in arrays)})"
            # Between a SELECT and ON CONFLICT SQLite would want a WHERE; PostgreSQL takes it as it is.
            known = f"{self._head}SELECT {', '.join(values)} FROM {rows}{self._tail}"  # noqa: S608 - names of our tables
            self._from_arrays[alike] = known
        return known


def alike(columns: Sequence[Sequence[Any]]) -> frozenset[int]:
    """Places of columns with one value in every row: most of a change entry's, and what a source does not tell."""
    places = [place for place, column in enumerate(columns) if all(map(is_, column, repeat(column[0])))]
    return frozenset(places if len(places) < len(columns) else places[1:])


def _turn(column: Column[Any], dialect: Dialect) -> Turn | None:
    return column.type.dialect_impl(dialect).bind_processor(dialect)


def _pg_type(column: Column[Any], dialect: Dialect) -> str:
    # A cast to varchar(32) would cut a longer value in silence; from text, the insert refuses it.
    return "text" if isinstance(column.type, String) else column.type.compile(dialect)
