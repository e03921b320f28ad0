"""Exchange rates of an import: what one unit of a currency is worth in the workspace's, from a day on."""

from __future__ import annotations

from collections.abc import Sequence

from cs_mcp.db.read_path import Row
from cs_mcp.db.revenue.exchange_rates import ExchangeRateRow
from cs_mcp.services.imports.columns import Columns, Concept, Known, Told
from cs_mcp.services.imports.report import ImportedRow, Refused
from cs_mcp.services.imports.sheets import Sheet


def rate(told: Told, known: Known) -> Columns:
    if told["currency"] == known.currency:
        raise Refused(f"currency: {known.currency} is the workspace's own, and needs no rate")
    pair = {"from_currency": told["currency"], "to_currency": known.currency}
    return pair | {"on": told["on"], "rate": format(told["rate"], "f")}


class RateSheet(Sheet):
    """A rate that another source gave for the same day stands."""

    concept = Concept(ExchangeRateRow, rate, lambda _columns, _known: {})

    async def prepare(self, rows: Sequence[ImportedRow]) -> None:
        known = await self.work.exchange_rates.where(ExchangeRateRow.source_system.is_distinct_from(self.source))
        self._of_others = {(one.from_currency, one.to_currency, one.on) for one in known}

    def columns_of(self, row: ImportedRow, before: Row | None) -> Columns:
        columns = super().columns_of(row, before)
        if (columns["from_currency"], columns["to_currency"], columns["on"]) in self._of_others:
            raise Refused(f"on: another source gives the rate of {columns['from_currency']} on {columns['on']}")
        return columns
