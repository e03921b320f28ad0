"""The override that holds for an account, with who set it; its health with and without."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Date, String, and_, bindparam, select

from cs_mcp.db.accounts import AccountRow
from cs_mcp.db.members import MemberRow
from cs_mcp.db.overrides import OVERRIDE, computed_band, stands
from cs_mcp.db.read_path import Row
from cs_mcp.db.scoped import Conditions, Scoped, scope_of
from cs_mcp.db.unit_of_work import UnitOfWork

ACCOUNT: Final[Any] = AccountRow.__table__
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


def _health(scope: Conditions) -> Any:
    computed = computed_band(ACCOUNT, bindparam("today", type_=Date)).label("computed_band")
    of_account = ACCOUNT.c.id == bindparam("account", type_=String)
    return select(ACCOUNT.c.health_band, ACCOUNT.c.health_score, computed).where(*scope, of_account)


_HEALTH: Final = Scoped("account", _health)


async def health_within(work: UnitOfWork, account: str) -> Row:
    """`health_band`, `health_score` and `computed_band` of an account, as the last flush left them."""
    given = scope_of(work.principal) | {"account": account, "today": work.today}
    [found] = await (await work.wire()).rows(_HEALTH.seen_by(work.principal), given)
    return found
