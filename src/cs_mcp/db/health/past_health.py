"""Rows that the health of many accounts on a past day is told from: the last scores by then, and overrides."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from sqlalchemy import Date, Double, String, and_, bindparam, cast, func, literal, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.health.overrides import OVERRIDE
from cs_mcp.db.health.score_trend import STORED_TREND, score_before
from cs_mcp.db.health.scoring_tables import SNAPSHOTS
from cs_mcp.db.read_path import Row
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads
from cs_mcp.domain.identity import Principal

ACCOUNT: Final[Any] = AccountRow.__table__
_DAY: Final = bindparam("day", type_=Date)


def _scores(scope: Conditions, *, of_one: bool) -> Any:
    """The newest snapshot by then, however old: the band that lists showed on the day."""
    snapshot, newer = SNAPSHOTS.alias("snapshot"), SNAPSHOTS.alias("newer")
    newest = (
        select(func.max(newer.c.on))
        .where(newer.c.workspace == ACCOUNT.c.workspace, newer.c.account_id == ACCOUNT.c.id, newer.c.on <= _DAY)
        .scalar_subquery()
    )
    mine = and_(
        snapshot.c.workspace == ACCOUNT.c.workspace, snapshot.c.account_id == ACCOUNT.c.id, snapshot.c.on == newest
    )
    before = score_before(ACCOUNT.c.workspace, ACCOUNT.c.id, snapshot.c.on, STORED_TREND)
    found = (
        select(ACCOUNT.c.id, snapshot.c.on, snapshot.c.band)
        .add_columns((cast(snapshot.c.score_tenths, Double) / literal(10.0, Double)).label("score"))
        .add_columns((cast(snapshot.c.score_tenths - before, Double) / literal(10.0, Double)).label("trend"))
        .join_from(ACCOUNT, snapshot, mine)
        .where(*scope)
    )
    return found.where(ACCOUNT.c.id == bindparam("account", type_=String)) if of_one else found


def _overrides(scope: Conditions, *, of_one: bool) -> Any:
    columns = (column for column in OVERRIDE.c if column.key != "workspace")
    found = select(*columns).where(*scope, OVERRIDE.c.from_on <= _DAY)
    return found.where(OVERRIDE.c.account_id == bindparam("account", type_=String)) if of_one else found


_PLANS: Final = {
    of_one: (
        Scoped("account", lambda scope, of_one=of_one: _scores(scope, of_one=of_one), removed_too=True),
        Scoped("health_override", lambda scope, of_one=of_one: _overrides(scope, of_one=of_one), removed_too=True),
    )
    for of_one in (False, True)
}


class PastHealthReads(ScopedReads):
    async def on(self, principal: Principal, day: date, account: str | None) -> tuple[list[Row], list[Row]]:
        """Scores by account, and overrides begun by then (removed ones too), of all or of one account."""
        scores, overrides = await self.rows(principal, _PLANS[account is not None], day=day, account=account)
        return scores, overrides
