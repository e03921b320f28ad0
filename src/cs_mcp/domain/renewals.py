"""The renewal of a subscription: its stage, its forecast and what is known of it."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Any

from cs_mcp.domain.records import Record


class RenewalStage(StrEnum):
    not_started = "not_started"
    discovery = "discovery"
    value_review = "value_review"
    proposal = "proposal"
    negotiation = "negotiation"
    closed_won = "closed_won"
    closed_lost = "closed_lost"

    @property
    def is_closed(self) -> bool:
        return self in (RenewalStage.closed_won, RenewalStage.closed_lost)


class ForecastCategory(StrEnum):
    commit = "commit"
    best_case = "best_case"
    at_risk = "at_risk"
    omitted = "omitted"


class Renewal(Record):
    account_id: str
    subscription_id: str | None = None
    owner_id: str | None = None
    stage: RenewalStage = RenewalStage.not_started
    forecast_category: ForecastCategory | None = None
    amount_minor: int = 0
    expected_minor: int | None = None
    currency: str
    closes_on: date
    notice_deadline_on: date | None = None
    decision_criteria: list[str] = []
    procurement_steps: list[str] = []
    risks: list[str] = []
    options: list[dict[str, Any]] = []
    concessions: list[dict[str, Any]] = []
    stakeholders_confirmed_on: date | None = None
    closed_on: date | None = None
    loss_reason: str | None = None
