"""Columns of an account that follow from its other rows, recomputed in the transaction that moved those rows.

Adding one is one entry here. They raise no version and make no change entry: they can always be recomputed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date
from typing import Any, Final, NamedTuple

from sqlalchemy import Date, and_, bindparam, case, func, select, update

from cs_mcp.db.accounts import AccountRow
from cs_mcp.db.meetings import MeetingRow
from cs_mcp.db.overrides import effective_band
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Statement
from cs_mcp.db.sponsors import SponsorshipRow
from cs_mcp.db.subscriptions import ArrMovementRow
from cs_mcp.db.wire import Wire
from cs_mcp.domain.meetings import NOT_A_MEETING

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
