"""Retention of whole windows in one currency, for the metrics that follow from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from cs_mcp.db.revenue.retention_lines import Span
from cs_mcp.db.revenue.retention_reads import RetentionReads
from cs_mcp.db.store import Store
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.revenue.conventions import Conventions
from cs_mcp.domain.revenue.currency_rates import Rates
from cs_mcp.domain.revenue.retention import Retention, Tally
from cs_mcp.domain.workspaces import Workspace
from cs_mcp.services.revenue.retention_figures import Book, Figures, Tallies

Window = tuple[date, date]  # first and last day


class WindowFigures(NamedTuple):
    currency: str
    retention: Retention
    conventions: str


class Windows:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._reads = RetentionReads(store)

    async def of(
        self, principal: Principal, start: date, end: date, *, owner: str | None = None, currency: str | None = None
    ) -> WindowFigures:
        """In `currency`, else in the one that all accounts are in, else in the workspace's."""
        [found] = await self.series(principal, [(start, end)], owner=owner, currency=currency)
        return found

    async def series(
        self,
        principal: Principal,
        windows: Sequence[Window],
        *,
        owner: str | None = None,
        currency: str | None = None,
    ) -> list[WindowFigures]:
        """Of several windows of one length, read together."""
        profile = await self._store.workspace(principal.workspace)
        figures = self._figures(principal, profile, owner=owner)
        found = await figures.of([Span.of(start, end) for start, end in windows])
        currency = currency or common_currency({of for tallies in found for _, of in tallies}, profile.currency)
        parts = zip(windows, found, strict=True)
        told = [await self._whole(principal, profile, currency, tallies, end) for (_, end), tallies in parts]
        conventions = profile.revenue.retention
        return [WindowFigures(currency, one.retention(conventions), words(conventions)) for one in told]

    async def sliced(
        self, principal: Principal, start: date, end: date, slice_by: str, *, currency: str, owner: str | None = None
    ) -> dict[str, Retention]:
        """By slice as it was when the window began: owners as "name (id)", "none" where there is nothing."""
        conventions = (await self._store.workspace(principal.workspace)).revenue.retention
        found = await self.tallies(principal, start, end, slice_by, currency=currency, owner=owner)
        return {label: tally.retention(conventions) for label, tally in found.items()}

    async def tallies(
        self, principal: Principal, start: date, end: date, slice_by: str, *, currency: str, owner: str | None = None
    ) -> dict[str, Tally]:
        """The same, to be added up."""
        profile = await self._store.workspace(principal.workspace)
        [found] = await self._figures(principal, profile, owner=owner, slice_by=slice_by).of([Span.of(start, end)])
        slices = {label: {key: tally for key, tally in found.items() if key[0] == label} for label, _ in found}
        return {
            label: await self._whole(principal, profile, currency, tallies, end) for label, tallies in slices.items()
        }

    def _figures(self, principal: Principal, profile: Workspace, **narrowed: Any) -> Figures:
        book = Book(principal, profile.calendar, profile.revenue.retention, **narrowed)
        return Figures(self._reads, book)

    async def _whole(
        self, principal: Principal, profile: Workspace, currency: str, tallies: Tallies, end: date
    ) -> Tally:
        """All currencies at the rates of the window's last day."""
        rates = Rates([])
        if any(of != currency for _, of in tallies):
            rates = Rates(await self._reads.rates(principal, end, every_day=False), profile.currency)
        whole = Tally()
        for (_, of), tally in tallies.items():
            whole.plus(tally, rates.on(of, currency, end).factor)
        return whole


def common_currency(present: Collection[str], of_workspace: str) -> str:
    """The one currency there is; of several, or none, the workspace's."""
    return next(iter(present)) if len(present) == 1 else of_workspace


def owner_in(label: str) -> str | None:
    """The id in the label of an owner's slice."""
    return label.rpartition("(")[2].removesuffix(")") if label.endswith(")") else None


def words(conventions: Conventions) -> str:
    told: Mapping[str, str] = conventions.model_dump() | {"fx": "constant"}
    return ", ".join(f"{name}: {choice}" for name, choice in told.items())
