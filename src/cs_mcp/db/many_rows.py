"""Many rows at once, new or changed: `executemany` on SQLite, one parameter a column on PostgreSQL.

On PostgreSQL `executemany` costs a bind and an execute message a row; COPY is refused on tables with row-level
security. A column of texts or whole numbers goes as one text, which costs a quarter of an array: the driver asks of
each element whether it holds others. On SQLite a long VALUES list was tried and is slower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from operator import is_
from types import NoneType
from typing import Any, Final

from sqlalchemy import Column, Dialect, String, Table

from cs_mcp.db.read_path import turned_column

Turn = Callable[[Any], Any]
_ONE, _TEXT, _ARRAY = "one", "text", "array"  # how a column goes to PostgreSQL
_TEXTS: Final = frozenset({"text", "JSON", "JSONB"})  # kinds whose values come as texts
_NUMBERS: Final = frozenset({"INTEGER", "BIGINT", "SMALLINT"})
_COUNTS: Final = frozenset({int, NoneType})  # a bool is none: its text is no number
_MANY: Final = 50  # fewer rows are not worth a statement of their own
_BETWEEN, _NULL = "\x1f", "\x1e"  # in a column that goes as one text


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
        self._types = [_pg_type(column, dialect) for column in (*columns, table.c.id, table.c.version)]
        last = len(self._types)
        self._head = f"UPDATE {its} SET {', '.join(f'{name} = given.n{n}' for n, name in enumerate(named, 1))} "  # noqa: S608
        self._tail = (
            f"WHERE {its}.id = given.n{last - 1} AND {its}.version = given.n{last} AND {its}.workspace = ${last + 1}"
        )

    def at_once(self, columns: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
        """The statement for all rows, and its values; the workspace's id is to follow them."""
        packed = [_packed(column, kind, one=False) for column, kind in zip(columns, self._types, strict=True)]
        ways = tuple(way for way, _ in packed)
        return f"{self._head}FROM {_unnested(ways, self._types)} {self._tail}", [value for _, value in packed]


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
        self._statements: dict[tuple[str, ...], str] = {}

    def at_once(self, columns: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
        """The statement for all rows, and its values."""
        many = len(columns[0]) >= _MANY
        packed = [_packed(column, kind, one=many) for column, kind in zip(columns, self._types, strict=True)]
        if all(way == _ONE for way, _ in packed):
            packed[0] = _packed(columns[0], self._types[0], one=False)
        return self._statement(tuple(way for way, _ in packed)), [value for _, value in packed]

    def _statement(self, ways: tuple[str, ...]) -> str:
        known = self._statements.get(ways)
        if known is None:
            each = enumerate(zip(ways, self._types, strict=True), 1)
            values = ", ".join(f"${n}::{kind}" if way == _ONE else f"given.n{n}" for n, (way, kind) in each)
            # Between a SELECT and ON CONFLICT SQLite would want a WHERE; PostgreSQL takes it as it is.
            known = f"{self._head}SELECT {values} FROM {_unnested(ways, self._types)}{self._tail}"  # noqa: S608
            self._statements[ways] = known
        return known


def _packed(column: Sequence[Any], kind: str, *, one: bool) -> tuple[str, Any]:
    """How a column goes, and what goes. `one`: one value stands for a column that has no other.

    Most columns of a change entry have one value, and so has what a source does not tell.
    """
    if one and all(map(is_, column, repeat(column[0]))):
        return _ONE, column[0]
    if kind in _TEXTS and len(column) >= _MANY:
        absent = column.count(None)
        joined = _BETWEEN.join([_NULL if value is None else value for value in column] if absent else column)
        if joined.count(_BETWEEN) == len(column) - 1 and joined.count(_NULL) == absent:
            return _TEXT, joined
    if kind in _NUMBERS and len(column) >= _MANY and _COUNTS.issuperset(map(type, column)):
        return _TEXT, _BETWEEN.join([_NULL if value is None else str(value) for value in column])
    return _ARRAY, column


def _unnested(ways: tuple[str, ...], kinds: Sequence[str]) -> str:
    """Rows `given (n1, n2, …)` of what goes to PostgreSQL, but for what is one."""
    arrays: dict[str, str] = {}
    for n, (way, kind) in enumerate(zip(ways, kinds, strict=True), 1):
        if way == _ARRAY:
            arrays[f"n{n}"] = f"${n}::{kind}[]"
        elif way == _TEXT:
            texts = f"string_to_array(${n}::text, E'\\x1f', E'\\x1e')"
            arrays[f"n{n}"] = texts if kind == "text" else f"{texts}::{kind}[]"
    return f"unnest({', '.join(arrays.values())}) AS given ({', '.join(arrays)})"


def _turn(column: Column[Any], dialect: Dialect) -> Turn | None:
    return column.type.dialect_impl(dialect).bind_processor(dialect)


def _pg_type(column: Column[Any], dialect: Dialect) -> str:
    # A cast to varchar(32) would cut a longer value in silence; from text, the insert refuses it.
    return "text" if isinstance(column.type, String) else column.type.compile(dialect)
