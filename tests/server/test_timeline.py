"""The timeline of an account, through the client: every kind of event, its order, its pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any

import pytest

from conftest import Team
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.renewals.renewals import Renewal, RenewalStage
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind, Subscription

from ._client import Answer, Desk, Desks, writing

TODAY = "2026-03-16"


@pytest.fixture
async def globex(csm: Desk, team: Team) -> str:
    """An account to which something of every kind happened."""
    account = await csm.account("Globex")
    store = team.services.store
    async with writing(store, team.workspace) as work:
        subscription = Subscription(
            id=work.ids.new("subscription"), account_id=account, product="Suite", starts_on=date(2025, 6, 1),
            ends_on=date(2026, 5, 31), arr_minor=120_000_00, currency="USD",
        )  # fmt: skip
        renewal = Renewal(
            id=work.ids.new("renewal"), account_id=account, subscription_id=subscription.id, currency="USD",
            closes_on=date(2026, 5, 31),
        )  # fmt: skip
        movement = ArrMovement(
            id=work.ids.new("arr_movement"), account_id=account, on=date(2025, 6, 1), kind=MovementKind.new,
            amount_minor=120_000_00, currency="USD",
        )  # fmt: skip
        work.subscriptions.add(subscription)
        work.renewals.add(renewal)
        work.movements.add(movement)
    async with writing(store, team.workspace) as work:
        work.renewals.save((await work.renewals.get(renewal.id)).changed(stage=RenewalStage.discovery))
    await csm.done("save_contact", account=account, name="Priya Natarajan", title="CFO")
    await csm.done("save_contact", account=account, name="Tom Ode")
    await csm.done("assign_sponsor", account=account, role="champion", contact="Tom Ode", since="2026-01-10")
    await csm.done("record_departure", account=account, contact="Tom Ode", on="2026-03-02")
    await csm.done("log_meeting", account=account, kind="qbr", held_on="2026-02-20", summary="SSO before renewal")
    await csm.done("add_health_note", account=account, text="Cheerful", written_on="2026-03-11", sentiment="positive")
    made = await csm.done("create_tasks", account=account, tasks=[{"title": "Send one-pager", "due_on": "2026-04-01"}])
    task = made["record"]["tasks"][0]["id"]
    await csm.done("update_task", task=task, expected_version=1, status="done", outcome="Sent it")
    await csm.done("update_account", account=account, expected_version=1, owner="ben@acme.example")
    return account


async def timeline(desk: Desk, account: str, **more: Any) -> Answer:
    return await desk.done("get_timeline", account=account, **more)


def told(answer: Answer) -> list[tuple[str, str, str]]:
    return [(item["on"], item["kind"], item["what"]) for item in answer["items"]]


@pytest.fixture
async def lea(sit: Callable[[str], Awaitable[Desk]]) -> Desk:
    return await sit("lea")


async def test_everything_that_happened_stands_newest_first(lea: Desk, globex: str) -> None:
    found = await timeline(lea, globex)

    assert told(found) == [
        ("2026-05-31", "subscription", "Suite ends its term"),
        (TODAY, "task", "task done: Send one-pager"),
        (TODAY, "task", "task created: Send one-pager, due 2026-04-01"),
        (TODAY, "renewal", "renewal moved"),
        (TODAY, "account", "account changed by Ana Ruiz"),
        ("2026-03-11", "note", "health note, positive"),
        ("2026-03-02", "sponsorship", "champion seat ended"),
        ("2026-03-02", "departure", "contact departed"),
        ("2026-02-20", "meeting", "qbr held"),
        ("2026-01-10", "sponsorship", "champion seat taken"),
        ("2025-06-01", "subscription", "Suite started"),
        ("2025-06-01", "arr", "ARR new"),
    ]
    assert found["total"] == 12
    by_kind = {item["kind"]: item for item in found["items"]}
    [owner] = by_kind["account"]["fields"]
    assert (owner["field"], owner["before"].split(" (")[0], owner["after"].split(" (")[0]) == (
        "owner_id", "Ana Ruiz", "Ben Okafor",
    )  # fmt: skip
    assert by_kind["renewal"]["fields"] == [{"field": "stage", "before": "not_started", "after": "discovery"}]
    assert by_kind["arr"]["amount"] == {"amount": "120000.00", "currency": "USD"}
    assert by_kind["departure"]["people"][0]["name"] == "Tom Ode"
    for item in found["items"]:
        assert item["id"] in found.text
    assert "· note " in found.text
    assert " by Ana Ruiz · 2026-03-11⟧\nCheerful\n⟦end " in found.text


async def test_signals_risks_and_overrides_stand_among_the_rest_page_by_page(
    lea: Desk, desks: Desks, team: Team, clock: FixedClock
) -> None:
    ada = await desks.of(team, "ada")
    account = await lea.account("Hooli")
    await lea.done("save_contact", account=account, name="Gavin Belson")
    ticket = {"kind": "ticket", "account": account, "severity": 1, "subject": "Down", "text": "All of it is down"}
    survey = {"kind": "survey", "account": account, "survey": "nps", "score": 3, "text": "Slow"}
    news = {"kind": "company_event", "account": account, "event": "layoff", "note": "A tenth of them"}
    late = "2026-03-10T23:30:00Z"
    await ada.done(
        "record_signals",
        items=[
            ticket | {"source_id": "T-1", "opened_at": late, "resolved_at": "2026-03-12T11:30:00Z", "csat": 2},
            ticket | {"source_id": "T-2", "opened_at": "2026-03-10T23:31:00Z", "sla_breached": True},
            survey | {"source_id": "S-1", "answered_at": "2026-03-11T08:00:00Z", "contact": "Gavin Belson"},
            news | {"on": "2026-03-11"},
        ],
    )
    case = (await lea.done("save_risk", account=account, category="support", severity="high", summary="Outages"))[
        "record"
    ]
    await lea.done("override_health", account=account, band="red", expires_on="2026-03-20", reason="Outages")
    clock.advance(timedelta(days=1))
    await lea.done("save_risk", account=account, expected_version=case["version"], outcome="Up again")
    await lea.done("override_health", account=account, score=70, expires_on="2026-03-18", reason="Better")
    clock.advance(timedelta(days=2))

    found = await timeline(lea, account)

    assert told(found) == [
        ("2026-03-18", "override", "health override to yellow expired"),
        ("2026-03-17", "risk", "risk case closed: support"),
        ("2026-03-17", "override", "health overridden to yellow (score 70) until 2026-03-18"),
        ("2026-03-17", "override", "health override to red was ended"),
        (TODAY, "risk", "risk case opened: support, high"),
        (TODAY, "override", "health overridden to red until 2026-03-20"),
        ("2026-03-12", "ticket", "ticket resolved after 36 hours, CSAT 2 of 5"),
        ("2026-03-11", "survey", "NPS 3 of 10"),
        ("2026-03-11", "company_event", "layoff"),
        ("2026-03-10", "ticket", "ticket opened, severity 1, its SLA was breached"),
        ("2026-03-10", "ticket", "ticket opened, severity 1"),
    ]
    assert "All of it is down" in found.text
    [answer] = [item for item in found["items"] if item["kind"] == "survey"]
    assert answer["people"][0]["name"] == "Gavin Belson"
    gathered, cursor = [], None
    while cursor is not None or not gathered:
        page = await timeline(lea, account, limit=1, **({"cursor": cursor} if cursor else {}))
        gathered += told(page)
        cursor = page.data.get("next_cursor")
    assert gathered == told(found)
    assert [kind for _, kind, _ in told(await timeline(lea, account, kinds=["risk"], period_end=TODAY))] == ["risk"]


async def test_pages_of_any_size_are_the_whole_in_order(lea: Desk, globex: str) -> None:
    whole = told(await timeline(lea, globex))
    for limit in (1, 2, 5):
        gathered: list[tuple[str, str, str]] = []
        cursor = None
        while True:
            page = await timeline(lea, globex, limit=limit, **({"cursor": cursor} if cursor else {}))
            gathered += told(page)
            cursor = page.data.get("next_cursor")
            if cursor is None:
                break
        assert gathered == whole, limit


async def test_a_page_goes_on_where_it_ended_though_rows_came_and_went(lea: Desk, globex: str) -> None:
    whole = told(await timeline(lea, globex))
    first = await timeline(lea, globex, limit=6)
    await lea.done("add_health_note", account=globex, text="New on top")
    [seen] = [item["id"] for item in first["items"] if item["kind"] == "note"]
    await lea.done("undo_changes", change=(await lea.done("list_changes", record=seen))["items"][0]["change_id"])

    rest = await timeline(lea, globex, limit=6, cursor=first["next_cursor"])

    assert told(rest) == whole[6:]


@pytest.mark.parametrize(
    ("asked", "kinds"),
    [
        ({"kinds": ["meeting", "note"]}, ["note", "meeting"]),
        ({"period_start": "2026-03-01", "period_end": "2026-03-11"}, ["note", "sponsorship", "departure"]),
        ({"period_start": TODAY, "period_end": TODAY}, ["task", "task", "renewal", "account"]),
        ({"kinds": ["arr"], "period_start": "2026-01-01"}, []),
    ],
)
async def test_kinds_and_days_narrow_it(lea: Desk, globex: str, asked: dict[str, Any], kinds: list[str]) -> None:
    found = await timeline(lea, globex, **asked)
    assert [item["kind"] for item in found["items"]] == kinds
    assert found["total"] == len(kinds)


async def test_a_change_belongs_to_the_workspaces_day(csm: Desk, globex: str, clock: FixedClock, team: Team) -> None:
    async with writing(team.services.store, team.workspace) as work:
        [profile] = await work.workspaces.where()
        work.workspaces.save(profile.changed(time_zone="Asia/Tokyo"))
    account = await csm.account("Initech")
    clock.advance(timedelta(hours=11))
    await csm.done("create_tasks", account=account, tasks=[{"title": "Late"}])

    assert told(await timeline(csm, account)) == [("2026-03-17", "task", "task created: Late")]
    assert told(await timeline(csm, account, period_end=TODAY)) == []
    assert len(told(await timeline(csm, account, period_start="2026-03-17"))) == 1


async def test_the_budget_binds_and_the_rest_follows_with_the_cursor(lea: Desk, globex: str) -> None:
    for number in range(8):
        await lea.done("add_health_note", account=globex, text=f"{number} " + "long story " * 60)
    small = await timeline(lea, globex, budget_tokens=500, kinds=["note"])
    assert len(small["items"]) < 9
    assert len(small.text.encode()) <= 500 * 3.3
    assert small["next_cursor"]
    assert small["total"] == 9


async def test_outside_the_reach_there_is_no_such_account(csm: Desk, globex: str) -> None:
    assert "No account" in await csm.refused("get_timeline", account=globex)


@pytest.mark.parametrize(
    "asked", [{"cursor": "bm9uc2Vuc2U"}, {"period_start": "2026-03-02", "period_end": "2026-03-01"}]
)
async def test_what_cannot_be_answered_says_what_to_do(lea: Desk, globex: str, asked: dict[str, str]) -> None:
    said = await lea.refused("get_timeline", account=globex, **asked)
    assert "Repeat the call without `cursor`" in said or "Give the earlier day" in said
