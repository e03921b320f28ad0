"""Alerts of metrics that get worse: a task for the metric's owner, once a metric and quarter.

A task stands at an account. This one stands where most of the quarter's ARR was lost, which is where to look first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from cs_mcp.db.store import Store
from cs_mcp.db.work.alert_reads import AlertReads
from cs_mcp.domain.calendar import add_months
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.revenue.currency_rates import MissingRate
from cs_mcp.domain.revenue.retention import Bar
from cs_mcp.domain.work.tasks import Priority, Task, TaskOrigin
from cs_mcp.services.accounts.accounts import Accounts, FindAccounts
from cs_mcp.services.acts import act_of
from cs_mcp.services.revenue.retention import Retentions
from cs_mcp.services.revenue.retention_asked import GetRetention
from cs_mcp.services.revenue.worsening import Alert, Worsening

RAISE: Final = "raise_alerts"
DAYS_TO_ANSWER: Final = 5  # business days


@dataclass(frozen=True, slots=True)
class Raised:
    """`tasks` that were made, by metric; `unheard` says of the other alerts why nobody was told."""

    tasks: dict[str, str]
    unheard: list[str]


@dataclass(frozen=True, slots=True)
class _Place:
    account: str
    why: str


class Alerts:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._reads = AlertReads(store)
        self._worsening = Worsening(store)
        self._retentions = Retentions(store)
        self._accounts = Accounts(store)

    async def raise_all(self, principal: Principal, run: str | None = None) -> Raised:
        """Tell the owners of metrics that got worse three quarters in a row. Once more, it tells nobody again."""
        calendar = (await self._store.workspace(principal.workspace)).calendar
        today = calendar.today(self._store.clock.now())
        try:
            alerts = await self._worsening.of(principal, today)
        except MissingRate as missing:
            return Raised({}, [str(missing)])
        raised = Raised({}, [])
        told = await self._reads.told(principal, [_purpose(alert) for alert in alerts]) if alerts else set[str]()
        for alert in alerts:
            if _purpose(alert) in told:
                continue
            if alert.owner is None:
                raised.unheard.append(f"{alert.text()} Name one with owner_email in targets.csv.")
            elif (place := await self._place(principal, alert)) is None:
                raised.unheard.append(f"{alert.text()} There is no account left to put a task at.")
            else:
                due = calendar.add_business_days(today, DAYS_TO_ANSWER)
                task = await self._tell(principal, alert, alert.owner[0], place, due, run)
                raised.tasks.update({alert.metric: task} if task is not None else {})
        return raised

    async def _place(self, principal: Principal, alert: Alert) -> _Place | None:
        """The account that lost most in the last quarter, or the largest where none lost anything."""
        start, _ = alert.quarters[-1]
        window = GetRetention(period_start=start, period_end=add_months(start, 3) - timedelta(days=1))
        told = await self._retentions.get(principal, window)
        parts = [part for bar in told.bars if bar.bar in (Bar.churn, Bar.contraction) for part in bar.largest]
        lost = min(parts, key=lambda part: (Decimal(part.amount), part.id), default=None)
        if lost is not None:
            return _Place(lost.id, f"most was lost here, {lost.amount} {told.currency}")
        largest = (await self._accounts.find(principal, FindAccounts(sort="-arr", limit=1))).items
        return _Place(largest[0].id, "no account lost ARR; this is the largest") if largest else None

    async def _tell(
        self, principal: Principal, alert: Alert, owner: str, place: _Place, due: date, run: str | None
    ) -> str | None:
        act = act_of(self._store, principal, RAISE, run_id=run, reason=alert.text()[:500])
        purpose = _purpose(alert)
        course = " → ".join(f"{float(value):.4g}" for _, value in alert.quarters)
        async with self._store.unit_of_work(principal, act) as work:
            if await work.tasks.was_ever(purpose, owner):
                return None
            task = Task(
                id=work.ids.new("task"),
                account_id=place.account,
                title=f"{alert.metric} got worse three quarters in a row: {course}. Find out why; {place.why}.",
                purpose=purpose,
                assignee_id=owner,
                due_on=due,
                priority=Priority.high,
                origin=TaskOrigin.alert,
            )
            work.tasks.add(task)
            return task.id


def _purpose(alert: Alert) -> str:
    return f"worsening {alert.metric} {alert.quarters[-1][0]}"
