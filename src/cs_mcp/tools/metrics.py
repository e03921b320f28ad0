"""Figures over a book."""

from __future__ import annotations

from cs_mcp.services.metrics import GetMetrics, MetricsView
from cs_mcp.tools._context import Call
from cs_mcp.tools._toolset import Toolset

metrics = Toolset("metrics")


@metrics.read("Get metrics")
async def get_metrics(question: GetMetrics, call: Call) -> MetricsView:
    """Show a metric over the accounts you see, with its formula, scope and day.

    `health`: accounts and ARR by band, migration between bands since a day, biggest falls and rises. `completeness`:
    which required fields and feeds are missing, by owner; find_accounts with `missing` lists the accounts. Why a score
    moved: explain_health.
    """
    return await call.services.metrics.get(call.principal, question)
