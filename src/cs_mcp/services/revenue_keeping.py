"""What is kept of revenue, made anew from the ledger."""

from __future__ import annotations

from cs_mcp.db.changes import Act
from cs_mcp.db.revenue_rollup import rebuild
from cs_mcp.db.store import Store
from cs_mcp.services.identity import Identity


async def rebuild_revenue(store: Store) -> int:
    """Of every workspace; how many accounts they have."""
    count = 0
    for workspace in await store.workspaces():
        operator = await Identity(store, b"").operator(workspace)
        act = Act(store.ids.new("change"), operator.user, "db rebuild", store.clock.now())
        async with store.unit_of_work(operator, act) as work:
            count += await rebuild(await work.wire(), workspace, now=work.now, calendar=work.calendar)
    return count
