"""Any order of updates, by hand and in runs, and of undos of two accounts ends as a plain model of states says."""

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

from conftest import NOW, PROOF, SECRET, new_team
from cs_mcp.db.store import open_store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.errors import Conflict, NotFound
from cs_mcp.services.history.undo import UndoChanges
from cs_mcp.services.wiring import Services

FIELDS: dict[str, list[Any]] = {
    "industry": ["Freight", "Mining", "Retail"],
    "employees": [1, 2, 3],
    "renewal_on": [date(2026, 9, 1), date(2027, 9, 1)],
}
PEOPLE = ["ana", "ben", "lea"]
ACCOUNTS = 2


RUNS = [None, None, "run_1", "run_2"]


@dataclass(eq=False)
class Done:
    """A change as the model keeps it; `left` are the states it left fields in, `found` those before."""

    account: int
    fields: dict[str, tuple[Any, Any]]
    by: str
    run: str | None = None
    undoes: str | None = None
    left: dict[str, Done | None] = field(default_factory=dict[str, "Done | None"])
    found: dict[str, Done | None] = field(default_factory=dict[str, "Done | None"])
    id: str = ""


@dataclass
class Undoing:
    """What an undo does to one account: what it sets, the states it brings back, and changes that are in its way."""

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    states: dict[str, Done | None] = field(default_factory=dict[str, "Done | None"])
    blockers: set[str] = field(default_factory=set[str])


@dataclass
class Model:
    """Accounts as dicts, each field with its value and its state, named by the change that brought it: an update makes
    a new state, an undo brings back an old one. What a change left can be taken back while its fields are in that
    state; a field whose state is older than the change was taken back before.
    """

    values: list[dict[str, Any]] = field(default_factory=lambda: [dict.fromkeys(FIELDS) for _ in range(ACCOUNTS)])
    states: list[dict[str, Done | None]] = field(
        default_factory=lambda: [dict.fromkeys(FIELDS) for _ in range(ACCOUNTS)]
    )
    versions: list[int] = field(default_factory=lambda: [1] * ACCOUNTS)
    changes: list[Done] = field(default_factory=list[Done])

    def update(self, account: int, values: dict[str, Any], by: str, run: str | None) -> Done | None:
        differing = self._differing(account, values)
        if not differing:
            return None
        done = Done(account, differing, by, run)
        return self._enter(done, dict.fromkeys(differing, done))

    def undo(self, account: int, undoing: Undoing, by: str, undoes: str) -> Done | None:
        differing = self._differing(account, undoing.values)
        return self._enter(Done(account, differing, by, undoes=undoes), undoing.states) if differing else None

    def _differing(self, account: int, values: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        now = self.values[account]
        return {name: (now[name], value) for name, value in values.items() if now[name] != value}

    def _enter(self, done: Done, left: dict[str, Done | None]) -> Done:
        states = self.states[done.account]
        done.left, done.found = left, {name: states[name] for name in left}
        states |= left
        self.values[done.account] |= {name: value for name, (_, value) in done.fields.items()}
        self.versions[done.account] += 1
        self.changes.append(done)
        return done

    def undoing(self, mine: list[Done]) -> Undoing | None:
        """What taking back changes of one account does; None where all of it was taken back before."""
        account, found = mine[0].account, Undoing()
        for done in reversed(mine):
            now = {name: found.states.get(name, self.states[account][name]) for name in done.left}
            newer = [name for name, state in now.items() if state is not None and self._at(state) > self._at(done)]
            moved = [name for name, state in now.items() if state is not done.left[name]]
            if newer or 0 < len(moved) < len(now):
                later = self.changes[self._at(done) + 1 :]
                found.blockers |= {one.id for one in later if one.account == account and one.fields.keys() & {*moved}}
            elif not moved:
                found.states |= done.found
                found.values |= {name: was for name, (was, _) in done.fields.items()}
        return found if found.states or found.blockers else None

    def _at(self, done: Done) -> int:
        return next(place for place, one in enumerate(self.changes) if one is done)


updates = st.tuples(
    st.just("update"),
    st.sampled_from(PEOPLE),
    st.integers(0, ACCOUNTS - 1),
    st.dictionaries(st.sampled_from(sorted(FIELDS)), st.integers(0, 2), min_size=1),
    st.sampled_from(RUNS),
)
undos = st.tuples(st.just("undo"), st.sampled_from(PEOPLE), st.integers(0, 30), st.none(), st.none())
runs_undone = st.tuples(st.just("undo"), st.sampled_from(PEOPLE), st.just(0), st.none(), st.sampled_from(RUNS[2:]))


async def play(path: Path, steps: list[Any]) -> None:
    store = await open_store(f"sqlite:///{path}", clock=FixedClock(NOW))
    try:
        team = await new_team(Services(store, SECRET))
        people = {name: await desk(team, name) for name in PEOPLE}
        ana = people["ana"]
        accounts = [await ana.opens(f"Account {n}") for n in range(ACCOUNTS)]
        model = Model()
        for kind, who, number, told, run in steps:
            person = people[who]
            if kind == "update":
                wanted = {name: FIELDS[name][place % len(FIELDS[name])] for name, place in told.items()}
                writer = person if run is None else person.in_run(run)
                done = await writer.updates(accounts[number], **wanted)
                expected = model.update(number, wanted, who, run)
                assert (done.change_id is None) == (expected is None)
                if expected is not None:
                    expected.id = done.change_id
            elif run is not None or model.changes:
                undone = run or model.changes[number % len(model.changes)].id
                await undo_as_the_model(model, undone, person, who, accounts)
            for account, values, version in zip(accounts, model.values, model.versions, strict=True):
                seen = await ana.sees(account, sections=[])
                assert {name: getattr(seen, name) for name in FIELDS} == values
                assert seen.version == version
    finally:
        await store.close()


async def undo_as_the_model(model: Model, undone: str, person: Desk, who: str, accounts: list[str]) -> None:
    mine: dict[int, list[Done]] = {}
    for done in model.changes:
        if undone in (done.id, done.run):
            mine.setdefault(done.account, []).append(done)
    expected = {account: model.undoing(changes) for account, changes in mine.items()}
    command = UndoChanges(run=undone) if undone in RUNS else UndoChanges(change=undone)
    try:
        answer = await person.do(command)
    except NotFound:
        assert not mine
        return
    except Conflict as refused:
        assert all(found is None or found.blockers for found in expected.values())
        assert all(
            found is None or any(one in refused.message for one in found.blockers) for found in expected.values()
        )
        return
    why = {item.id: item.why for item in answer.items}
    for account, found in expected.items():
        said = why.get(accounts[account])
        if found is None or found.blockers:
            assert said is not None
            assert found is None or any(blocker in said for blocker in found.blockers)
            continue
        assert said is None
        if (done := model.undo(account, found, who, undone)) is not None:
            done.id = answer.change_id


@settings(
    max_examples=25 * PROOF,
    deadline=timedelta(seconds=60),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(st.one_of(updates, undos, runs_undone), min_size=6, max_size=18))
def test_any_order_of_updates_and_undos_ends_as_the_model_says(
    steps: list[Any], sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("undo") / "store.db"
    shutil.copy(sqlite_template, path)
    asyncio.run(play(path, steps))
