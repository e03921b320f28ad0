"""Rows that a past day of the pipeline is folded back from: removed ones too, as the caller may see them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from sqlalchemy import Date, String, bindparam, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.people.sponsors import ContactRow, SponsorshipRow
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Row
from cs_mcp.db.renewals.renewals import RenewalRow
from cs_mcp.db.revenue.subscriptions import SubscriptionRow
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads
from cs_mcp.db.signals.signals import TicketRow
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.domain.identity import Principal


def _of(row: type[Any], *conditions: Any, limited: bool = False) -> Scoped:
    table = row.__table__

    def build(scope: Conditions) -> Any:
        columns = (column for column in table.c if column.key != "workspace")
        found = select(*columns).where(*scope, *conditions).order_by(table.c.id)
        return found.limit(bindparam("limit")) if limited else found

    return Scoped(table.name, build, removed_too=True)


def _account_of(row: type[Any]) -> Any:
    return row.__table__.c.id if row is AccountRow else row.__table__.c.account_id


PIPELINE: Final = (RenewalRow, SubscriptionRow, AccountRow)
BESIDE: Final = (MeetingRow, ContactRow, SponsorshipRow, TicketRow)
_ONE: Final = bindparam("account", type_=String)
_WHOLE_BOOK: Final = [_of(row, limited=True) for row in PIPELINE]
_ONE_ACCOUNT: Final = [_of(row, _account_of(row) == _ONE, limited=True) for row in PIPELINE]
_MET: Final = (MeetingRow.__table__.c.held_on >= bindparam("since", type_=Date),)
_WORST: Final = (TicketRow.__table__.c.severity == 1,)
_NARROWED: Final[dict[Any, tuple[Any, ...]]] = {MeetingRow: _MET, TicketRow: _WORST}
_BESIDE: Final = [_of(row, any_of(_account_of(row), texts("accounts")), *_NARROWED.get(row, ())) for row in BESIDE]


class RenewalHistoryReads(ScopedReads):
    async def pipeline(self, principal: Principal, account: str | None, limit: int) -> dict[str, list[Row]]:
        """Renewals, subscriptions and accounts by table, at most `limit` of each: of all, or of one account."""
        plan = _WHOLE_BOOK if account is None else _ONE_ACCOUNT
        found = await self.rows(principal, plan, account=account, limit=limit)
        return dict(zip((row.__tablename__ for row in PIPELINE), found, strict=True))

    async def beside(self, principal: Principal, accounts: Sequence[str], since: date) -> dict[str, list[Row]]:
        """Contacts, sponsorships, tickets of severity 1, and meetings from `since` on, of these accounts."""
        found = await self.rows(principal, _BESIDE, accounts=list(accounts), since=since)
        return dict(zip((row.__tablename__ for row in BESIDE), found, strict=True))
