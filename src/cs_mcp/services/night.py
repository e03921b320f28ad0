"""The night: what is done once a day, step by step, each of which changes nothing when it is done again.

A night that was cut short is run again: the steps that were done find nothing to do.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from cs_mcp.db.derived import bring_up
from cs_mcp.db.store import Store
from cs_mcp.domain.identity import Principal
from cs_mcp.services.acts import act_of
from cs_mcp.services.alerts import Alerts
from cs_mcp.services.health.scoring import Progress, Scoring
from cs_mcp.services.people.departures import depart_due
from cs_mcp.services.renewals.cycles import open_due
from cs_mcp.services.revenue.forecast import Forecasts

OPEN: Final = "open_renewals"
BRING_UP: Final = "bring_up"
DEPART: Final = "depart_contacts"

_Told = tuple[str, list[str], str | None]  # in words, notes, run


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did, in words; `run` names what it wrote where it wrote records that can be taken back."""

    name: str
    said: str
    seconds: float
    notes: tuple[str, ...] = ()
    run: str | None = None


class Nights:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._scoring = Scoring(store)
        self._forecasts = Forecasts(store)
        self._alerts = Alerts(store)

    async def steps(self, principal: Principal, progress: Progress | None = None) -> AsyncGenerator[Step]:
        """Do each step and tell it. The forecast is kept by the scores of the same night."""
        steps: dict[str, Callable[[Principal], Awaitable[_Told]]] = {
            "day": self._bring_up,
            "people": self._depart,
            "renewals": self._open,
            "scores": partial(self._score, progress=progress),
            "forecast": self._keep,
            "alerts": self._alert,
        }
        for name, step in steps.items():
            started = time.perf_counter()
            said, notes, run = await step(principal)
            yield Step(name, said, time.perf_counter() - started, tuple(notes), run)

    async def _bring_up(self, principal: Principal) -> _Told:
        """What was dated ahead counts from its day on: ARR, the next meeting, seats that fall vacant."""
        count = await bring_up_accounts(self._store, principal)
        return f"{count} accounts brought up to the day.", [], None

    async def _depart(self, principal: Principal) -> _Told:
        run = self._store.ids.new("run")
        act = act_of(self._store, principal, DEPART, run_id=run, reason="Their last day, as it was announced")
        async with self._store.unit_of_work(principal, act) as work:
            departed, vacant = await depart_due(work)
        return f"{departed} people departed whose last day has come.", vacant, run if departed else None

    async def _open(self, principal: Principal) -> _Told:
        run = self._store.ids.new("run")
        act = act_of(self._store, principal, OPEN, run_id=run)
        async with self._store.unit_of_work(principal, act) as work:
            opened = await open_due(work)
        changed = opened.created + opened.updated + opened.restored + opened.removed
        return (
            f"{opened.created} renewals opened, {changed - opened.created} brought up to date.",
            [],
            run if changed else None,
        )

    async def _score(self, principal: Principal, progress: Progress | None) -> _Told:
        done = await self._scoring.score_all(principal, progress=progress)
        return f"{done.accounts} accounts scored by rubric {done.rubric}, {done.written} changed.", [], None

    async def _keep(self, principal: Principal) -> _Told:
        kept = await self._forecasts.keep_today(principal)
        return f"The forecast of {kept.on} is kept: {kept.renewals} renewals.", [], None

    async def _alert(self, principal: Principal) -> _Told:
        run = self._store.ids.new("run")
        raised = await self._alerts.raise_all(principal, run)
        told = ", ".join(f"{metric} ({task})" for metric, task in raised.tasks.items())
        said = f"Owners told of what gets worse: {told}." if told else "Nothing new gets worse."
        return said, raised.unheard, run if raised.tasks else None


async def bring_up_accounts(store: Store, principal: Principal) -> int:
    """Page by page, each in a transaction of its own: nobody waits for all of them. How many were behind."""
    count, after = 0, ""
    while True:
        async with store.unit_of_work(principal, act_of(store, principal, BRING_UP)) as work:
            moved = await bring_up(await work.wire(), principal.workspace, work.today, after)
        if not moved:
            return count
        count, after = count + len(moved), moved[-1]
