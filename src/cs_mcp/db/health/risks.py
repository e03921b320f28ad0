"""Risk cases."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any, Final

from sqlalchemy import Date, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.base import Id, Json, Remembered, belongs_to, live_index, remembered, source_key
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.repository import Repository
from cs_mcp.domain.health.risks import RiskCase, RiskState
from cs_mcp.domain.text import Trust

_OPEN: Final = text("state = 'open' AND removed_at IS NULL")


@remembered
class RiskRow(Remembered):
    __tablename__ = "risk"
    # Evidence repeats what customers wrote: subjects of tickets, comments, notes.
    trust = {
        "summary": Trust.member,
        "mitigation": Trust.member,
        "outcome": Trust.member,
        "evidence": Trust.customer,
    }

    account_id: Mapped[str] = mapped_column(Id)
    category: Mapped[str] = mapped_column(String(24))
    state: Mapped[str] = mapped_column(String(16))
    severity: Mapped[str | None] = mapped_column(String(16))
    owner_id: Mapped[str | None] = mapped_column(Id)
    opened_on: Mapped[date] = mapped_column(Date)
    due_on: Mapped[date | None] = mapped_column(Date)
    summary: Mapped[str | None] = mapped_column(Text)
    mitigation: Mapped[str | None] = mapped_column(Text)
    outcome: Mapped[str | None] = mapped_column(Text)
    closed_on: Mapped[date | None] = mapped_column(Date)
    evidence: Mapped[list[Any]] = mapped_column(Json)

    __table_args__ = (
        belongs_to("account_id", "account"),
        belongs_to("owner_id", "member"),
        source_key("risk"),
        live_index("ix_risk_account", "account_id", "opened_on"),
        Index("uq_risk_open", "workspace", "account_id", unique=True, sqlite_where=_OPEN),
    )


RISK: Final[Any] = RiskRow.__table__


class RiskRepository(Repository[RiskCase, RiskRow]):
    row, model = RiskRow, RiskCase

    async def open_of(self, account: str) -> RiskCase | None:
        """The account's open case, one entered in this unit of work included."""
        for row in self._rows.values():
            if (row.account_id, row.state, row.removed_at) == (account, RiskState.open.value, None):
                return self._as_record(row)
        found = await self.where(RiskRow.account_id == account, RiskRow.state == RiskState.open.value, limit=1)
        return found[0] if found else None

    async def open_owned(self, accounts: Iterable[str], owners: Iterable[str]) -> list[RiskCase]:
        """Open cases of these people on these accounts."""
        mine = (any_of(RiskRow.account_id, texts("accounts", accounts)), RiskRow.state == RiskState.open.value)
        return await self.where(*mine, any_of(RiskRow.owner_id, texts("people", owners)))
