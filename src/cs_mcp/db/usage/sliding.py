"""Moving the kept rows of usage on by a day: what enters each window is added and what leaves it is taken off."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    String,
    and_,
    bindparam,
    case,
    false,
    func,
    literal,
    literal_column,
    select,
    tuple_,
    update,
)

from cs_mcp.db.facts.terms import fenced
from cs_mcp.db.read_path import Statement
from cs_mcp.db.usage.rollup import RECENT_DAYS, core_total, core_used, mean_of, recent_users
from cs_mcp.db.usage.usage import FIGURES, LATEST, SPONSOR_WINDOWS, USAGE_DAY, USAGE_ROLLUP, WINDOWS
from cs_mcp.domain.signals.usage import WHOLE_ACCOUNT

WORKSPACE: Final = bindparam("workspace", type_=String)
AS_OF: Final = bindparam("as_of", type_=Integer)
YESTERDAY: Final = AS_OF - 1


def here(rollup: Any = USAGE_ROLLUP) -> ColumnElement[bool]:
    return and_(
        rollup.c.workspace == WORKSPACE,
        rollup.c.account_id > bindparam("after"),
        rollup.c.account_id <= bindparam("last"),
    )


def _if_told(old: Any, back: int) -> Any:
    """The day so far back, where the sponsor's department was told of in the window that it leaves."""
    left = [old.c[count] for _, _, last, count in SPONSOR_WINDOWS.values() if last + 1 == back]
    return case((left[0] > 0, AS_OF - back)) if left else AS_OF - back


def _edges(old: Any, joined: Any) -> tuple[Any, dict[tuple[bool, int], Any]]:
    """`joined` with the days at the edges of the windows of `old`: figures by (of the sponsor's department, days back).

    By the key of each day: SQLite finds them in no more steps than it takes to read one range.
    """
    days: dict[tuple[bool, int], Any] = {}
    for of_sponsor, backs in _BACKS.items():
        for back in backs:
            used = USAGE_DAY.alias(f"{'sponsor' if of_sponsor else 'all'}_{back}")
            days[of_sponsor, back] = used.c
            joined = joined.outerjoin(
                used,
                and_(
                    used.c.workspace == old.c.workspace,
                    used.c.account_id == old.c.account_id,
                    used.c.day == (_if_told(old, back) if of_sponsor else AS_OF - back),
                    used.c.department == (old.c.sponsor_department if of_sponsor else WHOLE_ACCOUNT),
                ),
            )
    return joined, days


def _edges_in_order(old: Any) -> tuple[Any, dict[tuple[bool, int], Any]]:
    """The same as one row an account, `old` with them. Each day is read in the order of accounts, to be merged.

    Fenced: PostgreSQL reads a row of its own for whatever an UPDATE joins, where an index has all that is asked for.
    """
    joined: Any = old
    columns: list[Any] = []
    days: dict[tuple[bool, int], dict[str, str]] = {}
    for of_sponsor, backs in _BACKS.items():
        for back in backs:
            name = f"{'sponsor' if of_sponsor else 'all'}_{back}"
            used = USAGE_DAY.alias(name)
            department = old.c.sponsor_department if of_sponsor else WHOLE_ACCOUNT
            same = and_(used.c.account_id == old.c.account_id, used.c.department == department)
            if of_sponsor:  # said once more of the days alone: their index has no others
                same = and_(same, used.c.department != WHOLE_ACCOUNT)
            joined = joined.outerjoin(used, and_(here(used), used.c.day == AS_OF - back, same))
            told = _TOLD[of_sponsor, back]
            columns += [used.c[metric].label(f"{name}_{metric}") for metric in told]
            days[of_sponsor, back] = {metric: f"{name}_{metric}" for metric in told}
    read = select(old.c.account_id, *columns).select_from(joined)
    read = read.where(_waits(old), old.c.core_key == bindparam("core", type_=String)).order_by(old.c.account_id)
    edges = fenced(read, "edges")
    return edges, {edge: {metric: edges.c[name] for metric, name in told.items()} for edge, told in days.items()}


_BACKS: Final = {
    of_sponsor: sorted({edge for _, first, last, _ in windows.values() for edge in (first, last + 1)})
    for of_sponsor, windows in ((False, WINDOWS), (True, SPONSOR_WINDOWS))
}


def _told() -> dict[tuple[bool, int], list[str]]:
    """What is asked of the days at the edges: metrics, and the day itself of those whose day is kept."""
    asked: dict[tuple[bool, int], set[str]] = {(of, back): set() for of, backs in _BACKS.items() for back in backs}
    for of_sponsor, windows in ((False, WINDOWS), (True, SPONSOR_WINDOWS)):
        for metric, first, last, _ in windows.values():
            asked[of_sponsor, first].add(metric)
            asked[of_sponsor, last + 1].add(metric)
    for metric, first, *_ in LATEST.values():
        asked[False, first] |= {metric, "day"}
    return {edge: sorted(metrics) for edge, metrics in asked.items()}


_TOLD: Final = _told()


def _on_by_a_day(old: Any, days: dict[tuple[bool, int], Any]) -> dict[str, Any]:
    """What each of `FIGURES` is: what enters each window is added and what leaves it is taken off."""
    today = days[False, 0]
    new: dict[str, Any] = {
        "first_day": func.coalesce(old.c.first_day, today["day"]),
        "last_day": func.coalesce(today["day"], old.c.last_day),
        "core_used_30": core_used(old.c.account_id, AS_OF),
        "core_total": core_total(),
    }
    for name, (metric, first, last, told_on) in LATEST.items():
        fresh = days[False, first]
        told, still = fresh[metric].is_not(None), old.c[told_on] >= AS_OF - last
        new[name] = case((told, fresh[metric]), (still, old.c[name]))
        new[told_on] = case((told, fresh["day"]), (still, old.c[told_on]))
    for of_sponsor, windows in ((False, WINDOWS), (True, SPONSOR_WINDOWS)):
        for name, (metric, first, last, count) in windows.items():
            enters, leaves = days[of_sponsor, first][metric], days[of_sponsor, last + 1][metric]
            new[count] = old.c[count] + _one(enters) - _one(leaves)
            kept = func.coalesce(old.c[name], 0) - func.coalesce(leaves, 0)
            total = kept + func.coalesce(enters, 0)
            new[name] = case((enters.is_not(None), kept + enters), (old.c[count] > _one(leaves), kept))
            if name == "active_7":
                mean = mean_of(total, RECENT_DAYS)
                new["active_now"] = case((new[count] == RECENT_DAYS, mean), else_=recent_users(old.c.account_id, AS_OF))
    return new


def _waits(old: Any) -> ColumnElement[bool]:
    return and_(here(old), ~old.c.stale, old.c.as_of_day == YESTERDAY)


_MOVED: Final = {"as_of_day": AS_OF, "touched": false()}


def _slide_in_place() -> Any:
    """Row by row: SQLite would keep what an UPDATE … FROM finds in a table of its own, and look each row up again."""
    joined, days = _edges(USAGE_ROLLUP, select(literal_column("1", Integer)).subquery("one"))
    new = _on_by_a_day(USAGE_ROLLUP, days)
    found = select(*(new[name] for name in FIGURES)).select_from(joined).correlate(USAGE_ROLLUP).scalar_subquery()
    figures: dict[Any, Any] = {tuple_(*(USAGE_ROLLUP.c[name] for name in FIGURES)): found}
    return update(USAGE_ROLLUP).where(_waits(USAGE_ROLLUP)).values(figures | _MOVED)


def slid(old: Any) -> Any:
    """Rows of `old` as they are on the day, on SQLite: every column of the table."""
    joined, days = _edges(old, old)
    new = _on_by_a_day(old, days) | _MOVED
    return select(*(new.get(c.key, old.c[c.key]) for c in USAGE_ROLLUP.c)).select_from(joined).where(_waits(old))


def _slide_in_order() -> Any:
    """What can be slid, before anybody looks which rows those are."""
    edges, days = _edges_in_order(USAGE_ROLLUP.alias("old"))
    new = _on_by_a_day(USAGE_ROLLUP, days)
    return (
        update(USAGE_ROLLUP)
        .where(here(), USAGE_ROLLUP.c.account_id == edges.c.account_id)
        .values({name: new[name] for name in FIGURES} | _MOVED)
    )


def _one(value: Any) -> Any:
    return case((value.is_not(None), literal(1, BigInteger)), else_=literal(0, BigInteger))


SLIDE_IN_PLACE: Final = Statement(_slide_in_place)  # SQLite
SLIDE_IN_ORDER: Final = Statement(_slide_in_order)  # PostgreSQL, which takes which features are core as `core`
