"""Writes the demo book into a store: the company's people, then every customer, in one unit of work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from cs_mcp.db.history.changes import Act
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.demo.book import Company, company, customers
from cs_mcp.demo.records import Entries
from cs_mcp.demo.signals import tell_usage
from cs_mcp.domain.accounts.accounts import Account, TeamMember
from cs_mcp.domain.health.health import HealthNote
from cs_mcp.domain.identity import Member
from cs_mcp.domain.opportunities.opportunities import Opportunity
from cs_mcp.domain.people.sponsors import Contact, Sponsorship
from cs_mcp.domain.records import Record
from cs_mcp.domain.renewals.renewals import Renewal
from cs_mcp.domain.revenue.currency_rates import ExchangeRate
from cs_mcp.domain.revenue.subscriptions import ArrMovement, Subscription
from cs_mcp.domain.revenue.targets import Target
from cs_mcp.domain.signals.signals import CompanyEvent, Invoice, SurveyResponse, Ticket
from cs_mcp.domain.work.meetings import Meeting
from cs_mcp.domain.work.tasks import Task
from cs_mcp.domain.workspaces import Workspace
from cs_mcp.services.health.scoring import Scoring
from cs_mcp.services.identity import COMMAND_LINE
from cs_mcp.services.wiring import Services

SCORED_DAYS: Final = (90, 60, 30, 14, 7, 1, 0)  # before today: what trends and explanations look back to
TOOL: Final = "demo"


async def seed(services: Services) -> str:
    """Found a workspace that holds the demo book, and return its id."""
    workspace, members = await found_company(services)
    async with services.store.unit_of_work(await services.identity.operator(workspace), act_of(services)) as work:
        entries = Entries(work.today, work.ids, members)
        homes = _homes(work)
        for customer in customers():
            for record in entries.of(customer):
                homes[type(record)].add(record)
        _tell_aims(work, members)
        await tell_usage(work, entries.accounts)
    return workspace


async def live_through(services: Services, workspace: str, days: Sequence[int] = SCORED_DAYS) -> None:
    """Score the book as of days before today, oldest first, and keep today's forecast, as its nights would have."""
    operator = await services.identity.operator(workspace)
    calendar = (await services.store.workspace(workspace)).calendar
    today = calendar.today(services.store.clock.now())
    scoring = Scoring(services.store)
    for ago in days:
        await scoring.score_all(operator, today - timedelta(days=ago))
    await services.forecasts.keep_today(operator)


def _tell_aims(work: UnitOfWork, members: Mapping[str, Member]) -> None:
    """The company's rates and targets."""
    told, today, new = company(), work.today, work.ids.new
    for given in told.rates:
        work.exchange_rates.add(
            ExchangeRate(
                id=new("exchange_rate"),
                from_currency=given.currency,
                to_currency=told.currency,
                on=today + timedelta(days=given.on),
                rate=given.rate,
            )
        )
    for aim in told.targets:
        work.targets.add(
            Target(
                id=new("target"),
                metric=aim.metric,
                value=aim.value,
                from_on=today + timedelta(days=aim.since),
                owner_id=members[aim.owner].id,
            )
        )


def act_of(services: Services) -> Act:
    store = services.store
    return Act(
        change_id=store.ids.new("change"), actor_id="operator", tool=TOOL, at=store.clock.now(), client=COMMAND_LINE
    )


async def found_company(services: Services) -> tuple[str, dict[str, Member]]:
    """Found the workspace of the company whose book it is; its people by key."""
    told = company()
    profile = Workspace(
        id=services.store.ids.new("workspace_profile"),
        name=told.name,
        time_zone=told.time_zone,
        currency=told.currency,
        fiscal_year_starts=told.fiscal_year_starts,
    )
    workspace = await services.identity.found_workspace(profile)
    members: dict[str, Member] = {}
    for colleague in told.people:
        members[colleague.key] = await services.identity.add_member(
            workspace,
            name=colleague.name,
            email=email_of(told, colleague.key),
            role=colleague.role,
            manager=email_of(told, colleague.manager) if colleague.manager else None,
        )
    return workspace, members


def email_of(told: Company, key: str) -> str:
    return f"{key}@{told.domain}"


def _homes(work: UnitOfWork) -> dict[type[Record], Any]:
    """The repository of each kind of record."""
    return {
        Account: work.accounts,
        TeamMember: work.team,
        Contact: work.contacts,
        Sponsorship: work.sponsorships,
        Subscription: work.subscriptions,
        ArrMovement: work.movements,
        Renewal: work.renewals,
        Opportunity: work.opportunities,
        Meeting: work.meetings,
        HealthNote: work.notes,
        Task: work.tasks,
        Ticket: work.tickets,
        Invoice: work.invoices,
        SurveyResponse: work.surveys,
        CompanyEvent: work.company_events,
    }
