"""What became of the ARR there was."""

from __future__ import annotations

from cs_mcp.services.revenue.retention import GetRetention
from cs_mcp.services.revenue.retention_views import RetentionView
from cs_mcp.tools._context import Call
from cs_mcp.tools.forecast import metrics


@metrics.read("Get retention")
async def get_retention(question: GetRetention, call: Call) -> RetentionView:
    """Show NRR, GRR, logo churn and the ARR waterfall of a window.

    Over the accounts you see, from the ledger: `cohort` (accounts with ARR at the opening) and `total`, each bar with
    its largest accounts; `bar` lists all behind one. `interval` gives the series, and alerts where a rate worsened
    three periods in a row. `slice_by` divides by what was so at the start. `known_on` shows what was known then;
    `restated` says that the past was corrected. Conventions and formulas come with the figures. By start period:
    get_cohorts. What comes: get_forecast.
    """
    return await call.services.retentions.get(call.principal, question)


__all__ = ["metrics"]
