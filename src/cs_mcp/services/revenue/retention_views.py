"""What get_retention answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from fractions import Fraction
from typing import Any, Self

from pydantic import PrivateAttr

from cs_mcp.domain.contract import BYTES_PER_TOKEN, LeftOut, View, counted, grouped, shown
from cs_mcp.domain.money import Money
from cs_mcp.domain.revenue.conventions import Conventions
from cs_mcp.domain.revenue.retention import Bar, Retention, Waterfall


def ratio(value: Fraction | None) -> float | None:
    """Rounded for display, to a hundredth of a percent."""
    return None if value is None else round(float(value), 4)


class WaterfallView(View):
    """Amounts of the answer's currency; contraction and churn are sizes, so that they are taken away."""

    starting_arr: str
    new: str
    expansion: str
    price_change: str
    contraction: str
    churn: str
    reactivation: str
    ending_arr: str

    @classmethod
    def of(cls, waterfall: Waterfall, currency: str) -> Self:
        figures = {name: getattr(waterfall, name) for name in cls.model_fields}
        return cls(**{name: Money(minor=minor, currency=currency).amount for name, minor in figures.items()})

    def text(self, nonce: str) -> str:
        bars = [("+", bar) for bar in ("new", "reactivation", "expansion", "price_change")]
        bars += [("-", "contraction"), ("-", "churn")]
        sizes = [(sign, bar, getattr(self, bar)) for sign, bar in bars]
        moved = "".join(f"{sign} {grouped(size)} {bar} " for sign, bar, size in sizes if size.strip("0."))
        return f"{grouped(self.starting_arr)} {moved}= {grouped(self.ending_arr)}"


class AccountPart(View):
    """An account behind a bar, and by how much its ARR moved there."""

    id: str
    name: str
    amount: str

    def text(self, nonce: str) -> str:
        return f"{shown(self.name)} ({self.id}) {grouped(self.amount)}"


class BarView(View):
    bar: Bar
    amount: str
    accounts: int
    largest: list[AccountPart]

    def text(self, nonce: str) -> str:
        named = "; ".join(part.text(nonce) for part in self.largest)
        more = self.accounts - len(self.largest)
        told = f"- {self.bar.value} {grouped(self.amount)}, {counted(self.accounts, 'account')}: {named}"
        return told + (f"; {more} more" if more > 0 else "")


class Rated(View):
    """Rates of some accounts, or of one period."""

    nrr: float | None = None
    grr: float | None = None
    logo_churn_rate: float | None = None
    accounts_at_start: int
    accounts_lost: int

    def rates(self) -> str:
        told = {"NRR": self.nrr, "GRR": self.grr, "logo churn": self.logo_churn_rate}
        parts = [f"{name} {'none' if value is None else f'{value:.2%}'}" for name, value in told.items()]
        return f"{', '.join(parts)} ({self.accounts_lost} of {self.accounts_at_start} accounts lost)"


class SliceView(Rated):
    slice: str
    cohort: WaterfallView
    total: WaterfallView
    target: dict[str, float] | None = None

    @classmethod
    def of(cls, name: str, found: Retention, currency: str, target: dict[str, float] | None = None) -> Self:
        return cls(
            slice=name,
            target=target,
            cohort=WaterfallView.of(found.cohort, currency),
            total=WaterfallView.of(found.total, currency),
            **rated(found),
        )

    def text(self, nonce: str) -> str:
        target = f"; target {aims(self.target)}" if self.target else ""
        return f"- {shown(self.slice)}: {self.rates()}{target}; all {self.total.text(nonce)}"


class PeriodView(Rated):
    period_start: date
    period_end: date
    cohort: WaterfallView
    total: WaterfallView

    @classmethod
    def of(cls, start: date, end: date, found: Retention, currency: str) -> Self:
        return cls(
            period_start=start,
            period_end=end,
            cohort=WaterfallView.of(found.cohort, currency),
            total=WaterfallView.of(found.total, currency),
            **rated(found),
        )

    def text(self, nonce: str) -> str:
        return f"- {self.period_start} to {self.period_end}: {self.rates()}; all {self.total.text(nonce)}"


class RateView(View):
    """How many units of the answer's currency one unit was worth; `on` is the day the rate was given for."""

    currency: str
    rate: str
    on: date

    def text(self, nonce: str) -> str:
        return f"{self.currency} at {self.rate} of {self.on}"


class AlertView(View):
    """A rate that worsened three periods in a row; `owner` is who owns the metric."""

    metric: str
    periods: list[date]
    values: list[float]
    owner: str | None = None

    def text(self, nonce: str) -> str:
        who = f"; its owner is {shown(self.owner)}" if self.owner else ""
        values = " → ".join(f"{value:.2%}" for value in self.values)
        return f"Alert: {self.metric} worsened three periods in a row, {values} up to {self.periods[-1]}{who}."


def aims(target: Mapping[str, float]) -> str:
    names = {"nrr": "NRR", "grr": "GRR", "logo_churn_rate": "logo churn"}
    return ", ".join(f"{names.get(name, name)} {value:.2%}" for name, value in target.items())


def rated(found: Retention) -> dict[str, Any]:
    return {
        "nrr": ratio(found.nrr),
        "grr": ratio(found.grr),
        "logo_churn_rate": ratio(found.logo_churn_rate),
        "accounts_at_start": found.accounts_at_start,
        "accounts_lost": found.accounts_lost,
    }


class RetentionView(Rated):
    """`cohort`: accounts with ARR at the opening. `total`: all. `target`: by metric. `items`: of one bar, if asked."""

    scope: str
    currency: str
    period_start: date
    period_end: date
    known_on: date | None = None
    cohort: WaterfallView
    total: WaterfallView
    bars: list[BarView] = []
    items: list[AccountPart] = []
    total_items: int | None = None
    next_cursor: str | None = None
    slice_by: str | None = None
    slices: list[SliceView] = []
    series: list[PeriodView] = []
    alerts: list[AlertView] = []
    formula: dict[str, str]
    conventions: Conventions
    target: dict[str, float] | None = None
    restated: bool
    rates_used: list[RateView] = []
    notes: list[str] = []
    left_out: list[LeftOut] = []
    _picture: bytes | None = PrivateAttr(None)

    def drawn(self, picture: bytes) -> Self:
        self._picture = picture
        return self

    def pictures(self) -> list[bytes]:
        return [] if self._picture is None else [self._picture]

    def text(self, nonce: str) -> str:
        known = f", as known on {self.known_on}" if self.known_on else ""
        target = aims(self.target or {})
        lines = [
            f"# Retention {self.period_start} to {self.period_end}{known}; {shown(self.scope)}; {self.currency}",
            self.rates() + (f". Target: {target}" if target else ". No target is set"),
            f"cohort: {self.cohort.text(nonce)}",
            f"all: {self.total.text(nonce)}",
        ]
        if self.restated:
            lines.append("Restated: the ledger of that time was corrected, or told more of, after the period.")
        lines += [alert.text(nonce) for alert in self.alerts]
        lines += [bar.text(nonce) for bar in self.bars]
        if self.total_items is not None:
            lines.append(f"## Behind the bar: {len(self.items)} of {self.total_items}")
            lines += [f"- {item.text(nonce)}" for item in self.items]
        if self.slice_by is not None:
            lines += [f"## By {shown(self.slice_by)} at the start", *(one.text(nonce) for one in self.slices)]
        if self.series:
            lines += ["## Series", *(point.text(nonce) for point in self.series)]
        lines.append("Formulas: " + "; ".join(f"{name} = {text}" for name, text in self.formula.items()))
        lines.append("Conventions: " + ", ".join(f"{name} {value}" for name, value in self.conventions))
        if self.rates_used:
            lines.append("Rates: " + "; ".join(rate.text(nonce) for rate in self.rates_used))
        lines += self.notes
        lines += [f"Left out: {left.what}. Call {left.call}." for left in self.left_out]
        if self.next_cursor is not None:
            lines.append(f"next_cursor: {self.next_cursor}")
        return "\n".join(lines)


def fitting(view: RetentionView, budget_tokens: int) -> RetentionView:
    """The view within the budget. Named accounts give way first, then the last slices and the oldest periods."""
    allowed = budget_tokens * BYTES_PER_TOKEN
    steps: list[Callable[[RetentionView], RetentionView | None]] = [_fewer_named, _fewer_slices, _fewer_periods]
    while _size(view) > allowed:
        shorter = next((found for step in steps if (found := step(view)) is not None), None)
        if shorter is None:
            return view
        view = shorter
    return view


def _size(view: RetentionView) -> int:
    return max(len(view.text("0000").encode()), len(view.model_dump_json(exclude_none=True).encode()))


def _without(view: RetentionView, what: str, call: str, **fields: object) -> RetentionView:
    rest = [left for left in view.left_out if left.call != call]
    return view.model_copy(update={**fields, "left_out": [*rest, LeftOut(what=what, call=call)]})


def _fewer_named(view: RetentionView) -> RetentionView | None:
    longest = max((len(bar.largest) for bar in view.bars), default=0)
    if longest <= 1:
        return None
    bars = [bar.model_copy(update={"largest": bar.largest[: longest - 1]}) for bar in view.bars]
    return _without(view, "more accounts behind each bar", "get_retention with bar", bars=bars)


def _fewer_slices(view: RetentionView) -> RetentionView | None:
    if len(view.slices) <= 1:
        return None
    kept = view.slices[: max(1, len(view.slices) * 4 // 5)]
    return _without(view, "smaller slices", "get_retention with a larger budget_tokens and fewer periods", slices=kept)


def _fewer_periods(view: RetentionView) -> RetentionView | None:
    if len(view.series) <= 1:
        return None
    kept = view.series[-max(1, len(view.series) * 4 // 5) :]
    call = f"get_retention with period_end before {kept[0].period_start} and the same interval"
    return _without(view, "earlier periods", call, series=kept)
