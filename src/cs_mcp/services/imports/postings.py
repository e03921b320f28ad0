"""Movements under a name of their source, corrected the way a ledger is: by reversing entries, never by edits.

A movement is posted under its source id. Where the source later tells another amount, day, kind or account, the entry
gets an opposite one, `<source id>#reversed`, and the movement is posted anew as `<source id>#2`, then `#3`, and so on.
The entry that is not reversed is the one that stands; what it says is compared with what the source tells, so that the
same source posts nothing twice, whichever number stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cs_mcp.db.bulk import RowUpdate
from cs_mcp.db.history.changes import recorded_columns
from cs_mcp.db.read_path import Row
from cs_mcp.db.revenue.subscriptions import ArrMovementRow

MONEY: Final = ("account_id", "on", "kind", "amount_minor", "currency")
REVERSED: Final = "#reversed"
DERIVED: Final = "ledger:"
_POSTED: Final = re.compile(rf"(#\d+)?({REVERSED})?$")


def is_derived(row: Row) -> bool:
    """Whether the import derived it from subscriptions."""
    return row["source_id"] is not None and row["source_id"].startswith(DERIVED)


def derived_name(account_source_id: str, on: Any, kind: str) -> str:
    """The source id of a derived movement: an account has one net movement a day."""
    return f"{DERIVED}{account_source_id}:{on}:{kind}"


def posted_name(source_id: str) -> str:
    """The name under which an entry was posted: its source id without number and reversal."""
    return _POSTED.sub("", source_id)


def posting_name(name: str, number: int) -> str:
    return name if number == 1 else f"{name}#{number}"


@dataclass(slots=True)
class Postings:
    """What makes the ledger say what the source tells: entries to create, and rows to restore or annotate."""

    new_id: Callable[[], str]
    source: str
    creates: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    updates: list[RowUpdate] = field(default_factory=list[RowUpdate])

    def settle(self, name: str, wanted: Mapping[str, Any] | None, rows: Mapping[str, Row]) -> None:
        """Post what is missing for `name`. `rows`: this source's movements by source id, removed ones too."""
        stands = False
        spare: Row | None = None
        number = 1
        while (entry := rows.get(posting_name(name, number))) is not None:
            opposite = rows.get(entry["source_id"] + REVERSED)
            live, is_reversed = entry["removed_at"] is None, opposite is not None and opposite["removed_at"] is None
            fits = wanted is not None and all(entry[column] == wanted[column] for column in MONEY)
            if live and not is_reversed:
                if fits and not stands and wanted is not None:
                    stands = True
                    self._annotate(entry, wanted)
                else:
                    self._reverse(entry, opposite)
            elif not live and is_reversed:
                self._restore(entry)  # its opposite stands alone: an undo took back one of the two
            elif not live and fits:
                spare = entry
            number += 1
        if wanted is None or stands:
            return
        if spare is not None:
            self._restore(spare, wanted)
        else:
            self._post(posting_name(name, number), wanted)

    def _post(self, source_id: str, wanted: Mapping[str, Any]) -> None:
        self.creates.append({"id": self.new_id(), "source_system": self.source, "source_id": source_id, **wanted})

    def _reverse(self, entry: Row, opposite: Row | None) -> None:
        if opposite is not None:
            self._restore(opposite)
            return
        kept = {name: entry[name] for name in ("account_id", "subscription_id", "on", "kind", "currency")}
        taken_back = {"amount_minor": -entry["amount_minor"], "reverses_id": entry["id"]}
        note = f"Reverses {entry['source_id']}: its source tells otherwise now."
        self._post(entry["source_id"] + REVERSED, kept | taken_back | {"note": note})

    def _restore(self, entry: Row, wanted: Mapping[str, Any] | None = None) -> None:
        self._update(entry, {"removed_at": None} | dict(wanted or {}))

    def _annotate(self, entry: Row, wanted: Mapping[str, Any]) -> None:
        self._update(entry, {name: value for name, value in wanted.items() if name not in MONEY})

    def _update(self, entry: Row, fields: dict[str, Any]) -> None:
        if any(entry[name] != value for name, value in fields.items()):
            before = {name: entry[name] for name in recorded_columns(ArrMovementRow)}
            self.updates.append(RowUpdate(entry["id"], entry["version"], entry["account_id"], before, fields))


def by_source_id(rows: Iterable[Row], source: str) -> dict[str, Row]:
    return {row["source_id"]: row for row in rows if row["source_system"] == source and row["source_id"] is not None}


def stands_alone(entry: Row | None, opposite: Row | None, wanted: Mapping[str, Any]) -> bool:
    """Whether the first entry says it all, and none was ever reversed: the usual case, which needs no second look."""
    return (
        entry is not None
        and opposite is None
        and entry["removed_at"] is None
        and all(entry[name] == value for name, value in wanted.items())
    )
