"""Dated narratives on an account's health. A note is never edited: a new one corrects it."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from cs_mcp.domain.people.sponsors import Sentiment
from cs_mcp.domain.records import Record


class RiskCategory(StrEnum):
    adoption = "adoption"
    product = "product"
    support = "support"
    sponsor = "sponsor"
    commercial = "commercial"
    competition = "competition"
    company_change = "company_change"
    onboarding = "onboarding"
    other = "other"


class HealthNote(Record):
    account_id: str
    written_on: date
    text: str
    sentiment: Sentiment | None = None
    risk: RiskCategory | None = None
    author_id: str | None = None
    author_name: str | None = None  # kept only where the source names no member
    meeting_id: str | None = None
    corrects_id: str | None = None
