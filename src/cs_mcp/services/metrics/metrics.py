"""Metrics: each with its formula, scope and day. A new one is a Definition, entered in `Metric` and in wiring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import Calendar, year_to
from cs_mcp.domain.contract import (
    BYTES_PER_TOKEN,
    Amount,
    Budget,
    LeftOut,
    Limit,
    Question,
    UserRef,
    View,
    shown,
)
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.revenue.conventions import RevenueConventions
from cs_mcp.domain.text import inert
from cs_mcp.services.accounts.views import PersonRef
from cs_mcp.services.naming import Match, Names
from cs_mcp.services.revenue.targets import TargetView

DEFAULT_PERIOD: Final = timedelta(days=30)

Metric = Literal[
    "health", "completeness", "churn", "clv", "concentration", "renewals", "books", "goals", "cs_return", "tiers"
]  # fmt: skip
Slice = Literal["segment", "tier", "owner"]


class GetMetrics(Question):
    metric: Metric
    period_start: (
        Annotated[date, Field(description="First day; 30 days back when absent, a year for revenue")] | None
    ) = None
    as_of: Annotated[date, Field(description="A past day, YYYY-MM-DD")] | None = None
    owner: UserRef | None = None
    slice_by: Annotated[Slice, Field(description="Also divide health, churn or renewals by this")] | None = None
    interval: Annotated[Literal["month", "quarter"], Field(description="Health: each period of it too")] | None = None
    limit: Annotated[Limit, Field(description="Of listed accounts")] = 10
    budget_tokens: Budget = 4000


class MetricRow(View):
    """A row of a table. `arr` is by currency; `before`, `after` and `change` are of what the table's formula names.

    A figure has a `value` (ratios 0-1) or an `amount`, where it counts something `hits` of `of`, and its own formula.
    """

    label: str | None = None
    value: float | None = None
    amount: Amount | None = None
    of_amount: Amount | None = None
    hits: int | None = None
    of: int | None = None
    formula: str | None = None
    target: TargetView | None = None
    metrics: dict[str, float] = {}
    flag: str | None = None
    slice: str | None = None
    account: PersonRef | None = None
    accounts: int | None = None
    share: float | None = None
    arr: list[Amount] = []
    before: float | None = None
    after: float | None = None
    change: float | None = None
    lacks: list[str] = []

    def text(self, nonce: str) -> str:
        about = [
            self.account.text(nonce) if self.account else "",
            shown(self.slice) if self.slice else "",
            shown(self.label) if self.label else "",
        ]
        moved = "" if self.change is None else f"{self.before:g} → {self.after:g} ({self.change:+g})"
        parts = [
            "" if self.value is None else f"{self.value:g}",
            "" if self.amount is None else f"{self.amount}" + (f" of {self.of_amount}" if self.of_amount else ""),
            "" if self.hits is None else f"{self.hits} of {self.of}",
            "" if self.accounts is None else f"{self.accounts} account{'s' * (self.accounts != 1)}",
            "" if self.share is None else f"{self.share:.0%}",
            moved,
            f"ARR {' + '.join(map(str, self.arr))}" if self.arr else "",
            f"lacks {', '.join(self.lacks)}" if self.lacks else "",
            ", ".join(f"{name} {value:g}" for name, value in self.metrics.items()),
            self.flag or "",
            self.target.text(nonce) if self.target else "",
        ]
        told = ", ".join(part for part in parts if part) or "not told"
        formula = f" = {self.formula}" if self.formula else ""
        return f"- {' · '.join(part for part in about if part)}: {told}{formula}"


class MetricTable(View):
    name: str
    formula: str
    rows: list[MetricRow]

    def text(self, nonce: str) -> str:
        rows = [row.text(nonce) for row in self.rows]
        return "\n".join([f"## {self.name}: {self.formula}", *(rows or ["none"])])


class MetricsView(View):
    metric: str
    scope: str
    as_of: date
    period_start: date | None = None
    conventions: str | None = None
    alerts: list[str] = []
    tables: list[MetricTable]
    notes: list[str] = []
    left_out: list[LeftOut] = []

    def text(self, nonce: str) -> str:
        since = f", since {self.period_start}" if self.period_start else ""
        lines = [f"# {self.metric} as of {self.as_of}{since}; {shown(self.scope)}"]
        lines += [f"Alert: {inert(alert)}" for alert in self.alerts]
        lines += [table.text(nonce) for table in self.tables]
        lines += [f"Conventions: {self.conventions}"] if self.conventions else []
        lines += self.notes
        return "\n".join(lines + [f"Left out: {left.what}. Call {left.call}." for left in self.left_out])


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its names and days resolved."""

    principal: Principal
    calendar: Calendar
    currency: str  # of the workspace
    revenue: RevenueConventions
    today: date
    as_of: date
    period_start: date | None
    owner: Match | None
    slice_by: Slice | None
    limit: int
    interval: Literal["month", "quarter"] | None = None

    @property
    def owner_id(self) -> str | None:
        return self.owner.id if self.owner else None


@dataclass(slots=True)
class Measured:
    """What a metric says; `left_out` has the call for what its tables do not show."""

    tables: list[MetricTable]
    conventions: str | None = None
    alerts: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])


class Definition:
    """A metric: whether it is known for past days, whether it looks back over a period, and how it is computed."""

    past: ClassVar[bool] = True
    period: ClassVar[bool] = True
    over_a_year: ClassVar[bool] = False  # what the period is when none is asked for
    divides: ClassVar[bool] = False  # by segment, tier or owner
    series: ClassVar[bool] = False  # by month or quarter

    async def measure(self, asked: Asked) -> Measured:
        raise NotImplementedError


class Metrics:
    def __init__(self, store: Store, definitions: Mapping[Metric, Definition]) -> None:
        self._store = store
        self._definitions = definitions

    async def get(self, principal: Principal, question: GetMetrics) -> MetricsView:
        definition = self._definitions[question.metric]
        profile = await self._store.workspace(principal.workspace)
        today = profile.calendar.today(self._store.clock.now())
        as_of, start = _days(question, definition, today)
        owner = None
        if question.owner is not None:
            owner = await Names.reading(self._store, principal).member(question.owner)
        asked = Asked(
            principal=principal,
            calendar=profile.calendar,
            currency=profile.currency,
            revenue=profile.revenue,
            today=today,
            as_of=as_of,
            period_start=start,
            owner=owner,
            slice_by=question.slice_by,
            limit=question.limit,
            interval=question.interval,
        )
        measured = await definition.measure(asked)
        books = "the whole workspace" if principal.sees_all else "the books you see"
        scope = f"accounts owned by {owner.name} in {books}" if owner is not None else books
        return fitting(
            MetricsView(
                metric=question.metric,
                scope=scope,
                as_of=as_of,
                period_start=start,
                conventions=measured.conventions,
                alerts=measured.alerts,
                tables=measured.tables,
                notes=measured.notes,
                left_out=measured.left_out,
            ),
            question.budget_tokens,
        )


def _days(question: GetMetrics, definition: Definition, today: date) -> tuple[date, date | None]:
    as_of = question.as_of or today
    if as_of > today:
        raise Invalid(f"as_of {as_of} is in the future; today is {today}.", remedy="Give today or a past day.")
    if as_of < today and not definition.past:
        raise Invalid(f"{question.metric} is known for today alone, not for {as_of}.", remedy="Leave as_of out.")
    if question.slice_by is not None and not definition.divides:
        raise Invalid(f"{question.metric} is not divided by {question.slice_by}.", remedy="Leave slice_by out.")
    if question.interval is not None and not definition.series:
        raise Invalid(
            f"{question.metric} has no series here.",
            remedy="Leave interval out, or ask get_retention for NRR, GRR and logo churn by interval.",
        )
    if not definition.period:
        if question.period_start is not None:
            raise Invalid(f"{question.metric} has no period.", remedy="Leave period_start out.")
        return as_of, None
    back = year_to(as_of) if definition.over_a_year or question.interval else as_of - DEFAULT_PERIOD
    start = question.period_start or back
    if start >= as_of:
        raise Invalid(f"period_start {start} is not before {as_of}.", remedy="Give an earlier day.")
    return as_of, start


def fitting(view: MetricsView, budget_tokens: int) -> MetricsView:
    """The view within the budget: the longest tables give up their last rows, and say so."""
    allowed = budget_tokens * BYTES_PER_TOKEN
    cut: dict[str, int] = {}
    while _size(view) > allowed and any(len(table.rows) > 1 for table in view.tables):
        longest = max(view.tables, key=lambda table: len(table.rows))
        keep = max(1, len(longest.rows) * 4 // 5)
        cut[longest.name] = cut.get(longest.name, 0) + len(longest.rows) - keep
        tables = [
            table.model_copy(update={"rows": table.rows[:keep]}) if table is longest else table for table in view.tables
        ]
        call = f"get_metrics with metric '{view.metric}' and a larger budget_tokens"
        left = [LeftOut(what=f"{rows} rows of {name}", call=call) for name, rows in cut.items()]
        kept = [one for one in view.left_out if not one.call.endswith("a larger budget_tokens")]
        view = view.model_copy(update={"tables": tables, "left_out": kept + left})
    return view


def _size(view: MetricsView) -> int:
    return max(len(view.text("0000").encode()), len(view.model_dump_json(exclude_none=True).encode()))


def amounts(by_currency: Mapping[str, int]) -> list[Amount]:
    return [Amount.of(minor, currency) for currency, minor in sorted(by_currency.items())]
