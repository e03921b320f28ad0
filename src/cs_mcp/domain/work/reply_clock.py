"""The clock on an unhappy customer: a personal reply within two days, a leader's attention after five."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from cs_mcp.domain.calendar import Calendar

REPLY_WITHIN: Final = timedelta(hours=48)  # elapsed, weekends included
ESCALATE_BUSINESS_DAYS: Final = 5


class ReplyState(StrEnum):
    running = "running"
    overdue = "overdue"
    escalated = "escalated"  # nobody answered, and the leader's day has come


class ReplyClock(NamedTuple):
    """`received_at` is the earliest it can have come in: the start of the day where the hour is not known."""

    received_at: datetime
    due_at: datetime
    escalates_on: date
    state: ReplyState


def reply_clock(received_on: date, received_at: datetime | None, now: datetime, calendar: Calendar) -> ReplyClock:
    """The clock of a feedback that nobody has answered."""
    came = received_at or calendar.start_of(received_on)
    due = came + REPLY_WITHIN
    escalates = calendar.add_business_days(received_on, ESCALATE_BUSINESS_DAYS)
    state = ReplyState.running
    if now >= due:
        state = ReplyState.escalated if calendar.today(now) >= escalates else ReplyState.overdue
    return ReplyClock(came, due, escalates, state)
