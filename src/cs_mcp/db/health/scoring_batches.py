"""One night's scoring as the store sees it: which accounts come next, and a batch of them in one transaction."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Integer, String, Text, bindparam, func, insert, select, update

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.base import Instant
from cs_mcp.db.facts.keeping import doubt, meaning, renew
from cs_mcp.db.facts.terms import AS_OF, WORKSPACE, moment
from cs_mcp.db.failures import is_taken
from cs_mcp.db.health.scoring_tables import RUNS
from cs_mcp.db.health.scoring_writes import ANY_MERGED, scoring_writes
from cs_mcp.db.planning import for_batches, hashing
from cs_mcp.db.read_path import Statement
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.usage.keeping import bring
from cs_mcp.domain.health.rubric import Rubric

ACCOUNT: Final[Any] = AccountRow.__table__
BATCH_SIZE: Final = 10_000
# Where every fact is worked out anew: what a batch writes is in memory until its commit on SQLite (db/drafts.py).
WHOLE_BATCH_SIZE: Final = 5_000


def _next() -> Any:
    following = (
        select(ACCOUNT.c.id)
        .where(ACCOUNT.c.workspace == WORKSPACE, ACCOUNT.c.id > bindparam("after", type_=Text))
        .order_by(ACCOUNT.c.id)
        .limit(bindparam("size", type_=Integer))
        .subquery()
    )
    return select(func.count().label("size"), func.max(following.c.id).label("last"))


_NEXT: Final = Statement(_next)
_LAST_RUN: Final = Statement(
    lambda: (
        select(RUNS.c.seq, RUNS.c.facts_key, RUNS.c.accounts)
        .where(RUNS.c.workspace == WORKSPACE, RUNS.c.seq.is_not(None))
        .order_by(RUNS.c.as_of.desc(), RUNS.c.id.desc())
        .limit(1)
    )
)
_RUN_OF: Final = Statement(
    lambda: select(RUNS.c.id).where(RUNS.c.workspace == WORKSPACE, RUNS.c.as_of == AS_OF).limit(1)
)
_STARTED: Final = Statement(lambda: insert(RUNS))
_FINISHED: Final = Statement(
    lambda: (
        update(RUNS)
        .where(RUNS.c.workspace == bindparam("of_workspace", type_=String), RUNS.c.id == bindparam("of_id"))
        .values(
            finished_at=bindparam("ended_at", type_=Instant),
            accounts=bindparam("scored", type_=Integer),
            batches=bindparam("done", type_=Integer),
        )
    )
)


_THERE: Final = Statement(
    lambda: select(func.count().label("accounts")).select_from(ACCOUNT).where(ACCOUNT.c.workspace == WORKSPACE)
)


class Started(NamedTuple):
    """`first` of its day; `whole` where every fact is worked out anew; how many accounts the run before scored."""

    first: bool
    whole: bool
    accounts_before: int


class Batch(NamedTuple):
    """Accounts in the order of their ids: those after `after`, up to `last`."""

    after: str
    last: str
    size: int


async def accounts_there(work: UnitOfWork) -> int:
    """Accounts of the workspace, removed or not."""
    [found] = await (await work.wire()).rows(_THERE, {"workspace": work.principal.workspace})
    return found["accounts"]


async def next_accounts(work: UnitOfWork, after: str, size: int) -> Batch | None:
    """The accounts that follow; None after the last."""
    given = {"workspace": work.principal.workspace, "after": after, "size": size}
    [found] = await (await work.wire()).rows(_NEXT, given)
    return Batch(after, **found) if found["size"] else None


async def score_batch(
    work: UnitOfWork, rubric: Rubric, as_of: date, run: str, batch: Batch, *, rollup: bool, fresh: bool = False
) -> tuple[int, int]:
    """Snapshot the accounts of a batch; how many are customers on the day, and how many of their snapshots this run
    wrote because they differ. `fresh` where the day is likely to have no snapshot of them yet.
    """
    wire = await work.wire()
    given = given_of(work, rubric, as_of, run, batch)
    [found] = await wire.rows(ANY_MERGED, given)
    writes = scoring_writes(rubric, wire.dialect.name, rollup=rollup, merged=found["merged"])
    await for_batches(work)
    if rollup:
        await hashing(work)
        sponsored = await renew(wire, given)
        await bring(work, as_of, batch.after, batch.last, sponsored=sponsored, size=batch.size)
    await hashing(work)
    if fresh and writes.fresh is not None:
        try:
            async with work.savepoint():
                [found] = await wire.rows(writes.fresh, given)
            return found["accounts"], found["written"]
        except Exception as failure:
            if not is_taken(failure):  # by another run, which came meanwhile
                raise
    await wire.many(writes.snapshots, [given])
    *silent, last = writes.columns
    for columns in silent:
        await wire.many(columns, [given])
    [found] = await wire.rows(last, given)
    return found["accounts"], found["written"]


def given_of(work: UnitOfWork, rubric: Rubric, as_of: date, run: str, batch: Batch) -> dict[str, Any]:
    """What the statements of a batch take."""
    return moment(as_of, work.calendar) | {
        "workspace": work.principal.workspace,
        "after": batch.after,
        "upto": batch.last,
        "size": batch.size,
        "run": run,
        "rubric": rubric.version,
    }


async def start_run(work: UnitOfWork, run: str, rubric: Rubric, as_of: date, *, rollup: bool) -> Started:
    """Enter the run. Where it scores from what is kept, that is doubted by the changes since the run before."""
    wire = await work.wire()
    day = {"workspace": work.principal.workspace, "as_of": as_of}
    first = not await wire.rows(_RUN_OF, day)
    upto, key, same, scored = None, None, False, 0
    if rollup:
        upto, key = await work.head_seq(), meaning(wire, work.calendar)
        before = await wire.rows(_LAST_RUN, {"workspace": work.principal.workspace})
        if before:
            same, scored = before[0]["facts_key"] == key, before[0]["accounts"]
        await doubt(wire, work.principal.workspace, since=before[0]["seq"] if same else None, upto=upto)
    values = {
        "workspace": work.principal.workspace,
        "id": run,
        "as_of": as_of,
        "rubric": rubric.version,
        "started_at": work.now,
        "finished_at": None,
        "accounts": 0,
        "batches": 0,
        "seq": upto,
        "facts_key": key,
    }
    await wire.many(_STARTED, [values])
    return Started(first, rollup and not same, scored)


async def finish_run(work: UnitOfWork, run: str, *, accounts: int, batches: int, at: datetime) -> None:
    given = {"of_workspace": work.principal.workspace, "of_id": run, "ended_at": at, "scored": accounts}
    await (await work.wire()).many(_FINISHED, [given | {"done": batches}])
