"""How all would stand after an undo: nothing names what is gone, or what went elsewhere; places are `undo_places`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cs_mcp.db.history.standing import Naming, named_by, naming, removed
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.services.history.undo_places import beside_another, roles_without_seats
from cs_mcp.services.history.undo_taken import Key, Taken, Write, told_of


async def in_the_way(work: UnitOfWork, taken: Mapping[Key, Taken], write: Write) -> dict[Key, str]:
    """Records that must stay as they are, and why, seen from how all would stand afterwards.

    Called again with those left out until nothing is in the way: what one record keeps may keep another.
    """
    why = await _still_named(work, taken, write)
    why = await _naming_the_removed(work, taken) | why
    why = await _parted_by_account(work, taken, write) | why
    why = await roles_without_seats(work, taken, write) | why
    return await beside_another(work, taken) | why


async def _still_named(work: UnitOfWork, taken: Mapping[Key, Taken], write: Write) -> dict[Key, str]:
    """What would go although a record that stays names it."""
    touched, going = _ids(taken), _ids(key for key, one in taken.items() if one.goes)
    found = [name for entity, records in going.items() for name in await naming(work, entity, records, but=touched)]
    gone = {(entity, record) for entity, records in going.items() for record in records}
    for (by, by_id), one in taken.items():
        if one.stays:
            found += [name for name in named_by(by, by_id, one.after) if (name.entity, name.record) in gone]
    return await _told_by(work, found, write)


async def _told_by(work: UnitOfWork, found: Iterable[Naming], write: Write) -> dict[Key, str]:
    first = {(name.entity, name.record): name for name in reversed(list(found))}
    seen = await work.rows_of({(name.by, name.by_id) for name in first.values()})
    entries = await work.entries(records=sorted({record for _, record in seen}))
    why: dict[Key, str] = {}
    for key, name in first.items():
        kind = name.by.replace("_", " ")
        if (name.by, name.by_id) not in seen:
            why[key] = f"another {kind}, which you do not see, refers to it"
            continue
        since = [entry for entry in entries if entry.entity_id == name.by_id and name.column in entry.fields]
        why[key] = f"{kind} {name.by_id} refers to it"
        if (name.by, name.by_id) in write.records:
            why[key] += " and stays"  # for a reason of its own, told with it
        elif since:
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
                why.setdefault(key, f"its {entity.replace('_', ' ')} {record} is removed")
    return why


async def _parted_by_account(work: UnitOfWork, taken: Mapping[Key, Taken], write: Write) -> dict[Key, str]:
    """What would move to another account without a record that names it, or that it names, and stands with it.

    What stood on two accounts before the write may do so again: one of the two must be part of the write and left
    behind, or have come to the other since.
    """
    moved = {key: one for key, one in taken.items() if one.stays and "account_id" in one.was}
    pairs = [name for key, one in moved.items() for name in named_by(*key, one.after) if name.entity != "account"]
    for (entity, record), one in taken.items():
        if one.stays and (entity, record) not in moved:
            pairs += [name for name in named_by(entity, record, one.after) if (name.entity, name.record) in moved]
    touched = _ids(taken)
    for entity, records in _ids(moved).items():
        pairs += await naming(work, entity, records, but=touched)
    ends = {(name.entity, name.record) for name in pairs} | {(name.by, name.by_id) for name in pairs}
    rows = await work.rows_of(ends)
    known = {key: taken.get(key) or Taken(row, {}) for key, row in rows.items() if hasattr(row, "account_id")}
    since = await work.entries(records=sorted({record for _, record in ends}), after_seq=write.newest)
    changed = {((entry.entity, entry.entity_id), name) for entry in since for name in entry.fields}
    behind = write.records - taken.keys()
    left: list[Naming] = []
    why: dict[Key, str] = {}
    for name in pairs:
        one, other = (name.by, name.by_id), (name.entity, name.record)
        by, target = known.get(one), known.get(other)
        if by is None or target is None or not by.stays or _account(by.before) != _account(target.before):
            continue
        met = changed & {(one, name.column), (one, "account_id"), (other, "account_id")}
        if _account(by.after) == _account(target.after) or (not met and behind.isdisjoint((one, other))):
            continue
        if other in moved:
            left.append(name)
        if one in moved:
            why[one] = f"its {name.entity.replace('_', ' ')} {name.record} stays on {_account(target.after)}"
    return await _told_by(work, left, write) | why


def _account(value: Callable[[str], Any]) -> str:
    return value("account_id")


def _ids(records: Iterable[Key]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for entity, record in records:
        found[entity].append(record)
    return found
