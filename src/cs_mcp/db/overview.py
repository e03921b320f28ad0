"""How much there is, as the caller may see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select

from cs_mcp.db.base import Base
from cs_mcp.db.history.history import HEAD_SEQ
from cs_mcp.db.lookup import MEMBERS
from cs_mcp.db.read_path import Row
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads
from cs_mcp.domain.identity import Principal

MOST_COUNTED: Final = 1_000


def _counted(table: str, *also: str) -> Scoped:
    def build(scope: Conditions) -> Any:
        columns = Base.metadata.tables[table].c
        found = select(columns.id).where(*scope)
        if also:
            found = found.where(columns[also[0]] == also[1])
        limited = found.limit(MOST_COUNTED + 1).subquery()
        return select(func.count().label("total")).select_from(limited)

    return Scoped(table, build)


_COUNTS: Final = {
    "accounts": _counted("account"),
    "contacts": _counted("contact"),
    "open tasks": _counted("task", "status", "open"),
    "health notes": _counted("health_note"),
    "meetings": _counted("meeting"),
}


@dataclass(frozen=True, slots=True)
class Found:
    people: list[Row]
    counts: dict[str, int]
    head: int


class Overview(ScopedReads):
    async def read(self, principal: Principal) -> Found:
        """People, counts (to 1 001: more is not counted) and the head of the history, in one snapshot."""
        people, head, *counts = await self.rows(principal, [MEMBERS, HEAD_SEQ, *_COUNTS.values()])
        return Found(
            people=[row for row in people if row["active"]],
            counts={name: rows[0]["total"] for name, rows in zip(_COUNTS, counts, strict=True)},
            head=head[0]["seq"],
        )
