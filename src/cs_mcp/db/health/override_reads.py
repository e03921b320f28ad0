"""An account's health with its override and without."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Date, String, bindparam, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.accounts.scores import score_of
from cs_mcp.db.health.overrides import computed_band
from cs_mcp.db.read_path import Row
from cs_mcp.db.scoped import Conditions, Scoped, scope_of
from cs_mcp.db.unit_of_work import UnitOfWork

ACCOUNT: Final[Any] = AccountRow.__table__


def _health(scope: Conditions) -> Any:
    computed = computed_band(ACCOUNT, bindparam("today", type_=Date)).label("computed_band")
    of_account = ACCOUNT.c.id == bindparam("account", type_=String)
    return select(ACCOUNT.c.health_band, score_of(ACCOUNT).label("health_score"), computed).where(*scope, of_account)


_HEALTH: Final = Scoped("account", _health)


async def health_within(work: UnitOfWork, account: str) -> Row:
    """`health_band`, `health_score` and `computed_band` of an account, as the last flush left them."""
    given = scope_of(work.principal) | {"account": account, "today": work.today}
    [found] = await (await work.wire()).rows(_HEALTH.seen_by(work.principal), given)
    return found
