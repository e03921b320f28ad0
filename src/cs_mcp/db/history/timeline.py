"""What happened to one account, read from the tables that hold it and from the record of changes.

Every event has a day, a source and an id within it; a page goes on below such a place, so that rows which come or
change meanwhile neither repeat nor hide another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Date, String, Text, and_, bindparam, cast, func, or_, select

from cs_mcp.db.accounts.pages import COUNTED
from cs_mcp.db.base import Instant
from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.health.overrides import HealthOverrideRow
from cs_mcp.db.health.risks import RiskRow
from cs_mcp.db.history.changes import CHANGES, PAYLOADS
from cs_mcp.db.members import MemberRow
from cs_mcp.db.opportunities.opportunities import OpportunityRow
from cs_mcp.db.people.sponsors import ContactRow, SponsorshipRow
from cs_mcp.db.read_path import Row
from cs_mcp.db.revenue.subscriptions import ArrMovementRow, SubscriptionRow
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads
from cs_mcp.db.signals.signals import CompanyEventRow, SurveyResponseRow, TicketRow
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.db.work.tasks import TaskRow
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.identity import Principal

ACCOUNT_FIELDS: Final = ("stage", "owner_id", "segment", "tier", "renewal_on", "risk_reason", "name")
FIRST_DAY, LAST_DAY = date(1, 1, 1), date(9999, 12, 31)
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
_BELOW_ALL, _ABOVE_ALL = "", "~"  # as ids

_ACCOUNT: Final = bindparam("account", type_=String)
_MEMBER: Final = MemberRow.__table__


@dataclass(frozen=True, order=True, slots=True)
class Place:
    """Where an event stands: newest day first, and within a day by source and id, backwards."""

    on: date
    source: str
    id: str


@dataclass(frozen=True, slots=True)
class Event:
    place: Place
    row: Row


class Source(NamedTuple):
    """Where events come from; `changed` where that is the record of changes. `timed` have an instant, others a day."""

    table: str
    build: Callable[[Conditions], Any]
    changed: bool = False
    timed: bool = False

    def read(self) -> Scoped:
        return Scoped(self.table, self.build, removed_too=self.changed)

    def counted(self) -> Scoped:
        def build(scope: Conditions) -> Any:
            return select(func.count().label("total")).select_from(self.build(scope).subquery())

        return Scoped(self.table, build, removed_too=self.changed)


def _rows_of(source: str, row: type[Any], day: str, *conditions: Callable[[Any], Any]) -> Source:
    table: Any = row.__table__
    contact, member = ContactRow.__table__.alias("person"), _MEMBER.alias("author")
    timed = isinstance(table.c[day].type, Instant)

    def build(scope: Conditions) -> Any:
        at = table.c[day]
        if timed:
            below = bindparam(f"{source}_at", type_=Instant)
            window = (at >= bindparam("first_at", type_=Instant), at < bindparam("last_at", type_=Instant))
        else:
            below = bindparam(f"{source}_on", type_=Date)
            window = (at >= bindparam("first", type_=Date), at <= bindparam("last", type_=Date))
        found = select(*(column for column in table.c if column.key != "workspace")).where(
            *scope,
            table.c.account_id == _ACCOUNT,
            *window,
            or_(at < below, and_(at == below, table.c.id < bindparam(f"{source}_id"))),
            *(condition(table) for condition in conditions),
        )
        if "contact_id" in table.c:
            on = and_(contact.c.workspace == table.c.workspace, contact.c.id == table.c.contact_id)
            found = found.add_columns(contact.c.name.label("person_name")).outerjoin(contact, on)
        elif "author_id" in table.c:
            on = and_(member.c.workspace == table.c.workspace, member.c.id == table.c.author_id)
            found = found.add_columns(member.c.name.label("person_name")).outerjoin(member, on)
        return found.order_by(at.desc(), table.c.id.desc()).limit(bindparam("limit"))

    return Source(table.name, build, timed=timed)


def _changes_of(source: str, entity: str, kind: str, fields: tuple[str, ...] = ()) -> Source:
    task = TaskRow.__table__

    def build(scope: Conditions) -> Any:
        at = CHANGES.c.at
        found = (
            select(
                CHANGES.c.seq, CHANGES.c.at, CHANGES.c.change_id, CHANGES.c.entity_id, CHANGES.c.reason,
                _MEMBER.c.name.label("person_name"), PAYLOADS.c.before, PAYLOADS.c.after,
            )
            .join_from(
                CHANGES, PAYLOADS, and_(PAYLOADS.c.workspace == CHANGES.c.workspace, PAYLOADS.c.seq == CHANGES.c.seq)
            )
            .outerjoin(_MEMBER, and_(_MEMBER.c.workspace == CHANGES.c.workspace, _MEMBER.c.id == CHANGES.c.actor_id))
            .where(
                *scope,
                CHANGES.c.account_id == _ACCOUNT,
                CHANGES.c.entity == entity,
                CHANGES.c.kind == kind,
                at >= bindparam("first_at", type_=Instant),
                at < bindparam("last_at", type_=Instant),
                or_(
                    at < bindparam(f"{source}_at", type_=Instant),
                    and_(
                        at == bindparam(f"{source}_at", type_=Instant),
                        CHANGES.c.seq < bindparam(f"{source}_seq", type_=BigInteger),
                    ),
                ),
            )
        )  # fmt: skip
        if fields:
            named = cast(CHANGES.c.fields, Text)
            found = found.where(or_(*(named.like(f'%"{name}"%') for name in fields)))
        if entity == "task":
            live = and_(
                task.c.workspace == CHANGES.c.workspace, task.c.id == CHANGES.c.entity_id, task.c.removed_at.is_(None)
            )
            found = found.add_columns(task.c.title, task.c.due_on).join(task, live)
        return found.order_by(at.desc(), CHANGES.c.seq.desc()).limit(bindparam("limit"))

    return Source("change", build, changed=True, timed=True)


# The column of a source that is a table's own: its day, or its instant.
_DAYS: Final = {
    "arr": "on",
    "company_event": "on",
    "departure": "departed_on",
    "meeting": "held_on",
    "note": "written_on",
    "override_ended": "ended_on",
    "override_expired": "expires_on",
    "override_set": "from_on",
    "risk_closed": "closed_on",
    "risk_opened": "opened_on",
    "opportunity_begun": "opened_on",
    "seat_ended": "to_on",
    "seat_taken": "from_on",
    "subscription_canceled": "canceled_on",
    "subscription_ended": "ends_on",
    "subscription_started": "starts_on",
    "survey": "answered_at",
    "task_done": "done_on",
    "ticket_opened": "opened_at",
    "ticket_resolved": "resolved_at",
}
# In the order they stand within a day.
_SOURCES: Final = {
    "account_changed": _changes_of("account_changed", "account", "updated", ACCOUNT_FIELDS),
    "arr": _rows_of("arr", ArrMovementRow, "on"),
    "company_event": _rows_of("company_event", CompanyEventRow, "on"),
    "departure": _rows_of("departure", ContactRow, "departed_on"),
    "meeting": _rows_of("meeting", MeetingRow, "held_on"),
    "note": _rows_of("note", HealthNoteRow, "written_on"),
    "override_ended": _rows_of("override_ended", HealthOverrideRow, "ended_on"),
    "override_expired": _rows_of("override_expired", HealthOverrideRow, "expires_on", lambda t: t.c.ended_on.is_(None)),
    "override_set": _rows_of("override_set", HealthOverrideRow, "from_on"),
    "opportunity_begun": _rows_of("opportunity_begun", OpportunityRow, "opened_on"),
    "opportunity_moved": _changes_of("opportunity_moved", "opportunity", "updated", ("stage",)),
    "renewal_moved": _changes_of("renewal_moved", "renewal", "updated", ("stage",)),
    "risk_closed": _rows_of("risk_closed", RiskRow, "closed_on"),
    "risk_opened": _rows_of("risk_opened", RiskRow, "opened_on"),
    "seat_ended": _rows_of("seat_ended", SponsorshipRow, "to_on"),
    "seat_taken": _rows_of("seat_taken", SponsorshipRow, "from_on"),
    "subscription_canceled": _rows_of("subscription_canceled", SubscriptionRow, "canceled_on"),
    "subscription_ended": _rows_of(
        "subscription_ended", SubscriptionRow, "ends_on", lambda t: t.c.canceled_on.is_(None)
    ),
    "subscription_started": _rows_of("subscription_started", SubscriptionRow, "starts_on"),
    "survey": _rows_of("survey", SurveyResponseRow, "answered_at"),
    "task_created": _changes_of("task_created", "task", "created"),
    "task_done": _rows_of("task_done", TaskRow, "done_on", lambda t: t.c.status == "done"),
    "ticket_opened": _rows_of("ticket_opened", TicketRow, "opened_at"),
    "ticket_resolved": _rows_of("ticket_resolved", TicketRow, "resolved_at"),
}
SOURCES: Final = tuple(_SOURCES)
TIMED: Final = frozenset(name for name, source in _SOURCES.items() if source.timed)
_CHANGED: Final = frozenset(name for name, source in _SOURCES.items() if source.changed)
_READS: Final = {name: source.read() for name, source in _SOURCES.items()}
_COUNTS: Final = {name: source.counted() for name, source in _SOURCES.items()}


class TimelineReads(ScopedReads):
    async def page(
        self,
        principal: Principal,
        account: str,
        calendar: Calendar,
        sources: Collection[str],
        *,
        first: date,
        last: date,
        limit: int,
        after: Place | None,
    ) -> tuple[list[Event], int | None]:
        """Events below a place, newest first, one more than `limit` where there are more; None past 1 000 in all."""
        asked = [source for source in SOURCES if source in sources]
        given: dict[str, Any] = {
            "account": account,
            "first": first,
            "last": last,
            "first_at": _FIRST if first == FIRST_DAY else calendar.start_of(first),
            "last_at": _LAST if last == LAST_DAY else calendar.end_of(last),
        }
        page = given | {"limit": limit + 1}
        whole = given | {"limit": COUNTED + 1}
        for source in asked:
            page |= _below(source, after, calendar)
            whole |= _below(source, None, calendar)
        found = await self.rows(principal, [_READS[source] for source in asked], **page)
        counted = await self.rows(principal, [_COUNTS[source] for source in asked], **whole)
        events = [
            Event(_place(source, row, calendar), row) for source, rows in zip(asked, found, strict=True) for row in rows
        ]
        events.sort(key=lambda event: event.place, reverse=True)
        total = sum(rows[0]["total"] for rows in counted)
        return events[: limit + 1], total if total <= COUNTED else None


def _place(source: str, row: Row, calendar: Calendar) -> Place:
    if source not in TIMED:
        return Place(row[_DAYS[source]], source, row["id"])
    if source in _CHANGED:
        at, tie = row["at"], f"{row['seq']:016d}"
    else:
        at, tie = row[_DAYS[source]], row["id"]
    return Place(calendar.day_of(at), source, f"{at.astimezone(UTC):%Y%m%d%H%M%S%f}#{tie}")


def _below(source: str, after: Place | None, calendar: Calendar) -> dict[str, Any]:
    """Parameters that let a source go on below a place: its whole day still, from an id on, or the day before."""
    if source in TIMED:
        at, tie = _LAST, ""
        if after is not None and source == after.source:
            stamp, _, tie = after.id.partition("#")
            at = datetime.strptime(stamp, "%Y%m%d%H%M%S%f").replace(tzinfo=UTC)
        elif after is not None and after.on < LAST_DAY:
            at = calendar.end_of(after.on) if source < after.source else calendar.start_of(after.on)
        within = {f"{source}_seq": int(tie or 0)} if source in _CHANGED else {f"{source}_id": tie}
        return {f"{source}_at": at, **within}
    if after is None:
        return {f"{source}_on": LAST_DAY, f"{source}_id": _ABOVE_ALL}
    below = after.id if source == after.source else (_ABOVE_ALL if source < after.source else _BELOW_ALL)
    return {f"{source}_on": after.on, f"{source}_id": below}
