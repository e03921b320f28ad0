"""Facts that other systems tell."""

from __future__ import annotations

from cs_mcp.domain.contract import Written
from cs_mcp.services.signals.signals import RecordSignals, SignalsTold
from cs_mcp.tools._context import Call
from cs_mcp.tools.accounts import admin

__all__ = ["admin"]


@admin.write("Record signals", destructive=True)
async def record_signals(command: RecordSignals, call: Call) -> Written[SignalsTold]:
    """Record usage, tickets, invoices, surveys, company events, core features.

    Up to 500 items, each reported on its own: a bad one is named and the others are kept. An item told again, by
    `source_id` or by its account, day, metric and department, corrects what it said before; late days are taken.
    undo_changes takes records back; usage is corrected by sending the right figures. Then call explain_health.
    """
    return await call.perform(command)
