"""People at the customer, through the client: who is there, who sits where, who left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from ._client import Desk

TODAY = "2026-03-16"


@pytest.fixture
async def globex(ana: Desk) -> str:
    """An account with a finance chief and an IT manager."""
    account = await ana.account("Globex", segment="enterprise")
    for person in (
        {"name": "Priya Natarajan", "title": "CFO", "level": "c_level", "department": "Finance"},
        {"name": "Tom Ode", "title": "IT manager", "level": "manager", "department": "IT"},
    ):
        await ana.done("save_contact", account=account, **person)
    return account


async def people(ana: Desk, account: str, **more: object) -> dict[str, dict[str, object]]:
    listed = await ana.done("list_contacts", account=account, **more)
    return {contact["name"]: contact for contact in listed["contacts"]}


async def test_a_new_contact_is_active_confirmed_today_and_at_version_1(ana: Desk, globex: str) -> None:
    found = (await people(ana, globex))["Priya Natarajan"]

    assert {key: found[key] for key in ("title", "level", "department", "status", "last_confirmed_on", "version")} == {
        "title": "CFO",
        "level": "c_level",
        "department": "Finance",
        "status": "active",
        "last_confirmed_on": TODAY,
        "version": 1,
    }


async def test_a_namesake_is_not_entered_twice_without_a_reason(ana: Desk, globex: str) -> None:
    said = await ana.refused("save_contact", account=globex, name="priya natarajan")
    assert "Priya Natarajan" in said
    assert "allow_duplicate" in said
    assert "reason" in await ana.refused("save_contact", account=globex, name="Tom Ode", allow_duplicate=True)

    await ana.done("save_contact", account=globex, name="Tom Ode", allow_duplicate=True, reason="His son, in sales")

    ambiguous = await ana.refused("record_departure", account=globex, contact="Tom Ode")
    assert ambiguous.startswith("2 contacts of Globex are called 'Tom Ode'")


async def test_an_update_keeps_what_it_leaves_out_and_wants_the_version(ana: Desk, globex: str) -> None:
    assert "expected_version" in await ana.refused("save_contact", account=globex, contact="Tom Ode", title="CTO")

    await ana.done(
        "save_contact", account=globex, contact="Tom Ode", expected_version=1, title="CTO", clear=["department"]
    )
    stale = await ana.refused("save_contact", account=globex, contact="Tom Ode", expected_version=1, title="CIO")

    found = (await people(ana, globex))["Tom Ode"]
    assert (found["title"], found["level"], found.get("department")) == ("CTO", "manager", None)
    assert "Ana Ruiz changed department, title" in stale


async def test_assigning_over_a_sponsor_keeps_both_times_in_the_history(ana: Desk, globex: str) -> None:
    await ana.done(
        "assign_sponsor", account=globex, role="executive_sponsor", contact="Priya Natarajan", since="2026-01-10"
    )
    over = await ana.done(
        "assign_sponsor", account=globex, role="executive_sponsor", contact="Tom Ode", since="2026-03-01"
    )

    listed = await ana.done("list_contacts", account=globex, history=True)
    assert over["triggered"] == ["Tom Ode is executive sponsor of Globex from 2026-03-01 after Priya Natarajan."]
    assert listed["executive_sponsor"]["name"] == "Tom Ode"
    assert [(seat["contact"]["name"], seat["from_on"], seat.get("to_on")) for seat in listed["history"]] == [
        ("Tom Ode", "2026-03-01", None),
        ("Priya Natarajan", "2026-01-10", "2026-02-28"),
    ]
    # The role goes with the seat, and a seat in January does not make the confirmation of March older.
    roles = {name: contact.get("roles", []) for name, contact in (await people(ana, globex)).items()}
    assert roles == {"Priya Natarajan": [], "Tom Ode": ["executive_sponsor"]}
    assert (await people(ana, globex))["Priya Natarajan"]["last_confirmed_on"] == TODAY


async def test_a_correction_leaves_no_time_in_the_seat_and_one_undo_brings_it_back(ana: Desk, globex: str) -> None:
    await ana.done("assign_sponsor", account=globex, role="champion", contact="Priya Natarajan")
    corrected = await ana.done("assign_sponsor", account=globex, role="champion", contact="Tom Ode", correction=True)

    after = await ana.done("list_contacts", account=globex, history=True)
    assert [seat["contact"]["name"] for seat in after["history"]] == ["Tom Ode"]

    await ana.done("undo_changes", change=corrected["change_id"])
    back = await ana.done("list_contacts", account=globex, history=True)
    assert [seat["contact"]["name"] for seat in back["history"]] == ["Priya Natarajan"]
    assert back["champion"]["name"] == "Priya Natarajan"


async def test_our_executive_sponsor_is_one_of_us(ana: Desk, globex: str) -> None:
    await ana.done("assign_sponsor", account=globex, role="our_executive_sponsor", contact="Lea Brandt")
    await ana.done("assign_sponsor", account=globex, role="our_executive_sponsor", contact="Ada Novak")

    assert (await ana.done("list_contacts", account=globex))["our_executive_sponsor"]["name"] == "Ada Novak"


async def test_a_departure_says_what_falls_vacant_and_bars_the_seat(ana: Desk, globex: str) -> None:
    await ana.done("assign_sponsor", account=globex, role="executive_sponsor", contact="Priya Natarajan")

    left = await ana.done("record_departure", account=globex, contact="Priya Natarajan", successor="Ines Alba")

    assert f"Globex has no executive sponsor since {TODAY}: Priya Natarajan departed." in left["triggered"]
    account = await ana.done("get_account", account=globex)
    assert "executive_sponsor" not in account.data
    found = await people(ana, globex)
    assert found["Priya Natarajan"]["status"] == "departed"
    assert found["Ines Alba"]["status"] == "active"
    said = await ana.refused("assign_sponsor", account=globex, role="champion", contact="Priya Natarajan")
    assert f"departed on {TODAY}" in said


async def test_a_coming_departure_leaves_the_seat_taken_until_then(ana: Desk, globex: str) -> None:
    await ana.done("assign_sponsor", account=globex, role="champion", contact="Tom Ode")

    told = await ana.done("record_departure", account=globex, contact="Tom Ode", on="2026-05-29")

    assert told["triggered"] == ["Tom Ode, champion of Globex, leaves on 2026-05-29: the seat falls vacant then."]
    tom = (await people(ana, globex))["Tom Ode"]
    assert (tom["status"], tom["leaves_on"]) == ("active", "2026-05-29")
    assert (await ana.done("get_account", account=globex))["champion"]["name"] == "Tom Ode"


async def test_the_map_counts_who_was_met_by_level_and_function(ana: Desk, globex: str) -> None:
    alone = await ana.done("list_contacts", account=globex)
    assert (alone["stakeholders"]["engaged"], alone["stakeholders"]["single_threaded"]) == (0, True)

    async def meet(held_on: str, *who: str) -> None:
        attendees = [{"contact": name} for name in who]
        await ana.done("log_meeting", account=globex, kind="call", summary="Met", held_on=held_on, attendees=attendees)

    await meet("2025-11-01", "Tom Ode")  # too long ago to count
    await meet("2026-03-02", "Priya Natarajan")
    once = (await ana.done("list_contacts", account=globex))["stakeholders"]
    assert (once["engaged"], once["heights"], once["functions"], once["single_threaded"]) == (1, 1, 1, True)

    await meet("2026-03-10", "Tom Ode")
    both = (await ana.done("list_contacts", account=globex))["stakeholders"]
    found = await people(ana, globex)
    assert (both["engaged"], both["height_coverage"], both["function_coverage"]) == (2, 0.67, 0.67)
    assert not both["single_threaded"]
    assert both["cells"] == {
        "executive": {"Finance": [found["Priya Natarajan"]["id"]]},
        "management": {"IT": [found["Tom Ode"]["id"]]},
    }
    assert found["Tom Ode"]["last_touch_on"] == "2026-03-10"


async def test_people_are_filtered_by_role_and_status(ana: Desk, globex: str) -> None:
    await ana.done("save_contact", account=globex, contact="Tom Ode", expected_version=1, roles=["power_user"])
    await ana.done("record_departure", account=globex, contact="Priya Natarajan")

    assert list(await people(ana, globex, role=["power_user"])) == ["Tom Ode"]
    assert list(await people(ana, globex, status=["departed"])) == ["Priya Natarajan"]


async def test_people_of_an_account_outside_the_book_are_not_there(
    sit: Callable[[str], Awaitable[Desk]], globex: str
) -> None:
    ben = await sit("ben")
    for tool, more in (
        ("list_contacts", {}),
        ("save_contact", {"name": "Eve"}),
        ("record_departure", {"contact": "Tom Ode"}),
    ):
        assert "No account" in await ben.refused(tool, account=globex, **more)
