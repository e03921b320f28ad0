"""Which accounts lack what their health and renewal need. Missing data is the first risk."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, String, bindparam, case, cast, func, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.accounts.gaps import GAPS
from cs_mcp.db.members import MemberRow
from cs_mcp.db.read_path import Row
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads
from cs_mcp.domain.accounts.completeness import REQUIRED
from cs_mcp.domain.identity import Principal

ACCOUNT: Final[Any] = AccountRow.__table__
MEMBER: Final[Any] = MemberRow.__table__


_CUSTOMER: Final = ACCOUNT.c.stage != "churned"


def _flagged(scope: Conditions, *, of_owner: bool) -> Any:
    """One row an account that is a customer, with 1 in `lacks_…` for each gap, and their number."""
    flags = {name: case((GAPS[name](ACCOUNT.c), 1), else_=0) for name in REQUIRED}
    kept = [ACCOUNT.c[name] for name in ("id", "workspace", "name", "owner_id", "currency", "arr_minor")]
    found = select(*kept, *(flag.label(f"lacks_{name}") for name, flag in flags.items())).where(*scope, _CUSTOMER)
    if of_owner:
        found = found.where(ACCOUNT.c.owner_id == bindparam("owner", type_=String))
    return found.subquery("flagged")


def _sum(column: Any, name: str) -> Any:
    return cast(func.sum(column), BigInteger).label(name)


def _number(of: Any) -> Any:
    """How many gaps an account has."""
    first, *others = (of[f"lacks_{name}"] for name in REQUIRED)
    number: Any = first
    for other in others:
        number = number + other
    return number


def _by_owner(*, of_owner: bool) -> Scoped:
    def build(scope: Conditions) -> Any:
        of = _flagged(scope, of_owner=of_owner).c
        number = _number(of)
        summed = (
            select(
                of.workspace,
                of.owner_id,
                of.currency,
                func.count().label("accounts"),
                _sum(of.arr_minor, "arr_minor"),
                _sum(case((number == 0, 1), else_=0), "complete"),
                *(_sum(of[f"lacks_{name}"], f"lacks_{name}") for name in REQUIRED),
                *(_sum(of[f"lacks_{name}"] * of.arr_minor, f"arr_{name}") for name in REQUIRED),
            )
            .group_by(of.workspace, of.owner_id, of.currency)
            .subquery("summed")
        )
        return (
            select(*(column for column in summed.c if column.key != "workspace"), MEMBER.c.name.label("owner_name"))
            .outerjoin_from(
                summed, MEMBER, (MEMBER.c.workspace == summed.c.workspace) & (MEMBER.c.id == summed.c.owner_id)
            )
            .order_by(summed.c.owner_id, summed.c.currency)
        )

    return Scoped("account", build)


def _largest(*, of_owner: bool) -> Scoped:
    def build(scope: Conditions) -> Any:
        of = _flagged(scope, of_owner=of_owner).c
        kept = [of[name] for name in ("id", "name", "owner_id", "currency", "arr_minor")]
        return (
            select(*kept, *(of[f"lacks_{name}"] for name in REQUIRED))
            .where(_number(of) > 0)
            .order_by(of.arr_minor.desc(), of.id)
            .limit(bindparam("limit"))
        )

    return Scoped("account", build)


_READS: Final = {of_owner: (_by_owner(of_owner=of_owner), _largest(of_owner=of_owner)) for of_owner in (False, True)}


class CompletenessReads(ScopedReads):
    async def read(self, principal: Principal, owner: str | None, limit: int) -> tuple[list[Row], list[Row]]:
        """Sums by owner and currency, and the accounts with gaps that are worth most, one more than `limit`."""
        given = {"owner": owner} if owner is not None else {}
        sums, accounts = await self.rows(principal, _READS[owner is not None], limit=limit + 1, **given)
        return sums, accounts
