"""Pictures of revenue: the bars say what the figures say, and they can be drawn."""

from __future__ import annotations

from typing import Any

import pytest

from cs_mcp.services.charts import png
from cs_mcp.services.revenue.charts import Cell, Slice, Step, cohort_chart, pipeline_chart, short, waterfall_chart

STAGES = ("identified", "proposed", "won", "lost")
STEPS = [
    Step("Opening", 4_800_000, is_total=True), Step("New", 20_000), Step("Churn", -38_000),
    Step("Closing", 4_782_000, is_total=True),
]  # fmt: skip


def values_of(drawn: dict[str, Any]) -> list[dict[str, Any]]:
    return drawn["data"]["values"]


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (0, "0"),
        (999.6, "1k"),
        (999, "999"),
        (1_234_567, "1.23M"),
        (999_600, "1M"),
        (-38_500, "-38.5k"),
        (2.5e9, "2.5B"),
    ],
)
def test_an_amount_is_said_in_three_digits(amount: float, said: str) -> None:
    assert short(amount) == said


def test_each_bar_hangs_where_the_one_before_ended_and_the_last_meets_the_closing() -> None:
    chart = waterfall_chart("March", STEPS, "USD").to_dict()
    rows = values_of(chart)
    assert [(row["label"], row["from"], row["to"], row["said"]) for row in rows] == [
        ("Opening", 0, 4_800_000, "4.8M"),
        ("New", 4_800_000, 4_820_000, "+20k"),
        ("Churn", 4_820_000, 4_782_000, "−38k"),
        ("Closing", 0, 4_782_000, "4.78M"),
    ]
    [axis] = {layer["encoding"]["y"]["title"] for layer in chart["layer"] if "title" in layer["encoding"]["y"]}
    assert axis == "ARR, USD, axis starts at 4.72M"  # a cut axis says so


async def test_pictures_are_drawn_and_nothing_is_drawn_of_nothing() -> None:
    pytest.importorskip("vl_convert")
    slices = [Slice("Q1", stage, 10.0 * place, place) for place, stage in enumerate(STAGES, 1)]
    cells = [Cell("2025-01", 0, 1.0), Cell("2025-01", 1, 0.8), Cell("2025-02", 0, 1.0), Cell("2025-02", 1, None)]
    pipeline = pipeline_chart("Expansion", slices, STAGES, "USD")
    assert [row["said"] for row in values_of(pipeline.to_dict()["layer"][1])] == ["100 · 10"]
    cohorts = cohort_chart("Logos", cells, period="month", sizes={"2025-01": "12 accounts"})
    for chart in (waterfall_chart("March", STEPS, "USD"), pipeline, cohorts):
        assert (await png(chart)).startswith(b"\x89PNG")
    assert waterfall_chart("March", [], "USD") is None
    assert pipeline_chart("Expansion", [], STAGES, "USD") is None
    assert cohort_chart("Logos", [Cell("2025-01", 0, None)], period="month", sizes={}) is None
