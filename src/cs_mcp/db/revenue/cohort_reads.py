"""Cohorts by start month: of the whole workspace as they are kept, of a book from the months of its accounts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import lru_cache
from itertools import groupby
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Date, String, bindparam, case, cast, exists, func, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.revenue.subscriptions import ArrMovementRow
from cs_mcp.db.revenue.tables import REVENUE_COHORT, REVENUE_MONTH
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads, live
from cs_mcp.domain.calendar import add_months
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.revenue.cohorts import Moved, Step, steps_of
from cs_mcp.domain.revenue.subscriptions import MovementKind

ACCOUNT: Final[Any] = AccountRow.__table__
MONTH: Final[Any] = REVENUE_MONTH
COHORT: Final[Any] = REVENUE_COHORT
LEDGER: Final[Any] = ArrMovementRow.__table__
_HERE: Final = bindparam("workspace", type_=String)
_LAST: Final = bindparam("last_month", type_=Date)

_FILTERS: Final[dict[str, Callable[[], Any]]] = {
    "accounts": lambda: any_of(MONTH.c.account_id, texts("accounts")),
    "currency": lambda: MONTH.c.currency == bindparam("currency", type_=String),
    "started": lambda: MONTH.c.account_id.in_(_may_have_started()),
}


def _may_have_started() -> Any:
    """Accounts that moved in the months asked for, but for those that were won before."""
    ledger, earlier = LEDGER.c, MONTH.alias("earlier").c
    first = bindparam("started_from", type_=Date)
    won_before = exists().where(
        earlier.workspace == _HERE,
        earlier.account_id == ledger.account_id,
        earlier.currency == ledger.currency,
        earlier.month < first,
        earlier.kind == MovementKind.new.value,
        earlier.amount_minor > 0,
    )
    return select(ledger.account_id).where(
        *live(LEDGER), ledger.on >= first, ledger.on < bindparam("started_until", type_=Date), ~won_before
    )


def _kept(of_currency: bool) -> Statement:
    t = COHORT.c
    sums = [t.accounts, t.arr_minor.label("arr"), t.kept_minor.label("kept")]
    sums += [t.initial_accounts, t.initial_minor.label("initial_arr")]
    mine = [t.currency == bindparam("currency", type_=String)] if of_currency else []
    return Statement(
        lambda: (
            select(t.currency, t.started, t.month, *sums)
            .where(t.workspace == _HERE, t.month <= _LAST, *mine)
            .order_by(t.currency, t.started, t.month)
        )
    )


_KEPT: Final = {of_currency: _kept(of_currency) for of_currency in (False, True)}


def _months(filters: tuple[str, ...]) -> Any:
    """Months of the accounts, in the order of each one's life."""
    won = case((MONTH.c.kind == MovementKind.new.value, MONTH.c.amount_minor), else_=0)
    return (
        select(
            MONTH.c.account_id,
            MONTH.c.currency,
            MONTH.c.month,
            cast(func.sum(MONTH.c.amount_minor), BigInteger).label("net"),
            cast(func.sum(won), BigInteger).label("won"),
        )
        .where(MONTH.c.workspace == _HERE, MONTH.c.month <= _LAST, MONTH.c.amount_minor != 0)
        .where(*(_FILTERS[name]() for name in filters))
        .group_by(MONTH.c.account_id, MONTH.c.currency, MONTH.c.month)
        .order_by(MONTH.c.account_id, MONTH.c.currency, MONTH.c.month)
    )


@lru_cache(maxsize=16)
def _read(filters: tuple[str, ...]) -> Statement:
    return Statement(lambda: _months(filters))


def _book(scope: Conditions, of_owner: bool) -> Any:
    mine = [ACCOUNT.c.owner_id == bindparam("owner", type_=String)] if of_owner else []
    return select(ACCOUNT.c.id).where(*scope, *mine)


# Asked for by themselves: with them in one statement, SQLite would walk through the months of all accounts.
_BOOKS: Final = {
    of_owner: Scoped("account", lambda scope, of_owner=of_owner: _book(scope, of_owner)) for of_owner in (False, True)
}


_NAMES: Final = Scoped(
    "account", lambda s: select(ACCOUNT.c.id, ACCOUNT.c.name).where(*s, any_of(ACCOUNT.c.id, texts("accounts")))
)


class Member(NamedTuple):
    """An account of a cohort; money in minor units."""

    account_id: str
    name: str
    currency: str
    started: date
    initial: int
    arr: int
    moved_in: date


class CohortReads(ScopedReads):
    """`filters` may name an `owner` of the accounts and a `currency`."""

    async def steps(self, principal: Principal, last_month: date, filters: dict[str, str]) -> dict[str, list[Step]]:
        """By currency, up to `last_month`."""
        found: defaultdict[str, list[Step]] = defaultdict(list)
        if principal.sees_all and "owner" not in filters:
            [rows] = await self.rows(principal, [_KEPT["currency" in filters]], last_month=last_month, **filters)
            for row in rows:
                found[row["currency"]].append(Step(**{name: row[name] for name in Step._fields}))
            return dict(found)
        for _, currency, lived in _lives(await self._months(principal, filters, last_month=last_month)):
            found[currency] += lived
        return dict(found)

    async def _months(self, principal: Principal, filters: dict[str, str], **given: Any) -> list[Row]:
        """Of the accounts in the caller's book, or in the owner's."""
        given |= {name: value for name, value in filters.items() if name != "owner"}
        if not principal.sees_all or "owner" in filters:
            owner = {"owner": filters["owner"]} if "owner" in filters else {}
            [book] = await self.rows(principal, [_BOOKS[bool(owner)]], **owner)
            given["accounts"] = [row["id"] for row in book]
        named = tuple(name for name in _FILTERS if name in given or f"{name}_from" in given)
        [rows] = await self.rows(principal, [_read(named)], **given)
        return rows

    async def members(
        self, principal: Principal, last_month: date, filters: dict[str, str], *, started: tuple[date, date], limit: int
    ) -> list[Member]:
        """Accounts that started in these months, the largest first."""
        between = {"started_from": started[0], "started_until": add_months(started[1], 1)}
        rows = await self._months(principal, filters, last_month=last_month, **between)
        lives = [life for life in _lives(rows) if started[0] <= life[2][0].started <= started[1]]
        lives.sort(key=lambda life: (-life[2][0].initial_arr, life[0]))
        largest = lives[:limit]
        [names] = await self.rows(principal, [_NAMES], accounts=[account for account, _, _ in largest])
        named = {row["id"]: row["name"] for row in names}
        return [
            Member(
                account_id=account,
                name=named[account],
                currency=currency,
                started=lived[0].started,
                initial=lived[0].initial_arr,
                arr=sum(step.arr for step in lived),
                moved_in=lived[-1].month,
            )
            for account, currency, lived in largest
            if account in named
        ]


def _lives(rows: Sequence[Row]) -> Iterator[tuple[str, str, list[Step]]]:
    """Account, currency and steps of everyone who ever started."""
    for (account, currency), months in groupby(rows, key=lambda row: (row["account_id"], row["currency"])):
        if lived := list(steps_of(Moved(row["month"], row["net"], row["won"]) for row in months)):
            yield account, currency, lived
