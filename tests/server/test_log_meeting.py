"""log_meeting, the composite: one call, one transaction, one undo; who is who, and what is refused as a whole."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from conftest import Team
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import FixedClock

from ._client import Answer, Desk, head_of

CALL: dict[str, Any] = {"account": "Northwind", "kind": "call", "summary": "We spoke"}


@pytest.fixture
async def northwind(csm: Desk) -> str:
    return await csm.account("Northwind")


async def people(desk: Desk) -> dict[str, dict[str, Any]]:
    found = await desk.done("get_account", account="Northwind", sections=["people"], detail="full")
    return {person["name"]: person for person in found["people"]}


async def account(desk: Desk) -> dict[str, Any]:
    return (await desk.done("get_account", account="Northwind")).data


async def refused_whole(desk: Desk, store: Store, team: Team, **arguments: Any) -> str:
    before = await head_of(store, team.workspace)
    said = await desk.refused("log_meeting", **{**CALL, **arguments})
    assert await head_of(store, team.workspace) == before
    return said


async def met(desk: Desk, **arguments: Any) -> Answer:
    return await desk.done("log_meeting", **{**CALL, **arguments})


async def test_known_people_are_met_again_and_new_ones_entered_once(csm: Desk, northwind: str) -> None:
    first = await met(csm, attendees=[{"name": "Priya Shah", "email": "p@northwind.example"}, {"name": "Omar"}])
    priya = next(c["id"] for c in first["record"]["contacts"] if c["name"] == "Priya Shah")
    second = await met(
        csm,
        attendees=[
            {"contact": "P@NORTHWIND.example", "title": "COO", "level": "c_level", "roles": ["decision_maker"]},
            {"name": "  oMAR "},
            {"name": "Priya S.", "email": "p@northwind.example"},
            {"user": "ben okafor"},
        ],
    )
    known = await people(csm)

    assert set(known) == {"Priya Shah", "Omar"}
    assert known["Priya Shah"] | {"id": priya, "title": "COO", "level": "c_level"} == known["Priya Shah"]
    assert known["Priya Shah"]["roles"] == ["decision_maker"]
    assert [entry["did"] for entry in second["changed"] if entry["record"] == "contact"] == ["updated"]
    assert "Ben Okafor" in second["record"]["meeting"]["attendees"]
    assert [line for line in second["triggered"] if line.startswith("Entered")] == []


async def test_two_people_of_one_name_are_asked_about(csm: Desk, northwind: str, store: Store, team: Team) -> None:
    await met(csm, attendees=[{"name": "Ana Lee", "title": "CFO"}])
    known = await people(csm)
    made = await csm.done(
        "save_contact", account="Northwind", name="ana lee", allow_duplicate=True, reason="Her namesake in Lyon"
    )
    said = await refused_whole(csm, store, team, attendees=[{"name": "Ana Lee"}])
    assert "2 contacts of Northwind are called 'Ana Lee'" in said
    assert known["Ana Lee"]["id"] in said
    assert "CFO" in said
    assert "Call again with the id" in said
    assert made["change_id"]
    await met(csm, attendees=[{"contact": known["Ana Lee"]["id"]}])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"attendees": [{"name": "A", "user": "me"}]}, "exactly one of contact, user or name; got user, name"),
        ({"attendees": [{"email": "a@b.example"}]}, "got none"),
        ({"attendees": [{"contact": "Nobody"}]}, "No contact is called 'Nobody'"),
        ({"attendees": [{"user": "Nobody"}]}, "No user is called 'Nobody'"),
        ({"news": [{"contact": "Nobody", "news": "champion"}]}, "No contact is called 'Nobody'"),
        ({"follow_ups": [{"title": "ok"}, {"title": "x", "assignee": "Nobody"}]}, "No user is called 'Nobody'"),
        ({"held_on": "2026-03-17"}, "2026-03-17 is in the future; today is 2026-03-16"),
        ({"next_meeting": {"kind": "qbr", "on": "2026-03-15"}}, "next_meeting.on 2026-03-15 is past"),
        ({"meeting": "mtg_000000000000000000", "expected_version": 1}, "No meeting has the id"),
        ({"news": [{"contact": "Fresh", "news": "back", "successor": "X"}]}, "successor goes with"),
        ({"news": [{"contact": "Fresh", "news": "departed", "successor": "Fresh"}]}, "cannot succeed themselves"),
        ({"news": [{"contact": "Fresh", "news": "champion", "on": "2026-05-01"}]}, "only from 2026-05-01"),
    ],
)  # fmt: skip
async def test_one_wrong_part_refuses_the_whole(
    csm: Desk, northwind: str, store: Store, team: Team, arguments: dict[str, Any], expected: str
) -> None:
    whole = {"health_note": {"text": "Noted"}, "attendees": [{"name": "Fresh"}], **arguments}
    assert expected in await refused_whole(csm, store, team, **whole)
    seen = await account(csm)
    assert [seen[part] for part in ("people", "meetings", "notes", "tasks")] == [[], [], [], []]


async def test_someone_who_left_was_not_there_unless_they_are_back(
    csm: Desk, northwind: str, store: Store, team: Team
) -> None:
    await met(csm, held_on="2026-03-01", attendees=[{"name": "Priya"}])
    await met(csm, held_on="2026-03-02", news=[{"contact": "Priya", "news": "departed"}])
    said = await refused_whole(csm, store, team, attendees=[{"name": "Priya"}])
    assert "departed on 2026-03-02, yet is named as attending on 2026-03-16" in said
    seat = await refused_whole(csm, store, team, news=[{"contact": "Priya", "news": "champion"}])
    assert "cannot be champion" in seat
    await met(csm, held_on="2026-03-01", attendees=[{"name": "Priya"}])
    await met(csm, news=[{"contact": "Priya", "news": "back"}])
    assert (await people(csm))["Priya"]["status"] == "active"


async def test_seats_change_hands_and_keep_one_holder(csm: Desk, northwind: str) -> None:
    news = "executive_sponsor"
    await met(csm, held_on="2026-03-01", attendees=[{"name": "Priya"}], news=[{"contact": "Priya", "news": news}])
    second = await met(csm, attendees=[{"name": "Omar"}], news=[{"contact": "Omar", "news": news}])
    known = await people(csm)
    assert (await account(csm))["executive_sponsor"]["name"] == "Omar"
    assert (known["Priya"]["roles"], known["Omar"]["roles"]) == ([], [news])
    assert "Omar is executive sponsor of Northwind from 2026-03-16 after Priya." in second["triggered"]
    again = await met(csm, news=[{"contact": "Omar", "news": news}])
    assert not [line for line in again["triggered"] if "executive sponsor" in line]


async def test_a_departure_empties_the_seat_and_a_coming_one_warns(csm: Desk, northwind: str) -> None:
    await met(csm, attendees=[{"name": "Priya"}], news=[{"contact": "Priya", "news": "champion"}])
    coming = await met(
        csm, news=[{"contact": "Priya", "news": "leaving", "on": "2026-04-30", "successor": "Omar Haddad"}]
    )
    assert (await account(csm))["champion"]["name"] == "Priya"
    known = await people(csm)
    assert (known["Priya"]["status"], known["Priya"]["leaves_on"]) == ("active", "2026-04-30")
    assert "Omar Haddad" in known
    assert any("leaves on 2026-04-30: the seat falls vacant then" in line for line in coming["triggered"])
    assert any("noted as successor of Priya" in line for line in coming["triggered"])

    gone = await met(csm, news=[{"contact": "Priya", "news": "departed"}])
    assert "champion" not in await account(csm)
    assert any("has no champion since 2026-03-16: Priya departed" in line for line in gone["triggered"])


async def test_a_planned_meeting_is_completed_and_a_logged_one_corrected(
    csm: Desk, northwind: str, clock: FixedClock
) -> None:
    planned = (await met(csm, next_meeting={"kind": "qbr", "on": "2026-03-18"}))["record"]["next_meeting"]
    assert (await account(csm))["next_meeting_on"] == "2026-03-18"
    clock.advance(timedelta(days=2))

    needs = await csm.refused("log_meeting", account="Northwind", meeting=planned["id"], summary="Held")
    held = await csm.done(
        "log_meeting", account="Northwind", meeting=planned["id"], expected_version=1, summary="Held", decisions=["Go"]
    )
    stale = await csm.refused(
        "log_meeting", account="Northwind", meeting=planned["id"], expected_version=1, summary="Again"
    )
    fixed = await csm.done(
        "log_meeting", account="Northwind", meeting=planned["id"], expected_version=2, summary="Held, and well"
    )
    seen = await account(csm)

    assert "needs expected_version" in needs
    assert "at version 1" in needs
    assert "changed since version 1" in stale
    assert (
        held["record"]["meeting"] | {"kind": "qbr", "status": "held", "held_on": "2026-03-18", "version": 2}
        == held["record"]["meeting"]
    )
    assert fixed["record"]["meeting"]["decisions"] == ["Go"]
    assert fixed["record"]["meeting"]["summary"]["text"] == "Held, and well"
    assert (len(seen["meetings"]), seen["last_meeting_on"], seen.get("next_meeting_on")) == (2, "2026-03-18", None)


async def test_one_undo_takes_all_of_it_back(csm: Desk, northwind: str) -> None:
    await met(csm, held_on="2026-03-01", attendees=[{"name": "Omar"}], news=[{"contact": "Omar", "news": "champion"}])
    before = await account(csm)
    done = await met(
        csm,
        attendees=[{"name": "Priya"}, {"name": "Omar", "title": "CTO"}],
        news=[{"contact": "Priya", "news": "champion"}],
        health_note={"text": "Good"},
        follow_ups=[{"title": "Deck"}],
        next_meeting={"kind": "qbr", "on": "2026-05-01"},
    )
    await csm.done("undo_changes", change=done["change_id"])
    after = await account(csm)
    for seen in (before, after):
        for person in seen["people"]:
            del person["version"]
    assert after == before


async def test_an_email_touches_and_does_not_meet(csm: Desk, northwind: str) -> None:
    await met(csm, kind="email", held_on="2026-03-10")
    seen = await account(csm)
    assert (seen["last_touch_on"], seen.get("last_meeting_on")) == ("2026-03-10", None)


async def test_a_preview_plans_everything_and_writes_nothing(
    csm: Desk, northwind: str, store: Store, team: Team
) -> None:
    before = await head_of(store, team.workspace)
    plan = await met(csm, attendees=[{"name": "Priya"}], news=[{"contact": "Priya", "news": "champion"}], preview=True)
    assert await head_of(store, team.workspace) == before
    assert {entry["record"] for entry in plan["differences"]} == {"contact", "meeting", "sponsorship"}
    assert any("is champion of Northwind" in line for line in plan["would_trigger"])
    assert (await account(csm))["meetings"] == []
    await csm.done("commit_plan", plan=plan["plan_id"])
    assert (await account(csm))["champion"]["name"] == "Priya"
