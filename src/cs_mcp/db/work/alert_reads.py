"""Which alerts were told before, as tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import String, bindparam, select

from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Statement
from cs_mcp.db.scoped import ScopedReads
from cs_mcp.db.work.tasks import TaskRow
from cs_mcp.domain.identity import Principal

TASK: Final[Any] = TaskRow.__table__

_TOLD: Final = Statement(
    lambda: (
        select(TASK.c.purpose)
        .where(TASK.c.workspace == bindparam("workspace", type_=String), any_of(TASK.c.purpose, texts("purposes")))
        .distinct()
    )
)


class AlertReads(ScopedReads):
    async def told(self, principal: Principal, purposes: Sequence[str]) -> set[str]:
        """Those of the purposes that any account ever had a task of: done, canceled and taken back ones too."""
        [rows] = await self.rows(principal, [_TOLD], purposes=purposes)
        return {row["purpose"] for row in rows}
