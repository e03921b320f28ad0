"""Reads of search: candidates from the index, newest first and capped, then the records themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Integer, String, Text, and_, bindparam, column, func, literal, select, text

from cs_mcp.db.accounts.accounts import AccountRow, name_key
from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.lookup import ACCOUNT_EXACT
from cs_mcp.db.members import MemberRow
from cs_mcp.db.opportunities.opportunities import OPPORTUNITY
from cs_mcp.db.people.sponsors import ContactRow
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads
from cs_mcp.db.search import Shelf, books_of, match_of
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.db.work.tasks import TaskRow
from cs_mcp.domain.identity import Principal, Reach

CANDIDATES: Final = 100  # of each look-up; what is beyond is older
_WALKED: Final = 8_000  # PostgreSQL: newest rows tried before the index is asked, some 0.5 µs each
_SEEN_OF_TEXT: Final = 2_000  # characters that ranking reads

ACCOUNT: Final = AccountRow.__table__
CONTACT: Final = ContactRow.__table__
MEMBER: Final = MemberRow.__table__
NOTE: Final = HealthNoteRow.__table__
MEETING: Final = MeetingRow.__table__
TASK: Final = TaskRow.__table__

_FOUND: Final = {"record": String, "account_id": String, "number": BigInteger}


def _on_sqlite(shelf: Shelf, match: str) -> Statement:
    sql = (
        f"SELECT found.record, found.account_id, found.number FROM (SELECT rowid FROM {shelf}_index "  # noqa: S608
        f"WHERE {shelf}_index MATCH :{match} ORDER BY rowid DESC LIMIT :most) AS hit "
        f"JOIN {shelf} AS found ON found.number = hit.rowid ORDER BY found.number DESC"
    )
    given = (bindparam(match, type_=Text), bindparam("most", type_=Integer))
    build: Any = lambda: text(sql).bindparams(*given).columns(**_FOUND)  # noqa: E731
    return Statement(build)


def _on_postgres(shelf: Shelf, beginnings: bool) -> Statement:
    def build() -> Any:
        look_up: Any = getattr(func, f"{shelf}_look_up")(
            texts("words"),
            literal(beginnings, Boolean),
            texts("books"),
            bindparam("walked", type_=Integer),
            bindparam("most", type_=Integer),
        ).table_valued(*(column(name, kind) for name, kind in _FOUND.items()))
        columns: Any = [getattr(look_up.c, name) for name in _FOUND]
        return select(*columns).distinct().order_by(look_up.c.number.desc())

    return Statement(build)


def _look_up(shelf: Shelf, *, beginnings: bool = False) -> dict[str, Statement]:
    return {
        "sqlite": _on_sqlite(shelf, "beginnings" if beginnings else "match"),
        "postgresql": _on_postgres(shelf, beginnings),
    }


_NAMES: Final = _look_up("search_name")
_NAMES_BEGINNING: Final = _look_up("search_name", beginnings=True)
_TEXTS: Final = _look_up("search_text")


# -- records --------------------------------------------------------------------------------------------------


def _with_account(table: Any, scope: Conditions, *columns: Any) -> Any:
    return (
        select(*columns, table.c.account_id, ACCOUNT.c.name.label("account_name"), ACCOUNT.c.domain)
        .join_from(table, ACCOUNT, and_(ACCOUNT.c.workspace == table.c.workspace, ACCOUNT.c.id == table.c.account_id))
        .where(*scope, ACCOUNT.c.removed_at.is_(None), any_of(table.c.id, texts("ids")))
    )


def _beginning(column: Any) -> Any:
    return func.substr(column, 1, _SEEN_OF_TEXT, type_=Text).label("said")


_BRIEF: Final = {
    "account": Scoped(
        "account",
        lambda scope: select(ACCOUNT.c.id, ACCOUNT.c.name, ACCOUNT.c.domain, ACCOUNT.c.source_url).where(
            *scope, any_of(ACCOUNT.c.id, texts("ids"))
        ),
    ),
    "contact": Scoped(
        "contact",
        lambda scope: _with_account(
            CONTACT, scope, CONTACT.c.id, CONTACT.c.name, CONTACT.c.email, CONTACT.c.title, CONTACT.c.status
        ),
    ),
    "health_note": Scoped(
        "health_note", lambda scope: _with_account(NOTE, scope, NOTE.c.id, NOTE.c.written_on, _beginning(NOTE.c.text))
    ),
    "meeting": Scoped(
        "meeting",
        lambda scope: _with_account(
            MEETING,
            scope,
            MEETING.c.id,
            MEETING.c.kind,
            MEETING.c.status,
            MEETING.c.held_on,
            MEETING.c.decisions,
            MEETING.c.product_requests,
            func.substr(MEETING.c.agenda, 1, _SEEN_OF_TEXT, type_=Text).label("agenda"),
            _beginning(MEETING.c.summary),
        ),
    ),
    "opportunity": Scoped(
        "opportunity",
        lambda scope: _with_account(
            OPPORTUNITY,
            scope,
            OPPORTUNITY.c.id,
            OPPORTUNITY.c.name,
            OPPORTUNITY.c.kind,
            OPPORTUNITY.c.stage,
            OPPORTUNITY.c.opened_on,
            _beginning(OPPORTUNITY.c.hypothesis),
        ),
    ),
    "task": Scoped(
        "task",
        lambda scope: _with_account(
            TASK,
            scope,
            TASK.c.id,
            TASK.c.title,
            TASK.c.status,
            TASK.c.due_on,
            TASK.c.done_on,
            _beginning(TASK.c.outcome),
        ),
    ),
}


def _whole(table: Any, person: str | None) -> Scoped:
    def build(scope: Conditions) -> Any:
        member = MEMBER.alias("person")
        columns = [column for column in table.c if column.key not in ("workspace", "account_id")]
        found = _with_account(table, scope, *columns)
        if person is None:
            return found
        on = and_(member.c.workspace == table.c.workspace, member.c.id == table.c[person])
        return found.add_columns(member.c.name.label("person_name")).outerjoin(member, on)

    return Scoped(table.name, build)


_ONE: Final = {
    "contact": _whole(CONTACT, None),
    "health_note": _whole(NOTE, "author_id"),
    "meeting": _whole(MEETING, None),
    "opportunity": _whole(OPPORTUNITY, "owner_id"),
    "task": _whole(TASK, "assignee_id"),
}
FETCHED: Final = ("account", *_ONE)


def _names(table: Any) -> Statement:
    return Statement(
        lambda: select(table.c.id, table.c.name).where(
            table.c.workspace == bindparam("workspace"), any_of(table.c.id, texts("people"))
        )
    )


_CONTACT_NAMES: Final = _names(CONTACT)
_MEMBER_NAMES: Final = _names(MEMBER)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Ids of records that have the words, newest first; `more` where there were more than were taken."""

    exact: list[str]
    names: list[str]
    texts: list[str]
    more: bool


class SearchReads(ScopedReads):
    """What search finds, within what the caller may see."""

    async def candidates(self, principal: Principal, asked: str, words: list[str]) -> Candidates:
        """Accounts called exactly so, and records that have every word; where no name has them, names that begin so."""
        called = ACCOUNT_EXACT.seen_by(principal)
        given: dict[str, Any] = {"ref": asked, "key": name_key(asked), "most": CANDIDATES + 1}
        if not words:
            [exact] = await self.rows(principal, [called], **given)
            return Candidates([row["id"] for row in exact], [], [], more=False)
        dialect, books = self.store.dialect, books_of(principal)
        if dialect == "sqlite":
            given["match"] = match_of(words, books, beginnings=False)
            given["beginnings"] = match_of(words, books, beginnings=True)
        else:
            # One person's book is so small a part of all that the newest rows of all seldom hold it.
            walked = 0 if principal.reach is Reach.own else _WALKED
            given |= {"words": words, "books": books, "walked": walked}
        exact, names, said = await self.rows(principal, [called, _NAMES[dialect], _TEXTS[dialect]], **given)
        if not exact and not names:
            # Asked for apart: beginnings of a common word cost SQLite a walk through all that have it.
            [names] = await self.rows(principal, [_NAMES_BEGINNING[dialect]], **given)
        return Candidates(
            exact=[row["id"] for row in exact],
            names=[row["record"] for row in names[:CANDIDATES]],
            texts=[row["record"] for row in said[:CANDIDATES]],
            more=len(names) > CANDIDATES or len(said) > CANDIDATES,
        )

    async def having_some(self, principal: Principal, words: list[str]) -> dict[str, float]:
        """The newest records that have any of the words, each with what its words weigh: a rare one the most."""
        weights: dict[str, float] = {}
        for word in words:
            found = await self.candidates(principal, "", [word])
            for record in (ids := {*found.names, *found.texts}):
                weights[record] = weights.get(record, 0.0) + 1 / len(ids)
        return weights

    async def records(self, principal: Principal, ids: dict[str, list[str]]) -> list[tuple[str, Row]]:
        """The listed records by kind that the caller may see, with what ranking and a title need."""
        kinds = [kind for kind in _BRIEF if ids.get(kind)]
        every = [record for kind in kinds for record in ids[kind]]
        found = await self.rows(principal, [_BRIEF[kind] for kind in kinds], ids=every) if kinds else []
        return [(kind, row) for kind, rows in zip(kinds, found, strict=True) for row in rows]

    async def one(self, principal: Principal, kind: str, record: str) -> Row | None:
        """One record whole, with the name of its account and of its author or assignee."""
        [found] = await self.rows(principal, [_ONE[kind]], ids=[record])
        return found[0] if found else None

    async def names(self, principal: Principal, people: list[str]) -> dict[str, str]:
        """Names of contacts and of us by id."""
        if not people:
            return {}
        found = await self.rows(principal, [_CONTACT_NAMES, _MEMBER_NAMES], people=people)
        return {row["id"]: row["name"] for rows in found for row in rows}
