"""The forecast of renewals: by fiscal quarter, beside what health tells to expect, and against an earlier day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Final

from pydantic import Field

from cs_mcp.db.accounts.book_reads import BookReads
from cs_mcp.db.history.changes import Act
from cs_mcp.db.revenue.forecast_keeping import closed_by_band, keep
from cs_mcp.db.revenue.forecast_lines import GroupBy, Quarters, Shape
from cs_mcp.db.revenue.forecast_reads import ForecastReads, Kept
from cs_mcp.db.store import Store
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.calendar import Calendar, FiscalQuarter, add_months
from cs_mcp.domain.contract import Budget, Limit, Question, UserRef
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.revenue.forecast import LEAST_CLOSED, Odds, assumed, odds
from cs_mcp.domain.workspaces import Workspace
from cs_mcp.services.naming import Match, Names
from cs_mcp.services.renewals.renewals import quarter_named
from cs_mcp.services.revenue.forecast_answer import (
    Attainment,
    accuracy_of,
    fitting,
    odds_lines,
    quarters_of,
)
from cs_mcp.services.revenue.forecast_compared import comparison_of
from cs_mcp.services.revenue.forecast_picture import pipeline_picture
from cs_mcp.services.revenue.forecast_views import Comparison, ForecastView

QUARTERS: Final = 4  # the current one and those that follow, where none is named
KEEP: Final = "keep_forecast"
RENEWED: Final = "renewed_arr"  # the metric that goals of the forecast are set for


class GetForecast(Question):
    quarter: (
        Annotated[str, Field(max_length=20, description='current, next, or "Q3 FY2026"; four when absent')] | None
    ) = None
    group_by: Annotated[GroupBy, Field(description="Also by this")] | None = None
    owner: UserRef | None = None
    as_of: Annotated[date, Field(description="As kept on a past day, YYYY-MM-DD")] | None = None
    compare_to: Annotated[date, Field(description="An earlier day: what moved since")] | None = None
    limit: Annotated[Limit, Field(description="Of listed renewals")] = 15
    image: Annotated[bool, Field(description="Also draw quarters by stage as a PNG")] = False
    budget_tokens: Budget = 4000


@dataclass(frozen=True, slots=True)
class Snapshot:
    on: date
    renewals: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question with its names, quarters and days resolved. `on` is the day of the snapshot, or today."""

    principal: Principal
    quarters: list[FiscalQuarter]
    shape: Shape
    odds: dict[Band, Odds]
    owner: Match | None
    today: date
    on: date
    then: date | None
    limit: int

    @property
    def days(self) -> Quarters:
        return Quarters([quarter.starts_on for quarter in self.quarters], self.quarters[-1].ends_on)

    @property
    def owner_id(self) -> str | None:
        return self.owner.id if self.owner is not None else None


class Forecasts:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._reads = ForecastReads(store)
        self._aims = BookReads(store)

    # -- what the night keeps -------------------------------------------------------------------------------
    async def snapshot(self, work: UnitOfWork, as_of: date) -> Snapshot:
        """Keep the forecast of today. Once more on the same day rewrites only what differs.

        Renewals that closed in the fiscal quarter before, or were due then, are kept with the open ones.
        """
        if as_of != work.today:
            raise Invalid(
                f"The forecast of {as_of} cannot be kept: today is {work.today}, and renewals are as they are today.",
                remedy="Keep it every night; get_forecast with as_of reads the last one kept.",
            )
        by_band = await closed_by_band(work, as_of)
        learned = odds(by_band, assumed(work.workspace.revenue.renewal_odds))
        since = add_months(work.calendar.quarter_of(as_of).starts_on, -3)
        return Snapshot(as_of, await keep(work, as_of, learned, since=since))

    async def keep_today(self, principal: Principal) -> Snapshot:
        """`snapshot` of today, in a transaction of its own."""
        act = Act(
            change_id=self._store.ids.new("change"), actor_id=principal.user, tool=KEEP, at=self._store.clock.now()
        )
        async with self._store.unit_of_work(principal, act) as work:
            return await self.snapshot(work, work.today)

    # -- what is asked --------------------------------------------------------------------------------------
    async def get(self, principal: Principal, question: GetForecast) -> ForecastView:
        profile = await self._store.workspace(principal.workspace)
        calendar = profile.calendar
        today = calendar.today(self._store.clock.now())
        notes: list[str] = []
        asked = await self._asked(principal, question, profile, today, notes)
        rows = await self._reads.sums(
            principal, asked.shape, asked.days, odds=asked.odds, on=asked.on, owner=asked.owner_id
        )
        people = await self._reads.people(principal) if question.group_by == "owner" else {}
        goals = {quarter.starts_on: await self._goals(asked, quarter.starts_on) for quarter in asked.quarters}
        quarters = quarters_of(rows, asked.quarters, people=people, grouped=question.group_by is not None, goals=goals)
        compared: Comparison | None = None
        if asked.then is not None:
            found = await self._reads.compared(
                principal,
                asked.shape,
                asked.days,
                odds=asked.odds,
                on=asked.on,
                then=asked.then,
                owner=asked.owner_id,
            )
            compared, quarters = comparison_of(
                found, quarters, asked.quarters, calendar, then=asked.then, limit=asked.limit
            )
        looked_back = [
            accuracy_of(
                await self._reads.foretold(principal, quarter.starts_on, quarter.ends_on, owner=asked.owner_id),
                quarter,
                today,
            )
            for quarter in _looked_back_on(asked.quarters, calendar, today)
        ]
        view = ForecastView(
            as_of=question.as_of or today,
            kept_on=asked.on if asked.shape.kept else None,
            scope=_scope(asked),
            quarters=quarters,
            odds=[] if asked.shape.kept else odds_lines(asked.odds, told=principal.sees_all),
            compared=compared,
            accuracy=[told for told in looked_back if told.renewals or told.still_open],
            notes=notes,
        )
        if not question.image:
            return fitting(view, question.budget_tokens)
        by_stage = await self._reads.sums(
            principal,
            asked.shape._replace(group_by="stage"),
            asked.days,
            odds=asked.odds,
            on=asked.on,
            owner=asked.owner_id,
        )
        drawn, note = await pipeline_picture(by_stage, asked.quarters, view.kept_on or view.as_of)
        notes += [note] if note else []
        return fitting(view.model_copy(update={"notes": notes}), question.budget_tokens).with_picture(drawn)

    async def _asked(
        self, principal: Principal, ask: GetForecast, profile: Workspace, today: date, notes: list[str]
    ) -> _Asked:
        calendar = profile.calendar
        day = ask.as_of or today
        if day > today:
            raise Invalid(f"as_of {day} is in the future; today is {today}.", remedy="Give today or a past day.")
        if ask.compare_to is not None and ask.compare_to >= day:
            raise Invalid(f"compare_to {ask.compare_to} is not before {day}.", remedy="Give an earlier day.")
        owner = await Names.reading(self._store, principal).member(ask.owner) if ask.owner is not None else None
        kept = await self._reads.kept(principal, day, ask.compare_to or day)
        past = day < today
        if past and kept.on is None:
            raise _none_kept(day, kept)
        then = kept.then if ask.compare_to is not None else None
        if ask.compare_to is not None and then is None:
            raise _none_kept(ask.compare_to, kept)
        on = kept.on if past and kept.on is not None else today
        if then is not None and then >= on:
            raise Invalid(
                f"The forecast kept on {then} stands for both {ask.compare_to} and {day}: nothing can be compared.",
                remedy="Give days that lie on two sides of a night on which it was kept.",
            )
        if past:
            notes.append(
                "Segment, band, owner of lines and amounts as they were then; accounts are those you see today."
            )
        if owner is not None and (past or then is not None):
            notes.append("Renewals are those the owner has today, on either day.")
        by_band = await self._reads.closed_by_band(principal, today)
        learned = odds(by_band, assumed(profile.revenue.renewal_odds))
        if not past and any(found.source == "assumed" for found in learned.values()):
            notes.append(
                f"assumed: fewer than {LEAST_CLOSED} renewals of the band closed in the last two years with a score "
                "kept 90 days before, so a default stands for the share that is won."
            )
        return _Asked(
            principal=principal,
            quarters=(quarters := _quarters(ask.quarter, calendar, day)),
            shape=Shape(len(quarters), past, owner is not None, ask.group_by),
            odds=learned,
            owner=owner,
            today=today,
            on=on,
            then=then,
            limit=ask.limit,
        )

    async def _goals(self, asked: _Asked, quarter_start: date) -> Attainment | None:
        """The goal for renewed ARR of whoever's forecast this is."""
        if asked.owner is None and asked.principal.sees_all:
            subject = ("team", None)
        else:
            subject = ("user", asked.owner_id or asked.principal.user)
        for row in await self._aims.goals(asked.principal, quarter_start):
            if row["metric"] == RENEWED and (row["subject"], row["user_id"]) == subject and row["amount_minor"]:
                return Attainment(row["amount_minor"], row["currency"])
        return None


def _none_kept(day: date, kept: Kept) -> Invalid:
    if kept.first is None:
        return Invalid(
            "No forecast was kept yet.",
            remedy="cs-mcp forecast snapshot keeps one, and so does every nightly run.",
        )
    return Invalid(
        f"No forecast was kept on {day} or before; the first is of {kept.first}.",
        remedy=f"Give {kept.first} or a later day.",
    )


def _quarters(named: str | None, calendar: Calendar, day: date) -> list[FiscalQuarter]:
    if named is not None:
        return [quarter_named(named, calendar, day)]
    current = calendar.quarter_of(day)
    return [calendar.quarter_of(add_months(current.starts_on, 3 * n)) for n in range(QUARTERS)]


def _looked_back_on(quarters: list[FiscalQuarter], calendar: Calendar, today: date) -> list[FiscalQuarter]:
    """Those of the quarters that are over, or the last that is; the current one so far."""
    over = [quarter for quarter in quarters if quarter.starts_on <= today]
    last = calendar.quarter_of(calendar.quarter_of(today).starts_on - timedelta(days=1))
    return over if over and over[0].ends_on < today else [last, *over]


def _scope(asked: _Asked) -> str:
    books = "the whole workspace" if asked.principal.sees_all else "the books you see"
    return f"renewals owned by {asked.owner.name} in {books}" if asked.owner is not None else books
