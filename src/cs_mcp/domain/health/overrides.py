"""A person's word on an account's health: what lists go by for a while, beside the computed score."""

from __future__ import annotations

from datetime import date
from typing import Final

from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.health.rubric import Bands
from cs_mcp.domain.records import Record

MOST_DAYS: Final = 180
# Of a score that came with imported data, until the workspace's own rubric has scored the account.
IMPORTED_BANDS: Final = Bands(green=75, yellow=50)


class HealthOverride(Record):
    """Stands from `from_on` to `expires_on`, both included, or until it is ended: the day it ends it stands no more.

    `score_tenths` is what the person gave instead of a band; `band` is then the band of that score on that day.
    """

    account_id: str
    band: Band
    score_tenths: int | None = None
    reason: str
    author_id: str | None = None
    from_on: date
    expires_on: date
    ended_on: date | None = None

    def stands(self, on: date) -> bool:
        return self.from_on <= on <= self.expires_on and (self.ended_on is None or on < self.ended_on)
