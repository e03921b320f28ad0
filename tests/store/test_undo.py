"""Undo takes a write back by a new write, and leaves alone, in words, what someone touched since."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from book import Desk, agent_of, desk, head_of, unit

from conftest import Team
from cs_mcp.db.bulk import bulk_create
from cs_mcp.db.store import Store
from cs_mcp.db.work.tasks import TaskRow
from cs_mcp.domain.contract import Item
from cs_mcp.domain.errors import CustomerSuccessError, Invalid, NotAllowed, NotFound
from cs_mcp.services.history.undo import Undone
from cs_mcp.services.work.meetings import NewAttendee

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

    assert said == f"Nothing could be undone: Ben Okafor undid it already on {AT} (undo_changes, {undone.change_id})."


async def test_writes_are_undone_newest_first_back_to_the_start(ana: Desk, ben: Desk, acme: str) -> None:
    birth = await birth_of(ana, acme)
    writes = [await ana.updates(acme, industry=said) for said in ("Logistics", "Mining", "Logistics")]
    seen: list[str | None] = []
    for write in reversed(writes):
        await ben.undoes(write.change_id)
        seen.append((await ana.sees(acme)).industry)
    await ben.undoes(birth)

    assert seen == ["Mining", "Logistics", "Freight"]
    assert await ana.found_names() == []


async def test_a_write_done_again_is_in_the_way_again(ana: Desk, ben: Desk, acme: str) -> None:
    done = await ana.updates(acme, industry="Logistics")
    later = await ben.updates(acme, industry="Mining")
    undone = await ben.undoes(later.change_id)
    await ben.undoes(undone.change_id)

    said = await refusal(ana.undoes(done.change_id))

    assert said == f"Nothing could be undone: Ben Okafor set industry on {AT} (update_account, {later.change_id})."


async def test_an_undo_is_taken_back_while_what_it_left_stands_however_it_came_back(ana: Desk, acme: str) -> None:
    done = await ana.updates(acme, industry="Logistics")
    first = await ana.undoes(done.change_id)
    await ana.undoes(first.change_id)
    await ana.undoes(done.change_id)

    await ana.undoes(first.change_id)

    assert (await ana.sees(acme)).industry == "Logistics"


async def test_a_write_is_not_done_again_over_fields_that_went_further_back(ana: Desk, acme: str) -> None:
    first = await ana.updates(acme, industry="Logistics")
    second = await ana.updates(acme, industry="Mining", employees=9)
    undone = await ana.undoes(second.change_id)
    further = await ana.undoes(first.change_id)

    said = await refusal(ana.undoes(undone.change_id))

    assert said == f"Nothing could be undone: Ana Ruiz set industry on {AT} (undo_changes, {further.change_id})."
    assert (await ana.sees(acme)).employees is None


async def test_of_a_run_undone_in_part_the_rest_is_taken_back(ana: Desk, acme: str) -> None:
    run = ana.in_run("run_1")
    await run.updates(acme, industry="Logistics")
    last = await run.updates(acme, industry="Mining", employees=9)
    await ana.undoes(last.change_id)

    await ana.undoes(run="run_1")

    now = await ana.sees(acme)
    assert (now.industry, now.employees) == ("Freight", None)


async def test_a_run_undone_over_what_was_undone_already_keeps_that_from_being_done_again(
    ana: Desk, ben: Desk, acme: str
) -> None:
    run = ana.in_run("run_1")
    await run.updates(acme, industry="Logistics")
    between = await ben.updates(acme, industry="Retail")
    undone = await ben.undoes(between.change_id)
    await run.updates(acme, industry="Mining")
    whole = await ana.undoes(run="run_1")

    said = await refusal(ben.undoes(undone.change_id))

    assert said == f"Nothing could be undone: Ana Ruiz set industry on {AT} (undo_changes, {whole.change_id})."
    assert (await ana.sees(acme)).industry == "Freight"


async def test_a_run_undone_already_says_so(ana: Desk, ben: Desk, acme: str) -> None:
    await ana.in_run("run_1").updates(acme, industry="Logistics")
    undone = await ben.undoes(run="run_1")

    said = await refusal(ana.undoes(run="run_1"))

    assert said == f"Nothing could be undone: Ben Okafor undid it already on {AT} (undo_changes, {undone.change_id})."


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
        f"Nothing could be undone: task {work.record.tasks[0].id} refers to it: "
        f"Ben Okafor created the task on {AT} (create_tasks, {work.change_id})."
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
