"""Writing scores: snapshots and the accounts' columns, a batch at a time. What is the same is left alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Integer,
    String,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.accounts.scores import ACCOUNT_SCORE, steps_follow
from cs_mcp.db.facts.terms import AS_OF, BATCH, WORKSPACE, fenced, number
from cs_mcp.db.health.overrides import overrides_on
from cs_mcp.db.health.score_trend import stored_before
from cs_mcp.db.health.scoring import band_of, scored
from cs_mcp.db.health.scoring_tables import SNAPSHOTS
from cs_mcp.db.read_path import Statement
from cs_mcp.domain.health.rubric import SLOTS, Rubric

ACCOUNT: Final[Any] = AccountRow.__table__
_RUN: Final[Any] = bindparam("run", type_=String)
_VERSION: Final[Any] = bindparam("rubric", type_=String)
# What accounts carry of a score: what it is found as, by the column that keeps it.
SCORES: Final = {"score": "health_score", "trend": "health_trend"}
BANDS: Final = {"health_band": "health_band"}
_EVERY: Final = (*SCORES.values(), *BANDS.values())
_SCORE: Final = ("score_tenths", "band", "computed_band", "confidence", "rules")


class ScoringWrites(NamedTuple):
    """Statements of one rubric. All take a moment, `workspace`, `after` and `upto`.

    The last of `columns` gives back how many snapshots of the day there are, and how many this run wrote, as
    `accounts` and `written`; those before it give back nothing. `fresh` does the same as all of them where the day
    has no snapshot yet, and fails on one.
    """

    snapshots: Statement
    columns: tuple[Statement, ...]
    fresh: Statement | None = None


@lru_cache(maxsize=8)
def scoring_writes(rubric: Rubric, dialect: str, *, rollup: bool, merged: bool = True) -> ScoringWrites:
    """Built and compiled once a rubric. `merged` is false where no account of the workspace was merged into another."""
    if dialect == "postgresql":
        return ScoringWrites(
            Statement(lambda: _snapshots(rubric, _postgresql_insert(), rollup=rollup, merged=merged)),
            (Statement(lambda: _columns_at_once(rubric, newest=rollup)),),
            Statement(lambda: _fresh(rubric, _postgresql_insert(), newest=rollup, merged=merged)),
        )
    return ScoringWrites(
        Statement(lambda: _snapshots(rubric, sqlite_insert(), rollup=rollup, merged=merged)),
        (
            Statement(lambda: _moved_scores(_of_the_batch(rubric, tuple(SCORES.values())), newest=rollup)),
            Statement(moved_steps),
            Statement(lambda: _moved_bands(_of_the_batch(rubric, tuple(BANDS.values())), newest=rollup)),
            Statement(_written),
        ),
    )


# Each store's own insert, imported only where it is used: a dialect costs start-up time.
def sqlite_insert() -> Any:
    from sqlalchemy.dialects.sqlite import insert

    return insert(SNAPSHOTS)


def _postgresql_insert() -> Any:
    from sqlalchemy.dialects.postgresql import insert

    return insert(SNAPSHOTS)


# Most workspaces have none, and adding what there is not takes a tenth of the time.
ANY_MERGED: Final = Statement(
    lambda: select(
        exists().where(ACCOUNT.c.workspace == WORKSPACE, ACCOUNT.c.merged_into_id.is_not(None)).label("merged")
    )
)


def _snapshots(rubric: Rubric, insert: Any, *, rollup: bool, merged: bool) -> Any:
    """Snapshots of the day; one that is there already is rewritten only where something differs."""
    return replacing(rubric, _scored(rubric, insert, rollup=rollup, merged=merged))


def replacing(rubric: Rubric, into: Any) -> Any:
    """New snapshots in place of those that are there already and differ."""
    new, used = into.excluded, len(rubric.measures)
    unused: dict[str, Any] = {f"{letter}{slot}": null() for letter in "pv" for slot in range(used + 1, SLOTS + 1)}
    compared = ("rubric", *_SCORE, *(f"v{slot}" for slot in range(1, used + 1)))
    return into.on_conflict_do_update(
        index_elements=["workspace", "account_id", "on"],
        set_={name: new[name] for name in ("run_id", "rubric", *_SCORE, *_slots(rubric))} | unused,
        where=or_(*(SNAPSHOTS.c[name].is_distinct_from(new[name]) for name in compared)),
    )


def _scored(rubric: Rubric, insert: Any, *, rollup: bool, merged: bool) -> Any:
    rows = scored(rubric, BATCH, rollup=rollup, merged=merged).subquery("scored")
    return new_snapshots(rubric, insert, rows, rows.c, rows.c)


def new_snapshots(rubric: Rubric, insert: Any, source: Any, score: Any, measures: Any) -> Any:
    """Snapshots of the day from `source`, which has the columns of a score, and those of `measures` by account."""
    told = {name: score[name] if name in score else measures[name] for name in _SCORE}
    told |= {name: measures[name] for name in _slots(rubric)}
    rows = select(WORKSPACE, measures.account_id, AS_OF, _RUN, _VERSION, *told.values()).select_from(source)
    # SQLite reads ON CONFLICT after a SELECT only where a WHERE divides them.
    return insert.from_select(["workspace", "account_id", "on", "run_id", "rubric", *told], rows.where(true()))


def _slots(rubric: Rubric) -> list[str]:
    return [f"{letter}{slot}" for letter in "pv" for slot in range(1, len(rubric.measures) + 1)]


def _fresh(rubric: Rubric, insert: Any, *, newest: bool, merged: bool) -> Any:
    """Snapshots of a day that has none, and the accounts' columns from what was just written."""
    into = _scored(rubric, insert, rollup=newest, merged=merged)
    told = (SNAPSHOTS.c[name] for name in ("account_id", "run_id", "score_tenths", "band"))
    now = select(into.returning(*told).cte("written")).subquery("now")
    found = _found(rubric, now, now, _EVERY).cte("found")
    counted = select(func.count().label("accounts"), func.count().label("written")).select_from(found)
    return _with_moves(counted, found, newest=newest)


def _with_moves(counted: Any, found: Any, *, newest: bool) -> Any:
    moves = (_moved_scores(found, newest=newest).cte("scores"), _moved_bands(found, newest=newest).cte("bands"))
    return counted.add_cte(*moves)


def _of_the_batch(rubric: Rubric, names: tuple[str, ...]) -> Any:
    """These of what the accounts of a batch carry."""
    now, holder = SNAPSHOTS.alias("now"), ACCOUNT.alias("holder")
    source = holder.join(now, _of_the_day(now, holder))
    return fenced(_found(rubric, now, source, names, holder), "found")


def _columns_at_once(rubric: Rubric, *, newest: bool) -> Any:
    """All of them, and what was written: PostgreSQL keeps what it found for both.

    Snapshots are looked up one by one: it would read through what a batch has of all days, to join it by a hash.
    """
    holder = ACCOUNT.alias("holder")
    looked_up = select(SNAPSHOTS).where(_of_the_day(SNAPSHOTS, holder)).offset(literal_column("0", Integer))
    now = looked_up.lateral("now")
    found = _found(rubric, now, holder.join(now, true()), _EVERY, holder).cte("found")
    own = func.count().filter(found.c.run_id == _RUN)
    counted = select(func.count().label("accounts"), own.label("written")).select_from(found)
    return _with_moves(counted, found, newest=newest)


def _written() -> Any:
    # By the accounts: the snapshots of a batch are as many as there were nights.
    own = func.count().filter(SNAPSHOTS.c.run_id == _RUN)
    return (
        select(func.count().label("accounts"), own.label("written"))
        .select_from(ACCOUNT.join(SNAPSHOTS, _of_the_day(SNAPSHOTS, ACCOUNT)))
        .where(ACCOUNT.c.workspace == WORKSPACE, BATCH.of(ACCOUNT.c.id))
    )


def _of_the_day(now: Any, holder: Any) -> ColumnElement[bool]:
    return and_(now.c.workspace == WORKSPACE, now.c.account_id == holder.c.id, now.c.on == AS_OF)


def health_of(rubric: Rubric, now: Any, before: Any, band: Any, tenths: Any) -> dict[str, Any]:
    """What an account carries of a score `now`, with the score of `before`, and an override's `band` and `tenths`."""
    return {
        "health_score": number(now.c.score_tenths) / 10.0,
        "health_band": func.coalesce(band, case((tenths.is_not(None), band_of(rubric, tenths))), now.c.band),
        "health_trend": number(now.c.score_tenths - before) / 10.0,
    }


def _found(rubric: Rubric, now: Any, source: Any, names: tuple[str, ...], holder: Any = None) -> Any:
    """Score, band and trend of accounts from the snapshots of the day: all of `source`, or the batch of `holder`."""
    by_hand = overrides_on(AS_OF, BATCH)
    told = health_of(rubric, now, stored_before(now.c.account_id), by_hand.c.band, by_hand.c.score_tenths)
    if "health_band" in names:
        source = source.outerjoin(by_hand, by_hand.c.account_id == now.c.account_id)
    found = select(now.c.account_id, now.c.run_id, *(told[name].label(name) for name in names)).select_from(source)
    if holder is None:
        return found
    few = [holder.c.health_band.is_distinct_from(told["health_band"])] if names == ("health_band",) else []
    return found.where(holder.c.workspace == WORKSPACE, BATCH.of(holder.c.id), *few)


def _moved_scores(found: Any, *, newest: bool) -> Any:
    return _moved(ACCOUNT_SCORE, ACCOUNT_SCORE.c.account_id, SCORES, found, newest=newest)


def moved_steps() -> Any:
    """Of a batch on SQLite, after its scores."""
    return steps_follow(ACCOUNT_SCORE.c.workspace == WORKSPACE, BATCH.of(ACCOUNT_SCORE.c.account_id))


def _moved_bands(found: Any, *, newest: bool) -> Any:
    return _moved(ACCOUNT, ACCOUNT.c.id, BANDS, found, newest=newest)


def _moved(kept: Any, account: Any, told: Mapping[str, str], found: Any, *, newest: bool) -> Any:
    """Columns as they were `found`, unless there are newer snapshots.

    `newest` where there are none: no night scores a day to come.
    """
    later = SNAPSHOTS.alias("later")
    newer = select(later.c.on).where(
        later.c.workspace == WORKSPACE, later.c.account_id == found.c.account_id, later.c.on > AS_OF
    )
    return (
        update(kept)
        .where(kept.c.workspace == WORKSPACE, account == found.c.account_id, BATCH.of(account))
        .where(or_(*(kept.c[column].is_distinct_from(found.c[name]) for column, name in told.items())))
        .where(*([] if newest else [~newer.exists()]))
        .values({column: found.c[name] for column, name in told.items()})
    )
