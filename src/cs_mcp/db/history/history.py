"""Reads of the record of changes: the feed, one record's past, what waits for a person."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, String, and_, bindparam, or_, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.base import Instant
from cs_mcp.db.history.changes import CHANGES, PAYLOADS
from cs_mcp.db.members import MemberRow
from cs_mcp.db.portfolio import any_of, in_portfolio, texts
from cs_mcp.db.promises import PLANS
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.scoped import Scoped, ScopedReads, scope_of
from cs_mcp.db.workspaces import HEADS
from cs_mcp.domain.changes import Change
from cs_mcp.domain.identity import Principal

MEMBER: Final = MemberRow.__table__

_FILTERS: Final[dict[str, Callable[[], Any]]] = {
    "record": lambda: CHANGES.c.entity_id == bindparam("record", type_=String),
    "records": lambda: any_of(CHANGES.c.entity_id, texts("records")),
    "account": lambda: CHANGES.c.account_id == bindparam("account", type_=String),
    "accounts": lambda: any_of(CHANGES.c.account_id, texts("accounts")),
    "actor": lambda: or_(
        CHANGES.c.actor_id == bindparam("actor", type_=String),
        CHANGES.c.on_behalf_of == bindparam("actor", type_=String),
    ),
    "run": lambda: CHANGES.c.run_id == bindparam("run", type_=String),
    "change": lambda: CHANGES.c.change_id == bindparam("change", type_=String),
    "tool": lambda: CHANGES.c.tool == bindparam("tool", type_=String),
    "entity": lambda: any_of(CHANGES.c.entity, texts("entity")),
    "since_at": lambda: CHANGES.c.at >= bindparam("since_at", type_=Instant),
    "until_at": lambda: CHANGES.c.at < bindparam("until_at", type_=Instant),
    "after_seq": lambda: CHANGES.c.seq > bindparam("after_seq", type_=BigInteger),
    "before_seq": lambda: CHANGES.c.seq < bindparam("before_seq", type_=BigInteger),
}


def _seen() -> Any:
    """Entries on accounts in the portfolio, and entries that belong to no account."""
    on_visible: Any = in_portfolio(CHANGES, texts("portfolio"))
    return or_(CHANGES.c.account_id.is_(None), on_visible)


@lru_cache(maxsize=512)
def _feed(filters: tuple[str, ...], newest_first: bool, whole: bool) -> Statement:
    def build() -> Any:
        member = MEMBER.alias("actor")
        statement = (
            select(*CHANGES.c, PAYLOADS.c.before, PAYLOADS.c.after, member.c.name.label("actor_name"))
            .outerjoin_from(  # a payload is always there; the join must not start from it
                CHANGES, PAYLOADS, and_(PAYLOADS.c.workspace == CHANGES.c.workspace, PAYLOADS.c.seq == CHANGES.c.seq)
            )
            .outerjoin(member, and_(member.c.workspace == CHANGES.c.workspace, member.c.id == CHANGES.c.actor_id))
            .where(CHANGES.c.workspace == bindparam("workspace"), *(_FILTERS[name]() for name in filters))
        )
        if not whole:
            statement = statement.where(_seen())
        return statement.order_by(CHANGES.c.seq.desc() if newest_first else CHANGES.c.seq).limit(bindparam("limit"))

    return Statement(build)


HEAD_SEQ: Final = Statement(lambda: select(HEADS.c.seq).where(HEADS.c.workspace == bindparam("workspace")))


def _open_plans() -> Any:
    member = MEMBER.alias("maker")
    return (
        select(*PLANS.c, member.c.name.label("made_by_name"))
        .outerjoin_from(PLANS, member, and_(member.c.workspace == PLANS.c.workspace, member.c.id == PLANS.c.made_by))
        .where(
            PLANS.c.workspace == bindparam("workspace"),
            PLANS.c.state == "open",
            PLANS.c.expires_at > bindparam("now", type_=Instant),
        )
        .order_by(PLANS.c.id)
        .limit(bindparam("limit"))
    )


_PLANS: Final = Statement(_open_plans)
_PLAN: Final = Statement(
    lambda: select(*PLANS.c).where(PLANS.c.workspace == bindparam("workspace"), PLANS.c.id == bindparam("plan"))
)


def _visible_accounts() -> Scoped:
    account = AccountRow.__table__
    return Scoped("account", lambda scope: select(account.c.id).where(*scope, any_of(account.c.id, texts("ids"))))


_VISIBLE: Final = _visible_accounts()
MOST_FOLDED: Final = 20_000


def change_of(row: Row) -> Change:
    return Change.model_validate({name: row[name] for name in Change.model_fields})


class HistoryReads(ScopedReads):
    """The history as the caller may see it."""

    async def feed(
        self, principal: Principal, filters: dict[str, Any], *, limit: int, newest_first: bool
    ) -> tuple[list[Row], int]:
        """Entries with their payloads and the actor's name, and the head of the history in the same snapshot."""
        statement = _feed(tuple(sorted(filters)), newest_first, principal.sees_all)
        rows, head = await self.store.reads.run(
            [statement, HEAD_SEQ], scope_of(principal) | filters | {"limit": limit + 1}
        )
        return rows, (head[0]["seq"] if head else 0)

    async def since(self, principal: Principal, account: str, at: datetime) -> list[Change]:
        """All entries of an account from `at` on, newest first: what an as-of read folds back."""
        rows, _ = await self.feed(principal, {"account": account, "since_at": at}, limit=MOST_FOLDED, newest_first=True)
        return [change_of(row) for row in rows]

    async def of_records_since(self, principal: Principal, records: list[str], at: datetime) -> list[Change]:
        """All entries of some records from `at` on, newest first, whichever account they were on."""
        rows, _ = await self.feed(principal, {"records": records, "since_at": at}, limit=MOST_FOLDED, newest_first=True)
        return [change_of(row) for row in rows]

    async def of_entities_since(
        self, principal: Principal, entities: list[str], at: datetime, accounts: list[str] | None = None
    ) -> list[Change]:
        """Entries of some kinds of records from `at` on, newest first: what a list of a past day folds back."""
        filters: dict[str, Any] = {"entity": entities, "since_at": at}
        if accounts is not None:
            filters["accounts"] = accounts
        rows, _ = await self.feed(principal, filters, limit=MOST_FOLDED, newest_first=True)
        return [change_of(row) for row in rows]

    async def first_of(self, principal: Principal, record: str) -> Change | None:
        """The entry that created a record."""
        rows, _ = await self.feed(principal, {"record": record}, limit=1, newest_first=False)
        return change_of(rows[0]) if rows else None

    async def head(self, principal: Principal) -> int:
        [rows] = await self.rows(principal, [HEAD_SEQ])
        return rows[0]["seq"]

    async def plan(self, principal: Principal, plan: str) -> Row | None:
        [rows] = await self.rows(principal, [_PLAN], plan=plan)
        return rows[0] if rows else None

    async def visible_accounts(self, principal: Principal, accounts: list[str]) -> set[str]:
        """Those of the accounts that the caller may see."""
        [rows] = await self.rows(principal, [_VISIBLE], ids=accounts)
        return {row["id"] for row in rows}

    async def open_plans(self, principal: Principal, now: datetime, limit: int = 200) -> list[Row]:
        [rows] = await self.store.reads.run([_PLANS], {"workspace": principal.workspace, "now": now, "limit": limit})
        return rows
