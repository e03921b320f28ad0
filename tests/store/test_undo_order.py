"""Any order of updates and undos of two accounts ends as a plain model of states says."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from book import Desk, desk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import NOW, SECRET, new_team
from cs_mcp.db.store import open_store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.errors import Conflict
from cs_mcp.services.wiring import Services

FIELDS: dict[str, list[Any]] = {
    "industry": ["Freight", "Mining", "Retail"],
    "employees": [1, 2, 3],
    "renewal_on": [date(2026, 9, 1), date(2027, 9, 1)],
}
PEOPLE = ["ana", "ben", "lea"]
ACCOUNTS = 2


@dataclass
class Done:
    """A change as the model keeps it, with the states it left its fields in and those that an undo brings again."""

    account: int
    fields: dict[str, tuple[Any, Any]]
    by: str
    left: dict[str, object]
    found: dict[str, object]
    undoes: str | None = None
    id: str = ""


@dataclass
class Model:
    """Accounts as dicts, each field with its value and the state that it is in: a write makes a new state, an undo
    brings back an old one. What a change left can be taken back while its fields are in that state.
    """

    values: list[dict[str, Any]] = field(default_factory=lambda: [dict.fromkeys(FIELDS) for _ in range(ACCOUNTS)])
    states: list[dict[str, object]] = field(
        default_factory=lambda: [{name: object() for name in FIELDS} for _ in range(ACCOUNTS)]
    )
    versions: list[int] = field(default_factory=lambda: [1] * ACCOUNTS)
    changes: list[Done] = field(default_factory=list[Done])

    def update(self, account: int, values: dict[str, Any], by: str) -> Done | None:
        now = self.values[account]
        differing = {name: value for name, value in values.items() if now[name] != value}
        return self._enter(account, differing, by, {name: object() for name in differing}) if differing else None

    def undo(self, index: int, by: str) -> Done:
        undone = self.changes[index]
        before = {name: was for name, (was, _) in undone.fields.items()}
        done = self._enter(undone.account, before, by, undone.found)
        done.undoes = undone.id
        return done

    def _enter(self, account: int, values: dict[str, Any], by: str, left: dict[str, object]) -> Done:
        now, states = self.values[account], self.states[account]
        fields = {name: (now[name], value) for name, value in values.items()}
        self.changes.append(Done(account, fields, by, left, {name: states[name] for name in left}))
        now |= values
        states |= left
        self.versions[account] += 1
        return self.changes[-1]

    def blockers(self, index: int) -> list[Done]:
        """Later changes of the account, one of which must be named as being in the way; none where nothing is."""
        undone = self.changes[index]
        moved = {name for name, left in undone.left.items() if self.states[undone.account][name] is not left}
        later = [done for done in self.changes[index + 1 :] if done.account == undone.account]
        return [done for done in later if done.fields.keys() & moved]


updates = st.tuples(
    st.just("update"),
    st.sampled_from(PEOPLE),
    st.integers(0, ACCOUNTS - 1),
    st.dictionaries(st.sampled_from(sorted(FIELDS)), st.integers(0, 2), min_size=1),
)
undos = st.tuples(st.just("undo"), st.sampled_from(PEOPLE), st.integers(0, 30), st.none())


async def play(path: Path, steps: list[Any]) -> None:
    store = await open_store(f"sqlite:///{path}", clock=FixedClock(NOW))
    try:
        team = await new_team(Services(store, SECRET))
        people = {name: await desk(team, name) for name in PEOPLE}
        ana = people["ana"]
        accounts = [await ana.opens(f"Account {n}") for n in range(ACCOUNTS)]
        model = Model()
        for kind, who, number, told in steps:
            person = people[who]
            if kind == "update":
                wanted = {name: FIELDS[name][place % len(FIELDS[name])] for name, place in told.items()}
                done = await person.updates(accounts[number], **wanted)
                expected = model.update(number, wanted, who)
                assert (done.change_id is None) == (expected is None)
                if expected is not None:
                    expected.id = done.change_id
            elif model.changes:
                index = number % len(model.changes)
                await undo_as_the_model(model, index, person, who, people)
            for account, values, version in zip(accounts, model.values, model.versions, strict=True):
                seen = await ana.sees(account, sections=[])
                assert {name: getattr(seen, name) for name in FIELDS} == values
                assert seen.version == version
    finally:
        await store.close()


async def undo_as_the_model(model: Model, index: int, person: Desk, who: str, people: dict[str, Desk]) -> None:
    change = model.changes[index]
    blockers = model.blockers(index)
    if not blockers:
        model.undo(index, who).id = (await person.undoes(change.id)).change_id
        return
    with pytest.raises(Conflict) as refused:
        await person.undoes(change.id)
    [named] = [done for done in blockers if done.id in refused.value.message]
    did = "undid it already" if named.undoes == change.id else "set "
    assert refused.value.message.startswith(f"Nothing could be undone: {people[named.by].name} {did}")


@settings(
    max_examples=20,
    deadline=timedelta(seconds=60),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(st.one_of(updates, undos), min_size=4, max_size=14))
def test_any_order_of_updates_and_undos_ends_as_the_model_says(
    steps: list[Any], sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("undo") / "store.db"
    shutil.copy(sqlite_template, path)
    asyncio.run(play(path, steps))
