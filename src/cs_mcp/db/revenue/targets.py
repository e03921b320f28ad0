"""Targets, goals and what customer success costs."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Date, Double, String
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.base import Id, Minor, Remembered, belongs_to, live_index, remembered, source_key
from cs_mcp.db.repository import Repository
from cs_mcp.domain.revenue.targets import CsCost, Goal, Target


@remembered
class TargetRow(Remembered):
    __tablename__ = "target"

    metric: Mapped[str] = mapped_column(String(32))
    segment: Mapped[str | None] = mapped_column(String(16))
    value: Mapped[float | None] = mapped_column(Double)
    amount_minor: Mapped[int | None] = mapped_column(Minor)
    currency: Mapped[str | None] = mapped_column(String(3))
    from_on: Mapped[date] = mapped_column(Date)
    to_on: Mapped[date | None] = mapped_column(Date)
    owner_id: Mapped[str | None] = mapped_column(Id)

    __table_args__ = (
        belongs_to("owner_id", "member"),
        source_key("target"),
        live_index("ix_target_metric", "metric", "from_on"),
    )


@remembered
class GoalRow(Remembered):
    __tablename__ = "goal"

    subject: Mapped[str] = mapped_column(String(8))
    user_id: Mapped[str | None] = mapped_column(Id)
    metric: Mapped[str] = mapped_column(String(32))
    quarter_start: Mapped[date] = mapped_column(Date)
    value: Mapped[float | None] = mapped_column(Double)
    amount_minor: Mapped[int | None] = mapped_column(Minor)
    currency: Mapped[str | None] = mapped_column(String(3))

    __table_args__ = (
        belongs_to("user_id", "member"),
        source_key("goal"),
        live_index("ix_goal_quarter", "quarter_start", "metric"),
    )


@remembered
class CsCostRow(Remembered):
    __tablename__ = "cs_cost"

    month: Mapped[date] = mapped_column(Date)
    user_id: Mapped[str | None] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(String(32))
    amount_minor: Mapped[int] = mapped_column(Minor)
    currency: Mapped[str] = mapped_column(String(3))

    __table_args__ = (
        belongs_to("user_id", "member"),
        source_key("cs_cost"),
        live_index("ix_cs_cost_month", "month"),
    )


class TargetRepository(Repository[Target, TargetRow]):
    row, model = TargetRow, Target


class GoalRepository(Repository[Goal, GoalRow]):
    row, model = GoalRow, Goal


class CsCostRepository(Repository[CsCost, CsCostRow]):
    row, model = CsCostRow, CsCost
