"""Putting recorded values back into a row."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy import Date

from cs_mcp.db.base import Instant, Remembered
from cs_mcp.db.history.changes import plain_copy


def typed(row: type[Remembered], name: str, value: Any) -> Any:
    """A recorded value as its column holds it."""
    kind: Any = row.__table__.c[name].type
    if isinstance(value, str):
        if isinstance(kind, Date):
            return date.fromisoformat(value)
        if isinstance(kind, Instant):
            return datetime.fromisoformat(value)
    return plain_copy(value)


def set_fields(row: Remembered, fields: Mapping[str, Any]) -> None:
    """Set recorded fields, with what follows from them."""
    kind = type(row)
    values = {name: typed(kind, name, value) for name, value in fields.items()}
    for name, value in (values | kind.companions(values)).items():
        if getattr(row, name) != value:
            setattr(row, name, value)
