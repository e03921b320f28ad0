"""Expansion: the pipeline with its evidence, and what speaks for or against asking."""

from __future__ import annotations

from cs_mcp.domain.contract import Written
from cs_mcp.services.opportunities.opportunities import ListOpportunities
from cs_mcp.services.opportunities.saving import SaveOpportunity
from cs_mcp.services.opportunities.views import OpportunityPage, OpportunityView
from cs_mcp.tools._context import Call
from cs_mcp.tools._toolset import Toolset

growth = Toolset("growth")


@growth.read("List opportunities")
async def list_opportunities(question: ListOpportunities, call: Call) -> OpportunityPage:
    """Show the expansion pipeline: amounts, stages, evidence, who is asked too early.

    Sums by currency cover all matches, by `group_by` too. `look_for` finds more: `candidates` are accounts near their
    seats, with a new department or feature in use, or just funded, which nobody works on; `whitespace` is what others
    of their segment have and they lack. `opportunity` with detail `full` shows one whole. Then save_opportunity.
    """
    return await call.services.opportunities.list(call.principal, question)


@growth.write("Save opportunity", destructive=True)
async def save_opportunity(command: SaveOpportunity, call: Call) -> Written[OpportunityView]:
    """Enter an expansion opportunity, work on it, or close it as won or lost.

    What is left out stays; evidence is added. What a stage needs and lacks is named; skipping one or going back takes a
    `reason`. Won posts the expansion to the ledger, grows the subscription (a product they lack starts one) and its
    renewal; undo_changes takes it all back. It warns where value is not proven yet.
    """
    return await call.perform(command)
