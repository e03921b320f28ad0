"""From a credential to the caller: read on every call, so that a revocation holds from the next call on."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from sqlalchemy import Date, String, bindparam, func, insert, or_, select, union, update

from cs_mcp.db.members import TOKENS, MemberRow
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.store import Store
from cs_mcp.domain.identity import Principal

_MEMBER: Final = MemberRow.__table__


def _token() -> Any:
    return select(
        TOKENS.c.id,
        TOKENS.c.secret_hmac,
        TOKENS.c.scopes,
        TOKENS.c.on_behalf_of,
        TOKENS.c.expires_at,
        TOKENS.c.revoked_at,
        TOKENS.c.label,
        TOKENS.c.member_id,
    ).where(TOKENS.c.workspace == bindparam("workspace"), TOKENS.c.id == bindparam("token"))


def _members(by: Any) -> Any:
    return select(
        _MEMBER.c.id, _MEMBER.c.name, _MEMBER.c.email, _MEMBER.c.role, _MEMBER.c.reach, _MEMBER.c.active
    ).where(_MEMBER.c.workspace == bindparam("workspace"), _MEMBER.c.removed_at.is_(None), by)


def _book(me: Any) -> Any:
    """The members whose accounts `me` sees: their own, whom they cover today, and with reach `team` their team's."""
    member, boss, report = _MEMBER.alias(), _MEMBER.alias(), _MEMBER.alias()
    today = bindparam("today", type_=Date)
    own = select(member.c.id).where(
        member.c.workspace == bindparam("workspace"),
        or_(
            member.c.id == me,
            (member.c.cover_id == me)
            & (func.coalesce(member.c.cover_from, today) <= today)
            & (func.coalesce(member.c.cover_to, today) >= today),
        ),
    )
    team = (
        select(boss.c.id)
        .where(boss.c.workspace == bindparam("workspace"), boss.c.id == me, boss.c.reach == "team")
        .cte("team", recursive=True)
    )
    team = team.union(
        select(report.c.id).where(report.c.workspace == bindparam("workspace"), report.c.manager_id == team.c.id)
    )
    both = union(own, select(team.c.id)).subquery()
    return select(both.c.id).order_by(both.c.id)


def _of_token(column: Any) -> Any:
    return (
        select(column)
        .where(TOKENS.c.workspace == bindparam("workspace"), TOKENS.c.id == bindparam("token"))
        .scalar_subquery()
    )


def _me() -> Any:
    return bindparam("member", type_=String)


def _whose() -> Any:
    # An agent sees no more than the person it acts for: the reach and the book are that person's.
    return _of_token(func.coalesce(TOKENS.c.on_behalf_of, TOKENS.c.member_id))


_BY_TOKEN: Final = (
    Statement(_token),
    Statement(lambda: _members(_MEMBER.c.id == _of_token(TOKENS.c.member_id))),
    Statement(lambda: _members(_MEMBER.c.id == _whose())),
    Statement(lambda: _book(_whose())),
)
_BY_ID: Final = (Statement(lambda: _members(_MEMBER.c.id == _me())), Statement(lambda: _book(_me())))
_MEMBER_BY_EMAIL: Final = Statement(lambda: _members(func.lower(_MEMBER.c.email) == bindparam("email")))
_TOKEN_LIST: Final = Statement(
    lambda: (
        select(*(column for column in TOKENS.c if column.key != "secret_hmac"))
        .where(TOKENS.c.workspace == bindparam("workspace"))
        .order_by(TOKENS.c.id)
    )
)


def _first(rows: list[Row]) -> Row | None:
    return rows[0] if rows else None


class Authentication:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def token(
        self, workspace: str, token: str, today: date
    ) -> tuple[Row | None, Row | None, Row | None, list[str]]:
        """The token, who holds it, whose reach bounds it, and the members whose books that is."""
        found, holder, whose, book = await self._store.reads.run(
            _BY_TOKEN, {"workspace": workspace, "token": token, "today": today}
        )
        return _first(found), _first(holder), _first(whose), [row["id"] for row in book]

    async def member(self, workspace: str, member: str, today: date) -> tuple[Row | None, list[str]]:
        """A member, and the members whose books it sees."""
        found, book = await self._store.reads.run(_BY_ID, {"workspace": workspace, "member": member, "today": today})
        return _first(found), [row["id"] for row in book]

    async def member_by_email(self, workspace: str, email: str) -> Row | None:
        [found] = await self._store.reads.run([_MEMBER_BY_EMAIL], {"workspace": workspace, "email": email.casefold()})
        return _first(found)

    async def tokens(self, workspace: str) -> list[Row]:
        [found] = await self._store.reads.run([_TOKEN_LIST], {"workspace": workspace})
        return found


async def add_token(session: Any, values: dict[str, Any]) -> None:
    await session.execute(insert(TOKENS).values(**values))


async def revoke_token(session: Any, principal: Principal, token: str, now: Any) -> bool:
    done = await session.execute(
        update(TOKENS)
        .where(TOKENS.c.workspace == principal.workspace, TOKENS.c.id == token, TOKENS.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    return done.rowcount == 1
