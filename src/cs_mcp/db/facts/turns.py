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
from cs_mcp.db.facts.terms import AS_OF_DAY, FEWEST_AHEAD, MOST_AHEAD, Among, divided, fenced, live_of, seconds
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
        return known[0] if len(known) == 1 else least(*known)


def _read(row: Any, turns: list[Turn], among: Among) -> Any:
    table = row.__table__
    columns = {turn.column: _days(table.c[turn.column]) for turn in turns}
    days = [day.label(f"{column}_{n}") for column, read in columns.items() for n, day in enumerate(read)]
    # Fenced, or each day would be worked out wherever it is named.
    dated = fenced(select(table.c.account_id, *days).where(*live_of(table, among)), f"{table.name}_days")

    def first(turn: Turn) -> Any:
        named = [dated.c[f"{turn.column}_{n}"] for n in range(len(columns[turn.column]))]
        return func.min(_next(named, turn.after)).label(turn.name)

    return select(dated.c.account_id, *map(first, turns)).group_by(dated.c.account_id).subquery(f"{table.name}_turns")


def _days(column: Any) -> list[Any]:
    """The days that a date or an instant may lie on, as the workspace counts days."""
    if isinstance(column.type, Date):
        return [day_number(column)]
    # Which it is depends on the season's clocks; mostly it is one.
    return [divided(seconds(column) + ahead, 86_400) + _EPOCH for ahead in (FEWEST_AHEAD, MOST_AHEAD)]


def _next(days: list[Any], after: tuple[int, ...]) -> Any:
    """The first of the days so long after these that is still to come."""
    return case(*((day + later > AS_OF_DAY, day + later) for later in after for day in days))


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
