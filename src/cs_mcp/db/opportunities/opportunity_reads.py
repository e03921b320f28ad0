"""Reads of the expansion pipeline: a page of it with sums over all, one account's share of it included."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Any, Final, Literal

from sqlalchemy import BigInteger, Date, String, and_, bindparam, cast, func, literal, or_, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.members import MemberRow
from cs_mcp.db.opportunities.opportunities import OPPORTUNITY
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Row
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads, page_rows
from cs_mcp.domain.identity import Principal

ACCOUNT: Final[Any] = AccountRow.__table__
MEMBER: Final[Any] = MemberRow.__table__
GroupBy = Literal["stage", "kind", "owner", "segment", "quarter"]
UNDATED: Final = date(9999, 12, 31)  # where what has no expected day stands in the order

# Whoever owns the account owns its opportunities, unless one was given to somebody.
_OWNER: Final = func.coalesce(OPPORTUNITY.c.owner_id, ACCOUNT.c.owner_id)
_expected: Final = func.coalesce(OPPORTUNITY.c.expected_on, literal(UNDATED, Date))
_FILTERS: Final[dict[str, Callable[[], Any]]] = {
    "opportunity": lambda: OPPORTUNITY.c.id == bindparam("opportunity", type_=String),
    "open": lambda: and_(OPPORTUNITY.c.stage != "won", OPPORTUNITY.c.stage != "lost"),
    "stage": lambda: any_of(OPPORTUNITY.c.stage, texts("stage")),
    "kind": lambda: any_of(OPPORTUNITY.c.kind, texts("kind")),
    "account": lambda: OPPORTUNITY.c.account_id == bindparam("account", type_=String),
    "segment": lambda: any_of(ACCOUNT.c.segment, texts("segment")),
    "owner": lambda: bindparam("owner", type_=String) == _OWNER,
    "period_start": lambda: OPPORTUNITY.c.expected_on >= bindparam("period_start", type_=Date),
    "period_end": lambda: OPPORTUNITY.c.expected_on <= bindparam("period_end", type_=Date),
}
_GROUPS: Final[dict[GroupBy, Any]] = {
    "stage": OPPORTUNITY.c.stage,
    "kind": OPPORTUNITY.c.kind,
    "owner": MEMBER.c.name,
    "segment": ACCOUNT.c.segment,
    "quarter": OPPORTUNITY.c.expected_on,  # days; which quarter one is in, the workspace's calendar says
}


def _joined(columns: list[Any], scope: Conditions, filters: tuple[str, ...]) -> Any:
    account = and_(
        ACCOUNT.c.workspace == OPPORTUNITY.c.workspace,
        ACCOUNT.c.id == OPPORTUNITY.c.account_id,
        ACCOUNT.c.removed_at.is_(None),
    )
    return (
        select(*columns)
        .select_from(OPPORTUNITY.join(ACCOUNT, account))
        .outerjoin(MEMBER, and_(MEMBER.c.workspace == OPPORTUNITY.c.workspace, MEMBER.c.id == _OWNER))
        .where(*scope, *(_FILTERS[name]() for name in filters))
    )


@lru_cache(maxsize=512)
def _page(filters: tuple[str, ...], cursor: bool, rows: int) -> Scoped:
    def build(scope: Conditions) -> Any:
        columns = [
            *(column for column in OPPORTUNITY.c if column.key != "workspace"),
            ACCOUNT.c.name.label("account_name"),
            ACCOUNT.c.health_band,
            ACCOUNT.c.onboarding_status,
            _OWNER.label("responsible_id"),
            MEMBER.c.name.label("owner_name"),
        ]
        statement = _joined(columns, scope, filters)
        if cursor:
            day, record = bindparam("cursor_value", type_=Date), bindparam("cursor_id", type_=String)
            statement = statement.where(or_(_expected > day, and_(_expected == day, OPPORTUNITY.c.id > record)))
        return statement.order_by(_expected, OPPORTUNITY.c.id).limit(rows)

    return Scoped("opportunity", build)


@lru_cache(maxsize=512)
def _sums(filters: tuple[str, ...], group: GroupBy | None) -> Scoped:
    def build(scope: Conditions) -> Any:
        columns = [OPPORTUNITY.c.currency, OPPORTUNITY.c.amount_minor]
        if group is not None:
            columns.append(_GROUPS[group].label("name"))
        counted = _joined(columns, scope, filters).subquery("counted")
        by = [counted.c.currency] if group is None else [counted.c.name, counted.c.currency]
        amount = cast(func.coalesce(func.sum(counted.c.amount_minor), 0), BigInteger).label("amount_minor")
        return select(*by, func.count().label("opportunities"), amount).group_by(*by)

    return Scoped("opportunity", build)


class OpportunityReads(ScopedReads):
    """Opportunities as the caller may see them."""

    async def page(
        self,
        principal: Principal,
        filters: dict[str, Any],
        *,
        limit: int,
        after: tuple[date, str] | None = None,
        group: GroupBy | None = None,
    ) -> tuple[list[Row], list[Row]]:
        """By expected day, undated ones last, one row more than `limit` where there are more; and sums over all.

        `filters` holds the parameters of `_FILTERS`. Sums are by currency and `group` (for quarters: by day).
        """
        shape = tuple(sorted(filters))
        given = dict(filters)
        if after is not None:
            given |= {"cursor_value": after[0], "cursor_id": after[1]}
        plan = [_page(shape, after is not None, page_rows(limit)), _sums(shape, group)]
        rows, sums = await self.rows(principal, plan, **given)
        return rows[: limit + 1], sums
