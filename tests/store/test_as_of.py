"""An account as it was on a day: fields folded back from the history, figures from dated facts."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from book import Desk, desk, post_arr

from conftest import NOW, Team
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.errors import Invalid, NotFound
from cs_mcp.domain.work.meetings import MeetingKind
from cs_mcp.services.accounts.views import PersonRef
from cs_mcp.services.people.news import News, PersonNews
from cs_mcp.services.work.meetings import NewAttendee, NextMeeting

MONDAY = NOW.date()
TUESDAY, WEDNESDAY, THURSDAY = (MONDAY + timedelta(days=n) for n in (1, 2, 3))


@pytest.fixture
async def ana(team: Team) -> Desk:
    return await desk(team, "ana")


@pytest.fixture
async def acme(ana: Desk) -> str:
    """Opened on Monday."""
    return await ana.opens("Acme", industry="Freight", tags=["pilot"], renewal_on=date(2026, 9, 1), owner="me")


def days_on(clock: FixedClock, days: int = 1) -> None:
    clock.advance(timedelta(days=days))


async def test_every_day_shows_what_the_account_was_at_its_end(clock: FixedClock, ana: Desk, acme: str) -> None:
    monday = await ana.sees(acme)
    days_on(clock)
    await ana.updates(acme, industry="Logistics", add_tags=["vip"], renewal_on=date(2027, 1, 1), employees=80)
    await ana.updates(acme, industry="Mining", name="Acme Holding", custom={"region": "emea"})
    tuesday = await ana.sees(acme)
    days_on(clock)
    await ana.updates(acme, clear=["renewal_on", "owner"], custom={"region": None}, remove_tags=["pilot"])
    days_on(clock)

    for day, was in ((MONDAY, monday), (TUESDAY, tuesday)):
        renews = (was.renewal_on - day).days if was.renewal_on else None
        assert await ana.sees(acme, as_of=day) == was.model_copy(update={"as_of": day, "days_to_renewal": renews})
    wednesday = await ana.sees(acme, as_of=WEDNESDAY)
    assert wednesday == (await ana.sees(acme)).model_copy(update={"as_of": WEDNESDAY})


async def test_an_undo_is_part_of_the_past_too(clock: FixedClock, ana: Desk, acme: str) -> None:
    days_on(clock)
    done = await ana.updates(acme, industry="Logistics")
    days_on(clock)
    await ana.undoes(done.change_id)
    days_on(clock)

    seen = [await ana.sees(acme, as_of=day) for day in (MONDAY, TUESDAY, WEDNESDAY)]

    assert [(view.industry, view.version) for view in seen] == [("Freight", 1), ("Logistics", 2), ("Freight", 3)]


async def test_contacts_and_tasks_come_and_go(clock: FixedClock, ana: Desk, acme: str) -> None:
    met = await ana.meets(acme, attendees=[NewAttendee(name="Priya Nair", title="COO")])
    task = (await ana.plans_work(acme, "Call Priya")).record.tasks[0].id
    days_on(clock)
    await ana.undoes(met.change_id)
    await ana.updates_task(task, 1, status="done", outcome="Called")
    days_on(clock)
    await ana.meets(acme, attendees=[NewAttendee(name="Jon Bell")])
    days_on(clock)

    seen = {day: await ana.sees(acme, as_of=day) for day in (MONDAY, TUESDAY, WEDNESDAY)}

    people = {day: [(c.name, c.title) for c in view.people or []] for day, view in seen.items()}
    assert people == {MONDAY: [("Priya Nair", "COO")], TUESDAY: [], WEDNESDAY: [("Jon Bell", None)]}
    assert {day: [t.title for t in view.tasks or []] for day, view in seen.items()} == {
        MONDAY: ["Call Priya"],
        TUESDAY: [],
        WEDNESDAY: [],
    }
    assert {day: view.last_touch_on for day, view in seen.items()} == {
        MONDAY: MONDAY,
        TUESDAY: None,
        WEDNESDAY: WEDNESDAY,
    }


async def test_tasks_and_notes_name_the_people_they_named(clock: FixedClock, ana: Desk, acme: str) -> None:
    await ana.plans_work(acme, "Call Priya")
    await ana.notes(acme, "Quiet")
    monday = await ana.sees(acme)
    days_on(clock)

    before = await ana.sees(acme, as_of=MONDAY)

    assert before.tasks == monday.tasks
    assert before.notes == monday.notes


async def test_each_sponsor_has_their_time(clock: FixedClock, ana: Desk, acme: str) -> None:
    async def seats(name: str) -> None:
        await ana.meets(
            acme,
            attendees=[NewAttendee(name=name)],
            news=[PersonNews(contact=name, news=News.executive_sponsor)],
            next_meeting=NextMeeting(kind=MeetingKind.qbr, on=date(2026, 6, 1)),
        )

    days_on(clock)
    await seats("Priya Nair")
    days_on(clock)
    await seats("Jon Bell")
    days_on(clock)

    seen = [await ana.sees(acme, as_of=day) for day in (MONDAY, TUESDAY, WEDNESDAY)]

    sponsors = [view.executive_sponsor.name if view.executive_sponsor else None for view in seen]
    assert sponsors == [None, "Priya Nair", "Jon Bell"]
    assert [view.next_meeting_on for view in seen] == [None, date(2026, 6, 1), date(2026, 6, 1)]


async def test_arr_follows_the_days_of_its_movements(
    store: Store, team: Team, clock: FixedClock, ana: Desk, acme: str
) -> None:
    """A movement dated back is in force from its day on, whenever it was told."""
    await post_arr(store, team, acme, 1_200_000, date(2026, 1, 1))
    days_on(clock, 3)
    await post_arr(store, team, acme, -200_000, TUESDAY)
    await post_arr(store, team, acme, 500_000, date(2025, 7, 1))

    seen = [await ana.sees(acme, as_of=day) for day in (date(2025, 12, 31), MONDAY, TUESDAY)]

    assert [view.arr.amount for view in seen] == ["5000.00", "17000.00", "15000.00"]
    assert (await ana.sees(acme)).arr.amount == "15000.00"


async def test_a_day_before_the_first_entry_is_answered_from_dated_facts(
    store: Store, team: Team, clock: FixedClock, ana: Desk, acme: str
) -> None:
    await ana.meets(acme, held_on=date(2026, 3, 2))
    await post_arr(store, team, acme, 1_200_000, date(2026, 1, 1))
    await ana.plans_work(acme, "Call")
    await ana.updates(acme, industry="Mining")

    seen = await ana.sees(acme, as_of=date(2026, 3, 3))

    told = (seen.arr.amount, seen.last_touch_on, [meeting.held_on for meeting in seen.meetings or []], seen.tasks)
    assert told == ("12000.00", date(2026, 3, 2), [date(2026, 3, 2)], [])
    assert (seen.industry, seen.version) == ("Freight", 1)
    [remark] = seen.remarks
    assert remark == (
        f"{acme} was first recorded on 2026-03-16. For 2026-03-03 only dated facts are known (contract, ARR, "
        "meetings, sponsorships); its other fields are as they were first recorded."
    )


async def test_a_sponsor_known_from_dated_facts_has_a_name(clock: FixedClock, ana: Desk, acme: str) -> None:
    await ana.meets(
        acme,
        held_on=date(2026, 3, 2),
        attendees=[NewAttendee(name="Priya Nair")],
        news=[PersonNews(contact="Priya Nair", news=News.executive_sponsor)],
    )
    sponsor = (await ana.sees(acme)).executive_sponsor

    seen = await ana.sees(acme, as_of=date(2026, 3, 3))

    assert isinstance(sponsor, PersonRef)
    assert seen.executive_sponsor == sponsor
    assert [meeting.attendees for meeting in seen.meetings or []] == [["Priya Nair"]]


async def test_a_day_on_which_the_account_was_removed_says_so(clock: FixedClock, ana: Desk, acme: str) -> None:
    birth = (await ana.changes(record=acme)).items[0].change_id
    days_on(clock)
    removal = await ana.undoes(birth)
    days_on(clock)
    await ana.undoes(removal.change_id)
    days_on(clock)

    assert (await ana.sees(acme, as_of=WEDNESDAY)).remarks == []
    seen = await ana.sees(acme, as_of=TUESDAY)

    assert seen.remarks == [f"{acme} had been removed on {TUESDAY} and was restored later; it is shown as it was then."]


async def test_today_is_as_it_is_and_tomorrow_is_not_known(ana: Desk, acme: str) -> None:
    assert await ana.sees(acme, as_of=MONDAY) == (await ana.sees(acme)).model_copy(update={"as_of": MONDAY})

    with pytest.raises(Invalid) as refused:
        await ana.sees(acme, as_of=TUESDAY)

    assert refused.value.message == "as_of 2026-03-17 is in the future; today is 2026-03-16."


async def test_the_past_is_behind_the_same_wall(team: Team, clock: FixedClock, ana: Desk, acme: str) -> None:
    """Whoever sees the account today sees its past, and nobody else."""
    ben = await desk(team, "ben")
    days_on(clock)

    with pytest.raises(NotFound):
        await ben.sees(acme, as_of=MONDAY)
    await ana.updates(acme, owner="ben@acme.example")

    assert (await ben.sees(acme, as_of=MONDAY)).owner == PersonRef(id=ana.id, name="Ana Ruiz")
