"""From sums of renewals to the forecast that is shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Final, NamedTuple

from cs_mcp.db.read_path import Row
from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.calendar import FiscalQuarter
from cs_mcp.domain.contract import BYTES_PER_TOKEN, Amount, LeftOut
from cs_mcp.domain.renewals.renewals import ForecastCategory, RenewalStage
from cs_mcp.domain.revenue.forecast import (
    FORECAST,
    GOAL,
    UPSIDE,
    WRITTEN_OFF,
    Bucket,
    Foretold,
    Odds,
    accuracy_of_total,
    bucket_of,
    share_close,
)
from cs_mcp.services.revenue.forecast_views import (
    CategoryLine,
    ForecastView,
    GroupLine,
    OddsLine,
    QuarterAccuracy,
    QuarterForecast,
    TotalAccuracy,
)

_BUCKETS: Final = list(Bucket)


class Attainment(NamedTuple):
    """A goal for renewed ARR."""

    amount_minor: int
    currency: str


class _Sums(NamedTuple):
    renewals: int = 0
    arr: int = 0
    amount: int = 0
    expected: int = 0

    def plus(self, row: Row) -> _Sums:
        return _Sums(
            self.renewals + row.get("renewals", 0),
            self.arr + row.get("arr_minor", 0),
            self.amount + row["amount_minor"],
            self.expected + row["expected_minor"],
        )


def closed_or_judged(row: Row) -> Bucket:
    stage = RenewalStage(row["closed"]) if row["closed"] else RenewalStage.not_started
    return bucket_of(stage, ForecastCategory(row["category"]) if row["category"] else None)


def quarters_of(
    rows: Sequence[Row],
    quarters: Sequence[FiscalQuarter],
    *,
    people: Mapping[str, str],
    grouped: bool,
    goals: Mapping[date, Attainment | None],
) -> list[QuarterForecast]:
    """One block a quarter and currency, in their order."""
    blocks: defaultdict[tuple[int, str], list[Row]] = defaultdict(list)
    for row in rows:
        blocks[row["quarter"], row["currency"]].append(row)
    return [
        _quarter(found, quarters[number], currency, people, goals.get(quarters[number].starts_on), grouped=grouped)
        for (number, currency), found in sorted(blocks.items())
    ]


def _quarter(
    rows: Sequence[Row],
    quarter: FiscalQuarter,
    currency: str,
    people: Mapping[str, str],
    goal: Attainment | None,
    *,
    grouped: bool,
) -> QuarterForecast:
    by_bucket: defaultdict[Bucket, _Sums] = defaultdict(_Sums)
    by_group: defaultdict[str, defaultdict[Bucket, _Sums]] = defaultdict(lambda: defaultdict(_Sums))
    for row in rows:
        by_bucket[closed_or_judged(row)] = by_bucket[closed_or_judged(row)].plus(row)
        of_group = by_group[row["group"] or "none"]
        of_group[closed_or_judged(row)] = of_group[closed_or_judged(row)].plus(row)

    def money(minor: int) -> Amount:
        return Amount.of(minor, currency)

    total = _added(by_bucket, Bucket)
    aims = goal is not None and goal.currency == currency and goal.amount_minor > 0
    return QuarterForecast(
        quarter=quarter.label,
        starts_on=quarter.starts_on,
        ends_on=quarter.ends_on,
        currency=currency,
        renewals=total.renewals,
        arr=money(total.arr),
        forecast=money(_added(by_bucket, FORECAST).amount),
        upside=money(_added(by_bucket, UPSIDE).amount),
        expected=money(total.expected),
        goal=money(goal.amount_minor) if goal is not None and aims else None,
        attained=round(by_bucket[Bucket.won].amount / goal.amount_minor, 4) if goal is not None and aims else None,
        categories=[
            CategoryLine(
                category=bucket.value,
                renewals=of.renewals,
                arr=money(of.arr).amount,
                amount=money(of.amount).amount,
                expected=money(of.expected).amount,
            )
            for bucket, of in sorted(by_bucket.items(), key=lambda item: _BUCKETS.index(item[0]))
            if of.renewals
        ],
        groups=[
            GroupLine(
                group=f"{people[group]} ({group})" if group in people else group,
                renewals=_added(of, Bucket).renewals,
                arr=money(_added(of, Bucket).arr).amount,
                forecast=money(_added(of, FORECAST).amount).amount,
                expected=money(_added(of, Bucket).expected).amount,
            )
            for group, of in sorted(by_group.items(), key=lambda item: (-_added(item[1], Bucket).arr, item[0]))
        ]
        if grouped
        else [],
    )


def _added(by_bucket: Mapping[Bucket, _Sums], wanted: Sequence[Bucket] | frozenset[Bucket] | type[Bucket]) -> _Sums:
    sums = [of for bucket, of in by_bucket.items() if bucket in wanted]
    return _Sums(*(sum(column) for column in zip(*sums, strict=True))) if sums else _Sums()


def odds_lines(odds: Mapping[Band, Odds], *, told: bool) -> list[OddsLine]:
    """How many renewals they were learned from is told to whoever may see them all."""
    return [
        OddsLine(
            band=band.value,
            won=found.permille / 1000,
            source="own history" if found.source == "history" else "assumed",
            closed=found.closed if told else None,
        )
        for band, found in odds.items()
    ]


# -- how true it was ----------------------------------------------------------------------------------------


def accuracy_of(rows: Sequence[Row], quarter: FiscalQuarter, today: date) -> QuarterAccuracy:
    """Of the renewals forecast 90 days before a close in the quarter; an unfinished quarter by those closed so far."""
    by_currency: defaultdict[str, list[Foretold]] = defaultdict(list)
    waiting = 0
    for row in rows:
        closed = row["closed_on"] is not None and row["closed_on"] <= quarter.ends_on
        if not closed and today <= quarter.ends_on and row["stage_now"] is not None:
            waiting += 1
            continue
        by_currency[row["currency"]].append(_foretold(row, closed=closed))
    everything = [one for of in by_currency.values() for one in of]
    return QuarterAccuracy(
        quarter=quarter.label,
        renewals=len(everything),
        still_open=waiting,
        share_close=_rounded(share_close(everything)),
        goal=GOAL,
        totals=[_total(of, currency) for currency, of in sorted(by_currency.items())],
    )


def _foretold(row: Row, *, closed: bool) -> Foretold:
    category = ForecastCategory(row["category"]) if row["category"] else None
    bucket = bucket_of(RenewalStage(row["stage"]), category)
    won = closed and row["stage_now"] == RenewalStage.closed_won.value
    return Foretold(
        amount_minor=0 if bucket in WRITTEN_OFF else row["amount_minor"],
        forecast_minor=row["amount_minor"] if bucket in FORECAST else 0,
        expected_minor=row["expected_minor"],
        result_minor=row["amount_now"] if won else 0,
    )


def _total(foretold: Sequence[Foretold], currency: str) -> TotalAccuracy:
    forecast, expected, won = (
        sum(getattr(one, name) for one in foretold) for name in ("forecast_minor", "expected_minor", "result_minor")
    )
    return TotalAccuracy(
        currency=currency,
        forecast=Amount.of(forecast, currency),
        expected=Amount.of(expected, currency),
        won=Amount.of(won, currency),
        accuracy=_rounded(accuracy_of_total(forecast, won)),
        expected_accuracy=_rounded(accuracy_of_total(expected, won)),
    )


def _rounded(share: Fraction | None) -> float | None:
    return None if share is None else round(float(share), 4)


# -- within the budget --------------------------------------------------------------------------------------


def fitting(view: ForecastView, budget_tokens: int) -> ForecastView:
    """The view within the budget: renewals that moved give way first, then groups, then the later quarters."""
    allowed = budget_tokens * BYTES_PER_TOKEN
    steps: Sequence[Callable[[ForecastView], ForecastView | None]] = (_fewer_shifts, _fewer_groups, _fewer_quarters)
    for step in steps:
        while _size(view) > allowed and (smaller := step(view)) is not None:
            view = smaller
    return view


def _size(view: ForecastView) -> int:
    return max(len(view.text("0000").encode()), len(view.model_dump_json(exclude_none=True).encode()))


def _leaving_out(view: ForecastView, what: str, call: str, **fields: object) -> ForecastView:
    left = [one for one in view.left_out if one.call != call]
    return view.model_copy(update=fields | {"left_out": [*left, LeftOut(what=what, call=call)]})


def _fewer_shifts(view: ForecastView) -> ForecastView | None:
    if view.compared is None or not view.compared.renewals:
        return None
    kept = view.compared.renewals[: len(view.compared.renewals) * 4 // 5]
    compared = view.compared.model_copy(update={"renewals": kept})
    moved_ones = sum(line.renewals for line in compared.sums)
    return _leaving_out(
        view, f"{moved_ones - len(kept)} renewals that moved", "get_forecast with one quarter", compared=compared
    )


def _fewer_groups(view: ForecastView) -> ForecastView | None:
    longest = max(view.quarters, key=lambda quarter: len(quarter.groups), default=None)
    if longest is None or not longest.groups:
        return None
    most = len(longest.groups) * 4 // 5
    quarters = [quarter.model_copy(update={"groups": quarter.groups[:most]}) for quarter in view.quarters]
    return _leaving_out(
        view, f"groups after the first {most}", "get_forecast with one quarter and more tokens", quarters=quarters
    )


def _fewer_quarters(view: ForecastView) -> ForecastView | None:
    if len(view.quarters) < 2:
        return None
    kept = view.quarters[:-1]
    return _leaving_out(
        view, f"quarters and currencies after {kept[-1].quarter}", "get_forecast with `quarter`", quarters=kept
    )
