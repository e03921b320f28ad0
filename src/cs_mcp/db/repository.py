"""One repository a concept: it starts from what the caller may see, and turns rows into plain domain records."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Select, select

from cs_mcp.db.base import Remembered
from cs_mcp.db.history.changes import remember_json
from cs_mcp.db.portfolio import visible
from cs_mcp.domain.errors import Conflict, NotFound
from cs_mcp.domain.records import Record

if TYPE_CHECKING:
    from cs_mcp.db.unit_of_work import UnitOfWork

RecordT = TypeVar("RecordT", bound=Record)
RowT = TypeVar("RowT", bound=Remembered)


def stored(value: Any) -> Any:
    """A field as its column keeps it: enums as their text, models as JSON, days inside JSON as ISO text."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list):
        return [_in_json(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _in_json(item) for key, item in cast("dict[str, Any]", value).items()}
    return value


def _in_json(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else stored(value)


class Repository(Generic[RecordT, RowT]):
    """Reads and writes one kind of record inside a unit of work."""

    row: ClassVar[type[Any]]
    model: ClassVar[type[Any]]

    def __init__(self, work: UnitOfWork) -> None:
        self._work = work
        self._rows: dict[str, RowT] = {}

    @property
    def table(self) -> str:
        return self.row.__tablename__

    def values_of(self, record: RecordT) -> dict[str, Any]:
        """The columns a record sets: all of its fields but its name, its count and what is derived."""
        derived = self.row.derived
        values = {
            name: stored(getattr(record, name))
            for name in self.model.model_fields
            if name not in derived and name not in ("id", "version")
        }
        return values | self.row.companions(values)

    def _visible(self) -> Select[Any]:
        row = self.row
        statement = select(row).where(row.workspace == self._work.principal.workspace, row.removed_at.is_(None))
        return statement.where(*visible(row.__table__, self._work.principal))

    def _as_record(self, row: RowT) -> RecordT:
        self._rows[row.id] = row
        names = self.model.model_fields
        values = {name: getattr(row, name) for name in names}
        values["version"] = values["version"] or 0  # entered in this unit of work, not flushed yet
        return cast("RecordT", self.model.model_validate(values))

    def of_row(self, row: RowT) -> RecordT:
        """The record of a row that a read of this unit of work found; it can be saved."""
        remember_json(row)
        return self._as_record(row)

    async def get(self, record_id: str) -> RecordT:
        """One record the caller may see; anything else is "not found"."""
        found = (await self._work.session.execute(self._visible().where(self.row.id == record_id))).scalar_one_or_none()
        if found is None:
            raise NotFound(
                f"No {self.table.replace('_', ' ')} has the id {record_id!r}.",
                remedy="Check the id, or find the record by name with the matching list or find tool.",
            )
        remember_json(found)
        return self._as_record(found)

    async def where(self, *conditions: ColumnElement[bool], limit: int | None = None) -> list[RecordT]:
        """Visible records that fit, in id order (oldest first)."""
        statement = self._visible().where(*conditions).order_by(self.row.id).limit(limit)
        rows: Sequence[RowT] = (await self._work.session.execute(statement)).scalars().all()
        for row in rows:
            remember_json(row)
        return [self._as_record(row) for row in rows]

    def add(self, record: RecordT) -> RecordT:
        """Enter a new record; it has version 1 once the unit of work has flushed."""
        row = self.row(workspace=self._work.principal.workspace, id=record.id, **self.values_of(record))
        self._work.session.add(row)
        self._rows[record.id] = row
        return record

    def save(self, record: RecordT) -> RecordT:
        """Write back a record that `get` or `where` gave; only fields that differ become part of the change."""
        row = self._rows.get(record.id)
        if row is None:
            raise Conflict(f"{record.id} was saved before it was read in this unit of work.", remedy="Read it first.")
        for name, value in self.values_of(record).items():
            if getattr(row, name) != value:
                setattr(row, name, value)
        return record

    def now(self, record_id: str) -> RecordT:
        """The record as it stands in this unit of work (after a flush: with its new version)."""
        return self._as_record(self._rows[record_id])
