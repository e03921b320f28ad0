"""Why a question about retention has no figures: which custom fields there are, and when the ledger begins."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from sqlalchemy import String, Text, bindparam, cast, func, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Statement
from cs_mcp.db.revenue.subscriptions import ArrMovementRow
from cs_mcp.db.scoped import Scoped, ScopedReads
from cs_mcp.domain.identity import Principal

ACCOUNT: Final[Any] = AccountRow.__table__
LEDGER: Final[Any] = ArrMovementRow.__table__
SOME_ACCOUNTS: Final = 2_000  # enough to name the fields there are


def _first_day(*, of_accounts: bool) -> Any:
    t = LEDGER.c
    here = t.workspace == bindparam("workspace", type_=String)
    if of_accounts:
        theirs = any_of(t.account_id, texts("accounts"))
        return select(func.min(t.on).label("on")).where(here, t.removed_at.is_(None), theirs)
    return select(t.on).where(here, t.removed_at.is_(None)).order_by(t.on).limit(1)


_FIRST_DAY: Final = Statement(lambda: _first_day(of_accounts=False))
_FIRST_DAY_OF: Final = Statement(lambda: _first_day(of_accounts=True))
_CUSTOM: Final = Scoped(
    "account",
    lambda scope: select(ACCOUNT.c.custom).where(*scope, cast(ACCOUNT.c.custom, Text) != "{}").limit(SOME_ACCOUNTS),
)


class RetentionHints(ScopedReads):
    async def custom_fields(self, principal: Principal) -> set[str]:
        """Custom fields of the accounts that the caller sees, of some of them where they are many."""
        [rows] = await self.rows(principal, [_CUSTOM])
        return {name for row in rows for name, value in row["custom"].items() if value is not None}

    async def first_day(self, principal: Principal, accounts: Sequence[str] | None) -> date | None:
        """Of the ledger of these accounts, or of the whole workspace."""
        [rows] = await self.rows(principal, [_FIRST_DAY if accounts is None else _FIRST_DAY_OF], accounts=accounts)
        return rows[0]["on"] if rows else None
