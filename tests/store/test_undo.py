"""Undo takes a write back by a new write, and leaves alone, in words, what someone touched since."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from book import Desk, agent_of, desk, head_of, unit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import NOW, SECRET, Team, new_team
from cs_mcp.db.bulk import bulk_create
from cs_mcp.db.store import Store, open_store
from cs_mcp.db.tasks import TaskRow
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.contract import Item
from cs_mcp.domain.errors import Conflict, CustomerSuccessError, Invalid, NotAllowed, NotFound
from cs_mcp.services.meetings import NewAttendee
from cs_mcp.services.undo import Undone
from cs_mcp.services.wiring import Services

AT = "2026-03-16 09:30 UTC"


@pytest.fixture
async def ana(team: Team) -> Desk:
    return await desk(team, "ana")


@pytest.fixture
async def ben(team: Team) -> Desk:
    return await desk(team, "ben")


@pytest.fixture
async def acme(ana: Desk) -> str:
    """An account nobody owns, so that everybody works on it."""
    return await ana.opens("Acme", industry="Freight", tags=["pilot"], renewal_on=date(2026, 9, 1))


async def refusal(undoing: Any) -> str:
    with pytest.raises(CustomerSuccessError) as refused:
        await undoing
    return refused.value.message


async def birth_of(person: Desk, record: str) -> str:
    """The change_id of the write that created a record."""
    first = (await person.changes(record=record, after=0)).items[0].change_id
    assert first is not None
    return first


# -- what is taken back ---------------------------------------------------------------------------------------


async def test_an_update_is_taken_back_whole(ana: Desk, acme: str) -> None:
    was = await ana.sees(acme)
    done = await ana.updates(
        acme, industry="Logistics", employees=80, add_tags=["vip"], renewal_on=date(2027, 1, 1), custom={"plan": "b"}
    )

    undone = await ana.undoes(done.change_id)

    assert undone.record == Undone(restored=1, refused=0)
    assert undone.items == []
    assert await ana.sees(acme) == was.model_copy(update={"version": 3})


async def test_anyone_who_sees_the_account_may_undo(ana: Desk, ben: Desk, acme: str) -> None:
    done = await ana.updates(acme, industry="Logistics")

    await ben.undoes(done.change_id)

    assert (await ana.sees(acme)).industry == "Freight"


async def test_a_meeting_goes_with_everything_that_came_out_of_it(ana: Desk, acme: str) -> None:
    was = await ana.sees(acme)
    done = await ana.meets(acme, attendees=[NewAttendee(name="Priya Nair", title="COO"), NewAttendee(name="Jon Bell")])

    undone = await ana.undoes(done.change_id)

    assert undone.record == Undone(restored=3, refused=0)
    assert await ana.sees(acme) == was


async def test_one_record_of_a_write_is_taken_back_alone(ana: Desk, acme: str) -> None:
    done = await ana.plans_work(acme, "First", "Second")
    first, second = (task.id for task in done.record.tasks)

    undone = await ana.undoes(done.change_id, records=[first])

    assert undone.record == Undone(restored=1, refused=0)
    assert [task.id for task in (await ana.sees(acme)).tasks or []] == [second]


async def test_a_run_is_taken_back_whole_and_nothing_else(ana: Desk, acme: str) -> None:
    run = ana.in_run("run_of_tonight")
    await run.updates(acme, industry="Logistics")
    await run.updates(acme, industry="Mining", employees=9)
    await run.plans_work(acme, "From the run")
    other = await run.opens("Opened by the run")
    await ana.plans_work(acme, "By hand")

    undone = await ana.undoes(run="run_of_tonight")

    now = await ana.sees(acme)
    assert undone.record == Undone(restored=3, refused=0)
    assert (now.industry, now.employees, [task.title for task in now.tasks or []]) == ("Freight", None, ["By hand"])
    assert (await refusal(ana.sees(other))).startswith(f"Opened by the run ({other}) was removed on 2026-03-16.")


async def test_another_field_changed_later_stays_and_does_not_block(ana: Desk, ben: Desk, acme: str) -> None:
    done = await ana.updates(acme, industry="Logistics")
    await ben.updates(acme, employees=80)

    await ana.undoes(done.change_id)

    now = await ana.sees(acme)
    assert (now.industry, now.employees, now.version) == ("Freight", 80, 4)


async def test_an_undo_can_be_undone_and_that_too(ana: Desk, acme: str) -> None:
    done = await ana.updates(acme, industry="Logistics")
    seen: list[str | None] = []
    change = done.change_id
    for _ in range(4):
        change = (await ana.undoes(change)).change_id
        seen.append((await ana.sees(acme)).industry)

    assert seen == ["Freight", "Logistics", "Freight", "Logistics"]


async def test_a_creation_undone_and_redone_is_there_again(ana: Desk, acme: str) -> None:
    was = await ana.sees(acme)

    removal = await ana.undoes(await birth_of(ana, acme))
    assert await ana.found_names() == []
    await ana.undoes(removal.change_id)

    assert await ana.sees(acme) == was.model_copy(update={"version": 3})


# -- what is refused, and why -----------------------------------------------------------------------------------


async def test_a_field_someone_set_since_is_left(ana: Desk, ben: Desk, acme: str) -> None:
    done = await ana.updates(acme, industry="Logistics", employees=80)
    later = await ben.updates(acme, industry="Mining")

    said = await refusal(ana.undoes(done.change_id))

    assert said == (f"Nothing could be undone: Ben Okafor set industry on {AT} (update_account, {later.change_id}).")
    assert (await ana.sees(acme)).industry == "Mining"


async def test_a_value_set_to_something_and_back_is_not_undone_over(ana: Desk, ben: Desk, acme: str) -> None:
    done = await ana.updates(acme, industry="Logistics")
    await ben.updates(acme, industry="Mining")
    back = await ben.updates(acme, industry="Logistics")

    said = await refusal(ana.undoes(done.change_id))

    assert said == f"Nothing could be undone: Ben Okafor set industry on {AT} (update_account, {back.change_id})."


async def test_a_write_undone_already_says_so(ana: Desk, ben: Desk, acme: str) -> None:
    done = await ana.updates(acme, industry="Logistics")
    undone = await ben.undoes(done.change_id)

    said = await refusal(ana.undoes(done.change_id))

    assert said == f"Nothing could be undone: Ben Okafor undid it already on {AT} ({undone.change_id})."


async def test_another_write_undone_since_is_not_taken_for_this_one(ana: Desk, ben: Desk, acme: str) -> None:
    done = await ana.updates(acme, industry="Logistics")
    later = await ben.updates(acme, industry="Mining")
    undone = await ben.undoes(later.change_id)

    said = await refusal(ana.undoes(done.change_id))

    assert said == f"Nothing could be undone: Ben Okafor set industry on {AT} (undo_changes, {undone.change_id})."


async def test_a_run_undone_already_says_so(ana: Desk, ben: Desk, acme: str) -> None:
    await ana.in_run("run_1").updates(acme, industry="Logistics")
    undone = await ben.undoes(run="run_1")

    said = await refusal(ana.undoes(run="run_1"))

    assert said == f"Nothing could be undone: Ben Okafor undid it already on {AT} ({undone.change_id})."


async def test_a_created_record_edited_since_is_left(ana: Desk, ben: Desk, acme: str) -> None:
    birth = await birth_of(ana, acme)
    later = await ben.updates(acme, employees=80)

    said = await refusal(ana.undoes(birth))

    assert said == (
        f"Nothing could be undone: Ben Okafor updated it (employees) on {AT} (update_account, {later.change_id})."
    )


async def test_a_created_account_that_others_worked_on_is_left(ana: Desk, ben: Desk, acme: str) -> None:
    birth = await birth_of(ana, acme)
    work = await ben.plans_work(acme, "Call them")

    said = await refusal(ana.undoes(birth))

    assert said == (
        f"Nothing could be undone: Ben Okafor created task {work.record.tasks[0].id} on {AT} "
        f"(create_tasks, {work.change_id})."
    )
    assert (await ana.sees(acme)).name == "Acme"


async def test_a_created_account_whose_children_were_undone_first_goes(ana: Desk, ben: Desk, acme: str) -> None:
    birth = await birth_of(ana, acme)
    work = await ben.plans_work(acme, "Call them")
    await ben.undoes(work.change_id)

    await ana.undoes(birth)

    assert await ana.found_names() == []


async def test_the_part_that_can_be_taken_back_is_and_the_rest_is_told(ana: Desk, ben: Desk, acme: str) -> None:
    done = await ana.plans_work(acme, "First", "Second", "Third")
    first, second, third = (task.id for task in done.record.tasks)
    later = await ben.updates_task(second, 1, title="Second, better")

    undone = await ana.undoes(done.change_id)

    why = f"Ben Okafor updated it (title) on {AT} (update_task, {later.change_id})"
    assert undone.record == Undone(restored=2, refused=1)
    assert [(item.id, item.outcome, item.why) for item in undone.items] == [(second, "refused", why)]
    assert [task.id for task in (await ana.sees(acme)).tasks or []] == [second]
    assert sorted(change.id for change in undone.changed) == sorted([first, third])
    assert isinstance(undone.items[0], Item)


async def test_an_agent_takes_back_its_own_writes_only(team: Team, ana: Desk, acme: str) -> None:
    bot = await agent_of(team, "ana")
    hers = await ana.updates(acme, industry="Logistics")
    its = await bot.updates(acme, employees=80)

    with pytest.raises(NotAllowed) as refused:
        await bot.undoes(hers.change_id)
    await bot.undoes(its.change_id)

    now = await ana.sees(acme)
    assert refused.value.message == (f"{hers.change_id} is not your own write, and an agent undoes only its own.")
    assert (now.industry, now.employees) == ("Logistics", None)


async def test_a_write_on_an_account_one_cannot_see_is_not_there(team: Team, ana: Desk, ben: Desk) -> None:
    acme = await ana.opens("Acme", owner="me")
    done = await ana.updates(acme, industry="Logistics")

    hidden = await refusal(ben.undoes(done.change_id))
    unknown = await refusal(ben.undoes("chg_nowhere"))

    assert hidden.replace(done.change_id, "…") == unknown.replace("chg_nowhere", "…") == "No write '…' is known."
    assert (await ana.sees(acme)).industry == "Logistics"


async def test_what_one_does_not_see_of_a_run_is_neither_touched_nor_counted(team: Team, ana: Desk, ben: Desk) -> None:
    hers, his = await ana.opens("Hers", owner="me"), await ben.opens("His", owner="me")
    lea = await desk(team, "lea")
    for account in (hers, his):
        await lea.in_run("run_1").updates(account, industry="Logistics")

    undone = await ben.undoes(run="run_1")

    assert (undone.record, undone.items) == (Undone(restored=1, refused=0), [])
    assert [(await lea.sees(account)).industry for account in (hers, his)] == ["Logistics", None]


@pytest.mark.parametrize("named", [{}, {"change": "chg_1", "run": "run_1"}], ids=["neither", "both"])
async def test_undo_names_one_thing(ana: Desk, named: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="exactly one of change and run"):
        await ana.undoes(**named)


async def test_an_unknown_record_of_a_write_is_not_found(ana: Desk, acme: str) -> None:
    done = await ana.updates(acme, industry="Logistics")

    with pytest.raises(NotFound, match="for these records"):
        await ana.undoes(done.change_id, records=["acc_other"])


async def test_a_person_undoes_more_than_two_hundred_records_only_by_a_plan(
    store: Store, team: Team, ana: Desk, acme: str
) -> None:
    run = ana.in_run("run_big")
    async with unit(store, run.principal) as work:
        object.__setattr__(work.act, "run_id", "run_big")
        shape = {"account_id": acme, "priority": "normal", "status": "open", "origin": "person"}
        await bulk_create(work, TaskRow, [shape | {"id": f"tsk_{n}", "title": f"Task {n}"} for n in range(201)])
    before = await head_of(store, team)

    with pytest.raises(NotAllowed, match="Call again with preview: true"):
        await ana.undoes(run="run_big")
    plan = await ana.undoes(run="run_big", preview=True)
    between = await head_of(store, team)
    done = await ana.commits(plan.plan_id)

    assert (before, done.record) == (between, Undone(restored=201, refused=0))
    assert (await ana.sees(acme)).tasks == []


# -- any order of updates and undos, against a plain model ------------------------------------------------------

FIELDS: dict[str, list[Any]] = {
    "industry": ["Freight", "Mining", "Retail"],
    "employees": [1, 2, 3],
    "renewal_on": [date(2026, 9, 1), date(2027, 9, 1)],
}
PEOPLE = ["ana", "ben", "lea"]
ACCOUNTS = 2


@dataclass
class Done:
    """A change as the model keeps it."""

    account: int
    fields: dict[str, tuple[Any, Any]]
    by: str
    undoes: str | None
    id: str = ""


@dataclass
class Model:
    """Accounts as dicts and the list of changes: all that undo is about."""

    states: list[dict[str, Any]] = field(default_factory=lambda: [dict.fromkeys(FIELDS) for _ in range(ACCOUNTS)])
    versions: list[int] = field(default_factory=lambda: [1] * ACCOUNTS)
    changes: list[Done] = field(default_factory=list[Done])

    def update(self, account: int, values: dict[str, Any], by: str, undoes: str | None = None) -> Done | None:
        state = self.states[account]
        fields = {name: (state[name], value) for name, value in values.items() if state[name] != value}
        if not fields:
            return None
        state |= values
        self.versions[account] += 1
        self.changes.append(Done(account, fields, by, undoes))
        return self.changes[-1]

    def blocker(self, index: int) -> tuple[Done, list[str]] | None:
        """The newest later change of the account that names a field of this one."""
        undone = self.changes[index]
        for later in reversed(self.changes[index + 1 :]):
            both = sorted(undone.fields.keys() & later.fields.keys())
            if later.account == undone.account and both:
                return later, both
        return None

    def undo(self, index: int, by: str) -> Done | None:
        undone = self.changes[index]
        before = {name: was for name, (was, _) in undone.fields.items()}
        return self.update(undone.account, before, by, undone.id)


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
        for kind, who, number, values in steps:
            person = people[who]
            if kind == "update":
                wanted = {name: FIELDS[name][place % len(FIELDS[name])] for name, place in values.items()}
                done = await person.updates(accounts[number], **wanted)
                expected = model.update(number, wanted, who)
                assert (done.change_id is None) == (expected is None)
                if expected is not None:
                    expected.id = done.change_id
            elif model.changes:
                index = number % len(model.changes)
                await undo_as_the_model(model, index, person, who, people)
            for account, state, version in zip(accounts, model.states, model.versions, strict=True):
                seen = await ana.sees(account, sections=[])
                assert {name: getattr(seen, name) for name in FIELDS} == state
                assert seen.version == version
    finally:
        await store.close()


async def undo_as_the_model(model: Model, index: int, person: Desk, who: str, people: dict[str, Desk]) -> None:
    change = model.changes[index]
    if (blocker := model.blocker(index)) is None:
        expected = model.undo(index, who)
        assert expected is not None
        expected.id = (await person.undoes(change.id)).change_id
        return
    later, fields = blocker
    with pytest.raises(Conflict) as refused:
        await person.undoes(change.id)
    did = "undid it already" if later.undoes == change.id else f"set {', '.join(fields)}"
    assert refused.value.message.startswith(f"Nothing could be undone: {people[later.by].name} {did} on ")
    assert later.id in refused.value.message


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
