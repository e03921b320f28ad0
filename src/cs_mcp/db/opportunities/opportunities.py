"""Expansion opportunities."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from sqlalchemy import Date, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.base import Id, Json, Minor, Remembered, belongs_to, live_index, remembered, source_key
from cs_mcp.db.repository import Repository
from cs_mcp.domain.opportunities.opportunities import Opportunity
from cs_mcp.domain.text import Trust


@remembered
class OpportunityRow(Remembered):
    __tablename__ = "opportunity"
    # What they want, what convinces them and why they declined repeats what customers said, whoever typed it.
    trust = {
        "name": Trust.customer,
        "evidence": Trust.customer,
        "hypothesis": Trust.customer,
        "product": Trust.customer,
        "department": Trust.customer,
        "success_criteria": Trust.customer,
        "lost_reason": Trust.customer,
    }

    account_id: Mapped[str] = mapped_column(Id)
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(16))
    trigger: Mapped[str | None] = mapped_column(String(24))
    evidence: Mapped[list[Any]] = mapped_column(Json)
    hypothesis: Mapped[str | None] = mapped_column(Text)
    product: Mapped[str | None] = mapped_column(Text)
    department: Mapped[str | None] = mapped_column(Text)
    subscription_id: Mapped[str | None] = mapped_column(Id)
    seats: Mapped[int | None] = mapped_column(Integer)
    pilot_from: Mapped[date | None] = mapped_column(Date)
    pilot_to: Mapped[date | None] = mapped_column(Date)
    success_criteria: Mapped[str | None] = mapped_column(Text)
    stage: Mapped[str] = mapped_column(String(16))
    amount_minor: Mapped[int | None] = mapped_column(Minor)
    currency: Mapped[str] = mapped_column(String(3))
    opened_on: Mapped[date] = mapped_column(Date)
    expected_on: Mapped[date | None] = mapped_column(Date)
    closed_on: Mapped[date | None] = mapped_column(Date)
    early_answer: Mapped[str | None] = mapped_column(String(4))
    lost_reason: Mapped[str | None] = mapped_column(Text)
    owner_id: Mapped[str | None] = mapped_column(Id)
    movement_id: Mapped[str | None] = mapped_column(Id)

    __table_args__ = (
        belongs_to("account_id", "account"),
        belongs_to("subscription_id", "subscription"),
        belongs_to("owner_id", "member"),
        belongs_to("movement_id", "arr_movement"),
        source_key("opportunity"),
        live_index("ix_opportunity_account", "account_id", "id"),
        live_index("ix_opportunity_stage", "stage", "expected_on", "id"),
    )


OPPORTUNITY: Final[Any] = OpportunityRow.__table__


class OpportunityRepository(Repository[Opportunity, OpportunityRow]):
    row, model = OpportunityRow, Opportunity

    async def open_of_account(self, account: str) -> list[Opportunity]:
        """Those that are neither won nor lost."""
        return await self.where(
            OpportunityRow.account_id == account, OpportunityRow.stage != "won", OpportunityRow.stage != "lost"
        )
