"""Renewals."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import Date, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.base import Json, Minor, Remembered, belongs_to, live_index, remembered, source_key
from cs_mcp.db.repository import Repository
from cs_mcp.domain.renewals import Renewal
from cs_mcp.domain.text import Trust


@remembered
class RenewalRow(Remembered):
    __tablename__ = "renewal"
    trust = {"loss_reason": Trust.member}

    account_id: Mapped[str] = mapped_column(String(32))
    subscription_id: Mapped[str | None] = mapped_column(String(32))
    owner_id: Mapped[str | None] = mapped_column(String(32))
    stage: Mapped[str] = mapped_column(String(16))
    forecast_category: Mapped[str | None] = mapped_column(String(16))
    amount_minor: Mapped[int] = mapped_column(Minor)
    expected_minor: Mapped[int | None] = mapped_column(Minor)
    currency: Mapped[str] = mapped_column(String(3))
    closes_on: Mapped[date] = mapped_column(Date)
    notice_deadline_on: Mapped[date | None] = mapped_column(Date)
    decision_criteria: Mapped[list[str]] = mapped_column(Json)
    procurement_steps: Mapped[list[str]] = mapped_column(Json)
    risks: Mapped[list[str]] = mapped_column(Json)
    options: Mapped[list[Any]] = mapped_column(Json)
    concessions: Mapped[list[Any]] = mapped_column(Json)
    stakeholders_confirmed_on: Mapped[date | None] = mapped_column(Date)
    closed_on: Mapped[date | None] = mapped_column(Date)
    loss_reason: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        belongs_to("account_id", "account"),
        belongs_to("subscription_id", "subscription"),
        belongs_to("owner_id", "member"),
        source_key("renewal"),
        live_index("ix_renewal_account", "account_id", "closes_on", "id"),
        live_index("ix_renewal_closes", "closes_on", "id"),
    )


class RenewalRepository(Repository[Renewal, RenewalRow]):
    row, model = RenewalRow, Renewal
