"""Work to be done: one open task per account and purpose."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from cs_mcp.domain.records import Record


class Priority(StrEnum):
    low = "low"
    normal = "normal"
    high = "high"
    urgent = "urgent"


class TaskStatus(StrEnum):
    open = "open"
    done = "done"
    canceled = "canceled"


class TaskOrigin(StrEnum):
    person = "person"
    agent = "agent"
    meeting = "meeting"
    playbook = "playbook"
    imported = "imported"
    alert = "alert"


class Task(Record):
    account_id: str
    title: str
    purpose: str | None = None
    assignee_id: str | None = None
    due_on: date | None = None
    priority: Priority = Priority.normal
    status: TaskStatus = TaskStatus.open
    origin: TaskOrigin = TaskOrigin.person
    related_id: str | None = None
    snoozed_until: date | None = None
    sla_due_at: datetime | None = None
    done_on: date | None = None
    outcome: str | None = None
