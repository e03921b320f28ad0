"""Revenue as pictures: the ARR waterfall, the pipeline by quarter and stage, the cohort triangle.

They take plain figures, in major units of one currency, and give charts for `charts.png`; None where there is nothing
to draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

_TOTAL, _RISE, _FALL = "#37474f", "#2e7d32", "#c62828"
_INK, _DIM, _GUIDE = "#263238", "#607d8b", "#90a4ae"
# Stages from grey to deep blue: the further to the right in the pipeline, the darker.
_STAGES: Final = ("#cfd8dc", "#b3cde3", "#8cb4d9", "#5b95c9", "#2f74b0", "#0d4f8b")
_WON, _LOST = "#2e7d32", "#d08c88"
_ROOM_FOR_A_FIGURE: Final = 32
_LARGE: Final = ((1e9, "B"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True, slots=True)
class Step:
    """A bar of the waterfall: what is there (`is_total`), or what came or went, signed."""

    label: str
    amount: float
    is_total: bool = False


@dataclass(frozen=True, slots=True)
class Slice:
    """What a stage holds of a quarter; `count` records."""

    quarter: str
    stage: str
    amount: float
    count: int


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cohort kept, as a share of its start, so many periods later; None where that is still to come."""

    cohort: str
    age: int
    kept: float | None


def short(amount: float) -> str:
    """An amount as a label: 1234567 is "1.23M", with three digits at most."""
    for size, letter in _LARGE:
        if abs(amount) >= size * 0.9995:
            return f"{amount / size:.3g}{letter}"
    return f"{amount:.3g}"


def waterfall_chart(title: str, steps: Sequence[Step], currency: str, *, subtitle: str = "") -> Any:
    """Bars from the opening to the closing, in the order given, each hanging where the one before ended."""
    if not steps:
        return None
    import altair as alt

    rows = _hung(steps)
    order = [step.label for step in steps]
    x = alt.X("label:N", sort=order, title=None, axis=alt.Axis(labelAngle=0, labelLimit=120, ticks=False, domain=False))
    low, high = _range(rows)
    starts = f", axis starts at {short(low)}" if low > 0 else ""
    y = alt.Scale(domain=[low, high], nice=False, clamp=True)
    base = alt.Chart(alt.Data(values=rows))
    bars = base.mark_bar(size=44).encode(
        x=x,
        y=alt.Y("from:Q", scale=y, title=f"ARR, {currency}{starts}", axis=alt.Axis(format="~s", tickCount=5)),
        y2="to:Q",
        color=alt.Color("color:N", scale=None),
    )
    links = base.transform_filter("datum.next != null").mark_rule(color=_GUIDE, strokeDash=[3, 3])
    joined = links.encode(x=x, x2="next:N", y=alt.Y("to:Q", scale=y))
    figures = base.mark_text(baseline="bottom", dy=-4, fontSize=12, color=_INK).encode(
        x=x, y=alt.Y("top:Q", scale=y), text="said:N"
    )
    drawn: Any = joined + bars + figures
    return _dressed(drawn.properties(title=_titled(title, subtitle), width=max(480, 78 * len(steps)), height=300))


def _range(rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Where the axis runs: from zero, or from below the lowest level where what moved would be too thin to see."""
    levels = [row["to"] for row in rows]
    if not levels:
        return 0.0, 1.0
    lowest, peak = min(levels), max(max(levels), max(row["from"] for row in rows))
    if lowest <= 0:
        return min(0.0, lowest), peak * 1.08 or 1.0
    floor = lowest - 1.5 * (peak - lowest)
    low = floor if floor > 0.5 * peak and peak > lowest else 0.0
    return low, peak + (peak - low) * 0.08


def _hung(steps: Sequence[Step]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    level = 0.0
    for place, step in enumerate(steps):
        start = 0.0 if step.is_total else level
        end = step.amount if step.is_total else level + step.amount
        sign = "" if step.is_total else "+" if step.amount > 0 else "−" if step.amount < 0 else ""
        rows.append(
            {
                "label": step.label,
                "from": start,
                "to": end,
                "top": max(start, end),
                "color": _TOTAL if step.is_total else _RISE if step.amount >= 0 else _FALL,
                "said": sign + short(abs(step.amount) if sign else step.amount),
                "next": steps[place + 1].label if place + 1 < len(steps) else None,
            }
        )
        level = end
    return rows


def pipeline_chart(
    title: str, slices: Sequence[Slice], stages: Sequence[str], currency: str, *, subtitle: str = ""
) -> Any:
    """A stacked bar a quarter, in the order they come in; `stages` in the order of the pipeline, won and lost last."""
    if not slices:
        return None
    import altair as alt

    quarters = list(dict.fromkeys(one.quarter for one in slices))
    there = [stage for stage in stages if any(one.stage == stage for one in slices)]
    rows = [
        {
            "quarter": one.quarter,
            "stage": one.stage.replace("_", " "),
            "amount": one.amount,
            "order": stages.index(one.stage),
        }
        for one in slices
    ]
    totals: list[dict[str, Any]] = [
        {
            "quarter": quarter,
            "amount": sum(one.amount for one in slices if one.quarter == quarter),
            "count": sum(one.count for one in slices if one.quarter == quarter),
        }
        for quarter in quarters
    ]
    for total in totals:
        total["said"] = f"{short(total['amount'])} · {total['count']}"
    color = alt.Scale(
        domain=[stage.replace("_", " ") for stage in there],
        range=[_shade(stage, stages) for stage in there],
    )
    peak = max((total["amount"] for total in totals), default=0.0)
    y = alt.Y(
        "amount:Q",
        stack="zero",
        title=f"ARR, {currency}",
        scale=alt.Scale(domain=[0, peak * 1.1 or 1], nice=False),
        axis=alt.Axis(format="~s", tickCount=6),
    )
    x = alt.X("quarter:N", sort=quarters, title=None, axis=alt.Axis(labelAngle=0, ticks=False, domain=False))
    bars = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(size=52)
        .encode(
            x=x,
            y=y,
            color=alt.Color("stage:N", scale=color, title=None, legend=alt.Legend(orient="right", symbolType="square")),
            order=alt.Order("order:Q"),
        )
    )
    figures = (
        alt.Chart(alt.Data(values=totals))
        .mark_text(baseline="bottom", dy=-4, fontSize=12, color=_INK)
        .encode(x=x, y=alt.Y("amount:Q"), text="said:N")
    )
    drawn: Any = bars + figures
    sized = drawn.properties(title=_titled(title, subtitle), width=max(360, 96 * len(quarters)), height=280)
    return _dressed(sized)


def _shade(stage: str, stages: Sequence[str]) -> str:
    if stage.endswith("won"):
        return _WON
    if stage.endswith("lost"):
        return _LOST
    still_open = [one for one in stages if not one.endswith(("won", "lost"))]
    place = still_open.index(stage) / max(1, len(still_open) - 1)
    return _STAGES[round(place * (len(_STAGES) - 1))]


def cohort_chart(title: str, cells: Sequence[Cell], *, period: str, subtitle: str = "", sizes: dict[str, str]) -> Any:
    """A triangle: a row a cohort, a column an age, the share kept in each. `sizes` is said beside a cohort's name."""
    if all(cell.kept is None for cell in cells):
        return None
    import altair as alt

    cohorts = list(dict.fromkeys(cell.cohort for cell in cells))
    named = {cohort: f"{cohort}  ({sizes[cohort]})" if cohort in sizes else cohort for cohort in cohorts}
    rows = [
        {
            "cohort": named[cell.cohort],
            "age": cell.age,
            "kept": cell.kept,
            "said": f"{cell.kept:.0%}",
            "ink": "white" if cell.kept < 0.5 or cell.kept >= 1.2 else _INK,
        }
        for cell in cells
        if cell.kept is not None
    ]
    ages = max(1, len({row["age"] for row in rows}))
    wide, tall = max(14, min(44, 1_100 // ages)), max(12, min(26, 900 // max(1, len(cohorts))))
    # Red below, pale at what was there at the start, green above: growth of a cohort is seen as such.
    color = alt.Scale(domain=[0.3, 0.75, 1.0, 1.3], range=["#c62828", "#ffe082", "#e8f5e9", "#2e7d32"], clamp=True)
    x = alt.X("age:O", title=f"{period}s since the start", axis=alt.Axis(orient="top", labelAngle=0, ticks=False))
    y = alt.Y("cohort:N", sort=[named[cohort] for cohort in cohorts], title=None, axis=alt.Axis(ticks=False))
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)
    squares = base.mark_rect(stroke="white", strokeWidth=1.5).encode(
        color=alt.Color("kept:Q", scale=color, legend=None)
    )
    size = 11 if wide >= _ROOM_FOR_A_FIGURE else 0
    figures = base.mark_text(fontSize=size).encode(text="said:N", color=alt.Color("ink:N", scale=None))
    both: Any = squares + figures
    drawn: Any = both.resolve_scale(color="independent")
    return _dressed(drawn.properties(title=_titled(title, subtitle), width=wide * ages, height=tall * len(cohorts)))


def _titled(title: str, subtitle: str) -> Any:
    import altair as alt

    return alt.TitleParams(
        title, subtitle=subtitle or alt.Undefined, anchor="start", fontSize=15, subtitleColor=_DIM, offset=12
    )


def _dressed(chart: Any) -> Any:
    return (
        chart.configure(padding=16, background="white", font="sans-serif")
        .configure_view(stroke=None)
        .configure_axis(grid=False, domain=False, labelColor=_INK, titleColor=_DIM, titleFontWeight="normal")
        .configure_axisY(ticks=False, labelColor=_DIM)
        .configure_legend(labelColor=_INK)
    )
