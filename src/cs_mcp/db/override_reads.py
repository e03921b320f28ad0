"""The override that holds for an account, with who set it."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Date, String, and_, bindparam, select

from cs_mcp.db.members import MemberRow
from cs_mcp.db.overrides import OVERRIDE, stands
from cs_mcp.db.scoped import Conditions, Scoped

MEMBER: Final[Any] = MemberRow.__table__


def _of_account(scope: Conditions) -> Any:
    author = MEMBER.alias("author")
    return (
        select(*(column for column in OVERRIDE.c if column.key != "workspace"))
        .add_columns(author.c.name.label("author_name"))
        .outerjoin_from(
            OVERRIDE,
            author,
            and_(author.c.workspace == OVERRIDE.c.workspace, author.c.id == OVERRIDE.c.author_id),
        )
        .where(*scope, OVERRIDE.c.account_id == bindparam("account", type_=String))
        .where(stands(OVERRIDE, bindparam("today", type_=Date)))
        .order_by(OVERRIDE.c.from_on.desc(), OVERRIDE.c.id.desc())
        .limit(1)
    )


# The override that holds on `today` of `account`, if one stands.
STANDING: Final = Scoped("health_override", _of_account)
