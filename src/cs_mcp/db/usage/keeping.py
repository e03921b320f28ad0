"""Keeping the rollup of usage: slid by a day where nothing else moved, computed again where something did.

A kept row is a function of the facts: whatever order they came in, it equals what `windows` computes from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    String,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    true,
    update,
)

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.planning import by_keys, merging
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Statement
from cs_mcp.db.signals.signals import FeatureRow
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.usage.rollup import (
    account_of,
    core_used,
    heirs,
    of_records,
    recent_users,
    sponsor_department,
    within,
)
from cs_mcp.db.usage.sliding import AS_OF, SLIDE_IN_ORDER, SLIDE_IN_PLACE, WORKSPACE, YESTERDAY, here
from cs_mcp.db.usage.usage import FIGURES, LATEST, SPONSOR_WINDOWS, USAGE_ROLLUP, WINDOWS
from cs_mcp.db.wire import Wire

PAGE: Final = 10_000

_ROLLUP: Final = USAGE_ROLLUP


@dataclass(slots=True)
class Brought:
    """How many rows were moved on by a day, computed again, or had their figures of latest days read again."""

    slid: int = 0
    rebuilt: int = 0
    refreshed: int = 0

    def __add__(self, more: Brought) -> Brought:
        return Brought(self.slid + more.slid, self.rebuilt + more.rebuilt, self.refreshed + more.refreshed)


async def bring_to(work: UnitOfWork, as_of: date) -> Brought:
    """Bring the kept rows of the workspace to a day. A second time changes nothing."""
    brought, after = Brought(), ""
    while True:
        given = {"workspace": work.principal.workspace, "after": after}
        [page] = await (await work.wire()).rows(_PAGE, given)
        if page["last"] is None:
            return brought
        brought += await bring(work, as_of, after, page["last"], size=page["size"])
        after = page["last"]


async def bring(
    work: UnitOfWork,
    as_of: date,
    after: str,
    last: str,
    *,
    sponsored: Sequence[str] | None = None,
    slide: bool = True,
    size: int | None = None,
) -> Brought:
    """Bring the rows of accounts after `after`, up to `last`; without `slide` only those that it cannot bring.

    A sponsor's department is looked up again for those of `sponsored`; for every account where that is not known.
    `size` is how many accounts there are at most, if that is known.
    """
    wire, workspace = await work.wire(), work.principal.workspace
    await hold_usage(wire, workspace, _SHARED)
    here: dict[str, Any] = {"workspace": workspace, "as_of": as_of.toordinal(), "after": after, "last": last}
    here["core"] = core_key_of([row["id"] for row in await wire.rows(_CORE, here)])
    await by_keys(work)
    if sponsored is None:
        await wire.many(_DOUBT_SPONSORS, [here])
    elif sponsored:
        await wire.many(_DOUBT_SPONSORS_OF, [here | {"accounts": list(sponsored)}])
    slid = 0
    if slide and wire.dialect.name == "postgresql":
        # Mostly those are all rows, and nothing else is to be looked for.
        async with merging(work):
            slid = await wire.changed(SLIDE_IN_ORDER, here)
        if slid == size:
            return Brought(slid)
        await by_keys(work)
    [waiting] = await wire.rows(_WAITING, here)
    if waiting["moved"]:
        await wire.many(_DOUBT, [here])
        [waiting] = await wire.rows(_WAITING, here)
    if waiting["stale"]:
        await wire.many(_REBUILD, [here])
    if waiting["touched"]:
        await wire.many(_REFRESH, [here])
    if waiting["to_slide"] and slide:
        await wire.many(SLIDE_IN_PLACE, [here])
        slid = waiting["to_slide"]
    return Brought(slid, waiting["stale"], waiting["touched"])


async def bring_merged(work: UnitOfWork, as_of: date) -> None:
    """Bring the rows of merged records, which count for accounts anywhere."""
    for row in await (await work.wire()).rows(_MERGED, {"workspace": work.principal.workspace}):
        await bring(work, as_of, row["id"][:-1], row["id"])


async def rebuild(work: UnitOfWork, as_of: date) -> Brought:
    """Compute every kept row again from the facts."""
    await hold_usage(await work.wire(), work.principal.workspace)
    await (await work.wire()).many(_DOUBT_ALL, [{"workspace": work.principal.workspace}])
    return await bring_to(work, as_of)


async def hold_usage(wire: Wire, workspace: str, lock: Statement | None = None) -> None:
    """One writer of usage and its rollup at a time: neither may miss what the other is about to commit.

    Several may share the hold (`_SHARED`) while they bring rows of their own.
    """
    if wire.dialect.name != "sqlite":
        await wire.rows(lock or _LOCK, {"workspace": workspace})


def core_key_of(core: list[str]) -> str:
    """What kept rows are marked with, from the ids of the features that are core, in order."""
    return sha256(" ".join(core).encode()).hexdigest()[:16]


_LOCK: Final = Statement(
    lambda: select(func.pg_advisory_xact_lock(literal(4712, Integer), func.hashtext(WORKSPACE)).label("held"))
)
_SHARED: Final = Statement(
    lambda: select(func.pg_advisory_xact_lock_shared(literal(4712, Integer), func.hashtext(WORKSPACE)).label("held"))
)
_PAGE_OF: Final[Any] = (
    select(_ROLLUP.c.account_id)
    .where(_ROLLUP.c.workspace == WORKSPACE, _ROLLUP.c.account_id > bindparam("after"))
    .order_by(_ROLLUP.c.account_id)
    .limit(PAGE)
    .subquery()
)
_PAGE: Final = Statement(lambda: select(func.max(_PAGE_OF.c.account_id).label("last"), func.count().label("size")))


def _core() -> Any:
    feature: Any = FeatureRow.__table__
    core = (feature.c.workspace == WORKSPACE, feature.c.removed_at.is_(None), feature.c.is_core)
    return select(feature.c.id).where(*core).order_by(feature.c.id)


_CORE: Final = Statement(_core)
_DOUBT_ALL: Final = Statement(
    lambda: update(_ROLLUP).where(_ROLLUP.c.workspace == WORKSPACE, ~_ROLLUP.c.stale).values(stale=True)
)


# Rows that cannot be slid: of another day, or of other core features.
_MOVED: Final = and_(
    ~_ROLLUP.c.stale,
    or_(
        _ROLLUP.c.as_of_day.is_(None),
        _ROLLUP.c.as_of_day.not_in([AS_OF, YESTERDAY]),
        _ROLLUP.c.core_key.is_distinct_from(bindparam("core")),
    ),
)


def _doubt_sponsors(among: ColumnElement[bool]) -> Any:
    """Rows whose account's executive sponsor works in another department now."""
    account: Any = AccountRow.__table__
    owner = (
        select(account_of(heirs()))
        .where(account.c.workspace == WORKSPACE, account.c.id == _ROLLUP.c.account_id)
        .correlate(_ROLLUP)
        .scalar_subquery()
    )
    moved = _ROLLUP.c.sponsor_department.is_distinct_from(sponsor_department(owner, AS_OF))
    return update(_ROLLUP).where(here(), among, ~_ROLLUP.c.stale, moved).values(stale=True)


_DOUBT: Final = Statement(lambda: update(_ROLLUP).where(here(), _MOVED).values(stale=True))
_DOUBT_SPONSORS: Final = Statement(lambda: _doubt_sponsors(true()))
_DOUBT_SPONSORS_OF: Final = Statement(lambda: _doubt_sponsors(any_of(_ROLLUP.c.account_id, texts("accounts"))))


def _merged() -> Any:
    merged = heirs()
    same = and_(_ROLLUP.c.workspace == WORKSPACE, _ROLLUP.c.account_id == merged.c.record)
    return select(merged.c.record.label("id")).join_from(merged, _ROLLUP, same).order_by(merged.c.record)


_MERGED: Final = Statement(_merged)
_CAN_SLIDE: Final = and_(~_ROLLUP.c.stale, _ROLLUP.c.as_of_day == YESTERDAY)
_ONLY_TOUCHED: Final = and_(~_ROLLUP.c.stale, _ROLLUP.c.touched, _ROLLUP.c.as_of_day == AS_OF)
_WAITING: Final = Statement(
    lambda: select(
        func.count(case((_ROLLUP.c.stale, 1))).label("stale"),
        func.count(case((_MOVED, 1))).label("moved"),
        func.count(case((_CAN_SLIDE, 1))).label("to_slide"),
        func.count(case((_ONLY_TOUCHED, 1))).label("touched"),
    ).where(here())
)


def _rebuild() -> Any:
    account: Any = AccountRow.__table__
    again = _ROLLUP.alias("again")
    wanted = account.c.id.in_(select(again.c.account_id).where(here(again), again.c.stale))
    # In the order of ids: a row finds no room where it stood empty, and the nights to come read rows in that order.
    found = of_records(AS_OF, heirs(), [wanted]).order_by("account_id").subquery("found")
    return (
        update(_ROLLUP)
        .where(_ROLLUP.c.workspace == WORKSPACE, _ROLLUP.c.account_id == found.c.account_id)
        .values(
            {name: found.c[name] for name in (*FIGURES, "sponsor_department")}
            | {"as_of_day": AS_OF, "stale": False, "touched": False, "core_key": bindparam("core")}
        )
    )


_REBUILD: Final = Statement(_rebuild)


def _refresh() -> Any:
    values = {
        "active_now": recent_users(_ROLLUP.c.account_id, AS_OF),
        "core_used_30": core_used(_ROLLUP.c.account_id, AS_OF),
        "touched": False,
    }
    return update(_ROLLUP).where(here(), _ONLY_TOUCHED).values(values)


_REFRESH: Final = Statement(_refresh)


# -- one figure that comes late -----------------------------------------------------------------------------------
async def shift(wire: Wire, workspace: str, moved: Sequence[Mapping[str, Any]]) -> None:
    """Move kept rows by what single days of their records came to differ: sums, counts, days, latest figures.

    Each of `moved` names `account`, `day` and `department` (None for the whole account), and for each of `SHIFTED`
    the difference as `by_…`, and as `days_…` whether the day tells the metric now and did not before; for each of
    `TOLD_LAST` what is told now, or None.
    """
    await wire.many(_SHIFT, [{"workspace": workspace, **one} for one in moved])


SHIFTED: Final = tuple(dict.fromkeys(metric for metric, *_ in (*WINDOWS.values(), *SPONSOR_WINDOWS.values())))
TOLD_LAST: Final = tuple(dict.fromkeys(metric for metric, *_ in LATEST.values()))


def _shift() -> Any:
    rollup = _ROLLUP
    day = bindparam("day", type_=Integer)
    department = bindparam("department", type_=String)
    whole = department.is_(None)
    values: dict[str, Any] = {"touched": True}
    for windows, of_whom in ((WINDOWS, whole), (SPONSOR_WINDOWS, rollup.c.sponsor_department == department)):
        for name, (metric, first, last, count) in windows.items():
            here = and_(of_whom, within(day, rollup.c.as_of_day, first, last))
            days = rollup.c[count] + bindparam(f"days_{metric}", type_=BigInteger)
            total = func.coalesce(rollup.c[name], 0) + bindparam(f"by_{metric}", type_=BigInteger)
            values[count] = case((here, days), else_=rollup.c[count])
            values[name] = case((and_(here, days > 0), total), else_=rollup.c[name])
    for name, (metric, first, last, told_on) in LATEST.items():
        told = bindparam(f"told_{metric}", type_=BigInteger)
        here = and_(whole, told.is_not(None), within(day, rollup.c.as_of_day, first, last))
        newest = and_(here, or_(rollup.c[told_on].is_(None), rollup.c[told_on] <= day))
        values[name] = case((newest, told), else_=rollup.c[name])
        values[told_on] = case((newest, day), else_=rollup.c[told_on])
    values["first_day"] = case((rollup.c.first_day <= day, rollup.c.first_day), else_=day)
    values["last_day"] = case((rollup.c.last_day >= day, rollup.c.last_day), else_=day)
    mine = (rollup.c.workspace == WORKSPACE, rollup.c.account_id == bindparam("account", type_=String))
    return update(rollup).where(*mine, ~rollup.c.stale, rollup.c.as_of_day >= day).values(values)


_SHIFT: Final = Statement(_shift)
