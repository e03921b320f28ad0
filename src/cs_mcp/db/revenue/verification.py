"""Are the rollups of revenue what the ledger says? They are made again beside it, without writing.

An account's months are compared by account. The sums over the book name no account; those of a whole workspace are
held in memory, which has the size of the years and not of the book.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, String, and_, bindparam, cast, func, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.days import month_start
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Statement
from cs_mcp.db.revenue.subscriptions import ArrMovementRow
from cs_mcp.db.revenue.tables import PAST_ATTRIBUTE, REVENUE_BOOK, REVENUE_COHORT, REVENUE_MONTH, REVENUE_WINDOW
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.revenue.rollup import DIMENSIONS, Course, Courses, Figures, first_day, month_of
from cs_mcp.domain.revenue.subscriptions import MovementKind

Row = Mapping[str, Any]
Asking = Generator[tuple[Statement, dict[str, Any]], Sequence[Row], None]
_Sums = dict[tuple[Any, ...], tuple[int, ...]]

PAGE: Final = 1_000  # accounts
TOLD: Final = 5  # sums of a table told one by one: one month that is wrong is in dozens of windows
_PAST_ALL_IDS: Final = "z" * 32
_ACCOUNT: Final[Any] = AccountRow.__table__
_LEDGER: Final[Any] = ArrMovementRow.__table__
_HERE: Final = bindparam("workspace", type_=String)


def _on_page(table: Any, column: str = "account_id") -> Any:
    its = table.c[column]
    return and_(table.c.workspace == _HERE, its > bindparam("after"), its <= bindparam("last"))


def _ledger() -> Any:
    t = _LEDGER.c
    grouped = (t.account_id, t.currency, month_start(t.on).label("month"), t.kind)
    sums = (
        cast(func.sum(t.amount_minor), BigInteger).label("amount_minor"),
        cast(func.count(), Integer).label("movements"),
    )
    return select(*grouped, *sums).where(_on_page(_LEDGER), t.removed_at.is_(None)).group_by(*grouped)


def _past() -> Any:
    t = PAST_ATTRIBUTE.c
    of_dimensions = any_of(t.field, texts("fields"))
    columns = (t.account_id, t.field, t.until_at, t.value)
    return select(*columns).where(_on_page(PAST_ATTRIBUTE), of_dimensions).order_by(t.until_at)


_ACCOUNTS: Final = Statement(
    lambda: (
        select(_ACCOUNT.c.id, *(_ACCOUNT.c[dimension] for dimension in DIMENSIONS))
        .where(_ACCOUNT.c.workspace == _HERE, _ACCOUNT.c.id > bindparam("after"))
        .order_by(_ACCOUNT.c.id)
        .limit(PAGE)
    )
)
_MONTHS: Final = Statement(lambda: select(*_columns(REVENUE_MONTH)).where(_on_page(REVENUE_MONTH)))
_OF_LEDGER: Final = Statement(_ledger)
_PAST: Final = Statement(_past)


def _columns(table: Any) -> list[Any]:
    return [column for column in table.c if column.key != "workspace"]


def _whole(table: Any) -> Statement:
    return Statement(lambda: select(*_columns(table)).where(table.c.workspace == _HERE))


_KEPT: Final = {table.name: (table, _whole(table)) for table in (REVENUE_BOOK, REVENUE_WINDOW, REVENUE_COHORT)}


def revenue_faults(workspace: str, calendar: Calendar, faults: list[str]) -> Asking:
    """Asks page by page; what differs from the ledger goes into `faults`, an account's months in one line."""
    figures = Figures()
    after = ""
    while after != _PAST_ALL_IDS:
        accounts = yield _ACCOUNTS, {"workspace": workspace, "after": after}
        # The last page takes in what is kept of accounts that are not there.
        last = accounts[-1]["id"] if len(accounts) == PAGE else _PAST_ALL_IDS
        page = {"workspace": workspace, "after": after, "last": last}
        told = _by_key(REVENUE_MONTH, (yield _OF_LEDGER, page))
        kept = _by_key(REVENUE_MONTH, (yield _MONTHS, page))
        _compare_months(kept, told, faults)
        past = yield _PAST, page | {"fields": DIMENSIONS}
        _add(figures, told, _courses(accounts, past, calendar))
        after = last
    for name, anew in _sums_of(figures).items():
        table, statement = _KEPT[name]
        kept = _by_key(table, (yield statement, {"workspace": workspace}))
        wrong = sorted((key for key in {*kept, *anew} if kept.get(key) != anew.get(key)), key=str)
        for key in wrong[:TOLD]:
            of = " ".join(str(part) for part in key if part != "")
            faults.append(f"{name} {of}: {_said(table, kept.get(key), anew.get(key))}")
        if len(wrong) > TOLD:
            faults.append(f"{name}: {len(wrong) - TOLD} sums more")


def _by_key(table: Any, rows: Sequence[Row]) -> _Sums:
    """The sums of each key, without those that came to nothing."""
    keys = [column.key for column in table.primary_key if column.key != "workspace"]
    names = [column.key for column in table.c if not column.primary_key]
    found = {tuple(row[key] for key in keys): tuple(row[name] for name in names) for row in rows}
    return {key: sums for key, sums in found.items() if any(sums)}


def _compare_months(kept: _Sums, told: _Sums, faults: list[str]) -> None:
    wrong: defaultdict[str, list[str]] = defaultdict(list)
    for key in sorted({*kept, *told}, key=str):
        if kept.get(key) != told.get(key):
            account, currency, month, kind = key
            wrong[account].append(
                f"{month:%Y-%m} {kind} {currency}: {_said(REVENUE_MONTH, kept.get(key), told.get(key))}"
            )
    for account, lines in wrong.items():
        more = f"; and {len(lines) - 3} more" if len(lines) > 3 else ""
        faults.append(f"{account}: revenue_month: {'; '.join(lines[:3])}{more}")


def _said(table: Any, kept: tuple[int, ...] | None, told: tuple[int, ...] | None) -> str:
    names = [column.key for column in table.c if not column.primary_key]
    nothing = (0,) * len(names)
    pairs = zip(names, kept or nothing, told or nothing, strict=True)
    return ", ".join(f"{name} is {is_}, the ledger says {should}" for name, is_, should in pairs if is_ != should)


def _courses(accounts: Sequence[Row], past: Sequence[Row], calendar: Calendar) -> dict[str, Courses]:
    ended: defaultdict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for row in past:
        ended[row["account_id"], row["field"]].append((month_of(calendar.day_of(row["until_at"])), row["value"]))
    return {row["id"]: {of: Course(row[of], tuple(ended[row["id"], of])) for of in DIMENSIONS} for row in accounts}


def _add(figures: Figures, told: _Sums, courses: Mapping[str, Courses]) -> None:
    ladders: defaultdict[tuple[str, str], defaultdict[int, dict[MovementKind, int]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for (account, currency, month, kind), (amount, _) in told.items():
        ladders[account, currency][month_of(month)][MovementKind(kind)] = amount
    for (account, currency), ladder in ladders.items():
        figures.add(currency, ladder, courses[account], 1, 0)


def _sums_of(figures: Figures) -> dict[str, _Sums]:
    book = [
        {"dimension": of.dimension, "value": of.value, "month": first_day(month), "currency": currency}
        | dict(zip(("amount_minor", "below_minor", "accounts"), sums, strict=True))
        for (of, currency, month), sums in figures.book().items()
    ]
    windows = [
        {"dimension": of.dimension, "value": of.value, "months": key.months, "last_month": first_day(month)}
        | {"currency": key.currency, "in_cohort": key.in_cohort, "bar": key.bar.value}
        | {"amount_minor": sums[0], "accounts": sums[1]}
        for (of, key, month), sums in figures.windows().items()
    ]
    names = [column.key for column in _columns(REVENUE_COHORT)]
    cohorts = [dict(zip(names, (*key, *sums), strict=True)) for key, sums in figures.cohorts.items()]
    told = ((REVENUE_BOOK, book), (REVENUE_WINDOW, windows), (REVENUE_COHORT, cohorts))
    return {table.name: _by_key(table, rows) for table, rows in told}
