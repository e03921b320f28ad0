"""Renewals that no longer follow their account, brought back: for a store that was written to behind its triggers.

What they follow is kept in db/migrations/renewals_follow.py, which says what the columns mean.
"""

from __future__ import annotations

from typing import Any, Final, cast

from sqlalchemy import bindparam, func, or_, select, update

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.read_path import Statement
from cs_mcp.db.renewals.renewals import RenewalRow
from cs_mcp.db.wire import Wire

ACCOUNT: Final[Any] = AccountRow.__table__
RENEWAL: Final[Any] = RenewalRow.__table__


def _followed() -> dict[str, Any]:
    mine = (ACCOUNT.c.workspace == RENEWAL.c.workspace, ACCOUNT.c.id == RENEWAL.c.account_id)
    theirs = {
        "account_band": ACCOUNT.c.health_band,
        "account_segment": ACCOUNT.c.segment,
        "responsible_id": func.coalesce(RENEWAL.c.owner_id, ACCOUNT.c.owner_id),
    }
    return {name: select(value).where(*mine).correlate(RENEWAL).scalar_subquery() for name, value in theirs.items()}


def _astray(followed: dict[str, Any]) -> tuple[Any, ...]:
    here = cast("Any", bindparam("in_workspace"))
    differing = or_(*(RENEWAL.c[name].is_distinct_from(value) for name, value in followed.items()))
    return RENEWAL.c.workspace == here, RENEWAL.c.removed_at.is_(None), differing


_ASTRAY: Final = Statement(lambda: select(func.count().label("renewals")).where(*_astray(_followed())))
_FOLLOW: Final = Statement(lambda: update(RENEWAL).where(*_astray(_followed())).values(_followed()))


async def let_follow_anew(wire: Wire, workspace: str) -> int:
    """How many live renewals had gone astray."""
    given = {"in_workspace": workspace}
    [found] = await wire.rows(_ASTRAY, given)
    if found["renewals"]:
        await wire.many(_FOLLOW, [given])
    return found["renewals"]
