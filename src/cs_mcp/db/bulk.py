"""The second sanctioned write path: many rows, then their change entries, a part at a time (import, demo, night)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, select
from sqlalchemy.orm.exc import StaleDataError

from cs_mcp.db.base import Remembered
from cs_mcp.db.history.changes import Captured, Unrecordable, plain, plain_copy, recorded_columns
from cs_mcp.db.many_rows import Insertion, Revision
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Statement
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.wire import A_PART, A_TURN
from cs_mcp.domain.changes import ChangeKind, Fields


@dataclass(frozen=True, slots=True)
class RowUpdate:
    """New values for a row that was read as `before`: `id` and `version` name the row, `fields` what differs."""

    id: str
    version: int
    account_id: str | None
    before: Fields
    fields: Fields


_AS_IT_IS: Final = frozenset({str, int, float, bool, NoneType})  # most values: what `plain` would give back
_holds: dict[str, Statement] = {}
_insertions: dict[str, Insertion] = {}
_revisions: dict[tuple[str, tuple[str, ...]], Revision] = {}


def _insertion(row: type[Remembered]) -> Insertion:
    name = row.__tablename__
    if name not in _insertions:
        table: Any = row.__table__
        _insertions[name] = Insertion(table)
    return _insertions[name]


def _revision(row: type[Remembered], names: tuple[str, ...]) -> Revision:
    key = (row.__tablename__, names)
    if key not in _revisions:
        table: Any = row.__table__
        _revisions[key] = Revision(table, names)
    return _revisions[key]


async def bulk_create(work: UnitOfWork, row: type[Remembered], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows given as column values (`id` included); columns left out are NULL or their default."""
    if not rows:
        return
    wire, insertion = await work.wire(), _insertion(row)
    following = _columns(work, row, rows[:A_PART])
    for start in range(0, len(rows), A_PART):
        columns = following
        async with wire.beside(wire.insert(insertion, columns)):
            for entries in _captured(row, columns):
                await _capture(work, entries)
            following = _columns(work, row, rows[start + A_PART : start + 2 * A_PART])


async def _capture(work: UnitOfWork, entries: Iterable[Captured]) -> None:
    """Keep entries, and make their texts while the store is busy with the rows."""
    for entry in entries:
        entry.texts()
        work.changes.append(entry)
    await asyncio.sleep(0)


def _columns(work: UnitOfWork, row: type[Remembered], rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    complete = [{**values, **row.companions(values)} for values in rows]
    table: Any = row.__table__
    columns = {column.key: _column(complete, column) for column in table.c}
    columns["workspace"] = [work.principal.workspace] * len(rows)
    columns["version"] = [1] * len(rows)
    return columns


def _captured(row: type[Remembered], columns: Mapping[str, Sequence[Any]]) -> Iterator[Iterator[Captured]]:
    """The entries of new rows, a few hundred at a time."""
    names = sorted(recorded_columns(row))  # the order canonical JSON has them in
    entity, created, records = row.__tablename__, ChangeKind.created, columns["id"]
    accounts = columns.get("id" if entity == "account" else "account_id", [None] * len(records))
    for start in range(0, len(records), A_TURN):
        turn = slice(start, start + A_TURN)
        kept = [[v if type(v) in _AS_IT_IS else plain(v) for v in columns[name][turn]] for name in names]
        yield (
            Captured(entity, record, 1, account, created, None, dict(zip(names, values, strict=True)))
            for record, account, values in zip(records[turn], accounts[turn], zip(*kept, strict=True), strict=True)
        )


def _column(rows: Sequence[Mapping[str, Any]], column: Any) -> list[Any]:
    key = column.key
    default = column.default.arg if column.default is not None and column.default.is_scalar else None
    return [row.get(key, default) for row in rows]


async def bulk_update(work: UnitOfWork, row: type[Remembered], rows: Sequence[RowUpdate]) -> None:
    """Update rows that differ; rows whose values are the same already are left alone."""
    wire = await work.wire()
    by_shape: dict[tuple[str, ...], list[_Edit]] = {}
    for change in rows:
        before, after = _differing(change)
        if not after:
            continue
        if edited := row.settled & after.keys():
            raise Unrecordable(
                f"{row.__tablename__}: {sorted(edited)} are settled: correct them with a reversing entry"
            )
        new = {name: change.fields[name] for name in after}
        new |= row.companions(new)
        by_shape.setdefault(tuple(sorted(new)), []).append(_Edit(change, new, before, after))
    known = frozenset(recorded_columns(row))
    await _hold(work, row, {edit.row.id: edit.row.version for edits in by_shape.values() for edit in edits})
    for shape, edits in by_shape.items():
        columns: dict[str, list[Any]] = {name: [edit.new[name] for edit in edits] for name in shape}
        columns["at_id"] = [edit.row.id for edit in edits]
        columns["at_version"] = [edit.row.version for edit in edits]
        columns["version"] = [edit.row.version + 1 for edit in edits]
        async with wire.beside(wire.revise(_revision(row, shape), work.principal.workspace, columns)):
            # The order canonical JSON has them in.
            recorded = [name for name in shape if name in known]
            for start in range(0, len(edits), A_TURN):
                await _capture(work, _edited(row, recorded, edits[start : start + A_TURN]))


class _Edit(NamedTuple):
    row: RowUpdate
    new: Mapping[str, Any]  # values as the columns take them, companions too
    before: Fields  # what differs, as JSON keeps it
    after: Fields


def _differing(change: RowUpdate) -> tuple[Fields, Fields]:
    """Former and new values of the fields that differ, as JSON keeps them."""
    before: Fields = {}
    after: Fields = {}
    for name, value in change.fields.items():
        was = change.before.get(name)
        old = was if type(was) in _AS_IT_IS else plain(was)
        new = value if type(value) in _AS_IT_IS else plain(value)
        if old != new:
            before[name] = old if type(old) in _AS_IT_IS else plain_copy(old)
            after[name] = new if type(new) in _AS_IT_IS else plain_copy(new)
    return before, after


def _edited(row: type[Remembered], names: Sequence[str], edits: Sequence[_Edit]) -> Iterator[Captured]:
    """The entries of changed rows."""
    entity = row.__tablename__
    for change, _, before, after in edits:
        yield Captured(
            entity=entity,
            entity_id=change.id,
            entity_version=change.version + 1,
            account_id=change.id if entity == "account" else change.account_id,
            kind=_kind(change),
            before={name: before[name] for name in names},
            after={name: after[name] for name in names},
        )


def _kind(change: RowUpdate) -> ChangeKind:
    if "removed_at" not in change.fields or change.fields["removed_at"] == change.before.get("removed_at"):
        return ChangeKind.updated
    return ChangeKind.restored if change.fields["removed_at"] is None else ChangeKind.removed


async def _hold(work: UnitOfWork, row: type[Remembered], versions: Mapping[str, int]) -> None:
    """Lock the rows. StaleDataError where one moved since it was read: its entry would tell what was not done."""
    if not versions:
        return
    given = {"workspace": work.principal.workspace, "listed": sorted(versions)}
    held = {found["id"]: found["version"] for found in await (await work.wire()).rows(_held(row), given)}
    if held != dict(versions):
        raise StaleDataError(f"{row.__tablename__}: rows changed since they were read")


def _held(row: type[Remembered]) -> Statement:
    name = row.__tablename__
    if name not in _holds:
        table: Any = row.__table__
        mine = table.c.workspace == bindparam("workspace")
        found: Any = select(table.c.id, table.c.version).where(mine, any_of(table.c.id, texts("listed")))
        _holds[name] = Statement(lambda: found.order_by(table.c.id).with_for_update())
    return _holds[name]
