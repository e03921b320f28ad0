"""Signals that are records: tickets, invoices, survey responses, company events, features, batches of usage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy import Boolean, Date, Float, Index, Integer, SmallInteger, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.accounts.accounts import name_key
from cs_mcp.db.base import (
    Id,
    Instant,
    Json,
    Minor,
    Ordered,
    Remembered,
    belongs_to,
    live_index,
    remembered,
    source_key,
)
from cs_mcp.db.repository import Repository
from cs_mcp.domain.signals.signals import CompanyEvent, Feature, Invoice, SignalBatch, SurveyResponse, Ticket
from cs_mcp.domain.text import Trust


@remembered
class TicketRow(Remembered):
    __tablename__ = "ticket"
    trust = {"category": Trust.customer, "subject": Trust.customer, "text": Trust.customer}

    account_id: Mapped[str] = mapped_column(Id)
    contact_id: Mapped[str | None] = mapped_column(Id)
    severity: Mapped[int | None] = mapped_column(SmallInteger)
    category: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16))
    opened_at: Mapped[datetime] = mapped_column(Instant)
    first_response_at: Mapped[datetime | None] = mapped_column(Instant)
    resolved_at: Mapped[datetime | None] = mapped_column(Instant)
    escalated: Mapped[bool] = mapped_column(Boolean)
    sla_breached: Mapped[bool | None] = mapped_column(Boolean)
    csat: Mapped[int | None] = mapped_column(SmallInteger)
    subject: Mapped[str | None] = mapped_column(Text)
    text: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        belongs_to("account_id", "account"),
        belongs_to("contact_id", "contact"),
        source_key("ticket"),
        live_index("ix_ticket_account", "account_id", "opened_at"),
    )


@remembered
class InvoiceRow(Remembered):
    __tablename__ = "invoice"

    account_id: Mapped[str] = mapped_column(Id)
    amount_minor: Mapped[int] = mapped_column(Minor)
    currency: Mapped[str] = mapped_column(String(3))
    due_on: Mapped[date] = mapped_column(Date)
    paid_on: Mapped[date | None] = mapped_column(Date)
    status: Mapped[str] = mapped_column(String(16))

    __table_args__ = (
        belongs_to("account_id", "account"),
        source_key("invoice"),
        live_index("ix_invoice_account", "account_id", "due_on"),
    )


@remembered
class SurveyResponseRow(Remembered):
    __tablename__ = "survey_response"
    trust = {"comment": Trust.customer, "tags": Trust.customer}

    account_id: Mapped[str] = mapped_column(Id)
    contact_id: Mapped[str | None] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(String(8))
    score: Mapped[float] = mapped_column(Float(53))
    scale_max: Mapped[int] = mapped_column(Integer)
    answered_at: Mapped[datetime] = mapped_column(Instant)
    invited: Mapped[bool] = mapped_column(Boolean)
    loop_state: Mapped[str | None] = mapped_column(String(16))
    comment: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[str]] = mapped_column(Json)

    __table_args__ = (
        belongs_to("account_id", "account"),
        belongs_to("contact_id", "contact"),
        source_key("survey_response"),
        live_index("ix_survey_response_account", "account_id", "kind", "answered_at"),
    )


@remembered
class CompanyEventRow(Remembered):
    __tablename__ = "company_event"
    trust = {"note": Trust.customer, "source_url": Trust.customer, "told_by": Trust.customer}

    account_id: Mapped[str] = mapped_column(Id)
    on: Mapped[date] = mapped_column(Date)
    kind: Mapped[str] = mapped_column(String(24))
    note: Mapped[str | None] = mapped_column(Text)
    source_url: Mapped[str | None] = mapped_column(Text)
    told_by: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        belongs_to("account_id", "account"),
        source_key("company_event"),
        live_index("ix_company_event_account", "account_id", "on"),
    )


@remembered
class FeatureRow(Remembered):
    __tablename__ = "feature"
    derived = frozenset({"name_key"})
    trust = {"name": Trust.customer}

    name: Mapped[str] = mapped_column(Text)
    name_key: Mapped[str] = mapped_column(Ordered)
    is_core: Mapped[bool | None] = mapped_column(Boolean)

    @classmethod
    def companions(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"name_key": name_key(values["name"])} if "name" in values else {}

    __table_args__ = (
        source_key("feature"),
        Index("uq_feature_name", "workspace", "name_key", unique=True, sqlite_where=text("removed_at IS NULL")),
    )


@remembered
class SignalBatchRow(Remembered):
    __tablename__ = "signal_batch"

    first_on: Mapped[date] = mapped_column(Date)
    last_on: Mapped[date] = mapped_column(Date)
    rows: Mapped[int] = mapped_column(Integer)
    accounts: Mapped[int] = mapped_column(Integer)
    digest: Mapped[str] = mapped_column(String(64))

    __table_args__ = (source_key("signal_batch"),)


class TicketRepository(Repository[Ticket, TicketRow]):
    row, model = TicketRow, Ticket


class InvoiceRepository(Repository[Invoice, InvoiceRow]):
    row, model = InvoiceRow, Invoice


class SurveyResponseRepository(Repository[SurveyResponse, SurveyResponseRow]):
    row, model = SurveyResponseRow, SurveyResponse


class CompanyEventRepository(Repository[CompanyEvent, CompanyEventRow]):
    row, model = CompanyEventRow, CompanyEvent


class FeatureRepository(Repository[Feature, FeatureRow]):
    row, model = FeatureRow, Feature


class SignalBatchRepository(Repository[SignalBatch, SignalBatchRow]):
    row, model = SignalBatchRow, SignalBatch
