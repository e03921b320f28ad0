"""The risk case of an account: at most one open, with evidence from whatever finds it, closed with an outcome."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict

from cs_mcp.domain.health.health import RiskCategory
from cs_mcp.domain.records import Record

MOST_EVIDENCE: Final = 50


class RiskState(StrEnum):
    open = "open"
    closed = "closed"


class Severity(StrEnum):
    low = "low"
    medium = "medium"
    high = "high"
    critical = "critical"


class Evidence(BaseModel):
    """What was seen, in one line; the record it is seen in, and its day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    record: str | None = None
    on: date | None = None


class RiskCase(Record):
    account_id: str
    category: RiskCategory
    state: RiskState = RiskState.open
    severity: Severity | None = None
    owner_id: str | None = None
    opened_on: date
    due_on: date | None = None
    summary: str | None = None
    mitigation: str | None = None
    outcome: str | None = None
    closed_on: date | None = None
    evidence: list[Evidence] = []

    def with_evidence(self, found: Iterable[Evidence]) -> RiskCase:
        """The case with what is new in it: the same record on the same day, or the same words, are evidence once.

        Past the most that a case keeps, the oldest gives way.
        """
        kept = list(self.evidence)
        known = {_mark(one) for one in kept}
        for one in found:
            if _mark(one) not in known:
                known.add(_mark(one))
                kept.append(one)
        return self.changed(evidence=kept[-MOST_EVIDENCE:]) if len(kept) > len(self.evidence) else self


def _mark(evidence: Evidence) -> tuple[str, date | None]:
    return (evidence.record or evidence.what, evidence.on)
