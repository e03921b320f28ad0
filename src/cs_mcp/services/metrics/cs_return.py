"""The metric `cs_return`: what customer success brought and saved, against what it cost."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import Final

from cs_mcp.db.accounts.book_reads import BookReads
from cs_mcp.db.renewals.renewed_reads import IN_DANGER_DAYS, RenewedReads
from cs_mcp.db.revenue.retention_reads import RetentionReads
from cs_mcp.db.store import Store
from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.contract import Amount
from cs_mcp.domain.health.accuracy import by_band
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.revenue.currency_rates import Rates
from cs_mcp.domain.revenue.metrics import ratio
from cs_mcp.services.health.accuracy import HORIZON_DAYS, HealthAccuracy
from cs_mcp.services.health.backtest import Period
from cs_mcp.services.metrics.metrics import Asked, Definition, Measured, MetricRow, MetricTable
from cs_mcp.services.metrics.renewals import told
from cs_mcp.services.revenue.windows import Windows

MOST_CASES: Final = 30_000


class CsReturn(Definition):
    past = False
    over_a_year = True

    def __init__(self, store: Store) -> None:
        self._books = BookReads(store)
        self._renewed = RenewedReads(store)
        self._rates = RetentionReads(store)
        self._windows = Windows(store)
        self._accuracy = HealthAccuracy(store)

    async def measure(self, asked: Asked) -> Measured:
        assert asked.period_start is not None
        start, end, currency = asked.period_start, asked.as_of, asked.currency
        costs = await self._books.costs(asked.principal, start.replace(day=1), end.replace(day=1))
        danger = await self._renewed.in_danger(asked.principal, start, end, owner=asked.owner_id)
        rates = Rates(await self._rates.rates(asked.principal, end, every_day=False))

        def minor(row: dict[str, int], name: str) -> Fraction:
            return row[name] * rates.on(str(row["currency"]), currency, end).factor

        # Costs that nobody told are not costs of nothing.
        cost = sum((minor(row, "amount_minor") for row in costs), Fraction(0)) if costs else None
        found = (await self._windows.of(asked.principal, start, end, owner=asked.owner_id, currency=currency)).retention
        books = await self._books.books(asked.principal, asked.today, asked.owner_id)
        csms = len({row["owner_id"] for row in books.accounts if row["owner_id"] is not None})
        accounts = sum(row["accounts"] for row in books.accounts)
        arr = sum((minor(row, "arr_minor") for row in books.accounts), Fraction(0))

        def money(value: Fraction | None) -> Amount | None:
            return None if value is None else Amount.of(round(value), currency)

        expansion = Fraction(found.total.expansion)
        rows = [
            MetricRow(label="cost", amount=money(cost), formula="cs_costs of the months of the period"),
            MetricRow(label="expansion_arr", amount=money(expansion), formula="expansion of the period's waterfall"),
        ]
        notes: list[str] = []
        saved: Fraction | None = None
        due = sum((minor(row, "due_arr") for row in danger), Fraction(0))
        kept = sum((minor(row, "kept_arr") for row in danger), Fraction(0))
        if due:
            lost = await self._lost_of_red(asked.principal, end)
            if lost is None:
                notes.append("The backtest has no red case whose outcome is known, so nothing is counted as saved.")
            else:
                saved = kept - (1 - lost) * due
                notes.append(f"The backtest expects {float(lost):.1%} of red accounts to leave in {HORIZON_DAYS} days.")
        rows += [
            MetricRow(
                label="saved_arr",
                amount=money(saved),
                formula=f"ARR renewed by accounts red within {IN_DANGER_DAYS} days before − their ARR due × the share "
                "of red accounts that the backtest expects to stay",
            ),
            MetricRow(
                label="cs_return",
                value=None if cost is None else told(ratio(expansion + (saved or 0), cost)),
                formula="(expansion_arr + saved_arr) ÷ cost",
            ),
            MetricRow(
                label="arr_per_csm", amount=money(ratio(arr, csms)), formula=f"ARR today ÷ {csms} CSMs with a book"
            ),
            MetricRow(
                label="cost_to_serve",
                amount=None if cost is None else money(ratio(cost, accounts)),
                formula=f"cost ÷ {accounts} accounts",
            ),
        ]
        if not costs:
            notes.append("No costs are known of these months. They are imported as cs_costs.csv.")
        table = MetricTable(name="cs_return", formula=f"{start} to {end}, in {currency}", rows=rows)
        return Measured(tables=[table], notes=notes)

    async def _lost_of_red(self, principal: Principal, end: date) -> Fraction | None:
        """The share of red accounts that left within the horizon, of past quarters."""
        period = Period.of(None, end, "quarter", HORIZON_DAYS, end)
        replay = await self._accuracy.replay(principal, period, most_cases=MOST_CASES)
        red = by_band(replay.cases).get(Band.red)
        return None if red is None else Fraction(red.hits, red.of)
