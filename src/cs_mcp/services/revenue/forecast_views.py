"""How a forecast is shown."""

from __future__ import annotations

from datetime import date

from pydantic import PrivateAttr

from cs_mcp.domain.contract import Amount, LeftOut, View, counted, grouped, shown
from cs_mcp.services.accounts.views import PersonRef

FORMULA = (
    "forecast = won + commit; upside = forecast + best_case; expected = won + Σ open amount × the share of renewals of "
    "its health band that are won. A renewal counts in the fiscal quarter of its close day."
)


class CategoryLine(View):
    """Open renewals of one forecast category (not_judged: none was set), or those won or lost."""

    category: str
    renewals: int
    arr: str
    amount: str
    expected: str

    def text(self, nonce: str) -> str:
        amounts = f"ARR {grouped(self.arr)}, amount {grouped(self.amount)}, expected {grouped(self.expected)}"
        return f"  - {self.category}: {self.renewals}, {amounts}"


class GroupLine(View):
    """The same figures of one owner, segment, band or stage."""

    group: str
    renewals: int
    arr: str
    forecast: str
    expected: str

    def text(self, nonce: str) -> str:
        return (
            f"  - {shown(self.group)}: {self.renewals}, ARR {grouped(self.arr)}, forecast {grouped(self.forecast)}, "
            f"expected {grouped(self.expected)}"
        )


class QuarterForecast(View):
    """One fiscal quarter in one currency. Amounts of lines are in `currency`; categories add up to the quarter.

    `arr` is what is up for renewal, `forecast` the categories' figure, `expected` the health-informed one; `…_before`
    are those of the day compared to.
    """

    quarter: str
    starts_on: date
    ends_on: date
    currency: str
    renewals: int
    arr: Amount
    forecast: Amount
    upside: Amount
    expected: Amount
    forecast_before: Amount | None = None
    expected_before: Amount | None = None
    goal: Amount | None = None
    attained: float | None = None
    categories: list[CategoryLine]
    groups: list[GroupLine] = []

    def text(self, nonce: str) -> str:
        before = (
            f" (before: forecast {self.forecast_before}, expected {self.expected_before})"
            if self.forecast_before is not None
            else ""
        )
        goal = f"; goal {self.goal}, won {self.attained:.0%} of it" if self.goal and self.attained is not None else ""
        up = f"{counted(self.renewals, 'renewal')}, ARR {self.arr}"
        lines = [
            f"## {self.quarter} ({self.starts_on} to {self.ends_on}): {up}",
            f"forecast {self.forecast}, upside {self.upside}, expected {self.expected}{before}{goal}",
        ]
        lines += [line.text(nonce) for line in self.categories]
        if self.groups:
            lines += [" by group:", *(line.text(nonce) for line in self.groups)]
        return "\n".join(lines)


class ShiftLine(View):
    """One renewal that moved. Effects are on the figures of the quarters shown."""

    shift: str
    renewal: str
    account: PersonRef
    was: str | None = None
    now: str | None = None
    amount: Amount
    forecast_effect: str
    expected_effect: str

    def text(self, nonce: str) -> str:
        moved = f"{self.was or 'nothing'} → {self.now or 'nothing'}"
        return (
            f"- {self.shift} {self.renewal} of {self.account.text(nonce)}: {moved}, {self.amount}; forecast "
            f"{self.forecast_effect}, expected {self.expected_effect}"
        )


class ShiftSum(View):
    """All renewals that moved in one way, those not listed included."""

    shift: str
    currency: str
    renewals: int
    amount: Amount
    forecast_effect: Amount
    expected_effect: Amount

    def text(self, nonce: str) -> str:
        return (
            f"- {self.shift}: {self.renewals}, {self.amount}; forecast {self.forecast_effect}, expected "
            f"{self.expected_effect}"
        )


class Comparison(View):
    """What moved since the forecast kept on `compared_to`. `health_effect` is what changed bands and odds alone did.

    forecast before + Σ forecast effects = forecast; expected before + Σ expected effects + health effect = expected.
    """

    compared_to: date
    sums: list[ShiftSum]
    health_effect: list[Amount] = []
    renewals: list[ShiftLine]

    def text(self, nonce: str) -> str:
        lines = [f"## Moved since {self.compared_to}", *(line.text(nonce) for line in self.sums)]
        if not self.sums:
            lines.append("nothing")
        if self.health_effect:
            lines.append(f"- health alone: expected {' + '.join(map(str, self.health_effect))}")
        return "\n".join(lines + [line.text(nonce) for line in self.renewals])


class OddsLine(View):
    """The share of renewals of a band that are won. `closed`: how many it was learned from, where you see them all."""

    band: str
    won: float
    source: str
    closed: int | None = None

    def text(self, nonce: str) -> str:
        of = f", {self.closed} closed" if self.closed is not None else ""
        return f"{self.band} {self.won:.1%} ({self.source}{of})"


class TotalAccuracy(View):
    """1 − |foretold − won| ÷ won, of the categories' figure and of the health-informed one."""

    currency: str
    forecast: Amount
    expected: Amount
    won: Amount
    accuracy: float | None = None
    expected_accuracy: float | None = None

    def text(self, nonce: str) -> str:
        def told(accuracy: float | None) -> str:
            return "—" if accuracy is None else f"{accuracy:.0%}"

        return (
            f"- total: forecast {self.forecast} ({told(self.accuracy)}), expected {self.expected} "
            f"({told(self.expected_accuracy)}), won {self.won}"
        )


class QuarterAccuracy(View):
    """How true the forecast of a quarter was, 90 days before each close. `share_close`: won within ± 5 % of it."""

    quarter: str
    renewals: int
    still_open: int
    share_close: float | None = None
    goal: float
    totals: list[TotalAccuracy]

    def text(self, nonce: str) -> str:
        share = "—" if self.share_close is None else f"{self.share_close:.0%}"
        waiting = f", {self.still_open} still open" if self.still_open else ""
        head = (
            f"## Accuracy, {self.quarter}: {share} of {self.renewals} renewals within ± 5 % of their forecast 90 days "
            f"before close (goal {self.goal:.0%}){waiting}"
        )
        return "\n".join([head, *(line.text(nonce) for line in self.totals)])


class ForecastView(View):
    as_of: date
    kept_on: date | None = None
    scope: str
    formula: str = FORMULA
    quarters: list[QuarterForecast]
    odds: list[OddsLine]
    compared: Comparison | None = None
    accuracy: list[QuarterAccuracy] = []
    notes: list[str] = []
    left_out: list[LeftOut] = []
    _picture: bytes | None = PrivateAttr(default=None)

    def with_picture(self, drawn: bytes | None) -> ForecastView:
        self._picture = drawn
        return self

    def pictures(self) -> list[bytes]:
        return [] if self._picture is None else [self._picture]

    def text(self, nonce: str) -> str:
        kept = f", as kept on {self.kept_on}" if self.kept_on else ""
        lines = [f"# Forecast of renewals as of {self.as_of}{kept}; {shown(self.scope)}"]
        lines += [quarter.text(nonce) for quarter in self.quarters] or ["No renewal closes in these quarters."]
        if self.compared is not None:
            lines.append(self.compared.text(nonce))
        lines += [line.text(nonce) for line in self.accuracy]
        lines.append(self.formula)
        if self.odds:
            lines.append("Share won by band: " + "; ".join(line.text(nonce) for line in self.odds))
        lines += self.notes
        return "\n".join(lines + [f"Left out: {left.what}. Call {left.call}." for left in self.left_out])
