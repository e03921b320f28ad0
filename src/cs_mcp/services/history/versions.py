"""A write names the version it read; a stale one is told who changed which field meanwhile."""

from __future__ import annotations

from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.contract import shown
from cs_mcp.domain.errors import Stale
from cs_mcp.domain.records import Record


async def check_version(work: UnitOfWork, record: Record, expected: int, kind: str) -> None:
    # A plan is bound to the fields it touches, which were checked when it was taken up.
    if record.version == expected or work.act.plan_id is not None:
        return
    if expected > record.version:
        raise Stale(
            f"{record.id} is at version {record.version}; there never was a version {expected}. Nothing was done.",
            remedy=f"Read the {kind} again and use the version it shows.",
        )
    since = await work.changes_since(record.id, expected)
    told = "; ".join(
        f"{shown(entry.actor_name or entry.actor_id)} changed {', '.join(entry.fields)} "
        f"on {entry.at:%Y-%m-%d %H:%M} UTC ({entry.tool}, {entry.change_id})"
        for entry in since
    )
    raise Stale(
        f"{record.id} changed since version {expected}: {told or 'by someone'}. It is now at version {record.version}. "
        "Nothing was done.",
        remedy=f"Read the {kind} again, see whether your change still makes sense, and send expected_version "
        f"{record.version}.",
    )
