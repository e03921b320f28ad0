"""Pictures as PNG. They need the extra `charts` (altair, vl-convert); without it an answer has none, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from typing import Any, Final

import anyio.to_thread

from cs_mcp.domain.health.rubric import Bands

HOW_TO_INSTALL: Final = "No picture: this server lacks the extra for charts; pip install 'cs-mcp[charts]' brings it."
BAND_COLORS: Final = {"green": "#2e7d32", "yellow": "#f9a825", "red": "#c62828", "unknown": "#757575"}
_GIVES, _COSTS = "#1565c0", "#cfd8dc"
_WIDTH: Final = 420
_SCALE: Final = 2.0  # pixels a point, for screens of today


def can_draw() -> bool:
    return find_spec("altair") is not None and find_spec("vl_convert") is not None


async def png(chart: Any) -> bytes:
    """An altair chart as PNG, drawn beside the event loop. It fetches nothing: fonts and code come with the extra."""
    return await anyio.to_thread.run_sync(_png, chart)


def _png(chart: Any) -> bytes:
    import vl_convert

    return vl_convert.vegalite_to_png(chart.to_json(), scale=_SCALE, allowed_base_urls=[])


@dataclass(frozen=True, slots=True)
class Bar:
    """A measure in a contributions chart, in points of the score."""

    title: str
    gives: float
    costs: float


def health_chart(title: str, bars: Sequence[Bar], course: Sequence[tuple[date, float]], bands: Bands) -> Any:
    """Contributions as bars above the score of the last days; the bars in the order given."""
    parts = _contributions(bars)
    drawn = parts if len(course) < 2 else _stacked(parts, _course(course, bands))
    return drawn.properties(title=title).configure_view(stroke=None).configure_axis(grid=False, labelLimit=240)


def _contributions(bars: Sequence[Bar]) -> Any:
    import altair as alt

    rows = [
        {"measure": bar.title, "part": part, "points": points, "order": order}
        for bar in bars
        for order, (part, points) in enumerate((("gives", bar.gives), ("costs", bar.costs)))
    ]
    color = alt.Scale(domain=["gives", "costs"], range=[_GIVES, _COSTS])
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_bar()
        .encode(
            x=alt.X("points:Q", title="points of the score"),
            y=alt.Y("measure:N", sort=[bar.title for bar in bars], title=None),
            color=alt.Color("part:N", scale=color, title=None),
            order="order:Q",
        )
        .properties(width=_WIDTH)
    )


def _course(course: Sequence[tuple[date, float]], bands: Bands) -> Any:
    import altair as alt

    zones = [
        {"from": 0, "to": bands.yellow, "band": "red"},
        {"from": bands.yellow, "to": bands.green, "band": "yellow"},
        {"from": bands.green, "to": 100, "band": "green"},
    ]
    shades = alt.Scale(domain=list(BAND_COLORS), range=list(BAND_COLORS.values()))
    score = alt.Scale(domain=[0, 100])
    zone = (
        alt.Chart(alt.Data(values=zones))
        .mark_rect(opacity=0.15)
        .encode(
            y=alt.Y("from:Q", scale=score, title="score"),
            y2="to:Q",
            color=alt.Color("band:N", scale=shades, legend=None),
        )
    )
    points = [{"day": f"{day}T00:00:00", "score": value} for day, value in course]
    line = (
        alt.Chart(alt.Data(values=points))
        .mark_line(color=_GIVES, point={"filled": True, "size": 12, "color": _GIVES})
        .encode(x=alt.X("day:T", title=None), y=alt.Y("score:Q", scale=score))
    )
    return (zone + line).properties(width=_WIDTH, height=120)


def _stacked(above: Any, below: Any) -> Any:
    import altair as alt

    both: Any = alt.vconcat(above, below)
    return both.resolve_scale(color="independent")
