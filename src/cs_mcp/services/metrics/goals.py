"""The metric `goals`: what people and teams aim at in a fiscal quarter, and what came of it so far."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Final

from cs_mcp.db.accounts.book_reads import BookReads, Books
from cs_mcp.db.read_path import Row
from cs_mcp.db.renewals.renewed_reads import RenewedReads
from cs_mcp.db.revenue.retention_reads import RetentionReads
from cs_mcp.db.store import Store
from cs_mcp.domain.contract import Amount, shown
from cs_mcp.domain.revenue.conventions import Conventions
from cs_mcp.domain.revenue.currency_rates import Rates
from cs_mcp.domain.revenue.metrics import HIGHER_IS_BETTER, Lost, Renewed
from cs_mcp.domain.revenue.retention import Tally
from cs_mcp.domain.revenue.targets import GoalSubject
from cs_mcp.services.metrics.metrics import Asked, Definition, Measured, MetricRow, MetricTable
from cs_mcp.services.metrics.renewals import slice_of, told
from cs_mcp.services.revenue.windows import Windows, common_currency, owner_in

_GOALS: Final = "goals of the fiscal quarter; value = what came of it so far, by who owned an account when it began"
RATES: Final = ("nrr", "grr", "logo_churn_rate", "revenue_churn", "net_churn", "expansion_rate")
OF_RENEWALS: Final = ("renewal_rate", "renewal_rate_arr", "on_time_rate")
MONEY: Final = ("expansion_arr", "renewed_arr")


class Goals(Definition):
    period = False

    def __init__(self, store: Store) -> None:
        self._reads = BookReads(store)
        self._rates = RetentionReads(store)
        self._renewed = RenewedReads(store)
        self._windows = Windows(store)

    async def measure(self, asked: Asked) -> Measured:
        quarter = asked.calendar.quarter_of(asked.as_of)
        goals = await self._reads.goals(asked.principal, quarter.starts_on)
        if asked.owner_id is not None:
            goals = [goal for goal in goals if goal["user_id"] == asked.owner_id]
        table = MetricTable(name="goals", formula=f"{_GOALS}; {quarter.label}, to {asked.as_of}", rows=[])
        if not goals:
            notes = [f"No goal is set for {quarter.label} that you may see. They are imported as goals.csv."]
            return Measured(tables=[table], notes=notes)
        books = await self._reads.books(asked.principal, asked.today, None)
        currency = common_currency({row["currency"] for row in books.accounts}, asked.currency)
        came = await self._came(asked, quarter.starts_on, currency)
        rows = [_goal(goal, books, came, currency) for goal in goals]
        return Measured(tables=[table.model_copy(update={"rows": rows})])

    async def _came(self, asked: Asked, start: date, currency: str) -> _Came:
        end = asked.as_of
        tallies = await self._windows.tallies(asked.principal, start, end, "owner", currency=currency)
        rows = await self._renewed.due(
            asked.principal, start, end, owner=None, slice_by="owner", began_at=asked.calendar.start_of(start)
        )
        rates = Rates([])
        if any(row["currency"] != currency for row in rows):
            rates = Rates(await self._rates.rates(asked.principal, end, every_day=False), asked.currency)
        renewed = [row | _worth(row, rates.on(row["currency"], currency, end).factor) for row in rows]
        of_owner = {owner_in(label): tally for label, tally in tallies.items()}
        return _Came(of_owner, renewed, asked.revenue.retention)


def _worth(row: Row, factor: Fraction) -> Row:
    return {name: round(row[name] * factor) for name in ("due_arr", "renewed_arr")}


class _Came:
    """What came of a quarter, by owner of the accounts."""

    def __init__(self, tallies: Mapping[str | None, Tally], renewed: Sequence[Row], conventions: Conventions) -> None:
        self._tallies = tallies
        self._renewed = renewed
        self._conventions = conventions

    def of(self, metric: str, owners: Collection[str] | None) -> Fraction | None:
        """Of these owners' accounts, or of all; money in minor units of the workspace's currency."""
        if metric in OF_RENEWALS or metric == "renewed_arr":
            return self._of_renewals(metric, owners)
        whole = Tally()
        for owner, tally in self._tallies.items():
            if owners is None or owner in owners:
                whole.plus(tally)
        found = whole.retention(self._conventions)
        if metric == "expansion_arr":
            return Fraction(found.cohort.expansion)
        if metric in ("nrr", "grr", "logo_churn_rate"):
            return getattr(found, metric)
        return getattr(Lost.of(found.cohort), metric, None)

    def _of_renewals(self, metric: str, owners: Collection[str] | None) -> Fraction | None:
        sums = [0] * len(Renewed._fields)
        for row in self._renewed:
            if owners is None or slice_of(row) in owners:
                sums = [total + row[name] for total, name in zip(sums, Renewed._fields, strict=True)]
        found = Renewed(*sums)
        if metric == "renewed_arr":
            return Fraction(found.renewed_arr)
        return {
            "renewal_rate": found.by_count,
            "renewal_rate_arr": found.by_arr,
            "on_time_rate": found.on_time_rate,
        }[metric]


def _goal(goal: Row, books: Books, came: _Came, currency: str) -> MetricRow:
    owners = owners_of(goal, books.managers)
    metric = goal["metric"]
    row = MetricRow(slice=_whose(goal, books.people), label=metric, formula=goal["id"])
    if metric not in (*RATES, *OF_RENEWALS, *MONEY):
        return row.model_copy(update={"flag": "no figure for this metric"})
    value = came.of(metric, owners)
    if metric in MONEY:
        if goal["currency"] != currency or goal["amount_minor"] is None:
            return row.model_copy(update={"flag": f"set in {goal['currency'] or 'no money'}, told in {currency}"})
        aim = Fraction(goal["amount_minor"])
        told_of = {"amount": Amount.of(round(value or 0), currency), "of_amount": Amount.of(round(aim), currency)}
        return row.model_copy(update=told_of | _attained(metric, value, aim))
    if goal["value"] is None:
        return row.model_copy(update={"flag": "set without a value"})
    aim = Fraction(goal["value"]).limit_denominator(10**9)
    return row.model_copy(update={"value": told(value), **_attained(metric, value, aim)})


def _attained(metric: str, value: Fraction | None, aim: Fraction) -> dict[str, dict[str, float]]:
    """Attainment: what came ÷ the goal, or of churn the goal ÷ what came, so that more is always better."""
    told_of = {"goal": float(aim)}
    if value is not None:
        over, under = (value, aim) if HIGHER_IS_BETTER.get(metric, True) else (aim, value)
        if under:
            told_of["attainment"] = round(float(over / under), 4)
    return {"metrics": told_of}


def _whose(goal: Row, people: Mapping[str, str]) -> str:
    if goal["user_id"] is None:
        return "everyone"
    name = f"{shown(people.get(goal['user_id'], '?'))} ({goal['user_id']})"
    return f"team of {name}" if goal["subject"] == GoalSubject.team.value else name


def owners_of(goal: Row, managers: Mapping[str, str | None]) -> frozenset[str] | None:
    """Whose accounts a goal is about: one person's, a team's however far down, or, None, everybody's."""
    user = goal["user_id"]
    if user is None:
        return None
    if goal["subject"] != GoalSubject.team.value:
        return frozenset({user})
    team, found = {user}, True
    while found:
        found = {one for one, boss in managers.items() if boss in team} - team
        team |= found
    return frozenset(team)
