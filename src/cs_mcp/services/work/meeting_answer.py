"""What log_meeting answers: the meeting and every record it made or changed."""

from __future__ import annotations

from datetime import date

from cs_mcp.domain.accounts.accounts import Account
from cs_mcp.domain.contract import View
from cs_mcp.domain.health.health import HealthNote
from cs_mcp.domain.people.sponsors import Contact
from cs_mcp.domain.text import quote
from cs_mcp.domain.work.meetings import Meeting
from cs_mcp.domain.work.tasks import Task
from cs_mcp.services.accounts.views import ContactLine, MeetingLine, NoteLine, PersonRef, TaskLine
from cs_mcp.services.work.tasks import written_task

SHOWN_SUMMARY = 600


class LoggedMeeting(View):
    account: PersonRef
    meeting: MeetingLine
    contacts: list[ContactLine] = []
    note: NoteLine | None = None
    tasks: list[TaskLine] = []
    next_meeting: MeetingLine | None = None

    def text(self, nonce: str) -> str:
        lines = [f"On {self.account.text(nonce)}:", self.meeting.text(nonce)]
        lines += [contact.text(nonce) for contact in self.contacts]
        if self.note is not None:
            lines.append(self.note.text(nonce))
        lines += [task.text(nonce) for task in self.tasks]
        if self.next_meeting is not None:
            lines.append(self.next_meeting.text(nonce))
        return "\n".join(lines)


def logged(
    meeting: Meeting,
    account: Account,
    *,
    contacts: list[Contact],
    note: HealthNote | None,
    tasks: list[Task],
    planned: Meeting | None,
    names: dict[str, str],
    author: str,
    today: date,
) -> LoggedMeeting:
    return LoggedMeeting(
        account=PersonRef(id=account.id, name=account.name),
        meeting=_meeting(meeting, names, author),
        contacts=[contact_line(contact) for contact in contacts],
        note=_note(note, author) if note is not None else None,
        tasks=[written_task(task, account.name, today, names) for task in tasks],
        next_meeting=_meeting(planned, names, author) if planned is not None else None,
    )


def _meeting(meeting: Meeting, names: dict[str, str], author: str) -> MeetingLine:
    attendees = [
        names.get(a.contact_id or a.user_id or "", a.name or a.contact_id or a.user_id or "?")
        + ("" if a.attended else " (absent)")
        for a in meeting.attendees
    ]
    summary = meeting.summary
    return MeetingLine(
        id=meeting.id,
        version=meeting.version,
        kind=meeting.kind.value,
        status=meeting.status.value,
        held_on=meeting.held_on,
        attendees=attendees,
        sentiment=meeting.sentiment.value if meeting.sentiment else None,
        summary=quote(
            summary, origin=f"summary of {meeting.id}", author=author, written_on=meeting.held_on, limit=SHOWN_SUMMARY
        )
        if summary
        else None,
        decisions=meeting.decisions,
    )


def contact_line(contact: Contact) -> ContactLine:
    return ContactLine(
        id=contact.id,
        version=contact.version,
        name=contact.name,
        title=contact.title,
        department=contact.department,
        email=contact.email,
        level=contact.level.value if contact.level else None,
        roles=[role.value for role in contact.roles],
        sentiment=contact.sentiment.value if contact.sentiment else None,
        status=contact.status.value,
        leaves_on=contact.leaves_on,
        departed_on=contact.departed_on,
        last_confirmed_on=contact.last_confirmed_on,
    )


def _note(note: HealthNote, author: str) -> NoteLine:
    return NoteLine(
        id=note.id,
        version=note.version,
        written_on=note.written_on,
        author=author,
        sentiment=note.sentiment.value if note.sentiment else None,
        risk=note.risk.value if note.risk else None,
        meeting_id=note.meeting_id,
        note=quote(note.text, origin=f"note {note.id}", author=author, written_on=note.written_on, limit=SHOWN_SUMMARY),
    )
