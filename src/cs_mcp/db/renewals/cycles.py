"""What opening renewals asks of the store, inside its own transaction: subscriptions and their renewals by account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Integer, String, bindparam, or_, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.history.changes import CHANGES, recorded_columns
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.renewals.renewals import RenewalRow
from cs_mcp.db.revenue.subscriptions import SubscriptionRow
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.renewals.renewals import CYCLE

ACCOUNT: Final = AccountRow.__table__
RENEWAL: Final = RenewalRow.__table__
SUBSCRIPTION: Final = SubscriptionRow.__table__


def _here(table: Any) -> Any:
    return table.c.workspace == bindparam("workspace", type_=String)


_LISTED: Final = texts("listed")


def _whole() -> list[Any]:
    # Asked for when a statement is first built: what columns are recorded is known once all tables are.
    return [RENEWAL.c[name] for name in ("id", "version", *recorded_columns(RenewalRow))]


_SUBSCRIPTIONS: Final = Statement(
    lambda: (
        select(*(c for c in SUBSCRIPTION.c if c.key != "workspace"))
        .where(_here(SUBSCRIPTION), SUBSCRIPTION.c.removed_at.is_(None), any_of(SUBSCRIPTION.c.account_id, _LISTED))
        .order_by(SUBSCRIPTION.c.id)
    )
)
_OF_ACCOUNTS: Final = Statement(
    lambda: select(*_whole()).where(
        _here(RENEWAL), RENEWAL.c.removed_at.is_(None), any_of(RENEWAL.c.account_id, _LISTED)
    )
)
# No index holds removed rows of an account, but the source's key holds every cycle there ever was.
_OF_CYCLES: Final = Statement(
    lambda: select(*_whole()).where(
        _here(RENEWAL), RENEWAL.c.source_system == CYCLE, any_of(RENEWAL.c.source_id, _LISTED)
    )
)
_ACCOUNT_PAGE: Final = Statement(
    lambda: (
        select(ACCOUNT.c.id)
        .where(_here(ACCOUNT), ACCOUNT.c.removed_at.is_(None), ACCOUNT.c.id > bindparam("after", type_=String))
        .order_by(ACCOUNT.c.id)
        .limit(bindparam("limit", type_=Integer))
    )
)
_SET: Final = Statement(
    lambda: select(CHANGES.c.entity_id, CHANGES.c.fields).where(
        _here(CHANGES),
        any_of(CHANGES.c.entity_id, _LISTED),
        or_(CHANGES.c.tool == "update_renewal", CHANGES.c.tool == "move_renewal"),
    )
)


class CycleReads:
    """Lists are passed whole: one parameter each."""

    def __init__(self, work: UnitOfWork) -> None:
        self._work = work

    async def _rows(self, statement: Statement, **given: Any) -> list[Row]:
        return await (await self._work.wire()).rows(statement, {"workspace": self._work.principal.workspace} | given)

    async def accounts(self, after: str, limit: int) -> list[str]:
        """Ids of live accounts in id order."""
        return [row["id"] for row in await self._rows(_ACCOUNT_PAGE, after=after, limit=limit)]

    async def subscriptions(self, accounts: Sequence[str]) -> list[Row]:
        return await self._rows(_SUBSCRIPTIONS, listed=accounts)

    async def renewals(self, accounts: Sequence[str]) -> list[Row]:
        return await self._rows(_OF_ACCOUNTS, listed=accounts)

    async def of_cycles(self, keys: Sequence[str]) -> dict[str, Row]:
        """Renewals by cycle key, removed ones too."""
        return {row["source_id"]: row for row in await self._rows(_OF_CYCLES, listed=keys)}

    async def worked_on(self, renewals: Sequence[str]) -> dict[str, set[str]]:
        """By renewal, the fields somebody set with a renewal tool."""
        fields: dict[str, set[str]] = {}
        for found in await self._rows(_SET, listed=renewals):
            fields.setdefault(found["entity_id"], set()).update(found["fields"])
        return fields
