"""People name things by name. One match is used; several come back as candidates; a write never guesses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cs_mcp.db import lookup
from cs_mcp.db.accounts.accounts import name_key
from cs_mcp.db.accounts.pages import like
from cs_mcp.db.accounts.whole import NAMED
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.scoped import Scoped, scope_of
from cs_mcp.db.store import Store
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.contract import shown
from cs_mcp.domain.errors import Ambiguous, NotFound
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.records import PREFIXES, is_id

SHOWN_CANDIDATES = 5
LEAST_LIKENESS = 60.0  # of 100, as a part of the name
LEAST_WORD_LIKENESS = 70.0  # of one word to one word: "hooli" is in "schools", and still not meant by it
RANKED = 50

MOST_MERGES = 20
_GONE = {"account": lookup.ACCOUNT_GONE, "contact": lookup.CONTACT_GONE}

Fetch = Callable[[Statement, Mapping[str, Any]], Awaitable[list[Row]]]


@dataclass(frozen=True, slots=True)
class Match:
    """A record and how it was found: `id`, `exact`, `merged`, or `name` for a read's single loose match."""

    id: str
    name: str
    by: str
    row: Row


class Names:
    """Resolves references for one caller, over whichever connection its work runs on."""

    def __init__(self, principal: Principal, fetch: Fetch, *, guess: bool) -> None:
        self._principal = principal
        self._fetch = fetch
        self._guess = guess

    @classmethod
    def reading(cls, store: Store, principal: Principal) -> Names:
        async def fetch(statement: Statement, given: Mapping[str, Any]) -> list[Row]:
            [rows] = await store.reads.run([statement], given)
            return rows

        return cls(principal, fetch, guess=True)

    @classmethod
    def writing(cls, work: UnitOfWork) -> Names:
        async def fetch(statement: Statement, given: Mapping[str, Any]) -> list[Row]:
            return await (await work.wire()).rows(statement, given)

        return cls(work.principal, fetch, guess=False)

    async def _rows(self, scoped: Scoped, **given: Any) -> list[Row]:
        return await self._fetch(scoped.seen_by(self._principal), scope_of(self._principal) | given)

    async def account(self, ref: str) -> Match:
        """An account by id, exact domain or name."""
        if is_id(ref, "account") and (named := await self._rows(NAMED, account=ref)):
            return Match(named[0]["id"], named[0]["name"], "id", named[0])
        found = await self._rows(lookup.ACCOUNT_EXACT, ref=ref, key=name_key(ref))
        if (match := _only(ref, found, "account", _account_label)) is not None:
            return match
        if (match := await self._where_it_went("account", ref)) is not None:
            return match
        if is_id(ref, "account"):
            raise _unknown("account", ref, [], _account_label)
        loose = await self._rows(lookup.ACCOUNT_LIKE, like=like(ref))
        if self._guess and len(loose) == 1:
            return Match(loose[0]["id"], loose[0]["name"], "name", loose[0])
        if not loose:
            loose = _ranked(ref, await self._rows(lookup.ACCOUNT_ALL))
        raise _unknown("account", ref, _ranked(ref, loose), _account_label)

    async def contact(self, ref: str, account: str) -> Match:
        """A contact of one account by id, e-mail or name."""
        found = await self._rows(lookup.CONTACT_EXACT, ref=ref, key=name_key(ref), account=account)
        if (match := _only(ref, found, "contact", _contact_label)) is not None:
            return match
        known = await self._rows(lookup.CONTACTS_OF_ACCOUNT, account=account)
        if (match := _only(ref, _namesakes(ref, known), "contact", _contact_label)) is not None:
            return match
        if (match := await self._where_it_went("contact", ref)) is not None:
            return match
        raise _unknown("contact", ref, _ranked(ref, known) or known[:SHOWN_CANDIDATES], _contact_label)

    async def refuse_gone_contact(self, ref: str) -> None:
        """Say what became of a contact that was removed, if this id is one's."""
        await self._where_it_went("contact", ref)

    async def _where_it_went(self, kind: str, ref: str) -> Match | None:
        """The record that a merged one is part of now: a read goes on with it, a write says where it went."""
        if is_id(ref, kind):
            gone = await self._rows(_GONE[kind], ref=ref)
        elif kind == "account":
            gone = await self._rows(lookup.ACCOUNT_MERGED, key=name_key(ref))
        else:
            return None
        went: dict[str, Match] = {}
        for old in gone:
            if (kept := await self._kept(kind, old)) is not None:
                went[kept.id] = kept
        if len(went) != 1:
            if is_id(ref, kind) and gone and gone[0]["merged_into_id"] is None:
                raise _removed(gone[0])
            return None
        [kept] = went.values()
        if not self._guess:
            old = gone[0]
            raise NotFound(
                f"{shown(old['name'])} ({old['id']}) was merged into {shown(kept.name)} ({kept.id}). Nothing was done.",
                remedy=f"Call again with {kept.id}.",
            )
        return kept

    async def _kept(self, kind: str, old: Row) -> Match | None:
        """The live record at the end of the merges, as far as the caller sees it."""
        for _ in range(MOST_MERGES):
            into = old["merged_into_id"]
            if into is None:
                return None
            given = {"account": into} if kind == "account" else {"ref": into}
            if live := await self._rows(NAMED if kind == "account" else lookup.CONTACT_BY_ID, **given):
                return Match(live[0]["id"], live[0]["name"], "merged", live[0])
            further = await self._rows(_GONE[kind], ref=into)
            if not further:
                return None
            old = further[0]
        return None

    async def contact_if_known(self, ref: str, account: str) -> Match | None:
        """The contact of this account with exactly this e-mail or name, if there is one."""
        found = await self._rows(lookup.CONTACT_EXACT, ref=ref, key=name_key(ref), account=account)
        return _only(ref, found, "contact", _contact_label)

    async def member(self, ref: str) -> Match:
        """One of us by id, e-mail or name; `me` is the caller."""
        if ref.casefold() == "me":
            ref = self._principal.on_behalf_of or self._principal.user
        found = [row for row in await self._rows(lookup.MEMBER_EXACT, ref=ref, key=name_key(ref)) if row["active"]]
        if (match := _only(ref, found, "user", _member_label)) is not None:
            return match
        known = [row for row in await self._rows(lookup.MEMBERS) if row["active"]]
        if (match := _only(ref, _namesakes(ref, known), "user", _member_label)) is not None:
            return match
        raise _unknown("user", ref, _ranked(ref, known) or known[:SHOWN_CANDIDATES], _member_label)


def _namesakes(ref: str, rows: Sequence[Row]) -> list[Row]:
    """Rows of exactly this name: SQLite's lower() knows only ASCII, PostgreSQL's not what ß folds to."""
    key = name_key(ref)
    return [row for row in rows if name_key(row["name"]) == key]


def _only(ref: str, rows: Sequence[Row], kind: str, label: Callable[[Row], str]) -> Match | None:
    by_id = [row for row in rows if row["id"] == ref]
    if by_id:
        return Match(by_id[0]["id"], by_id[0]["name"], "id", by_id[0])
    if len(rows) == 1:
        return Match(rows[0]["id"], rows[0]["name"], "exact", rows[0])
    if rows:
        listed = "; ".join(label(row) for row in rows[:SHOWN_CANDIDATES])
        more = f" and {len(rows) - SHOWN_CANDIDATES} more" if len(rows) > SHOWN_CANDIDATES else ""
        raise Ambiguous(
            f"{len(rows)} {kind}s are called {shown(ref)!r}: {listed}{more}. Nothing was done.",
            remedy="Call again with the id of the one you mean.",
        )
    return None


def _ranked(ref: str, rows: Sequence[Row]) -> list[Row]:
    from rapidfuzz import fuzz, process  # only a name that fits nothing needs it; starting does not

    keys = {index: name_key(row["name"]) for index, row in enumerate(rows)}
    wanted = name_key(ref)
    best = process.extract(wanted, keys, scorer=fuzz.WRatio, limit=RANKED, score_cutoff=LEAST_LIKENESS)
    words = [wanted, *wanted.split()]
    alike = [
        rows[index]
        for name, _, index in best
        if max(fuzz.ratio(word, other) for word in words for other in (name, *name.split())) >= LEAST_WORD_LIKENESS
    ]
    return alike[:SHOWN_CANDIDATES]


_FINDER = {
    "account": "Call find_accounts with `text` for others.",
    "contact": "Call get_account with sections ['people'] to see the account's contacts.",
    "user": "Call get_workspace to see who is in the workspace.",
}


def _unknown(kind: str, ref: str, near: Sequence[Row], label: Callable[[Row], str]) -> NotFound:
    looks_like_id = any(is_id(ref, entity) for entity in PREFIXES)
    what = f"No {kind} has the id {shown(ref)!r}" if looks_like_id else f"No {kind} is called {shown(ref)!r}"
    nearest = f" Nearest: {'; '.join(label(row) for row in near)}." if near else ""
    return NotFound(
        f"{what}.{nearest} Nothing was done.",
        remedy=("Call again with the id of the one you mean. " if near else "") + _FINDER[kind],
    )


def _removed(row: Row) -> NotFound:
    return NotFound(
        f"{shown(row['name'])} ({row['id']}) was removed on {row['removed_at']:%Y-%m-%d}. Nothing was done.",
        remedy=f"list_changes with record {row['id']} shows by which write; undo_changes takes it back.",
    )


def _account_label(row: Row) -> str:
    return f"{shown(row['name'])} ({row['id']}" + (f", {shown(row['domain'])})" if row["domain"] else ")")


def _contact_label(row: Row) -> str:
    title = f", {shown(row['title'])}" if row["title"] else ""
    left = ", departed" if row["status"] == "departed" else ""
    return f"{shown(row['name'])} ({row['id']}{title}{left})"


def _member_label(row: Row) -> str:
    return f"{shown(row['name'])} ({row['id']}, {row['role']})"
