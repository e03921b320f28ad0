"""Us: people and agents, and the tokens they come in with."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from sqlalchemy import Boolean, Column, Date, Index, String, Table, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.base import Base, Id, Instant, Json, Remembered, belongs_to, remembered, source_key
from cs_mcp.db.repository import Repository
from cs_mcp.domain.identity import Member
from cs_mcp.domain.text import Trust


@remembered
class MemberRow(Remembered):
    __tablename__ = "member"
    trust = {"name": Trust.member, "email": Trust.member}

    name: Mapped[str] = mapped_column(Text)
    email: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(String(16))
    reach: Mapped[str] = mapped_column(String(16))
    manager_id: Mapped[str | None] = mapped_column(Id)
    active: Mapped[bool] = mapped_column(Boolean)
    cover_id: Mapped[str | None] = mapped_column(Id)
    cover_from: Mapped[date | None] = mapped_column(Date)
    cover_to: Mapped[date | None] = mapped_column(Date)

    __table_args__ = (
        belongs_to("manager_id", "member"),
        belongs_to("cover_id", "member"),
        source_key("member"),
        Index(
            "uq_member_email",
            "workspace",
            "email",
            unique=True,
            sqlite_where=text("removed_at IS NULL"),
        ),
        Index("ix_member_manager", "workspace", "manager_id"),
        Index("ix_member_cover", "workspace", "cover_id"),
    )


class MemberRepository(Repository[Member, MemberRow]):
    row, model = MemberRow, Member

    async def names(self, ids: Iterable[str | None]) -> dict[str, str]:
        """Names of us by id."""
        wanted = {member for member in ids if member is not None}
        return {m.id: m.name for m in await self.where(MemberRow.id.in_(wanted))} if wanted else {}


# A token is a credential, not a customer record: its text is never stored, only an HMAC of it.
TOKENS = Table(
    "token",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("member_id", Id, nullable=False),
    Column("on_behalf_of", Id),
    Column("label", Text, nullable=False),
    Column("scopes", Json, nullable=False),
    Column("secret_hmac", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    belongs_to("member_id", "member"),
)


__all__ = ["TOKENS", "MemberRepository", "MemberRow"]
