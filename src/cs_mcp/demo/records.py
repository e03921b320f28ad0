"""The demo book as records: what a customer's file tells, on the days it tells them of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from cs_mcp.demo.book import Contract, Conversation, Customer, Person, RenewalStory
from cs_mcp.demo.growth import opportunities_of
from cs_mcp.demo.signals import signals_of
from cs_mcp.domain.accounts.accounts import TOUCH_OF_SEGMENT, Account, TeamMember
from cs_mcp.domain.health.health import HealthNote
from cs_mcp.domain.identity import Member
from cs_mcp.domain.money import Money
from cs_mcp.domain.people.sponsors import Contact, Sponsorship
from cs_mcp.domain.records import Ids, Record
from cs_mcp.domain.renewals.renewals import CYCLE, Offer, Renewal, cycle_key
from cs_mcp.domain.renewals.terms import notice_deadline, rolling_term_end
from cs_mcp.domain.revenue.ledger import SubscriptionSpan, derive_movements, first_day_without
from cs_mcp.domain.revenue.subscriptions import ArrMovement, Subscription
from cs_mcp.domain.work.meetings import Attendee, Meeting, MeetingStatus
from cs_mcp.domain.work.tasks import Task, TaskOrigin, TaskStatus
from cs_mcp.services.renewals.cycles import renewal_of


@dataclass
class Entries:
    """Turns customers into records. Records name each other by id, so one of these enters the whole book."""

    today: date
    ids: Ids
    members: Mapping[str, Member]
    accounts: dict[str, str] = field(default_factory=dict[str, str])

    def _day(self, days: int) -> date:
        return self.today + timedelta(days=days)

    def _day_or_none(self, days: int | None) -> date | None:
        return None if days is None else self._day(days)

    def _member_or_none(self, key: str | None) -> str | None:
        return None if key is None else self.members[key].id

    def _account_id(self, name: str) -> str:
        # A file may name a parent that comes after it.
        return self.accounts.setdefault(name, self.ids.new("account"))

    def of(self, customer: Customer) -> Iterator[Record]:
        account = self._account_id(customer.name)
        yield Account(
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
            owner_id=self._member_or_none(customer.owner),
            currency=customer.currency,
            created_on=min((self._day(c.starts) for c in customer.contracts), default=self.today),
            renewal_on=min((end for c in customer.contracts if (end := self._live_end(c)) is not None), default=None),
            risk_reason=customer.risk,
            tags=sorted(customer.tags),
            custom=dict(customer.custom),
            parent_id=self._account_id(customer.parent) if customer.parent else None,
        )
        for helper in customer.team:
            yield TeamMember(
                id=self.ids.new("account_team"),
                account_id=account,
                user_id=self.members[helper.key].id,
                role=helper.role,
            )
        contacts = {person.key: self.ids.new("contact") for person in customer.people}
        for person in customer.people:
            yield from self._person(account, customer.domain, person, contacts)
        ledger: dict[date, ArrMovement] = {}
        for record in self._contracts(account, customer):
            if isinstance(record, ArrMovement):
                ledger[record.on] = record
            yield record
        yield from opportunities_of(customer, account, ledger, self.members, self.today, self.ids)
        for told in customer.conversations:
            yield self._conversation(account, told, contacts)
        yield from self._notes_and_tasks(account, customer)
        yield from signals_of(customer, account, contacts, self.today, self.ids)

    def _live_end(self, contract: Contract) -> date | None:
        if contract.canceled is not None or contract.starts > 0:
            return None
        if contract.ends is not None:
            return self._day(contract.ends) if contract.ends >= 0 else None
        return rolling_term_end(self._day(contract.starts), contract.months, self.today) if contract.months else None

    def _person(
        self, account: str, domain: str | None, person: Person, contacts: Mapping[str, str]
    ) -> Iterator[Record]:
        yield Contact(
            id=contacts[person.key],
            account_id=account,
            name=person.name,
            email=f"{person.key}@{domain}" if domain else None,
            title=person.title,
            department=person.department,
            level=person.level,
            roles=sorted(person.roles),
            sentiment=person.sentiment,
            status=person.status,
            last_confirmed_on=self._day_or_none(person.confirmed),
            leaves_on=self._day_or_none(person.leaves),
            departed_on=self._day_or_none(person.departed),
            successor_id=contacts[person.successor] if person.successor else None,
        )
        for seat in person.seats:
            yield Sponsorship(
                id=self.ids.new("sponsorship"),
                account_id=account,
                contact_id=contacts[person.key],
                role=seat.role,
                from_on=self._day(seat.since),
                to_on=self._day_or_none(seat.until),
            )

    # -- what they bought ---------------------------------------------------------------------------------------
    def _contracts(self, account: str, customer: Customer) -> Iterator[Record]:
        spans: list[SubscriptionSpan] = []
        why: dict[date, dict[str, Any]] = {}
        for contract in customer.contracts:
            subscription = self._subscription(account, customer.currency, contract)
            yield subscription
            if (renewal := self._renewal(subscription, contract.renewal)) is not None:
                yield renewal
            span = SubscriptionSpan(
                account=account,
                subscription=subscription.id,
                starts_on=subscription.starts_on,
                first_day_without=first_day_without(ends_on=subscription.ends_on, canceled_on=subscription.canceled_on),
                arr_minor=subscription.arr_minor,
                trial=subscription.trial,
            )
            spans.append(span)
            begun = {"reason": contract.reason, "expansion_kind": contract.expansion_kind}
            why.setdefault(span.starts_on, {}).update({name: text for name, text in begun.items() if text})
            if contract.end_reason and span.first_day_without:
                why.setdefault(span.first_day_without, {})["reason"] = contract.end_reason
        # What is not over yet has not moved ARR: a contract's end is not a churn before its day.
        for movement in derive_movements(spans):
            if movement.on <= self.today:
                yield ArrMovement(
                    id=self.ids.new("arr_movement"),
                    account_id=account,
                    subscription_id=movement.subscription,
                    on=movement.on,
                    kind=movement.kind,
                    amount_minor=movement.amount_minor,
                    currency=customer.currency,
                    **why.get(movement.on, {}),
                )

    def _subscription(self, account: str, currency: str, contract: Contract) -> Subscription:
        return Subscription(
            id=self.ids.new("subscription"),
            account_id=account,
            product=contract.product,
            starts_on=self._day(contract.starts),
            ends_on=self._day_or_none(contract.ends),
            canceled_on=self._day_or_none(contract.canceled),
            arr_minor=Money.of(contract.arr, currency).minor,
            currency=currency,
            seats=contract.seats,
            seat_limit=contract.seat_limit,
            auto_renew=contract.auto_renew,
            term_months=contract.months,
            notice_days=contract.notice_days,
            trial=contract.trial,
            payment_method_expires_on=self._day_or_none(contract.payment_expires),
        )

    def _renewal(self, subscription: Subscription, story: RenewalStory | None) -> Renewal | None:
        opened = renewal_of(self.ids.new("renewal"), subscription, self.today)
        if opened is None and story is not None and story.stage.is_closed:
            opened = self._past_renewal(subscription)
        return opened.changed(**self._worked_on(story, opened)) if opened is not None and story is not None else opened

    def _past_renewal(self, subscription: Subscription) -> Renewal:
        ends_on = subscription.ends_on
        assert ends_on is not None, "only a contract with an end has a renewal that is over"
        return Renewal(
            id=self.ids.new("renewal"),
            account_id=subscription.account_id,
            subscription_id=subscription.id,
            source_system=CYCLE,
            source_id=cycle_key(subscription.id, ends_on),
            amount_minor=subscription.arr_minor,
            currency=subscription.currency,
            closes_on=ends_on,
            notice_deadline_on=notice_deadline(subscription.starts_on, ends_on, subscription.notice_days),
        )

    def _worked_on(self, story: RenewalStory, opened: Renewal) -> dict[str, Any]:
        def minor(amount: str) -> int:
            return Money.of(amount, opened.currency).minor

        told: dict[str, Any] = {
            "stage": story.stage,
            "forecast_category": story.forecast,
            "expected_minor": minor(story.expected) if story.expected else None,
            "owner_id": self._member_or_none(story.owner),
            "stakeholders_confirmed_on": self._day_or_none(story.confirmed),
            "decision_criteria": story.decision_criteria,
            "procurement_steps": story.procurement_steps,
            "risks": story.risks,
            "options": [
                Offer(tier=option.tier, amount_minor=minor(option.amount), includes=option.includes)
                for option in story.options
            ],
            "concessions": story.concessions,
            "closed_on": self._day_or_none(story.closed),
            "loss_reason": story.loss_reason,
        }
        return told | ({"amount_minor": minor(story.amount)} if story.amount else {})

    # -- what was said and is to be done ------------------------------------------------------------------------
    def _conversation(self, account: str, told: Conversation, contacts: Mapping[str, str]) -> Meeting:
        attendees = [Attendee(user_id=self.members[told.by].id, name=self.members[told.by].name)]
        attendees += [Attendee(contact_id=contacts[key]) for key in told.people]
        attendees += [Attendee(contact_id=contacts[key], attended=False) for key in told.absent]
        return Meeting(
            id=self.ids.new("meeting"),
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

    def _notes_and_tasks(self, account: str, customer: Customer) -> Iterator[Record]:
        for note in customer.notes:
            yield HealthNote(
                id=self.ids.new("health_note"),
                account_id=account,
                written_on=self._day(note.on),
                text=note.text,
                sentiment=note.sentiment,
                risk=note.risk,
                author_id=self.members[note.by].id,
            )
        for todo in customer.tasks:
            yield Task(
                id=self.ids.new("task"),
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
