"""Cohorts: of the customers who started together, how many are left and what they are worth as time goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Annotated, Final, NamedTuple

from pydantic import Field, PrivateAttr

from cs_mcp.db.revenue.cohort_reads import CohortReads
from cs_mcp.db.revenue.retention_reads import RetentionReads
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import add_months
from cs_mcp.domain.contract import BYTES_PER_TOKEN, Amount, Budget, LeftOut, Limit, Question, UserRef, View, shown
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.money import exponent
from cs_mcp.domain.revenue.cohorts import Average, Cohort, Interval, averages, cohorts, joined, period_of
from cs_mcp.domain.revenue.currency_rates import Rates
from cs_mcp.services.charts import HOW_TO_INSTALL, can_draw, png
from cs_mcp.services.naming import Names
from cs_mcp.services.revenue.charts import Cell, cohort_chart
from cs_mcp.services.revenue.windows import common_currency

SHOWN: Final = 12  # cohorts, where no first one is asked for
FORMULA: Final = (
    "Of the customers whose ARR first rose in a period: logos = those with ARR at the end of the n-th period after it "
    "÷ all of them; revenue = their ARR then ÷ the ARR they started with; gross = Σ min(ARR then, ARR at the start) ÷ "
    "the same. Place 0 is the end of the period they started in. The average weighs each cohort by what it began with."
)
CONVENTIONS: Final = (
    "A customer starts once: who left and came back stays in its first cohort and counts again. Periods that are not "
    "over are left out. Other currencies are told at one rate, that of the last day, so that no rate moves a ratio."
)


class GetCohorts(Question):
    interval: Interval = "month"
    period_start: Annotated[date, Field(description="First cohort; the last 12 when absent")] | None = None
    cohort: Annotated[date, Field(description="A day in a cohort's period: list its accounts")] | None = None
    as_of: Annotated[date, Field(description="A past day, YYYY-MM-DD")] | None = None
    owner: UserRef | None = None
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$", description="Accounts in this currency alone")] | None = None
    limit: Annotated[Limit, Field(description="Of a cohort's accounts")] = 20
    image: Annotated[bool, Field(description="Also draw the triangle as a PNG")] = False
    budget_tokens: Budget = 4000


class CohortLine(View):
    """Ratios by the number of periods after the one it started in, from 0."""

    started: date
    accounts: int
    arr: Amount
    logos: list[float | None]
    revenue: list[float | None]
    gross: list[float | None]

    def text(self, nonce: str) -> str:
        lines = [f"- {self.started}: {self.accounts} account{'s' * (self.accounts != 1)}, started at {self.arr}"]
        told = {"logos": self.logos, "revenue": self.revenue, "gross": self.gross}
        return "\n".join(lines + [f"  {name} {_percents(ratios)}" for name, ratios in told.items()])


class AverageLine(View):
    logos: list[float | None]
    revenue: list[float | None]
    gross: list[float | None]
    cohorts: list[int]

    def text(self, nonce: str) -> str:
        told = {"logos": self.logos, "revenue": self.revenue, "gross": self.gross}
        return "\n".join(["- all, weighted:", *(f"  {name} {_percents(ratios)}" for name, ratios in told.items())])


class CohortAccount(View):
    """An account of a cohort. `last_moved` is the month in which its ARR last changed."""

    id: str
    name: str
    started_in: date
    arr_at_start: Amount
    arr: Amount
    last_moved: date

    def text(self, nonce: str) -> str:
        became = "gone" if self.arr.amount.strip("0.") == "" else f"{self.arr}"
        return f"- {shown(self.name)} ({self.id}): {self.arr_at_start} → {became}, last moved {self.last_moved:%Y-%m}"


class CohortsView(View):
    as_of: date
    complete_to: date
    interval: Interval
    currency: str
    scope: str
    formula: str = FORMULA
    conventions: str = CONVENTIONS
    cohorts: list[CohortLine]
    average: AverageLine | None = None
    accounts: list[CohortAccount] | None = None
    notes: list[str] = []
    left_out: list[LeftOut] = []
    _picture: bytes | None = PrivateAttr(default=None)

    def with_picture(self, drawn: bytes | None) -> CohortsView:
        self._picture = drawn
        return self

    def pictures(self) -> list[bytes]:
        return [] if self._picture is None else [self._picture]

    def text(self, nonce: str) -> str:
        of = f"# Retention by start {self.interval}, periods complete to {self.complete_to}"
        lines = [f"{of}; {shown(self.scope)}; {self.currency}"]
        if self.accounts is not None:
            lines += [one.text(nonce) for one in self.accounts] or ["No account started then."]
        else:
            lines += [line.text(nonce) for line in self.cohorts] or ["No customer started in these periods."]
            lines += [self.average.text(nonce)] if self.average else []
        lines += [*self.notes, self.formula, self.conventions]
        return "\n".join(lines + [f"Left out: {left.what}. Call {left.call}." for left in self.left_out])


def _percents(ratios: Sequence[float | None]) -> str:
    return " ".join("-" if ratio is None else f"{100 * ratio:.1f}" for ratio in ratios) + " %"


class _Asked(NamedTuple):
    principal: Principal
    interval: Interval
    first_day_of: Callable[[date], date]
    last_month: date  # the last one that is over
    filters: dict[str, str]

    @property
    def complete_to(self) -> date:
        return date.fromordinal(add_months(self.last_month, 1).toordinal() - 1)


class Cohorts:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._reads = CohortReads(store)
        self._rates = RetentionReads(store)

    async def get(self, principal: Principal, question: GetCohorts) -> CohortsView:
        profile = await self._store.workspace(principal.workspace)
        calendar = profile.calendar
        today = calendar.today(self._store.clock.now())
        as_of = question.as_of or today
        if as_of > today:
            raise Invalid(f"as_of {as_of} is in the future; today is {today}.", remedy="Give today or a past day.")
        if question.currency is not None:
            exponent(question.currency)
        owner = None
        if question.owner is not None:
            owner = await Names.reading(self._store, principal).member(question.owner)
        filters = {"owner": owner.id} if owner else {}
        asked = _Asked(
            principal=principal,
            interval=question.interval,
            first_day_of=period_of(question.interval, lambda day: calendar.quarter_of(day).starts_on),
            last_month=_last_month(as_of),
            filters=filters | ({"currency": question.currency} if question.currency else {}),
        )
        books = "the whole workspace" if principal.sees_all else "the books you see"
        view = CohortsView(
            as_of=as_of,
            complete_to=asked.complete_to,
            interval=question.interval,
            currency=question.currency or profile.currency,
            scope=books if owner is None else f"accounts owned by {owner.name} in {books}",
            cohorts=[],
        )
        if question.cohort is not None:
            return await self._accounts(view, asked, question.cohort, question.limit)
        currency, found, told = await self._cohorts(asked, profile.currency)
        view = _shown(view.model_copy(update={"currency": currency, "notes": told}), found, question)
        if not question.image:
            return view
        if not can_draw():
            return view.model_copy(update={"notes": [*view.notes, HOW_TO_INSTALL]})
        return view.with_picture(await _picture(view))

    async def _cohorts(self, asked: _Asked, of_workspace: str) -> tuple[str, list[Cohort], list[str]]:
        """In one currency, which it is, and which rates made it so."""
        by_currency = await self._reads.steps(asked.principal, asked.last_month, asked.filters)
        currency = asked.filters.get("currency") or common_currency(by_currency, of_workspace)
        rates = Rates([])
        if set(by_currency) - {currency}:
            given = await self._rates.rates(asked.principal, asked.complete_to, every_day=False)
            rates = Rates(given, of_workspace)
        parts: list[tuple[Sequence[Cohort], Fraction]] = []
        told: list[str] = []
        for source, steps in by_currency.items():
            rate = rates.on(source, currency, asked.complete_to)
            if rate.on is not None:
                told.append(f"{source} is told in {currency} at the rate of {rate.on}, for all periods alike.")
            found = cohorts(steps, first_day_of=asked.first_day_of, interval=asked.interval, end=asked.complete_to)
            parts.append((found, rate.factor))
        return currency, joined(parts), told

    async def _accounts(self, view: CohortsView, asked: _Asked, day: date, limit: int) -> CohortsView:
        first = asked.first_day_of(day)
        last = add_months(first, _LENGTH[asked.interval] - 1)
        found = await self._reads.members(
            asked.principal, asked.last_month, asked.filters, started=(first, last), limit=limit + 1
        )
        listed = [
            CohortAccount(
                id=one.account_id,
                name=one.name,
                started_in=one.started,
                arr_at_start=Amount.of(one.initial, one.currency),
                arr=Amount.of(one.arr, one.currency),
                last_moved=one.moved_in,
            )
            for one in found
        ]
        left = [LeftOut(what="smaller accounts of the cohort", call="get_cohorts with a larger limit")]
        return view.model_copy(update={"accounts": listed[:limit], "left_out": left if len(listed) > limit else []})


async def _picture(view: CohortsView) -> bytes | None:
    """Revenue kept, growth included, as a triangle."""
    cells = [Cell(f"{line.started}", age, kept) for line in view.cohorts for age, kept in enumerate(line.revenue)]
    sizes = {f"{line.started}": f"{line.accounts} account{'s' * (line.accounts != 1)}" for line in view.cohorts}
    title, subtitle = f"Revenue retained by start {view.interval}", f"{view.scope}, complete to {view.complete_to}"
    drawn = cohort_chart(title, cells, period=view.interval, subtitle=subtitle, sizes=sizes)
    return None if drawn is None else await png(drawn)


_LENGTH: Final[Mapping[Interval, int]] = {"month": 1, "quarter": 3}


def _last_month(as_of: date) -> date:
    month = as_of.replace(day=1)
    is_over = add_months(month, 1) == date.fromordinal(as_of.toordinal() + 1)
    return month if is_over else add_months(month, -1)


def _shown(view: CohortsView, found: Sequence[Cohort], question: GetCohorts) -> CohortsView:
    """The cohorts asked for, the oldest given up first where they do not fit."""
    if question.period_start is not None:
        wanted = [cohort for cohort in found if cohort.started >= question.period_start]
    else:
        wanted = list(found[-SHOWN:])
    earlier = len(found) - len(wanted) if question.period_start is None else 0
    allowed = question.budget_tokens * BYTES_PER_TOKEN
    fitting = _with(view, wanted, earlier)
    while _size(fitting) > allowed and len(wanted) > 1:
        wanted, earlier = wanted[1:], earlier + 1
        fitting = _with(view, wanted, earlier)
    return fitting


def _with(view: CohortsView, wanted: Sequence[Cohort], earlier: int) -> CohortsView:
    left = [
        LeftOut(what=f"{earlier} earlier cohorts", call="get_cohorts with period_start, and a larger budget_tokens")
    ]
    told = {
        "cohorts": [_line(cohort, view.currency) for cohort in wanted],
        "average": _average(averages(wanted)) if len(wanted) > 1 else None,
        "left_out": left if earlier else [],
    }
    return view.model_copy(update=told)


def _size(view: CohortsView) -> int:
    return max(len(view.text("0000").encode()), len(view.model_dump_json(exclude_none=True).encode()))


def _line(cohort: Cohort, currency: str) -> CohortLine:
    ages = range(len(cohort.standings))
    return CohortLine(
        started=cohort.started,
        accounts=cohort.accounts,
        arr=Amount.of(cohort.arr, currency),
        logos=[_told(cohort.logos(age)) for age in ages],
        revenue=[_told(cohort.revenue(age)) for age in ages],
        gross=[_told(cohort.gross(age)) for age in ages],
    )


def _average(over: Sequence[Average]) -> AverageLine:
    return AverageLine(
        logos=[_told(average.logos) for average in over],
        revenue=[_told(average.revenue) for average in over],
        gross=[_told(average.gross) for average in over],
        cohorts=[average.cohorts for average in over],
    )


def _told(ratio: Fraction | None) -> float | None:
    return None if ratio is None else round(float(ratio), 4)
