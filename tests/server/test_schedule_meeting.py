"""Planning meetings, through the client."""

from __future__ import annotations

import pytest

from ._client import Desk

TODAY = "2026-03-16"


@pytest.fixture
async def globex(csm: Desk) -> str:
    account = await csm.account("Globex")
    for name in ("Priya Natarajan", "Tom Ode"):
        await csm.done("save_contact", account=account, name=name)
    await csm.done("assign_sponsor", account=account, role="executive_sponsor", contact="Priya Natarajan")
    return account


async def test_a_planned_meeting_is_the_accounts_next(csm: Desk, globex: str) -> None:
    planned = await csm.done(
        "schedule_meeting",
        account=globex,
        kind="qbr",
        on="2026-04-02",
        attendees=[{"contact": "Priya Natarajan"}, {"user": "me"}],
        agenda="Outcomes first, then the roadmap.",
    )

    record = planned["record"]
    assert [person["name"] for person in record["attendees"]] == ["Priya Natarajan", "Ana Ruiz"]
    assert (record["kind"], record["on"], record["version"]) == ("qbr", "2026-04-02", 1)
    assert planned.data.get("triggered", []) == []
    assert "Outcomes first" in planned.text
    account = await csm.done("get_account", account=globex)
    assert account["next_meeting_on"] == "2026-04-02"
    assert account["meetings"][0]["agenda"]["text"] == "Outcomes first, then the roadmap."
    assert "Outcomes first" in account.text
    [event] = (await csm.done("get_timeline", account=globex, kinds=["meeting"]))["items"]
    assert (event["on"], event["what"], event["id"]) == ("2026-04-02", "qbr planned", record["id"])

    await csm.done("undo_changes", change=planned["change_id"])
    assert "next_meeting_on" not in (await csm.done("get_account", account=globex)).data


@pytest.mark.parametrize("kind", ["qbr", "ebr", "value_review"])
async def test_a_review_without_the_sponsor_is_said(csm: Desk, globex: str, kind: str) -> None:
    planned = await csm.done(
        "schedule_meeting", account=globex, kind=kind, on="2026-04-02", attendees=[{"contact": "Tom Ode"}]
    )
    [said] = planned["triggered"]
    assert said.startswith("Not invited: the executive sponsor Priya Natarajan (con_")


async def test_other_meetings_go_without_and_an_account_without_sponsor_says_so(csm: Desk, globex: str) -> None:
    planned = await csm.done("schedule_meeting", account=globex, kind="check_in", on=TODAY)
    assert planned.data.get("triggered", []) == []

    await csm.account("Initech")
    alone = await csm.done("schedule_meeting", account="Initech", kind="qbr", on="2026-04-02", preview=True)
    assert alone["would_trigger"] == ["Nobody to lead it: Initech has no executive sponsor to invite to this qbr."]
    assert "next_meeting_on" not in (await csm.done("get_account", account="Initech")).data


async def test_a_past_day_is_refused(csm: Desk, globex: str) -> None:
    said = await csm.refused("schedule_meeting", account=globex, kind="qbr", on="2026-03-15")
    assert "2026-03-15 is past; today is 2026-03-16" in said
    assert "log_meeting" in said


async def test_a_second_of_its_kind_within_a_week_is_answered_with_the_first(csm: Desk, globex: str) -> None:
    first = await csm.done("schedule_meeting", account=globex, kind="qbr", on="2026-04-02", idempotency_key="k")
    again = await csm.done("schedule_meeting", account=globex, kind="qbr", on="2026-04-02", idempotency_key="k")
    assert again["already_done"]

    said = await csm.refused("schedule_meeting", account=globex, kind="qbr", on="2026-04-09")
    assert first["record"]["id"] in said
    assert "reason" in await csm.refused(
        "schedule_meeting", account=globex, kind="qbr", on="2026-04-09", allow_duplicate=True
    )
    for more in ({"on": "2026-04-10"}, {"on": "2026-04-03", "allow_duplicate": True, "reason": "Two sites"}):
        await csm.done("schedule_meeting", account=globex, kind="qbr", **more)


async def test_who_left_or_is_named_twice_over_cannot_be_invited(csm: Desk, globex: str) -> None:
    await csm.done("record_departure", account=globex, contact="Tom Ode")
    meeting = {"account": globex, "kind": "call", "on": TODAY}
    assert "departed on" in await csm.refused("schedule_meeting", **meeting, attendees=[{"contact": "Tom Ode"}])
    for both in ({}, {"contact": "Tom Ode", "user": "me"}):
        assert "exactly one" in await csm.refused("schedule_meeting", **meeting, attendees=[both])


async def test_the_planned_meeting_is_completed_by_logging_it(csm: Desk, globex: str) -> None:
    planned = (await csm.done("schedule_meeting", account=globex, kind="call", on=TODAY, agenda="Price"))["record"]
    await csm.done("log_meeting", account=globex, meeting=planned["id"], expected_version=1, summary="Agreed")

    said = (await csm.done("fetch", id=planned["id"]))["text"]
    assert f"agenda of {planned['id']}" in said
    assert "Agreed" in said
    assert (await csm.done("get_timeline", account=globex, kinds=["meeting"]))["items"][0]["what"] == "call held"
