"""Retention by start period."""

from __future__ import annotations

from cs_mcp.services.revenue.cohorts import CohortsView, GetCohorts
from cs_mcp.tools._context import Call
from cs_mcp.tools.accuracy import metrics


@metrics.read("Get cohorts")
async def get_cohorts(question: GetCohorts, call: Call) -> CohortsView:
    """Show logo and revenue retention by the month or quarter customers started in.

    Each cohort's customers, their ARR with growth and their ARR without it, at the end of each period of their life,
    as shares of what the cohort began with, and the weighted average. Use it to see whether newer customers stay
    longer than older ones did, and at what age they leave. `cohort` lists the accounts of one. What a whole book lost
    and won in a window: get_retention.
    """
    return await call.services.cohorts.get(call.principal, question)


__all__ = ["metrics"]
