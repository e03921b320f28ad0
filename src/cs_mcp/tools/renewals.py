"""Renewals."""

from __future__ import annotations

from cs_mcp.domain.contract import Written
from cs_mcp.services.renewals.closing import MoveRenewal
from cs_mcp.services.renewals.renewals import ListRenewals, UpdateRenewal
from cs_mcp.services.renewals.views import RenewalDone, RenewalPage
from cs_mcp.tools._context import Call
from cs_mcp.tools._toolset import Toolset

renewals = Toolset("renewals")


@renewals.read("List renewals")
async def list_renewals(question: ListRenewals, call: Call) -> RenewalPage:
    """Show the renewal pipeline, earliest close first, with ARR, sponsor and risks.

    Sums by currency cover all matches, by `group_by` too. Days left count to the last day for notice. `renewal` with
    detail `full` shows one whole: checkpoints, gaps, next steps, and the version update_renewal wants. `as_of` shows
    the pipeline as it was on a past day.
    """
    return await call.services.renewals.list(call.principal, question)


@renewals.write("Update renewal", destructive=True)
async def update_renewal(command: UpdateRenewal, call: Call) -> Written[RenewalDone]:
    """Set amount, forecast, close day, criteria, procurement, options, concessions.

    What is left out stays; a list replaces the one before. The stage moves with move_renewal.
    """
    return await call.perform(command)


@renewals.write("Move renewal", destructive=True)
async def move_renewal(command: MoveRenewal, call: Call) -> Written[RenewalDone]:
    """Move a renewal to another stage; closed_won and closed_lost close it.

    What a stage needs and lacks is named. Skipping a stage or going back takes a `reason`. Won renews the subscription
    and opens its next renewal; lost ends it; both post the ARR movement on the first day after the term. undo_changes
    takes a close back.
    """
    return await call.perform(command)
