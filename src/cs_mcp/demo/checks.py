"""What the tour must leave in the store, read from the store itself and not from what the client was told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.history.changes import Act
from cs_mcp.db.people.sponsors import ContactRow, SponsorshipRow
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.db.work.tasks import TaskRow
from cs_mcp.demo import tour
from cs_mcp.demo.seed import TOOL
from cs_mcp.demo.tour import Script
from cs_mcp.domain.accounts.accounts import Account
from cs_mcp.services.wiring import Services


@dataclass(frozen=True, slots=True)
class Check:
    claim: str
    expected: Any
    found: Any

    @property
    def holds(self) -> bool:
        return self.expected == self.found

    def __str__(self) -> str:
        if self.holds:
            return f"  ✓ {self.claim}"
        return f"  ✗ {self.claim}\n      expected {self.expected!r}\n      found    {self.found!r}"


async def checks(services: Services, workspace: str, script: Script) -> list[Check]:
    """Every claim of the conversation against the rows and the history."""
    act = Act(change_id="", actor_id="operator", tool=TOOL, at=services.store.clock.now())
    async with services.store.unit_of_work(await services.identity.operator(workspace), act) as work:
        return [*await _of_the_call(work, script), *await _of_the_rest(work, script)]


async def _account(work: UnitOfWork, name: str) -> Account:
    [found] = await work.accounts.where(AccountRow.name == name)
    return found


async def _of_the_call(work: UnitOfWork, script: Script) -> list[Check]:
    account = await _account(work, tour.CUSTOMER)
    contacts = {c.name: c for c in await work.contacts.where(ContactRow.account_id == account.id)}
    champion, sponsor = contacts[tour.CHAMPION], contacts[tour.SPONSOR]
    calls = [m for m in await work.meetings.where(MeetingRow.account_id == account.id) if m.kind == "call"]
    asked = await work.tasks.where(TaskRow.account_id == account.id, TaskRow.title == tour.FOLLOW_UP)
    notes = await work.notes.where(HealthNoteRow.account_id == account.id)
    seats = await work.sponsorships.where(SponsorshipRow.account_id == account.id)
    [ana] = [member for member in await work.members.where() if member.name == "Ana Ruiz"]
    sponsors = [(s.contact_id, s.from_on) for s in seats if s.role == "executive_sponsor" and s.to_on is None]
    return [
        Check("one call with Globex is on record, held yesterday", [script.yesterday], [m.held_on for m in calls]),
        Check(
            "Ana, the CFO and the champion were there",
            [[ana.id, sponsor.id, champion.id]],
            [[a.user_id or a.contact_id for a in m.attendees] for m in calls],
        ),
        Check("it holds what they asked for", [[tour.REQUEST]], [m.product_requests for m in calls]),
        Check("the CFO is the executive sponsor from that day, alone", [(sponsor.id, script.yesterday)], sponsors),
        Check("the account shows the sponsor", sponsor.id, account.executive_sponsor_id),
        Check(
            "the champion leaves at the end of that month, and is champion until then",
            (script.leaves_on, "active", champion.id),
            (champion.leaves_on, champion.status.value, account.champion_id),
        ),
        Check(
            "one follow-up is open, due Friday, and Ana's",
            [(script.friday, "open", ana.id)],
            [(task.due_on, task.status.value, task.assignee_id) for task in asked],
        ),
        Check(
            "one health note came with the call",
            [m.id for m in calls],
            [note.meeting_id for note in notes if note.meeting_id is not None],
        ),
    ]


async def _of_the_rest(work: UnitOfWork, script: Script) -> list[Check]:
    first = await work.entries(change=script.first_log)
    undo = await work.entries(change=script.undo)
    second = await work.entries(change=script.second_log)
    account = await _account(work, tour.OTHER_CUSTOMER)
    history = [e for e in await work.entries(records=[account.id]) if e.tool != TOOL]
    other = await _account(work, tour.NAMESAKES[0])
    touched = [e for e in await work.entries(accounts=[other.id]) if e.tool != TOOL]
    calls = await work.entries(accounts=[(await _account(work, tour.CUSTOMER)).id])
    return [
        Check(
            "the undo took back every record of the first log",
            sorted(e.entity_id for e in first),
            sorted(e.entity_id for e in undo),
        ),
        Check("the undo stands in the history under its own name", {"undo_changes"}, {e.tool for e in undo}),
        Check(
            "the call was written twice, the repeated one not at all",
            {script.first_log, script.second_log},
            {e.change_id for e in calls if e.tool == "log_meeting"},
        ),
        Check("the second log made as many records as the first", len(first), len(second)),
        Check("Lea's tag on Initech stands", True, tour.COLLEAGUES_TAG in account.tags),
        Check("Ana's risk is on Initech once, after the preview", tour.RISK, account.risk_reason),
        Check(
            "Initech was changed by Lea, then by Ana, and by nobody else",
            [("Ana Ruiz", ["risk_reason"]), ("Lea Brandt", ["tags"])],
            [(e.actor_name, e.fields) for e in history],
        ),
        Check("nothing was written for the name that two people share", [], touched),
    ]
