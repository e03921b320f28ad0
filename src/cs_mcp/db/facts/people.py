"""Who of the customer stands behind us: whom we met, who sits in which seat, who left. See facts/groups.py."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Select, and_, case, func, literal, or_, select, true

from cs_mcp.db.days import day_number
from cs_mcp.db.facts.terms import (
    AS_OF,
    WORKSPACE,
    Among,
    attending_contact,
    count_of,
    each_of,
    fenced,
    first_day,
    flag,
    live_of,
    one_of,
    table_of,
    too,
)
from cs_mcp.db.people.sponsors import ContactRow, SponsorshipRow
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.domain.people.sponsors import ContactStatus, SponsorRole
from cs_mcp.domain.people.stakeholders import HEIGHT_OF_LEVEL, Height

AnySelect = Select[*tuple[Any, ...]]
_LEVELS_OF_HEIGHT: Final = tuple(
    tuple(level.value for level, of in HEIGHT_OF_LEVEL.items() if of is height) for height in Height
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


def attendees_of(meeting: Any) -> tuple[Any, Any]:
    who = each_of(meeting.c.attendees).table_valued("value", joins_implicitly=True)
    return who, attending_contact(who.c.value)


def attendance(among: Among) -> AnySelect:
    """Whom of the customer we met in the last half year."""
    t, contact, seat = table_of(MeetingRow), table_of(ContactRow), table_of(SponsorshipRow)
    who, contact_id = attendees_of(t)
    # Fenced, or the contact would be taken out of the JSON again wherever it is named.
    there = fenced(
        select(t.c.account_id, contact_id.label("contact_id"), t.c.held_on)
        .select_from(t.join(who, true()))
        .where(*live_of(t, among), t.c.status == "held", t.c.held_on.between(first_day(180), AS_OF)),
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
        func.coalesce(func.max(flag(and_(engaged, one_of(contact.c.level, levels)))), 0) for levels in _LEVELS_OF_HEIGHT
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
    t = table_of(ContactRow)
    return (
        select(t.c.account_id, count_of(_is_there(t)).label("contacts"))
        .where(*live_of(t, among))
        .group_by(t.c.account_id)
    )


def seats(among: Among) -> AnySelect:
    """Who sponsors us: `confirmed_day` of who is in the seat, `departed_day` of the last who left while in it."""
    t, contact = table_of(SponsorshipRow), table_of(ContactRow)
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
        .where(*live_of(t, among), t.c.from_on <= AS_OF),
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
    t = table_of(MeetingRow).alias()
    who, contact_id = attendees_of(t)
    return (
        select(literal(1))
        .select_from(t.join(who, true()))
        .where(t.c.workspace == WORKSPACE, t.c.account_id == account, t.c.removed_at.is_(None), t.c.status == "held")
        .where(t.c.held_on <= AS_OF, or_(*(day_number(t.c.held_on) >= day for day in days)), contact_id == contact)
        .exists()
    )
