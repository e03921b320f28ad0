"""What became of contracts that came to their end in a window, and what was saved of those in the red."""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Date,
    Integer,
    String,
    Text,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    select,
)

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.days import day_number
from cs_mcp.db.health.scoring_tables import SNAPSHOTS
from cs_mcp.db.read_path import Row
from cs_mcp.db.renewals.renewals import RenewalRow
from cs_mcp.db.revenue.retention_lines import ATTRIBUTES, past
from cs_mcp.db.revenue.subscriptions import SubscriptionRow
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads, live
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.renewals.renewals import CYCLE, RenewalStage

ACCOUNT: Final[Any] = AccountRow.__table__
RENEWAL: Final[Any] = RenewalRow.__table__
SUBSCRIPTION: Final[Any] = SubscriptionRow.__table__

# An account that was red on a scored day so long before its renewal closed was in danger.
IN_DANGER_DAYS: Final = 120

# The last day of the term, as text: a renewal that opened with its subscription is named by it (`cycle_key`), whatever
# its close date was moved to.
_TERM_ENDS: Final = case(
    (
        RENEWAL.c.source_system == CYCLE,
        func.substr(RENEWAL.c.source_id, func.length(RENEWAL.c.source_id) - literal(9)),
    ),
    else_=cast(RENEWAL.c.closes_on, String),
)
_WON: Final = and_(
    RENEWAL.c.stage == RenewalStage.closed_won.value, RENEWAL.c.closed_on <= bindparam("end", type_=Date)
)
_WORTH: Final = func.coalesce(SUBSCRIPTION.c.arr_minor, RENEWAL.c.amount_minor)
_KEPT: Final = case((RENEWAL.c.amount_minor < _WORTH, RENEWAL.c.amount_minor), else_=_WORTH)


def _total(value: Any, name: str) -> Any:
    return cast(func.coalesce(func.sum(value), 0), BigInteger).label(name)


def _joined(columns: list[Any], scope: Conditions, of_owner: bool) -> Any:
    found = (
        select(*columns)
        .select_from(ACCOUNT)
        .join(RENEWAL, and_(RENEWAL.c.workspace == ACCOUNT.c.workspace, RENEWAL.c.account_id == ACCOUNT.c.id))
        .outerjoin(
            SUBSCRIPTION,
            and_(SUBSCRIPTION.c.workspace == RENEWAL.c.workspace, SUBSCRIPTION.c.id == RENEWAL.c.subscription_id),
        )
        .where(*scope, *live(RENEWAL))
    )
    return found.where(ACCOUNT.c.owner_id == bindparam("owner", type_=String)) if of_owner else found


def _due(scope: Conditions, slice_by: str | None, of_owner: bool) -> Any:
    sums = [
        func.count().label("due"),
        _total(case((_WON, 1), else_=0), "renewed"),
        _total(case((and_(_WON, cast(RENEWAL.c.closed_on, String) <= _TERM_ENDS), 1), else_=0), "on_time"),
        _total(_WORTH, "due_arr"),
        _total(case((_WON, _KEPT), else_=0), "renewed_arr"),
        # As text the empty list is the same on both stores.
        _total(case((and_(_WON, cast(RENEWAL.c.concessions, Text) != "[]"), 1), else_=0), "with_concession"),
    ]
    grouped: list[Any] = [RENEWAL.c.currency]
    ended = _TERM_ENDS.between(bindparam("start_text", type_=String), bindparam("end_text", type_=String))
    found = _joined([*grouped, *sums], scope, of_owner).where(ended)
    if slice_by is not None:
        field = ATTRIBUTES[slice_by]
        then = past(field)
        changed = then.c.account_id.is_not(None)
        grouped += [
            case((changed, None), else_=ACCOUNT.c[field]).label("slice_now"),
            cast(then.c.value, Text).label("slice_then"),
            cast(case((changed, 1), else_=0), Integer).label("slice_changed"),
        ]
        found = found.outerjoin(then, then.c.account_id == ACCOUNT.c.id).add_columns(*grouped[1:])
    return found.group_by(*grouped)


def _in_danger(scope: Conditions, _slice: str | None, of_owner: bool) -> Any:
    """Renewals closed in the window of accounts that were red before: what they were worth, and what of it was kept."""
    was_red = exists(
        select(SNAPSHOTS.c.on).where(
            SNAPSHOTS.c.workspace == RENEWAL.c.workspace,
            SNAPSHOTS.c.account_id == RENEWAL.c.account_id,
            SNAPSHOTS.c.on <= RENEWAL.c.closed_on,
            day_number(SNAPSHOTS.c.on) >= day_number(RENEWAL.c.closed_on) - IN_DANGER_DAYS,
            SNAPSHOTS.c.band == "red",
        )
    )
    columns = [
        RENEWAL.c.currency,
        func.count().label("renewals"),
        _total(_WORTH, "due_arr"),
        _total(case((_WON, _KEPT), else_=0), "kept_arr"),
    ]
    closed = RENEWAL.c.closed_on.between(bindparam("start", type_=Date), bindparam("end", type_=Date))
    return (
        _joined(columns, scope, of_owner)
        .where(closed, was_red)
        .group_by(RENEWAL.c.currency)
        .order_by(RENEWAL.c.currency)
    )


@lru_cache(maxsize=16)
def _read(build: Any, slice_by: str | None, of_owner: bool) -> Scoped:
    return Scoped("account", lambda scope: build(scope, slice_by, of_owner))


class RenewedReads(ScopedReads):
    async def due(
        self,
        principal: Principal,
        start: date,
        end: date,
        *,
        owner: str | None,
        slice_by: str | None = None,
        began_at: datetime | None = None,
    ) -> list[Row]:
        """Contracts whose term ended from `start` to `end`, by currency: the fields of Renewed.

        By slice too, as it was at `began_at`: `slice_then` (JSON) where `slice_changed` since, else `slice_now`.
        """
        given: dict[str, Any] = {"start_text": str(start), "end_text": str(end), "end": end, "began_at": began_at}
        given |= {"owner": owner} if owner else {}
        [rows] = await self.rows(principal, [_read(_due, slice_by, owner is not None)], **given)
        return rows

    async def in_danger(self, principal: Principal, start: date, end: date, *, owner: str | None) -> list[Row]:
        """Renewals closed in the window of accounts in danger: `renewals`, `due_arr` and `kept_arr` by currency."""
        given: dict[str, Any] = {"start": start, "end": end} | ({"owner": owner} if owner else {})
        [rows] = await self.rows(principal, [_read(_in_danger, None, owner is not None)], **given)
        return rows
