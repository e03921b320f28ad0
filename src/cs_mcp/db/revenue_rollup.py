"""Keeping the rollups of the ledger, in the transaction that moved it, by the difference that it makes.

An account's months are summed again from its live movements; what changed of them changes the workspace's sums by as
much. Made from nothing or kept step by step, they are the same (`rebuild`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, bindparam, cast, func, select, update

from cs_mcp.db.accounts import AccountRow
from cs_mcp.db.changes import CHANGES, Act, Captured
from cs_mcp.db.days import month_start
from cs_mcp.db.many_rows import Upsertion
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.revenue_tables import REVENUE_BOOK, REVENUE_MONTH, REVENUE_RESTATEMENT, REVENUE_WINDOW
from cs_mcp.db.subscriptions import ArrMovementRow
from cs_mcp.db.wire import Wire
from cs_mcp.domain.changes import ChangeKind
from cs_mcp.domain.revenue_rollup import Figures, first_day, month_of
from cs_mcp.domain.subscriptions import MovementKind

ACCOUNT: Final[Any] = AccountRow.__table__
LEDGER: Final[Any] = ArrMovementRow.__table__
MOVEMENT: Final = ArrMovementRow.__tablename__
PAGE: Final = 1_000  # accounts

_Months = dict[tuple[str, str], dict[int, dict[MovementKind, tuple[int, int]]]]  # account, currency → month → kind


def _held() -> Any:
    # Two writes to one account's ledger must not each sum it up without the other's rows.
    mine = ACCOUNT.c.workspace == bindparam("in_workspace")
    found: Any = select(ACCOUNT.c.id).where(mine, any_of(ACCOUNT.c.id, texts("accounts"))).order_by(ACCOUNT.c.id)
    return found.with_for_update(key_share=True)


def _kept() -> Any:
    t = REVENUE_MONTH.c
    return select(t.account_id, t.month, t.currency, t.kind, t.amount_minor, t.movements).where(
        t.workspace == bindparam("in_workspace"), any_of(t.account_id, texts("accounts"))
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
_TOLD_BEFORE: Final = Statement(_told_before)
_PAGE_OF_ACCOUNTS: Final = Statement(
    lambda: (
        select(ACCOUNT.c.id)
        .where(ACCOUNT.c.workspace == bindparam("in_workspace"), ACCOUNT.c.id > bindparam("after"))
        .order_by(ACCOUNT.c.id)
        .limit(PAGE)
    )
)
_EMPTIED: Final = (
    Statement(lambda: update(REVENUE_MONTH).where(_of(REVENUE_MONTH)).values(amount_minor=0, movements=0)),
    Statement(lambda: update(REVENUE_BOOK).where(_of(REVENUE_BOOK)).values(amount_minor=0, below_minor=0, accounts=0)),
    Statement(lambda: update(REVENUE_WINDOW).where(_of(REVENUE_WINDOW)).values(amount_minor=0, accounts=0)),
)


def _of(table: Any) -> Any:
    return table.c.workspace == bindparam("in_workspace")


def _added(table: str, *names: str) -> str:
    return ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in names)


_MONTH: Final = Upsertion(REVENUE_MONTH, "amount_minor = excluded.amount_minor, movements = excluded.movements")
_BOOK: Final = Upsertion(REVENUE_BOOK, _added("revenue_book", "amount_minor", "below_minor", "accounts"))
_WINDOW: Final = Upsertion(REVENUE_WINDOW, _added("revenue_window", "amount_minor", "accounts"))
_RESTATED: Final = Upsertion(REVENUE_RESTATEMENT, "at = excluded.at")


async def keep_revenue(
    wire: Wire, workspace: str, entries: Sequence[Captured], act: Act, *, now: datetime, today: date
) -> None:
    """Bring the rollups to where these entries moved the ledger."""
    moved = [entry for entry in entries if entry.entity == MOVEMENT]
    if not moved:
        return
    accounts = {entry.account_id for entry in moved if entry.account_id is not None}
    accounts |= {left for entry in moved if (left := (entry.before or {}).get("account_id")) is not None}
    ordered = sorted(accounts)
    changed: dict[str, set[int]] = {}
    for start in range(0, len(ordered), PAGE):
        changed |= await _bring(wire, workspace, ordered[start : start + PAGE])
    await _mark(wire, workspace, moved, changed, act, now, today)


async def rebuild(wire: Wire, workspace: str) -> int:
    """Make all rollups of the workspace anew from its ledger. How many accounts it has.

    When a figure was restated is told by the history, not by the ledger: those marks stay.
    """
    for statement in _EMPTIED:
        await wire.many(statement, [{"in_workspace": workspace}])
    count, after = 0, ""
    while page := await wire.rows(_PAGE_OF_ACCOUNTS, {"in_workspace": workspace, "after": after}):
        accounts = [row["id"] for row in page]
        await _bring(wire, workspace, accounts)
        count, after = count + len(accounts), accounts[-1]
    return count


async def _bring(wire: Wire, workspace: str, accounts: Sequence[str]) -> dict[str, set[int]]:
    """Sum up the accounts' months anew; the months that changed, by account."""
    given = {"in_workspace": workspace, "accounts": accounts}
    await wire.rows(_HELD, given)
    before, after = _by_account(await wire.rows(_KEPT, given)), _by_account(await wire.rows(_SUMMED, given))
    figures = Figures()
    rows: list[tuple[str, str, date, str, int, int]] = []
    changed: defaultdict[str, set[int]] = defaultdict(set)
    for key in sorted({*before, *after}):
        account, currency = key
        old, new = before.get(key, {}), after.get(key, {})
        differing = [month for month in {*old, *new} if _live(old, month) != _live(new, month)]
        if not differing:
            continue
        changed[account].update(differing)
        for month in differing:
            there, told = old.get(month, {}), new.get(month, {})
            for kind in {*there, *told}:
                amount, movements = told.get(kind, (0, 0))
                if (amount, movements) != there.get(kind):
                    rows.append((account, currency, first_day(month), kind.value, amount, movements))
        since = min(differing)
        figures.add(currency, _amounts(old), -1, since)
        figures.add(currency, _amounts(new), 1, since)
    if rows:
        names = ("account_id", "currency", "month", "kind", "amount_minor", "movements")
        await _write(wire, workspace, _MONTH, names, sorted(rows))
        await _add(wire, workspace, figures)
    return changed


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
    book = [(first_day(month), currency, *sums) for (currency, month), sums in figures.book.items() if any(sums)]
    if book:
        names = ("month", "currency", "amount_minor", "below_minor", "accounts")
        await _write(wire, workspace, _BOOK, names, sorted(book))
    windows: list[tuple[Any, ...]] = []
    for (length, currency, in_cohort, bar), month, amount, count in figures.windows.sums():
        windows.append((length, first_day(month), currency, in_cohort, bar.value, amount, count))
    if windows:
        names = ("months", "last_month", "currency", "in_cohort", "bar", "amount_minor", "accounts")
        # In one order, so that two writes never wait for each other's rows.
        await _write(wire, workspace, _WINDOW, names, sorted(windows))


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
