"""Keeping the forecast of a day: one row a renewal. What is the same is left alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import (
    Date,
    Integer,
    SmallInteger,
    String,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    text,
)

from cs_mcp.db.facts.conditions import days_before
from cs_mcp.db.read_path import Statement
from cs_mcp.db.renewals.scope import ACCOUNT, RENEWAL
from cs_mcp.db.revenue.forecast_history import CLOSED_BY_BAND, history_given
from cs_mcp.db.revenue.forecast_lines import ON, WORKSPACE, is_closed, lines_as_they_stand, odds_given
from cs_mcp.db.revenue.forecast_tables import SNAPSHOTS
from cs_mcp.db.scoped import live
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.revenue.forecast import MILESTONES, Odds

FIRST_LOOK_BACK: Final = timedelta(days=14)  # so much older milestones count on the first night there is
_SINCE: Final = bindparam("since", type_=Date)
_PREVIOUS: Final = bindparam("previous", type_=Date)
_RUN: Final[Any] = bindparam("run", type_=String)
# As a night's scoring does: on tables just imported PostgreSQL takes twenty thousand rows for one.
_JOIN_WHOLE_TABLES: Final = ("set local enable_nestloop = off", "set local jit = off")
_JOIN_FREELY: Final = "set local enable_nestloop = on"

_LAST_BEFORE: Final = Statement(
    lambda: select(func.max(SNAPSHOTS.c.on).label("on")).where(SNAPSHOTS.c.workspace == WORKSPACE, SNAPSHOTS.c.on < ON)
)
_COUNTED: Final = Statement(
    lambda: (
        select(func.count().label("renewals"))
        .select_from(SNAPSHOTS)
        .where(SNAPSHOTS.c.workspace == WORKSPACE, SNAPSHOTS.c.on == ON)
    )
)


def _milestone() -> Any:
    """The days before its close that a renewal has come to since the last night; the fewest after a long pause."""
    closes, is_open = RENEWAL.c.closes_on, ~is_closed(RENEWAL.c.stage)
    come = [
        (and_(is_open, days_before(closes, days) > _PREVIOUS, days_before(closes, days) <= ON), literal(days, Integer))
        for days in sorted(MILESTONES)
    ]
    return cast(case(*come, else_=null()), SmallInteger).label("milestone")


def _keep(insert: Any) -> Any:
    wanted = [*live(RENEWAL), ACCOUNT.c.workspace == WORKSPACE]
    wanted.append(or_(~is_closed(RENEWAL.c.stage), RENEWAL.c.closes_on >= _SINCE))
    source = lines_as_they_stand(wanted).add_columns(
        WORKSPACE.label("workspace"), ON.label("on"), _RUN.label("run_id"), _milestone()
    )
    names = [column.key for column in source.selected_columns]
    into: Any = insert.from_select(names, source)
    kept: Any = SNAPSHOTS.c
    told = [name for name in names if name not in ("workspace", "on", "renewal_id", "run_id")]
    return into.on_conflict_do_update(
        index_elements=["workspace", "on", "renewal_id"],
        set_={name: into.excluded[name] for name in ("run_id", *told)},
        where=or_(*(kept[name].is_distinct_from(into.excluded[name]) for name in told)),
    )


# Each store's own insert, imported only where it is used: a dialect costs start-up time.
def _sqlite_keep() -> Any:
    from sqlalchemy.dialects.sqlite import insert

    return _keep(insert(SNAPSHOTS))


def _postgresql_keep() -> Any:
    from sqlalchemy.dialects.postgresql import insert

    return _keep(insert(SNAPSHOTS))


_KEEP: Final = {"sqlite": Statement(_sqlite_keep), "postgresql": Statement(_postgresql_keep)}


async def closed_by_band(work: UnitOfWork, today: date) -> dict[Band, tuple[int, int]]:
    """(won, closed) renewals of each band."""
    rows = await (await work.wire()).rows(CLOSED_BY_BAND, _here(work) | history_given(today))
    return {Band(row["band"]): (row["won"], row["closed"]) for row in rows}


async def keep(work: UnitOfWork, on: date, odds: Mapping[Band, Odds], *, since: date) -> int:
    """Keep every open renewal and those due since a day as they stand; how many the day has now."""
    wire, given = await work.wire(), _here(work) | {"on": on}
    [last] = await wire.rows(_LAST_BEFORE, given)
    moment: dict[str, Any] = {"since": since, "previous": last["on"] or on - FIRST_LOOK_BACK, "run": work.act.run_id}
    if wire.dialect.name == "postgresql":
        for setting in _JOIN_WHOLE_TABLES:
            await work.session.execute(text(setting))
    await wire.many(_KEEP[wire.dialect.name], [given | moment | odds_given(odds)])
    if wire.dialect.name == "postgresql":
        await work.session.execute(text(_JOIN_FREELY))
    [counted] = await wire.rows(_COUNTED, given)
    return counted["renewals"]


def _here(work: UnitOfWork) -> dict[str, Any]:
    return {"workspace": work.principal.workspace}
