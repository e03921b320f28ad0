"""Which records name which, as an undo asks before it takes one away or brings one back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import not_, select

from cs_mcp.db.base import REMEMBERED
from cs_mcp.db.merging import keys_to
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.unit_of_work import UnitOfWork

MERGED_INTO: Final = "merged_into_id"
# A merged account keeps its team: it is what lets its people still see it.
_MAY_STAY: Final = frozenset({("account_team", "account_id")})


class Naming(NamedTuple):
    """A record of table `by` that names `record`."""

    record: str
    by: str
    by_id: str


@cache
def keys_of(table: str) -> tuple[tuple[str, str], ...]:
    """The columns of a table that name a remembered record, and what kind of record it is."""
    found: list[tuple[str, str]] = []
    declared: Any = REMEMBERED[table].__table__
    for constraint in declared.foreign_key_constraints:
        entity = constraint.referred_table.name
        if entity in REMEMBERED:
            found += [(c.key, entity) for c in constraint.columns if c.key not in ("workspace", MERGED_INTO)]
    return tuple(sorted(key for key in found if (table, key[0]) not in _MAY_STAY))


async def naming(
    work: UnitOfWork, entity: str, records: Collection[str], *, but: Mapping[str, Collection[str]]
) -> list[Naming]:
    """Live records that name one of `records`, and those merged into one; without those in `but`, ids by table."""
    found: list[Naming] = []
    keys: list[tuple[type[Any], str]] = [
        key for key in keys_to(entity) if (key[0].__tablename__, key[1]) not in _MAY_STAY
    ]
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
        found += [Naming(record, table, by) for by, record in await work.session.execute(statement.order_by(row.id))]
    return found


async def removed(work: UnitOfWork, entity: str, records: Collection[str]) -> set[str]:
    """Those of the records that are removed."""
    row: Any = REMEMBERED[entity]
    statement = select(row.id).where(
        row.workspace == work.principal.workspace, any_of(row.id, texts("wanted", records)), row.removed_at.is_not(None)
    )
    return set((await work.session.execute(statement)).scalars())
