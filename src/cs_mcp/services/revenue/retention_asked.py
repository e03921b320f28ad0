"""What get_retention is asked, and the window and periods that a question means."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from cs_mcp.domain.calendar import Calendar, add_months, year_to
from cs_mcp.domain.contract import Budget, Cursor, Limit, Question, UserRef
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.revenue.retention import Bar

MOST_PERIODS: Final = 36


class ConventionsAsked(BaseModel):
    """Only what differs from the company's own."""

    model_config = ConfigDict(extra="forbid", strict=True)

    netting: Literal["window", "none"] | None = None
    reactivation: Literal["nets_out", "separate"] | None = None
    price_change: Literal["in_nrr", "apart"] | None = None
    new_and_churned: Literal["netted", "shown"] | None = None
    fx: Literal["constant", "transaction"] | None = None


class GetRetention(Question):
    period_start: Annotated[date, Field(description="When absent, 12 calendar months with the end's")] | None = None
    period_end: Annotated[date, Field(description="Last day; as_of or today when absent")] | None = None
    as_of: Annotated[date, Field(description="The same as period_end")] | None = None
    known_on: Annotated[date, Field(description="Leave out what the ledger learned after this day")] | None = None
    interval: Annotated[Literal["month", "quarter"], Field(description="Also each period of the window")] | None = None
    slice_by: (
        Annotated[
            str,
            Field(
                pattern=r"^(segment|tier|owner|industry|cohort|custom:.{1,80})$",
                description="segment, tier, owner, industry, cohort or custom:<field>, as at the start",
            ),
        ]
        | None
    ) = None
    owner: UserRef | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="Convert all to it, at dated rates")] | None = (
        None
    )
    conventions: ConventionsAsked | None = None
    bar: Annotated[Bar, Field(description="List the accounts behind this bar")] | None = None
    limit: Limit = 50
    cursor: Cursor | None = None
    image: Annotated[bool, Field(description="Also draw the waterfall as a PNG")] = False
    budget_tokens: Budget = 4000


def window_of(question: GetRetention, today: date) -> tuple[date, date]:
    if question.period_end is not None and question.as_of is not None and question.period_end != question.as_of:
        raise Invalid(
            f"period_end {question.period_end} and as_of {question.as_of} name two last days.",
            remedy="Give one of them. To leave out what was learned later, use known_on.",
        )
    end = question.period_end or question.as_of or today
    if end > today:
        raise Invalid(f"The window ends on {end}, and today is {today}.", remedy="End it today or before.")
    start = question.period_start
    if start is None:
        start = year_to(end) if end.year > 1 else date.min
    if start > end:
        raise Invalid(f"period_start {start} is after {end}.", remedy="Give an earlier day.")
    if question.known_on is not None and question.known_on > today:
        raise Invalid(f"known_on {question.known_on} is in the future; today is {today}.", remedy="Give a past day.")
    return start, end


def periods(start: date, end: date, interval: str, calendar: Calendar) -> list[tuple[date, date]]:
    """The months or fiscal quarters of a window; the first and the last are cut where the window cuts them."""
    found: list[tuple[date, date]] = []
    first = start
    while first <= end:
        if interval == "quarter":
            last = calendar.quarter_of(first).ends_on
        else:
            last = add_months(first.replace(day=1), 1) - timedelta(days=1)
        found.append((first, min(last, end)))
        first = last + timedelta(days=1)
        if len(found) > MOST_PERIODS:
            raise Invalid(
                f"The window has more than {MOST_PERIODS} {interval}s.",
                remedy="Ask for a shorter window, or for quarters.",
            )
    return found
