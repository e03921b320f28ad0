"""Reads that start from what the caller may see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam

from cs_mcp.db.base import Base
from cs_mcp.db.portfolio import in_portfolio, texts
from cs_mcp.db.read_path import AnySelect, Row, Statement
from cs_mcp.db.store import Store
from cs_mcp.domain.identity import Principal

Conditions = list[ColumnElement[bool]]


def live(table: Any) -> Conditions:
    """Rows of the caller's workspace that have not been removed."""
    return [table.c.workspace == bindparam("workspace"), table.c.removed_at.is_(None)]


# What a page reads of the store: one row more than the largest that is asked for of it tells that there are more.
# A few sizes, each in the text of its statement, because for a parameter PostgreSQL plans a tenth of the table.
_PAGE_ROWS: Final = (26, 51, 101, 201)


def page_rows(limit: int) -> int:
    """How many rows a page of `limit` reads: more than that, where there are more."""
    return next((size for size in _PAGE_ROWS if size > limit), limit + 1)


class Scoped:
    """A read of one table in its two shapes: for who sees the whole workspace, and within a portfolio.

    `build` gets the conditions that every row must meet; it cannot be written without them.
    """

    def __init__(self, table: str, build: Callable[[Conditions], AnySelect], *, removed_too: bool = False) -> None:
        self._table = table
        self._build = build
        self._removed_too = removed_too
        self._whole = Statement(lambda: build(self._base()))
        self._portfolio = Statement(self._within)

    def _base(self) -> Conditions:
        table = Base.metadata.tables[self._table]
        if self._removed_too:
            return [table.c.workspace == bindparam("workspace")]
        return live(table)

    def _within(self) -> AnySelect:
        condition = in_portfolio(Base.metadata.tables[self._table], texts("portfolio"))
        return self._build(self._base() + ([] if condition is None else [condition]))

    def seen_by(self, principal: Principal) -> Statement:
        return self._whole if principal.sees_all else self._portfolio


def scope_of(principal: Principal) -> dict[str, Any]:
    """The parameters every scoped read takes."""
    return {"workspace": principal.workspace, "portfolio": principal.people}


class ScopedReads:
    """Base of the reads of a concept: `rows()` runs scoped statements in one snapshot."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def rows(
        self, principal: Principal, statements: Sequence[Scoped | Statement], **given: Any
    ) -> list[list[Row]]:
        plan = [s.seen_by(principal) if isinstance(s, Scoped) else s for s in statements]
        return await self.store.reads.run(plan, scope_of(principal) | given)
