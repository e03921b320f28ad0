"""Which state each field of a record is in, so that an undo takes back what still stands and nothing laid over it.

A write brings its fields into a new state; an undo brings them back into the one before what it took back, so that
writes undone newest first leave nothing behind. Comparing values would not do: a field that a person set to B and
back to A is in a state of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cs_mcp.db.unit_of_work import Entry
from cs_mcp.domain.changes import Fields

States = dict[str, int]  # by field, the `seq` of the entry that brought the state
_UNKNOWN: Final = 0  # a state from before the entries at hand


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of a record, with the states it left its fields in, and those that taking it back brings again."""

    entry: Entry
    left: States
    found: States

    def before(self, now: datetime) -> Fields:
        return self.entry.before or ({"removed_at": now} if self.entry.kind == "created" else {})


@dataclass(frozen=True, slots=True)
class Later:
    """Why a record's part of a write is not taken back: an entry after it, and the fields which that one set."""

    entry: Entry
    fields: list[str]


def steps_of(newest_first: Sequence[Entry]) -> tuple[list[Step], States]:
    """A record's entries as steps, oldest first, and the states its fields are in after them."""
    steps: list[Step] = []
    states: States = {}
    for entry in reversed(newest_first):
        left = dict.fromkeys(entry.fields, entry.seq)
        if undone := [step for step in steps if _undoes(entry, step.entry)]:
            left = {name: state for step in reversed(undone) for name, state in step.found.items()}
        # A record that was not there yet has no fields to bring back: it is removed.
        names = ["removed_at"] if entry.kind == "created" else left
        steps.append(Step(entry, left, {name: states.get(name, _UNKNOWN) for name in names}))
        states |= left
    return steps, states


def spans(newest_first: Iterable[Entry]) -> bool:
    """Whether a run was undone that may have written before these entries too: the states need all of the past."""
    entries = list(newest_first)
    undone = {entry.undoes for entry in entries} - {None}
    return any(entry.run_id in undone for entry in entries)


def taken_back(newest_first: Sequence[Entry], ours: Collection[int], now: datetime) -> Fields | Later:
    """The fields of a record as they were before some of its entries, given by `seq`; or what is in the way."""
    steps, states = steps_of(newest_first)
    fields: Fields = {}
    over: dict[int, list[str]] = {}
    for step in reversed(steps):
        if step.entry.seq not in ours:
            continue
        before = step.before(now)
        for name, left in step.left.items():
            state = states.get(name, _UNKNOWN)
            if state == left and name in step.found:
                states[name] = step.found[name]
                fields |= {name: before[name]} if name in before else {}
            elif state > step.entry.seq:
                over.setdefault(state, []).append(name)
    if over:
        newest = max(over)
        entry = next(step.entry for step in steps if step.entry.seq == newest)
        return Later(entry, sorted({*over[newest]}))
    if not fields:
        return _undone(newest_first, [step.entry for step in steps if step.entry.seq in ours])
    return fields


def _undone(newest_first: Sequence[Entry], ours: list[Entry]) -> Later:
    """The undo that took these entries back already, or that of a run which passed over them."""
    undos = [entry for entry in newest_first if entry.undoes is not None and entry.seq > ours[0].seq]
    found = next((undo for undo in undos if any(_undoes(undo, entry) for entry in ours)), undos[0])
    return Later(found, found.fields)


def _undoes(undo: Entry, entry: Entry) -> bool:
    return undo.undoes is not None and undo.undoes in (entry.change_id, entry.run_id)
