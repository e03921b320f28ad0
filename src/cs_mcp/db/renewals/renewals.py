"""Renewals."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from sqlalchemy import Date, String, Text, select
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.base import Id, Json, Minor, Remembered, belongs_to, live_index, remembered, source_key
from cs_mcp.db.history.changes import remember_json
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.repository import Repository
from cs_mcp.domain.renewals.renewals import CYCLE, Renewal, RenewalStage
from cs_mcp.domain.text import Trust


@remembered
class RenewalRow(Remembered):
    __tablename__ = "renewal"
    # Kept by triggers (db/migrations/renewals_follow.py) while the renewal is live; of a removed one they stand still.
    derived = frozenset({"account_band", "account_segment", "responsible_id"})
    # Criteria, steps and what was traded repeat what customers said, so they are treated as theirs whoever typed them.
    trust = {
        "loss_reason": Trust.system,
        "category_reason": Trust.member,
        "decision_criteria": Trust.customer,
        "procurement_steps": Trust.customer,
        "risks": Trust.customer,
        "options": Trust.customer,
        "concessions": Trust.customer,
    }

    account_id: Mapped[str] = mapped_column(Id)
    subscription_id: Mapped[str | None] = mapped_column(Id)
    owner_id: Mapped[str | None] = mapped_column(Id)
    stage: Mapped[str] = mapped_column(String(16))
    forecast_category: Mapped[str | None] = mapped_column(String(16))
    category_reason: Mapped[str | None] = mapped_column(Text)
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

    account_band: Mapped[str | None] = mapped_column(String(8))
    account_segment: Mapped[str | None] = mapped_column(String(16))
    responsible_id: Mapped[str | None] = mapped_column(Id)

    __table_args__ = (
        belongs_to("account_id", "account"),
        belongs_to("subscription_id", "subscription"),
        belongs_to("owner_id", "member"),
        source_key("renewal"),
        live_index("ix_renewal_account", "account_id", "closes_on", "id"),
        live_index("ix_renewal_responsible", "responsible_id", "closes_on", "id"),
        # A page walks it in order; a sum over what it may name reads nothing else.
        live_index(
            "ix_renewal_closes",
            *("closes_on", "id", "stage", "account_id", "subscription_id", "currency", "amount_minor"),
            *("account_band", "account_segment", "removed_at"),
        ),
    )


CLOSED = tuple(stage.value for stage in RenewalStage if stage.is_closed)


class RenewalRepository(Repository[Renewal, RenewalRow]):
    row, model = RenewalRow, Renewal

    async def open_of(self, accounts: Iterable[str], owners: Iterable[str]) -> list[Renewal]:
        """Renewals of these people on these accounts that are not closed."""
        mine = (any_of(RenewalRow.account_id, texts("accounts", accounts)), RenewalRow.stage.not_like("closed_%"))
        return await self.where(*mine, any_of(RenewalRow.owner_id, texts("people", owners)))

    async def open_of_account(self, account: str) -> list[Renewal]:
        """The account's renewals that are not closed, those entered in this unit of work included once flushed."""
        return await self.where(RenewalRow.account_id == account, *(RenewalRow.stage != stage for stage in CLOSED))

    async def of_cycle(self, key: str) -> Renewal | None:
        """The renewal of one cycle of one subscription, a removed one too."""
        found = await self._work.session.execute(
            select(RenewalRow).where(
                RenewalRow.workspace == self._work.principal.workspace,
                RenewalRow.source_system == CYCLE,
                RenewalRow.source_id == key,
            )
        )
        row = found.scalar_one_or_none()
        if row is None:
            return None
        remember_json(row)
        return self._as_record(row)
