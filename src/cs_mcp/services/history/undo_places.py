"""Places after an undo: a seat or an open purpose has one holder, and a contact the roles of the seats they hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import partial
from typing import Any, Final

from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.contract import shown
from cs_mcp.domain.people.sponsors import SponsorRole
from cs_mcp.services.history.undo_taken import Key, Taken, Write

Place = tuple[str, str, str]  # what only one live record may hold: entity, account, and the role or purpose
Value = Callable[[str], Any]  # of a column, by its name
_SEATS: Final = frozenset(role.value for role in SponsorRole)


def _place(entity: str, value: Value, today: date) -> Place | None:
    """The place that a record holds, from the values of its columns."""
    if entity not in ("sponsorship", "task") or value("removed_at") is not None:
        return None
    if entity == "task":
        taken = value("status") == "open" and value("purpose") is not None
        return (entity, value("account_id"), value("purpose")) if taken else None
    taken = value("to_on") is None or value("to_on") > today
    return (entity, value("account_id"), value("role")) if taken else None


async def beside_another(work: UnitOfWork, taken: Mapping[Key, Taken]) -> dict[Key, str]:
    """Who would come to a place that another has by now; the contact of a seat keeps the roles it has."""
    holders: dict[Place, list[Any]] = defaultdict(list)
    coming: dict[Place, list[Any]] = defaultdict(list)
    for (entity, _), one in taken.items():
        place = _place(entity, one.after, work.today)
        if place is not None:
            stood = place == _place(entity, one.before, work.today)
            (holders if stood else coming)[place].append(one.row)
    why: dict[Key, str] = {}
    for place, rows in coming.items():
        entity, account, what = place
        stored = await (
            work.sponsorships.of_account(account) if entity == "sponsorship" else work.tasks.with_purpose(account)
        )
        here = [row for row in stored if (entity, row.id) not in taken]
        holders[place] += [row for row in here if _place(entity, partial(getattr, row), work.today) == place]
        names = {contact.id: contact.name for contact in await work.contacts.of_account(account)}
        for row in rows:
            other = next((other for other in (*holders[place], *rows) if other is not row), None)
            if other is None:
                continue
            if entity == "task":
                why[entity, row.id] = f"task {other.id} is open for {shown(what)}"
                continue
            who = shown(names.get(other.contact_id, other.contact_id))
            told = f"{who} ({other.contact_id}) is {what.replace('_', ' ')} since {other.from_on}"
            why[entity, row.id] = told
            person = taken.get(("contact", row.contact_id))
            if person is not None and "roles" in person.was:
                why["contact", row.contact_id] = told
    return why


async def roles_without_seats(work: UnitOfWork, taken: Mapping[Key, Taken], write: Write) -> dict[Key, str]:
    """What would part the roles of a contact from the seats they hold, where the two agree now.

    A write that goes back with all its contacts and seats leaves them as it found them, whatever that was.
    """
    if not any(entity in ("contact", "sponsorship") for entity, _ in write.records - taken.keys()):
        return {}
    touched: dict[str, list[Key]] = defaultdict(list)
    seats: dict[str, list[Taken]] = defaultdict(list)
    for key, one in taken.items():
        if key[0] == "contact" and not one.was.keys().isdisjoint(("roles", "removed_at")):
            touched[key[1]].append(key)
        elif key[0] == "sponsorship":
            sat, sits = _sitter(one.before, work.today), _sitter(one.after, work.today)
            for contact in sat | sits:
                seats[contact].append(one)
            for contact in sat ^ sits:
                touched[contact].append(key)
    why: dict[Key, str] = {}
    for key, found in (await work.rows_of(("contact", contact) for contact in touched)).items():
        contact, person = key[1], taken.get(key) or Taken(found, {})
        if not person.stays:
            continue
        stored = await work.sponsorships.of_account(person.after("account_id"))
        others = [partial(getattr, seat) for seat in stored if ("sponsorship", seat.id) not in taken]
        now = _parted(person.before, [*others, *(one.before for one in seats[contact])], work.today)
        then = _parted(person.after, [*others, *(one.after for one in seats[contact])], work.today)
        if then and not now:
            role = min(then).replace("_", " ")
            told = f"{shown(person.after('name'))} ({contact}) would be {role} by role or seat alone"
            why |= dict.fromkeys(touched[contact], told)
    return why


def _sitter(seat: Value, today: date) -> set[str]:
    return {seat("contact_id")} if _place("sponsorship", seat, today) else set()


def _parted(contact: Value, seats: Iterable[Value], today: date) -> set[str]:
    """The roles that a contact has without the seat, or the other way round; none of one who is removed."""
    held = {seat("role") for seat in seats if contact("id") in _sitter(seat, today)}
    return held ^ _SEATS.intersection(contact("roles")) if contact("removed_at") is None else set()
