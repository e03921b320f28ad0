"""merge_records through the protocol: what a person sees of two records that become one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from conftest import NOW, Team
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind

from ._client import Answer, Desk, Desks, writing

ONE_PERSON = "if they are one person, call merge_records with kind 'contact'."
FOLLOWS = "1 account team, 1 arr movement, 2 contacts, 1 health note, 1 meeting, 2 sponsorships, 2 tasks."
WHY = "The same customer, entered twice"


async def head(desk: Desk, account: str, *sections: str) -> dict[str, Any]:
    return (await desk.done("get_account", account=account, sections=list(sections))).data


async def planned(desk: Desk, keep: str, merge: str, kind: str = "account", **more: Any) -> Answer:
    return await desk.done("merge_records", kind=kind, keep=keep, merge=merge, reason=WHY, **more)


async def merged(desk: Desk, keep: str, merge: str, kind: str = "account", **more: Any) -> Answer:
    plan = await planned(desk, keep, merge, kind, **more)
    return await desk.done("commit_plan", plan=plan["plan_id"])


async def refused(desk: Desk, keep: str, merge: str, kind: str = "account", **more: Any) -> str:
    before = await desk.head()
    said = await desk.refused("merge_records", kind=kind, keep=keep, merge=merge, reason=WHY, **more)
    assert await desk.head() == before
    return said


async def post(store: Store, team: Team, account: str, minor: int) -> None:
    async with writing(store, team.workspace) as work:
        work.movements.add(
            ArrMovement(
                id=work.ids.new("arr_movement"), account_id=account, on=NOW.date(), kind=MovementKind.new,
                amount_minor=minor, currency="USD",
            )
        )  # fmt: skip


@pytest.fixture
async def globex(csm: Desk) -> str:
    """The record that stays: little is known of it."""
    account = await csm.account("Globex", tags=["a"], custom={"region": "emea"}, tier="gold")
    await csm.done("save_contact", account=account, name="Priya Nair", email="priya@globex.example")
    await csm.done("assign_sponsor", account=account, role="executive_sponsor", contact="Priya Nair")
    await csm.done("create_tasks", account=account, tasks=[{"title": "Prepare QBR", "purpose": "qbr"}])
    return account


@pytest.fixture
async def double(csm: Desk, team: Team, store: Store) -> str:
    """Its double, which knows more and has people, work and history of its own."""
    account = await csm.account(
        "Globex Corporation", domain="globex.example", industry="Freight", tags=["b"],
        custom={"region": "us", "nps": 9}, renewal_on="2026-09-30",
    )  # fmt: skip
    for person in ({"name": "P. Nair", "email": "PRIYA@globex.example"}, {"name": "Tom Ode", "title": "CIO"}):
        await csm.done("save_contact", account=account, **person)
    await csm.done("assign_sponsor", account=account, role="executive_sponsor", contact="Tom Ode")
    await csm.done("assign_sponsor", account=account, role="champion", contact="P. Nair")
    await csm.done("assign_sponsor", account=account, role="our_executive_sponsor", contact="Lea Brandt")
    await csm.done(
        "create_tasks", account=account, tasks=[{"title": "QBR deck", "purpose": "qbr"}, {"title": "Send contract"}]
    )
    await csm.done(
        "log_meeting", account=account, kind="qbr", summary="All fine", held_on="2026-03-10",
        attendees=[{"contact": "P. Nair"}], health_note={"text": "They like it"},
    )  # fmt: skip
    await post(store, team, account, 500_000)
    return account


async def test_a_merge_is_planned_whatever_the_call_says_and_tells_it_all(
    csm: Desk, team: Team, store: Store, globex: str, double: str
) -> None:
    before = await csm.head()

    plan = await planned(csm, globex, double)

    assert await csm.head() == before
    twin, tom = (await csm.done("list_contacts", account=double))["contacts"]
    [priya] = (await csm.done("list_contacts", account=globex))["contacts"]
    work = {task["title"]: task["id"] for task in (await csm.done("list_tasks"))["items"]}
    assert plan["would_trigger"] == [
        f"To Globex ({globex}): {FOLLOWS}",
        "Filled from Globex Corporation: domain, industry, renewal_on, tags, custom.nps.",
        "name stays Globex; Globex Corporation gives way.",
        "tier stays gold; standard gives way.",
        "custom.region stays emea; us gives way.",
        f"Tom Ode ({tom['id']}) is executive sponsor no more: Globex has one.",
        f"Task QBR deck ({work['QBR deck']}) is canceled: {work['Prepare QBR']} has its purpose.",
        f"Priya Nair ({priya['id']}) and P. Nair ({twin['id']}) share PRIYA@globex.example: {ONE_PERSON}",
    ]


async def test_all_that_belongs_to_the_merged_account_follows(
    csm: Desk, team: Team, store: Store, globex: str, double: str
) -> None:
    await post(store, team, globex, 100_000)

    done = await merged(csm, globex, double)

    assert done["record"]["arr"] == {"amount": "6000.00", "currency": "USD"}
    found = await head(csm, globex, "people", "tasks", "meetings", "notes")
    kept = {name: found.get(name) for name in ("name", "domain", "industry", "tags", "custom", "tier", "renewal_on")}
    assert kept == {
        "name": "Globex", "domain": "globex.example", "industry": "Freight", "tags": ["a", "b"],
        "custom": {"region": "emea", "nps": 9}, "tier": "gold", "renewal_on": "2026-09-30",
    }  # fmt: skip
    assert found["arr"] == {"amount": "6000.00", "currency": "USD"}
    assert found["last_meeting_on"] == "2026-03-10"
    assert (found["executive_sponsor"]["name"], found["champion"]["name"]) == ("Priya Nair", "P. Nair")
    assert any("Lea Brandt" in seat for seat in found["team"])
    assert {person["name"]: person.get("roles", []) for person in found["people"]} == {
        "Priya Nair": ["executive_sponsor"], "P. Nair": ["champion"], "Tom Ode": [],
    }  # fmt: skip
    assert [task["title"] for task in found["tasks"]] == ["Prepare QBR", "Send contract"]
    assert [meeting["attendees"] for meeting in found["meetings"]] == [["P. Nair"]]
    assert len(found["notes"]) == 1
    assert (await csm.done("find_accounts", sum_arr=True))["arr_total"] == [{"amount": "6000.00", "currency": "USD"}]
    history = (await csm.done("list_contacts", account=globex, history=True))["history"]
    sponsors = [seat for seat in history if seat["role"] == "executive_sponsor"]
    assert {seat["contact"]["name"]: seat.get("to_on") for seat in sponsors} == {
        "Priya Nair": None,
        "Tom Ode": "2026-03-16",
    }


async def test_the_old_id_and_name_lead_a_read_on_and_tell_a_write_where_it_went(
    csm: Desk, globex: str, double: str
) -> None:
    await merged(csm, globex, double)

    for ref in (double, "Globex Corporation"):
        found = await csm.done("get_account", account=ref)
        assert (found["id"], found["matched_by"]) == (globex, "merged")
        assert "was merged into this account" in found.text
    assert (await csm.done("list_tasks", account=double))["total"] == 2
    said = await csm.refused("update_account", account=double, expected_version=1, tier="gold")
    assert f"Globex Corporation ({double}) was merged into Globex ({globex})" in said
    assert f"Call again with {globex}" in said
    assert "was merged into Globex" in await refused(csm, globex, double)


async def test_one_undo_brings_both_back(csm: Desk, globex: str, double: str) -> None:
    sections = ("people", "tasks", "meetings", "notes")
    before = [await head(csm, account, *sections) for account in (globex, double)]

    done = await merged(csm, globex, double)
    undone = await csm.done("undo_changes", change=done["change_id"])

    assert undone["record"]["refused"] == 0

    def plain(view: Any) -> Any:
        if isinstance(view, dict):
            return {name: plain(value) for name, value in view.items() if name != "version"}
        return [plain(value) for value in view] if isinstance(view, list) else view

    assert plain([await head(csm, account, *sections) for account in (globex, double)]) == plain(before)


async def test_merges_in_a_row_lead_to_the_last(csm: Desk, globex: str, double: str) -> None:
    third = await csm.account("Globex Holding")
    await merged(csm, globex, double)
    await merged(csm, third, globex)

    assert (await csm.done("get_account", account=double))["id"] == third
    assert {c["name"] for c in (await head(csm, third, "people"))["people"]} == {"Priya Nair", "P. Nair", "Tom Ode"}


async def test_what_cannot_be_one_is_refused_in_words(
    csm: Desk, team: Team, desks: Desks, globex: str, double: str
) -> None:
    euros = await csm.account("Globex EU", currency="EUR")
    hidden = await (await desks.of(team, "kim")).account("Hidden")

    assert "cannot be merged with itself" in await refused(csm, globex, "Globex")
    assert "is in USD" in await refused(csm, globex, euros)
    assert "No account" in await refused(csm, globex, hidden)
    assert "reason" in await csm.refused("merge_records", kind="account", keep=globex, merge=double)
    gone = await csm.account("Gone")
    made = (await csm.done("list_changes", record=gone))["items"][0]["change_id"]
    await csm.done("undo_changes", change=made)
    assert f"Gone ({gone}) was removed on 2026-03-16" in await refused(csm, globex, gone)


async def test_a_family_stays_a_tree(csm: Desk, globex: str) -> None:
    """Above ← double ← middle ← globex: the kept account takes the double's place, and nothing is below itself."""
    above = await csm.account("Above")
    double = await csm.account("Double", parent=above)
    middle = await csm.account("Middle", parent=double)
    await csm.done("update_account", account=globex, expected_version=1, parent=middle)

    await merged(csm, globex, double)

    assert [(await head(csm, one)).get("parent_id") for one in (above, globex, middle)] == [None, above, globex]


async def test_what_came_up_since_the_plan_stops_it(csm: Desk, globex: str, double: str) -> None:
    plan = await planned(csm, globex, double)
    note = (await csm.done("add_health_note", account=double, text="News"))["record"]["id"]
    said = await csm.refused("commit_plan", plan=plan["plan_id"])
    assert f"would now change {note}, which it did not show" in said


async def test_who_sees_the_merged_one_by_its_team_alone_can_still_undo(
    csm: Desk, team: Team, desks: Desks, store: Store
) -> None:
    kim = await desks.of(team, "kim")
    keep, double = await kim.account("Keep"), await csm.account("Double")
    await csm.done("assign_sponsor", account=double, role="our_executive_sponsor", contact="Kim Sato")
    await csm.done("save_contact", account=double, name="Tom Ode")

    done = await merged(kim, keep, double)
    assert [c["name"] for c in (await head(kim, keep, "people"))["people"]] == ["Tom Ode"]
    await kim.done("undo_changes", change=done["change_id"])

    assert [c["name"] for c in (await head(kim, double, "people"))["people"]] == ["Tom Ode"]
    assert (await head(kim, keep, "people"))["people"] == []


async def test_an_agent_proposes_a_merge(csm: Desk, team: Team, desks: Desks) -> None:
    lea = await desks.of(team, "lea")
    for name in ("One", "Other"):
        account = await csm.account(name)
        await lea.done("update_account", account=account, expected_version=1, clear=["owner"])
    plan = await planned(await desks.of(team, "bot"), "One", "Other")
    assert plan["proposal"]
    await csm.done("commit_plan", plan=plan["plan_id"])
    assert (await csm.done("get_account", account="Other"))["name"] == "One"


async def test_the_past_is_told_as_it_was(csm: Desk, clock: FixedClock, globex: str, double: str) -> None:
    clock.advance(timedelta(days=2))
    done = await merged(csm, globex, double)
    clock.advance(timedelta(days=2))

    async def names(day: str) -> set[str]:
        found = await csm.done("get_account", account=globex, as_of=day, sections=["people"])
        return {person["name"] for person in found["people"]}

    assert await names("2026-03-17") == {"Priya Nair"}
    assert await names("2026-03-19") == {"Priya Nair", "P. Nair", "Tom Ode"}
    await csm.done("undo_changes", change=done["change_id"])
    clock.advance(timedelta(days=2))
    assert await names("2026-03-21") == {"Priya Nair"}
    past = await csm.done("get_account", account=double, as_of="2026-03-17", sections=["people"])
    assert {person["name"] for person in past["people"]} == {"P. Nair", "Tom Ode"}


# -- contacts ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def people(csm: Desk, globex: str) -> dict[str, str]:
    """Two records of one person, each with a seat and in one meeting; and Tom, whom one of them succeeds."""
    double = await csm.done(
        "save_contact", account=globex, name="P. Nair", title="CFO", roles=["decision_maker"], sentiment="positive"
    )
    tom = await csm.done("save_contact", account=globex, name="Tom Ode")
    await csm.done(
        "log_meeting", account=globex, kind="call", summary="Both",
        attendees=[{"contact": "P. Nair"}, {"contact": "Priya Nair", "attended": False}, {"contact": "Tom Ode"}],
    )  # fmt: skip
    await csm.done("assign_sponsor", account=globex, role="champion", contact="P. Nair", since="2026-01-05")
    await csm.done("record_departure", account=globex, contact="Tom Ode", successor="P. Nair")
    known = (await csm.done("list_contacts", account=globex))["contacts"]
    return {contact["name"]: contact["id"] for contact in known} | {
        "double": double["record"]["contacts"][0]["id"], "tom": tom["record"]["contacts"][0]["id"],
    }  # fmt: skip


async def test_two_contacts_become_one_with_their_seats_meetings_and_roles(
    csm: Desk, globex: str, people: dict[str, str]
) -> None:
    done = await merged(csm, "Priya Nair", "P. Nair", "contact", account=globex)

    assert done["record"]["followed"] == {"contact": 1, "meeting": 1, "sponsorship": 1}
    listed = await csm.done("list_contacts", account=globex, history=True)
    found = {contact["name"]: contact for contact in listed["contacts"]}
    assert set(found) == {"Priya Nair", "Tom Ode"}
    priya = found["Priya Nair"]
    assert {name: priya[name] for name in ("title", "email", "sentiment", "roles", "last_touch_on")} == {
        "title": "CFO", "email": "priya@globex.example", "sentiment": "positive",
        "roles": ["champion", "decision_maker", "executive_sponsor"], "last_touch_on": "2026-03-16",
    }  # fmt: skip
    assert listed["champion"]["id"] == priya["id"]
    account = await head(csm, globex, "meetings")
    assert account["meetings"][0]["attendees"] == ["Priya Nair", "Tom Ode"]
    said = await csm.refused("record_departure", account=globex, contact=people["double"])
    assert f"was merged into Priya Nair ({priya['id']})" in said

    await csm.done("undo_changes", change=done["change_id"])
    assert (await csm.done("list_contacts", account=globex))["champion"]["id"] == people["double"]
    assert (await head(csm, globex, "meetings"))["meetings"][0]["attendees"] == [
        "P. Nair", "Priya Nair (absent)", "Tom Ode",
    ]  # fmt: skip


async def test_contacts_that_cannot_be_one_are_refused_in_words(
    csm: Desk, globex: str, double: str, people: dict[str, str]
) -> None:
    elsewhere = (await csm.done("list_contacts", account=double))["contacts"][0]["id"]
    priya = people["Priya Nair"]
    assert "belongs to one account" in await refused(csm, priya, elsewhere, "contact")
    assert "cannot be merged with itself" in await refused(csm, priya, priya, "contact")
    assert "no account is named" in await refused(csm, "Priya Nair", priya, "contact")
    assert f"Keep {priya}" in await refused(csm, people["tom"], priya, "contact")
    await merged(csm, priya, people["double"], "contact")
    assert "was merged into Priya Nair" in await refused(csm, priya, people["double"], "contact")
