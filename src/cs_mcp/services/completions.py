"""What a person may mean while they still type: accounts and contacts of their own reach, best first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cs_mcp.db import lookup
from cs_mcp.db.accounts.accounts import name_key
from cs_mcp.db.accounts.pages import like
from cs_mcp.db.read_path import Row
from cs_mcp.db.scoped import ScopedReads
from cs_mcp.db.store import Store
from cs_mcp.domain.errors import CustomerSuccessError
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.text import inert
from cs_mcp.services.naming import Names


class Suggestions(NamedTuple):
    """`values` resolve when they are sent back; `more` says that there are others."""

    values: list[str]
    more: bool = False


class Completions:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._reads = ScopedReads(store)

    async def accounts(self, principal: Principal, typed: str, *, ids: bool = False) -> Suggestions:
        """Names, or ids, of accounts whose name or domain holds `typed`: those that begin with it, then by ARR."""
        [rows] = await self._reads.rows(principal, [lookup.ACCOUNT_LIKE], like=like(typed))
        ranked = _ranked(rows, typed)
        values = [row["id"] for row in ranked] if ids else _unmistakable(ranked, lambda row: row["domain"])
        return Suggestions(values, more=len(rows) == lookup.CANDIDATES)

    async def contacts(self, principal: Principal, account: str, typed: str) -> Suggestions:
        """Names of the account's people who have not left; none where the account is not one the caller sees."""
        try:
            found = await Names.reading(self._store, principal).account(account)
        except CustomerSuccessError:
            return Suggestions([])
        [rows] = await self._reads.rows(principal, [lookup.CONTACTS_OF_ACCOUNT], account=found.id)
        key = name_key(typed)
        there = [
            row
            for row in rows
            if row["status"] != "departed"
            and (key in name_key(row["name"]) or name_key(row["email"] or "").startswith(key))
        ]
        values = _unmistakable(_ranked(there, typed), lambda row: row["email"])
        return Suggestions(values[: lookup.CANDIDATES], more=len(values) > lookup.CANDIDATES)


def _ranked(rows: Sequence[Row], typed: str) -> list[Row]:
    key = name_key(typed)
    return sorted(rows, key=lambda row: not name_key(row["name"]).startswith(key))


def _unmistakable(rows: Sequence[Row], other: Callable[[Row], str | None]) -> list[str]:
    """Each row's name, or where that is not one of a kind or cannot leave as it is, its other name, or its id."""
    keys = [name_key(row["name"]) for row in rows]
    values: list[str] = []
    for row, key in zip(rows, keys, strict=True):
        name, second = row["name"], other(row)
        plain = keys.count(key) == 1 and inert(name) == name
        values.append(name if plain else second if second and inert(second) == second else row["id"])
    return values
