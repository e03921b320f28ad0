"""An undo looks at how all would stand afterwards: nobody beside another in a seat, nothing on what is gone."""

from __future__ import annotations

from typing import Any

import pytest
from book import Desk, desk, everything_of

from conftest import Team
from cs_mcp.db.store import Store
from cs_mcp.domain.errors import CustomerSuccessError
from cs_mcp.services.accounts.merge import MergeRecords
from cs_mcp.services.history.undo import Undone
from cs_mcp.services.people.sponsors import AssignSponsor, RecordDeparture, SaveContact
from cs_mcp.services.work.meetings import NewAttendee
from cs_mcp.services.work.tasks import CreateTasks, NewTask

AT = "2026-03-16 09:30 UTC"


@pytest.fixture
async def ada(team: Team) -> Desk:
    return await desk(team, "ada")


@pytest.fixture
async def acme(ada: Desk) -> str:
    return await ada.opens("Acme")


async def enters(ada: Desk, account: str, name: str) -> tuple[str, str]:
    """A new contact; their id and the change_id."""
    done = await ada.do(SaveContact(account=account, name=name))
    return done.record.contacts[0].id, done.change_id


async def seats(ada: Desk, account: str, contact: str) -> Any:
    return await ada.do(AssignSponsor(account=account, role="executive_sponsor", contact=contact))


async def merges(ada: Desk, kind: Any, keep: str, gone: str) -> str:
    """The change_id of a merge that was carried out."""
    plan = await ada.do(MergeRecords(kind=kind, keep=keep, merge=gone, reason="One customer"))
    return (await ada.commits(plan.plan_id)).change_id


async def refused(store: Store, team: Team, undoing: Any) -> str:
    """What an undo that must change nothing is refused with."""
    before = await everything_of(store, team)
    with pytest.raises(CustomerSuccessError) as refusal:
        await undoing
    assert await everything_of(store, team) == before
    return refusal.value.message


async def test_who_left_does_not_come_back_to_a_seat_that_another_has(
    store: Store, team: Team, ada: Desk, acme: str
) -> None:
    (priya, _), (jon, _) = await enters(ada, acme, "Priya Nair"), await enters(ada, acme, "Jon Bell")
    await seats(ada, acme, priya)
    left = await ada.do(RecordDeparture(account=acme, contact=priya))
    followed = await seats(ada, acme, jon)

    said = await refused(store, team, ada.undoes(left.change_id))
    assert said == f"Nothing could be undone: Jon Bell ({jon}) is executive sponsor since 2026-03-16."

    await ada.undoes(followed.change_id)
    undone = await ada.undoes(left.change_id)
    assert undone.record == Undone(restored=2, refused=0)
    assert (await ada.sees(acme)).executive_sponsor.id == priya


@pytest.mark.parametrize("part", ["contact", "sponsorship"])
async def test_a_role_and_its_seat_are_taken_back_together(
    store: Store, team: Team, ada: Desk, acme: str, part: str
) -> None:
    priya, _ = await enters(ada, acme, "Priya Nair")
    seated = await seats(ada, acme, priya)
    [record] = [change.id for change in seated.changed if change.record == part]

    said = await refused(store, team, ada.undoes(seated.change_id, records=[record]))
    undone = await ada.undoes(seated.change_id)

    told = f"Priya Nair ({priya}) would be executive sponsor by role or seat alone"
    assert said == f"Nothing could be undone: {told}."
    assert undone.record == Undone(restored=2, refused=0)


async def test_a_seat_does_not_go_back_to_one_whose_role_stays_with_another(
    store: Store, team: Team, ada: Desk, acme: str
) -> None:
    (priya, _), (jon, _) = await enters(ada, acme, "Priya Nair"), await enters(ada, acme, "Jon Bell")
    await ada.do(AssignSponsor(account=acme, role="champion", contact=jon))
    merge = await merges(ada, "contact", priya, jon)
    seated = await seats(ada, acme, priya)

    said = await refused(store, team, ada.undoes(merge))
    await ada.undoes(seated.change_id)
    undone = await ada.undoes(merge)

    assert f"{priya}: Ada Novak set roles on {AT} (assign_sponsor, {seated.change_id})" in said
    assert f"Priya Nair ({priya}) would be champion by role or seat alone" in said
    assert f"{jon}: Jon Bell ({jon}) would be champion by role or seat alone" in said
    assert (undone.record.refused, (await ada.sees(acme)).champion.id) == (0, jon)


async def test_an_account_taken_away_again_would_leave_nothing_behind(
    store: Store, team: Team, ada: Desk, acme: str
) -> None:
    birth = (await ada.changes(record=acme)).items[0].change_id
    back = await ada.undoes((await ada.undoes(birth)).change_id)
    work = await ada.plans_work(acme, "Call them")

    said = await refused(store, team, ada.undoes(back.change_id))

    assert said == (
        f"Nothing could be undone: task {work.record.tasks[0].id} refers to it: "
        f"Ada Novak created the task on {AT} (create_tasks, {work.change_id})."
    )


async def test_a_part_of_a_merge_does_not_go_back_alone(store: Store, team: Team, ada: Desk, acme: str) -> None:
    double = await ada.opens("Acme Inc")
    work = await ada.plans_work(double, "Call them")
    task = work.record.tasks[0].id
    merge = await merges(ada, "account", acme, double)

    said = await refused(store, team, ada.undoes(merge, records=[task]))

    assert said == f"Nothing could be undone: its account {double} is removed."
    assert [line.id for line in (await ada.sees(acme)).tasks] == [task]


async def test_who_was_seated_since_a_merge_does_not_go_back_without_the_seat(
    store: Store, team: Team, ada: Desk, acme: str
) -> None:
    double = await ada.opens("Acme Inc")
    priya, _ = await enters(ada, double, "Priya Nair")
    merge = await merges(ada, "account", acme, double)
    seated = await seats(ada, acme, priya)
    [seat] = [change.id for change in seated.changed if change.record == "sponsorship"]

    undone = await ada.undoes(merge)

    why = f"Ada Novak created the sponsorship on {AT} (assign_sponsor, {seated.change_id})"
    assert [(item.id, item.why) for item in undone.items] == [(priya, f"sponsorship {seat} refers to it: {why}")]
    assert (await ada.sees(acme)).executive_sponsor.id == priya
    assert await ada.found_names() == ["Acme", "Acme Inc"]


async def test_a_merge_is_not_made_again_over_what_came_since(store: Store, team: Team, ada: Desk, acme: str) -> None:
    double = await ada.opens("Acme Inc")
    apart = await ada.undoes(await merges(ada, "account", acme, double))
    work = await ada.plans_work(double, "Call them")

    said = await refused(store, team, ada.undoes(apart.change_id))

    assert said.startswith(f"Nothing could be undone: task {work.record.tasks[0].id} refers to it: Ada Novak created")
    assert work.change_id in said


async def test_what_another_was_merged_into_stays(store: Store, team: Team, ada: Desk, acme: str) -> None:
    birth = (await ada.changes(record=acme)).items[0].change_id
    double = await ada.opens("Acme Inc")
    merge = await merges(ada, "account", acme, double)

    said = await refused(store, team, ada.undoes(birth))

    assert said.startswith(f"Nothing could be undone: account {double} refers to it: Ada Novak removed the account on ")
    assert merge in said


async def test_a_successor_stays_while_someone_is_followed_by_them(
    store: Store, team: Team, ada: Desk, acme: str
) -> None:
    priya, _ = await enters(ada, acme, "Priya Nair")
    _, birth = await enters(ada, acme, "Jon Bell")
    left = await ada.do(RecordDeparture(account=acme, contact=priya, successor="Jon Bell"))

    said = await refused(store, team, ada.undoes(birth))

    assert said == (
        f"Nothing could be undone: contact {priya} refers to it: "
        f"Ada Novak updated the contact on {AT} (record_departure, {left.change_id})."
    )


async def test_who_was_at_a_meeting_stays_while_it_does(store: Store, team: Team, ada: Desk, acme: str) -> None:
    priya, birth = await enters(ada, acme, "Priya Nair")
    met = await ada.meets(acme, attendees=[NewAttendee(contact=priya)])
    [meeting] = [change.id for change in met.changed if change.record == "meeting"]

    said = await refused(store, team, ada.undoes(birth))
    await ada.undoes(met.change_id)
    gone = await ada.undoes(birth)

    assert said.startswith(f"Nothing could be undone: meeting {meeting} refers to it: Ada Novak created the meeting ")
    assert gone.record == Undone(restored=1, refused=0)


async def test_a_task_does_not_come_back_to_a_meeting_that_is_gone(
    store: Store, team: Team, ada: Desk, acme: str
) -> None:
    met = await ada.meets(acme, follow_ups=[{"title": "Send the deck"}])
    [meeting] = [change.id for change in met.changed if change.record == "meeting"]
    part = await ada.undoes(met.change_id, records=[met.record.tasks[0].id])
    await ada.undoes(met.change_id, records=[meeting])

    said = await refused(store, team, ada.undoes(part.change_id))

    assert said == f"Nothing could be undone: its meeting {meeting} is removed."


async def test_what_others_need_stays_and_the_rest_goes(ada: Desk, acme: str) -> None:
    met = await ada.meets(acme, health_note={"text": "They are well."}, follow_ups=[{"title": "Send the deck"}])
    [meeting] = [change.id for change in met.changed if change.record == "meeting"]
    task = met.record.tasks[0]
    later = await ada.updates_task(task.id, task.version, title="Send the new deck")

    undone = await ada.undoes(met.change_id)

    why = {item.id: item.why for item in undone.items}
    assert undone.record == Undone(restored=1, refused=2)
    assert later.change_id in why[task.id]
    assert why[meeting] == f"task {task.id} refers to it and stays"
    assert (await ada.sees(acme)).notes == []


async def test_two_open_tasks_of_one_purpose_do_not_come_to_stand_side_by_side(
    store: Store, team: Team, ada: Desk, acme: str
) -> None:
    def asked(title: str) -> CreateTasks:
        return CreateTasks(account=acme, tasks=[NewTask(title=title, purpose="qbr")])

    first = (await ada.do(asked("Plan the review"))).record.tasks[0]
    done = await ada.updates_task(first.id, first.version, status="done", outcome="Held")
    second = (await ada.do(asked("Plan the next"))).record.tasks[0]

    said = await refused(store, team, ada.undoes(done.change_id))

    assert said == f"Nothing could be undone: task {second.id} is open for qbr."
