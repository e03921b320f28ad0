"""Renewals joined to their accounts: who owns one, what ARR is at stake, and whose book it is in."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import String, and_, bindparam, func, select, union_all

from cs_mcp.db.accounts.accounts import AccountRow, TeamMemberRow
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.renewals.renewals import RenewalRow
from cs_mcp.db.revenue.subscriptions import SubscriptionRow
from cs_mcp.db.scoped import Conditions, live
from cs_mcp.domain.signals.signals import TicketStatus

RENEWAL: Final[Any] = RenewalRow.__table__
ACCOUNT: Final[Any] = AccountRow.__table__
SUBSCRIPTION: Final[Any] = SubscriptionRow.__table__
# Whoever owns the account owns its renewals, unless one was given to somebody.
OWNER: Final = func.coalesce(RENEWAL.c.owner_id, ACCOUNT.c.owner_id)
ARR_MINOR: Final = func.coalesce(SUBSCRIPTION.c.arr_minor, RENEWAL.c.amount_minor)
OF_ITS_SUBSCRIPTION: Final = and_(
    SUBSCRIPTION.c.workspace == RENEWAL.c.workspace, SUBSCRIPTION.c.id == RENEWAL.c.subscription_id
)


def open_sev1(ticket: Any) -> Any:
    """A ticket of the worst severity that nobody has resolved."""
    unresolved = and_(ticket.c.resolved_at.is_(None), ticket.c.status != TicketStatus.resolved.value)
    return and_(ticket.c.severity == 1, unresolved)


def in_book(scope: Conditions) -> list[Any]:
    """Within a portfolio, its accounts by index: the wall in `scope` alone is checked on every renewal there is."""
    if len(scope) == len(live(RENEWAL)):
        return []
    people, workspace = texts("portfolio"), bindparam("workspace", type_=String)
    mine, seat = ACCOUNT.alias("mine"), TeamMemberRow.__table__
    of_workspace = (mine.c.workspace == workspace, mine.c.removed_at.is_(None))
    return [
        RENEWAL.c.account_id.in_(
            union_all(
                select(mine.c.id).where(*of_workspace, any_of(mine.c.owner_id, people)),
                select(mine.c.id).where(*of_workspace, mine.c.owner_id.is_(None)),
                select(seat.c.account_id).where(
                    seat.c.workspace == workspace, seat.c.removed_at.is_(None), any_of(seat.c.user_id, people)
                ),
            )
        )
    ]


def with_account() -> Any:
    return RENEWAL.join(
        ACCOUNT,
        and_(
            ACCOUNT.c.workspace == RENEWAL.c.workspace,
            ACCOUNT.c.id == RENEWAL.c.account_id,
            ACCOUNT.c.removed_at.is_(None),
        ),
    )
