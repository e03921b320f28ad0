"""What is aimed at: targets of metrics with their owners, goals of people and teams for a quarter, costs of CS."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from cs_mcp.domain.records import Record


class Target(Record):
    """From `from_on` to `to_on` (None: until further notice); a ratio or number in `value`, or an amount.

    `segment` None: of the whole workspace. `owner_id` is the metric's owner.
    """

    metric: str
    segment: str | None = None
    value: float | None = None
    amount_minor: int | None = None
    currency: str | None = None
    from_on: date
    to_on: date | None = None
    owner_id: str | None = None


class GoalSubject(StrEnum):
    user = "user"
    team = "team"


class Goal(Record):
    """Of one person, or with `subject` team of everyone who reports to `user_id` (None: everyone)."""

    subject: GoalSubject = GoalSubject.user
    user_id: str | None = None
    metric: str
    quarter_start: date
    value: float | None = None
    amount_minor: int | None = None
    currency: str | None = None


class CsCost(Record):
    """Of one person, or of all (`user_id` None), in the month that begins on `month`; `kind` such as salary, tools."""

    month: date
    user_id: str | None = None
    kind: str
    amount_minor: int
    currency: str
