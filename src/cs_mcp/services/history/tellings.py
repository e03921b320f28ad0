"""Changes as people read them: amounts with their currency, people and accounts with their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from cs_mcp.db.history.tellings import TELLING
from cs_mcp.db.read_path import Row
from cs_mcp.domain.contract import Amount, FieldChange, RecordChange, shown
from cs_mcp.domain.records import PREFIXES

_MINOR: Final = "_minor"
_NAMED: Final = {f"{PREFIXES[table]}_": table for table in ("member", "contact")}


def wanted(changes: Iterable[RecordChange], *, accounts: bool = True) -> dict[str, set[str]]:
    """Ids by table of what has to be looked up to tell these changes; `accounts` is for the names beside them."""
    found: dict[str, set[str]] = {}
    for change in changes:
        if accounts and (account := _account_of(change)) is not None:
            found.setdefault("account", set()).add(account)
        for field in change.fields:
            if field.field.endswith(_MINOR) and change.record in TELLING:
                found.setdefault(change.record, set()).add(change.id)
            for value in (field.before, field.after):
                if (table := _table_of(value)) is not None:
                    found.setdefault(table, set()).add(value)
    return found


def told(changes: Sequence[RecordChange], known: Mapping[str, Row]) -> list[RecordChange]:
    """The changes with what was looked up put in its place; what was not found stays as it is recorded."""
    return [
        change.model_copy(
            update={
                "account": _name(known, _account_of(change)),
                "account_id": None,  # it was there for the name
                "fields": [_field(field, known, _currency(change, known)) for field in change.fields],
            }
        )
        for change in changes
    ]


def _account_of(change: RecordChange) -> str | None:
    return change.id if change.record == "account" else change.account_id


def _currency(change: RecordChange, known: Mapping[str, Row]) -> str | None:
    return (known.get(change.id) or {}).get("currency")


def _name(known: Mapping[str, Row], record: str | None) -> str | None:
    return (known.get(record) or {}).get("name") if record is not None else None


def _field(field: FieldChange, known: Mapping[str, Row], currency: str | None) -> FieldChange:
    if field.field.endswith(_MINOR) and currency is not None:
        return FieldChange(
            field=field.field.removesuffix(_MINOR),
            before=_amount(field.before, currency),
            after=_amount(field.after, currency),
        )
    return FieldChange(field=field.field, before=_person(field.before, known), after=_person(field.after, known))


def _amount(minor: Any, currency: str) -> str | None:
    return None if minor is None else str(Amount.of(minor, currency))


def _person(value: Any, known: Mapping[str, Row]) -> Any:
    name = _name(known, value) if _table_of(value) is not None else None
    return value if name is None else f"{shown(name)} ({value})"


def _table_of(value: Any) -> str | None:
    return _NAMED.get(value[:4]) if isinstance(value, str) else None
