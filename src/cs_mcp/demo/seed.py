"""Writes the demo book into a store: the company's people, then every customer, in one unit of work."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from cs_mcp.db.changes import Act
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.demo.book import Company, Contract, Conversation, Customer, Person, company, customers
from cs_mcp.domain.accounts import TOUCH_OF_SEGMENT, Account, TeamMember
from cs_mcp.domain.health import HealthNote
from cs_mcp.domain.identity import Member
from cs_mcp.domain.ledger import SubscriptionSpan, derive_movements, first_day_without
from cs_mcp.domain.meetings import Attendee, Meeting, MeetingStatus
from cs_mcp.domain.money import Money
from cs_mcp.domain.renewals import Renewal
from cs_mcp.domain.sponsors import Contact, Sponsorship
from cs_mcp.domain.subscriptions import ArrMovement, Subscription
from cs_mcp.domain.tasks import Task, TaskOrigin, TaskStatus
from cs_mcp.domain.workspaces import Workspace
from cs_mcp.services.identity import COMMAND_LINE
from cs_mcp.services.wiring import Services

TOOL: Final = "demo"


async def seed(services: Services) -> str:
    """Found a workspace that holds the demo book, and return its id."""
    store, told = services.store, company()
    profile = Workspace(
        id=store.ids.new("workspace_profile"),
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
    act = Act(
        change_id=store.ids.new("change"), actor_id="operator", tool=TOOL, at=store.clock.now(), client=COMMAND_LINE
    )
    async with store.unit_of_work(await services.identity.operator(workspace), act) as work:
        book = _Book(work, members)
        for customer in customers():
            book.enter(customer)
    return workspace


def email_of(told: Company, key: str) -> str:
    return f"{key}@{told.domain}"


@dataclass
class _Book:
    """Enters customers. Records name each other by id, so a customer's people and contracts come first."""

    work: UnitOfWork
    members: dict[str, Member]
    accounts: dict[str, str] = field(default_factory=dict[str, str])

    def _day(self, days: int) -> date:
        return self.work.today + timedelta(days=days)

    def _day_or_none(self, days: int | None) -> date | None:
        return None if days is None else self._day(days)

    def _account_id(self, name: str) -> str:
        # A file may name a parent that comes after it.
        return self.accounts.setdefault(name, self.work.ids.new("account"))

    def enter(self, customer: Customer) -> None:
        account = self._account_id(customer.name)
        live = [c for c in customer.contracts if c.ends is not None and c.ends >= 0 and c.canceled is None]
        self.work.accounts.add(
            Account(
                id=account,
                name=customer.name,
                domain=customer.domain,
                industry=customer.industry,
                employees=customer.employees,
                segment=customer.segment,
                tier=customer.tier,
                touch=TOUCH_OF_SEGMENT[customer.segment],
                stage=customer.stage,
                onboarding_status=customer.onboarding,
                owner_id=self.members[customer.owner].id if customer.owner else None,
                currency=customer.currency,
                created_on=min((self._day(c.starts) for c in customer.contracts), default=self.work.today),
                renewal_on=self._day_or_none(min((c.ends for c in live if c.ends is not None), default=None)),
                risk_reason=customer.risk,
                tags=sorted(customer.tags),
                custom=dict(customer.custom),
                parent_id=self._account_id(customer.parent) if customer.parent else None,
            )
        )
        for helper in customer.team:
            self.work.team.add(
                TeamMember(
                    id=self.work.ids.new("account_team"),
                    account_id=account,
                    user_id=self.members[helper.key].id,
                    role=helper.role,
                )
            )
        contacts = {person.key: self._person(account, customer, person) for person in customer.people}
        self._contracts(account, customer)
        for told in customer.conversations:
            self._conversation(account, told, contacts)
        self._notes_and_tasks(account, customer)

    def _person(self, account: str, customer: Customer, person: Person) -> str:
        contact = Contact(
            id=self.work.ids.new("contact"),
            account_id=account,
            name=person.name,
            email=f"{person.key}@{customer.domain}" if customer.domain else None,
            title=person.title,
            department=person.department,
            level=person.level,
            roles=sorted(person.roles),
            sentiment=person.sentiment,
            status=person.status,
            last_confirmed_on=self._day_or_none(person.confirmed),
            leaves_on=self._day_or_none(person.leaves),
            departed_on=self._day_or_none(person.departed),
        )
        self.work.contacts.add(contact)
        for seat in person.seats:
            self.work.sponsorships.add(
                Sponsorship(
                    id=self.work.ids.new("sponsorship"),
                    account_id=account,
                    contact_id=contact.id,
                    role=seat.role,
                    from_on=self._day(seat.since),
                    to_on=self._day_or_none(seat.until),
                )
            )
        return contact.id

    # -- what they bought ---------------------------------------------------------------------------------------
    def _contracts(self, account: str, customer: Customer) -> None:
        spans: list[SubscriptionSpan] = []
        reasons: dict[date, str] = {}
        for contract in customer.contracts:
            subscription = self._subscription(account, customer, contract)
            span = SubscriptionSpan(
                account=account,
                subscription=subscription.id,
                starts_on=subscription.starts_on,
                first_day_without=first_day_without(ends_on=subscription.ends_on, canceled_on=subscription.canceled_on),
                arr_minor=subscription.arr_minor,
                trial=subscription.trial,
            )
            spans.append(span)
            if contract.reason:
                reasons[span.starts_on] = contract.reason
            if contract.end_reason and span.first_day_without:
                reasons[span.first_day_without] = contract.end_reason
        # What is not over yet has not moved ARR: a contract's end is not a churn before its day.
        for movement in derive_movements(spans):
            if movement.on <= self.work.today:
                self.work.movements.add(
                    ArrMovement(
                        id=self.work.ids.new("arr_movement"),
                        account_id=account,
                        subscription_id=movement.subscription,
                        on=movement.on,
                        kind=movement.kind,
                        amount_minor=movement.amount_minor,
                        currency=customer.currency,
                        reason=reasons.get(movement.on),
                    )
                )

    def _subscription(self, account: str, customer: Customer, contract: Contract) -> Subscription:
        subscription = Subscription(
            id=self.work.ids.new("subscription"),
            account_id=account,
            product=contract.product,
            starts_on=self._day(contract.starts),
            ends_on=self._day_or_none(contract.ends),
            canceled_on=self._day_or_none(contract.canceled),
            arr_minor=Money.of(contract.arr, customer.currency).minor,
            currency=customer.currency,
            seats=contract.seats,
            seat_limit=contract.seat_limit,
            auto_renew=contract.auto_renew,
            term_months=contract.term_months,
            notice_days=contract.notice_days,
            trial=contract.trial,
        )
        self.work.subscriptions.add(subscription)
        if contract.renewal is not None and subscription.ends_on is not None:
            self.work.renewals.add(
                Renewal(
                    id=self.work.ids.new("renewal"),
                    account_id=account,
                    subscription_id=subscription.id,
                    owner_id=self.members[customer.owner].id if customer.owner else None,
                    stage=contract.renewal.stage,
                    forecast_category=contract.renewal.forecast,
                    amount_minor=subscription.arr_minor,
                    currency=customer.currency,
                    closes_on=subscription.ends_on,
                    notice_deadline_on=subscription.ends_on - timedelta(days=contract.notice_days or 0),
                    decision_criteria=contract.renewal.decision_criteria,
                    procurement_steps=contract.renewal.procurement_steps,
                    risks=contract.renewal.risks,
                )
            )
        return subscription

    # -- what was said and is to be done ------------------------------------------------------------------------
    def _conversation(self, account: str, told: Conversation, contacts: dict[str, str]) -> None:
        attendees = [Attendee(user_id=self.members[told.by].id, name=self.members[told.by].name)]
        attendees += [Attendee(contact_id=contacts[key]) for key in told.people]
        attendees += [Attendee(contact_id=contacts[key], attended=False) for key in told.absent]
        self.work.meetings.add(
            Meeting(
                id=self.work.ids.new("meeting"),
                account_id=account,
                kind=told.kind,
                status=MeetingStatus.planned if told.on > 0 else MeetingStatus.held,
                held_on=self._day(told.on),
                attendees=attendees,
                summary=told.summary,
                decisions=told.decisions,
                sentiment=told.sentiment,
                renewal_intent=told.renewal_intent,
                product_requests=told.requests,
                roi_shown=told.roi_shown,
            )
        )

    def _notes_and_tasks(self, account: str, customer: Customer) -> None:
        for note in customer.notes:
            self.work.notes.add(
                HealthNote(
                    id=self.work.ids.new("health_note"),
                    account_id=account,
                    written_on=self._day(note.on),
                    text=note.text,
                    sentiment=note.sentiment,
                    risk=note.risk,
                    author_id=self.members[note.by].id,
                )
            )
        for todo in customer.tasks:
            self.work.tasks.add(
                Task(
                    id=self.work.ids.new("task"),
                    account_id=account,
                    title=todo.title,
                    purpose=todo.purpose,
                    assignee_id=self.members[todo.assignee].id,
                    due_on=self._day(todo.due),
                    priority=todo.priority,
                    status=TaskStatus.done if todo.done is not None else TaskStatus.open,
                    origin=TaskOrigin.person,
                    done_on=self._day_or_none(todo.done),
                    outcome=todo.outcome,
                )
            )
