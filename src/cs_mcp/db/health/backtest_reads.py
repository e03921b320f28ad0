"""What a backtest replays: who was a customer on a day, what the rubric says of them, and who left when.

The scores come from the statement that scores a night, placed on a past day.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, Date, and_, bindparam, cast, func, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.facts.terms import LISTED, moment
from cs_mcp.db.health.scoring import scored
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.revenue.subscriptions import ArrMovementRow
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.health.rubric import Rubric
from cs_mcp.domain.identity import Principal

_ACCOUNT: Final[Any] = AccountRow.__table__
_LEDGER: Final[Any] = ArrMovementRow.__table__
_DAY: Final = bindparam("day", type_=Date)
_FIRST: Final = bindparam("first", type_=Date)
_LAST: Final = bindparam("last", type_=Date)


def _with_ledger() -> Any:
    """Accounts with their movements, in their own currency as their ARR is."""
    its_own = and_(
        _LEDGER.c.workspace == _ACCOUNT.c.workspace,
        _LEDGER.c.account_id == _ACCOUNT.c.id,
        _LEDGER.c.currency == _ACCOUNT.c.currency,
        _LEDGER.c.removed_at.is_(None),
    )
    return _ACCOUNT.join(_LEDGER, its_own)


def _customers(scope: Conditions) -> Any:
    arr = cast(func.sum(_LEDGER.c.amount_minor), BigInteger)
    return (
        select(_ACCOUNT.c.id.label("account_id"), _ACCOUNT.c.currency, arr.label("arr_minor"))
        .select_from(_with_ledger())
        .where(*scope, _LEDGER.c.on <= _DAY)
        .group_by(_ACCOUNT.c.id, _ACCOUNT.c.currency)
        .having(arr > 0)
        .order_by(_ACCOUNT.c.id)
    )


def _churns(scope: Conditions) -> Any:
    moved = cast(func.sum(_LEDGER.c.amount_minor), BigInteger)
    days = (
        select(_ACCOUNT.c.id.label("account_id"), _LEDGER.c.on, moved.label("moved"))
        .select_from(_with_ledger())
        .where(*scope, _LEDGER.c.on <= _LAST)
        .group_by(_ACCOUNT.c.id, _LEDGER.c.on)
        .subquery("days")
    )
    after = func.sum(days.c.moved).over(partition_by=days.c.account_id, order_by=days.c.on)
    balances = select(days, cast(after, BigInteger).label("after")).subquery("balances")
    return (
        select(balances.c.account_id, balances.c.on)
        .where(balances.c.after <= 0, balances.c.after - balances.c.moved > 0, balances.c.on > _FIRST)
        .order_by(balances.c.on, balances.c.account_id)
    )


def _first_movement(scope: Conditions) -> Any:
    return select(func.min(_LEDGER.c.on).label("on")).select_from(_with_ledger()).where(*scope)


_CUSTOMERS: Final = Scoped("account", _customers)
_CHURNS: Final = Scoped("account", _churns)
_FIRST_MOVEMENT: Final = Scoped("account", _first_movement)


@lru_cache(maxsize=8)
def _scores(rubric: Rubric) -> Statement:
    return Statement(lambda: scored(rubric, LISTED, rollup=False))


class BacktestReads(ScopedReads):
    """Removed accounts are left out: nothing is known of what became of them."""

    async def begins_on(self, principal: Principal) -> date | None:
        """The day of the first movement of ARR there is."""
        [[found]] = await self.rows(principal, [_FIRST_MOVEMENT])
        return found["on"]

    async def customers(self, principal: Principal, day: date) -> list[Row]:
        """Accounts with ARR at the end of the day, by id: `account_id`, `currency`, `arr_minor`."""
        [found] = await self.rows(principal, [_CUSTOMERS], day=day)
        return found

    async def churns(self, principal: Principal, first: date, last: date) -> list[Row]:
        """`account_id` and `on` of each time an account's ARR came to nothing after `first`, up to `last`."""
        [found] = await self.rows(principal, [_CHURNS], first=first, last=last)
        return found

    async def scores(
        self, principal: Principal, rubric: Rubric, accounts: list[str], day: date, calendar: Calendar
    ) -> list[Row]:
        """The rows of `scoring.scored` at the end of the day, from records dated on or before it.

        The accounts must be visible: they come from `customers`.
        """
        [found] = await self.rows(principal, [_scores(rubric)], accounts=accounts, **moment(day, calendar))
        return found
