"""Figures over a book."""

from __future__ import annotations

from cs_mcp.services.metrics.metrics import GetMetrics, MetricsView
from cs_mcp.tools._context import Call
from cs_mcp.tools._toolset import Toolset

metrics = Toolset("metrics")


@metrics.read("Get metrics")
async def get_metrics(question: GetMetrics, call: Call) -> MetricsView:
    """Show a metric over the accounts you see, with its formula, target and scope.

    `health`: accounts and ARR by band (by `interval` too), migration, falls and rises. `completeness`: missing fields
    and feeds; find_accounts with `missing` lists them. `churn`: logo, revenue and net churn, expansion rate, quick
    ratio, alerts of three worsening quarters. `clv`: each form named. `concentration`: ARR of the largest. `renewals`:
    renewal rate by count, ARR and on time, concession rate. `books`: each CSM's load, NRR, GRR, health, overdue tasks.
    `goals`: attainment of the quarter. `cs_return`: expansion and saved ARR against cost. `tiers`:
    who is high-value, proposed with reasons; update_accounts adopts. NRR, GRR and the waterfall:
    get_retention; by start period: get_cohorts; why a score moved: explain_health.
    """
    return await call.services.metrics.get(call.principal, question)
