"""Cohorts by start month, from the monthly sums of the ledger: what moved in each month of their life."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, Date, String, and_, bindparam, case, cast, func, select

from cs_mcp.db.accounts import AccountRow
from cs_mcp.db.read_path import Row
from cs_mcp.db.revenue_tables import REVENUE_MONTH
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.subscriptions import MovementKind

ACCOUNT: Final[Any] = AccountRow.__table__
MONTH: Final[Any] = REVENUE_MONTH


_FILTERS: Final[dict[str, Callable[[], Any]]] = {
    "owner": lambda: ACCOUNT.c.owner_id == bindparam("owner", type_=String),
    "currency": lambda: ACCOUNT.c.currency == bindparam("currency", type_=String),
}


def _months(scope: Conditions, filters: tuple[str, ...]) -> Any:
    """An account's months with movements: what its ARR moved by, and by how much it rose as a new customer."""
    won = case((MONTH.c.kind == MovementKind.new.value, MONTH.c.amount_minor), else_=0)
    return (
        select(
            MONTH.c.account_id,
            MONTH.c.currency,
            MONTH.c.month,
            cast(func.sum(MONTH.c.amount_minor), BigInteger).label("net"),
            cast(func.sum(won), BigInteger).label("won"),
        )
        .join_from(ACCOUNT, MONTH, and_(MONTH.c.workspace == ACCOUNT.c.workspace, MONTH.c.account_id == ACCOUNT.c.id))
        # Nothing is summed across currencies: a movement in another one is not the account's ARR.
        .where(*scope, *(_FILTERS[name]() for name in filters))
        .where(MONTH.c.currency == ACCOUNT.c.currency, MONTH.c.movements > 0)
        .where(MONTH.c.month <= bindparam("last_month", type_=Date))
        .group_by(MONTH.c.account_id, MONTH.c.currency, MONTH.c.month)
        .subquery("months")
    )


def _lives(scope: Conditions, filters: tuple[str, ...]) -> Any:
    """The same from the month in which ARR first rose, with the ARR at the end of each."""
    of = _months(scope, filters).c
    by_account = {"partition_by": of.account_id}
    rose = case((of.won > 0, of.month), (of.net > 0, of.month))
    lived = select(
        of.account_id,
        of.currency,
        of.month,
        of.net,
        of.won,
        func.min(rose).over(**by_account).label("started"),
        cast(func.sum(of.net).over(**by_account, order_by=of.month), BigInteger).label("arr"),
    ).subquery("lived")
    first = case((lived.c.month == lived.c.started, case((lived.c.won > 0, lived.c.won), else_=lived.c.net)))
    return (
        select(*lived.c, func.max(first).over(partition_by=lived.c.account_id).label("initial"))
        .where(lived.c.month >= lived.c.started)
        .subquery("lives")
    )


def _capped(arr: Any, initial: Any) -> Any:
    return case((arr > initial, initial), else_=arr)


def _steps(scope: Conditions, filters: tuple[str, ...]) -> Any:
    of = _lives(scope, filters).c
    before = of.arr - of.net
    became = case((and_(of.arr > 0, before <= 0), 1), (and_(of.arr <= 0, before > 0), -1), else_=0)
    is_first = of.month == of.started
    # What was there before the first rise is nothing that a cohort started with.
    kept_before = case((is_first, 0), else_=_capped(before, of.initial))
    grouped = (of.currency, of.started, of.month)
    sums = {
        "accounts": case((is_first, case((of.arr > 0, 1), else_=0)), else_=became),
        "arr": case((is_first, of.arr), else_=of.net),
        "kept": _capped(of.arr, of.initial) - kept_before,
        "initial_accounts": case((is_first, 1), else_=0),
        "initial_arr": case((is_first, of.initial), else_=0),
    }
    return (
        select(*grouped, *(cast(func.sum(of_it), BigInteger).label(name) for name, of_it in sums.items()))
        .group_by(*grouped)
        .order_by(*grouped)
    )


def _members(scope: Conditions, filters: tuple[str, ...]) -> Any:
    """Accounts that started between two months, largest first."""
    of = _lives(scope, filters).c
    latest = func.row_number().over(partition_by=of.account_id, order_by=of.month.desc()).label("place")
    last = select(of.account_id, of.currency, of.started, of.initial, of.arr, of.month, latest).subquery("last")
    return (
        select(last.c.account_id, ACCOUNT.c.name, last.c.currency, last.c.started, last.c.initial, last.c.arr)
        .add_columns(last.c.month.label("moved_in"))
        .join_from(last, ACCOUNT, ACCOUNT.c.id == last.c.account_id)
        .where(ACCOUNT.c.workspace == bindparam("workspace"), last.c.place == 1)
        .where(last.c.started >= bindparam("started_from", type_=Date))
        .where(last.c.started <= bindparam("started_to", type_=Date))
        .order_by(last.c.initial.desc(), last.c.account_id)
        .limit(bindparam("limit"))
    )


@lru_cache(maxsize=8)
def _read(build: Any, filters: tuple[str, ...]) -> Scoped:
    return Scoped("account", lambda scope: build(scope, filters))


class CohortReads(ScopedReads):
    """`filters` may name an `owner` and a `currency` of the accounts."""

    async def steps(self, principal: Principal, last_month: date, filters: dict[str, str]) -> list[Row]:
        """By currency, start month and month, in that order: the fields of cohorts.Step up to `last_month`."""
        [rows] = await self.rows(principal, [_read(_steps, tuple(sorted(filters)))], last_month=last_month, **filters)
        return rows

    async def members(
        self,
        principal: Principal,
        last_month: date,
        filters: dict[str, str],
        *,
        started: tuple[date, date],
        limit: int,
    ) -> list[Row]:
        """Accounts that started in these months: `initial` and `arr` in minor units, the month they last moved in."""
        given = {"last_month": last_month, "started_from": started[0], "started_to": started[1], "limit": limit}
        [rows] = await self.rows(principal, [_read(_members, tuple(sorted(filters)))], **given, **filters)
        return rows
