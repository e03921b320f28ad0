"""What an account's attributes were before they changed: figures are sliced by what was so when their period began."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from cs_mcp.db.history.changes import Captured
from cs_mcp.db.many_rows import Upsertion
from cs_mcp.db.revenue.tables import PAST_ATTRIBUTE
from cs_mcp.db.wire import Wire
from cs_mcp.domain.changes import ChangeKind

FIELDS: Final = frozenset({"segment", "tier", "owner_id", "industry", "custom"})

# Of two changes at one instant the first tells what was so before it.
_PAST: Final = Upsertion(PAST_ATTRIBUTE, "")


async def keep_attributes(
    wire: Wire, workspace: str, entries: Sequence[Captured], now: datetime, *, but: Collection[str]
) -> None:
    """Keep what these entries replaced. `but`: accounts that this write created, which were nothing before it."""
    rows = [
        (field, entry.entity_id, entry.before[field])
        for entry in entries
        if entry.entity == "account" and entry.kind is not ChangeKind.created and entry.before is not None
        for field in sorted(FIELDS & entry.before.keys())
        if entry.entity_id not in but
    ]
    if not rows:
        return
    fields, accounts, values = zip(*rows, strict=True)
    same = [workspace] * len(rows)
    given = {"workspace": same, "field": fields, "account_id": accounts, "until_at": [now] * len(rows), "value": values}
    await wire.insert(_PAST, given)
