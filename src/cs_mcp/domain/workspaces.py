"""One company that runs the system, and the calendar and thresholds it works by."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict

from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.records import Record
from cs_mcp.domain.revenue.conventions import RevenueConventions


class SegmentBounds(BaseModel):
    """ARR in major units of the workspace's currency; domain section 2."""

    model_config = ConfigDict(frozen=True)

    smb_below: int = 10_000
    enterprise_above: int = 100_000

    def segment_of(self, arr_major: float) -> str:
        if arr_major < self.smb_below:
            return "smb"
        return "enterprise" if arr_major > self.enterprise_above else "mid_market"


class Workspace(Record):
    name: str
    time_zone: str = "UTC"
    currency: str = "USD"
    fiscal_year_starts: int = 1
    working_days: list[int] = [0, 1, 2, 3, 4]
    holidays: list[date] = []
    segment_bounds: SegmentBounds = SegmentBounds()
    # Which tiers of write a person's call turns into a preview first; bulk always does.
    people_preview: list[str] = []
    # What the company set of `RevenueConventions`; the rest is as there.
    conventions: dict[str, Any] | None = None

    @property
    def revenue(self) -> RevenueConventions:
        return RevenueConventions.model_validate(self.conventions or {})

    @property
    def calendar(self) -> Calendar:
        return Calendar(
            time_zone=self.time_zone,
            fiscal_year_starts=self.fiscal_year_starts,
            working_days=frozenset(self.working_days),
            holidays=frozenset(self.holidays),
        )
