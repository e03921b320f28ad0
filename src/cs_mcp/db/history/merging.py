"""Leading everything that points to one record to another, by the keys that the tables declare: none is forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import Index, String, bindparam, select, text

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.base import REMEMBERED, Remembered
from cs_mcp.db.history.changes import remember_json
from cs_mcp.db.portfolio import visible
from cs_mcp.db.read_path import Statement
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.work.meetings import MeetingRow

# Columns that may name a record of any kind, so that no key says so.
LOOSE: Final = frozenset({("task", "related_id")})
# Who was merged into what before stays written: references follow step by step.
_LEFT: Final = "merged_into_id"


class Key(NamedTuple):
    row: type[Remembered]
    column: str


@cache
def keys_to(entity: str) -> tuple[Key, ...]:
    """The columns of remembered tables that name a record of `entity`."""
    found: list[Key] = []
    for name, row in sorted(REMEMBERED.items()):
        table: Any = row.__table__
        for constraint in table.foreign_key_constraints:
            if constraint.referred_table.name == entity:
                found += [Key(row, c.key) for c in constraint.columns if c.key not in ("workspace", _LEFT)]
        found += [Key(row, column) for of, column in LOOSE if of == name]
    return tuple(found)


@dataclass(slots=True)
class Repointed:
    """Live rows that follow, by table; rows that could not stand beside one of the kept record, as removed."""

    followed: Counter[str] = field(default_factory=Counter[str])
    removed: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


async def repoint(
    work: UnitOfWork, entity: str, *, old: str, new: str, but: Collection[str] = (), settled: Collection[str] = ()
) -> Repointed:
    """Lead rows from `old` to `new`, removed ones too: who restores one later finds it in its place.

    Tables named in `but` stay. Where a unique index lets only one of the two stand, the row that comes is removed,
    except in tables of `settled`, whose use case saw to that. Call it last: repositories know nothing of it.
    """
    done = Repointed()
    for row, column in keys_to(entity):
        if row.__tablename__ in but:
            continue
        barred: set[str] = set()
        if row.__tablename__ not in settled:
            barred = await _barred(work, row, column, old, new)
        wanted: Any = getattr(row, column)
        statement = select(row).where(row.workspace == work.principal.workspace, wanted == old)
        statement = statement.where(*visible(row.__table__, work.principal)).order_by(row.id)
        for found in (await work.session.execute(statement)).scalars():
            if found.id in (old, new) and row.__tablename__ == entity:
                continue  # what the two have to do with each other is the use case's
            remember_json(found)
            setattr(found, column, new)
            if found.id in barred:
                found.removed_at = work.now
                done.removed.append((row.__tablename__, found.id))
            elif found.removed_at is None:
                done.followed[row.__tablename__] += 1
    return done


async def _barred(work: UnitOfWork, row: type[Remembered], column: str, old: str, new: str) -> set[str]:
    """Rows of `old` that a unique index does not let stand beside those of `new`."""
    table: Any = row.__table__
    barred: set[str] = set()
    for index in sorted(table.indexes, key=lambda index: index.name):
        if not index.unique or column not in index.columns:
            continue
        taken = {key for _, key in await _in_index(work, row, index, column, new)}
        barred |= {record for record, key in await _in_index(work, row, index, column, old) if key in taken}
    return barred


async def _in_index(
    work: UnitOfWork, row: type[Remembered], index: Index, column: str, value: str
) -> list[tuple[str, tuple[Any, ...]]]:
    """Ids of the rows of `value` in a unique index, with what else the index holds of them."""
    others = [c for c in index.columns if c.key not in ("workspace", column)]
    owner: Any = getattr(row, column)
    statement = select(row.id, *others).where(row.workspace == work.principal.workspace, owner == value)
    if (partial := index.dialect_options["sqlite"].get("where")) is not None:
        statement = statement.where(text(str(partial)))
    return [(record, tuple(key)) for record, *key in await work.session.execute(statement)]


async def replace_attendee(work: UnitOfWork, account: str, *, old: str, new: str) -> int:
    """Put one contact in the place of another in the account's meetings; how many meetings say so now."""
    mine = (MeetingRow.workspace == work.principal.workspace, MeetingRow.account_id == account)
    changed = 0
    for meeting in (await work.session.execute(select(MeetingRow).where(*mine).order_by(MeetingRow.id))).scalars():
        if not any(who.get("contact_id") == old for who in meeting.attendees):
            continue
        remember_json(meeting)
        there = [who | {"contact_id": new} if who.get("contact_id") == old else who for who in meeting.attendees]
        attended = any(who.get("attended", True) for who in there if who.get("contact_id") == new)
        kept: list[dict[str, Any]] = []
        for who in there:
            if who.get("contact_id") != new:
                kept.append(who)
            elif not any(earlier.get("contact_id") == new for earlier in kept):
                kept.append(who | {"attended": attended})
        meeting.attendees = kept
        changed += meeting.removed_at is None
    return changed


_ARR: Final = Statement(
    lambda: select(AccountRow.arr_minor).where(
        AccountRow.workspace == bindparam("workspace"), AccountRow.id == bindparam("account", type_=String)
    )
)


async def arr_of(work: UnitOfWork, account: str) -> int:
    """ARR of today in minor units, as the flush left it: rows that were read before do not know it."""
    [found] = await (await work.wire()).rows(_ARR, {"workspace": work.principal.workspace, "account": account})
    return found["arr_minor"]


_PARENT: Final = Statement(
    lambda: select(AccountRow.parent_id).where(
        AccountRow.workspace == bindparam("workspace"), AccountRow.id == bindparam("account", type_=String)
    )
)
_DEEPEST: Final = 50


async def ancestors(work: UnitOfWork, account: str) -> list[str]:
    """The ids above an account in its family, nearest first."""
    wire, above = await work.wire(), account
    found: list[str] = []
    while len(found) < _DEEPEST:
        rows = await wire.rows(_PARENT, {"workspace": work.principal.workspace, "account": above})
        parent = rows[0]["parent_id"] if rows else None
        if parent is None or parent in found:
            break
        found.append(parent)
        above = parent
    return found
