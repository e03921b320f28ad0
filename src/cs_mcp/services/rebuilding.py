"""What is kept beside the records, made anew from them and their history.

Sums of revenue, what accounts' attributes were, and what renewals carry of their account.
"""

from __future__ import annotations

from typing import NamedTuple

from cs_mcp.db.accounts.scores import add_missing
from cs_mcp.db.history.changes import Act
from cs_mcp.db.renewals.anew import let_follow_anew
from cs_mcp.db.revenue.attribute_verification import remember_anew
from cs_mcp.db.revenue.rollup import rebuild
from cs_mcp.db.store import Store
from cs_mcp.services.identity import Identity


class Rebuilt(NamedTuple):
    """Accounts whose revenue was summed up anew; renewals that did not follow their account."""

    accounts: int
    renewals: int


async def rebuild_all(store: Store) -> Rebuilt:
    """Of every workspace."""
    accounts = renewals = 0
    for workspace in await store.workspaces():
        operator = await Identity(store, b"").operator(workspace)
        act = Act(store.ids.new("change"), operator.user, "db rebuild", store.clock.now())
        async with store.unit_of_work(operator, act) as work:
            wire = await work.wire()
            await add_missing(wire, workspace)
            await remember_anew(wire, workspace)
            accounts += await rebuild(wire, workspace, now=work.now, calendar=work.calendar)
            renewals += await let_follow_anew(wire, workspace)
    return Rebuilt(accounts, renewals)
