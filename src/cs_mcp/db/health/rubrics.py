"""The versions of a workspace's rubric, as they were written."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Boolean, Index, String, Text, bindparam, select, text
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.base import Instant, Remembered, remembered, source_key
from cs_mcp.db.read_path import Statement
from cs_mcp.db.repository import Repository
from cs_mcp.domain.health.rubric_versions import RubricVersion
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


_T: Final[Any] = HealthRubricRow.__table__
_MINE: Final = (_T.c.workspace == bindparam("workspace"), _T.c.removed_at.is_(None))
RUBRIC_IN_FORCE: Final = Statement(lambda: select(_T.c.text).where(*_MINE, _T.c.in_force))
RUBRIC_NAMED: Final = Statement(lambda: select(_T.c.text).where(*_MINE, _T.c.name == bindparam("name")))
RUBRIC_VERSIONS: Final = Statement(
    lambda: (
        select(_T.c.name, _T.c.adopted_at, _T.c.in_force).where(*_MINE).order_by(_T.c.adopted_at.desc(), _T.c.id.desc())
    )
)
