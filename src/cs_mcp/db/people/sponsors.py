"""Contacts and sponsorships."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import Date, String, Text, select
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.accounts.accounts import AccountRow, name_key
from cs_mcp.db.base import Id, Json, Remembered, belongs_to, live_index, merged_index, remembered, source_key
from cs_mcp.db.repository import Repository
from cs_mcp.domain.people.sponsors import Contact, ContactStatus, Sponsorship
from cs_mcp.domain.text import Trust


@remembered
class ContactRow(Remembered):
    __tablename__ = "contact"
    derived = frozenset({"department_key"})
    trust = {"name": Trust.customer, "email": Trust.customer, "title": Trust.customer, "department": Trust.customer}

    account_id: Mapped[str] = mapped_column(Id)
    name: Mapped[str] = mapped_column(Text)
    email: Mapped[str | None] = mapped_column(Text)
    title: Mapped[str | None] = mapped_column(Text)
    department: Mapped[str | None] = mapped_column(Text)
    department_key: Mapped[str | None] = mapped_column(Text)
    level: Mapped[str | None] = mapped_column(String(16))
    roles: Mapped[list[str]] = mapped_column(Json)
    sentiment: Mapped[str | None] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    last_confirmed_on: Mapped[date | None] = mapped_column(Date)
    leaves_on: Mapped[date | None] = mapped_column(Date)
    departed_on: Mapped[date | None] = mapped_column(Date)
    successor_id: Mapped[str | None] = mapped_column(Id)
    merged_into_id: Mapped[str | None] = mapped_column(Id)

    @classmethod
    def companions(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        if "department" not in values:
            return {}
        return {"department_key": name_key(values["department"] or "") or None}

    __table_args__ = (
        belongs_to("account_id", "account"),
        belongs_to("successor_id", "contact"),
        belongs_to("merged_into_id", "contact"),
        source_key("contact"),
        merged_index("contact"),
        live_index("ix_contact_account", "account_id"),
        live_index("ix_contact_email", "email"),
    )


@remembered
class SponsorshipRow(Remembered):
    __tablename__ = "sponsorship"

    account_id: Mapped[str] = mapped_column(Id)
    contact_id: Mapped[str] = mapped_column(Id)
    role: Mapped[str] = mapped_column(String(24))
    from_on: Mapped[date] = mapped_column(Date)
    to_on: Mapped[date | None] = mapped_column(Date)

    __table_args__ = (
        belongs_to("account_id", "account"),
        belongs_to("contact_id", "contact"),
        source_key("sponsorship"),
        live_index("ix_sponsorship_account", "account_id", "role"),
    )


class ContactRepository(Repository[Contact, ContactRow]):
    row, model = ContactRow, Contact

    async def of_account(self, account: str) -> list[Contact]:
        return await self.where(ContactRow.account_id == account)

    async def leaving_by(self, day: date) -> list[Contact]:
        """People of live accounts who were said to leave by the day and have not departed."""
        live = select(AccountRow.id).where(
            AccountRow.workspace == ContactRow.workspace, AccountRow.removed_at.is_(None)
        )
        there = ContactRow.status != ContactStatus.departed.value
        return await self.where(ContactRow.leaves_on <= day, there, ContactRow.account_id.in_(live))


class SponsorshipRepository(Repository[Sponsorship, SponsorshipRow]):
    row, model = SponsorshipRow, Sponsorship

    async def of_account(self, account: str) -> list[Sponsorship]:
        return await self.where(SponsorshipRow.account_id == account)
