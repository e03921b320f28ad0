"""Lines of a window: of each account its ARR at the opening and what each kind of movement added since, in SQL.

Full months come from the rollup, the days of months that the window cuts from the ledger. `classified` says of every
line, by the default conventions, which bar of the waterfall it is: the same rules as `domain.retention.pieces`.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Date,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    union_all,
)

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.base import Instant
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.revenue.subscriptions import ArrMovementRow
from cs_mcp.db.revenue.tables import PAST_ATTRIBUTE, REVENUE_MONTH
from cs_mcp.db.scoped import Conditions
from cs_mcp.domain.calendar import add_months
from cs_mcp.domain.revenue.subscriptions import MovementKind

ACCOUNT: Final[Any] = AccountRow.__table__
LEDGER: Final[Any] = ArrMovementRow.__table__
_WHOLE_WORKSPACE: Final = 2  # how many conditions a read has that nothing narrows: the workspace, and not removed

# Columns of an account that slices go by, as they were when the period began.
ATTRIBUTES: Final = {"segment": "segment", "tier": "tier", "owner": "owner_id", "industry": "industry"}


class Span(NamedTuple):
    """A window as the statements take it: which months are read whole, and which days around them one by one."""

    start: date
    end: date  # the last day
    opening_month: date  # months before this one were over at the opening
    first_month: date
    month_after: date  # the months from `first_month` up to this one lie whole in the window
    head_end: date  # days from `start` up to this one belong to a month that the window cuts
    tail_start: date  # and so do those from this one to `end`

    @property
    def is_cut(self) -> bool:
        return self.opening_month != self.first_month or self.month_after <= self.end

    @classmethod
    def of(cls, start: date, end: date) -> Span:
        after = end + timedelta(days=1)
        opening_month = start.replace(day=1)
        first = opening_month if start.day == 1 else add_months(opening_month, 1)
        last = after.replace(day=1)
        if first > last:
            return cls(start, end, opening_month, after, after, after, after)
        return cls(start, end, opening_month, first, last, first, last)


class Shape(NamedTuple):
    """What the statement is like: cut months, a slice, some accounts only, one bar."""

    is_cut: bool = False
    slice_by: str | None = None  # a key of ATTRIBUTES, cohort, or custom
    of_accounts: bool = False
    bar: str | None = None


def given_of(span: Span) -> dict[str, Any]:
    return {f"at_{name}": value for name, value in span._asdict().items()}


def _day(name: str) -> Any:
    return bindparam(f"at_{name}", type_=Date)


def _source(scope: Conditions, shape: Shape) -> Any:
    """(account, currency, kind, amount, in the window or before it, month) of all that counts."""
    t, ledger = REVENUE_MONTH.c, LEDGER.c
    in_window = case((t.month >= _day("first_month"), 1), else_=0).label("in_window")
    months = select(t.account_id, t.currency, t.kind, t.amount_minor, in_window, t.month).where(
        t.workspace == bindparam("workspace"), t.month < _day("month_after")
    )
    months = months.where(*_narrowed(t.account_id, scope, shape))
    if not shape.is_cut:
        return months.subquery("source")
    months = months.where(or_(t.month < _day("opening_month"), t.month >= _day("first_month")))

    def days(since: Any, until: Any, within: int) -> Any:
        told = (ledger.account_id, ledger.currency, ledger.kind, ledger.amount_minor)
        return (
            select(*told, literal(within, Integer).label("in_window"), ledger.on.label("month"))
            .where(ledger.workspace == bindparam("workspace"), ledger.removed_at.is_(None))
            .where(ledger.on >= since, until, *_narrowed(ledger.account_id, scope, shape))
        )

    parts = [
        months,
        days(_day("opening_month"), ledger.on < _day("start"), 0),
        days(_day("start"), ledger.on < _day("head_end"), 1),
        days(_day("tail_start"), ledger.on <= _day("end"), 1),
    ]
    return union_all(*parts).subquery("source")


def _narrowed(account: Any, scope: Conditions, shape: Shape) -> list[Any]:
    """Of all accounts, only a caller who sees the whole workspace is told; of others, those that were looked up."""
    if shape.of_accounts:
        return [any_of(account, texts("accounts"))]
    if len(scope) > _WHOLE_WORKSPACE:
        raise AssertionError("lines of a part of the workspace need the accounts that are in it")
    return []


def _sum(value: Any, name: str) -> Any:
    return cast(func.coalesce(func.sum(value), 0), BigInteger).label(name)


def lines(scope: Conditions, shape: Shape) -> Any:
    """One row an account and currency: `opening`, and what each kind of movement posted in the window."""
    of = _source(scope, shape).c
    posted = [
        _sum(case((and_(of.in_window == 1, of.kind == kind.value), of.amount_minor), else_=0), kind.value)
        for kind in MovementKind
    ]
    return select(
        of.account_id,
        of.currency,
        _sum(case((of.in_window == 0, of.amount_minor), else_=0), "opening"),
        *posted,
    ).group_by(of.account_id, of.currency)


def _brief(scope: Conditions, shape: Shape) -> Any:
    """The same in fewer sums: of the kinds, those that tell one bar from another."""
    of = _source(scope, shape).c
    within = of.in_window == 1

    def of_kind(kind: MovementKind) -> Any:
        return _sum(case((and_(within, of.kind == kind.value), of.amount_minor), else_=0), kind.value)

    columns: list[Any] = [
        of.account_id,
        of.currency,
        _sum(case((within, 0), else_=of.amount_minor), "opening"),
        _sum(case((within, of.amount_minor), else_=0), "net"),
        *(of_kind(kind) for kind in (MovementKind.new, MovementKind.reactivation, MovementKind.price_change)),
    ]
    if shape.slice_by == "cohort":
        columns.append(func.min(case((of.amount_minor > 0, of.month))).label("first_month"))
    return select(*columns).group_by(of.account_id, of.currency).subquery("lines")


# What a line is, by the default conventions. A rise is told apart once more, into price and the rest.
KEPT, RISE, CHURN, CONTRACTION = "kept", "rise", "churn", "contraction"
NEW, REACTIVATION, NOTHING = "new", "reactivation", "nothing"
BELOW, BELOW_RISE, BELOW_FALL = "below", "below_rise", "below_fall"  # a ledger that is at zero or under it at both ends


def classified(scope: Conditions, shape: Shape) -> Any:
    """Lines with their `bar`, their net change, and how much of a rise is price."""
    of = _brief(scope, shape).c
    closing = of.opening + of.net
    there = of.opening > 0
    bar = case(
        (and_(there, closing <= 0), CHURN),
        (and_(there, of.net < 0), CONTRACTION),
        (and_(there, of.net > 0), RISE),
        (there, KEPT),
        (and_(closing > 0, of.reactivation > 0, of.new <= 0), REACTIVATION),
        (closing > 0, NEW),
        (of.net > 0, BELOW_RISE),
        (of.net < 0, BELOW_FALL),
        (of.opening != 0, BELOW),
        else_=NOTHING,
    )
    priced = case((of.price_change > of.net, of.net), else_=of.price_change)
    price = case((and_(there, of.net > 0, closing > 0, of.price_change > 0), priced), else_=0)
    told = [of.account_id, of.currency, of.opening, of.net, bar.label("bar"), price.label("price")]
    if shape.slice_by == "cohort":
        told.append(of.first_month)
    return select(*told).subquery("classified")


def sums(scope: Conditions, shape: Shape) -> Any:
    """Per slice, currency and bar: accounts, their opening, net change, and price within rises."""
    of = classified(scope, shape)
    slices, joined = _sliced(of, shape)
    grouped = [of.c.currency, of.c.bar, *slices]
    found = (
        select(
            *grouped,
            cast(func.count(), Integer).label("accounts"),
            _sum(of.c.opening, "opening"),
            _sum(of.c.net, "net"),
            _sum(of.c.price, "price"),
            _sum(case((of.c.price > 0, 1), else_=0), "priced"),
            _sum(case((of.c.net > of.c.price, 1), else_=0), "rest"),
        )
        .select_from(joined)
        .where(of.c.bar != NOTHING)
    )
    return found.group_by(*grouped)


def _sliced(of: Any, shape: Shape) -> tuple[list[Any], Any]:
    """Columns that name the slice: `slice_now` as it is, `slice_then` (as JSON) where it changed since the start."""
    if shape.slice_by is None:
        return [], of
    if shape.slice_by == "cohort":
        return [of.c.first_month.label("slice_now")], of
    columns, then = _attribute(shape.slice_by)
    mine = and_(ACCOUNT.c.workspace == bindparam("workspace"), ACCOUNT.c.id == of.c.account_id)
    return columns, of.join(ACCOUNT, mine).outerjoin(then, then.c.account_id == of.c.account_id)


def _attribute(slice_by: str) -> tuple[list[Any], Any]:
    field = ATTRIBUTES.get(slice_by, "custom")
    then = past(field)
    now, before = ACCOUNT.c[field], then.c.value
    if field == "custom":
        key = bindparam("custom_key", type_=Text)
        now = cast(now.op("->")(key), Text)
        before = before.op("->")(key)
    changed = then.c.account_id.is_not(None)
    columns = [
        case((changed, None), else_=now).label("slice_now"),
        cast(before, Text).label("slice_then"),
        cast(case((changed, 1), else_=0), Integer).label("slice_changed"),
    ]
    return columns, then


def attributes(scope: Conditions, shape: Shape) -> Any:
    """The slice of each account, in the columns of `sums`."""
    assert shape.slice_by is not None
    if shape.slice_by == "cohort":
        t = REVENUE_MONTH.c
        first = select(t.account_id, func.min(t.month).label("slice_now")).where(
            t.workspace == bindparam("workspace"), t.amount_minor > 0, t.month <= _day("end")
        )
        return first.where(*_narrowed(t.account_id, scope, shape)).group_by(t.account_id)
    columns, then = _attribute(shape.slice_by)
    found = select(ACCOUNT.c.id.label("account_id"), *columns).select_from(
        ACCOUNT.outerjoin(then, then.c.account_id == ACCOUNT.c.id)
    )
    return found.where(*scope, *_narrowed(ACCOUNT.c.id, scope, shape))


def past(field: str) -> Any:
    """What the field was at the start of the period, of accounts where it changed since."""
    t = PAST_ATTRIBUTE.c
    order = func.row_number().over(partition_by=t.account_id, order_by=t.until_at)
    ranked = (
        select(t.account_id, t.value, order.label("place"))
        .where(t.workspace == bindparam("workspace"), t.field == field)
        .where(t.until_at > bindparam("began_at", type_=Instant))
        .subquery("ranked")
    )
    return select(ranked.c.account_id, ranked.c.value).where(ranked.c.place == 1).subquery("past")


def behind(scope: Conditions, shape: Shape) -> Any:
    """The accounts behind one bar, largest first, a page of them."""
    of = classified(scope, shape).c
    if shape.bar == "price_change":
        amount, condition = of.price, of.price > 0
    elif shape.bar == "expansion":
        rest = of.net - of.price
        amount = rest
        condition = or_(and_(of.bar == RISE, rest > 0), of.bar == BELOW_RISE)
    elif shape.bar == "contraction":
        amount, condition = of.net, or_(of.bar == CONTRACTION, of.bar == BELOW_FALL)
    else:
        amount, condition = of.net, of.bar == shape.bar
    size = func.abs(amount)
    return (
        select(of.account_id, of.currency, amount.label("amount_minor"), size.label("size"))
        .where(condition)
        .order_by(size.desc(), of.account_id, of.currency)
        .limit(bindparam("limit", type_=Integer))
        .offset(bindparam("offset", type_=Integer))
    )
