"""Health: why it is what it is, notes on it, overrides, risk cases."""

from __future__ import annotations

from cs_mcp.domain.contract import Written
from cs_mcp.services.accounts.views import NoteLine
from cs_mcp.services.health.explained import ExplainHealth
from cs_mcp.services.health.health import AddHealthNote, ListHealthNotes, NotePage
from cs_mcp.services.health.overrides import OverrideHealth, OverrideView
from cs_mcp.services.health.risk_views import RiskView
from cs_mcp.services.health.risks import SaveRisk
from cs_mcp.services.health.views import HealthExplained
from cs_mcp.tools._context import Call
from cs_mcp.tools._toolset import Toolset

health = Toolset("health")


@health.read("Explain health")
async def explain_health(question: ExplainHealth, call: Call) -> HealthExplained:
    """Show why an account's health is what it is, and what would make it better.

    Score, band, trend, what each measure gives and costs with the records behind it, hard rules and what clears them,
    an override beside the computed score, why it moved since a day (behaviour, configuration, override, missing data),
    and the smallest path to the next band. `as_of` explains a past day. Then create_tasks for the path's steps, or
    save_risk; cs://health/rubric says how each measure is computed.
    """
    return await call.services.explanations.explain(call.principal, question)


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


@health.write("Override health", destructive=True, on_request=True)
async def override_health(command: OverrideHealth, call: Call) -> Written[OverrideView]:
    """Set the band or score an account is listed by for a while, with a reason.

    The computed score stays beside it. It ends by itself after `expires_on`; `clear` ends it now, and a new override
    takes the place of the old. An agent's waits for a person.
    """
    return await call.perform(command)


@health.write("Save risk", destructive=True)
async def save_risk(command: SaveRisk, call: Call) -> Written[RiskView]:
    """Open the risk case of an account, work on it, or close it with an outcome.

    An account has one open case. What is left out stays; evidence is added. get_account shows the case; the work itself
    goes into create_tasks.
    """
    return await call.perform(command)
