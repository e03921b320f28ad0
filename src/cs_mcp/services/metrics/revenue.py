"""The metrics `churn`, `clv` and `concentration`: what the ledger's waterfall says besides NRR and GRR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Final

from cs_mcp.db.accounts.book_reads import BookReads
from cs_mcp.db.read_path import Row
from cs_mcp.db.revenue.retention_reads import RetentionReads
from cs_mcp.db.store import Store
from cs_mcp.domain.contract import Amount, LeftOut
from cs_mcp.domain.revenue.currency_rates import MissingRate, Rates
from cs_mcp.domain.revenue.metrics import (
    TOP,
    Lost,
    concentration,
    discounted,
    lifespan,
    margin_over_churn,
    of_a_year,
    over_lifespan,
    quick_ratio,
)
from cs_mcp.domain.revenue.retention import Retention
from cs_mcp.services.accounts.views import PersonRef
from cs_mcp.services.metrics.metrics import Asked, Definition, Measured, MetricRow, MetricTable, amounts
from cs_mcp.services.metrics.renewals import told
from cs_mcp.services.revenue.targets import Aims, Targets, TargetView
from cs_mcp.services.revenue.windows import Windows, common_currency
from cs_mcp.services.revenue.worsening import Worsening

CHURN_FORMULAS: Final = {
    "logo_churn_rate": "cohort accounts lost ÷ accounts at opening",
    "revenue_churn": "(cohort contraction + churn) ÷ opening ARR = 1 − GRR",
    "net_churn": "(cohort contraction + churn − expansion − price change) ÷ opening ARR",
    "expansion_rate": "(cohort expansion + price change) ÷ opening ARR",
    "quick_ratio": "(new + reactivation + expansion + price change) ÷ (contraction + churn), all accounts",
}


def churn_figures(found: Retention) -> dict[str, Fraction | None]:
    lost = Lost.of(found.cohort)
    return {
        "logo_churn_rate": found.logo_churn_rate,
        "revenue_churn": lost.revenue_churn,
        "net_churn": lost.net_churn,
        "expansion_rate": lost.expansion_rate,
        "quick_ratio": quick_ratio(found.total),
    }


class Churn(Definition):
    over_a_year = True
    divides = True

    def __init__(self, store: Store) -> None:
        self._windows = Windows(store)
        self._targets = Targets(store)
        self._worsening = Worsening(store)

    async def measure(self, asked: Asked) -> Measured:
        assert asked.period_start is not None
        window = (asked.principal, asked.period_start, asked.as_of)
        figures = await self._windows.of(*window, owner=asked.owner_id)
        aims = await self._targets.on(asked.principal, asked.as_of)
        formula = f"from the ledger, {asked.period_start} to {asked.as_of}, in {figures.currency}"
        rows = _churn_rows(figures.retention, figures.currency, aims)
        tables = [MetricTable(name="churn", formula=formula, rows=rows)]
        if asked.slice_by is not None:
            parts = await self._windows.sliced(*window, asked.slice_by, currency=figures.currency, owner=asked.owner_id)
            tables.append(_sliced(parts, asked.slice_by, aims))
        alerts = await self._worsening.of(asked.principal, asked.as_of, owner=asked.owner_id)
        return Measured(tables=tables, conventions=figures.conventions, alerts=[alert.text() for alert in alerts])


def _churn_rows(found: Retention, currency: str, aims: Aims) -> list[MetricRow]:
    cohort = found.cohort
    lost, gained = cohort.contraction + cohort.churn, cohort.expansion + cohort.price_change + cohort.reactivation
    opening = Amount.of(cohort.starting_arr, currency)
    beside = {
        "logo_churn_rate": {"hits": found.accounts_lost, "of": found.accounts_at_start},
        "revenue_churn": {"amount": Amount.of(lost, currency), "of_amount": opening},
        "net_churn": {"amount": Amount.of(lost - gained, currency), "of_amount": opening},
        "expansion_rate": {"amount": Amount.of(gained, currency), "of_amount": opening},
    }
    return [
        MetricRow(
            label=metric,
            value=told(value),
            formula=CHURN_FORMULAS[metric],
            target=aims.of(metric, None, value),
        ).model_copy(update=beside.get(metric, {}))
        for metric, value in churn_figures(found).items()
    ]


def _sliced(parts: Mapping[str, Retention], slice_by: str, aims: Aims) -> MetricTable:
    rows: list[MetricRow] = []
    largest_first = sorted(parts, key=lambda name: (-parts[name].cohort.starting_arr, name))
    for name in largest_first:
        found = parts[name]
        figures = {metric: told(value) for metric, value in churn_figures(found).items()}
        rows.append(
            MetricRow(
                slice=name,
                accounts=found.accounts_at_start,
                metrics={metric: value for metric, value in figures.items() if value is not None},
                target=_of_segment(aims, name, found) if slice_by == "segment" else None,
            )
        )
    formula = f"the same by {slice_by} as it was when the period began; accounts at opening"
    return MetricTable(name=f"by_{slice_by}", formula=formula, rows=rows)


def _of_segment(aims: Aims, segment: str, found: Retention) -> TargetView | None:
    return aims.of("logo_churn_rate", segment, found.logo_churn_rate)


class LifetimeValue(Definition):
    over_a_year = True

    def __init__(self, store: Store) -> None:
        self._windows = Windows(store)
        self._targets = Targets(store)

    async def measure(self, asked: Asked) -> Measured:
        assert asked.period_start is not None
        start, end = asked.period_start, asked.as_of
        figures = await self._windows.of(asked.principal, start, end, owner=asked.owner_id)
        found, currency = figures.retention, figures.currency
        if found.logo_churn_rate is None:
            return Measured(tables=[], notes=[f"There was no customer with ARR when {start} began."])
        margin, discount = Fraction(asked.revenue.gross_margin), Fraction(asked.revenue.discount_rate)
        arpa = Fraction(found.cohort.starting_arr, found.accounts_at_start)
        churn = of_a_year(found.logo_churn_rate, _days(start, end))
        years = lifespan(churn)
        forms = {
            "clv_margin_over_churn": (margin_over_churn(arpa, margin, churn), "ARPA × margin ÷ churn"),
            "clv_discounted": (
                discounted(arpa, margin, churn, discount),
                "ARPA × margin × r ÷ (1 + d − r), r = 1 − churn",
            ),
            "clv_over_lifespan": (
                over_lifespan(arpa, years) if years else None,
                "ARPA × lifespan, revenue without margin; lifespan = 1 ÷ churn",
            ),
        }
        aims = await self._targets.on(asked.principal, asked.as_of)
        rows = [
            MetricRow(label="arpa", amount=_rounded(arpa, currency), formula="opening ARR ÷ accounts at opening"),
            MetricRow(label="churn_a_year", value=told(churn), formula="logo churn of the period × 365 ÷ its days"),
            MetricRow(label="lifespan_years", value=told(years), formula="1 ÷ churn"),
        ]
        rows += [
            MetricRow(
                label=name,
                amount=None if value is None else _rounded(value, currency),
                formula=formula,
                target=aims.of("clv") if name == "clv_margin_over_churn" else None,
            )
            for name, (value, formula) in forms.items()
        ]
        table = MetricTable(name="clv", formula=f"what an average customer is worth, in {currency}", rows=rows)
        notes = [
            f"Gross margin {float(margin):g}, discount rate {float(discount):g} a year: settings of the workspace."
        ]
        if not churn:
            notes.append("Nobody left in the period, so that forms which divide by churn have no bound.")
        return Measured(tables=[table], conventions=figures.conventions, notes=notes)


class Concentration(Definition):
    past = False
    period = False

    def __init__(self, store: Store) -> None:
        self._reads = BookReads(store)
        self._rates = RetentionReads(store)

    async def measure(self, asked: Asked) -> Measured:
        largest, totals = await self._reads.largest(asked.principal, asked.owner_id)
        present = [total["currency"] for total in totals]
        common, notes, factors = common_currency(present, asked.currency), list[str](), {}
        if present != [common] and present:
            rates = Rates(await self._rates.rates(asked.principal, asked.as_of, every_day=False), asked.currency)
            try:
                told_at = {currency: rates.on(currency, common, asked.as_of) for currency in present}
            except MissingRate as missing:
                notes.append(f"Each currency stands apart: {missing}")
            else:
                factors = {currency: rate.factor for currency, rate in told_at.items()}
                days = ", ".join(f"{currency} of {rate.on}" for currency, rate in told_at.items() if rate.on)
                notes.append(f"Converted to {common} at the rates in force on {asked.as_of}: {days}.")
        shares: list[MetricRow] = []
        accounts: list[MetricRow] = []
        for currency in [common] if factors else present:
            whole = _Together(currency, factors or {currency: Fraction(1)}, largest, totals)
            shares += whole.shares()
            accounts += whole.accounts()
        tops = ", ".join(map(str, TOP))
        of = "" if factors or len(present) < 2 else ", of each currency"
        tables = [
            MetricTable(name="concentration", formula=f"ARR of the {tops} largest ÷ ARR{of}", rows=shares),
            MetricTable(name="largest", formula="customers by ARR, their share", rows=accounts[: asked.limit]),
        ]
        left = [LeftOut(what="further large customers", call="find_accounts with sort '-arr'")]
        return Measured(tables=tables, notes=notes, left_out=left if len(accounts) > asked.limit else [])


class _Together:
    """The largest customers of the currencies that `factors` names, told in one of them."""

    def __init__(
        self, currency: str, factors: Mapping[str, Fraction], largest: Sequence[Row], totals: Sequence[Row]
    ) -> None:
        self._currency = currency
        worth = [(row["arr_minor"] * factors[row["currency"]], row) for row in largest if row["currency"] in factors]
        self._largest = sorted(worth, key=lambda one: (-one[0], one[1]["id"]))[: max(TOP)]
        told = [total["arr_minor"] * factors[total["currency"]] for total in totals if total["currency"] in factors]
        self._total = sum(told, Fraction(0))

    def shares(self) -> list[MetricRow]:
        worth = [minor for minor, _ in self._largest]
        return [
            MetricRow(
                label=f"top_{top}",
                value=told(share),
                amount=_rounded(sum(worth[:top], Fraction(0)), self._currency),
                of_amount=_rounded(self._total, self._currency),
            )
            for top, share in concentration(worth, self._total).items()
        ]

    def accounts(self) -> list[MetricRow]:
        return [
            MetricRow(
                account=PersonRef(id=row["id"], name=row["name"]),
                value=told(minor / self._total),
                arr=amounts({row["currency"]: row["arr_minor"]}),
            )
            for minor, row in self._largest
        ]


def _rounded(minor: Fraction, currency: str) -> Amount:
    return Amount.of(round(minor), currency)


def _days(start: date, end: date) -> int:
    return (end - start).days + 1
