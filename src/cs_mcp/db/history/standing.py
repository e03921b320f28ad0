"""Which records name which, as an undo asks before it takes one away or brings one back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import not_, select

from cs_mcp.db.base import REMEMBERED
from cs_mcp.db.health.risks import RiskRow
from cs_mcp.db.history.merging import LOOSE, keys_to
from cs_mcp.db.people.sponsors import ContactRow
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.domain.records import PREFIXES, is_id

MERGED_INTO: Final = "merged_into_id"
# A merged account keeps its team: it is what lets its people still see it.
_MAY_STAY: Final = frozenset({("account_team", "account_id")})
# Columns that name a record without a key in the store.
_UNKEYED: Final = {
    ("arr_movement", "subscription_id"): "subscription",
    ("arr_movement", "reverses_id"): "arr_movement",
}


class Naming(NamedTuple):
    """A record of table `by` whose `column` names `record`, one of `entity`."""

    entity: str
    record: str
    by: str
    by_id: str
    column: str


@cache
def _keys_of(table: str) -> tuple[tuple[str, str | None], ...]:
    """The columns of a table that name a remembered record, and what kind of record it is, where it is always one."""
    found: set[tuple[str, str | None]] = {(column, entity) for (of, column), entity in _UNKEYED.items() if of == table}
    found |= {(column, None) for of, column in LOOSE if of == table}
    declared: Any = REMEMBERED[table].__table__
    for constraint in declared.foreign_key_constraints:
        entity = constraint.referred_table.name
        if entity in REMEMBERED:
            found |= {(c.key, entity) for c in constraint.columns if c.key not in ("workspace", MERGED_INTO)}
    return tuple(sorted((key for key in found if (table, key[0]) not in _MAY_STAY), key=str))


def named_by(table: str, record: str, value: Callable[[str], Any]) -> Iterator[Naming]:
    """What a record names, from the values of its columns."""
    for column, entity in _keys_of(table):
        named = value(column)
        kind = entity or next((kind for kind in PREFIXES if named is not None and is_id(named, kind)), None)
        if named is not None and kind in REMEMBERED:
            yield Naming(kind, named, table, record, column)
    if table == "meeting":
        for contact in _attending(value("attendees")):
            yield Naming("contact", contact, table, record, "attendees")
    if table == "risk":
        for named in _evidence(value("evidence")):
            kind = next((kind for kind in PREFIXES if is_id(named, kind)), None)
            if kind in REMEMBERED:
                yield Naming(kind, named, table, record, "evidence")


def _evidence(evidence: list[dict[str, Any]]) -> list[str]:
    return [one["record"] for one in evidence if one.get("record") is not None]


def _attending(attendees: list[dict[str, Any]]) -> list[str]:
    return [who["contact_id"] for who in attendees if who.get("contact_id") is not None]


async def naming(
    work: UnitOfWork, entity: str, records: Collection[str], *, but: Mapping[str, Collection[str]]
) -> list[Naming]:
    """Live records that name one of `records`, and those merged into one; without those in `but`, ids by table."""
    found: list[Naming] = []
    keys: list[tuple[type[Any], str]] = [
        key for key in keys_to(entity) if (key.row.__tablename__, key.column) not in _MAY_STAY
    ]
    keys += [(REMEMBERED[table], column) for (table, column), named in _UNKEYED.items() if named == entity]
    if MERGED_INTO in REMEMBERED[entity].__table__.c:
        keys.append((REMEMBERED[entity], MERGED_INTO))
    for row, column in keys:
        table = row.__tablename__
        named = getattr(row, column)
        statement = select(row.id, named).where(
            row.workspace == work.principal.workspace,
            any_of(named, texts("named", records)),
            not_(any_of(row.id, texts("but", but.get(table, ())))),
        )
        if column != MERGED_INTO:
            statement = statement.where(row.removed_at.is_(None))
        rows = await work.session.execute(statement.order_by(row.id))
        found += [Naming(entity, record, table, by, column) for by, record in rows]
    found += await _risks_with(work, entity, records, but.get("risk", ()))
    return found + (await _meetings_with(work, records, but.get("meeting", ())) if entity == "contact" else [])


async def _risks_with(work: UnitOfWork, entity: str, records: Collection[str], but: Collection[str]) -> list[Naming]:
    """Live risk cases that have one of these records as evidence: it is of the case's own account."""
    table: Any = REMEMBERED[entity].__table__
    if entity == "account" or "account_id" not in table.c:
        return []
    here = work.principal.workspace
    of_theirs = select(table.c.account_id).where(table.c.workspace == here, any_of(table.c.id, texts("named", records)))
    statement = select(RiskRow.id, RiskRow.evidence).where(
        RiskRow.workspace == here, RiskRow.removed_at.is_(None), RiskRow.account_id.in_(of_theirs)
    )
    wanted, left_out = set(records), set(but)
    return [
        Naming(entity, record, "risk", case, "evidence")
        for case, evidence in await work.session.execute(statement.order_by(RiskRow.id))
        if case not in left_out
        for record in _evidence(evidence)
        if record in wanted
    ]


async def _meetings_with(work: UnitOfWork, contacts: Collection[str], but: Collection[str]) -> list[Naming]:
    """Live meetings that one of these contacts attended. Only those of their accounts are looked at."""
    here = work.principal.workspace
    of_theirs = select(ContactRow.account_id).where(
        ContactRow.workspace == here, any_of(ContactRow.id, texts("contacts", contacts))
    )
    statement = select(MeetingRow.id, MeetingRow.attendees).where(
        MeetingRow.workspace == here, MeetingRow.removed_at.is_(None), MeetingRow.account_id.in_(of_theirs)
    )
    wanted, left_out = set(contacts), set(but)
    return [
        Naming("contact", contact, "meeting", meeting, "attendees")
        for meeting, attendees in await work.session.execute(statement.order_by(MeetingRow.id))
        if meeting not in left_out
        for contact in _attending(attendees)
        if contact in wanted
    ]


async def removed(work: UnitOfWork, entity: str, records: Collection[str]) -> set[str]:
    """Those of the records that are removed."""
    row: Any = REMEMBERED[entity]
    statement = select(row.id).where(
        row.workspace == work.principal.workspace, any_of(row.id, texts("wanted", records)), row.removed_at.is_not(None)
    )
    return set((await work.session.execute(statement)).scalars())
