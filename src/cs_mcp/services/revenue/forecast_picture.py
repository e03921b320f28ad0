"""The pipeline as a picture: what is up for renewal, by quarter and stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date

from cs_mcp.db.read_path import Row
from cs_mcp.domain.calendar import FiscalQuarter
from cs_mcp.domain.money import Money
from cs_mcp.domain.renewals.renewals import RenewalStage
from cs_mcp.services.charts import HOW_TO_INSTALL, can_draw, png
from cs_mcp.services.revenue.charts import Slice, pipeline_chart


async def pipeline_picture(
    rows: Sequence[Row], quarters: Sequence[FiscalQuarter], as_of: date
) -> tuple[bytes | None, str | None]:
    """PNG of sums by stage in the currency that most is up for, and what is to be said of it. None where none is."""
    if not can_draw():
        return None, HOW_TO_INSTALL
    by_currency: defaultdict[str, int] = defaultdict(int)
    held: defaultdict[tuple[str, int, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row in rows:
        by_currency[row["currency"]] += row["arr_minor"]
        key = (row["currency"], row["quarter"], row["group"])
        held[key] = (held[key][0] + row["arr_minor"], held[key][1] + row["renewals"])
    if not by_currency:
        return None, None
    currency = max(sorted(by_currency), key=lambda one: by_currency[one])
    slices = [
        Slice(quarters[number].label, stage, float(Money(minor=arr, currency=currency).amount), count)
        for (of, number, stage), (arr, count) in sorted(held.items())
        if of == currency
    ]
    chart = pipeline_chart(
        "ARR up for renewal, by quarter and stage", slices, [stage.value for stage in RenewalStage], currency,
        subtitle=f"as of {as_of}; above each quarter its ARR and its renewals",
    )  # fmt: skip
    others = sorted(set(by_currency) - {currency})
    note = f"The picture shows {currency}; not {', '.join(others)}." if others else None
    return await png(chart), note
