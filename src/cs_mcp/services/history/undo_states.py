"""Which state each field of a record is in, so that an undo takes back what still stands and nothing laid over it.

A write brings its fields into a new state; an undo brings them back into the one before what it took back, so that
writes undone newest first leave nothing behind. Comparing values would not do: a field that a person set to B and
back to A is in a state of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class Later:
    """Why a record's part of a write is not taken back: an entry after it, and the fields which that one set."""

    entry: Entry
    fields: list[str]


@dataclass(slots=True)
class _Unwound:
    """What taking back some steps brings: states, the steps that had brought others, and changes made after these."""

    states: States = field(default_factory=States)
    fields: list[tuple[Step, str]] = field(default_factory=list[tuple[Step, str]])
    changed: list[tuple[Step, str, int]] = field(default_factory=list[tuple[Step, str, int]])


def _unwind(steps: Sequence[Step], states: States) -> _Unwound:
    """Take back steps, given oldest first, from the states that a record's fields are in.

    A step none of whose fields is in the state it left, but all in older ones, was taken back before.
    """
    done = _Unwound()
    for step in reversed(steps):
        now = {name: done.states.get(name, states.get(name, _UNKNOWN)) for name in step.left}
        stands = any(now[name] == step.left[name] for name in step.found)
        for name, left in step.left.items():
            if now[name] != left and (stands or now[name] > step.entry.seq):
                done.changed.append((step, name, now[name]))
            elif stands and name in step.found:
                done.states[name] = step.found[name]
                done.fields.append((step, name))
    return done


def steps_of(newest_first: Sequence[Entry]) -> tuple[list[Step], States]:
    """A record's entries as steps, oldest first, and the states its fields are in after them."""
    steps: list[Step] = []
    states: States = {}
    for entry in reversed(newest_first):
        left = dict.fromkeys(entry.fields, entry.seq)
        if entry.undoes is not None:
            left |= _unwind([step for step in steps if _undoes(entry, step.entry)], states).states
        # A record that was not there yet has no fields to bring back: it is removed.
        names = ["removed_at"] if entry.kind == "created" else left
        steps.append(Step(entry, left, {name: states.get(name, _UNKNOWN) for name in names}))
        states |= left
    return steps, states


def reach_back(newest_first: Sequence[Entry]) -> bool:
    """Whether an undo among these entries may have brought back a state from before them: all of the past tells."""
    return any(entry.undoes is not None for entry in newest_first[:-1])


def taken_back(newest_first: Sequence[Entry], ours: Collection[int], now: datetime) -> Fields | Later:
    """The fields of a record as they were before some of its entries, given by `seq`; or what is in the way."""
    steps, states = steps_of(newest_first)
    mine = [step for step in steps if step.entry.seq in ours]
    unwound = _unwind(mine, states)
    if unwound.changed:
        return _changed(steps, unwound.changed)
    if not unwound.fields:
        return _undone(newest_first, [step.entry for step in mine])
    fields: Fields = {}
    for step, name in unwound.fields:
        before = {"removed_at": now} if step.entry.kind == "created" else step.entry.before or {}
        fields |= {name: before[name]} if name in before else {}
    return fields


def _changed(steps: list[Step], changed: list[tuple[Step, str, int]]) -> Later:
    """The newest of the entries that changed fields after the steps to be taken back."""
    by: dict[int, set[str]] = {}
    for step, name, state in changed:
        if state < step.entry.seq:  # an undo brought it back from further behind
            state = max(later.entry.seq for later in steps if name in later.left)
        by.setdefault(state, set()).add(name)
    newest = next(step.entry for step in steps if step.entry.seq == max(by))
    return Later(newest, sorted(by[newest.seq]))


def _undone(newest_first: Sequence[Entry], ours: list[Entry]) -> Later:
    """The undo that took these entries back already, or that of a run which passed over them."""
    undos = [entry for entry in newest_first if entry.undoes is not None and entry.seq > ours[0].seq]
    found = next((undo for undo in undos if any(_undoes(undo, entry) for entry in ours)), undos[0])
    return Later(found, found.fields)


def _undoes(undo: Entry, entry: Entry) -> bool:
    return undo.undoes is not None and undo.undoes in (entry.change_id, entry.run_id)
