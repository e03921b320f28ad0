"""Meetings, calls and e-mails: every kind counts as a touch, only reviews count as reviews."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from cs_mcp.domain.people.sponsors import Sentiment
from cs_mcp.domain.records import Record


class MeetingKind(StrEnum):
    kickoff = "kickoff"
    internal_handoff = "internal_handoff"
    check_in = "check_in"
    value_review = "value_review"
    qbr = "qbr"
    ebr = "ebr"
    renewal = "renewal"
    training = "training"
    exit_interview = "exit_interview"
    call = "call"
    email = "email"
    other = "other"


NOT_A_MEETING = frozenset({MeetingKind.email, MeetingKind.internal_handoff})


class MeetingStatus(StrEnum):
    planned = "planned"
    held = "held"
    canceled = "canceled"


class RenewalIntent(StrEnum):
    renew = "renew"
    unsure = "unsure"
    leave = "leave"


class Attendee(BaseModel):
    """Someone who was there or invited: one of the customer's contacts, or one of us."""

    model_config = ConfigDict(frozen=True)

    contact_id: str | None = None
    user_id: str | None = None
    name: str | None = None  # of one of us as called then, or of someone the source names no record for
    attended: bool = True


class Meeting(Record):
    account_id: str
    kind: MeetingKind
    status: MeetingStatus
    held_on: date  # the day it was held, or is planned for
    held_at: datetime | None = None
    attendees: list[Attendee] = []
    agenda: str | None = None
    summary: str | None = None
    decisions: list[str] = []
    sentiment: Sentiment | None = None
    renewal_intent: RenewalIntent | None = None
    forecast_hint: str | None = None
    product_requests: list[str] = []
    roi_shown: bool = False
    materials_shared_on: date | None = None
    recording_url: str | None = None
