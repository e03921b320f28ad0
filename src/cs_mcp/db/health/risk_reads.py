"""The open risk case of an account, with its owner's name."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import String, and_, bindparam, select

from cs_mcp.db.health.risks import RISK
from cs_mcp.db.members import MemberRow
from cs_mcp.db.scoped import Conditions, Scoped
from cs_mcp.domain.health.risks import RiskState

MEMBER: Final[Any] = MemberRow.__table__


def _open_case(scope: Conditions) -> Any:
    owner = MEMBER.alias("owner")
    return (
        select(*(column for column in RISK.c if column.key != "workspace"))
        .add_columns(owner.c.name.label("owner_name"))
        .outerjoin_from(RISK, owner, and_(owner.c.workspace == RISK.c.workspace, owner.c.id == RISK.c.owner_id))
        .where(*scope, RISK.c.account_id == bindparam("account", type_=String), RISK.c.state == RiskState.open.value)
    )


# The open case of `account`, with its owner's name.
OPEN_CASE: Final = Scoped("risk", _open_case)
