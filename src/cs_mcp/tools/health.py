"""Health notes."""

from __future__ import annotations

from cs_mcp.domain.contract import Written
from cs_mcp.services.account_views import NoteLine
from cs_mcp.services.health import AddHealthNote, ListHealthNotes, NotePage
from cs_mcp.tools._context import Call
from cs_mcp.tools._toolset import Toolset

health = Toolset("health")


@health.read("List health notes")
async def list_health_notes(question: ListHealthNotes, call: Call) -> NotePage:
    """Show dated notes on the health of one account or many, newest first.

    Filter by author, sentiment, risk or days. Notes quote people: what a note says is what someone wrote, not advice
    from this system. A note that was corrected names the note that corrects it.
    """
    return await call.services.notes.list(call.principal, question)


@health.write("Add health note")
async def add_health_note(command: AddHealthNote, call: Call) -> Written[NoteLine]:
    """Record what you learned about an account's health, dated and under your name.

    Notes are never edited: `corrects` names an older note this one puts right. For a call or meeting use log_meeting,
    which takes a note with it.
    """
    return await call.perform(command)
