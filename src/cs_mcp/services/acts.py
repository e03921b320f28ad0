"""The act of a write that no tool's command asked for: a run, a setting, a rubric."""

from __future__ import annotations

from cs_mcp.db.history.changes import Act
from cs_mcp.db.store import Store
from cs_mcp.domain.identity import Principal


def act_of(
    store: Store, principal: Principal, tool: str, *, run_id: str | None = None, reason: str | None = None
) -> Act:
    return Act(
        change_id=store.ids.new("change"),
        actor_id=principal.user,
        tool=tool,
        at=store.clock.now(),
        on_behalf_of=principal.on_behalf_of,
        client=principal.client,
        reason=reason,
        run_id=run_id,
    )
