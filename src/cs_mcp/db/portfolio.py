"""Wall one: what a caller may see, as a condition on every statement that reads or writes records."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Text, bindparam, exists, or_, select
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator

from cs_mcp.db.base import Base
from cs_mcp.domain.identity import Principal


class TextList(TypeDecorator[list[str]]):
    """A list of texts as one parameter: an array on PostgreSQL, a JSON array on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name != "postgresql":
            return dialect.type_descriptor(Text())
        from sqlalchemy.dialects.postgresql import ARRAY  # only where it is used: it costs start-up time

        array: Any = ARRAY(Text())
        return dialect.type_descriptor(array)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value if value is None else list(value)
        return json.dumps(list(value))


class any_of(FunctionElement[bool]):  # noqa: N801 - reads as SQL
    """`column` is one of the listed texts. One parameter whatever the length, so a statement is compiled once."""

    type = Boolean()
    inherit_cache = True
    name = "any_of"

    def self_group(self, against: Any = None) -> Any:
        """As it is: SQLAlchemy would add `= 1` on SQLite, which hides the column from its indexes."""
        return self


@compiles(any_of, "postgresql")
def _any_of_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    column, values = list(element.clauses)
    return f"{compiler.process(column, **kw)} = ANY ({compiler.process(values, **kw)})"


@compiles(any_of, "sqlite")
def _any_of_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    column, values = list(element.clauses)
    wanted = compiler.process(values, **kw)
    return f"{compiler.process(column, **kw)} IN (SELECT value FROM json_each({wanted}))"  # noqa: S608 - compiled parts


def texts(name: str, value: Any = None) -> BindParameter[Any]:
    """A list-of-texts parameter; without `value` it is given when the statement runs."""
    return bindparam(name, type_=TextList()) if value is None else bindparam(name, list(value), type_=TextList())


def visible(table: Any, principal: Principal) -> list[ColumnElement[bool]]:
    """Conditions for rows of `table` in the principal's portfolio; none for whoever sees the whole workspace."""
    if principal.sees_all:
        return []
    condition = in_portfolio(table, texts("portfolio", principal.people))
    return [] if condition is None else [condition]


def in_portfolio(table: Any, people: BindParameter[Any]) -> ColumnElement[bool] | None:
    """Whether a row belongs to an account that `people` own or sit on the team of, or that nobody owns.

    None where rows of the table belong to no account (the workspace's own records).
    """
    account = Base.metadata.tables["account"]
    if table.name == "account":
        return _owned_or_on_team(table, people)
    if "account_id" not in table.c:
        return None
    outer = account.alias("portfolio_account")
    return exists(
        select(outer.c.id).where(
            outer.c.workspace == table.c.workspace,
            outer.c.id == table.c.account_id,
            _owned_or_on_team(outer, people),
        )
    )


def _owned_or_on_team(account: Any, people: BindParameter[Any]) -> ColumnElement[bool]:
    team = Base.metadata.tables["account_team"]
    on_team = exists(
        select(team.c.id).where(
            team.c.workspace == account.c.workspace,
            team.c.account_id == account.c.id,
            team.c.removed_at.is_(None),
            any_of(team.c.user_id, people),
        )
    )
    return or_(account.c.owner_id.is_(None), any_of(account.c.owner_id, people), on_team)
