"""How all would stand after an undo: nothing named that is gone, and nobody beside another where one has a place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

from cs_mcp.db.base import Remembered
from cs_mcp.db.restore import set_fields
from cs_mcp.db.standing import Naming, named_by, naming, removed
from cs_mcp.db.unit_of_work import Entry, UnitOfWork
from cs_mcp.domain.changes import Fields
from cs_mcp.domain.contract import shown

Key = tuple[str, str]  # entity and id
Place = tuple[str, str, str]  # what only one live record may hold: entity, account, and the role or purpose


@dataclass(slots=True)
class Taken:
    """A row with its fields taken back, not flushed yet; `was` holds those that differ, as the store has them."""

    row: Remembered
    was: Fields

    @classmethod
    def back(cls, row: Remembered, fields: Fields) -> Taken:
        was = {name: getattr(row, name) for name in (*fields, *type(row).companions(fields))}
        set_fields(row, fields)
        return cls(row, {name: value for name, value in was.items() if getattr(row, name) != value})

    @property
    def stays(self) -> bool:
        return self.row.removed_at is None

    @property
    def goes(self) -> bool:
        return not self.stays and "removed_at" in self.was

    def put_back(self) -> None:
        for name, value in self.was.items():
            setattr(self.row, name, value)

    def before(self, name: str) -> Any:
        return self.was[name] if name in self.was else getattr(self.row, name)

    def after(self, name: str) -> Any:
        return getattr(self.row, name)


async def in_the_way(work: UnitOfWork, taken: Mapping[Key, Taken]) -> dict[Key, str]:
    """Records that must stay as they are, and why, seen from how all would stand afterwards.

    Called again with those left out until nothing is in the way: what one record keeps may keep another.
    """
    why = await _still_named(work, taken)
    why = await _naming_the_removed(work, taken) | why
    return await _beside_another(work, taken) | why


def told_of(entry: Entry, what: str) -> str:
    """Who did what, when, and the write that it was: what a caller may undo first."""
    when = f"{entry.at:%Y-%m-%d %H:%M} UTC"
    return f"{shown(entry.actor_name or entry.actor_id)} {what} on {when} ({entry.tool}, {entry.change_id})"


# -- names -----------------------------------------------------------------------------------------------------


async def _still_named(work: UnitOfWork, taken: Mapping[Key, Taken]) -> dict[Key, str]:
    """What would go although a record that stays names it."""
    going: dict[str, list[str]] = defaultdict(list)
    touched: dict[str, list[str]] = defaultdict(list)
    for (entity, record), one in taken.items():
        touched[entity].append(record)
        if one.goes:
            going[entity].append(record)
    found = [name for entity, records in going.items() for name in await naming(work, entity, records, but=touched)]
    gone = {(entity, record) for entity, records in going.items() for record in records}
    for (by, by_id), one in taken.items():
        if one.stays:
            found += [name for name in named_by(by, by_id, one.after) if (name.entity, name.record) in gone]
    return await _told_by(work, found)


async def _told_by(work: UnitOfWork, found: Iterable[Naming]) -> dict[Key, str]:
    first = {(name.entity, name.record): name for name in reversed(list(found))}
    seen = await work.rows_of({(name.by, name.by_id) for name in first.values()})
    entries = await work.entries(records=sorted({record for _, record in seen}))
    why: dict[Key, str] = {}
    for key, name in first.items():
        kind = name.by.replace("_", " ")
        if (name.by, name.by_id) not in seen:
            why[key] = f"a {kind} you do not see refers to it"
            continue
        since = [entry for entry in entries if entry.entity_id == name.by_id and name.column in entry.fields]
        why[key] = f"{kind} {name.by_id} refers to it"
        if since:
            why[key] += f": {told_of(since[0], f'{since[0].kind} the {kind}')}"
    return why


async def _naming_the_removed(work: UnitOfWork, taken: Mapping[Key, Taken]) -> dict[Key, str]:
    """What would come back, or lead back, to a record that is removed."""
    wanted: dict[str, dict[str, list[Key]]] = defaultdict(lambda: defaultdict(list))
    for key, one in taken.items():
        for name in named_by(*key, one.after) if one.stays else ():
            if not one.was.keys().isdisjoint((name.column, "removed_at")):
                wanted[name.entity][name.record].append(key)
    why: dict[Key, str] = {}
    for entity, by_target in wanted.items():
        here = {record: one for record in by_target if (one := taken.get((entity, record))) is not None}
        gone = {record for record, one in here.items() if not one.stays}
        gone |= await removed(work, entity, sorted(by_target.keys() - here.keys()))
        for record in sorted(gone):
            for key in by_target[record]:
                why.setdefault(key, f"its {entity} {record} is removed")
    return why


# -- places ----------------------------------------------------------------------------------------------------


def _place(entity: str, value: Callable[[str], Any], today: date) -> Place | None:
    """The place that a record holds, from the values of its columns."""
    if entity not in ("sponsorship", "task") or value("removed_at") is not None:
        return None
    if entity == "task":
        taken = value("status") == "open" and value("purpose") is not None
        return (entity, value("account_id"), value("purpose")) if taken else None
    taken = value("to_on") is None or value("to_on") > today
    return (entity, value("account_id"), value("role")) if taken else None


async def _beside_another(work: UnitOfWork, taken: Mapping[Key, Taken]) -> dict[Key, str]:
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
