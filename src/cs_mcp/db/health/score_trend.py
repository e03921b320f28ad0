"""How a score of an earlier day is found: nights are missed, so the newest that is not much older stands for it."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, case, select

from cs_mcp.db.facts.conditions import days_before
from cs_mcp.db.facts.terms import AS_OF, WORKSPACE
from cs_mcp.db.health.scoring_tables import RUNS, SNAPSHOTS

TREND_DAYS: Final = (7, 30, 90)
STORED_TREND: Final = 30  # the one that accounts carry
SLACK_DAYS: Final = 14


def stored_before(account: Any) -> ColumnElement[int]:
    """The score that the trend of an account compares with, as of the day at hand.

    Whether there was any night to compare with is asked once: a store has none for its first month.
    """
    first, last = days_before(AS_OF, STORED_TREND + SLACK_DAYS), days_before(AS_OF, STORED_TREND)
    nights = select(RUNS.c.id).where(RUNS.c.workspace == WORKSPACE, RUNS.c.as_of.between(first, last))
    return case((nights.exists(), score_before(WORKSPACE, account, AS_OF, STORED_TREND)))


def score_before(workspace: Any, account: Any, day: Any, days: int) -> ColumnElement[int]:
    """The score of the newest snapshot so many days before `day`, in tenths."""
    then = SNAPSHOTS.alias()
    return (
        select(then.c.score_tenths)
        .where(then.c.workspace == workspace, then.c.account_id == account)
        .where(then.c.on.between(days_before(day, days + SLACK_DAYS), days_before(day, days)))
        .order_by(then.c.on.desc())
        .limit(1)
        .scalar_subquery()
    )
