"""What tells how a customer is doing, as dated facts from the systems that know: tickets, invoices, surveys, news."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Final

from pydantic import Field

from cs_mcp.domain.contract import shown
from cs_mcp.domain.records import Record

LOWEST_SEVERITY: Final = 4  # severity 1 is the worst
CSAT_SCALE: Final = 5


class TicketStatus(StrEnum):
    open = "open"
    waiting = "waiting"  # for the customer
    resolved = "resolved"


class Ticket(Record):
    """A support case. `csat` is scaled to 1–5; `sla_breached` is None where nobody said."""

    account_id: str
    contact_id: str | None = None
    severity: int | None = Field(default=None, ge=1, le=LOWEST_SEVERITY)
    category: str | None = None
    status: TicketStatus = TicketStatus.open
    opened_at: datetime
    first_response_at: datetime | None = None
    resolved_at: datetime | None = None
    escalated: bool = False
    sla_breached: bool | None = None
    csat: int | None = Field(default=None, ge=1, le=CSAT_SCALE)
    subject: str | None = None
    text: str | None = None


class InvoiceStatus(StrEnum):
    open = "open"
    paid = "paid"
    void = "void"
    written_off = "written_off"


class Invoice(Record):
    """Minor units of `currency`; `due_on` is the last day to pay in time."""

    account_id: str
    amount_minor: int
    currency: str
    due_on: date
    paid_on: date | None = None
    status: InvoiceStatus = InvoiceStatus.open


# How source systems call the states of an invoice.
INVOICE_STATES: Final = {
    "open": InvoiceStatus.open,
    "unpaid": InvoiceStatus.open,
    "sent": InvoiceStatus.open,
    "overdue": InvoiceStatus.open,
    "past_due": InvoiceStatus.open,
    "paid": InvoiceStatus.paid,
    "void": InvoiceStatus.void,
    "voided": InvoiceStatus.void,
    "canceled": InvoiceStatus.void,
    "cancelled": InvoiceStatus.void,
    "written_off": InvoiceStatus.written_off,
    "uncollectible": InvoiceStatus.written_off,
}


def invoice_status(told: str | None, paid_on: date | None) -> InvoiceStatus:
    """The state by what a source calls it; by the payment where it says nothing. Raises ValueError."""
    if told is None:
        return InvoiceStatus.open if paid_on is None else InvoiceStatus.paid
    state = INVOICE_STATES.get(told.strip().casefold().replace(" ", "_").replace("-", "_"))
    if state is None:
        raise ValueError(f"status: {shown(told)} is no state of an invoice; they are {', '.join(InvoiceStatus)}")
    return InvoiceStatus.paid if state is InvoiceStatus.open and paid_on is not None else state


def csat_of(score: float) -> int:
    """A ticket's rating on the scale of 1 to 5, halves rounded up. Raises ValueError."""
    if not 1 <= score <= CSAT_SCALE:
        raise ValueError(f"csat: {score:g} is not on a scale of 1 to {CSAT_SCALE}")
    return int(score + 0.5)


def event_key(account: str, on: date, kind: CompanyEventKind | str) -> str:
    """What makes an event that has no id of its own the same event when it is told again."""
    return f"{account}:{on.isoformat()}:{kind}"


class SurveyKind(StrEnum):
    nps = "nps"
    csat = "csat"
    ces = "ces"


# The highest answer where a source names no scale.
SCALES: Final = {SurveyKind.nps: 10, SurveyKind.csat: 5, SurveyKind.ces: 7}


class LoopState(StrEnum):
    open = "open"
    replied = "replied"
    closed = "closed"


class SurveyResponse(Record):
    """One answer on a scale up to `scale_max`. `loop_state` is None where nobody follows it up."""

    account_id: str
    contact_id: str | None = None
    kind: SurveyKind
    score: float
    scale_max: int
    answered_at: datetime
    invited: bool = True
    loop_state: LoopState | None = None
    comment: str | None = None
    tags: list[str] = Field(default_factory=list[str])


class CompanyEventKind(StrEnum):
    funding = "funding"
    acquisition = "acquisition"
    layoff = "layoff"
    leadership_change = "leadership_change"
    news = "news"
    other = "other"


class CompanyEvent(Record):
    account_id: str
    on: date
    kind: CompanyEventKind
    note: str | None = None
    source_url: str | None = None
    told_by: str | None = None


class Feature(Record):
    """Part of the product whose use is counted; `is_core` is None until somebody says."""

    name: str
    is_core: bool | None = None


class SignalBatch(Record):
    """What one write told of usage: its figures are no records of their own, so that the write shows as this one."""

    first_on: date
    last_on: date
    rows: int
    accounts: int
    digest: str
