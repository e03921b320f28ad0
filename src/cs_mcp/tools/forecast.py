"""The forecast of renewals."""

from __future__ import annotations

from cs_mcp.services.revenue.forecast import GetForecast
from cs_mcp.services.revenue.forecast_views import ForecastView
from cs_mcp.tools._context import Call
from cs_mcp.tools.cohorts import metrics


@metrics.read("Get forecast")
async def get_forecast(question: GetForecast, call: Call) -> ForecastView:
    """Show the renewal forecast by fiscal quarter, beside what health tells to expect.

    Categories add up to each quarter, `group_by` divides it. `compare_to` an earlier day names what was won, lost,
    pushed, pulled, recategorised or repriced since, with ids and effects that add up. Accuracy: of the total, and the
    share of renewals within 5 % of their forecast 90 days before close. The renewals behind it: list_renewals with
    `quarter`; to set a category: update_renewal.
    """
    return await call.services.forecasts.get(call.principal, question)
