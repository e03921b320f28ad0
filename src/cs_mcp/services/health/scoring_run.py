"""The batches of one run: in lanes on PostgreSQL; on SQLite, which has one writer, scored while others are written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, NamedTuple

from cs_mcp.db.drafts import Draft, drafts
from cs_mcp.db.health.scoring_batches import Batch, accounts_there, given_of, next_accounts, score_batch
from cs_mcp.db.health.scoring_drafts import DRAFTED, WRITERS, Drafted, judge, prepare, slide_some, take_over, weigh
from cs_mcp.db.store import Store
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.wire import alongside
from cs_mcp.domain.health.rubric import Rubric

# Batches at a time: on PostgreSQL one works while another waits for the disk.
LANES: Final = {"postgresql": 2}
# The last ones get smaller, down to this, so that nobody works long when others have nothing left to do.
_LEAST: Final = 2_500
# A batch costs as much by itself as some hundred accounts.
_WORTH_IT: Final = 1_000
# Of a book, on SQLite, that is larger than `_PARTED`.
_PARTED: Final = 5_000
_PARTS: Final = 5
Progress = Callable[[int], None]  # accounts looked at so far
Unit = Callable[[], AbstractAsyncContextManager[UnitOfWork]]


class Prepared(NamedTuple):
    """`slid` is the account up to which the writer has slid the usage."""

    batch: Batch
    slid: str


@dataclass(slots=True)
class Batches:
    """The batches of a run, and how far it is: accounts up to `taken` are in somebody's batch.

    `fresh` where no run of the day came before.
    """

    id: str
    rubric: Rubric
    as_of: date
    rollup: bool
    fresh: bool
    size: int
    unit: Unit
    progress: Progress | None
    lanes: int = 1
    least: int = 0  # the last batches get smaller, down to this; 0 where all are of one size
    grown: int = 0  # where the first ones grow, how large the next may be
    left: int = 0  # about as many accounts as are in nobody's batch, where that is known
    taken: str = ""
    taking: asyncio.Lock = field(default_factory=asyncio.Lock)
    accounts: int = 0
    written: int = 0
    batches: int = 0
    seen: int = 0

    async def next(self, work: UnitOfWork) -> Batch | None:
        async with self.taking:
            batch = await next_accounts(work, self.taken, self._next_size())
            if batch is not None:
                self.taken = batch.last
                self.grown = min(self.size, 2 * self.grown)
                self.left = self.left and max(self.left - batch.size, 1)
            return batch

    def _next_size(self) -> int:
        if not self.least:
            return self.size
        size = self.grown or self.size
        return min(size, max(self.left // (2 * self.lanes), self.least)) if self.left else size

    async def score(self, work: UnitOfWork, batch: Batch) -> tuple[int, int]:
        return await score_batch(work, self.rubric, self.as_of, self.id, batch, rollup=self.rollup, fresh=self.fresh)

    def given(self, work: UnitOfWork, batch: Batch) -> dict[str, Any]:
        return given_of(work, self.rubric, self.as_of, self.id, batch)

    async def take_over(self, work: UnitOfWork, scored: Drafted) -> tuple[int, int]:
        given = self.given(work, scored.batch)
        return await take_over(work, scored, self.rubric, given, fresh=self.fresh)

    def count(self, batch: Batch, found: tuple[int, int]) -> None:
        """A batch is done, with so many customers and new snapshots."""
        scored, written = found
        self.seen, self.accounts = self.seen + batch.size, self.accounts + scored
        self.written, self.batches = self.written + written, self.batches + 1
        if self.progress is not None:
            self.progress(self.seen)


async def run_batches(store: Store, batches: Batches) -> None:
    """Each batch in a transaction of its own."""
    if store.where.is_sqlite and batches.rollup:
        await _alone_or_drafted(store, batches)
        return
    if lanes := LANES.get(store.dialect, 0):
        batches.lanes, batches.least = lanes, _LEAST
    lanes = [asyncio.ensure_future(_one_by_one(batches)) for _ in range(batches.lanes)]
    try:
        await asyncio.gather(*lanes)
    finally:
        for lane in lanes:
            lane.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)


async def _one_by_one(batches: Batches) -> None:
    """Batches, as long as there are any that nobody took."""
    while True:
        async with batches.unit() as work:
            batch = await batches.next(work)
            if batch is None:
                return
            found = await batches.score(work, batch)
        batches.count(batch, found)


async def _alone_or_drafted(store: Store, batches: Batches) -> None:
    """A book of one small batch has little to be scored beside; others are parted so that most of each is.

    The first batch is scored while nothing is written yet, and the last one written when nothing is left to score.
    """
    async with batches.unit() as work:
        there = await accounts_there(work)
    if there <= min(batches.size, _PARTED):
        await _one_by_one(batches)
        return
    batches.size = min(batches.size, max(there, _PARTED) // _PARTS)
    if (least := min(_LEAST, batches.size // 2)) >= _WORTH_IT:
        batches.least, batches.grown, batches.left = least, least, there
    async with drafts(store, DRAFTED, WRITERS) as pair:
        await _drafted(batches, pair)


@dataclass(slots=True)
class _Beside:
    """A batch that is scored into a draft while the writer is at work, and judged there until that has committed."""

    busy: bool = True
    judged: int = 0
    weighed: asyncio.Event = field(default_factory=asyncio.Event)

    async def score(self, draft: Draft, rubric: Rubric, given: dict[str, Any], slid: str) -> None:
        try:
            await weigh(draft, rubric, given, slid)
        finally:
            self.weighed.set()
        self.judged = await judge(draft, rubric, given, lambda: self.busy)

    async def meanwhile(self, batches: Batches, work: UnitOfWork, following: Batch) -> str:
        """Until the store is read no more the writer slides usage of the following batch: up to which account."""
        slid, given = following.after, batches.given(work, following)
        while slid < following.last and not self.weighed.is_set():
            slid = await slide_some(work, given, slid)
        return slid


async def _drafted(batches: Batches, pair: tuple[Draft, Draft]) -> None:
    """A transaction takes over the batch that was scored last, and prepares the next but one.

    Meanwhile the batch between them is scored from what is committed. Where anybody else wrote since the transaction
    before, what was prepared and scored may be out of date: those batches are done over, each in one piece.

    Nobody waits for long: a writer that is done before the draft is slides usage for the next draft, and a draft has
    something to judge while the writer commits, of which the writer does the rest.
    """
    scored: Drafted | None = None
    prepared: Prepared | None = None
    standing: tuple[int, int] | None = None
    free, taken = pair
    while True:
        done: list[tuple[Batch, tuple[int, int]]] = []
        beside, slid = _Beside(), ""
        async with alongside() as start:
            async with batches.unit() as work:
                wire = await work.wire()
                following = await batches.next(work)
                if scored is None and prepared is None and following is None:
                    return
                if standing not in (None, await wire.standing()):
                    stale = [before.batch for before in (scored, prepared) if before is not None]
                    done = [(batch, await batches.score(work, batch)) for batch in stale]
                    scored = prepared = None
                if prepared is not None:
                    given = batches.given(work, prepared.batch)
                    start(beside.score(free, batches.rubric, given, prepared.slid))
                if following is not None:
                    slid = following.after
                    await prepare(work, batches.as_of, batches.given(work, following))
                if scored is not None:
                    done.append((scored.batch, await batches.take_over(work, scored)))
                if prepared is not None:
                    if following is not None:
                        slid = await beside.meanwhile(batches, work, following)
                    await beside.weighed.wait()  # nobody can commit while the store is read
                standing = await wire.standing()
            beside.busy = False
        scored = None if prepared is None else Drafted(prepared.batch, free, prepared.slid, beside.judged)
        prepared = None if following is None else Prepared(following, slid)
        free, taken = taken, free
        for batch, found in done:
            batches.count(batch, found)
