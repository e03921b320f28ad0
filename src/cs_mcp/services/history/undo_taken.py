"""A record as an undo would leave it: its row with fields taken back, not flushed yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from cs_mcp.db.base import Remembered
from cs_mcp.db.history.restore import set_fields
from cs_mcp.db.unit_of_work import Entry
from cs_mcp.domain.changes import Fields
from cs_mcp.domain.contract import shown

Key = tuple[str, str]  # entity and id


class Write(NamedTuple):
    """What is being undone: all records it touched, also those that are left as they are, and its newest `seq`."""

    records: frozenset[Key]
    newest: int


@dataclass(slots=True)
class Taken:
    """`was` holds the fields that differ, as the store has them."""

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


def told_of(entry: Entry, what: str) -> str:
    """Who did what, when, and the write that it was: what a caller may undo first."""
    when = f"{entry.at:%Y-%m-%d %H:%M} UTC"
    return f"{shown(entry.actor_name or entry.actor_id)} {what} on {when} ({entry.tool}, {entry.change_id})"
