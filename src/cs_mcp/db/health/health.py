"""Health notes."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Date, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.base import Id, Remembered, belongs_to, live_index, remembered, source_key
from cs_mcp.db.repository import Repository
from cs_mcp.domain.health.health import HealthNote
from cs_mcp.domain.text import Trust


@remembered
class HealthNoteRow(Remembered):
    __tablename__ = "health_note"
    trust = {"text": Trust.customer, "author_name": Trust.customer}

    account_id: Mapped[str] = mapped_column(Id)
    written_on: Mapped[date] = mapped_column(Date)
    text: Mapped[str] = mapped_column(Text)
    sentiment: Mapped[str | None] = mapped_column(String(16))
    risk: Mapped[str | None] = mapped_column(String(24))
    author_id: Mapped[str | None] = mapped_column(Id)
    author_name: Mapped[str | None] = mapped_column(Text)
    meeting_id: Mapped[str | None] = mapped_column(Id)
    corrects_id: Mapped[str | None] = mapped_column(Id)

    __table_args__ = (
        belongs_to("account_id", "account"),
        belongs_to("author_id", "member"),
        belongs_to("meeting_id", "meeting"),
        belongs_to("corrects_id", "health_note"),
        source_key("health_note"),
        live_index("ix_health_note_account", "account_id", "written_on"),
    )


class HealthNoteRepository(Repository[HealthNote, HealthNoteRow]):
    row, model = HealthNoteRow, HealthNote
