"""Churn by score as a picture: what a score of so many points came to mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cs_mcp.domain.health.accuracy import Bin, Share

_BAR, _INTERVAL, _OVERALL = "#1565c0", "#37474f", "#c62828"
_WIDTH, _HEIGHT = 420, 220


def accuracy_chart(title: str, bins: Sequence[Bin], overall: Share, horizon_days: int) -> Any:
    """Bars of who left by score, each with its interval, and a line at the share of all cases that left."""
    import altair as alt

    scores = [f"{found.from_tenths / 10:.0f}–{found.to_tenths / 10:.0f}" for found in bins]
    rows = [
        {"score": score, "left": found.left.value, "low": found.left.low, "high": found.left.high}
        for score, found in zip(scores, bins, strict=True)
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("score:N", sort=scores, title="score", axis=alt.Axis(labelAngle=0))
    )
    axis = alt.Axis(format="%", title=f"churned within {horizon_days} days")
    bars = base.mark_bar(color=_BAR, opacity=0.75).encode(y=alt.Y("left:Q", axis=axis))
    intervals = base.mark_rule(color=_INTERVAL, strokeWidth=1.5).encode(y="low:Q", y2="high:Q")
    mean = alt.Chart(alt.Data(values=[{"left": overall.value}])).mark_rule(color=_OVERALL, strokeDash=[4, 3])
    drawn: Any = bars + intervals + mean.encode(y="left:Q")
    return drawn.properties(title=title, width=_WIDTH, height=_HEIGHT).configure_view(stroke=None)
