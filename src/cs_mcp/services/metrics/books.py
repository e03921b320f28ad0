"""The metric `books`: what each CSM looks after, against what a book can hold, and how it fares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from cs_mcp.db.accounts.book_reads import BookReads, Books
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.domain.contract import Amount
from cs_mcp.domain.revenue.currency_rates import MissingRate
from cs_mcp.domain.revenue.metrics import BOOK_RANGES, book_load, book_stands
from cs_mcp.domain.revenue.retention import Retention
from cs_mcp.services.metrics.metrics import Asked, Definition, Measured, MetricRow, MetricTable, amounts
from cs_mcp.services.metrics.renewals import told
from cs_mcp.services.revenue.windows import Windows, common_currency, owner_in

_BOOKS: Final = (
    "customers by owner today and their ARR; nrr and grr of the period, by who owned an account when it began; "
    "average_health of those with a score; load = Σ accounts ÷ the most a book of their segment holds ("
    + ", ".join(f"{segment} {of.least}-{of.most}" for segment, of in BOOK_RANGES.items())
    + "); overdue_tasks of theirs; touches_30_days held; expansion ARR of the period as the amount"
)


class CsmBooks(Definition):
    past = False
    over_a_year = True

    def __init__(self, store: Store) -> None:
        self._reads = BookReads(store)
        self._windows = Windows(store)

    async def measure(self, asked: Asked) -> Measured:
        assert asked.period_start is not None
        books = await self._reads.books(asked.principal, asked.today, asked.owner_id)
        whose = (asked.principal, asked.period_start, asked.as_of)
        currency = common_currency({row["currency"] for row in books.accounts}, asked.currency)
        retained, notes = dict[str, Retention](), list[str]()
        try:
            retained = await self._windows.sliced(*whose, "owner", currency=currency, owner=asked.owner_id)
        except MissingRate as missing:
            # How full a book is and what is overdue in it is known all the same.
            notes.append(f"NRR, GRR and expansion are not told: {missing}")
        of_owner = {owner_in(label): found for label, found in retained.items()}
        mine: defaultdict[str | None, list[Row]] = defaultdict(list)
        for row in books.accounts:
            mine[row["owner_id"]].append(row)
        rows = [_book(owner, rows, of_owner.get(owner), books, currency) for owner, rows in mine.items()]
        rows.sort(key=lambda row: (-row.metrics.get("load", 0), row.slice or ""))
        conventions = f"period from {asked.period_start}; a book is above its range where its load is more than 1"
        table = MetricTable(name="books", formula=_BOOKS, rows=rows)
        return Measured(tables=[table], conventions=conventions, notes=notes)


def _book(owner: str | None, rows: Sequence[Row], found: Retention | None, books: Books, currency: str) -> MetricRow:
    by_segment: defaultdict[str, int] = defaultdict(int)
    arr: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        by_segment[row["segment"]] += row["accounts"]
        arr[row["currency"]] += row["arr_minor"]
    scored = sum(row["scored"] for row in rows)
    told_of: dict[str, float | None] = {
        "nrr": told(found.nrr) if found else None,
        "grr": told(found.grr) if found else None,
        "average_health": round(sum(row["score"] for row in rows) / scored, 1) if scored else None,
        "load": told(book_load(by_segment)),
    }
    if owner is not None:
        told_of["overdue_tasks"] = books.overdue.get(owner, 0)
        told_of["touches_30_days"] = books.touches.get(owner, 0)
    parts = ", ".join(f"{count} {segment}" for segment, count in sorted(by_segment.items()))
    stands = book_stands(by_segment)
    return MetricRow(
        slice="no owner" if owner is None else f"{books.people.get(owner, '?')} ({owner})",
        accounts=sum(by_segment.values()),
        arr=amounts(arr),
        amount=Amount.of(found.cohort.expansion, currency) if found else None,
        metrics={name: value for name, value in told_of.items() if value is not None},
        flag=None if owner is None else f"{stands} its range: {parts}",
    )
