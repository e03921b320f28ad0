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
from cs_mcp.db.health.scoring_batches import Batch
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
from cs_mcp.db.usage.sliding import SLIDE_IN_PLACE, here, slid
from cs_mcp.db.usage.usage import USAGE_ROLLUP
from cs_mcp.db.wire import Wire
from cs_mcp.domain.health.rubric import SLOTS, Rubric

ACCOUNT: Final[Any] = AccountRow.__table__
_DRAFTS: Final = MetaData()
# One row an account in the order of their ids: all that a score is judged from.
_WEIGHED: Final = Table(
    "weighed",
    _DRAFTS,
    Column("id", Integer, primary_key=True),
    Column("workspace", Id, nullable=False),
    Column("account_id", Id, nullable=False),
    # The account's row, and what it carries; the score that its trend compares with; the override that stands.
    Column("place", Integer, nullable=False),
    *(Column(name, Double) for name in ("score", "trend")),
    Column("health_band", String(8)),
    Column("before", Integer),
    Column("by_hand", String(8)),
    Column("by_hand_tenths", Integer),
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
_SLID_AT_ONCE: Final = 500
_AT_ONCE: Final = 1_000  # rows that are judged by one statement of a draft, while the writer may come to wait for it


class Drafted(NamedTuple):
    """A batch in a draft: usage up to the account `slid` was written before, and so many rows are `judged`."""

    batch: Batch
    draft: Draft
    slid: str
    judged: int


async def prepare(work: UnitOfWork, as_of: date, given: Mapping[str, Any]) -> None:
    """Renew what waits or is due, and bring usage that cannot be slid; the rest is slid here or in the draft."""
    sponsored = await renew(await work.wire(), given)
    await bring(work, as_of, given["after"], given["upto"], sponsored=sponsored, slide=False)


async def slide_some(work: UnitOfWork, given: Mapping[str, Any], slid: str) -> str:
    """Slide the usage of the accounts of a batch that follow `slid`, a few: up to which one all are slid then."""
    wire = await work.wire()
    [found] = await wire.rows(_SOME, _by_day(given) | {"after": slid})
    if found["last"] is None:
        return given["upto"]
    await wire.many(SLIDE_IN_PLACE, [_by_day(given) | {"after": slid, "last": found["last"]}])
    return found["last"]


async def weigh(draft: Draft, rubric: Rubric, given: Mapping[str, Any], slid: str) -> None:
    """Slide the usage of what follows `slid` in a batch, and weigh all of it, from what was committed last."""
    await draft.clear()
    await draft.wire.many(_SLID, [_by_day(given) | {"after": slid}])
    for statement in (_BROUGHT, _MERGED):
        await draft.wire.many(statement, [_by_day(given)])
    [found] = await draft.wire.rows(ANY_MERGED, given)
    await draft.wire.many(_weighing(rubric, merged=found["merged"]), [given])


async def judge(draft: Draft, rubric: Rubric, given: Mapping[str, Any], wanted: Callable[[], bool]) -> int:
    """Judge what was weighed, in its order, as long as that is wanted: how many rows of it are judged then.

    Reads nothing but the draft, so the store may be committed to meanwhile.
    """
    judged = 0
    while judged < given["size"] and wanted():
        await draft.wire.many(_judging(rubric), [{"past": judged, "to": judged + _AT_ONCE}])
        judged += _AT_ONCE
    return judged


async def take_over(
    work: UnitOfWork, scored: Drafted, rubric: Rubric, given: Mapping[str, Any], *, fresh: bool
) -> tuple[int, int]:
    """Write what was drafted, and judge before what is not judged yet.

    How many accounts are customers, and how many of their snapshots differ. `fresh` where the day is likely to have no
    snapshot of them yet.
    """
    wire, taking = await work.wire(), _taking(rubric, scored.draft.schema)
    await wire.many(taking.usage, [_by_day(given) | {"after": scored.slid}])
    parts = [taking.judged] if scored.judged else []
    if scored.judged < given["size"]:
        await wire.many(_NONE_JUDGED, [{}])
        await wire.many(taking.judge, [{"past": scored.judged, "to": given["size"]}])
        parts.append(taking.mine)
    for part in parts:
        await wire.many(part.scores, [given])
    await wire.many(_STEPS, [given])
    for part in parts:
        await wire.many(part.bands, [given])
    # Last: it writes most, and once as many pages wait for the commit as the cache holds, each look at another one
    # reads that again.
    done = [await _put(wire, part, given, fresh=fresh) for part in parts]
    return sum(accounts for accounts, _ in done), sum(written for _, written in done)


async def _put(wire: Wire, part: _Part, given: Mapping[str, Any], *, fresh: bool) -> tuple[int, int]:
    """How many accounts have a snapshot then, and how many of these were written."""
    try:
        await wire.many(part.fresh if fresh else part.snapshots, [given])
    except sqlite3.IntegrityError:
        if not fresh:
            raise
        # Another run came meanwhile; the statement wrote nothing.
        await wire.many(part.snapshots, [given])
    [written] = await wire.rows(_CHANGED, {})
    [counted] = await wire.rows(part.counted, {})
    return counted["accounts"], written["rows"]


def _by_day(given: Mapping[str, Any]) -> dict[str, Any]:
    """What statements of usage take, which count days."""
    return {name: given[name] for name in ("workspace", "after")} | {
        "last": given["upto"],
        "as_of": given["as_of_day"],
    }


# -- into the draft -----------------------------------------------------------------------------------------------
_CARRIED: Final = (
    ACCOUNT.c.workspace,
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
    by_hand = overrides_on(AS_OF, BATCH)
    # By the row's own workspace: joined to a parameter, SQLite reads through all accounts in each batch for a filter to
    # try rows by first.
    carried = and_(ACCOUNT_SCORE.c.workspace == rows.c.workspace, ACCOUNT_SCORE.c.account_id == rows.c.account_id)
    source = rows.outerjoin(ACCOUNT_SCORE, carried).outerjoin(by_hand, by_hand.c.account_id == rows.c.account_id)
    values = {column.key: column for column in rows.c if column.key != "segment"} | {
        "score": ACCOUNT_SCORE.c.score,
        "trend": ACCOUNT_SCORE.c.trend,
        "before": stored_before(rows.c.account_id),
        "by_hand": by_hand.c.band,
        "by_hand_tenths": by_hand.c.score_tenths,
    }
    return insert(_WEIGHED).from_select(list(values), select(*values.values()).select_from(source))


def _judge(rubric: Rubric, weighed: Any, into: Any) -> Any:
    row = weighed.c
    own = ("id", "workspace", "account_id", "place", "reds", "yellows", *_TO_COMPARE)
    some = and_(row.id > bindparam("past", type_=Integer), row.id <= bindparam("to", type_=Integer))
    figures = select(*(row[name] for name in own), *figures_of(rubric, row)).where(some).order_by(row.id)
    figures = fenced(figures, "figures")
    judged = fenced(select(*figures.c, *bands_of(rubric, figures.c)), "judged")
    told = health_of(rubric, judged, judged.c.before, judged.c.by_hand, judged.c.by_hand_tenths)
    same = ("id", "workspace", "account_id", "place", "score_tenths", "confidence", "band", "computed_band")
    values = {name: judged.c[name] for name in same}
    values |= told | {
        "moves": or_(*(judged.c[kept].is_distinct_from(told[name]) for kept, name in SCORES.items())),
        "turns": judged.c.health_band.is_distinct_from(told["health_band"]),
    }
    return insert(into).from_select(list(values), select(*values.values()))


_TO_COMPARE: Final = (*SCORES, *BANDS, "before", "by_hand", "by_hand_tenths")
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


def _some() -> Any:
    some = select(USAGE_ROLLUP.c.account_id).where(here()).order_by(USAGE_ROLLUP.c.account_id).limit(_SLID_AT_ONCE)
    return select(func.max(some.subquery().c.account_id).label("last"))


_SOME: Final = Statement(_some)
_SLID: Final = Statement(_slid)
_BROUGHT: Final = Statement(_brought)
_MERGED: Final = Statement(_merged)


# -- out of the draft ---------------------------------------------------------------------------------------------
_MINE: Final = of_writer(_JUDGED)


class _Part(NamedTuple):
    """Of a batch, what is judged in the draft, or by the writer."""

    fresh: Statement
    snapshots: Statement
    scores: Statement
    bands: Statement
    counted: Statement


class _Taking(NamedTuple):
    usage: Statement
    judge: Statement
    judged: _Part
    mine: _Part


@lru_cache(maxsize=8)
def _taking(rubric: Rubric, schema: str) -> _Taking:
    usage, measures, judged = (of_schema(table, schema) for table in DRAFTED)
    return _Taking(
        Statement(lambda: _take_usage(usage)),
        Statement(lambda: _judge(rubric, measures, _MINE)),
        _part(rubric, judged, measures),
        _part(rubric, _MINE, measures),
    )


def _part(rubric: Rubric, scores: Any, measures: Any) -> _Part:
    both = scores.join(measures, measures.c.id == scores.c.id)

    def snapshots() -> Any:
        return new_snapshots(rubric, sqlite_insert(), both, scores.c, measures.c)

    return _Part(
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

    With another condition on the account SQLite would read through all of them, as `_weigh` says.
    """
    return (
        update(ACCOUNT)
        .where(literal_column("account.rowid", Integer) == judged.c.place, judged.c.turns)
        .values({column: judged.c[name] for column, name in BANDS.items()})
    )
