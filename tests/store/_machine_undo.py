"""Steps back and again: what was sent with a key sent once more, undo of a write or a part of it."""

from __future__ import annotations

from typing import Any

from _machine import Born, Company, move, which, who
from _model import Draft, Refused
from hypothesis import strategies as st

from cs_mcp.services.history.undo import UndoChanges


class Undos(Company):
    @move(2, number=which)
    def sends_one_again(self, number: int) -> None:
        """What was sent with a key, word for word: the answer it had then, and nothing written."""
        if self.keyed:
            (name, _, _), (command, _) = list(self.keyed.items())[number % len(self.keyed)]
            self.sends(name, command, lambda born: Draft(self.model))

    @move(1, name=who, number=which, part=which)
    def undoes_a_part(self, name: str, number: int, part: int) -> None:
        if self.made:
            change = self.made[-1 - number % min(4, len(self.made))]
            records = sorted({entry.id for entry in self.model.entries if entry.change == change})
            self._undoes(name, change, [records[part % len(records)]])

    @move(6, name=who, number=which, among=st.sampled_from([1, 1, 6, 6, 40]))
    def undoes_a_write(self, name: str, number: int, among: int) -> None:
        if self.made:
            self._undoes(name, self.made[-1 - number % min(among, len(self.made))], None)

    def _undoes(self, name: str, change: str, only: list[str] | None) -> None:
        answer = self.attempt(self.desks[name].do(UndoChanges(change=change, records=only)))
        told: list[Any] = []

        def effect(born: Born) -> Draft:
            undoing = self.model.undo(change, lambda account: self.sees(name, account), only)
            told.append(undoing)
            return undoing.draft

        self._happened(answer, effect, undoes=change)
        if told and not isinstance(answer, Exception):
            [undoing] = told
            assert (answer.record.restored, answer.record.refused) == (undoing.restored, len(undoing.refused))
            said = {item.id: item.why for item in answer.items}
            assert said.keys() == undoing.refused.keys()
            for record, blocking in undoing.refused.items():
                assert any(one in said[record] for one in blocking), (said[record], blocking)

    @move(2, name=who, number=which, meanwhile=st.none() | which)
    def undoes_by_a_plan(self, name: str, number: int, meanwhile: int | None) -> None:
        """Shown, and carried out unless another undo came between that has to do with it."""
        if not self.made:
            return
        change = self.made[-1 - number % min(8, len(self.made))]
        plan = self.attempt(self.desks[name].do(UndoChanges(change=change, preview=True)))

        def undoing(born: Born | None = None) -> Draft:
            return self.model.undo(change, lambda account: self.sees(name, account)).draft

        try:
            planned = undoing()
        except Refused as refused:
            assert type(plan) is refused.kind, plan
            return
        shown, entries = self.shows(plan, planned), len(self.model.entries)
        if meanwhile is not None:
            self._undoes("ada", self.made[-1 - meanwhile % min(8, len(self.made))], None)
        self.carries_out(name, plan, shown, self.model.entries[entries:], undoing, undoes=change)
