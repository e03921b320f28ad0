"""Health notes: dated, authored, never edited."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, ClassVar

from pydantic import Field

from cs_mcp.db.lists import ListReads
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.contract import (
    AccountRef,
    Budget,
    Command,
    Cursor,
    CursorMark,
    Detail,
    Limit,
    Page,
    Question,
    Ref,
    Text,
    UserRef,
    fitted,
    question_hash,
    total_of,
)
from cs_mcp.domain.errors import Conflict, Invalid
from cs_mcp.domain.health.health import HealthNote, RiskCategory
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.people.sponsors import Sentiment
from cs_mcp.domain.text import quote
from cs_mcp.services.accounts.views import NoteLine, PersonRef
from cs_mcp.services.health.risks import note_as_evidence
from cs_mcp.services.naming import Names
from cs_mcp.services.writes import Outcome

BRIEF_QUOTE = 600


class ListHealthNotes(Question):
    account: AccountRef | None = None
    author: UserRef | None = None
    sentiment: list[Sentiment] | None = None
    risk: list[RiskCategory] | None = None
    period_start: date | None = None
    period_end: date | None = None
    detail: Annotated[Detail, Field(description="brief cuts each note at 600 characters")] = "brief"
    exact_total: bool = False
    limit: Limit = 20
    cursor: Cursor | None = None
    budget_tokens: Budget = 4000


class AddHealthNote(Command):
    tool: ClassVar[str] = "add_health_note"

    account: AccountRef
    text: Annotated[Text, Field(description="What you saw or heard, as prose")]
    sentiment: Sentiment | None = None
    risk: Annotated[RiskCategory, Field(description="Only where the note names a risk")] | None = None
    written_on: Annotated[date, Field(description="Today when absent")] | None = None
    corrects: Annotated[Ref, Field(description="Id of the note this one corrects")] | None = None


class NotePage(Page[NoteLine]):
    heading = "Health notes, newest first"


class HealthNotes:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._reads = ListReads(store)

    async def list(self, principal: Principal, question: ListHealthNotes) -> NotePage:
        names = Names.reading(self._store, principal)
        filters: dict[str, Any] = {}
        if question.account is not None:
            filters["account"] = (await names.account(question.account)).id
        if question.author is not None:
            filters["author"] = (await names.member(question.author)).id
        for name in ("sentiment", "risk"):
            if (values := getattr(question, name)) is not None:
                filters[name] = [value.value for value in values]
        if question.period_start is not None:
            filters["written_from"] = question.period_start
        if question.period_end is not None:
            filters["written_to"] = question.period_end
        mark = question_hash(question)
        after = None
        if question.cursor is not None:
            cursor = CursorMark.read(question.cursor, mark, date)
            after = (cursor.value, cursor.id)
        rows, total = await self._reads.notes(
            principal, filters, limit=question.limit, after=after, exact_total=question.exact_total
        )
        shown = rows[: question.limit]
        corrected = await self._reads.corrections(principal, [row["id"] for row in shown]) if shown else {}
        cut = BRIEF_QUOTE if question.detail == "brief" else 20_000
        items = fitted([_line(row, corrected, cut) for row in shown], budget_tokens=question.budget_tokens)
        next_cursor = None
        if len(rows) > len(items):
            last = shown[len(items) - 1]
            next_cursor = CursorMark(of=mark, value=last["written_on"], id=last["id"]).token()
        return NotePage(items=items, total=total_of(total), next_cursor=next_cursor)

    async def add(self, work: UnitOfWork, command: AddHealthNote) -> Outcome:
        match = await Names.writing(work).account(command.account)
        account = await work.accounts.get(match.id)
        written_on = command.written_on or work.today
        if written_on > work.today:
            raise Invalid(
                f"written_on {written_on} is in the future; today is {work.today}.", remedy="Give today or a past day."
            )
        if command.corrects is not None:
            older = await work.notes.get(command.corrects)
            if older.account_id != account.id:
                raise Conflict(
                    f"{older.id} is a note on another account ({older.account_id}).",
                    remedy=f"Name a note of {account.name} ({account.id}); list_health_notes shows them.",
                )
        note = new_note(work, account.id, command.text, written_on=written_on).changed(
            sentiment=command.sentiment, risk=command.risk, corrects_id=command.corrects
        )
        work.notes.add(note)
        triggered = await note_as_evidence(work, note)
        await work.flush()
        record = _written(work.notes.now(note.id), account.name, work.principal.name)
        return Outcome(record=record, triggered=triggered)


def new_note(work: UnitOfWork, account: str, text: str, *, written_on: date) -> HealthNote:
    return HealthNote(
        id=work.ids.new("health_note"),
        account_id=account,
        written_on=written_on,
        text=text,
        author_id=work.principal.user,
    )


def _line(row: Row, corrected: dict[str, str], limit: int) -> NoteLine:
    author = row["person_name"] or row["author_name"]
    return NoteLine(
        id=row["id"],
        version=row["version"],
        written_on=row["written_on"],
        account=PersonRef(id=row["account_id"], name=row["account_name"]),
        author=author,
        sentiment=row["sentiment"],
        risk=row["risk"],
        meeting_id=row["meeting_id"],
        corrects=row["corrects_id"],
        corrected_by=corrected.get(row["id"]),
        note=quote(row["text"], origin=f"note {row['id']}", author=author, written_on=row["written_on"], limit=limit),
    )


def _written(note: HealthNote, account_name: str, author: str) -> NoteLine:
    return NoteLine(
        id=note.id,
        version=note.version,
        written_on=note.written_on,
        account=PersonRef(id=note.account_id, name=account_name),
        author=author,
        sentiment=note.sentiment,
        risk=note.risk,
        meeting_id=note.meeting_id,
        corrects=note.corrects_id,
        note=quote(note.text, origin=f"note {note.id}", author=author, written_on=note.written_on, limit=BRIEF_QUOTE),
    )
