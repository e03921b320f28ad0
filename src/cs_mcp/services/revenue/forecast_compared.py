"""From renewals that stand otherwise than on an earlier day to what is shown of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from cs_mcp.db.read_path import Row
from cs_mcp.db.revenue.forecast_reads import Compared
from cs_mcp.domain.calendar import Calendar, FiscalQuarter
from cs_mcp.domain.contract import Amount
from cs_mcp.domain.money import Money
from cs_mcp.domain.renewals.renewals import ForecastCategory, RenewalStage
from cs_mcp.domain.revenue.forecast import FORECAST, Moved, Shift, Standing, bucket_of, moved
from cs_mcp.services.accounts.views import PersonRef
from cs_mcp.services.revenue.forecast_answer import closed_or_judged
from cs_mcp.services.revenue.forecast_views import Comparison, QuarterForecast, ShiftLine, ShiftSum

_SHIFTS: Final = list(Shift)


# (forecast, expected) by quarter and currency, in minor units
_Figures = Mapping[tuple[date, str], tuple[int, int]]


class _Shifted(NamedTuple):
    row: Row
    before: Standing | None
    after: Standing | None
    moved: Moved

    @property
    def amount(self) -> int:
        side = self.after or self.before
        assert side is not None, "one side is there"
        return side.amount_minor


def comparison_of(
    found: Compared,
    quarters: Sequence[QuarterForecast],
    asked: Sequence[FiscalQuarter],
    calendar: Calendar,
    *,
    then: date,
    limit: int,
) -> tuple[Comparison, list[QuarterForecast]]:
    """What moved, the largest effects first, and the quarters with their figures of then beside those of now."""
    first, last = asked[0].starts_on, asked[-1].ends_on
    shifted: list[_Shifted] = []
    for row in found.changed:
        before, after = _standing(row, "_before", calendar), _standing(row, "", calendar)
        if (what := moved(before, after, first, last)) is not None:
            shifted.append(_Shifted(row, before, after, what))
    shifted.sort(key=lambda one: (-abs(one.moved.forecast_effect), -one.amount, one.row["id"]))
    was = _figures_before(found.before, asked)
    with_before = [_beside(quarter, was) for quarter in quarters]
    comparison = Comparison(
        compared_to=then,
        sums=_sums(shifted),
        health_effect=_health_effect(shifted, quarters, was),
        renewals=[_line(one, calendar) for one in shifted[:limit]],
    )
    return comparison, with_before


def _beside(quarter: QuarterForecast, was: _Figures) -> QuarterForecast:
    forecast, expected = was.get((quarter.starts_on, quarter.currency), (0, 0))
    before = {
        "forecast_before": Amount.of(forecast, quarter.currency),
        "expected_before": Amount.of(expected, quarter.currency),
    }
    return quarter.model_copy(update=before)


def _standing(row: Row, suffix: str, calendar: Calendar) -> Standing | None:
    close_on: date | None = row["close_on" + suffix]
    if close_on is None:
        return None
    category = row["category" + suffix]
    return Standing(
        quarter=calendar.quarter_of(close_on).starts_on,
        close_on=close_on,
        bucket=bucket_of(RenewalStage(row["stage" + suffix]), ForecastCategory(category) if category else None),
        amount_minor=row["amount_minor" + suffix],
        expected_minor=row["expected_minor" + suffix],
    )


def _figures_before(rows: Sequence[Row], asked: Sequence[FiscalQuarter]) -> _Figures:
    figures: dict[tuple[date, str], tuple[int, int]] = {}
    for row in rows:
        number: int = row["quarter"]
        key = (asked[number].starts_on, row["currency"])
        forecast, expected = figures.get(key, (0, 0))
        forecast += row["amount_minor"] if closed_or_judged(row) in FORECAST else 0
        figures[key] = (forecast, expected + row["expected_minor"])
    return figures


def _sums(shifted: Sequence[_Shifted]) -> list[ShiftSum]:
    by: defaultdict[tuple[int, str], list[_Shifted]] = defaultdict(list)
    for one in shifted:
        by[_SHIFTS.index(one.moved.shift), one.row["currency"]].append(one)
    return [
        ShiftSum(
            shift=_SHIFTS[shift].value,
            currency=currency,
            renewals=len(of),
            amount=Amount.of(sum(one.amount for one in of), currency),
            forecast_effect=Amount.of(sum(one.moved.forecast_effect for one in of), currency),
            expected_effect=Amount.of(sum(one.moved.expected_effect for one in of), currency),
        )
        for (shift, currency), of in sorted(by.items())
    ]


def _health_effect(
    shifted: Sequence[_Shifted],
    quarters: Sequence[QuarterForecast],
    was: _Figures,
) -> list[Amount]:
    """By currency, how the expectation moved for renewals that did not."""
    left: defaultdict[str, int] = defaultdict(int)
    for quarter in quarters:
        left[quarter.currency] += _minor(quarter.expected)
    for (_, currency), (_, expected) in was.items():
        left[currency] -= expected
    for one in shifted:
        left[one.row["currency"]] -= one.moved.expected_effect
    return [Amount.of(minor, currency) for currency, minor in sorted(left.items()) if minor]


def _line(one: _Shifted, calendar: Calendar) -> ShiftLine:
    currency = one.row["currency"]

    def told(standing: Standing | None) -> str | None:
        if standing is None:
            return None
        return (
            f"{standing.bucket.value}, {calendar.quarter_of(standing.close_on).label}, {_text(standing.amount_minor)}"
        )

    def _text(minor: int) -> str:
        return Amount.of(minor, currency).amount

    return ShiftLine(
        shift=one.moved.shift.value,
        renewal=one.row["id"],
        account=PersonRef(id=one.row["account_id"], name=one.row["account_name"]),
        was=told(one.before),
        now=told(one.after),
        amount=Amount.of(one.amount, currency),
        forecast_effect=_text(one.moved.forecast_effect),
        expected_effect=_text(one.moved.expected_effect),
    )


def _minor(amount: Amount) -> int:
    return Money.of(amount.amount, amount.currency).minor
