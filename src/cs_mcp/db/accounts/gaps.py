"""Whether an account lacks a field or a feed that its health and renewal need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, and_, exists, or_, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.people.sponsors import ContactRow
from cs_mcp.db.revenue.subscriptions import SubscriptionRow
from cs_mcp.db.signals.signals import InvoiceRow, SurveyResponseRow, TicketRow
from cs_mcp.db.usage.usage import USAGE_DAY

ACCOUNT: Final[Any] = AccountRow.__table__


def _none_of(row: type[Any], *conditions: Any) -> Callable[[Any], ColumnElement[bool]]:
    table: Table = row.__table__

    def missing(account: Any) -> ColumnElement[bool]:
        of_account = (table.c.workspace == account.workspace, table.c.account_id == account.id)
        return ~exists(select(table.c.id).where(*of_account, table.c.removed_at.is_(None), *conditions))

    return missing


def _no_usage(account: Any) -> ColumnElement[bool]:
    merged = ACCOUNT.alias("merged")
    of_workspace = USAGE_DAY.c.workspace == account.workspace
    own = select(USAGE_DAY.c.day).where(of_workspace, USAGE_DAY.c.account_id == account.id)
    # Usage stays with the record it was told for, so a merged account's counts for the one it went into.
    of_merged = (
        select(USAGE_DAY.c.day)
        .join_from(merged, USAGE_DAY, and_(of_workspace, USAGE_DAY.c.account_id == merged.c.id))
        .where(merged.c.workspace == account.workspace, merged.c.merged_into_id == account.id)
    )
    return ~or_(exists(own), exists(of_merged))


# Whether an account lacks it, said of the columns of the account table.
GAPS: Final[dict[str, Callable[[Any], ColumnElement[bool]]]] = {
    "owner": lambda a: a.owner_id.is_(None),
    "renewal_on": lambda a: a.renewal_on.is_(None),
    "subscription": _none_of(SubscriptionRow),
    "contacts": _none_of(ContactRow, ContactRow.status != "departed"),
    "executive_sponsor": lambda a: a.executive_sponsor_id.is_(None),
    "champion": lambda a: a.champion_id.is_(None),
    "last_touch_on": lambda a: a.last_touch_on.is_(None),
    "usage": _no_usage,
    "tickets": _none_of(TicketRow),
    "surveys": _none_of(SurveyResponseRow),
    "invoices": _none_of(InvoiceRow),
}
# Those that are not columns of the account.
HANGING: Final = ("subscription", "contacts", "usage", "tickets", "surveys", "invoices")
