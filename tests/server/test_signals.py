"""Signals told by callers: each item on its own, upserted by what its source calls it."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Team

from ._client import Desk, Desks

TICKET: dict[str, Any] = {
    "kind": "ticket",
    "account": "Globex",
    "source_id": "T-1",
    "severity": 1,
    "subject": "Export fails",
    "opened_at": "2026-03-10T09:00:00Z",
}
INVOICE = {
    "kind": "invoice",
    "account": "Globex",
    "source_id": "I-1",
    "amount": {"amount": "1200.00", "currency": "USD"},
    "due_on": "2026-02-01",
}
SURVEY = {
    "kind": "survey",
    "account": "Globex",
    "source_id": "R-1",
    "survey": "nps",
    "score": 4,
    "answered_at": "2026-03-12T10:00:00+01:00",
    "text": "Slow, and nobody answers.",
}
EVENT = {"kind": "company_event", "account": "Globex", "on": "2026-03-01", "event": "layoff", "note": "A third left."}
USAGE = {"kind": "usage", "account": "Globex", "on": "2026-03-15", "figures": {"active_users": 12, "seats_used": 30}}
CORE = {"kind": "feature", "feature": "Dashboards", "core": True}
EVENTS = {
    "kind": "usage",
    "account": "Globex",
    "on": "2026-03-15",
    "feature": "dashboards",
    "figures": {"feature_events": 7},
}
EVERY_KIND: list[dict[str, Any]] = [TICKET, INVOICE, SURVEY, EVENT, USAGE, CORE, EVENTS]


@pytest.fixture
async def ada(team: Team, desks: Desks) -> Desk:
    desk = await desks.of(team, "ada")
    await desk.account("Globex")
    return desk


async def test_every_kind_is_recorded_once_and_told_again_changes_nothing(ada: Desk) -> None:
    first = await ada.done("record_signals", items=EVERY_KIND, source="zendesk")
    head = await ada.head()
    again = await ada.done("record_signals", items=EVERY_KIND, source="zendesk")

    told = first["record"]
    assert (told["recorded"], told["refused"], told["figures_new"]) == (7, 0, 3)
    assert told["by_kind"] == {"company_event": 1, "feature": 1, "invoice": 1, "survey": 1, "ticket": 1, "usage": 2}
    assert [item["outcome"] for item in first["items"]] == ["done"] * 7
    changed = {change["record"] for change in first["changed"]}
    assert changed == {"ticket", "invoice", "survey_response", "company_event", "feature", "signal_batch"}
    assert "change_id" not in again.data
    assert (again["record"]["recorded"], again["record"]["unchanged"]) == (0, 7)
    assert await ada.head() == head


async def test_what_is_told_again_otherwise_is_corrected(ada: Desk) -> None:
    await ada.done("record_signals", items=[TICKET, USAGE, INVOICE])
    resolved = TICKET | {"resolved_at": "2026-03-11T09:00:00Z", "csat": 4.5}
    fewer = USAGE | {"figures": {"active_users": 11}}

    answer = await ada.done("record_signals", items=[resolved, fewer, INVOICE | {"paid_on": "2026-02-20"}])

    [ticket] = [change for change in answer["changed"] if change["record"] == "ticket"]
    assert {field["field"]: field["after"] for field in ticket["fields"]} == {
        "csat": 5,
        "resolved_at": "2026-03-11T09:00:00+00:00",
        "status": "resolved",
    }
    [invoice] = [change for change in answer["changed"] if change["record"] == "invoice"]
    assert {field["field"]: field["after"] for field in invoice["fields"]} == {
        "paid_on": "2026-02-20",
        "status": "paid",
    }
    assert (answer["record"]["figures_new"], answer["record"]["figures_corrected"]) == (0, 1)


BAD: list[tuple[dict[str, Any], str]] = [
    (USAGE | {"figures": {"activ_users": 3}}, "activ_users is no metric of usage"),
    (USAGE | {"figures": {"seats_used": -3}}, "seats_used: -3 is below zero"),
    (USAGE | {"figures": {"logins": 1.5}}, "logins: 1.5 is not a whole number"),
    (USAGE | {"figures": {"logins": 1e300}}, "logins: 1e+300 is larger than 1,000,000,000,000,000"),
    (USAGE | {"on": "0001-01-01"}, "on: 0001-01-01 is not between 1900 and 2199"),
    (TICKET | {"source_id": "T-5", "opened_at": "0001-01-01T00:00:00+14:00"}, "is not between 1900 and 2199"),
    (TICKET | {"source_id": "T-6", "resolved_at": "2026-03-09T09:00:00Z"}, "is before it was opened"),
    (SURVEY | {"source_id": "R-5", "scale_max": 10**30}, "is not between 1 and 1000"),
    (SURVEY | {"source_id": "R-6", "scale_max": -5}, "scale_max: -5 is not between 1 and 1000"),
    (INVOICE | {"source_id": "I-3", "due_on": "9999-12-31"}, "is not between 1900 and 2199"),
    (USAGE | {"on": "2026-03-20"}, "2026-03-20 is in the future"),
    (USAGE | {"account": "Nobody Ltd"}, "No account is called 'Nobody Ltd'"),
    (USAGE | {"severity": 1}, "severity does not go with usage"),
    (EVENTS | {"figures": {"logins": 2}}, "figures of a feature are its feature_events"),
    (TICKET | {"source_id": "T-2", "severity": 7}, "severity: 7 is not 1 (worst) to 4"),
    (TICKET | {"source_id": "T-3", "opened_at": "2026-03-10T09:00:00"}, "names no time zone"),
    (TICKET | {"source_id": "T-4", "status": "paid"}, "status: paid is not one of open, waiting, resolved"),
    ({"kind": "ticket", "account": "Globex"}, "ticket needs source_id, opened_at"),
    (INVOICE | {"source_id": "I-2", "amount": {"amount": "1.005", "currency": "USD"}}, "decimals"),
    (SURVEY | {"source_id": "R-2", "score": 11}, "score: 11 is not on a scale of 0 to 10"),
    (SURVEY | {"source_id": "R-3", "contact": "Nobody"}, "No contact is called 'Nobody'"),
    (SURVEY | {"source_id": "R-4", "answered_at": "2026-04-01T00:00:00Z"}, "is in the future"),
    (TICKET, "tells the same ticket as item 0"),
]


async def test_a_bad_item_is_named_and_the_others_are_kept(ada: Desk) -> None:
    answer = await ada.done("record_signals", items=[TICKET, *(item for item, _ in BAD), USAGE])

    told = answer["record"]
    assert (told["recorded"], told["refused"]) == (2, len(BAD))
    refused = [item for item in answer["items"] if item["outcome"] == "refused"]
    assert [item["index"] for item in refused] == list(range(1, len(BAD) + 1))
    for item, (_, why) in zip(refused, BAD, strict=True):
        assert why in item["why"]
    assert "Did you mean active_users?" in refused[0]["why"]


async def test_a_batch_without_a_good_item_is_refused_whole(ada: Desk) -> None:
    head = await ada.head()

    said = await ada.refused("record_signals", items=[item for item, _ in BAD[:6]])

    assert "None of the 6 items was recorded" in said
    assert "And 1 more." in said
    assert await ada.head() == head


async def test_two_items_may_not_tell_one_figure_two_ways(ada: Desk) -> None:
    answer = await ada.done("record_signals", items=[USAGE, USAGE | {"figures": {"active_users": 13}}, USAGE])

    assert [item["outcome"] for item in answer["items"]] == ["done", "refused", "done"]
    assert "which says otherwise" in answer["items"][1]["why"]


async def test_undo_takes_records_back_and_says_that_figures_stay(ada: Desk) -> None:
    done = await ada.done("record_signals", items=EVERY_KIND)

    undone = await ada.done("undo_changes", change=done["change_id"])

    assert (undone["record"]["restored"], undone["record"]["refused"]) == (5, 1)
    [stays] = undone["items"]
    assert "figures of usage stay: correct them by sending the right ones" in stays["why"]
    again = await ada.done("record_signals", items=EVERY_KIND)
    assert again["record"]["by_kind"] == {"company_event": 1, "feature": 1, "invoice": 1, "survey": 1, "ticket": 1}
    assert again["record"]["figures_unchanged"] == 3


async def test_a_preview_writes_no_figure(ada: Desk) -> None:
    planned = await ada.done("record_signals", items=[USAGE], preview=True)
    assert "plan_id" in planned.data

    carried_out = await ada.done("commit_plan", plan=planned["plan_id"])

    assert carried_out["record"]["figures_new"] == 2


async def test_three_hundred_tickets_need_no_plan(ada: Desk) -> None:
    tickets = [TICKET | {"source_id": f"T-{n}"} for n in range(300)]

    answer = await ada.done("record_signals", items=tickets)

    assert answer["record"]["recorded"] == 300
    assert "items" not in answer.data or answer["items"] == []


async def test_an_agent_tells_signals_of_accounts_it_sees_only(ada: Desk, team: Team, desks: Desks) -> None:
    agent, ana = await desks.of(team, "bot"), await desks.of(team, "ana")
    await ada.account("Initech", owner="Night Agent")
    await ada.done("record_signals", items=[TICKET], source="zendesk")

    answer = await agent.done(
        "record_signals",
        items=[USAGE, USAGE | {"account": "Initech"}, TICKET | {"account": "Initech"}],
        source="zendesk",
    )

    assert [item["outcome"] for item in answer["items"]] == ["refused", "done", "refused"]
    assert "No account is called 'Globex'" in answer["items"][0]["why"]
    assert "names no ticket you can see" in answer["items"][2]["why"]
    assert "record_signals" not in await ana.names()
