"""The metric `renewals`: of contracts that came to their end, how many were renewed, in time, and at what price."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from cs_mcp.db.accounts.book_reads import BookReads
from cs_mcp.db.read_path import Row
from cs_mcp.db.renewals.renewed_reads import RenewedReads
from cs_mcp.db.store import Store
from cs_mcp.domain.contract import Amount, shown
from cs_mcp.domain.revenue.metrics import Renewed
from cs_mcp.services.metrics.metrics import Asked, Definition, Measured, MetricRow, MetricTable
from cs_mcp.services.revenue.targets import Aims, Targets

FORMULAS: Final = {
    "renewal_rate": "renewed ÷ due",
    "on_time_rate": "renewed by the last day of the term ÷ due",
    "renewal_rate_arr": "Σ min(renewed, due ARR) ÷ Σ due ARR",
    "concession_rate": "renewed with a concession ÷ renewed",
}
_DUE: Final = (
    "of contracts whose term ended in the period; one still open past its end is due and not renewed, co-termed and "
    "moved ones count by the last day of their term"
)


class RenewalRates(Definition):
    over_a_year = True
    divides = True

    def __init__(self, store: Store) -> None:
        self._reads = RenewedReads(store)
        self._books = BookReads(store)
        self._targets = Targets(store)

    async def measure(self, asked: Asked) -> Measured:
        assert asked.period_start is not None
        rows = await self._reads.due(
            asked.principal,
            asked.period_start,
            asked.as_of,
            owner=asked.owner_id,
            slice_by=asked.slice_by,
            began_at=asked.calendar.start_of(asked.period_start),
        )
        aims = await self._targets.on(asked.principal, asked.as_of)
        people = await self._books.people(asked.principal) if asked.slice_by == "owner" else {}
        tables = [MetricTable(name="renewals", formula=_DUE, rows=_figures(_by_currency(rows), aims, None))]
        if asked.slice_by is not None:
            divided: list[MetricRow] = []
            of_slice: defaultdict[str, list[Row]] = defaultdict(list)
            for row in rows:
                of_slice[slice_of(row)].append(row)
            for name, part in sorted(of_slice.items(), key=lambda one: (-sum(r["due"] for r in one[1]), one[0])):
                told = slice_name(asked.slice_by, name, people)
                segment = name if asked.slice_by == "segment" else None
                figures = _figures(_by_currency(part), aims, segment)
                divided += [figure.model_copy(update={"slice": told, "formula": None}) for figure in figures]
            formula = f"the same by {asked.slice_by}, as it was when the period began"
            tables.append(MetricTable(name=f"by_{asked.slice_by}", formula=formula, rows=divided))
        return Measured(tables=tables)


def slice_of(row: Mapping[str, Any]) -> str:
    """What the slice was at the start of the period; "" for nothing."""
    if row["slice_then"] is not None or row["slice_changed"]:
        return json.loads(row["slice_then"]) or "" if row["slice_then"] else ""
    return row["slice_now"] or ""


def slice_name(slice_by: str, value: str, people: Mapping[str, str]) -> str:
    if not value:
        return f"no {slice_by}"
    return f"{shown(people.get(value, '?'))} ({value})" if slice_by == "owner" else value


def _by_currency(rows: Sequence[Row]) -> dict[str, Renewed]:
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0] * len(Renewed._fields))
    for row in rows:
        for place, name in enumerate(Renewed._fields):
            sums[row["currency"]][place] += row[name]
    return {currency: Renewed(*values) for currency, values in sorted(sums.items())}


def _figures(found: Mapping[str, Renewed], aims: Aims, segment: str | None) -> list[MetricRow]:
    """Counts of all currencies together; ARR of each by itself, since nothing is summed across them."""
    everyone = Renewed(*(sum(values) for values in zip(*found.values(), strict=True))) if found else Renewed(*[0] * 6)
    rows = [
        _figure("renewal_rate", everyone.by_count, everyone.renewed, everyone.due, aims, segment),
        _figure("on_time_rate", everyone.on_time_rate, everyone.on_time, everyone.due, aims, segment),
    ]
    for currency, renewed in found.items():
        figure = _figure("renewal_rate_arr", renewed.by_arr, None, None, aims, segment)
        kept, due = Amount.of(renewed.renewed_arr, currency), Amount.of(renewed.due_arr, currency)
        rows.append(figure.model_copy(update={"amount": kept, "of_amount": due}))
    rows.append(
        _figure("concession_rate", everyone.concession_rate, everyone.with_concession, everyone.renewed, aims, segment)
    )
    return rows


def _figure(
    metric: str, value: Fraction | None, hits: int | None, of: int | None, aims: Aims, segment: str | None
) -> MetricRow:
    return MetricRow(
        label=metric,
        value=told(value),
        hits=hits,
        of=of,
        formula=FORMULAS[metric],
        target=aims.of(metric, segment, value),
    )


def told(ratio: Fraction | None) -> float | None:
    return None if ratio is None else round(float(ratio), 4)
