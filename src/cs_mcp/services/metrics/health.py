"""The metric `health`: bands by count and ARR, also over time, migration since a day, the biggest falls and rises."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from cs_mcp.db.health.metric_reads import CHURNED, NOT_SCORED, Days, HealthBook, MetricReads, Shape
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.contract import LeftOut
from cs_mcp.services.accounts.views import PersonRef
from cs_mcp.services.metrics.metrics import Asked, Definition, Measured, MetricRow, MetricTable, amounts
from cs_mcp.services.revenue.retention_asked import periods

_ORDER: Final = [*(band.value for band in Band), NOT_SCORED, CHURNED]


class Health(Definition):
    divides = True
    series = True

    def __init__(self, store: Store) -> None:
        self._reads = MetricReads(store)

    async def measure(self, asked: Asked) -> Measured:
        assert asked.period_start is not None
        days = await self._reads.days(asked.principal, asked.period_start, asked.as_of)
        past = asked.as_of < asked.today
        book = await self._reads.health(
            asked.principal,
            Shape(past=past, of_owner=asked.owner is not None, slice_by=asked.slice_by),
            start=asked.period_start,
            end=asked.as_of,
            days=days,
            owner=asked.owner.id if asked.owner else None,
            limit=asked.limit,
        )
        tables = [_bands(book.by_band)]
        if asked.slice_by is not None:
            tables.append(_slices(book, asked.slice_by))
        left_out: list[LeftOut] = []
        if days.start is not None:
            tables.append(_migration(book.migration, f"{days.start}"))
            for name, rows, fell in (("falls", book.falls, True), ("rises", book.rises, False)):
                tables.append(_movers(name, rows[: asked.limit], f"{days.start}", fell=fell))
                if len(rows) > asked.limit:
                    left_out.append(LeftOut(what=f"smaller {name}", call="get_metrics with a larger limit"))
        notes = _notes(asked, days, past=past)
        if asked.interval is not None:
            series, missed = await self._series(asked)
            tables.append(series)
            notes += missed
        return Measured(tables=tables, notes=notes, left_out=left_out)

    async def _series(self, asked: Asked) -> tuple[MetricTable, list[str]]:
        """Bands at the end of each period, newest first; and the periods that no night scored."""
        assert asked.period_start is not None
        assert asked.interval is not None
        rows: list[MetricRow] = []
        missed: list[str] = []
        for first, last in reversed(periods(asked.period_start, asked.as_of, asked.interval, asked.calendar)):
            days = await self._reads.days(asked.principal, first, last)
            if days.end is None or days.end < first:
                missed.append(f"{first} to {last}")
                continue
            shape = Shape(past=last < asked.today, of_owner=asked.owner is not None, slice_by=None)
            found = await self._reads.bands(asked.principal, shape, end=last, days=days, owner=asked.owner_id)
            rows += [row.model_copy(update={"slice": str(last)}) for row in _bands(found).rows]
        formula = f"the same at the end of each {asked.interval}, by the last scores within it"
        table = MetricTable(name="series", formula=formula, rows=rows)
        return table, [f"No night scored in: {', '.join(missed)}."] if missed else []


def _notes(asked: Asked, days: Days, *, past: bool) -> list[str]:
    notes: list[str] = []
    if days.start is None:
        first = f"; the first are of {days.first}" if days.first else ": nothing was scored yet"
        notes.append(f"No movement is shown: no scores are kept from {asked.period_start} or before{first}.")
    elif days.start != asked.period_start:
        notes.append(f"The scores of {days.start} stand for {asked.period_start}: the last before it.")
    if past:
        stand = f"Scores of {days.end}" if days.end else "No scores are kept from that day or before"
        notes.append(
            f"{stand}; ARR from the ledger as known today; segment, tier and owner as they are today. Who had neither "
            "a score nor ARR then is left out."
        )
    return notes


def _summed(rows: Sequence[Row], key: Callable[[Row], tuple[str, ...]]) -> list[tuple[tuple[str, ...], MetricRow]]:
    """Rows of one key and several currencies as one, in the order of bands."""
    counted: dict[tuple[str, ...], int] = defaultdict(int)
    money: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for row in rows:
        of = key(row)
        counted[of] += row["accounts"]
        money[of][row["currency"]] = money[of].get(row["currency"], 0) + row["arr_minor"]
    ordered = sorted(counted, key=lambda of: [_ORDER.index(part) if part in _ORDER else -1 for part in of])
    return [(of, MetricRow(accounts=counted[of], arr=amounts(money[of]))) for of in ordered]


def _bands(rows: Sequence[Row]) -> MetricTable:
    found = _summed(rows, lambda row: (row["band"],))
    total = sum(row.accounts or 0 for _, row in found)
    return MetricTable(
        name="by_band",
        formula="accounts that are not churned and their ARR, by effective band (an override's, else the score's)",
        rows=[row.model_copy(update={"label": of[0], "share": _share(row.accounts, total)}) for of, row in found],
    )


def _slices(book: HealthBook, slice_by: str) -> MetricTable:
    totals: dict[str, int] = defaultdict(int)
    for row in book.by_band:
        totals[_slice(row, slice_by, book)] += row["accounts"]
    rows: list[MetricRow] = []
    for name in sorted(totals, key=lambda name: (-totals[name], name)):
        mine = [row for row in book.by_band if _slice(row, slice_by, book) == name]
        for (band,), row in _summed(mine, lambda row: (row["band"],)):
            told = {"slice": name, "label": band, "share": _share(row.accounts, totals[name])}
            rows.append(row.model_copy(update=told))
    return MetricTable(name=f"by_{slice_by}", formula=f"the same by {slice_by}; share within it", rows=rows)


def _slice(row: Row, slice_by: str, book: HealthBook) -> str:
    if slice_by != "owner":
        return row["slice"]
    return f"{book.people.get(row['slice'], '?')} ({row['slice']})" if row["slice"] else "no owner"


def _share(part: int | None, total: int) -> float | None:
    return None if not total or part is None else round(part / total, 4)


def _migration(rows: Sequence[Row], since: str) -> MetricTable:
    found = _summed(rows, lambda row: (row["band_before"], row["band"]))
    return MetricTable(
        name="migration",
        formula=f"accounts by effective band on {since} → at the end, with their ARR at the start of the period",
        rows=[row.model_copy(update={"label": f"{before} → {after}"}) for (before, after), row in found],
    )


def _movers(name: str, rows: Sequence[Row], since: str, *, fell: bool) -> MetricTable:
    return MetricTable(
        name=name,
        formula=f"computed score at the end less that of {since}, {'lowest' if fell else 'highest'} first; ARR now",
        rows=[
            MetricRow(
                account=PersonRef(id=row["id"], name=row["name"]),
                label=row["band"],
                arr=amounts({row["currency"]: row["arr_minor"]}),
                before=row["score_before"],
                after=row["score"],
                change=round(row["score"] - row["score_before"], 1),
            )
            for row in rows
        ],
    )
