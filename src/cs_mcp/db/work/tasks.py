"""Tasks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Final

from sqlalchemy import Date, Index, String, Text, bindparam, select, text
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.base import Id, Instant, Remembered, belongs_to, live_index, remembered, source_key
from cs_mcp.db.members import MemberRow
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Statement
from cs_mcp.db.repository import Repository
from cs_mcp.domain.text import Trust
from cs_mcp.domain.work.tasks import Task

_OPEN_WITH_PURPOSE = text("removed_at IS NULL AND status = 'open' AND purpose IS NOT NULL")


@remembered
class TaskRow(Remembered):
    __tablename__ = "task"
    trust = {"title": Trust.member, "purpose": Trust.system, "outcome": Trust.member}

    account_id: Mapped[str] = mapped_column(Id)
    title: Mapped[str] = mapped_column(Text)
    purpose: Mapped[str | None] = mapped_column(Text)
    assignee_id: Mapped[str | None] = mapped_column(Id)
    due_on: Mapped[date | None] = mapped_column(Date)
    priority: Mapped[str] = mapped_column(String(8))
    status: Mapped[str] = mapped_column(String(16))
    origin: Mapped[str] = mapped_column(String(16))
    related_id: Mapped[str | None] = mapped_column(Id)
    snoozed_until: Mapped[date | None] = mapped_column(Date)
    sla_due_at: Mapped[datetime | None] = mapped_column(Instant)
    done_on: Mapped[date | None] = mapped_column(Date)
    outcome: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        belongs_to("account_id", "account"),
        belongs_to("assignee_id", "member"),
        source_key("task"),
        Index(
            "uq_task_open_purpose",
            "workspace",
            "account_id",
            "purpose",
            unique=True,
            sqlite_where=_OPEN_WITH_PURPOSE,
        ),
        live_index("ix_task_account", "account_id", "status", "due_on"),
        live_index("ix_task_assignee", "assignee_id", "status", "due_on"),
        live_index("ix_task_due", "status", "due_on"),
    )


# Not against those who only name the member in a row of theirs.
_HELD: Final = Statement(
    lambda: (
        select(MemberRow.id)
        .where(MemberRow.workspace == bindparam("workspace"), MemberRow.id == bindparam("assignee"))
        .with_for_update(key_share=True)
    )
)
_EVER: Final = Statement(
    lambda: (
        select(TaskRow.id)
        .where(TaskRow.workspace == bindparam("workspace"), TaskRow.purpose == bindparam("purpose"))
        .limit(1)
    )
)


class TaskRepository(Repository[Task, TaskRow]):
    row, model = TaskRow, Task

    async def open_of(self, accounts: Iterable[str], assignees: Iterable[str]) -> list[Task]:
        """Open tasks of these people on these accounts."""
        mine = (any_of(TaskRow.account_id, texts("accounts", accounts)), TaskRow.status == "open")
        return await self.where(*mine, any_of(TaskRow.assignee_id, texts("people", assignees)))

    async def with_purpose(self, account: str) -> list[Task]:
        """Open tasks of the account that have a purpose."""
        return await self.where(TaskRow.account_id == account, TaskRow.status == "open", TaskRow.purpose.is_not(None))

    async def was_ever(self, purpose: str, assignee: str) -> bool:
        """Whether any account ever had a task of this purpose: done, canceled and taken back ones too.

        Who asks the same of this assignee meanwhile waits for this unit of work.
        """
        wire, given = await self._work.wire(), {"workspace": self._work.principal.workspace}
        await wire.rows(_HELD, given | {"assignee": assignee})
        return bool(await wire.rows(_EVER, given | {"purpose": purpose}))

    async def open_with_purpose(self, account: str, purpose: str) -> Task | None:
        """The open task of this purpose, those entered in this unit of work included."""
        for row in self._rows.values():
            if (row.account_id, row.purpose, row.status) == (account, purpose, "open") and row.removed_at is None:
                return self._as_record(row)
        found = await self.where(
            TaskRow.account_id == account, TaskRow.purpose == purpose, TaskRow.status == "open", limit=1
        )
        return found[0] if found else None
