"""Columns of an account that follow from its other rows, recomputed in the transaction that moved those rows.

Adding one is one entry here. They raise no version and make no change entry: they can always be recomputed. What is
dated ahead moves them when its day comes and nobody writes: the night brings them up (`bring_up`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date, timedelta
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Date, String, and_, bindparam, case, func, or_, select, update

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.health.overrides import effective_band
from cs_mcp.db.people.sponsors import SponsorshipRow
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Statement
from cs_mcp.db.revenue.subscriptions import ArrMovementRow
from cs_mcp.db.wire import Wire
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.domain.work.meetings import NOT_A_MEETING

ACCOUNT: Final[Any] = AccountRow.__table__
TODAY: Final = bindparam("today", type_=Date)


class Derivation(NamedTuple):
    column: str
    sources: frozenset[str]
    expression: Callable[[], Any]


def _live(table: Any) -> tuple[Any, ...]:
    return (
        table.c.workspace == ACCOUNT.c.workspace,
        table.c.account_id == ACCOUNT.c.id,
        table.c.removed_at.is_(None),
    )


def _arr() -> Any:
    ledger = ArrMovementRow.__table__
    due = case((ledger.c.on <= TODAY, ledger.c.amount_minor), else_=0)
    # Nothing is summed across currencies silently: a movement in another currency is not the account's ARR.
    own = ledger.c.currency == ACCOUNT.c.currency
    # Without statistics PostgreSQL takes any index of a table for as good as the others, and read the whole ledger
    # for each account: a group is in the order of the right one.
    mine = ledger.c.account_id.between(ACCOUNT.c.id, ACCOUNT.c.id)
    of_one = select(func.sum(due)).where(ledger.c.workspace == ACCOUNT.c.workspace, mine, ledger.c.removed_at.is_(None))
    return func.coalesce(of_one.where(own).group_by(ledger.c.account_id).scalar_subquery(), 0)


def _met(pick: Any, *conditions: Any) -> Any:
    meeting = MeetingRow.__table__
    return select(pick(meeting.c.held_on)).where(*_live(meeting), *conditions).scalar_subquery()


def _seat(role: str) -> Any:
    seat = SponsorshipRow.__table__
    return (
        select(seat.c.contact_id)
        .where(*_live(seat), seat.c.role == role, seat.c.from_on <= TODAY)
        # On its last day a seat counts as vacant: there is something to do.
        .where(seat.c.to_on.is_(None) | (seat.c.to_on > TODAY))
        .order_by(seat.c.from_on.desc(), seat.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )


_MEETING: Final = MeetingRow.__table__
_HELD: Final = (_MEETING.c.status == "held", _MEETING.c.held_on <= TODAY)
_IN_PERSON: Final = and_(*(_MEETING.c.kind != kind.value for kind in sorted(NOT_A_MEETING)))

DERIVATIONS: Final = (
    Derivation("arr_minor", frozenset({"arr_movement"}), _arr),
    Derivation("last_touch_on", frozenset({"meeting"}), lambda: _met(func.max, *_HELD)),
    Derivation("last_meeting_on", frozenset({"meeting"}), lambda: _met(func.max, *_HELD, _IN_PERSON)),
    Derivation(
        "next_meeting_on",
        frozenset({"meeting"}),
        lambda: _met(func.min, _MEETING.c.status == "planned", _MEETING.c.held_on >= TODAY),
    ),
    Derivation("executive_sponsor_id", frozenset({"sponsorship"}), lambda: _seat("executive_sponsor")),
    Derivation("health_band", frozenset({"health_override"}), lambda: effective_band(ACCOUNT, TODAY)),
    Derivation("champion_id", frozenset({"sponsorship"}), lambda: _seat("champion")),
)
SOURCES: Final = frozenset[str]().union(*(d.sources for d in DERIVATIONS))
# The band is the score's, which the night writes itself.
DATED: Final = frozenset({"arr_movement", "meeting", "sponsorship"})
PAGE: Final = 10_000  # accounts
LATELY: Final = timedelta(days=400)  # nights may be missed, though not for so long

_statements: dict[frozenset[str], Statement] = {}


def _statement(entities: frozenset[str]) -> Statement:
    known = _statements.get(entities)
    if known is None:
        values = {d.column: d.expression() for d in DERIVATIONS if d.sources & entities}
        known = _statements[entities] = Statement(
            lambda: (
                update(ACCOUNT)
                .where(ACCOUNT.c.workspace == bindparam("in_workspace"), any_of(ACCOUNT.c.id, texts("accounts")))
                .values(values)
            )
        )
    return known


async def rederive(
    wire: Wire, workspace: str, accounts: Collection[str], entities: Collection[str], today: date
) -> None:
    """Recompute what follows from `entities` for these accounts."""
    moved = frozenset(entities) & SOURCES
    if moved and accounts:
        await wire.many(_statement(moved), [{"in_workspace": workspace, "accounts": sorted(accounts), "today": today}])


def _behind() -> Any:
    """Accounts whose columns are not what follows today, among those of which something had its day lately."""
    ledger, seat = ArrMovementRow.__table__, SponsorshipRow.__table__
    here = cast("Any", bindparam("in_workspace"))

    def of(table: Any, *days: Any) -> Any:
        lately = or_(*(day.between(bindparam("since", type_=Date), TODAY) for day in days))
        mine = select(table.c.account_id).where(table.c.workspace == here, table.c.removed_at.is_(None), lately)
        return ACCOUNT.c.id.in_(mine)

    turned = or_(of(ledger, ledger.c.on), of(seat, seat.c.from_on, seat.c.to_on), ACCOUNT.c.next_meeting_on < TODAY)
    differing = [ACCOUNT.c[d.column].is_distinct_from(d.expression()) for d in DERIVATIONS if d.sources & DATED]
    return (
        select(ACCOUNT.c.id)
        .where(ACCOUNT.c.workspace == here, ACCOUNT.c.removed_at.is_(None))
        .where(ACCOUNT.c.id > bindparam("after", type_=String), turned, or_(*differing))
        .order_by(ACCOUNT.c.id)
        .limit(PAGE)
    )


_BEHIND: Final = Statement(_behind)


async def bring_up(wire: Wire, workspace: str, today: date, after: str = "") -> list[str]:
    """Recompute the columns of accounts that a day moved: a page of those past the id `after`, which are given back."""
    given = {"in_workspace": workspace, "after": after, "today": today, "since": today - LATELY}
    found = await wire.rows(_BEHIND, given)
    accounts = [row["id"] for row in found]
    await rederive(wire, workspace, accounts, DATED, today)
    return accounts
