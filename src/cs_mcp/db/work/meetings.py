"""Meetings, calls and e-mails."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from sqlalchemy import Boolean, Date, String, Text, or_
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.base import Id, Instant, Json, Remembered, belongs_to, live_index, remembered, source_key
from cs_mcp.db.repository import Repository
from cs_mcp.domain.text import Trust
from cs_mcp.domain.work.meetings import Meeting, MeetingKind, MeetingStatus


@remembered
class MeetingRow(Remembered):
    __tablename__ = "meeting"
    # A summary repeats what customers said, so it is treated as theirs whoever typed it.
    trust = {"agenda": Trust.customer, "summary": Trust.customer, "recording_url": Trust.customer}

    account_id: Mapped[str] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(String(24))
    status: Mapped[str] = mapped_column(String(16))
    held_on: Mapped[date] = mapped_column(Date)
    held_at: Mapped[datetime | None] = mapped_column(Instant)
    attendees: Mapped[list[Any]] = mapped_column(Json)
    agenda: Mapped[str | None] = mapped_column(Text)
    summary: Mapped[str | None] = mapped_column(Text)
    decisions: Mapped[list[str]] = mapped_column(Json)
    sentiment: Mapped[str | None] = mapped_column(String(16))
    renewal_intent: Mapped[str | None] = mapped_column(String(16))
    forecast_hint: Mapped[str | None] = mapped_column(String(16))
    product_requests: Mapped[list[str]] = mapped_column(Json)
    roi_shown: Mapped[bool] = mapped_column(Boolean)
    materials_shared_on: Mapped[date | None] = mapped_column(Date)
    recording_url: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        belongs_to("account_id", "account"),
        source_key("meeting"),
        live_index("ix_meeting_account", "account_id", "held_on"),
    )


class MeetingRepository(Repository[Meeting, MeetingRow]):
    row, model = MeetingRow, Meeting

    async def any_held(self, account: str, kinds: Iterable[MeetingKind], since: date, until: date) -> bool:
        """Whether a meeting of one of these kinds was held with the account from `since` to `until`, both included."""
        found = await self.where(
            MeetingRow.account_id == account,
            MeetingRow.status == MeetingStatus.held.value,
            MeetingRow.held_on.between(since, until),
            or_(*(MeetingRow.kind == kind.value for kind in kinds)),
            limit=1,
        )
        return bool(found)

    async def planned(
        self, account: str, since: date, until: date | None = None, *, kind: MeetingKind | None = None
    ) -> list[Meeting]:
        """Meetings planned with the account from `since` to `until`, both included, the nearest first."""
        conditions = [
            MeetingRow.account_id == account,
            MeetingRow.status == MeetingStatus.planned.value,
            MeetingRow.held_on >= since,
        ]
        if until is not None:
            conditions.append(MeetingRow.held_on <= until)
        if kind is not None:
            conditions.append(MeetingRow.kind == kind.value)
        return sorted(await self.where(*conditions), key=lambda meeting: (meeting.held_on, meeting.id))
