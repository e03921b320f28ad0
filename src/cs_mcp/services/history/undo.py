"""Undo: a write, a record of it, or a run is taken back by a new write; what someone touched since is left and said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated, ClassVar, Final

from pydantic import Field

from cs_mcp.db.unit_of_work import Entry, UnitOfWork
from cs_mcp.domain.changes import Fields
from cs_mcp.domain.contract import Command, Item, Ref, View
from cs_mcp.domain.errors import Conflict, CustomerSuccessError, Invalid, NotAllowed, NotFound
from cs_mcp.domain.identity import Role
from cs_mcp.services.history.undo_standing import in_the_way
from cs_mcp.services.history.undo_states import Later, reach_back, taken_back
from cs_mcp.services.history.undo_taken import Key, Taken, Write, told_of
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
        whole = await self._entries(work, command)
        entries = [entry for entry in whole if command.records is None or entry.entity_id in command.records]
        if not entries:
            raise _unknown(command)
        _refuse_others_writes(work, command, entries)
        by_record = _by_record(entries)
        if len(by_record) > MOST_RECORDS and work.principal.role is not Role.admin:
            raise Invalid(
                f"{command.undoes} changed {len(by_record)} records; one undo takes back at most {MOST_RECORDS}.",
                remedy="Ask an admin, undo it on the command line with 'cs-mcp undo', or name some `records`.",
            )
        rows = await work.rows_of(by_record)
        histories = await _histories(work, entries, by_record)
        taken: dict[Key, Taken] = {}
        refused: dict[Key, str] = {}
        for key, mine in by_record.items():
            row = rows.get(key)
            if row is None:
                continue  # outside the caller's portfolio: not there, in words and counts alike
            found = _STAYS.get(key[0]) or _fields_before(work, mine, histories[key])
            if isinstance(found, str):
                refused[key] = found
            else:
                taken[key] = Taken.back(row, found)
        write = Write(frozenset(_by_record(whole)), whole[0].seq)
        while standing := await in_the_way(work, taken, write):
            refused |= standing
            for key in standing:
                taken.pop(key).put_back()
        items = [
            Item(index=index, id=key[1], outcome="refused" if key in refused else "done", why=refused.get(key))
            for index, key in enumerate(by_record)
            if key in rows
        ]
        restored = sum(item.outcome == "done" for item in items)
        if not items:
            raise _unknown(command)
        if not restored:
            raise _all_refused(items)
        await work.flush()
        left = [item for item in items if item.outcome == "refused"]
        return Outcome(record=Undone(restored=restored, refused=len(left)), items=left)

    async def _entries(self, work: UnitOfWork, command: UndoChanges) -> list[Entry]:
        if (command.change is None) == (command.run is None):
            raise Invalid("Undo takes exactly one of change and run.", remedy="list_changes shows the ids of both.")
        return await work.entries(change=command.change, run=command.run)


def _refuse_others_writes(work: UnitOfWork, command: UndoChanges, entries: list[Entry]) -> None:
    if work.principal.is_agent and any(work.principal.user not in (e.actor_id, e.on_behalf_of) for e in entries):
        raise NotAllowed(
            f"{command.undoes} is not your own write, and an agent undoes only its own.",
            remedy="Ask a person to undo it.",
        )


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


def _by_record(newest_first: Iterable[Entry]) -> dict[Key, list[Entry]]:
    found: dict[Key, list[Entry]] = defaultdict(list)
    for entry in newest_first:
        found[entry.entity, entry.entity_id].append(entry)
    return found


async def _histories(work: UnitOfWork, ours: list[Entry], records: Iterable[Key]) -> dict[Key, list[Entry]]:
    """Each record's entries from the oldest of ours on, newest first; all of them where that does not tell enough."""
    ids = [record for _, record in records]
    found = _by_record(await work.entries(records=ids, after_seq=min(entry.seq for entry in ours) - 1))
    longer = [record for (_, record), entries in found.items() if reach_back(entries)]
    return found | _by_record(await work.entries(records=longer))


def _fields_before(work: UnitOfWork, mine: list[Entry], history: list[Entry]) -> Fields | str:
    """A record's fields as they were before its part of the write, or why it cannot be taken back."""
    if any(entry.before is None and entry.kind != "created" for entry in mine):
        return "what it held before was erased"
    found = taken_back(history, {entry.seq for entry in mine}, work.now)
    if not isinstance(found, Later):
        return found
    later = found.entry
    if later.undoes is not None and any(later.undoes in (entry.change_id, entry.run_id) for entry in mine):
        return told_of(later, "undid it already")
    fields = ", ".join(found.fields)
    return told_of(later, f"{later.kind} it ({fields})" if mine[-1].kind == "created" else f"set {fields}")
