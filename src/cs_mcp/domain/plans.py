"""A previewed write: what it would change, who may carry it out, and until when."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

PERSON_PLAN_LIVES: Final = timedelta(minutes=10)
PROPOSAL_LIVES: Final = timedelta(days=7)


class PlanState(StrEnum):
    open = "open"
    committed = "committed"
    declined = "declined"


class Plan(BaseModel):
    """A person's plan is theirs alone; an agent's is a proposal that waits for a person."""

    model_config = ConfigDict(frozen=True)

    id: str
    tool: str
    arguments: dict[str, Any]
    arguments_hash: str
    proposal: bool
    state: PlanState
    made_by: str
    on_behalf_of: str | None
    made_at: datetime
    made_at_seq: int
    expires_at: datetime
    differences: list[dict[str, Any]]
    reason: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    decision_reason: str | None = None

    def is_expired(self, now: datetime) -> bool:
        return now >= self.expires_at
