"""What a confused or hostile caller sends: a clear answer, nothing written, and a server that goes on."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from conftest import Team, new_team
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.contract import CursorMark

from ._client import SERVE, Desk, Desks, head_of, rpc, said, serving, stdio_environment, wire_headers

NUL, SURROGATE = "a\x00b", "a\ud800b"
BIG = "x" * 10_000_000

# tool, arguments, and what the refusal says
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("find_accounts", {"segmnt": ["smb"]}, "Unknown argument 'segmnt'. Did you mean 'segment'?"),
    ("find_accounts", {"zzz": 1}, "Unknown argument 'zzz'. Known: text, segment"),
    ("find_accounts", {"arr": {"minimum": "1"}}, "Unknown argument 'arr.minimum'. Known: min, max, currency."),
    ("list_tasks", {"owner": "me"}, "Unknown argument 'owner'. Known: "),
    ("merge_records", {"keep": "N", "merge": "M", "reason": "x"}, "Missing argument 'kind' (one of account, contact)."),
    ("log_meeting", {"account": "N", "kind": "call", "attendees": ["Al"]}, "with contact, user, "),
    ("create_tasks", {"account": "N", "tasks": [{"title": "x", "du_on": "2026-01-01"}]}, "Did you mean 'due_on'?"),
    ("get_account", {}, "Missing argument 'account'"),
    ("find_accounts", {"segment": ["small"]}, "'smb', 'mid_market' or 'enterprise'"),
    ("find_accounts", {"segment": "smb"}, "valid array"),
    ("find_accounts", {"segment": '["smb"]'}, "send it as JSON, not as a text that holds JSON"),
    ("find_accounts", {"arr": '{"min": "1"}'}, "arr"),
    ("find_accounts", {"sort": "ARR"}, "'-arr', 'arr'"),
    ("find_accounts", {"renews_from": "2026-02-30"}, "give a day as YYYY-MM-DD"),
    ("find_accounts", {"renews_from": "03/16/2026"}, "give a day as YYYY-MM-DD"),
    ("find_accounts", {"renews_from": "2026-03-16T10:00:00Z"}, "give a day as YYYY-MM-DD"),
    ("find_accounts", {"renews_from": 20260316}, "give a day as YYYY-MM-DD"),
    ("find_accounts", {"renews_from": "2026-04-01", "renews_to": "2026-03-01"}, "Swap the two days"),
    ("find_accounts", {"limit": True}, "limit"),
    ("find_accounts", {"limit": "10"}, "limit"),
    ("find_accounts", {"limit": 10.0}, "limit"),
    ("find_accounts", {"limit": 0}, "greater than or equal to 1"),
    ("find_accounts", {"limit": 10**30}, "less than or equal to 200"),
    ("find_accounts", {"limit": None, "text": 5}, "text: Input should be a valid string"),
    ("find_accounts", {"exact_total": "true"}, "exact_total"),
    ("find_accounts", {"exact_total": 1}, "exact_total"),
    ("find_accounts", {"arr": {"min": "9" * 40}}, "is not an amount of USD"),
    ("find_accounts", {"arr": {"min": "12.345", "currency": "USD"}}, "12.345"),
    ("find_accounts", {"arr": {"min": "1", "currency": "XXX"}}, "XXX"),
    ("find_accounts", {"arr": {"min": "-1"}}, "arr.min"),
    ("find_accounts", {"custom": {"a": 10**60}}, "too large"),
    ("find_accounts", {"score": {"min": 1e308}}, "score.min"),
    ("find_accounts", {"text": ""}, "text"),
    ("find_accounts", {"text": NUL}, "NUL character"),
    ("find_accounts", {"custom": {NUL: 1}}, "NUL character"),
    ("find_accounts", {"cursor": "x" * 400}, "cursor does not belong"),
    ("find_accounts", {"cursor": "x" * 401}, "at most 400"),
    ("find_accounts", {"cursor": "%%%"}, "cursor does not belong"),
    ("list_changes", {"after": -1}, "after"),
    ("list_changes", {"after": 10**40}, "after"),
    ("get_account", {"account": "acc_00000000000000000"}, "No account is called"),
    ("get_account", {"account": "acc_000000000000000000"}, "No account has the id"),
    ("get_account", {"account": "x" * 201}, "at most 200"),
    ("get_account", {"account": "Northwind", "as_of": "2999-01-01"}, "in the future"),
    ("update_account", {"account": "Northwind", "expected_version": 10**25, "tier": "gold"}, "never was a version"),
    ("update_account", {"account": "Northwind", "expected_version": 0}, "expected_version"),
    ("update_account", {"account": "Northwind", "tier": "gold"}, "Missing argument 'expected_version'"),
    ("update_task", {"task": "Northwind", "expected_version": 1}, "No task has the id"),
    ("undo_changes", {"change": "chg_000000000000000000"}, "No write"),
    ("undo_changes", {}, "exactly one of change and run"),
    ("commit_plan", {"plan": "pln_000000000000000000"}, "No plan has the id"),
    ("create_account", {"name": "   "}, "no visible character"),
    ("create_account", {"name": "\u200b\u202e"}, "no visible character"),
    ("create_account", {"name": "x", "currency": "usd"}, "currency"),
    ("create_account", {"name": "x", "currency": "AAA"}, "not an active ISO 4217 currency"),
    ("create_account", {"name": "x", "employees": -1}, "employees"),
    ("create_account", {"name": "x", "custom": {"a": {"b": 1}}}, "custom.a"),
    ("create_account", {"name": "x", "custom": {"a": "y" * 501}}, "at most 500"),
    ("create_account", {"name": "x", "idempotency_key": ""}, "idempotency_key"),
    ("add_health_note", {"account": "Northwind", "text": NUL}, "NUL character"),
    ("add_health_note", {"account": "Northwind", "text": "x" * 20_001}, "at most 20000"),
    ("add_health_note", {"account": "Northwind", "text": "x", "written_on": "2026-03-17"}, "in the future"),
    ("create_tasks", {"account": "Northwind", "tasks": []}, "at least 1"),
    ("create_tasks", {"account": "Northwind", "tasks": [{"title": "x"}] * 51}, "at most 50"),
    ("log_meeting", {"account": "Northwind", "kind": "call"}, "needs summary"),
    ("delete_account", {"account": "Northwind"}, "There is no tool 'delete_account'"),
]  # fmt: skip


@pytest.fixture
async def csm(desks: Desks, team: Team) -> Desk:
    desk = await desks.of(team, "ana")
    await desk.account("Northwind")
    return desk


async def test_wrong_arguments_are_said_in_words_and_write_nothing(csm: Desk, team: Team, store: Store) -> None:
    before = await head_of(store, team.workspace)
    unclear: list[str] = []
    for tool, arguments, expected in WRONG:
        answer = await csm.call(tool, **arguments)
        if not answer.refused or expected not in answer.text or len(answer.text) > 1_500:
            unclear.append(
                f"{tool} {str(arguments)[:80]}\n    expected {expected!r}\n    heard    {answer.text[:300]!r}"
            )
    assert not unclear, "\n".join(unclear)
    assert await head_of(store, team.workspace) == before
    await csm.done("get_account", account="Northwind")


async def test_cursors_of_other_questions_and_forged_ones_are_refused(csm: Desk, team: Team, store: Store) -> None:
    await csm.account("Southwind")
    await csm.done(
        "create_tasks", account="Northwind", tasks=[{"title": str(n), "due_on": "2026-04-01"} for n in range(3)]
    )
    for n in range(3):
        await csm.done("add_health_note", account="Northwind", text=str(n))
    before = await head_of(store, team.workspace)
    lists = {
        "find_accounts": {"sort": "renewal_on"},
        "list_tasks": {},
        "list_health_notes": {},
        "list_changes": {},
    }
    cursors = {tool: (await csm.done(tool, limit=1, **arguments))["next_cursor"] for tool, arguments in lists.items()}
    for tool, arguments in lists.items():
        for other, cursor in cursors.items():
            if other != tool:
                assert "cursor" in await csm.refused(tool, limit=1, cursor=cursor, **arguments)
        question = CursorMark.model_construct(of=_question_of(cursors[tool]), value=None, id="x")
        for value in ("zzz", "2026-13-45", 10**30, True, [], {}, 1.5, "a\x00", ""):
            forged = CursorMark(of=question.of, value=value, id="x").token()
            answer = await csm.call(tool, limit=1, cursor=forged, **arguments)
            assert "failed on our side" not in answer.text, (tool, value, answer.text)
        nul = CursorMark(of=question.of, value=None, id="x\x00").token()
        assert "failed on our side" not in (await csm.call(tool, limit=1, cursor=nul, **arguments)).text
    changed = await csm.refused("find_accounts", sort="arr", limit=1, cursor=cursors["find_accounts"])
    assert "keep the filters the same" in changed
    assert await head_of(store, team.workspace) == before


def _question_of(token: str) -> str:
    import base64

    return json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))[0]


async def test_days_at_the_ends_of_the_calendar_are_answered(csm: Desk) -> None:
    first, last = "0001-01-01", "9999-12-31"
    calls = [
        ("find_accounts", {"renews_from": first, "renews_to": last, "last_touch_before": first}),
        ("get_account", {"account": "Northwind", "as_of": first}),
        ("list_tasks", {"due_from": first, "due_to": last, "overdue": True}),
        ("list_health_notes", {"period_start": first, "period_end": last}),
        ("list_changes", {"period_start": first, "period_end": last}),
        ("create_tasks", {"account": "Northwind", "tasks": [{"title": "x", "due_on": last}]}),
        ("add_health_note", {"account": "Northwind", "text": "x", "written_on": first}),
        ("log_meeting", {
            "account": "Northwind", "kind": "call", "summary": "x", "held_on": first,
            "attendees": [{"name": "A B"}, {"name": "C D"}],
            "news": [{"contact": name, "news": "champion", "on": first} for name in ("A B", "C D")],
        }),
    ]  # fmt: skip
    for tool, arguments in calls:
        answer = await csm.call(tool, **arguments)
        assert "failed on our side" not in answer.text, (tool, answer.text)


async def test_someone_elses_record_is_not_there_in_any_word(csm: Desk, team: Team, desks: Desks, store: Store) -> None:
    ben = await desks.of(team, "ben")
    his = await ben.account("Secret Plans Ltd", domain="secret.example")
    note = (await ben.done("add_health_note", account=his, text="His own"))["record"]["id"]
    made = await ben.done("create_tasks", account=his, tasks=[{"title": "His task"}])
    met = await ben.done("log_meeting", account=his, kind="call", summary="His call")
    plan = (await ben.done("update_account", account=his, expected_version=1, tier="gold", preview=True))["plan_id"]
    task, meeting = made["record"]["tasks"][0]["id"], met["record"]["meeting"]["id"]
    before = await head_of(store, team.workspace)
    calls = [
        ("get_account", {"account": his}),
        ("get_account", {"account": "secret.example"}),
        ("list_tasks", {"account": his}),
        ("list_health_notes", {"account": his}),
        ("list_changes", {"account": his}),
        ("update_account", {"account": his, "expected_version": 1, "tier": "gold"}),
        ("add_health_note", {"account": his, "text": "x"}),
        ("add_health_note", {"account": "Northwind", "text": "x", "corrects": note}),
        ("create_tasks", {"account": "Northwind", "tasks": [{"title": "x", "account": his}]}),
        ("update_task", {"task": task, "expected_version": 1, "priority": "low"}),
        ("log_meeting", {"account": "Northwind", "meeting": meeting, "expected_version": 1}),
        ("update_account", {"account": "Northwind", "expected_version": 1, "parent": his}),
        ("undo_changes", {"change": made["change_id"]}),
        ("commit_plan", {"plan": plan}),
    ]
    for tool, arguments in calls:
        text = await csm.refused(tool, **arguments)
        assert "Secret" not in text, (tool, text)
        assert "No " in text, (tool, text)
    assert (await csm.done("list_changes", record=task))["items"] == []
    assert (await csm.done("list_changes", change=made["change_id"]))["items"] == []
    assert (await csm.done("get_workspace"))["counts"]["accounts"] == 1
    assert await head_of(store, team.workspace) == before


# -- what never passes the SDK's client ----------------------------------------------------------------------


def frames(valid: dict[str, Any]) -> dict[str, bytes]:
    """Bodies that are no call we could carry out."""
    call = json.dumps(valid)
    deep = call.replace('"@"', "[" * 100_000 + "]" * 100_000)
    return {
        "garbage": b"{not json",
        "not an object": b"17",
        "bad UTF-8": b'{"jsonrpc": "2.0", "id": 1, "method": "\xff\xfe"}',
        "a batch": f"[{call}, {call}]".encode(),
        "100 000 deep": deep.encode(),
        "5 000 digits": call.replace('"@"', "9" * 5_000).encode(),
        "NaN": call.replace('"@"', "NaN").encode(),
        "a lone surrogate": call.replace('"@"', r'"a\ud800b"').encode(),
        "NUL": call.replace('"@"', r'"a\u0000b"').encode(),
        "no such method": b'{"jsonrpc": "2.0", "id": 1, "method": "tools/destroy", "params": {}}',
        "a long note": call.replace("@", BIG).encode(),
    }


async def test_broken_bodies_over_http_are_refused_one_by_one(
    csm: Desk, team: Team, store: Store, store_url: str, clock: FixedClock
) -> None:
    token = await team.token("ana")
    before = await head_of(store, team.workspace)
    with serving(store_url, clock) as http:
        for era in ("modern", "legacy"):
            valid = rpc("add_health_note", {"account": "Northwind", "text": "@"}, era=era)
            async with http.raw(token) as client:
                for name, body in frames(valid).items():
                    answer = await client.post("/mcp", content=body, headers=wire_headers("add_health_note", era))
                    if answer.status_code == 200:
                        message = said(answer)
                        refused = "error" in message or message["result"]["isError"]
                        assert refused, (name, era, message)
                        assert "failed on our side" not in str(message), (name, era, message)
                    else:
                        assert 400 <= answer.status_code < 500, (name, era, answer.status_code)
                    assert b"Traceback" not in answer.content
                    alive = await client.post(
                        "/mcp", json=rpc("get_workspace", {}, era=era), headers=wire_headers("get_workspace", era)
                    )
                    assert said(alive)["result"]["structuredContent"]["id"] == team.workspace, name
    assert await head_of(store, team.workspace) == before


@asynccontextmanager
async def pipe(url: str, team: Team) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SERVE),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=stdio_environment(url, team, "ana"),
        limit=64 * 2**20,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 30)


@pytest.mark.parametrize("mode", ["modern", "legacy"])
async def test_broken_lines_over_stdio_stop_nothing(
    csm: Desk, mode: str, team: Team, store: Store, store_url: str
) -> None:
    before = await head_of(store, team.workspace)
    async with pipe(store_url, team) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        heard: list[dict[str, Any]] = []

        async def answer_to(call_id: int) -> dict[str, Any]:
            while True:
                line = await asyncio.wait_for(process.stdout.readline(), 60)
                assert line, "the server ended"
                message = json.loads(line)  # every line of stdout is one JSON-RPC message
                assert message["jsonrpc"] == "2.0"
                heard.append(message)
                if message.get("id") == call_id:
                    return message

        async def send(body: bytes) -> None:
            process.stdin.write(body + b"\n")
            await process.stdin.drain()

        if mode == "legacy":
            hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
            await send(json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}).encode())
            await answer_to(0)
            await send(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')
        valid = rpc("add_health_note", {"account": "Northwind", "text": "@"}, era=mode, call_id=7)
        broken = frames(valid) | {"20 MB": b"x" * 20_000_000, "an empty line": b"", "spaces": b"   "}
        for number, (name, body) in enumerate(broken.items(), start=100):
            await send(body)
            await send(json.dumps(rpc("get_workspace", {}, era=mode, call_id=number)).encode())
            alive = await answer_to(number)
            assert alive["result"]["structuredContent"]["id"] == team.workspace, name
    for message in heard:
        if message.get("id") == 7:
            assert "error" in message or message["result"]["isError"], message
            assert "failed on our side" not in str(message), message
    assert await head_of(store, team.workspace) == before


async def test_a_second_team_on_the_same_store_is_as_absent_as_a_stranger(
    store_kind: str, csm: Desk, team: Team, desks: Desks
) -> None:
    if store_kind == "sqlite":
        pytest.skip("one workspace a file")
    other = await new_team(team.services, "Other GmbH")
    theirs = await (await desks.of(other, "ana")).account("Theirs Inc")
    admin = await desks.of(team, "ada")
    assert "No account has the id" in await admin.refused("get_account", account=theirs)
    assert "Theirs" not in (await admin.done("find_accounts")).text
    assert "No user" in await csm.refused("find_accounts", owner=other.members["ana"].id)
