"""The renewal of a subscription: its stage, its forecast and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from cs_mcp.domain.records import Record

# The source of a renewal that opened with its subscription; its source id is `cycle_key`.
CYCLE: Final = "subscription"


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


class LossReason(StrEnum):
    price = "price"
    product = "product"
    process = "process"
    competition = "competition"
    company_change = "company_change"
    payment_failure = "payment_failure"


class OfferTier(StrEnum):
    good = "good"
    better = "better"
    best = "best"


class Offer(BaseModel):
    """One of the options of a proposal; minor units of the renewal's currency."""

    model_config = ConfigDict(frozen=True)

    tier: OfferTier
    amount_minor: int
    includes: str | None = None


class ConcessionKind(StrEnum):
    discount = "discount"
    free_months = "free_months"
    price_lock = "price_lock"
    seats = "seats"
    services = "services"
    terms = "terms"
    other = "other"


class Concession(BaseModel):
    """What we gave, and what for: a concession is traded, never given away."""

    model_config = ConfigDict(frozen=True)

    kind: ConcessionKind
    value: str
    given_for: str


def cycle_key(subscription: str, term_ends_on: date) -> str:
    """Names one cycle of one subscription: it has one renewal, however often it is asked for."""
    return f"{subscription}:{term_ends_on}"


def term_end_of(renewal: Mapping[str, Any]) -> date:
    """The last day of its term, from the fields of a renewal."""
    if renewal["source_system"] == CYCLE and renewal["source_id"] is not None:
        return date.fromisoformat(renewal["source_id"].rpartition(":")[2])
    return renewal["closes_on"]


class Renewal(Record):
    """`closes_on` is when it is expected to be signed; it opens as the last day of the term."""

    account_id: str
    subscription_id: str | None = None
    owner_id: str | None = None
    stage: RenewalStage = RenewalStage.not_started
    forecast_category: ForecastCategory | None = None
    category_reason: str | None = None
    amount_minor: int = 0
    expected_minor: int | None = None
    currency: str
    closes_on: date
    notice_deadline_on: date | None = None
    decision_criteria: list[str] = []
    procurement_steps: list[str] = []
    risks: list[str] = []
    options: list[Offer] = []
    concessions: list[Concession] = []
    stakeholders_confirmed_on: date | None = None
    closed_on: date | None = None
    loss_reason: str | None = None

    @property
    def term_ends_on(self) -> date:
        """The last day of the term that this renewal is about, whatever `closes_on` was moved to."""
        return term_end_of(dict(self))
