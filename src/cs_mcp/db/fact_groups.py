"""What each feed tells of accounts by a day, in one grouped read a feed: no row for an account it tells nothing of.

Days are numbers here: what is kept of them (kept_facts.py) is compared without reading a date again. Joined tables are
narrowed to the accounts at hand too: then each side of a join is read in one range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Select, and_, case, func, literal, null, or_, select, true

from cs_mcp.db.accounts import AccountRow
from cs_mcp.db.days import day_number
from cs_mcp.db.fact_terms import (
    AS_OF,
    UNTIL,
    WORKSPACE,
    Among,
    attended,
    attending_contact,
    count_of,
    each_of,
    fenced,
    first_day,
    first_instant,
    flag,
    number,
    seconds,
    too,
    total_of,
    whole,
)
from cs_mcp.db.health import HealthNoteRow
from cs_mcp.db.meetings import MeetingRow
from cs_mcp.db.signals import CompanyEventRow, InvoiceRow, SurveyResponseRow, TicketRow
from cs_mcp.db.sponsors import ContactRow, SponsorshipRow
from cs_mcp.db.subscriptions import ArrMovementRow, SubscriptionRow
from cs_mcp.domain.meetings import MeetingKind
from cs_mcp.domain.signals import CompanyEventKind, InvoiceStatus, TicketStatus
from cs_mcp.domain.sponsors import ContactStatus, SponsorRole
from cs_mcp.domain.stakeholders import HEIGHT_OF_LEVEL, Height
from cs_mcp.domain.subscriptions import MovementKind

AnySelect = Select[*tuple[Any, ...]]
REVIEWS: Final = (MeetingKind.qbr.value, MeetingKind.ebr.value, MeetingKind.value_review.value)
ATTENDED: Final = (*REVIEWS, MeetingKind.training.value)
BAD_EVENTS: Final = tuple(
    kind.value for kind in (CompanyEventKind.layoff, CompanyEventKind.acquisition, CompanyEventKind.leadership_change)
)
_LEVELS_OF_HEIGHT: Final = tuple(
    tuple(level.value for level, of in HEIGHT_OF_LEVEL.items() if of is height) for height in Height
)
# How much an answer counts, by the days since it was given.
_RECENCY: Final = ((30, 4), (90, 3), (180, 2))


def _table(row: Any) -> Any:
    return row.__table__


def _mine(table: Any, among: Among) -> tuple[Any, ...]:
    return table.c.workspace == WORKSPACE, among.of(table.c.account_id), table.c.removed_at.is_(None)


def _one_of(column: Any, values: tuple[str, ...]) -> Any:
    # Written out: a list as one parameter would be a table to search for each row.
    return or_(*(column == value for value in values))


def tickets(among: Among) -> AnySelect:
    t = _table(TicketRow)
    solved = t.c.status == TicketStatus.resolved.value
    is_open = or_(and_(t.c.resolved_at.is_(None), ~solved), t.c.resolved_at >= UNTIL)
    lately = t.c.opened_at >= first_instant(90)
    resolved = and_(t.c.resolved_at >= first_instant(90), t.c.resolved_at < UNTIL)
    return (
        select(
            t.c.account_id,
            count_of(and_(is_open, t.c.severity == 1)).label("open_sev1"),
            count_of(and_(is_open, t.c.severity == 2)).label("open_sev2"),
            count_of(is_open).label("open_tickets"),
            count_of(t.c.opened_at >= first_instant(30)).label("tickets_30"),
            count_of(and_(lately, t.c.opened_at < first_instant(30))).label("tickets_prev_60"),
            count_of(resolved).label("resolved_90"),
            total_of(case((resolved, seconds(t.c.resolved_at) - seconds(t.c.opened_at)))).label("resolution_seconds"),
            count_of(and_(lately, t.c.sla_breached.is_not(None))).label("sla_told_90"),
            count_of(and_(lately, t.c.sla_breached)).label("sla_breaches_90"),
            count_of(and_(lately, t.c.escalated)).label("escalations_90"),
        )
        .where(*_mine(t, among), t.c.opened_at < UNTIL)
        .group_by(t.c.account_id)
    )


def surveys(among: Among) -> AnySelect:
    t = _table(SurveyResponseRow)
    weight = case(*((t.c.answered_at >= first_instant(days), by) for days, by in _RECENCY), else_=1)
    # In hundredths of the scale and whole: a sum of doubles would depend on the order it is taken in.
    hundredths = whole(number(t.c.score) * 10000 / number(t.c.scale_max) + 0.5)
    return (
        select(
            t.c.account_id,
            func.count().label("survey_answers"),
            total_of(weight * hundredths).label("weighted"),
            total_of(weight).label("weights"),
            seconds(func.max(t.c.answered_at)).label("newest_second"),
        )
        .where(*_mine(t, among), t.c.answered_at >= first_instant(365), t.c.answered_at < UNTIL)
        .group_by(t.c.account_id)
    )


def newest_nps(among: Among) -> AnySelect:
    t, later = _table(SurveyResponseRow), _table(SurveyResponseRow).alias("later")
    newer = and_(
        later.c.workspace == t.c.workspace,
        later.c.account_id == t.c.account_id,
        too(among, later.c.account_id),
        later.c.removed_at.is_(None),
        later.c.kind == "nps",
        later.c.answered_at < UNTIL,
        or_(later.c.answered_at > t.c.answered_at, and_(later.c.answered_at == t.c.answered_at, later.c.id > t.c.id)),
    )
    score = number(t.c.score) * 10 / number(t.c.scale_max)
    # One row an account as it is; grouped, SQLite reads them once rather than once for each account beside them.
    return (
        select(t.c.account_id, func.max(score).label("nps_latest"))
        .where(*_mine(t, among), t.c.kind == "nps", t.c.answered_at < UNTIL, ~select(later.c.id).where(newer).exists())
        .group_by(t.c.account_id)
    )


def notes(among: Among) -> AnySelect:
    note, newer = _table(HealthNoteRow), _table(HealthNoteRow).alias("newer")
    corrected = (
        select(newer.c.id)
        .where(
            newer.c.workspace == note.c.workspace,
            newer.c.account_id == note.c.account_id,
            too(among, newer.c.account_id),
            newer.c.corrects_id == note.c.id,
            newer.c.written_on <= AS_OF,
            newer.c.removed_at.is_(None),
        )
        .exists()
    )
    return (
        select(note.c.account_id, func.count().label("sentiments"), total_of(_balance(note)).label("sentiment_sum"))
        .where(*_mine(note, among), note.c.written_on.between(first_day(90), AS_OF), note.c.sentiment.is_not(None))
        .where(~corrected)
        .group_by(note.c.account_id)
    )


def _balance(told: Any) -> Any:
    return case((told.c.sentiment == "positive", 1), (told.c.sentiment == "negative", -1), else_=0)


def meetings(among: Among) -> AnySelect:
    t = _table(MeetingRow)
    lately = t.c.held_on >= first_day(90)
    return (
        select(
            t.c.account_id,
            day_number(func.max(t.c.held_on)).label("touched_day"),
            day_number(func.max(case((_one_of(t.c.kind, REVIEWS), t.c.held_on)))).label("reviewed_day"),
            count_of(and_(t.c.held_on >= first_day(365), _one_of(t.c.kind, ATTENDED), attended(t.c.attendees))).label(
                "attended_365"
            ),
            count_of(and_(lately, t.c.sentiment.is_not(None))).label("sentiments"),
            total_of(case((lately, _balance(t)), else_=0)).label("sentiment_sum"),
        )
        .where(*_mine(t, among), t.c.status == "held", t.c.held_on <= AS_OF)
        .group_by(t.c.account_id)
    )


def _in_seat(seat: Any, contact: Any, role: SponsorRole) -> Any:
    """Whether a seat is held on the day, by somebody who has not left."""
    return and_(
        seat.c.role == role.value,
        seat.c.from_on <= AS_OF,
        or_(seat.c.to_on.is_(None), seat.c.to_on > AS_OF),
        _is_there(contact),
    )


def _is_there(contact: Any) -> Any:
    left = contact.c.status == ContactStatus.departed.value
    return or_(contact.c.departed_on > AS_OF, and_(contact.c.departed_on.is_(None), ~left))


def _attendees(meeting: Any) -> tuple[Any, Any]:
    who = each_of(meeting.c.attendees).table_valued("value", joins_implicitly=True)
    return who, attending_contact(who.c.value)


def attendance(among: Among) -> AnySelect:
    """Whom of the customer we met in the last half year."""
    t, contact, seat = _table(MeetingRow), _table(ContactRow), _table(SponsorshipRow)
    who, contact_id = _attendees(t)
    # Fenced, or the contact would be taken out of the JSON again wherever it is named.
    there = fenced(
        select(t.c.account_id, contact_id.label("contact_id"), t.c.held_on)
        .select_from(t.join(who, true()))
        .where(*_mine(t, among), t.c.status == "held", t.c.held_on.between(first_day(180), AS_OF)),
        "there",
    )
    met = (
        select(there.c.account_id, there.c.contact_id, func.max(there.c.held_on).label("met_on"))
        .where(there.c.contact_id.is_not(None))
        .group_by(there.c.account_id, there.c.contact_id)
        .subquery("met")
    )
    # Outer joins keep SQLite to this order: who was there, and only then the people by their key.
    source = met.outerjoin(
        contact,
        and_(
            contact.c.workspace == WORKSPACE,
            contact.c.id == met.c.contact_id,
            contact.c.account_id == met.c.account_id,
            too(among, contact.c.account_id),
        ),
    ).outerjoin(
        seat,
        and_(
            seat.c.workspace == WORKSPACE,
            seat.c.account_id == met.c.account_id,
            too(among, seat.c.account_id),
            seat.c.contact_id == contact.c.id,
            seat.c.removed_at.is_(None),
            _in_seat(seat, contact, SponsorRole.executive_sponsor),
        ),
    )
    engaged = and_(met.c.met_on >= first_day(90), _is_there(contact), contact.c.status != ContactStatus.on_leave.value)
    heights = [
        func.coalesce(func.max(flag(and_(engaged, _one_of(contact.c.level, levels)))), 0)
        for levels in _LEVELS_OF_HEIGHT
    ]
    return (
        select(
            met.c.account_id,
            count_of(engaged).label("engaged_contacts"),
            (heights[0] + heights[1] + heights[2]).label("engaged_heights"),
            func.count(case((engaged, contact.c.department_key)).distinct()).label("engaged_functions"),
            day_number(func.max(case((seat.c.id.is_not(None), met.c.met_on)))).label("sponsor_met_day"),
        )
        .select_from(source)
        .group_by(met.c.account_id)
    )


def contacts(among: Among) -> AnySelect:
    t = _table(ContactRow)
    return (
        select(t.c.account_id, count_of(_is_there(t)).label("contacts"))
        .where(*_mine(t, among))
        .group_by(t.c.account_id)
    )


def seats(among: Among) -> AnySelect:
    """Who sponsors us: `confirmed_day` of who is in the seat, `departed_day` of the last who left while in it."""
    t, contact = _table(SponsorshipRow), _table(ContactRow)
    source = t.outerjoin(
        contact,
        and_(
            contact.c.workspace == t.c.workspace,
            contact.c.id == t.c.contact_id,
            contact.c.account_id == t.c.account_id,
            too(among, contact.c.account_id),
        ),
    )
    confirmed = case(
        (and_(contact.c.last_confirmed_on <= AS_OF, contact.c.last_confirmed_on > t.c.from_on),
         contact.c.last_confirmed_on),
        else_=t.c.from_on,
    )  # fmt: skip
    left = and_(
        t.c.role == SponsorRole.executive_sponsor.value,
        contact.c.departed_on.between(t.c.from_on, AS_OF),
        or_(t.c.to_on.is_(None), t.c.to_on >= contact.c.departed_on),
    )
    one = fenced(
        select(
            t.c.account_id,
            t.c.contact_id,
            t.c.from_on,
            flag(_in_seat(t, contact, SponsorRole.executive_sponsor)).label("sponsors"),
            flag(_in_seat(t, contact, SponsorRole.champion)).label("champions"),
            confirmed.label("confirmed_on"),
            case((left, contact.c.departed_on)).label("departed_on"),
        )
        .select_from(source)
        .where(*_mine(t, among), t.c.from_on <= AS_OF),
        "one_seat",
    )
    sponsors = one.c.sponsors == 1
    return select(
        one.c.account_id,
        func.max(one.c.sponsors).label("sponsors"),
        func.max(one.c.champions).label("champions"),
        day_number(func.max(case((sponsors, one.c.confirmed_on)))).label("confirmed_day"),
        func.max(case((sponsors, one.c.contact_id))).label("sponsor_id"),
        day_number(func.max(case((sponsors, one.c.from_on)))).label("seated_day"),
        day_number(func.max(one.c.departed_on)).label("departed_day"),
    ).group_by(one.c.account_id)


def met_since(account: Any, contact: Any, *days: Any) -> Any:
    """Whether a contact attended anything held on or after one of these days."""
    t = _table(MeetingRow).alias()
    who, contact_id = _attendees(t)
    return (
        select(literal(1))
        .select_from(t.join(who, true()))
        .where(t.c.workspace == WORKSPACE, t.c.account_id == account, t.c.removed_at.is_(None), t.c.status == "held")
        .where(t.c.held_on <= AS_OF, or_(*(day_number(t.c.held_on) >= day for day in days)), contact_id == contact)
        .exists()
    )


def invoices(among: Among) -> AnySelect:
    t = _table(InvoiceRow)
    paid = t.c.status == InvoiceStatus.paid.value
    unpaid = or_(t.c.paid_on > AS_OF, and_(t.c.paid_on.is_(None), ~paid))
    due = and_(t.c.due_on < AS_OF, unpaid)
    late = or_(due, t.c.paid_on > t.c.due_on)
    return (
        select(
            t.c.account_id,
            day_number(func.min(case((due, t.c.due_on)))).label("oldest_due_day"),
            count_of(t.c.due_on >= first_day(365)).label("invoices_365"),
            count_of(and_(t.c.due_on >= first_day(365), late)).label("late_365"),
        )
        .where(*_mine(t, among), t.c.due_on <= AS_OF)
        .where(t.c.status != InvoiceStatus.void.value, t.c.status != InvoiceStatus.written_off.value)
        .group_by(t.c.account_id)
    )


def ledger(among: Among) -> AnySelect:
    t, account = _table(ArrMovementRow), _table(AccountRow).alias("holder")
    given_up = and_(t.c.kind == MovementKind.contraction.value, t.c.on >= first_day(365))
    movements = and_(
        t.c.workspace == account.c.workspace,
        t.c.account_id == account.c.id,
        too(among, t.c.account_id),
        t.c.removed_at.is_(None),
        t.c.on <= AS_OF,
        t.c.currency == account.c.currency,
    )
    # From the account outwards, so that its currency is looked up once.
    return (
        select(
            account.c.id.label("account_id"),
            total_of(t.c.amount_minor).label("arr_minor"),
            total_of(case((given_up, -t.c.amount_minor), (t.c.id.is_not(None), 0))).label("contracted_365_minor"),
        )
        .select_from(account.outerjoin(t, movements))
        .where(account.c.workspace == WORKSPACE, among.of(account.c.id))
        .group_by(account.c.id)
    )


def subscriptions(among: Among) -> AnySelect:
    """The subscriptions that run on the day."""
    t = _table(SubscriptionRow)
    return (
        select(
            t.c.account_id,
            total_of(t.c.seats).label("seats_licensed"),
            func.max(t.c.term_months).label("term_months"),
            func.min(case((t.c.auto_renew.is_(None), null()), (t.c.auto_renew, 1), else_=0)).label("auto_renews"),
            day_number(func.min(t.c.ends_on)).label("ends_day"),
        )
        .where(*_mine(t, among), t.c.starts_on <= AS_OF, ~t.c.trial)
        .where(or_(t.c.canceled_on.is_(None), t.c.canceled_on > AS_OF))
        .where(or_(t.c.ends_on.is_(None), t.c.ends_on >= AS_OF))
        .group_by(t.c.account_id)
    )


def company_events(among: Among) -> AnySelect:
    t = _table(CompanyEventRow)
    lately = t.c.on >= first_day(180)
    return (
        select(
            t.c.account_id,
            count_of(lately).label("company_events_180"),
            count_of(and_(lately, _one_of(t.c.kind, BAD_EVENTS))).label("bad_events_180"),
        )
        .where(*_mine(t, among), t.c.on <= AS_OF)
        .group_by(t.c.account_id)
    )


GROUPS: Final[Mapping[str, Callable[[Among], AnySelect]]] = {
    group.__name__: group
    for group in (
        tickets,
        surveys,
        newest_nps,
        notes,
        meetings,
        attendance,
        contacts,
        seats,
        invoices,
        ledger,
        subscriptions,
        company_events,
    )
}
