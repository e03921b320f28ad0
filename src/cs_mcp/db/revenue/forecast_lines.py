"""The lines a forecast is made of: renewals as they stand, or as a night kept them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import BigInteger, Date, Integer, String, and_, bindparam, case, cast, func, literal, or_, select

from cs_mcp.db.renewals.renewals import CLOSED
from cs_mcp.db.renewals.scope import (
    ACCOUNT,
    ARR_MINOR,
    OF_ITS_SUBSCRIPTION,
    OWNER,
    RENEWAL,
    SUBSCRIPTION,
    with_account,
)
from cs_mcp.db.scoped import Conditions
from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.renewals.renewals import RenewalStage
from cs_mcp.domain.revenue.forecast import Odds

GroupBy = Literal["owner", "segment", "band", "stage"]

WORKSPACE: Final = bindparam("workspace", type_=String)
FIRST, LAST = bindparam("first", type_=Date), bindparam("last", type_=Date)
ASKED_OWNER: Final = bindparam("owner", type_=String)
ON: Final = bindparam("on", type_=Date)
THEN: Final = bindparam("then", type_=Date)
_NOTHING: Final = literal(0, BigInteger)


class Shape(NamedTuple):
    """What is asked for: of how many quarters, as kept on a past day or as it stands, of one owner, in groups."""

    quarters: int
    kept: bool
    of_owner: bool
    group_by: GroupBy | None


@dataclass(frozen=True, slots=True)
class Quarters:
    """First days of consecutive quarters, and the last day of the last one."""

    starts: Sequence[date]
    last: date

    def given(self) -> dict[str, date]:
        return {"first": self.starts[0], "last": self.last} | {f"q{n}": day for n, day in enumerate(self.starts)}


def expected_of(band: Any, stage: Any, amount: Any) -> Any:
    """What health tells to expect of a renewal; the rule is `domain.forecast.expected`, in whole numbers."""
    permille = case(
        *(
            (band == one.value, bindparam(f"odds_{one.value}", type_=Integer))
            for one in Band
            if one is not Band.unknown
        ),
        else_=bindparam(f"odds_{Band.unknown.value}", type_=Integer),
    )
    thousand = literal(1000, BigInteger)
    rest = (amount - amount // thousand * thousand) * permille + 500
    likely = amount // thousand * permille + rest // thousand
    return case(
        (stage == RenewalStage.closed_won.value, amount),
        (stage == RenewalStage.closed_lost.value, _NOTHING),
        else_=likely,
    )


def odds_given(odds: Mapping[Band, Odds]) -> dict[str, int]:
    return {f"odds_{band.value}": found.permille for band, found in odds.items()}


def lines_as_they_stand(scope: Conditions) -> Any:
    """Every renewal in scope, with what a snapshot of it would say."""
    columns = [
        RENEWAL.c.id.label("renewal_id"),
        RENEWAL.c.account_id,
        OWNER.label("owner_id"),
        ACCOUNT.c.segment,
        ACCOUNT.c.health_band.label("band"),
        RENEWAL.c.stage,
        RENEWAL.c.forecast_category.label("category"),
        RENEWAL.c.amount_minor,
        expected_of(ACCOUNT.c.health_band, RENEWAL.c.stage, RENEWAL.c.amount_minor).label("expected_minor"),
        ARR_MINOR.label("arr_minor"),
        RENEWAL.c.currency,
        RENEWAL.c.closes_on.label("close_on"),
        RENEWAL.c.closed_on,
    ]
    return select(*columns).select_from(with_account().outerjoin(SUBSCRIPTION, OF_ITS_SUBSCRIPTION)).where(*scope)


# The renewal that a line is of, as it is today: whose account and owner it has now says who sees what was kept of it.
HELD: Final = RENEWAL.alias("held")


def in_its_account(line: Any) -> Any:
    """Lines joined to their renewals and accounts of today: a merge moves both."""
    account = and_(ACCOUNT.c.workspace == HELD.c.workspace, ACCOUNT.c.id == HELD.c.account_id)
    return line.join(HELD, same_renewal(HELD, line)).join(ACCOUNT, account)


def quarter_of(close_on: Any, quarters: int) -> Any:
    """The number of the quarter a day is in, of those asked for."""
    if quarters == 1:
        return literal(0, Integer)
    later = [(close_on < bindparam(f"q{n}", type_=Date), n - 1) for n in range(1, quarters)]
    return case(*later, else_=quarters - 1)


def closed_stage(stage: Any) -> Any:
    """The stage of a closed renewal; "" of one that is open."""
    return case((is_closed(stage), stage), else_="")


def is_closed(stage: Any) -> Any:
    return or_(*(stage == closed for closed in CLOSED))


def total(column: Any, name: str) -> Any:
    return cast(func.sum(column), BigInteger).label(name)


def held_by(*, of_owner: bool) -> list[Any]:
    """By who owns a renewal today, on any day: who came to own it since did not move the forecast."""
    return [func.coalesce(HELD.c.owner_id, ACCOUNT.c.owner_id) == ASKED_OWNER] if of_owner else []


def same_renewal(table: Any, to: Any) -> Any:
    key = table.c.id if "id" in table.c else table.c.renewal_id
    other = to.c.id if "id" in to.c else to.c.renewal_id
    return and_(table.c.workspace == to.c.workspace, key == other)
