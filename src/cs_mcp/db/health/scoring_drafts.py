"""A batch of a night on SQLite in three steps, so that the middle one runs beside the writing of other batches.

What the batch is scored from is brought to the day; it is weighed in a draft, and judged there or by the writer; it is
written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.accounts.scores import ACCOUNT_SCORE
from cs_mcp.db.base import Id
from cs_mcp.db.drafts import Draft, of_schema, of_store, of_writer
from cs_mcp.db.facts.keeping import renew
from cs_mcp.db.facts.terms import AS_OF, BATCH, WORKSPACE, fenced
from cs_mcp.db.health.overrides import overrides_on
from cs_mcp.db.health.score_trend import stored_before
from cs_mcp.db.health.scoring import bands_of, figures_of, weighed
from cs_mcp.db.health.scoring_writes import (
    ANY_MERGED,
    BANDS,
    SCORES,
    health_of,
    moved_steps,
    new_snapshots,
    replacing,
    sqlite_insert,
)
from cs_mcp.db.read_path import Statement
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.usage.keeping import bring
from cs_mcp.db.usage.sliding import here, slid
from cs_mcp.db.usage.usage import USAGE_ROLLUP
from cs_mcp.db.wire import Wire
from cs_mcp.domain.health.rubric import SLOTS, Rubric

ACCOUNT: Final[Any] = AccountRow.__table__
_DRAFTS: Final = MetaData()
# One row an account in the order of their ids: what a score is judged from.
_WEIGHED: Final = Table(
    "weighed",
    _DRAFTS,
    Column("id", Integer, primary_key=True),
    Column("account_id", Id, nullable=False),
    # The account's row, and its band.
    Column("place", Integer, nullable=False),
    Column("health_band", String(8)),
    *(Column(name, Integer, nullable=False) for name in ("told", "every_weight", "reds", "yellows")),
    Column("rules", Text),
    *(Column(f"p{slot}", Integer) for slot in range(1, SLOTS + 1)),
    *(Column(f"v{slot}", Double) for slot in range(1, SLOTS + 1)),
)
# And what it is.
_JUDGED: Final = Table(
    "judged",
    _DRAFTS,
    Column("id", Integer, primary_key=True),  # the account's in `weighed`
    Column("workspace", Id, nullable=False),
    Column("account_id", Id, nullable=False),
    Column("place", Integer, nullable=False),
    Column("score_tenths", Integer),
    Column("confidence", Integer, nullable=False),
    *(Column(name, String(8), nullable=False) for name in ("band", "computed_band", "health_band")),
    *(Column(name, Double) for name in ("health_score", "health_trend")),
    *(Column(name, Boolean, nullable=False) for name in ("moves", "turns")),  # whether the account's score, band differ
)
DRAFTED: Final = (USAGE_ROLLUP, _WEIGHED, _JUDGED)
WRITERS: Final = (_JUDGED,)


async def prepare(work: UnitOfWork, as_of: date, given: Mapping[str, Any]) -> None:
    """Renew what waits or is due, and bring usage that cannot be slid; the rest is slid in the draft."""
    sponsored = await renew(await work.wire(), given)
    await bring(work, as_of, given["after"], given["upto"], sponsored=sponsored, slide=False)


async def score(draft: Draft, rubric: Rubric, given: Mapping[str, Any], judges: Callable[[], bool]) -> bool:
    """Slide the usage of a batch and weigh it, from what was committed last; judge it too where that is wanted then.

    Whether it was judged.
    """
    await draft.clear()
    for statement in (_SLID, _BROUGHT, _MERGED):
        await draft.wire.many(statement, [_by_day(given)])
    [found] = await draft.wire.rows(ANY_MERGED, given)
    await draft.wire.many(_weighing(rubric, merged=found["merged"]), [given])
    if judged := judges():
        await draft.wire.many(_judging(rubric), [given])
    return judged


async def take_over(
    work: UnitOfWork, draft: Draft, rubric: Rubric, given: Mapping[str, Any], *, judged: bool, fresh: bool
) -> tuple[int, int]:
    """Write what was drafted, and judge it first unless it is `judged`.

    How many accounts are customers, and how many of their snapshots differ. `fresh` where the day is likely to have no
    snapshot of them yet.
    """
    wire, taking = await work.wire(), _taking(rubric, draft.schema, judged=judged)
    await wire.many(taking.usage, [_by_day(given)])
    if not judged:
        await wire.many(_NONE_JUDGED, [{}])
        await wire.many(taking.judge, [given])
    for columns in (taking.scores, _STEPS, taking.bands):
        await wire.many(columns, [given])
    # Last: it writes most, and once as many pages wait for the commit as the cache holds, each look at another one
    # reads that again.
    await _put(wire, taking, given, fresh=fresh)
    [written] = await wire.rows(_CHANGED, {})
    [counted] = await wire.rows(taking.counted, {})
    return counted["accounts"], written["rows"]


async def _put(wire: Wire, taking: _Taking, given: Mapping[str, Any], *, fresh: bool) -> None:
    if fresh:
        try:
            await wire.many(taking.fresh, [given])
        except sqlite3.IntegrityError:
            pass  # another run came meanwhile; the statement wrote nothing
        else:
            return
    await wire.many(taking.snapshots, [given])


def _by_day(given: Mapping[str, Any]) -> dict[str, Any]:
    """What statements of usage take, which count days."""
    return {name: given[name] for name in ("workspace", "after")} | {
        "last": given["upto"],
        "as_of": given["as_of_day"],
    }


# -- into the draft -----------------------------------------------------------------------------------------------
_CARRIED: Final = (
    literal_column("account.rowid", Integer).label("place"),
    ACCOUNT.c.health_band,
)


@lru_cache(maxsize=8)
def _weighing(rubric: Rubric, *, merged: bool) -> Statement:
    return Statement(lambda: _weigh(rubric, merged=merged))


@lru_cache(maxsize=8)
def _judging(rubric: Rubric) -> Statement:
    return Statement(lambda: _judge(rubric, _WEIGHED, _JUDGED))


def _weigh(rubric: Rubric, *, merged: bool) -> Any:
    rows = weighed(rubric, BATCH, rollup=True, merged=merged, carried=_CARRIED).subquery("weighing")
    names = [column.key for column in rows.c if column.key != "segment"]
    return insert(_WEIGHED).from_select(names, select(*(rows.c[name] for name in names)))


# Joined to a parameter, SQLite reads through all accounts in each batch for a filter to try rows by first.
_OF_ROW: Final = WORKSPACE.label("workspace")


def _judge(rubric: Rubric, weighed: Any, into: Any) -> Any:
    row, by_hand = weighed.c, overrides_on(AS_OF, BATCH)
    before = stored_before(row.account_id).label("before")
    own = (row.id, _OF_ROW, row.account_id, row.place, row.health_band.label("was"), row.reds, row.yellows)
    figures = fenced(select(*own, *figures_of(rubric, row), before).order_by(row.id), "figures")
    judged = fenced(select(*figures.c, *bands_of(rubric, figures.c)), "judged")
    told = health_of(rubric, judged, by_hand, judged.c.before)
    same = ("id", "workspace", "account_id", "place", "score_tenths", "confidence", "band", "computed_band")
    values = {name: judged.c[name] for name in same}
    values |= told | {
        "moves": or_(*(ACCOUNT_SCORE.c[kept].is_distinct_from(told[name]) for kept, name in SCORES.items())),
        "turns": judged.c.was.is_distinct_from(told["health_band"]),
    }
    mine = and_(ACCOUNT_SCORE.c.workspace == judged.c.workspace, ACCOUNT_SCORE.c.account_id == judged.c.account_id)
    source = judged.outerjoin(ACCOUNT_SCORE, mine).outerjoin(by_hand, by_hand.c.account_id == judged.c.account_id)
    rows = select(*values.values()).select_from(source)
    return insert(into).from_select(list(values), rows)


_EVERY: Final = [column.key for column in USAGE_ROLLUP.c]


def _slid() -> Any:
    return insert(USAGE_ROLLUP).from_select(_EVERY, slid(of_store(USAGE_ROLLUP)))


def _brought() -> Any:
    kept = of_store(USAGE_ROLLUP)
    rows = select(*kept.c).where(here(kept), kept.c.as_of_day == bindparam("as_of", type_=Integer))
    return insert(USAGE_ROLLUP).from_select(_EVERY, rows)


def _merged() -> Any:
    """What counts for accounts anywhere: brought before the first batch."""
    kept, merged = of_store(USAGE_ROLLUP), ACCOUNT.alias("merged")
    same = and_(kept.c.workspace == WORKSPACE, kept.c.account_id == merged.c.id)
    rows = (
        select(*kept.c)
        .select_from(merged.join(kept, same))
        .where(merged.c.workspace == WORKSPACE, merged.c.merged_into_id.is_not(None))
    )
    return insert(USAGE_ROLLUP).prefix_with("OR IGNORE").from_select(_EVERY, rows)


_SLID: Final = Statement(_slid)
_BROUGHT: Final = Statement(_brought)
_MERGED: Final = Statement(_merged)


# -- out of the draft ---------------------------------------------------------------------------------------------
_MINE: Final = of_writer(_JUDGED)


class _Taking(NamedTuple):
    usage: Statement
    judge: Statement
    fresh: Statement
    snapshots: Statement
    scores: Statement
    bands: Statement
    counted: Statement


@lru_cache(maxsize=8)
def _taking(rubric: Rubric, schema: str, *, judged: bool) -> _Taking:
    usage, measures, drafted = (of_schema(table, schema) for table in DRAFTED)
    scores = drafted if judged else _MINE
    both = scores.join(measures, measures.c.id == scores.c.id)

    def snapshots() -> Any:
        return new_snapshots(rubric, sqlite_insert(), both, scores.c, measures.c)

    return _Taking(
        Statement(lambda: _take_usage(usage)),
        Statement(lambda: _judge(rubric, measures, _MINE)),
        Statement(snapshots),
        Statement(lambda: replacing(rubric, snapshots())),
        Statement(lambda: _take_scores(scores)),
        Statement(lambda: _take_bands(scores)),
        Statement(lambda: select(func.count().label("accounts")).select_from(scores)),
    )


_STEPS: Final = Statement(moved_steps)
_CHANGED: Final = Statement(lambda: select(func.changes().label("rows")))  # by the statement before
_NONE_JUDGED: Final = Statement(lambda: delete(_MINE))


def _take_usage(drafted: Any) -> Any:
    rows = select(*drafted.c).where(here(drafted))
    return insert(USAGE_ROLLUP).prefix_with("OR REPLACE").from_select(_EVERY, rows)


def _take_scores(judged: Any) -> Any:
    kept = ACCOUNT_SCORE
    return (
        update(kept)
        .where(kept.c.workspace == judged.c.workspace, kept.c.account_id == judged.c.account_id, judged.c.moves)
        .values({column: judged.c[name] for column, name in SCORES.items()})
    )


def _take_bands(judged: Any) -> Any:
    """Of the accounts whose differ.

    With another condition on the account SQLite would read through all of them, as `_OF_ROW` says.
    """
    return (
        update(ACCOUNT)
        .where(literal_column("account.rowid", Integer) == judged.c.place, judged.c.turns)
        .values({column: judged.c[name] for column, name in BANDS.items()})
    )
