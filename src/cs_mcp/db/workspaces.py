"""The workspace: an id outside row-level security, its profile, and the head of its history."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.base import Base, Id, Json, Remembered, remembered, source_key
from cs_mcp.db.repository import Repository
from cs_mcp.domain.text import Trust
from cs_mcp.domain.workspaces import Workspace

# Id only and outside row-level security, so that a token can be looked up behind the wall.
WORKSPACES = Table("workspace", Base.metadata, Column("id", Id, primary_key=True))

# One row a workspace, taken last in every write: it orders the history (spikes A1) and carries the chain's head.
HEADS = Table(
    "workspace_head",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)


@remembered
class WorkspaceRow(Remembered):
    __tablename__ = "workspace_profile"
    trust = {"name": Trust.member}

    name: Mapped[str] = mapped_column(Text)
    time_zone: Mapped[str] = mapped_column(String(64))
    currency: Mapped[str] = mapped_column(String(3))
    fiscal_year_starts: Mapped[int] = mapped_column(Integer)
    working_days: Mapped[list[int]] = mapped_column(Json)
    holidays: Mapped[list[Any]] = mapped_column(Json)
    segment_bounds: Mapped[dict[str, Any]] = mapped_column(Json)
    people_preview: Mapped[list[str]] = mapped_column(Json)
    conventions: Mapped[dict[str, Any] | None] = mapped_column(Json)

    __table_args__ = (source_key("workspace_profile"),)


class WorkspaceRepository(Repository[Workspace, WorkspaceRow]):
    row, model = WorkspaceRow, Workspace


async def found_workspace(session: AsyncSession, workspace: str) -> None:
    """Enter a workspace's id and the head of its history; its profile follows in the same transaction."""
    await session.execute(insert(WORKSPACES).values(id=workspace))
    await session.execute(insert(HEADS).values(workspace=workspace, seq=0, hash=""))
