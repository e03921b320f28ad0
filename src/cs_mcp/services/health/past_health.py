"""Health of many accounts on a past day, as lists showed it: the last scores by then, and overrides on record then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from cs_mcp.db.health.past_health import PastHealthReads
from cs_mcp.db.store import Store
from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.changes import Change
from cs_mcp.domain.identity import Principal
from cs_mcp.services.accounts.as_of import row_before
from cs_mcp.services.health.scored_days import standing

OVERRIDES: Final = "health_override"  # the entity whose later changes are asked for


class Health(NamedTuple):
    """The effective band; score and trend as computed."""

    band: str = Band.unknown.value
    score: float | None = None
    trend: float | None = None


UNKNOWN: Final = Health()


class PastBook(NamedTuple):
    """Health by account; `last` is the day of the newest score among them."""

    accounts: dict[str, Health]
    last: date | None

    def of(self, account: str) -> Health:
        return self.accounts.get(account, UNKNOWN)

    def remark(self, day: date) -> str:
        if self.last is None:
            return f"No scores are kept from {day} or before: bands are overrides', else unknown."
        return "" if self.last == day else f"Bands are by the scores of {self.last}, the last kept by {day}."


class PastHealth:
    def __init__(self, store: Store) -> None:
        self._reads = PastHealthReads(store)

    async def on(
        self, principal: Principal, day: date, later: Mapping[str, Sequence[Change]], account: str | None = None
    ) -> PastBook:
        """`later`: what happened after the day to each override, newest first."""
        scores, rows = await self._reads.on(principal, day, account)
        found = {row["id"]: Health(row["band"], row["score"], row["trend"]) for row in scores}
        overrides: dict[str, list[dict[str, object]]] = {}
        for row in rows:
            was = row_before(row, list(later.get(row["id"], ())))
            if was is not None and was["removed_at"] is None:
                overrides.setdefault(was["account_id"], []).append(was)
        for of, known in overrides.items():
            latest_first = sorted(known, key=lambda row: (row["from_on"], row["id"]), reverse=True)
            holds = standing(latest_first, day)
            if holds is not None and holds["band"] is not None:
                found[of] = found.get(of, UNKNOWN)._replace(band=holds["band"])
        return PastBook(found, max((row["on"] for row in scores), default=None))
