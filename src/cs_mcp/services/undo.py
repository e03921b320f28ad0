"""Undo: a write, a record of it, or a run is taken back by a new write; what someone touched since is left and said."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Annotated, ClassVar, Final

from pydantic import Field

from cs_mcp.db.base import Remembered
from cs_mcp.db.restore import set_fields
from cs_mcp.db.unit_of_work import Entry, UnitOfWork
from cs_mcp.domain.contract import Command, Item, Ref, View, shown
from cs_mcp.domain.errors import Conflict, CustomerSuccessError, Invalid, NotAllowed, NotFound
from cs_mcp.domain.identity import Role
from cs_mcp.services.writes import Outcome

MOST_RECORDS: Final = 5_000
# What a record stands for that has no history of its own, and so no way back.
_STAYS: Final = {"signal_batch": "figures of usage stay: correct them by sending the right ones"}


class UndoChanges(Command):
    tool: ClassVar[str] = "undo_changes"

    change: Annotated[Ref, Field(description="`change_id` of a write")] | None = None
    run: Annotated[Ref, Field(description="Id of a run or an import: everything it wrote")] | None = None
    records: Annotated[list[Ref], Field(max_length=200, description="Only these records of it")] | None = None

    @property
    def undoes(self) -> str | None:
        return self.change or self.run


class Undone(View):
    restored: int
    refused: int

    def text(self, nonce: str) -> str:
        return f"{self.restored} records restored, {self.refused} left as they are."


class Undo:
    async def undo(self, work: UnitOfWork, command: UndoChanges) -> Outcome:
        entries = await self._entries(work, command)
        by_record: dict[tuple[str, str], list[Entry]] = defaultdict(list)
        for entry in entries:
            by_record[entry.entity, entry.entity_id].append(entry)
        if len(by_record) > MOST_RECORDS and work.principal.role is not Role.admin:
            raise Invalid(
                f"{command.undoes} changed {len(by_record)} records; one undo takes back at most {MOST_RECORDS}.",
                remedy="Ask an admin, undo it on the command line with 'cs-mcp undo', or name some `records`.",
            )
        rows = await work.rows_of(by_record)
        obstacles = await _obstacles(work, entries, by_record)
        items: list[Item] = []
        for index, ((entity, record), mine) in enumerate(by_record.items()):
            row = rows.get((entity, record))
            if row is None:
                continue  # outside the caller's portfolio: not there, in words and counts alike
            if why := obstacles.get(record) or _STAYS.get(entity) or _erased(mine):
                items.append(Item(index=index, id=record, outcome="refused", why=why))
            else:
                _take_back(row, mine, work.now)
                items.append(Item(index=index, id=record, outcome="done"))
        restored = sum(item.outcome == "done" for item in items)
        if not items:
            raise _unknown(command)
        if not restored:
            raise _all_refused(items)
        await work.flush()
        refused = [item for item in items if item.outcome == "refused"]
        return Outcome(record=Undone(restored=restored, refused=len(refused)), items=refused)

    async def _entries(self, work: UnitOfWork, command: UndoChanges) -> list[Entry]:
        if (command.change is None) == (command.run is None):
            raise Invalid("Undo takes exactly one of change and run.", remedy="list_changes shows the ids of both.")
        entries = await work.entries(change=command.change, run=command.run)
        if command.records is not None:
            wanted = set(command.records)
            entries = [entry for entry in entries if entry.entity_id in wanted]
        if not entries:
            raise _unknown(command)
        foreign = [e for e in entries if work.principal.user not in (e.actor_id, e.on_behalf_of)]
        if work.principal.is_agent and foreign:
            raise NotAllowed(
                f"{command.undoes} is not your own write, and an agent undoes only its own.",
                remedy="Ask a person to undo it.",
            )
        return entries


def _unknown(command: UndoChanges) -> CustomerSuccessError:
    return NotFound(
        f"No write {command.undoes!r} is known" + (" for these records." if command.records else "."),
        remedy="list_changes shows the writes and their change_id.",
    )


def _all_refused(items: list[Item]) -> Conflict:
    reasons = {item.why or "" for item in items}
    if len(reasons) == 1:
        said = f"Nothing could be undone: {next(iter(reasons))}."
    else:
        said = "Nothing could be undone. " + "; ".join(f"{item.id}: {item.why}" for item in items[:5]) + "."
    return Conflict(
        said, remedy="list_changes with this record shows what came after; undo that first, or edit by hand."
    )


async def _obstacles(
    work: UnitOfWork, entries: list[Entry], by_record: dict[tuple[str, str], list[Entry]]
) -> dict[str, str]:
    """Records that cannot be taken back, and why: a later entry, not of this write, names the same field.

    Comparing values would not do: a field set to B and back to A would look untouched.
    """
    ours = {(entry.seq) for entry in entries}
    oldest = min(entry.seq for entry in entries) - 1
    later = [e for e in await work.entries(records=[r for _, r in by_record], after_seq=oldest) if e.seq not in ours]
    born = {e.entity_id for e in entries if e.kind == "created"}
    accounts = sorted(e.entity_id for e in entries if e.kind == "created" and e.entity == "account")
    below = [e for e in await work.entries(accounts=accounts, after_seq=oldest) if e.seq not in ours]
    newest = {e.entity_id: e for e in reversed(below)}
    later += [e for e in below if newest[e.entity_id].kind != "removed"]  # what is gone again holds nothing up
    touched: dict[str, dict[str, int]] = defaultdict(dict)
    for entry in entries:
        for name in entry.fields:
            first = touched[entry.entity_id].get(name, entry.seq)
            touched[entry.entity_id][name] = min(first, entry.seq)
    writes = {e.change_id for e in entries} | {e.run_id for e in entries if e.run_id is not None}
    why: dict[str, str] = {}

    def say(record: str, entry: Entry, what: str) -> None:
        why.setdefault(record, _said(entry, what, already=entry.undoes in writes))

    for entry in later:
        record = entry.entity_id
        if entry.account_id in born and record not in touched:
            say(entry.account_id or "", entry, f"{entry.kind} {entry.entity} {record}")
        elif record in born and entry.seq > min(touched[record].values(), default=0):
            say(record, entry, f"{entry.kind} it ({', '.join(entry.fields)})")
        else:
            clash = [n for n in entry.fields if n in touched[record] and entry.seq > touched[record][n]]
            if clash:
                say(record, entry, f"set {', '.join(clash)}")
    return why


def _said(entry: Entry, what: str, *, already: bool) -> str:
    who = shown(entry.actor_name or entry.actor_id)
    when = f"on {entry.at:%Y-%m-%d %H:%M} UTC"
    if already:
        return f"{who} undid it already {when} ({entry.change_id})"
    return f"{who} {what} {when} ({entry.tool}, {entry.change_id})"


def _erased(entries: list[Entry]) -> str | None:
    """Why entries without their values cannot be taken back; a creation needs none."""
    gone = any(entry.before is None and entry.kind != "created" for entry in entries)
    return "what it held before was erased" if gone else None


def _take_back(row: Remembered, newest_first: list[Entry], now: datetime) -> None:
    for entry in newest_first:
        if entry.kind == "created":
            set_fields(row, {"removed_at": now})
        elif entry.before is not None:
            set_fields(row, entry.before)
