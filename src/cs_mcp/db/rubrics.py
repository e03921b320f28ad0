"""The versions of a workspace's rubric, as they were written."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Boolean, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.base import Instant, Remembered, remembered, source_key
from cs_mcp.db.repository import Repository
from cs_mcp.domain.rubric_versions import RubricVersion
from cs_mcp.domain.text import Trust

_LIVE: Final = text("removed_at IS NULL")


@remembered
class HealthRubricRow(Remembered):
    __tablename__ = "health_rubric"
    trust = {"text": Trust.member}

    name: Mapped[str] = mapped_column(String(32))
    digest: Mapped[str] = mapped_column(String(64))
    text: Mapped[str] = mapped_column(Text)
    adopted_at: Mapped[datetime] = mapped_column(Instant)
    in_force: Mapped[bool] = mapped_column(Boolean)

    __table_args__ = (
        source_key("health_rubric"),
        Index("uq_health_rubric_name", "workspace", "name", unique=True, sqlite_where=_LIVE),
    )


class RubricRepository(Repository[RubricVersion, HealthRubricRow]):
    row, model = HealthRubricRow, RubricVersion

    async def all(self) -> list[RubricVersion]:
        """Every version the workspace has had, the oldest first."""
        return sorted(await self.where(), key=lambda version: (version.adopted_at, version.id))
