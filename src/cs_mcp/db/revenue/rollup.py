"""Keeping the rollups of the ledger, in the transaction that moved it, by the difference that it makes.

An account's months are summed again from its live movements; what changed of them changes the workspace's sums by as
much. Made from nothing or kept step by step, they are the same (`rebuild`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, bindparam, cast, func, select, update

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.days import month_start
from cs_mcp.db.history.changes import CHANGES, Act, Captured
from cs_mcp.db.many_rows import Upsertion
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.revenue.subscriptions import ArrMovementRow
from cs_mcp.db.revenue.tables import (
    PAST_ATTRIBUTE,
    REVENUE_BOOK,
    REVENUE_COHORT,
    REVENUE_MONTH,
    REVENUE_RESTATEMENT,
    REVENUE_WINDOW,
)
from cs_mcp.db.wire import Wire
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.changes import ChangeKind
from cs_mcp.domain.revenue.rollup import DIMENSIONS, Course, Figures, first_day, month_of
from cs_mcp.domain.revenue.subscriptions import MovementKind

ACCOUNT: Final[Any] = AccountRow.__table__
LEDGER: Final[Any] = ArrMovementRow.__table__
MOVEMENT: Final = ArrMovementRow.__tablename__
PAGE: Final = 1_000  # accounts
_NEVER: Final = 10**9  # later than any month

_Months = dict[tuple[str, str], dict[int, dict[MovementKind, tuple[int, int]]]]  # account, currency → month → kind


def _held() -> Any:
    # Two writes to one account's ledger must not each sum it up without the other's rows.
    mine = ACCOUNT.c.workspace == bindparam("in_workspace")
    found: Any = select(ACCOUNT.c.id, ACCOUNT.c.segment, ACCOUNT.c.tier).where(
        mine, any_of(ACCOUNT.c.id, texts("accounts"))
    )
    return found.order_by(ACCOUNT.c.id).with_for_update(key_share=True)


def _kept() -> Any:
    t = REVENUE_MONTH.c
    return select(t.account_id, t.month, t.currency, t.kind, t.amount_minor, t.movements).where(
        t.workspace == bindparam("in_workspace"), any_of(t.account_id, texts("accounts"))
    )


def _past() -> Any:
    t = PAST_ATTRIBUTE.c
    return (
        select(t.account_id, t.field, t.until_at, t.value)
        .where(t.workspace == bindparam("in_workspace"), any_of(t.field, texts("fields")))
        .where(any_of(t.account_id, texts("accounts")))
        .order_by(t.until_at)
    )


def _summed() -> Any:
    t = LEDGER.c
    grouped = (t.account_id, month_start(t.on).label("month"), t.currency, t.kind)
    return (
        select(
            *grouped,
            cast(func.sum(t.amount_minor), BigInteger).label("amount_minor"),
            cast(func.count(), Integer).label("movements"),
        )
        .where(t.workspace == bindparam("in_workspace"), t.removed_at.is_(None))
        .where(any_of(t.account_id, texts("accounts")))
        .group_by(*grouped)
    )


def _told_before() -> Any:
    """Accounts whose ledger an earlier write has told something of."""
    t = CHANGES.c
    return (
        select(t.account_id)
        .where(t.workspace == bindparam("in_workspace"), any_of(t.account_id, texts("accounts")))
        .where(t.entity == MOVEMENT, t.change_id != bindparam("change"))
        .distinct()
    )


_HELD: Final = Statement(_held)
_KEPT: Final = Statement(_kept)
_SUMMED: Final = Statement(_summed)
_PAST: Final = Statement(_past)
_TOLD_BEFORE: Final = Statement(_told_before)
_PAGE_OF_ACCOUNTS: Final = Statement(
    lambda: (
        select(ACCOUNT.c.id)
        .where(ACCOUNT.c.workspace == bindparam("in_workspace"), ACCOUNT.c.id > bindparam("after"))
        .order_by(ACCOUNT.c.id)
        .limit(PAGE)
    )
)
_OF_COHORTS: Final = ("accounts", "arr_minor", "kept_minor", "initial_accounts", "initial_minor")
_EMPTIED: Final = (
    Statement(lambda: update(REVENUE_MONTH).where(_of(REVENUE_MONTH)).values(amount_minor=0, movements=0)),
    Statement(lambda: update(REVENUE_BOOK).where(_of(REVENUE_BOOK)).values(amount_minor=0, below_minor=0, accounts=0)),
    Statement(lambda: update(REVENUE_WINDOW).where(_of(REVENUE_WINDOW)).values(amount_minor=0, accounts=0)),
    Statement(lambda: update(REVENUE_COHORT).where(_of(REVENUE_COHORT)).values(dict.fromkeys(_OF_COHORTS, 0))),
)


def _of(table: Any) -> Any:
    return table.c.workspace == bindparam("in_workspace")


def _added(table: str, *names: str) -> str:
    return ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in names)


_MONTH: Final = Upsertion(REVENUE_MONTH, "amount_minor = excluded.amount_minor, movements = excluded.movements")
_BOOK: Final = Upsertion(REVENUE_BOOK, _added("revenue_book", "amount_minor", "below_minor", "accounts"))
_WINDOW: Final = Upsertion(REVENUE_WINDOW, _added("revenue_window", "amount_minor", "accounts"))
_COHORT: Final = Upsertion(REVENUE_COHORT, _added("revenue_cohort", *_OF_COHORTS))
_RESTATED: Final = Upsertion(REVENUE_RESTATEMENT, "at = excluded.at")


async def keep_revenue(
    wire: Wire,
    workspace: str,
    entries: Sequence[Captured],
    act: Act,
    *,
    now: datetime,
    calendar: Calendar,
    created: Collection[str],
) -> None:
    """Bring the rollups to where these entries moved the ledger, or accounts from one slice to another.

    Called before `keep_attributes`. `created`: accounts of this write, which were nothing before it.
    """
    moved = [entry for entry in entries if entry.entity == MOVEMENT]
    passed: dict[str, dict[str, str]] = {}  # what attributes were before these entries
    for entry in entries:
        if entry.entity == "account" and entry.kind is not ChangeKind.created and entry.before is not None:
            for dimension in DIMENSIONS:
                if dimension in entry.before:
                    passed.setdefault(entry.entity_id, {}).setdefault(dimension, entry.before[dimension])
    if not moved and not passed:
        return
    accounts = {entry.account_id for entry in moved if entry.account_id is not None}
    accounts |= {left for entry in moved if (left := (entry.before or {}).get("account_id")) is not None}
    ordered = sorted(accounts | passed.keys())
    changed: dict[str, set[int]] = {}
    keeping = _Keeping(wire, workspace, calendar, now, passed, created)
    for start in range(0, len(ordered), PAGE):
        changed |= await keeping.bring(ordered[start : start + PAGE])
    await _mark(wire, workspace, moved, changed, act, now, calendar.today(now))


async def rebuild(wire: Wire, workspace: str, *, now: datetime, calendar: Calendar) -> int:
    """Make all rollups of the workspace anew from its ledger. How many accounts it has.

    When a figure was restated is told by the history, not by the ledger: those marks stay.
    """
    for statement in _EMPTIED:
        await wire.many(statement, [{"in_workspace": workspace}])
    keeping = _Keeping(wire, workspace, calendar, now, {}, ())
    count, after = 0, ""
    while page := await wire.rows(_PAGE_OF_ACCOUNTS, {"in_workspace": workspace, "after": after}):
        accounts = [row["id"] for row in page]
        await keeping.bring(accounts)
        count, after = count + len(accounts), accounts[-1]
    return count


@dataclass(slots=True)
class _Keeping:
    wire: Wire
    workspace: str
    calendar: Calendar
    now: datetime
    passed: Mapping[str, Mapping[str, str]]
    created: Collection[str]

    async def bring(self, accounts: Sequence[str]) -> dict[str, set[int]]:
        """Sum up the accounts' months anew; the months whose sums changed, by account."""
        given = {"in_workspace": self.workspace, "accounts": accounts}
        held = {row["id"]: row for row in await self.wire.rows(_HELD, given)}
        past = await self.wire.rows(_PAST, given | {"fields": DIMENSIONS})
        before = _by_account(await self.wire.rows(_KEPT, given))
        after = _by_account(await self.wire.rows(_SUMMED, given))
        were, are = self._courses(held, past)
        figures = Figures()
        rows: list[tuple[str, str, date, str, int, int]] = []
        changed: defaultdict[str, set[int]] = defaultdict(set)
        this_month = month_of(self.calendar.day_of(self.now))
        for key in sorted({*before, *after}):
            account, currency = key
            old, new = before.get(key, {}), after.get(key, {})
            differing: list[int] = []
            if old != new:
                differing = [month for month in {*old, *new} if _live(old, month) != _live(new, month)]
            since = min(differing, default=_NEVER)
            if were[account] != are[account]:
                since = 0 if account in self.created else min(since, this_month)
            if since == _NEVER:
                continue
            if not differing:
                figures.pass_over(currency, _amounts(new), were[account], are[account], since)
                continue
            changed[account].update(differing)
            for month in differing:
                there, told = old.get(month, {}), new.get(month, {})
                for kind in {*there, *told}:
                    amount, movements = told.get(kind, (0, 0))
                    if (amount, movements) != there.get(kind):
                        rows.append((account, currency, first_day(month), kind.value, amount, movements))
            figures.add(currency, _amounts(old), were[account], -1, since)
            figures.add(currency, _amounts(new), are[account], 1, since)
        if rows:
            names = ("account_id", "currency", "month", "kind", "amount_minor", "movements")
            await _write(self.wire, self.workspace, _MONTH, names, sorted(rows))
        await _add(self.wire, self.workspace, figures)
        return changed

    def _courses(
        self, held: Mapping[str, Row], past: Sequence[Row]
    ) -> tuple[dict[str, dict[str, Course]], dict[str, dict[str, Course]]]:
        """The course of each attribute before this write's entries, and with them."""
        ended: defaultdict[str, defaultdict[str, list[tuple[int, str]]]] = defaultdict(lambda: defaultdict(list))
        at_once: set[tuple[str, str]] = set()  # changed at this very instant before: the first value told stands
        for row in past:
            until = month_of(self.calendar.day_of(row["until_at"]))
            ended[row["account_id"]][row["field"]].append((until, row["value"]))
            if row["until_at"] == self.now:
                at_once.add((row["account_id"], row["field"]))
        were: dict[str, dict[str, Course]] = {}
        are: dict[str, dict[str, Course]] = {}
        # Of accounts that never changed before: one for all that are alike.
        alike: dict[tuple[Any, ...], tuple[dict[str, Course], dict[str, Course]]] = {}
        this_month = month_of(self.calendar.day_of(self.now))
        for account, row in held.items():
            left, made = self.passed.get(account, {}), account in self.created
            likeness = (made, *[row[name] for name in DIMENSIONS], *[left.get(name) for name in DIMENSIONS])
            if account not in ended and likeness in alike:
                were[account], are[account] = alike[likeness]
                continue
            before, after = were[account], are[account] = dict[str, Course](), dict[str, Course]()
            for dimension in DIMENSIONS:
                told = tuple(ended[account][dimension]) if account in ended else ()
                before[dimension] = Course(left.get(dimension, row[dimension]), told)
                if dimension in left and not made and (account, dimension) not in at_once:
                    told = (*told, (this_month, left[dimension]))
                after[dimension] = Course(row[dimension], told)
            if account not in ended:
                alike[likeness] = before, after
        return were, are


def _by_account(rows: Sequence[Row]) -> _Months:
    found: defaultdict[tuple[str, str], defaultdict[int, dict[MovementKind, tuple[int, int]]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for row in rows:
        months = found[row["account_id"], row["currency"]]
        months[month_of(row["month"])][MovementKind(row["kind"])] = (row["amount_minor"], row["movements"])
    return {key: dict(months) for key, months in found.items()}


def _live(months: dict[int, dict[MovementKind, tuple[int, int]]], month: int) -> Any:
    return {kind: sums for kind, sums in months.get(month, {}).items() if sums != (0, 0)}


def _amounts(months: dict[int, dict[MovementKind, tuple[int, int]]]) -> dict[int, dict[MovementKind, int]]:
    return {month: {kind: sums[0] for kind, sums in kinds.items()} for month, kinds in months.items()}


async def _add(wire: Wire, workspace: str, figures: Figures) -> None:
    book = [(*of, first_day(month), currency, *sums) for (of, currency, month), sums in figures.book().items()]
    if book:
        names = ("dimension", "value", "month", "currency", "amount_minor", "below_minor", "accounts")
        await _write(wire, workspace, _BOOK, names, sorted(book))
    windows = [
        (*of, key.months, first_day(month), key.currency, key.in_cohort, key.bar.value, *sums)
        for (of, key, month), sums in figures.windows().items()
    ]
    if windows:
        names = (
            "dimension",
            "value",
            "months",
            "last_month",
            "currency",
            "in_cohort",
            "bar",
            "amount_minor",
            "accounts",
        )
        # In one order, so that two writes never wait for each other's rows.
        await _write(wire, workspace, _WINDOW, names, sorted(windows))
    cohorts = [(*key, *sums) for key, sums in figures.cohorts.items() if any(sums)]
    if cohorts:
        await _write(wire, workspace, _COHORT, ("currency", "started", "month", *_OF_COHORTS), sorted(cohorts))


async def _write(
    wire: Wire, workspace: str, insertion: Upsertion, names: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
    await wire.insert(insertion, {"workspace": [workspace] * len(rows)} | dict(zip(names, columns, strict=True)))


# -- what was told otherwise before -----------------------------------------------------------------------------
async def _mark(
    wire: Wire,
    workspace: str,
    moved: Sequence[Captured],
    changed: dict[str, set[int]],
    act: Act,
    now: datetime,
    today: date,
) -> None:
    """Note the days whose figures are no longer what was told of them: something was taken back, or came late."""
    days: set[tuple[str, date]] = set()
    for entry in moved:
        if entry.account_id is None or entry.account_id not in changed:
            continue
        if entry.kind is ChangeKind.created and entry.after is not None:
            days.add((entry.account_id, date.fromisoformat(entry.after["on"])))
        else:
            days |= {(entry.account_id, first_day(month)) for month in changed[entry.account_id]}
    late = {(account, day) for account, day in days if day < today}
    if not late:
        return
    known = await _known_before(wire, workspace, {account for account, _ in late}, act)
    rows = sorted((account, day, now) for account, day in late if account in known)
    if rows:
        await _write(wire, workspace, _RESTATED, ("account_id", "on", "at"), rows)


async def _known_before(wire: Wire, workspace: str, accounts: Collection[str], act: Act) -> set[str]:
    """A first telling restates nothing, however old what it tells: an import of past years."""
    given = {"in_workspace": workspace, "accounts": sorted(accounts), "change": act.change_id}
    return {row["account_id"] for row in await wire.rows(_TOLD_BEFORE, given)}
