"""Many callers at once: every effect is kept once, and every answer goes to who asked."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client

from conftest import ERAS, SECRET, Postgres, Team, new_team
from cs_mcp.db.store import Store, open_store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.services.wiring import Services

from ._client import Answer, Desk, Desks, Http, head_of, rpc, said, serving, stdio_parameters, wire_headers

TOGETHER = 16


async def at_once(calls: Sequence[Any]) -> list[Any]:
    """Start all calls before any is answered."""
    ready = asyncio.Event()

    async def run(call: Any) -> Any:
        await ready.wait()
        return await call

    tasks = [asyncio.create_task(run(call)) for call in calls]
    ready.set()
    return await asyncio.gather(*tasks)


async def kept(desk: Desk, account: str) -> tuple[set[str], set[str]]:
    """What notes say and tasks are called on an account."""
    notes = (await desk.done("list_health_notes", account=account, limit=200))["items"]
    tasks = (await desk.done("list_tasks", account=account, limit=200))["items"]
    return {note["note"]["text"] for note in notes}, {task["title"] for task in tasks}


async def test_sixteen_writes_at_once_are_all_kept(
    store_url: str, clock: FixedClock, team: Team, desks: Desks, era: str, store: Store
) -> None:
    ana = await desks.of(team, "ana")
    account = await ana.account("Northwind")
    token = await team.token("ana")
    before = await head_of(store, team.workspace)
    with serving(store_url, clock) as http:
        async with AsyncExitStack() as open_clients:
            clients = [
                Desk(await open_clients.enter_async_context(http.client(token, era))) for _ in range(TOGETHER // 4)
            ]
            answers = await at_once(
                [
                    call
                    for number in range(TOGETHER)
                    for call in (
                        clients[number % 4].done("add_health_note", account=account, text=f"Note {number}"),
                        clients[number % 4].done("create_tasks", account=account, tasks=[{"title": f"Task {number}"}]),
                    )
                ]
            )
    notes, tasks = await kept(ana, account)

    assert notes == {f"Note {number}" for number in range(TOGETHER)}
    assert tasks == {f"Task {number}" for number in range(TOGETHER)}
    assert len({answer["change_id"] for answer in answers}) == 2 * TOGETHER
    assert await head_of(store, team.workspace) == before + 2 * TOGETHER


async def test_sixteen_stdio_servers_on_one_store_keep_what_each_wrote(
    store_url: str, team: Team, desks: Desks, era: str
) -> None:
    ana = await desks.of(team, "ana")
    account = await ana.account("Northwind")

    async def one(number: int) -> None:
        async with Client(stdio_parameters(store_url, team, "ana"), mode=era) as client:
            desk = Desk(client)
            await desk.done("add_health_note", account=account, text=f"Note {number}")
            await desk.done("create_tasks", account=account, tasks=[{"title": f"Task {number}"}])

    await asyncio.gather(*(one(number) for number in range(TOGETHER)))
    notes, tasks = await kept(ana, account)

    assert notes == {f"Note {number}" for number in range(TOGETHER)}
    assert tasks == {f"Task {number}" for number in range(TOGETHER)}


async def test_of_sixteen_updates_of_one_version_one_is_applied(
    store_url: str, clock: FixedClock, team: Team, desks: Desks, era: str
) -> None:
    ana = await desks.of(team, "ana")
    account = await ana.account("Northwind")
    token = await team.token("ana")
    with serving(store_url, clock) as http:
        async with http.client(token, era) as client:
            desk = Desk(client)
            answers: list[Answer] = await at_once(
                [
                    desk.call("update_account", account=account, expected_version=1, employees=number + 1)
                    for number in range(TOGETHER)
                ]
            )
    applied = [number for number, answer in enumerate(answers) if not answer.refused]
    told = [answer.text for answer in answers if answer.refused]
    now = await ana.done("get_account", account=account, sections=[])

    assert len(applied) == 1
    assert (now["version"], now["employees"]) == (2, applied[0] + 1)
    assert len(told) == TOGETHER - 1
    for text in told:
        assert "changed since version 1: Ana Ruiz changed employees" in text
        assert "expected_version 2" in text


async def test_of_sixteen_calls_with_one_key_one_writes_and_all_hear_its_answer(
    store_url: str, clock: FixedClock, team: Team, desks: Desks
) -> None:
    ana = await desks.of(team, "ana")
    account = await ana.account("Northwind")
    token = await team.token("ana")
    with serving(store_url, clock) as http:
        async with http.client(token) as client:
            desk = Desk(client)
            answers = await at_once(
                [
                    desk.done("add_health_note", account=account, text="Once", idempotency_key="one")
                    for _ in range(TOGETHER)
                ]
            )
    assert sorted(answer["already_done"] for answer in answers) == [False] + [True] * (TOGETHER - 1)
    assert len({answer["change_id"] for answer in answers}) == 1
    assert (await ana.done("list_health_notes", account=account))["total"] == 1


@pytest.mark.timeout(600)
async def test_two_workspaces_with_the_same_ids_never_hear_each_other(
    postgres: Postgres, postgres_database: str, clock: FixedClock
) -> None:
    """Two thousand calls, both eras, JSON-RPC ids 1 to 5 over and over on shared connections of one server."""
    url = postgres.app(postgres_database)
    store = await open_store(url, clock=clock)
    try:
        services = Services(store, SECRET)
        teams = [await new_team(services, name) for name in ("Left GmbH", "Right Ltd")]
        callers = [(team.workspace, await team.token("ana")) for team in teams]
        with serving(url, clock) as http:
            async with httpx2.AsyncClient(base_url=http.url, timeout=60) as shared:
                raw = [_raw_calls(shared, *callers[n % 2], n, calls=50) for n in range(32)]
                sdk = [_sdk_calls(http, *caller, mode, calls=100) for caller in callers for mode in ERAS]
                answered = await asyncio.gather(*raw, *sdk)
    finally:
        await store.close()
    assert sum(answered) == 2_000


async def _raw_calls(shared: httpx2.AsyncClient, workspace: str, token: str, seed: int, calls: int) -> int:
    dice = random.Random(seed)
    for number in range(calls):
        era = dice.choice(["modern", "legacy"])
        call_id = number % 5 + 1
        headers = wire_headers("get_workspace", era) | {
            "authorization": f"Bearer {token}",
            "accept": "application/json, text/event-stream",
        }
        answer = await shared.post("/mcp", json=rpc("get_workspace", {}, call_id=call_id, era=era), headers=headers)
        message = said(answer)
        assert message["id"] == call_id
        assert message["result"]["structuredContent"]["id"] == workspace
    return calls


async def _sdk_calls(http: Http, workspace: str, token: str, mode: str, calls: int) -> int:
    async with http.client(token, mode) as client:
        for _ in range(calls // 5):
            answers = await asyncio.gather(*(client.call_tool("get_workspace", {}) for _ in range(5)))
            assert {answer.structured_content["id"] for answer in answers} == {workspace}
    return calls


@pytest.mark.parametrize("era_of_call", ["modern", "legacy"])
async def test_a_caller_who_hangs_up_finds_the_whole_answer_by_the_key(
    era_of_call: str, store_url: str, clock: FixedClock, team: Team, desks: Desks
) -> None:
    ana = await desks.of(team, "ana")
    token = await team.token("ana")
    arguments = {
        "kind": "call",
        "summary": "Cut off",
        "attendees": [{"name": "Priya Shah"}],
        "health_note": {"text": "Noted"},
        "follow_ups": [{"title": "Ring back"}],
    }
    with serving(store_url, clock) as http:
        whole = []
        for attempt in range(12):
            account = await ana.account(f"Northwind {attempt}")
            asked = arguments | {"account": account, "idempotency_key": f"cut-{attempt}"}
            # Each attempt hangs up a little later: before, during and after the transaction.
            async with http.raw(token) as client:
                with anyio.move_on_after(attempt * 0.004):
                    await client.post(
                        "/mcp",
                        json=rpc("log_meeting", asked, era=era_of_call),
                        headers=wire_headers("log_meeting", era_of_call),
                    )
            again = await ana.done("log_meeting", **asked)
            seen = await ana.done("get_account", account=account)
            whole.append(again["already_done"])
            assert [len(seen[part]) for part in ("people", "meetings", "notes", "tasks")] == [1, 1, 1, 1]
            assert seen["meetings"][0]["id"] == again["record"]["meeting"]["id"]
            [change] = (await ana.done("list_changes", account=account, made_by_tool="log_meeting"))["items"]
            assert change["change_id"] == again["change_id"]
            assert len(change["records"]) == 4
    assert whole[0] is False
