"""What a metric aims at, beside its figure, and who answers for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction

from cs_mcp.db.accounts.book_reads import BookReads
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.domain.contract import Amount, View, shown
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.revenue.metrics import met


class TargetView(View):
    """A target with its record; `met` where a figure stands beside it."""

    id: str
    value: float | None = None
    amount: Amount | None = None
    segment: str | None = None
    owner: str | None = None
    met: bool | None = None

    def text(self, nonce: str) -> str:
        aim = str(self.amount) if self.amount is not None else f"{self.value:g}"
        state = "" if self.met is None else ", met" if self.met else ", missed"
        owner = f", owner {shown(self.owner)}" if self.owner else ""
        return f"target {aim}{state}{owner} ({self.id})"

    def beside(self, metric: str, figure: Fraction | None) -> TargetView:
        """The same, judged against a figure of the metric."""
        if figure is None or self.value is None:
            return self
        return self.model_copy(update={"met": met(metric, figure, Fraction(self.value).limit_denominator(10**9))})


class Aims:
    """The targets that hold on a day."""

    def __init__(
        self, found: Mapping[tuple[str, str | None], TargetView], owners: Mapping[str, tuple[str, str | None]]
    ) -> None:
        self._found = found
        self._owners = owners

    def of(self, metric: str, segment: str | None = None, figure: Fraction | None = None) -> TargetView | None:
        """The target of the segment, or of the workspace where no segment is asked for."""
        found = self._found.get((metric, segment))
        return None if found is None else found.beside(metric, figure)

    def owner_of(self, metric: str) -> tuple[str, str | None] | None:
        """Id and name of the person who answers for a metric."""
        return self._owners.get(metric)


class Targets:
    def __init__(self, store: Store) -> None:
        self._reads = BookReads(store)

    async def on(self, principal: Principal, day: date) -> Aims:
        return aims(await self._reads.targets(principal, day))


def aims(rows: Sequence[Row]) -> Aims:
    found: dict[tuple[str, str | None], TargetView] = {}
    owners: dict[tuple[str, str | None], tuple[str, str | None]] = {}
    for row in rows:  # of one metric the latest first
        key = (row["metric"], row["segment"])
        if key not in found:
            amount = None if row["amount_minor"] is None else Amount.of(row["amount_minor"], row["currency"])
            found[key] = TargetView(
                id=row["id"], value=row["value"], amount=amount, segment=row["segment"], owner=row["owner_name"]
            )
            if row["owner_id"] is not None:
                owners[key] = (row["owner_id"], row["owner_name"])
    whole = {metric: owner for (metric, segment), owner in owners.items() if segment is None}
    return Aims(found, {metric: owner for (metric, _), owner in owners.items()} | whole)
