"""People at the customer, and the dated history of who was sponsor and champion."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from cs_mcp.domain.records import Record


class Level(StrEnum):
    c_level = "c_level"
    vp = "vp"
    director = "director"
    manager = "manager"
    individual = "individual"


class ContactRole(StrEnum):
    primary = "primary"
    executive_sponsor = "executive_sponsor"
    champion = "champion"
    decision_maker = "decision_maker"
    economic_buyer = "economic_buyer"
    power_user = "power_user"
    procurement = "procurement"
    technical = "technical"
    detractor = "detractor"


class Sentiment(StrEnum):
    positive = "positive"
    neutral = "neutral"
    negative = "negative"


class ContactStatus(StrEnum):
    active = "active"
    on_leave = "on_leave"
    departed = "departed"


class Contact(Record):
    account_id: str
    name: str
    email: str | None = None
    title: str | None = None
    department: str | None = None
    level: Level | None = None
    roles: list[ContactRole] = []
    sentiment: Sentiment | None = None
    status: ContactStatus = ContactStatus.active
    last_confirmed_on: date | None = None
    leaves_on: date | None = None  # known ahead of the departure
    departed_on: date | None = None
    successor_id: str | None = None
    merged_into_id: str | None = None  # the contact that is the same person


class SponsorRole(StrEnum):
    executive_sponsor = "executive_sponsor"
    champion = "champion"


class Sponsorship(Record):
    """One person's time in a seat; `to_on` is the last day, and None while they hold it."""

    account_id: str
    contact_id: str
    role: SponsorRole
    from_on: date
    to_on: date | None = None
