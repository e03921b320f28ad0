"""When time alone changes what a feed tells: days that enter, or leave a window, of the rows it reads.

A column of facts/groups.py compares a row's days with the day asked for. It is the same from one turn to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Date, case, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from cs_mcp.db.days import day_number
from cs_mcp.db.facts.terms import (
    AS_OF,
    AS_OF_DAY,
    LEAST_AHEAD,
    UNTIL,
    Among,
    divided,
    first_day,
    first_instant,
    live_of,
    seconds,
)
from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.people.sponsors import ContactRow, SponsorshipRow
from cs_mcp.db.revenue.subscriptions import ArrMovementRow, SubscriptionRow
from cs_mcp.db.signals.signals import CompanyEventRow, InvoiceRow, SurveyResponseRow, TicketRow
from cs_mcp.db.work.meetings import MeetingRow

NEVER: Final = 4_000_000  # past the last day there is
_EPOCH: Final = 719_163  # 1970-01-01 as a proleptic ordinal


class Turn(NamedTuple):
    """A dated column and how many days after its day the facts read from it change."""

    row: Any
    column: str
    after: tuple[int, ...]

    @property
    def name(self) -> str:
        return "_".join((self.column, *map(str, self.after)))

    @property
    def of_instants(self) -> bool:
        return not isinstance(self.row.__table__.c[self.column].type, Date)


TURNS: Final[Mapping[str, tuple[Turn, ...]]] = {
    "tickets": (Turn(TicketRow, "opened_at", (0, 30, 90)), Turn(TicketRow, "resolved_at", (0, 90))),
    "surveys": (Turn(SurveyResponseRow, "answered_at", (0, 30, 90, 180, 365)),),
    "newest_nps": (Turn(SurveyResponseRow, "answered_at", (0,)),),
    "notes": (Turn(HealthNoteRow, "written_on", (0, 90)),),
    "meetings": (Turn(MeetingRow, "held_on", (0, 90, 365)),),
    "attendance": (
        Turn(MeetingRow, "held_on", (0, 90, 180)),
        Turn(ContactRow, "departed_on", (0,)),
        Turn(SponsorshipRow, "from_on", (0,)),
        Turn(SponsorshipRow, "to_on", (0,)),
    ),
    "contacts": (Turn(ContactRow, "departed_on", (0,)),),
    "seats": (
        Turn(SponsorshipRow, "from_on", (0,)),
        Turn(SponsorshipRow, "to_on", (0,)),
        Turn(ContactRow, "departed_on", (0,)),
        Turn(ContactRow, "last_confirmed_on", (0,)),
    ),
    "invoices": (Turn(InvoiceRow, "due_on", (0, 1, 365)), Turn(InvoiceRow, "paid_on", (0,))),
    "ledger": (Turn(ArrMovementRow, "on", (0, 365)),),
    "subscriptions": (
        Turn(SubscriptionRow, "starts_on", (0,)),
        Turn(SubscriptionRow, "canceled_on", (0,)),
        Turn(SubscriptionRow, "ends_on", (1,)),
    ),
    "company_events": (Turn(CompanyEventRow, "on", (0, 180)),),
    "department": (Turn(SponsorshipRow, "from_on", (0,)), Turn(SponsorshipRow, "to_on", (0,))),
}


class NextTurns:
    """The next turns of some groups: a read a table, to be joined by `account_id`, and `until` a group's first."""

    def __init__(self, groups: Iterable[str], among: Among) -> None:
        wanted = {turn for group in groups for turn in TURNS[group]}
        self.reads: dict[str, Any] = {}
        for row in dict.fromkeys(turn.row for turn in sorted(wanted, key=lambda turn: turn.row.__tablename__)):
            mine = sorted((turn for turn in wanted if turn.row is row), key=lambda turn: turn.name)
            self.reads[row.__tablename__] = _read(row, mine, among)

    def of(self, group: str) -> ColumnElement[int]:
        """The first day after the one at hand on which the group may differ."""
        turns = [self.reads[turn.row.__tablename__].c[turn.name] for turn in TURNS[group]]
        known = [func.coalesce(turn, NEVER) for turn in turns]
        first = known[0] if len(known) == 1 else least(*known)
        return greatest(first, AS_OF_DAY + 1) if any(turn.of_instants for turn in TURNS[group]) else first


def _read(row: Any, turns: list[Turn], among: Among) -> Any:
    table = row.__table__
    columns = [func.min(_next(table.c[turn.column], turn.after)).label(turn.name) for turn in turns]
    read = select(table.c.account_id, *columns).where(*live_of(table, among)).group_by(table.c.account_id)
    return read.subquery(f"{table.name}_turns")


def _next(column: Any, after: tuple[int, ...]) -> Any:
    """The first of the days so long after that of the column which is still to come: of most rows none is.

    A day that the workspace counts differently by season may be told a day early.
    """
    return case(*((_to_come(column, later), _day(column) + later) for later in after))


def _to_come(column: Any, later: int) -> ColumnElement[bool]:
    if isinstance(column.type, Date):
        return column > AS_OF if later == 0 else column >= AS_OF if later == 1 else column >= first_day(later)
    return column >= (UNTIL if later == 0 else first_instant(later))


def _day(column: Any) -> Any:
    if isinstance(column.type, Date):
        return day_number(column)
    return divided(seconds(column) + LEAST_AHEAD, 86_400) + _EPOCH


class least(FunctionElement[int]):  # noqa: N801 - reads as SQL
    """The least of some whole numbers, none of them NULL."""

    type = BigInteger()
    inherit_cache = True
    name = "least"


@compiles(least, "postgresql")
def _least_postgresql(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return f"least({compiler.process(element.clauses, **kw)})"


@compiles(least, "sqlite")
def _least_sqlite(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return f"min({compiler.process(element.clauses, **kw)})"


class greatest(FunctionElement[int]):  # noqa: N801 - reads as SQL
    """The greatest of some whole numbers, none of them NULL."""

    type = BigInteger()
    inherit_cache = True
    name = "greatest"


@compiles(greatest, "postgresql")
def _greatest_postgresql(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return f"greatest({compiler.process(element.clauses, **kw)})"


@compiles(greatest, "sqlite")
def _greatest_sqlite(element: Any, compiler: Any, **kw: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return f"max({compiler.process(element.clauses, **kw)})"
