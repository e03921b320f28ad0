"""Accounts, their team, and what is derived for them."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from cs_mcp.domain.records import Record


class Segment(StrEnum):
    smb = "smb"
    mid_market = "mid_market"
    enterprise = "enterprise"


class Tier(StrEnum):
    platinum = "platinum"
    gold = "gold"
    standard = "standard"


class Touch(StrEnum):
    high = "high"
    mid = "mid"
    low = "low"


class Stage(StrEnum):
    onboarding = "onboarding"
    adoption = "adoption"
    value_realization = "value_realization"
    expansion = "expansion"
    renewal = "renewal"
    advocacy = "advocacy"
    churned = "churned"


class OnboardingStatus(StrEnum):
    not_started = "not_started"
    in_progress = "in_progress"
    complete = "complete"


class Band(StrEnum):
    green = "green"
    yellow = "yellow"
    red = "red"
    unknown = "unknown"


class TeamRole(StrEnum):
    csm = "csm"
    account_manager = "account_manager"
    onboarding_specialist = "onboarding_specialist"
    renewals_manager = "renewals_manager"
    support = "support"
    product = "product"
    technical_account_manager = "technical_account_manager"
    executive_sponsor = "executive_sponsor"


TOUCH_OF_SEGMENT = {Segment.smb: Touch.low, Segment.mid_market: Touch.mid, Segment.enterprise: Touch.high}

CustomValue = str | int | float | bool | None


class Account(Record):
    """A customer. Money is in minor units of `currency`; fields from `arr_minor` on are derived."""

    name: str
    domain: str | None = None
    industry: str | None = None
    employees: int | None = None
    segment: Segment = Segment.smb
    tier: Tier = Tier.standard
    touch: Touch = Touch.low
    stage: Stage = Stage.onboarding
    onboarding_status: OnboardingStatus = OnboardingStatus.not_started
    owner_id: str | None = None
    currency: str = "USD"
    created_on: date | None = None
    renewal_on: date | None = None
    risk_reason: str | None = None
    tags: list[str] = []
    custom: dict[str, CustomValue] = {}
    parent_id: str | None = None
    source_url: str | None = None
    merged_into_id: str | None = None  # the account that took this one's place

    arr_minor: int = 0
    health_band: Band = Band.unknown
    last_touch_on: date | None = None
    last_meeting_on: date | None = None
    next_meeting_on: date | None = None
    executive_sponsor_id: str | None = None
    champion_id: str | None = None


class TeamMember(Record):
    account_id: str
    user_id: str
    role: TeamRole
