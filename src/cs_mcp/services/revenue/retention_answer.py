"""One answer of get_retention: figures in one currency, with what stands beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, Final

from cs_mcp.db.read_path import Row
from cs_mcp.db.revenue.retention_hints import RetentionHints
from cs_mcp.db.revenue.retention_lines import Span
from cs_mcp.db.revenue.retention_reads import NAMED_A_BAR, RetentionReads, by_kind
from cs_mcp.domain.contract import CursorMark, LeftOut, Place, question_hash, shown
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.money import Money, exponent
from cs_mcp.domain.revenue.currency_rates import Booked, Rates, carried
from cs_mcp.domain.revenue.retention import FORMULAS, Bar, Retention, Tally, shared_out, worsens
from cs_mcp.domain.revenue.subscriptions import MovementKind
from cs_mcp.services.revenue.retention_asked import GetRetention, periods
from cs_mcp.services.revenue.retention_figures import NO_SLICE, Book, Figures, Tallies
from cs_mcp.services.revenue.retention_views import (
    AccountPart,
    AlertView,
    BarView,
    PeriodView,
    RateView,
    RetentionView,
    SliceView,
    WaterfallView,
    rated,
)

MOST_FIELDS: Final = 10  # named where another one was asked for
_RATES: Final = ("nrr", "grr", "logo_churn_rate")


@dataclass(frozen=True, slots=True)
class _Told:
    """Figures of a window in the answer's currency."""

    whole: Retention
    slices: list[tuple[str, Retention]]


class Answer:
    def __init__(self, reads: RetentionReads, book: Book, question: GetRetention, span: Span) -> None:
        self._reads = reads
        self._hints = RetentionHints(reads.store)
        self._book = book
        self._question = question
        self._span = span
        self._figures = Figures(reads, book)
        self._currency = ""
        self._rates = Rates([])
        self._factors: dict[str, Fraction] = {}
        self._booked: dict[str, list[Booked]] | None = None  # of accounts in other currencies, told in this one

    async def view(self, scope: str, workspace_currency: str) -> RetentionView:
        question, span, conventions = self._question, self._span, self._book.conventions
        [found] = await self._figures.of([span])
        await self._settle_currency({currency for _, currency in found}, workspace_currency)
        if self._booked is not None:
            found = await self._at_own_days(span)
        told = self._told(found)
        if self._book.custom_key is not None and {name for name, _ in told.slices} <= {"none"}:
            await self._check_field(self._book.custom_key)
        about = await self._figures.about(span)
        target = _targets(about.targets, None)
        owners = {row["metric"]: row["owner_id"] for row in about.targets if row["owner_id"] is not None}
        series = await self._series()
        view = RetentionView(
            scope=scope,
            currency=self._currency,
            period_start=span.start,
            period_end=span.end,
            known_on=question.known_on,
            cohort=WaterfallView.of(told.whole.cohort, self._currency),
            total=WaterfallView.of(told.whole.total, self._currency),
            slice_by=question.slice_by,
            slices=[
                SliceView.of(
                    _shown(name, self._book),
                    part,
                    self._currency,
                    _targets(about.targets, name) if question.slice_by == "segment" else None,
                )
                for name, part in told.slices
            ],
            series=series,
            alerts=await self._alerts(series, owners),
            formula=self._formula(),
            conventions=conventions,
            target=target,
            restated=about.restated,
            rates_used=self._rates_used(),
            notes=[*self._notes(), *await self._beginning(told.whole)],
            **rated(told.whole),
        )
        if question.bar is not None:
            return view.model_copy(update=await self._behind(told.whole, found, question.bar))
        bars, left = await self._bars(told.whole, found)
        return view.model_copy(update={"bars": bars, "left_out": left})

    # -- currency ------------------------------------------------------------------------------------------------
    async def _settle_currency(self, present: set[str], workspace_currency: str) -> None:
        """What the answer is in, and what each other currency is worth in it; MissingRate where none is known."""
        asked, end = self._question.currency, self._span.end
        if asked is not None:
            exponent(asked)
        self._currency = asked or (min(present) if len(present) == 1 else workspace_currency)
        foreign = sorted(present - {self._currency})
        if not foreign:
            return
        by_day = self._book.conventions.fx == "transaction"
        found = await self._reads.rates(self._book.principal, end, every_day=by_day)
        self._rates = Rates(found, through=workspace_currency)
        self._factors = {currency: self._rates.on(currency, self._currency, end).factor for currency in foreign}
        if by_day:
            await self._book_at_own_days()

    async def _book_at_own_days(self) -> None:
        if self._question.known_on is not None:
            raise Invalid(
                "With fx transaction, figures are told as known today.",
                remedy="Leave known_on out, or ask with conventions {fx: constant}.",
            )
        rows = await self._reads.foreign(
            self._book.principal, self._currency, self._span.end, await self._figures.accounts()
        )
        ledgers: defaultdict[tuple[str, str], list[Booked]] = defaultdict(list)
        for row in rows:
            booked = Booked(row["on"], MovementKind(row["kind"]), row["amount_minor"])
            ledgers[row["account_id"], row["currency"]].append(booked)
        self._booked = {}
        for (account, currency), ledger in ledgers.items():
            told = carried(ledger, currency, self._currency, self._rates)
            self._booked.setdefault(account, []).extend(told)

    async def _at_own_days(self, span: Span) -> Tallies:
        """Lines of accounts in the answer's currency, and of the others as they were booked."""
        assert self._booked is not None
        lines: dict[tuple[str, str], tuple[int, dict[MovementKind, int]]] = {
            (row["account_id"], row["currency"]): (row["opening"], by_kind(row))
            for row in await self._reads.lines(self._book.principal, span, await self._figures.accounts())
            if row["currency"] == self._currency
        }
        for account, ledger in self._booked.items():
            opening, posted = lines.get((account, self._currency), (0, {}))
            for on, kind, amount in ledger:
                if on < span.start:
                    opening += amount
                elif on <= span.end:
                    posted[kind] = posted.get(kind, 0) + amount
            lines[account, self._currency] = (opening, posted)
        return await self._figures.tallied(span, lines)

    def _told(self, found: Tallies) -> _Told:
        parts: dict[str, Tally] = {}
        for (label, currency), tally in sorted(found.items(), key=lambda item: item[0]):
            into = parts.setdefault(label, Tally())
            factor = self._factors.get(currency, 1)
            into.plus(tally, factor)
            for bar, behind in tally.by_bar.items():
                into.by_bar[bar] += [(account, round(amount * factor)) for account, amount in behind]
        whole = Tally()
        for part in parts.values():
            whole.plus(part)
            for bar, behind in part.by_bar.items():
                whole.by_bar[bar] += behind
        slices: list[tuple[str, Retention]] = []
        if self._book.slice_by is not None:
            told = shared_out(parts.values())
            slices = [
                (label, tally.retention(self._book.conventions)) for label, tally in zip(parts, told, strict=True)
            ]
            slices.sort(key=lambda named: (-named[1].total.starting_arr, named[0]))
        self._accounts = dict(whole.accounts)
        return _Told(whole.retention(self._book.conventions), slices)

    # -- periods -------------------------------------------------------------------------------------------------
    async def _series(self) -> list[PeriodView]:
        if self._question.interval is None:
            return []
        windows = periods(self._span.start, self._span.end, self._question.interval, self._book.calendar)
        spans = [Span.of(*window) for window in windows]
        if self._booked is not None:
            found = [await self._at_own_days(span) for span in spans]
        else:
            found = await Figures(self._reads, _unsliced(self._book)).of(spans)
        told: list[PeriodView] = []
        for span, tallies in zip(spans, found, strict=True):
            whole = Tally()
            for (_, currency), tally in tallies.items():
                whole.plus(tally, self._factors.get(currency, 1))
            told.append(PeriodView.of(span.start, span.end, whole.retention(self._book.conventions), self._currency))
        return told

    async def _alerts(self, series: Sequence[PeriodView], owners: Mapping[str, str]) -> list[AlertView]:
        """Only of periods as long as the interval: a part of a month is no worse month."""
        whole = list(series)
        if whole and self._span.start.day != 1:
            whole = whole[1:]
        if whole and (self._span.end + timedelta(days=1)).day != 1:
            whole = whole[:-1]
        found: list[AlertView] = []
        for metric in _RATES:
            told = [(point.period_end, value) for point in whole if (value := getattr(point, metric)) is not None]
            last = told[-4:]
            if worsens([value for _, value in told], falls_are_worse=metric != "logo_churn_rate"):
                owner = owners.get(metric)
                people = await self._reads.people(self._book.principal) if owner else {}
                found.append(
                    AlertView(
                        metric=metric,
                        periods=[day for day, _ in last],
                        values=[value for _, value in last],
                        owner=f"{people.get(owner, '?')} ({owner})" if owner else None,
                    )
                )
        return found

    # -- the accounts behind the bars ------------------------------------------------------------------------------
    async def _bars(self, whole: Retention, found: Tallies) -> tuple[list[BarView], list[LeftOut]]:
        moved = [bar for bar in Bar if self._accounts.get(bar)]
        by_bar = whole.by_bar
        if not by_bar and moved:
            told = await self._figures.largest(self._span, moved)
            by_bar = self._told({(NO_SLICE, currency): tally for currency, tally in told.items()}).whole.by_bar
            self._told(found)
        largest = {
            bar: sorted(by_bar.get(bar, []), key=lambda part: (-abs(part[1]), part[0]))[:NAMED_A_BAR] for bar in moved
        }
        named = {account for parts in largest.values() for account, _ in parts}
        names = await self._reads.names(self._book.principal, sorted(named)) if named else {}
        bars = [
            BarView(
                bar=bar,
                amount=self._amount(getattr(whole.total, bar.value)),
                accounts=self._accounts[bar],
                largest=[
                    AccountPart(id=account, name=names.get(account, "?"), amount=self._amount(amount))
                    for account, amount in largest[bar]
                ],
            )
            for bar in moved
        ]
        more = any(bar.accounts > len(bar.largest) for bar in bars)
        call = "get_retention with the same window and bar"
        return bars, [LeftOut(what="more accounts behind each bar", call=call)] if more else []

    async def _behind(self, whole: Retention, found: Tallies, bar: Bar) -> dict[str, Any]:
        question = self._question
        of = question_hash(question)
        offset = CursorMark.read(question.cursor, of, Place).value if question.cursor else 0
        limit = question.limit
        if self._book.by_default and self._book.is_whole and self._booked is None:
            page = await self._reads.behind(
                self._book.principal, self._span, bar.value, limit=limit + 1, offset=max(offset, 0)
            )
            parts = [(row["account_id"], self._converted(row)) for row in page]
        else:
            ordered = sorted(whole.by_bar.get(bar, []), key=lambda part: (-abs(part[1]), part[0]))
            parts = ordered[offset : offset + limit + 1]
        names = await self._reads.names(self._book.principal, sorted({account for account, _ in parts}))
        more = len(parts) > limit
        return {
            "items": [
                AccountPart(id=account, name=names.get(account, "?"), amount=self._amount(amount))
                for account, amount in parts[:limit]
            ],
            "total_items": self._accounts.get(bar, 0),
            "next_cursor": CursorMark(of=of, value=offset + limit, id=bar.value).token() if more else None,
        }

    def _converted(self, row: Row) -> int:
        return round(row["amount_minor"] * self._factors.get(row["currency"], 1))

    def _amount(self, minor: int) -> str:
        return Money(minor=minor, currency=self._currency).amount

    # -- what stands beside the figures ----------------------------------------------------------------------------
    def _formula(self) -> dict[str, str]:
        if self._book.conventions.price_change == "apart":
            return {**FORMULAS, "nrr": "(cohort ending_arr - price_change) / starting_arr"}
        return FORMULAS

    def _rates_used(self) -> list[RateView]:
        if self._booked is not None:
            return []
        told: list[RateView] = []
        for currency in self._factors:
            rate = self._rates.on(currency, self._currency, self._span.end)
            worth = rate.factor * Fraction(10) ** (exponent(currency) - exponent(self._currency))
            assert rate.on is not None
            told.append(RateView(currency=currency, rate=f"{float(worth):.8g}", on=rate.on))
        return told

    async def _check_field(self, wanted: str) -> None:
        """Nobody had it then: perhaps nobody ever had."""
        known = await self._hints.custom_fields(self._book.principal)
        if known and wanted not in known:
            near = get_close_matches(wanted, known, MOST_FIELDS, 0) or sorted(known)
            told = ", ".join(f"custom:{shown(name)}" for name in near[:MOST_FIELDS])
            raise Invalid(f"No account you see has a custom field {wanted!r}.", remedy=f"There are {told}.")
        if not known:
            raise Invalid(
                "No account you see has custom fields.", remedy="Slice by segment, tier, owner, industry or cohort."
            )

    async def _beginning(self, whole: Retention) -> list[str]:
        """Why there are no rates."""
        if whole.accounts_at_start:
            return []
        told = f"No account had ARR when {self._span.start} began, so there are no rates."
        if self._book.known_on is not None:
            return [told]
        first = await self._hints.first_day(self._book.principal, await self._figures.accounts())
        return [f"{told} The first movement of the ledger is of {first}." if first else f"{told} The ledger is empty."]

    def _notes(self) -> list[str]:
        notes: list[str] = []
        if self._factors:
            how = (
                "transaction rates: each rise at the rate of its day, each fall at what it had been counted at"
                if self._booked is not None
                else f"constant rates: all at the rates in force on {self._span.end}"
            )
            notes.append(f"Converted to {self._currency} at {how}.")
        if self._book.slice_by is not None:
            notes.append("Slices are by what was so when the period began; what never changed since is as it is today.")
        if self._book.owner is not None:
            notes.append("The owner is today's; slice_by owner goes by the owner at the start.")
        return notes


def _targets(rows: Sequence[Row], segment: str | None) -> dict[str, float] | None:
    """Of the workspace, or of one segment."""
    found = {row["metric"]: row["value"] for row in rows if row["segment"] == segment}
    return {name: found[name] for name in _RATES if name in found} or None


def _unsliced(book: Book) -> Book:
    return replace(book, slice_by=None, custom_key=None)


def _shown(label: str, book: Book) -> str:
    return shown(label) if book.slice_by in ("industry", "custom", "owner") else label
