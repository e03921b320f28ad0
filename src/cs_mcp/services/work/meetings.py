"""Logging a meeting: the composite. One call, one transaction, one undo."""

from __future__ import annotations

from datetime import date
from typing import Annotated, ClassVar

from pydantic import Field

from cs_mcp.db.store import Store
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Account
from cs_mcp.domain.contract import (
    AccountRef,
    Command,
    Input,
    Name,
    Ref,
    ShortText,
    Text,
    Version,
)
from cs_mcp.domain.errors import Conflict, Invalid
from cs_mcp.domain.health.health import HealthNote, RiskCategory
from cs_mcp.domain.people.sponsors import ContactRole, Level, Sentiment
from cs_mcp.domain.renewals.renewals import ForecastCategory
from cs_mcp.domain.work.meetings import Attendee, Meeting, MeetingKind, MeetingStatus, RenewalIntent
from cs_mcp.domain.work.tasks import TaskOrigin
from cs_mcp.services.health.health import new_note
from cs_mcp.services.health.risks import note_as_evidence
from cs_mcp.services.history.versions import check_version
from cs_mcp.services.naming import Names
from cs_mcp.services.people.news import People, PersonNews
from cs_mcp.services.work.meeting_answer import logged
from cs_mcp.services.work.tasks import NewTask, new_task
from cs_mcp.services.writes import Outcome

Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]


class NewAttendee(Input):
    """A contact of the account (known, or new by name), or one of us."""

    contact: Annotated[Ref, Field(description="Known contact: id, e-mail or exact name")] | None = None
    user: Annotated[Ref, Field(description="One of us: id, e-mail, name or `me`")] | None = None
    name: (
        Annotated[Name, Field(description="A new contact's name; reused if the account has exactly that one")] | None
    ) = None
    email: Email | None = None
    title: Name | None = None
    level: Level | None = None
    roles: list[ContactRole] | None = None
    attended: bool = True


class NewNote(Input):
    text: Text
    sentiment: Sentiment | None = None
    risk: RiskCategory | None = None


class NextMeeting(Input):
    kind: MeetingKind
    on: date


class LogMeeting(Command):
    tool: ClassVar[str] = "log_meeting"

    account: AccountRef
    kind: MeetingKind | None = None
    held_on: Annotated[date, Field(description="The day it was held; today when absent")] | None = None
    meeting: (
        Annotated[Ref, Field(description="Id of a planned meeting to complete, or a logged one to correct")] | None
    ) = None
    expected_version: Annotated[Version, Field(description="With `meeting`: the version you read")] | None = None
    attendees: Annotated[list[NewAttendee], Field(max_length=50)] | None = None
    summary: Text | None = None
    decisions: Annotated[list[ShortText], Field(max_length=20)] | None = None
    sentiment: Sentiment | None = None
    health_note: NewNote | None = None
    news: Annotated[list[PersonNews], Field(max_length=20, description="What was learned of people")] | None = None
    renewal_intent: RenewalIntent | None = None
    forecast_hint: Annotated[ForecastCategory, Field(description="What it suggests; moves no forecast")] | None = None
    product_requests: (
        Annotated[list[Name], Field(max_length=20, description="What they asked for, e.g. SSO")] | None
    ) = None
    roi_shown: bool | None = None
    materials_shared_on: date | None = None
    recording_url: Annotated[str, Field(max_length=2000, pattern=r"^https://\S+$")] | None = None
    follow_ups: Annotated[list[NewTask], Field(max_length=20)] | None = None
    next_meeting: NextMeeting | None = None


class Meetings:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def log(self, work: UnitOfWork, command: LogMeeting) -> Outcome:
        match = await Names.writing(work).account(command.account)
        account = await work.accounts.get(match.id)
        held_on = command.held_on or work.today
        if held_on > work.today:
            raise Invalid(
                f"held_on {held_on} is in the future; today is {work.today}. Nothing was done.",
                remedy="A meeting still to come goes in `next_meeting`.",
            )
        meeting, fresh = await self._meeting(work, command, account)
        people = People(work, account, as_of=held_on)
        attendees = await self._attendees(work, command, account, people)
        meeting = _filled(meeting, command, attendees)
        work.meetings.add(meeting) if fresh else work.meetings.save(meeting)
        for item in command.news or ():
            await people.learn(item)
        note = self._note(work, command, account, meeting)
        in_case = await note_as_evidence(work, note) if note is not None else []
        tasks = [
            await new_task(work, account.id, item, origin=TaskOrigin.meeting, related=meeting.id)
            for item in command.follow_ups or ()
        ]
        planned = self._next(work, command, account)
        await work.flush()
        said = people.triggered + in_case
        if planned is not None:
            said.append(f"Planned a {planned.kind.value} for {planned.held_on} ({planned.id}).")
        record = logged(
            work.meetings.now(meeting.id),
            account,
            contacts=[work.contacts.now(contact) for contact in people.touched],
            note=work.notes.now(note.id) if note else None,
            tasks=[work.tasks.now(task.id) for task in tasks],
            planned=work.meetings.now(planned.id) if planned else None,
            names=people.names | await work.members.names(task.assignee_id for task in tasks),
            author=work.principal.name,
            today=work.today,
        )
        return Outcome(record=record, triggered=said, next=_next_step(command))

    async def _meeting(self, work: UnitOfWork, command: LogMeeting, account: Account) -> tuple[Meeting, bool]:
        if command.meeting is None:
            if command.kind is None or command.summary is None:
                missing = [name for name in ("kind", "summary") if getattr(command, name) is None]
                raise Invalid(
                    f"A new meeting needs {' and '.join(missing)}. Nothing was done.",
                    remedy="Add what is missing, or name the planned `meeting` that was held.",
                )
            fresh = Meeting(
                id=work.ids.new("meeting"),
                account_id=account.id,
                kind=command.kind,
                status=MeetingStatus.held,
                held_on=command.held_on or work.today,
            )
            return fresh, True
        known = await work.meetings.get(command.meeting)
        if known.account_id != account.id:
            raise Conflict(
                f"{known.id} is a meeting of another account ({known.account_id}).",
                remedy=f"Name a meeting of {account.name} ({account.id}): get_account, sections ['meetings'].",
            )
        if command.expected_version is None:
            raise Invalid(
                f"Completing or correcting {known.id} needs expected_version.",
                remedy=f"Read it with get_account, sections ['meetings']; it is at version {known.version}.",
            )
        await check_version(work, known, command.expected_version, "meeting")
        return known, False

    async def _attendees(
        self, work: UnitOfWork, command: LogMeeting, account: Account, people: People
    ) -> list[Attendee] | None:
        if command.attendees is None:
            return None
        found: list[Attendee] = []
        for who in command.attendees:
            named = [name for name in ("contact", "user", "name") if getattr(who, name) is not None]
            if len(named) != 1:
                raise Invalid(
                    f"An attendee is named by exactly one of contact, user or name; got {', '.join(named) or 'none'}.",
                    remedy="Use contact for a known person at the customer, name for a new one, user for one of us.",
                )
            if who.user is not None:
                member = await Names.writing(work).member(who.user)
                people.names[member.id] = member.name
                found.append(Attendee(user_id=member.id, name=member.name, attended=who.attended))
            else:
                contact = await people.attendee(
                    who.contact, who.name, email=who.email, title=who.title, level=who.level, roles=who.roles,
                    attended=who.attended,
                )  # fmt: skip
                found.append(Attendee(contact_id=contact, attended=who.attended))
        return found

    def _note(self, work: UnitOfWork, command: LogMeeting, account: Account, meeting: Meeting) -> HealthNote | None:
        if command.health_note is None:
            return None
        note = new_note(work, account.id, command.health_note.text, written_on=meeting.held_on).changed(
            sentiment=command.health_note.sentiment, risk=command.health_note.risk, meeting_id=meeting.id
        )
        return work.notes.add(note)

    def _next(self, work: UnitOfWork, command: LogMeeting, account: Account) -> Meeting | None:
        if command.next_meeting is None:
            return None
        if command.next_meeting.on < work.today:
            raise Invalid(
                f"next_meeting.on {command.next_meeting.on} is past; today is {work.today}. Nothing was done.",
                remedy="Give today or a later day.",
            )
        return work.meetings.add(
            Meeting(
                id=work.ids.new("meeting"),
                account_id=account.id,
                kind=command.next_meeting.kind,
                status=MeetingStatus.planned,
                held_on=command.next_meeting.on,
            )
        )


def _filled(meeting: Meeting, command: LogMeeting, attendees: list[Attendee] | None) -> Meeting:
    """The meeting with what the command says; what it leaves out stays as it was."""
    given = {
        name: value
        for name in (
            "kind", "held_on", "summary", "decisions", "sentiment", "renewal_intent", "forecast_hint",
            "product_requests", "roi_shown", "materials_shared_on", "recording_url",
        )
        if (value := getattr(command, name)) is not None
    }  # fmt: skip
    if command.forecast_hint is not None:
        given["forecast_hint"] = command.forecast_hint.value
    if attendees is not None:
        given["attendees"] = attendees
    return meeting.changed(status=MeetingStatus.held, **given)


def _next_step(command: LogMeeting) -> str | None:
    hints: list[str] = []
    if command.forecast_hint is not None or command.renewal_intent is not None:
        hints.append("The forecast itself did not move: the hint is kept on the meeting; update_renewal moves it.")
    return " ".join(hints) or None
