"""Whether health can be trusted."""

from __future__ import annotations

from cs_mcp.services.health.accuracy import AccuracyView, GetHealthAccuracy
from cs_mcp.tools._context import Call
from cs_mcp.tools.metrics import metrics


@metrics.read("Get health accuracy")
async def get_health_accuracy(question: GetHealthAccuracy, call: Call) -> AccuracyView:
    """Show how well the health score foretold churn, replayed over past days.

    Each customer is scored on past days from what was dated by then, and compared with who churned afterwards:
    precision, recall, false alarms, churns flagged 60 days ahead and AUC, by band and segment, with intervals, and
    whether the sample allows a conclusion. Read the verdict before relying on scores or changing the rubric. What one
    score is made of: explain_health. The book today: get_metrics.
    """
    return await call.services.accuracy.get(call.principal, question)


__all__ = ["metrics"]
