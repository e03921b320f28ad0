"""Metrics that got worse three fiscal quarters in a row, and who answers for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import Final

from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import Calendar, add_months
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.revenue.metrics import HIGHER_IS_BETTER, Lost
from cs_mcp.domain.revenue.retention import WORSE_IN_A_ROW, worsens
from cs_mcp.services.revenue.targets import Targets
from cs_mcp.services.revenue.windows import Windows

_LENGTH: Final = 3  # months


@dataclass(frozen=True, slots=True)
class Alert:
    """A metric's values in the last quarters, oldest first, each worse than the one before."""

    metric: str
    quarters: tuple[tuple[date, Fraction], ...]
    owner: tuple[str, str | None] | None  # of the metric: id, name

    def text(self) -> str:
        course = " → ".join(f"{float(value):.4g} ({starts})" for starts, value in self.quarters)
        whose = f"; its owner is {self.owner[1]} ({self.owner[0]})" if self.owner else "; it has no owner"
        return f"{self.metric} got worse {WORSE_IN_A_ROW} quarters in a row: {course}{whose}."


class Worsening:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._windows = Windows(store)
        self._targets = Targets(store)

    async def of(self, principal: Principal, as_of: date, *, owner: str | None = None) -> list[Alert]:
        """Among NRR, GRR, logo churn and expansion rate, by the quarters that were over on `as_of`."""
        calendar = (await self._store.workspace(principal.workspace)).calendar
        series: dict[str, list[Fraction]] = {}
        starts = _quarters(calendar, as_of)
        windows = [(start, add_months(start, _LENGTH) - timedelta(days=1)) for start in starts]
        for window in await self._windows.series(principal, windows, owner=owner):
            found = window.retention
            told = {"nrr": found.nrr, "grr": found.grr, "logo_churn_rate": found.logo_churn_rate}
            told["expansion_rate"] = Lost.of(found.cohort).expansion_rate
            for metric, value in told.items():
                if value is not None:
                    series.setdefault(metric, []).append(value)
        aims = await self._targets.on(principal, as_of)
        return [
            Alert(metric, tuple(zip(starts, values, strict=True)), aims.owner_of(metric))
            for metric, values in series.items()
            if len(values) == len(starts) and worsens(values, falls_are_worse=HIGHER_IS_BETTER[metric])
        ]


def _quarters(calendar: Calendar, as_of: date) -> list[date]:
    """First days of the last quarters that are over, oldest first: one more than have to be worse."""
    current = calendar.quarter_of(as_of)
    last = current.starts_on if current.ends_on == as_of else add_months(current.starts_on, -_LENGTH)
    return [add_months(last, -_LENGTH * back) for back in range(WORSE_IN_A_ROW, -1, -1)]
