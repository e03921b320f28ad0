"""Writing scores: snapshots and the accounts' columns, a batch at a time. What is the same is left alone."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import String, and_, bindparam, case, func, null, or_, select, true, update

from cs_mcp.db.accounts import AccountRow
from cs_mcp.db.fact_terms import AS_OF, BATCH, WORKSPACE, fenced, number, too
from cs_mcp.db.overrides import overrides_on
from cs_mcp.db.read_path import Statement
from cs_mcp.db.score_trend import STORED_TREND, score_before
from cs_mcp.db.scoring import band_of, scored
from cs_mcp.db.scoring_tables import SNAPSHOTS
from cs_mcp.domain.rubric import SLOTS, Rubric

ACCOUNT: Final[Any] = AccountRow.__table__
_RUN: Final[Any] = bindparam("run", type_=String)
_VERSION: Final[Any] = bindparam("rubric", type_=String)
_COLUMNS: Final = ("health_score", "health_band", "health_trend")
_SCORE: Final = ("score_tenths", "band", "computed_band", "confidence", "rules")


class ScoringWrites(NamedTuple):
    """Statements of one rubric, by dialect where they differ. All take a moment, `workspace`, `after` and `upto`."""

    snapshots: dict[str, Statement]
    columns: dict[str, tuple[Statement, ...]]


@lru_cache(maxsize=8)
def scoring_writes(rubric: Rubric, *, rollup: bool) -> ScoringWrites:
    """Built and compiled once a rubric."""
    return ScoringWrites(
        {
            "sqlite": Statement(lambda: _snapshots(rubric, _sqlite_insert(), rollup=rollup)),
            "postgresql": Statement(lambda: _snapshots(rubric, _postgresql_insert(), rollup=rollup)),
        },
        {
            # SQLite writes the indexes, and runs the triggers, of each column that is set, changed or not: few bands
            # change in a night.
            "sqlite": (
                Statement(lambda: _columns(rubric, ("health_score", "health_trend"), newest=rollup)),
                Statement(lambda: _columns(rubric, ("health_band",), newest=rollup)),
            ),
            "postgresql": (Statement(lambda: _columns(rubric, _COLUMNS, newest=rollup)),),
        },
    )


# Each store's own insert, imported only where it is used: a dialect costs start-up time.
def _sqlite_insert() -> Any:
    from sqlalchemy.dialects.sqlite import insert

    return insert(SNAPSHOTS)


def _postgresql_insert() -> Any:
    from sqlalchemy.dialects.postgresql import insert

    return insert(SNAPSHOTS)


def _snapshots(rubric: Rubric, insert: Any, *, rollup: bool) -> Any:
    """Snapshots of the day; one that is there already is rewritten only where something differs."""
    used = len(rubric.measures)
    slots = [f"{letter}{slot}" for letter in "pv" for slot in range(1, used + 1)]
    rows = scored(rubric, BATCH, rollup=rollup).subquery("scored")
    # SQLite reads ON CONFLICT after a SELECT only where a WHERE divides them.
    source: Any = select(
        WORKSPACE, rows.c.account_id, AS_OF, _RUN, _VERSION, *(rows.c[name] for name in (*_SCORE, *slots))
    ).where(true())
    into = insert.from_select(["workspace", "account_id", "on", "run_id", "rubric", *_SCORE, *slots], source)
    new = into.excluded
    unused: dict[str, Any] = {f"{letter}{slot}": null() for letter in "pv" for slot in range(used + 1, SLOTS + 1)}
    told = ("rubric", *_SCORE, *(f"v{slot}" for slot in range(1, used + 1)))
    return into.on_conflict_do_update(
        index_elements=["workspace", "account_id", "on"],
        set_={name: new[name] for name in ("run_id", "rubric", *_SCORE, *slots)} | unused,
        where=or_(*(SNAPSHOTS.c[name].is_distinct_from(new[name]) for name in told)),
    )


def _columns(rubric: Rubric, names: tuple[str, ...], *, newest: bool) -> Any:
    """These of the accounts' score, band and trend from the snapshots of the day, unless there are newer ones.

    `newest` where there are none: no night scores a day to come.
    """
    now, later, holder = SNAPSHOTS.alias("now"), SNAPSHOTS.alias("later"), ACCOUNT.alias("holder")
    newer = select(later.c.on).where(
        later.c.workspace == WORKSPACE, later.c.account_id == now.c.account_id, later.c.on > AS_OF
    )
    by_hand = overrides_on(AS_OF, BATCH)
    band = func.coalesce(
        by_hand.c.band,
        case((by_hand.c.score_tenths.is_not(None), band_of(rubric, by_hand.c.score_tenths))),
        now.c.band,
    )
    before = score_before(WORKSPACE, now.c.account_id, AS_OF, STORED_TREND)
    told: dict[str, Any] = {
        "health_score": number(now.c.score_tenths) / 10.0,
        "health_band": band,
        "health_trend": number(now.c.score_tenths - before) / 10.0,
    }
    source = holder.join(now, and_(now.c.workspace == WORKSPACE, now.c.account_id == holder.c.id))
    few: list[Any] = []
    if "health_band" in names:
        source = source.outerjoin(by_hand, by_hand.c.account_id == now.c.account_id)
    if names == ("health_band",):
        few = [holder.c.health_band.is_distinct_from(band)]
    found = fenced(
        select(now.c.account_id, *(told[name].label(name) for name in names))
        .select_from(source)
        .where(holder.c.workspace == WORKSPACE, BATCH.of(holder.c.id))
        .where(too(BATCH, now.c.account_id), now.c.on == AS_OF, *few)
        .where(*([] if newest else [~newer.exists()])),
        "found",
    )
    return (
        update(ACCOUNT)
        .where(ACCOUNT.c.workspace == WORKSPACE, ACCOUNT.c.id == found.c.account_id, BATCH.of(ACCOUNT.c.id))
        .where(or_(*(ACCOUNT.c[name].is_distinct_from(found.c[name]) for name in names)))
        .values({name: found.c[name] for name in names})
    )
