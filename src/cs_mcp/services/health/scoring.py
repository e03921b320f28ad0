"""Scoring: every account of a workspace at a day's end, or one account on any day."""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any, Final

from cs_mcp.db.health.scoring_batches import BATCH_SIZE, WHOLE_BATCH_SIZE, finish_run, start_run
from cs_mcp.db.health.scoring_reads import ScoringReads
from cs_mcp.db.store import Store
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.usage.keeping import bring_merged
from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.health.rubric import Rubric
from cs_mcp.domain.health.scoring import Scored
from cs_mcp.domain.identity import Principal
from cs_mcp.services.acts import act_of
from cs_mcp.services.health.rubric_files import read_rubric
from cs_mcp.services.health.rubrics import Rubrics, remember_version
from cs_mcp.services.health.scoring_run import Batches, Progress, run_batches

SCORE: Final = "score_health"


@dataclass(frozen=True, slots=True)
class ScoringRun:
    """`accounts` that are customers on the day; `written` snapshots that are new or differ; `seconds` it took."""

    id: str
    as_of: date
    rubric: str
    accounts: int
    written: int
    batches: int
    seconds: float


@dataclass(frozen=True, slots=True)
class AccountScore:
    """One account on one day, from records dated on or before it, with the facts it comes from."""

    account: str
    as_of: date
    rubric: Rubric
    segment: str
    scored: Scored
    facts: dict[str, Any]


class Scoring:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._rubrics = Rubrics(store)
        self._reads = ScoringReads(store)

    async def of_account(self, principal: Principal, account: str, as_of: date | None = None) -> AccountScore | None:
        """The account by the rubric in force; None where it was no customer then, or is not seen."""
        workspace = await self._store.workspace(principal.workspace)
        day = as_of or workspace.calendar.today(self._store.clock.now())
        rubric = await self._rubrics.in_force(principal)
        row = await self._reads.of_account(principal, rubric, account, day, workspace.calendar)
        if row is None:
            return None
        facts = {name.removeprefix("f_"): value for name, value in row.items() if name.startswith("f_")}
        return AccountScore(account, day, rubric, row["segment"], scored_of(rubric, row), facts)

    async def score_all(
        self,
        principal: Principal,
        as_of: date | None = None,
        progress: Progress | None = None,
        *,
        size: int | None = None,
    ) -> ScoringRun:
        """Snapshot every account as of a day, each batch in a transaction of its own.

        Once more on the same day rewrites nothing that is the same, so a run that was cut short is simply run again.
        """
        started = time.perf_counter()
        text = await self._rubrics.text(principal)
        rubric = read_rubric(text)
        workspace = await self._store.workspace(principal.workspace)
        today = workspace.calendar.today(self._store.clock.now())
        day = as_of or today
        if day > today:
            raise Invalid(f"{day} is in the future; today is {today}.", remedy="Give today or a past day.")
        run = self._store.ids.new("run")
        # The rollup only moves forward: a past day is counted from its facts.
        rollup = day == today
        async with self._unit(principal, run) as work:
            await remember_version(work, rubric, text)
            begun = await start_run(work, run, rubric, day, rollup=rollup)
        if rollup:
            async with self._unit(principal, run) as work:
                await bring_merged(work, day)
        if size is None:
            size = WHOLE_BATCH_SIZE if begun.whole and self._store.where.is_sqlite else BATCH_SIZE
        unit = partial(self._unit, principal, run)
        batches = Batches(run, rubric, day, rollup, begun.first, size, unit, progress, left=begun.accounts_before)
        await run_batches(self._store, batches)
        async with self._unit(principal, run) as work:
            await finish_run(work, run, accounts=batches.accounts, batches=batches.batches, at=self._store.clock.now())
        took = time.perf_counter() - started
        return ScoringRun(run, day, rubric.version, batches.accounts, batches.written, batches.batches, took)

    def _unit(self, principal: Principal, run: str) -> AbstractAsyncContextManager[UnitOfWork]:
        act = act_of(self._store, principal, SCORE, run_id=run)
        return self._store.unit_of_work(principal, act)


def scored_of(rubric: Rubric, row: dict[str, Any]) -> Scored:
    """A row of `db/health/scoring.py`, or a snapshot, as what `domain/health/scoring.py` gives."""
    return Scored(
        score_tenths=row["score_tenths"],
        band=Band(row["band"]),
        computed_band=Band(row["computed_band"]),
        confidence=row["confidence"],
        points={name: row[f"p{slot}"] for name, slot in rubric.slots.items()},
        raws={name: row[f"v{slot}"] for name, slot in rubric.slots.items()},
        rules=row["rules"].split(";") if row["rules"] else [],
    )
