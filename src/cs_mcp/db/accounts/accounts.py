"""Accounts and their team."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from sqlalchemy import Date, Index, String, Text, or_, text
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.base import (
    Id,
    Json,
    Minor,
    Ordered,
    Remembered,
    belongs_to,
    live_index,
    merged_index,
    remembered,
    source_key,
)
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.repository import Repository
from cs_mcp.domain.accounts.accounts import Account, TeamMember, TeamRole
from cs_mcp.domain.text import Trust

__all__ = ["AccountRepository", "AccountRow", "TeamMemberRow", "TeamRepository", "name_key"]


def name_key(name: str) -> str:
    """What two spellings of one name share: case and outer space aside."""
    return " ".join(name.casefold().split())


@remembered
class AccountRow(Remembered):
    __tablename__ = "account"
    derived = frozenset(
        {
            "arr_minor",
            "health_band",
            "last_touch_on",
            "last_meeting_on",
            "next_meeting_on",
            "executive_sponsor_id",
            "champion_id",
            "name_key",
        }
    )
    trust = {
        "name": Trust.customer,
        "risk_reason": Trust.member,
        "industry": Trust.customer,
        "source_url": Trust.customer,
    }

    name: Mapped[str] = mapped_column(Text)
    name_key: Mapped[str] = mapped_column(Ordered)
    domain: Mapped[str | None] = mapped_column(Text)
    industry: Mapped[str | None] = mapped_column(Text)
    employees: Mapped[int | None]
    segment: Mapped[str] = mapped_column(String(16))
    tier: Mapped[str] = mapped_column(String(16))
    touch: Mapped[str] = mapped_column(String(8))
    stage: Mapped[str] = mapped_column(String(24))
    onboarding_status: Mapped[str] = mapped_column(String(16))
    owner_id: Mapped[str | None] = mapped_column(Id)
    currency: Mapped[str] = mapped_column(String(3))
    created_on: Mapped[date | None] = mapped_column(Date)
    renewal_on: Mapped[date | None] = mapped_column(Date)
    risk_reason: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[str]] = mapped_column(Json)
    custom: Mapped[dict[str, Any]] = mapped_column(Json)
    parent_id: Mapped[str | None] = mapped_column(Id)
    source_url: Mapped[str | None] = mapped_column(Text)
    merged_into_id: Mapped[str | None] = mapped_column(Id)

    arr_minor: Mapped[int] = mapped_column(Minor, default=0)
    health_band: Mapped[str] = mapped_column(String(8), default="unknown")
    last_touch_on: Mapped[date | None] = mapped_column(Date)
    last_meeting_on: Mapped[date | None] = mapped_column(Date)
    next_meeting_on: Mapped[date | None] = mapped_column(Date)
    executive_sponsor_id: Mapped[str | None] = mapped_column(Id)
    champion_id: Mapped[str | None] = mapped_column(Id)

    @classmethod
    def companions(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"name_key": name_key(values["name"])} if "name" in values else {}

    __table_args__ = (
        belongs_to("owner_id", "member"),
        belongs_to("parent_id", "account"),
        belongs_to("merged_into_id", "account"),
        source_key("account"),
        merged_index("account"),
        live_index("ix_account_name_key", "name_key", "id"),
        live_index("ix_account_domain", "domain"),
        Index(
            "ix_account_arr",
            "workspace",
            text("arr_minor DESC"),
            "id",
            sqlite_where=text("removed_at IS NULL"),
        ),
        live_index("ix_account_renewal", "renewal_on", "id"),
        live_index("ix_account_touch", "last_touch_on", "id"),
        # What lists filter on most: a count reads this index alone, which takes `removed_at` in it too on SQLite.
        live_index(
            "ix_account_list", "segment", "health_band", "tier", "stage", "renewal_on", "id", "removed_at"
        ).ddl_if("sqlite"),
        # On PostgreSQL without the band, which a night changes of many: where no index has it, none is touched.
        live_index("ix_account_kind", "segment", "tier", "stage", "renewal_on", "id").ddl_if("postgresql"),
        live_index("ix_account_owner", "owner_id", "id"),
        {"postgresql_with": {"fillfactor": 90}},  # room for those
    )


@remembered
class TeamMemberRow(Remembered):
    __tablename__ = "account_team"

    account_id: Mapped[str] = mapped_column(Id)
    user_id: Mapped[str] = mapped_column(Id)
    role: Mapped[str] = mapped_column(String(32))

    __table_args__ = (
        belongs_to("account_id", "account"),
        belongs_to("user_id", "member"),
        source_key("account_team"),
        live_index("ix_account_team_account", "account_id"),
        live_index("ix_account_team_user", "user_id", "account_id"),
    )


class AccountRepository(Repository[Account, AccountRow]):
    row, model = AccountRow, Account

    async def look_alikes(self, name: str, domain: str | None) -> list[Account]:
        """Visible accounts with the same name (case aside) or domain."""
        same = AccountRow.name_key == name_key(name)
        return await self.where(or_(same, AccountRow.domain == domain) if domain else same, limit=5)

    async def these(self, ids: Iterable[str]) -> list[Account]:
        """Those of the accounts that the caller may see."""
        return await self.where(any_of(AccountRow.id, texts("wanted", ids)))


class TeamRepository(Repository[TeamMember, TeamMemberRow]):
    row, model = TeamMemberRow, TeamMember

    async def of_account(self, account: str) -> list[TeamMember]:
        return await self.where(TeamMemberRow.account_id == account)

    async def seats(self, account: str, role: TeamRole) -> list[TeamMember]:
        return await self.where(TeamMemberRow.account_id == account, TeamMemberRow.role == role.value)
