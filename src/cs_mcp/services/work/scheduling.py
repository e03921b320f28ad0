"""Planning a meeting: what it is for, when, who is invited, and who should be."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, ClassVar, Final

from pydantic import Field

from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Account
from cs_mcp.domain.contract import AccountRef, Command, Input, Ref, Text, View, quoted
from cs_mcp.domain.errors import Conflict, Invalid
from cs_mcp.domain.people.sponsors import ContactStatus
from cs_mcp.domain.renewals.checkpoints import REVIEWS
from cs_mcp.domain.text import Quoted, quote
from cs_mcp.domain.work.meetings import Attendee, Meeting, MeetingKind, MeetingStatus
from cs_mcp.services.accounts.views import PersonRef
from cs_mcp.services.naming import Names
from cs_mcp.services.writes import Outcome

SAME_MEETING: Final = timedelta(days=7)  # planned this near to one of its kind, it is most likely that one
SHOWN_AGENDA: Final = 600


class Invitee(Input):
    """Exactly one of the two."""

    contact: Annotated[Ref, Field(description="Contact of the account: id, e-mail or name")] | None = None
    user: Annotated[Ref, Field(description="One of us: id, e-mail, name or `me`")] | None = None


class ScheduleMeeting(Command):
    tool: ClassVar[str] = "schedule_meeting"

    account: AccountRef
    kind: MeetingKind
    on: Annotated[date, Field(description="Today or later")]
    attendees: Annotated[list[Invitee], Field(max_length=50)] | None = None
    agenda: Annotated[Text, Field(description="What it is to be about, as prose or a list")] | None = None
    allow_duplicate: Annotated[bool, Field(description="Plan beside a like one; needs `reason`")] = False


class PlannedMeeting(View):
    account: PersonRef
    id: str
    version: int
    kind: str
    on: date
    attendees: list[PersonRef] = []
    agenda: Quoted | None = None
    next_meeting_on: date | None = None

    def text(self, nonce: str) -> str:
        who = "; ".join(person.text(nonce) for person in self.attendees) or "nobody invited yet"
        lines = [
            f"- {self.on} {self.kind} planned with {self.account.text(nonce)} ({self.id}, v{self.version}): {who}",
            f"Next meeting with the account: {self.next_meeting_on or 'none'}.",
        ]
        return "\n".join(lines + ([quoted(self.agenda, nonce)] if self.agenda else []))


class Scheduling:
    async def schedule(self, work: UnitOfWork, command: ScheduleMeeting) -> Outcome:
        account = await work.accounts.get((await Names.writing(work).account(command.account)).id)
        if command.on < work.today:
            raise Invalid(
                f"{command.on} is past; today is {work.today}. Nothing was done.",
                remedy="Give today or a later day; a meeting that was held goes in log_meeting.",
            )
        await self._refuse_twin(work, command, account)
        invited = await self._invited(work, command, account)
        meeting = work.meetings.add(
            Meeting(
                id=work.ids.new("meeting"),
                account_id=account.id,
                kind=command.kind,
                status=MeetingStatus.planned,
                held_on=command.on,
                attendees=[attendee for attendee, _ in invited],
                agenda=command.agenda,
            )
        )
        await work.flush()
        written = work.meetings.now(meeting.id)
        agenda = None
        if written.agenda:
            origin = f"agenda of {written.id}"
            agenda = quote(written.agenda, origin=origin, author=work.principal.name, limit=SHOWN_AGENDA)
        record = PlannedMeeting(
            account=PersonRef(id=account.id, name=account.name),
            id=written.id,
            version=written.version,
            kind=written.kind.value,
            on=written.held_on,
            attendees=[person for _, person in invited],
            agenda=agenda,
            next_meeting_on=(await work.meetings.planned(account.id, work.today))[0].held_on,
        )
        return Outcome(
            record=record,
            triggered=await self._warnings(work, command, account, {person.id for _, person in invited}),
            next=f"Once held, call log_meeting with meeting {written.id} and expected_version {written.version}.",
        )

    async def _refuse_twin(self, work: UnitOfWork, command: ScheduleMeeting, account: Account) -> None:
        if command.allow_duplicate:
            if command.reason is None:
                raise Invalid("allow_duplicate needs a reason.", remedy="Say in `reason` why there are two meetings.")
            return
        near = (command.on - SAME_MEETING, command.on + SAME_MEETING)
        twins = await work.meetings.planned(account.id, *near, kind=command.kind)
        if twins:
            listed = "; ".join(f"{twin.held_on} ({twin.id}, version {twin.version})" for twin in twins)
            raise Conflict(
                f"{account.name} has a {command.kind.value} planned within a week of {command.on}: {listed}. "
                "Nothing was done.",
                remedy="Use that one, or call again with allow_duplicate: true and a reason.",
            )

    async def _invited(
        self, work: UnitOfWork, command: ScheduleMeeting, account: Account
    ) -> list[tuple[Attendee, PersonRef]]:
        names = Names.writing(work)
        found: dict[str, tuple[Attendee, PersonRef]] = {}
        for who in command.attendees or ():
            if (who.contact is None) == (who.user is None):
                raise Invalid(
                    "Each attendee is named by exactly one of contact and user.",
                    remedy="Use contact for a person at the customer, user for one of us.",
                )
            if who.user is not None:
                member = await names.member(who.user)
                attendee = Attendee(user_id=member.id, name=member.name)
                found[member.id] = (attendee, PersonRef(id=member.id, name=member.name))
                continue
            contact = await work.contacts.get((await names.contact(who.contact or "", account.id)).id)
            if contact.status is ContactStatus.departed:
                raise Conflict(
                    f"{contact.name} ({contact.id}) departed on {contact.departed_on}. Nothing was done.",
                    remedy="Invite who follows; list_contacts shows who is there.",
                )
            found[contact.id] = (Attendee(contact_id=contact.id), PersonRef(id=contact.id, name=contact.name))
        return list(found.values())

    async def _warnings(
        self, work: UnitOfWork, command: ScheduleMeeting, account: Account, invited: set[str]
    ) -> list[str]:
        """What a review lacks: it is held with who answers for the money."""
        if command.kind not in REVIEWS:
            return []
        sponsor = account.executive_sponsor_id
        if sponsor is None:
            return [
                f"Nobody to lead it: {account.name} has no executive sponsor to invite to this {command.kind.value}."
            ]
        if sponsor in invited:
            return []
        person = await work.contacts.get(sponsor)
        return [f"Not invited: the executive sponsor {person.name} ({sponsor}), to this {command.kind.value}."]
