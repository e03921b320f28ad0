"""Reads of retention: from what is kept of the whole workspace, or from the lines of the accounts that count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Date,
    Integer,
    SmallInteger,
    String,
    and_,
    bindparam,
    cast,
    func,
    literal,
    or_,
    select,
    union_all,
)

from cs_mcp.db.accounts.accounts import AccountRow, TeamMemberRow
from cs_mcp.db.base import Instant
from cs_mcp.db.history.changes import CHANGES, PAYLOADS
from cs_mcp.db.members import MemberRow
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.revenue.exchange_rates import ExchangeRateRow
from cs_mcp.db.revenue.retention_lines import Shape, Span, attributes, behind, given_of, lines, sums
from cs_mcp.db.revenue.subscriptions import ArrMovementRow
from cs_mcp.db.revenue.tables import REVENUE_BOOK, REVENUE_MONTH, REVENUE_RESTATEMENT, REVENUE_WINDOW
from cs_mcp.db.revenue.targets import TargetRow
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads, live
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.revenue.currency_rates import ExchangeRate
from cs_mcp.domain.revenue.subscriptions import MovementKind

ACCOUNT: Final[Any] = AccountRow.__table__
MEMBER: Final[Any] = MemberRow.__table__
TEAM: Final[Any] = TeamMemberRow.__table__
LEDGER: Final[Any] = ArrMovementRow.__table__
RATE: Final[Any] = ExchangeRateRow.__table__
TARGET: Final[Any] = TargetRow.__table__
_HERE: Final = bindparam("workspace", type_=String)
NAMED_A_BAR: Final = 5


def _book() -> Any:
    t = REVENUE_BOOK.c
    return select(t.value, t.month, t.currency, t.amount_minor, t.below_minor, t.accounts).where(
        t.workspace == _HERE, t.dimension == bindparam("dimension"), t.month < bindparam("until", type_=Date)
    )


def _windows() -> Any:
    t = REVENUE_WINDOW.c
    return select(t.value, t.last_month, t.currency, t.in_cohort, t.bar, t.amount_minor, t.accounts).where(
        t.workspace == _HERE,
        t.dimension == bindparam("dimension"),
        t.months == bindparam("length", type_=SmallInteger),
        t.last_month >= bindparam("from_month", type_=Date),
        t.last_month < bindparam("until", type_=Date),
    )


def _targets() -> Any:
    t = TARGET.c
    day = bindparam("at_end", type_=Date)
    return (
        select(t.metric, t.segment, t.value, t.owner_id)
        .where(t.workspace == _HERE, t.removed_at.is_(None), t.value.is_not(None))
        .where(t.from_on <= day, or_(t.to_on.is_(None), t.to_on >= day))
        .order_by(t.from_on, t.id)
    )


def _between() -> Any:
    """Accounts with movements on days that two windows do not share: between their starts, or between their ends."""
    t = LEDGER.c

    def days(since: str, until: str) -> Any:
        return select(t.account_id).where(
            t.workspace == _HERE,
            t.removed_at.is_(None),
            t.on >= bindparam(since, type_=Date),
            t.on < bindparam(until, type_=Date),
        )

    both = union_all(days("head_from", "head_until"), days("tail_from", "tail_until")).subquery("both")
    return select(both.c.account_id).distinct().limit(bindparam("limit", type_=Integer))


def _restated(*, of_accounts: bool) -> Any:
    """Whether a day of the window, or one before it, was told otherwise once the window was over."""
    t = REVENUE_RESTATEMENT.c
    found = select(literal(1, Integer).label("restated")).where(
        t.workspace == _HERE, t.on <= bindparam("at_end", type_=Date), t.at >= bindparam("closed_at", type_=Instant)
    )
    return (found.where(any_of(t.account_id, texts("accounts"))) if of_accounts else found).limit(1)


def _seen(scope: Conditions, *, of_owner: bool) -> Any:
    """The accounts that count. Found by who owns them or sits on their team, so that no other is looked at."""
    here = and_(*live(ACCOUNT))  # as their indexes have it
    if of_owner:
        mine = select(ACCOUNT.c.id).where(here, ACCOUNT.c.owner_id == bindparam("owner", type_=String))
        return select(ACCOUNT.c.id).where(*scope, ACCOUNT.c.id.in_(mine))
    people = texts("portfolio")
    ways = union_all(
        select(ACCOUNT.c.id).where(here, any_of(ACCOUNT.c.owner_id, people)),
        select(ACCOUNT.c.id).where(here, ACCOUNT.c.owner_id.is_(None)),
        select(TEAM.c.account_id).where(*live(TEAM), any_of(TEAM.c.user_id, people)),
    )
    return select(ACCOUNT.c.id).where(*scope, ACCOUNT.c.id.in_(ways))


_BOOK: Final = Statement(_book)
_WINDOWS: Final = Statement(_windows)
_TARGETS: Final = Statement(_targets)
_BETWEEN: Final = Statement(_between)
_RESTATED: Final = Statement(lambda: _restated(of_accounts=False))
_RESTATED_OF: Final = Statement(lambda: _restated(of_accounts=True))
_SEEN: Final = Scoped("account", lambda scope: _seen(scope, of_owner=False))
_SEEN_OF_OWNER: Final = Scoped("account", lambda scope: _seen(scope, of_owner=True))
_PEOPLE: Final = Scoped("member", lambda s: select(MEMBER.c.id, MEMBER.c.name).where(*s), removed_too=True)


@lru_cache(maxsize=32)
def _largest(kind: MovementKind) -> Statement:
    """Accounts with the largest sums of a kind in one month of the window: those that its bar names."""
    t = REVENUE_MONTH.c
    falls = kind in (MovementKind.contraction, MovementKind.churn)
    return Statement(
        lambda: (
            select(t.account_id)
            .where(t.workspace == _HERE, t.kind == kind.value, t.amount_minor < 0 if falls else t.amount_minor > 0)
            .where(t.month >= bindparam("at_opening_month", type_=Date), t.month <= bindparam("at_end", type_=Date))
            .order_by(t.amount_minor if falls else t.amount_minor.desc())
            .limit(2 * NAMED_A_BAR)
        )
    )


@lru_cache(maxsize=128)
def _sums(shape: Shape) -> Scoped:
    return Scoped("account", lambda scope: sums(scope, shape))


@lru_cache(maxsize=32)
def _lines(shape: Shape) -> Scoped:
    return Scoped("account", lambda scope: lines(scope, shape))


@lru_cache(maxsize=32)
def _attributes(shape: Shape) -> Scoped:
    return Scoped("account", lambda scope: attributes(scope, shape))


@lru_cache(maxsize=64)
def _behind(shape: Shape) -> Scoped:
    return Scoped("account", lambda scope: behind(scope, shape))


_NAMES: Final = Scoped(
    "account", lambda s: select(ACCOUNT.c.id, ACCOUNT.c.name).where(*s, any_of(ACCOUNT.c.id, texts("accounts")))
)


def _latest_rates() -> Any:
    """Of each pair of currencies, the rate of the latest day up to `at_end`."""
    t = RATE.c
    order = func.row_number().over(partition_by=(t.from_currency, t.to_currency), order_by=t.on.desc())
    ranked = (
        select(t.id, t.from_currency, t.to_currency, t.on, t.rate, order.label("place"))
        .where(t.workspace == _HERE, t.removed_at.is_(None), t.on <= bindparam("at_end", type_=Date))
        .subquery("ranked")
    )
    of = ranked.c
    return select(of.id, of.from_currency, of.to_currency, of.on, of.rate).where(of.place == 1)


def _every_rate() -> Any:
    t = RATE.c
    return select(t.id, t.from_currency, t.to_currency, t.on, t.rate).where(
        t.workspace == _HERE, t.removed_at.is_(None), t.on <= bindparam("at_end", type_=Date)
    )


_LATEST_RATES: Final = Statement(_latest_rates)
_EVERY_RATE: Final = Statement(_every_rate)


def _foreign(*, of_accounts: bool) -> Any:
    """Movements in other currencies than the one asked for, in the order of each account's ledger."""
    t = LEDGER.c
    found = (
        select(t.account_id, t.currency, t.on, t.kind, t.amount_minor)
        .where(t.workspace == _HERE, t.removed_at.is_(None), t.on <= bindparam("at_end", type_=Date))
        .where(t.currency != bindparam("target", type_=String))
    )
    if of_accounts:
        found = found.where(any_of(t.account_id, texts("accounts")))
    return found.order_by(t.account_id, t.currency, t.on, t.id)


_FOREIGN: Final = Statement(lambda: _foreign(of_accounts=False))
_FOREIGN_OF: Final = Statement(lambda: _foreign(of_accounts=True))


# -- what was known on a day ------------------------------------------------------------------------------------
_AT: Final = Statement(
    lambda: select(CHANGES.c.at).where(
        CHANGES.c.workspace == _HERE, CHANGES.c.seq == bindparam("seq", type_=BigInteger)
    )
)
_LAST: Final = Statement(
    lambda: select(cast(func.coalesce(func.max(CHANGES.c.seq), 0), BigInteger).label("seq")).where(
        CHANGES.c.workspace == _HERE
    )
)


def _since(*, of_accounts: bool) -> Any:
    """What happened to movements past an entry of the history, newest first."""
    found = (
        select(CHANGES.c.entity_id, CHANGES.c.kind, PAYLOADS.c.before, PAYLOADS.c.after)
        .join_from(CHANGES, PAYLOADS, (PAYLOADS.c.workspace == CHANGES.c.workspace) & (PAYLOADS.c.seq == CHANGES.c.seq))
        .where(CHANGES.c.workspace == _HERE, CHANGES.c.seq > bindparam("seq", type_=BigInteger))
        .where(CHANGES.c.entity == "arr_movement")
    )
    if of_accounts:
        found = found.where(any_of(CHANGES.c.account_id, texts("accounts")))
    return found.order_by(CHANGES.c.seq.desc()).limit(bindparam("limit", type_=Integer))


_SINCE: Final = Statement(lambda: _since(of_accounts=False))
_SINCE_OF: Final = Statement(lambda: _since(of_accounts=True))
_MOVEMENTS: Final = Statement(
    lambda: select(
        *(LEDGER.c[name] for name in ("id", "account_id", "currency", "on", "kind", "amount_minor", "removed_at"))
    ).where(LEDGER.c.workspace == _HERE, any_of(LEDGER.c.id, texts("movements")))
)


class Kept(NamedTuple):
    """Rows of the workspace's rollups, of several windows of one length."""

    book: list[Row]
    windows: list[Row]


class About(NamedTuple):
    """What stands beside the figures."""

    restated: bool
    targets: list[Row]


class RetentionReads(ScopedReads):
    """`accounts` None: of the whole workspace, which only a caller who sees all of it may be told of."""

    async def accounts(self, principal: Principal, owner: str | None) -> list[str] | None:
        """The accounts that count for the caller: None where all of the workspace do."""
        if principal.sees_all and owner is None:
            return None
        [rows] = await self.rows(principal, [_SEEN if owner is None else _SEEN_OF_OWNER], owner=owner)
        return [row["id"] for row in rows]

    async def kept(self, principal: Principal, dimension: str, *, length: int, first: date, until: date) -> Kept:
        """Windows of `length` months that end with the months from `first` to the one before `until`."""
        given: dict[str, Any] = {"dimension": dimension, "length": length, "from_month": first, "until": until}
        return Kept(*await self.rows(principal, [_BOOK, _WINDOWS], **given))

    async def between(
        self, principal: Principal, head: tuple[date, date], tail: tuple[date, date], limit: int
    ) -> list[str]:
        """Of the whole workspace: accounts with movements from the first day of a pair up to the second."""
        given = {"head_from": head[0], "head_until": head[1], "tail_from": tail[0], "tail_until": tail[1]}
        [rows] = await self.rows(principal, [_BETWEEN], **given, limit=limit)
        return [row["account_id"] for row in rows]

    async def about(
        self, principal: Principal, span: Span, closed_at: datetime, accounts: Sequence[str] | None
    ) -> About:
        """`closed_at`: the instant at which the window was over."""
        if closed_at > self.store.clock.now():
            [targets] = await self.rows(principal, [_TARGETS], **given_of(span))
            return About(False, targets)
        given = given_of(span) | {"closed_at": closed_at, "accounts": accounts}
        marks = _RESTATED if accounts is None else _RESTATED_OF
        restated, targets = await self.rows(principal, [marks, _TARGETS], **given)
        return About(bool(restated), targets)

    async def sums(
        self,
        principal: Principal,
        span: Span,
        *,
        accounts: Sequence[str] | None = None,
        slice_by: str | None = None,
        custom_key: str | None = None,
        began_at: datetime | None = None,
    ) -> list[Row]:
        """Sums by slice, currency and bar, by the default conventions."""
        shape = Shape(is_cut=span.is_cut, of_accounts=accounts is not None, slice_by=slice_by)
        given = given_of(span) | {"accounts": accounts, "custom_key": custom_key, "began_at": began_at}
        [rows] = await self.rows(principal, [_sums(shape)], **given)
        return rows

    async def attributes(
        self,
        principal: Principal,
        span: Span,
        slice_by: str,
        *,
        accounts: Sequence[str] | None,
        custom_key: str | None,
        began_at: datetime,
    ) -> list[Row]:
        """One row an account, with the columns that name its slice."""
        shape = Shape(of_accounts=accounts is not None, slice_by=slice_by)
        given = given_of(span) | {"accounts": accounts, "custom_key": custom_key, "began_at": began_at}
        [rows] = await self.rows(principal, [_attributes(shape)], **given)
        return rows

    async def lines(self, principal: Principal, span: Span, accounts: Sequence[str] | None) -> list[Row]:
        """One row an account and currency."""
        shape = Shape(is_cut=span.is_cut, of_accounts=accounts is not None)
        [rows] = await self.rows(principal, [_lines(shape)], **given_of(span), accounts=accounts)
        return rows

    async def largest(self, principal: Principal, span: Span, kinds: Sequence[MovementKind]) -> list[str]:
        """Of the whole workspace."""
        found = await self.rows(principal, [_largest(kind) for kind in kinds], **given_of(span))
        return sorted({row["account_id"] for rows in found for row in rows})

    async def behind(self, principal: Principal, span: Span, bar: str, *, limit: int, offset: int) -> list[Row]:
        """Of the whole workspace: accounts behind a bar, by size, from `offset` on."""
        shape = Shape(is_cut=span.is_cut, bar=bar)
        [rows] = await self.rows(principal, [_behind(shape)], **given_of(span), limit=limit, offset=offset)
        return rows

    async def names(self, principal: Principal, accounts: Sequence[str]) -> dict[str, str]:
        [rows] = await self.rows(principal, [_NAMES], accounts=accounts)
        return {row["id"]: row["name"] for row in rows}

    async def people(self, principal: Principal) -> dict[str, str]:
        [rows] = await self.rows(principal, [_PEOPLE])
        return {row["id"]: row["name"] for row in rows}

    async def rates(self, principal: Principal, end: date, *, every_day: bool) -> list[ExchangeRate]:
        statement = _EVERY_RATE if every_day else _LATEST_RATES
        [rows] = await self.rows(principal, [statement], at_end=end)
        return [ExchangeRate.model_validate(row) for row in rows]

    async def foreign(self, principal: Principal, target: str, end: date, accounts: Sequence[str] | None) -> list[Row]:
        statement = _FOREIGN if accounts is None else _FOREIGN_OF
        [rows] = await self.rows(principal, [statement], target=target, at_end=end, accounts=accounts)
        return rows

    async def entry_at(self, principal: Principal, instant: datetime) -> int:
        """The last entry of the history before the instant, found by halving."""
        [[last]] = await self.rows(principal, [_LAST])
        low, high = 0, last["seq"]
        while low < high:
            middle = (low + high + 1) // 2
            [found] = await self.rows(principal, [_AT], seq=middle)
            if found and found[0]["at"] < instant:
                low = middle
            else:
                high = middle - 1
        return low

    async def since(
        self, principal: Principal, seq: int, limit: int, accounts: Sequence[str] | None
    ) -> tuple[list[Row], dict[str, Row]]:
        """Entries of movements after `seq`, newest first, at most `limit`; and the movements as they stand."""
        statement = _SINCE if accounts is None else _SINCE_OF
        [entries] = await self.rows(principal, [statement], seq=seq, limit=limit, accounts=accounts)
        ids = sorted({entry["entity_id"] for entry in entries})
        [rows] = await self.rows(principal, [_MOVEMENTS], movements=ids) if ids else [[]]
        return entries, {row["id"]: row for row in rows}


def by_kind(row: Mapping[str, Any]) -> dict[MovementKind, int]:
    return {kind: row[kind.value] for kind in MovementKind if row[kind.value]}
