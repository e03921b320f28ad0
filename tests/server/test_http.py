"""The door of the HTTP server: who is let in, for whom, and what is said to the others."""

from __future__ import annotations

from datetime import timedelta

import httpx2
import pytest
from mcp.shared.exceptions import MCPError

from conftest import SECRET, Team
from cs_mcp.config import Settings
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.errors import Invalid
from cs_mcp.server import http_app
from cs_mcp.services.wiring import Services

from ._client import Desk, Desks, Http, rpc, said, serving, wire_headers, writing


async def status(http: Http, authorization: list[str]) -> httpx2.Response:
    """A call with exactly these Authorization headers."""
    async with http.raw() as client:
        headers = [(name.encode(), value.encode()) for name, value in wire_headers("get_workspace").items()]
        headers += [(b"authorization", value.encode("latin-1")) for value in authorization]
        return await client.post("/mcp", json=rpc("get_workspace", {}), headers=headers)


async def test_only_a_whole_and_valid_token_is_let_in(store_url: str, clock: FixedClock, team: Team) -> None:
    token = await team.token("ana")
    head, _, secret = token.rpartition("_")
    other = await team.token("ben")
    with serving(store_url, clock) as http:
        assert (await status(http, [f"Bearer {token}"])).status_code == 200
        assert (await status(http, [f"bearer   {token}"])).status_code == 200
        for name, refused in {
            "none": [],
            "empty": [""],
            "no token": ["Bearer"],
            "another scheme": [f"Basic {token}"],
            "no scheme": [token],
            "another secret": [f"Bearer {head}_{'A' * len(secret)}"],
            "one character off": [f"Bearer {token[:-1]}{'A' if token[-1] != 'A' else 'B'}"],
            "another's secret": [f"Bearer {head}_{other.rpartition('_')[2]}"],
            "cut": [f"Bearer {token[:-1]}"],
            "longer": [f"Bearer {token}A"],
            "not a token": ["Bearer ' or 1=1 --"],
            "a long one": ["Bearer " + "x" * 8_000],
            "bytes": ["Bearer \xff\xfe"],
            "two headers": [f"Bearer {token}", f"Bearer {token}"],
            "two different": [f"Bearer {token}", f"Bearer {other}"],
        }.items():
            answer = await status(http, refused)
            assert answer.status_code == 401, name
            assert answer.json()["error"] == "invalid_token"
            assert "cs-mcp token create" in answer.json()["error_description"]
            assert answer.headers["www-authenticate"] == 'Bearer realm="cs_mcp"'


async def test_a_revoked_or_expired_token_stops_at_the_next_call(
    store_url: str, clock: FixedClock, team: Team, era: str
) -> None:
    token = await team.token("ana")
    identity = team.services.identity
    with serving(store_url, clock) as http:
        async with http.client(token, era) as client:
            await Desk(client).done("get_workspace")
            [row] = await identity.tokens(team.workspace)
            await identity.revoke_token(team.workspace, row["id"])
            with pytest.raises((MCPError, RuntimeError, ExceptionGroup)):
                await client.call_tool("get_workspace", {})
        assert (await status(http, [f"Bearer {token}"])).status_code == 401

        short = await identity.create_token(team.workspace, email=team.members["ana"].email, label="short", days=1)
        assert (await status(http, [f"Bearer {short.text}"])).status_code == 200
        clock.advance(timedelta(days=1))
        assert (await status(http, [f"Bearer {short.text}"])).status_code == 401


async def test_a_deactivated_member_stops_at_the_next_call(
    store_url: str, clock: FixedClock, team: Team, store: Store
) -> None:
    own, agents = await team.token("ana"), await team.token("bot", "ana")
    with serving(store_url, clock) as http:
        assert [(await status(http, [f"Bearer {t}"])).status_code for t in (own, agents)] == [200, 200]
        async with writing(store, team.workspace) as work:
            work.members.save((await work.members.get(team.members["ana"].id)).changed(active=False))
        assert [(await status(http, [f"Bearer {t}"])).status_code for t in (own, agents)] == [401, 401]


async def test_an_agent_sees_the_book_of_its_person_and_signs_for_both(
    store_url: str, clock: FixedClock, team: Team, desks: Desks, era: str
) -> None:
    ana, ben = await desks.of(team, "ana"), await desks.of(team, "ben")
    hers, his = await ana.account("Hers Inc"), await ben.account("His Inc")
    token = await team.token("bot", "ana")
    with serving(store_url, clock) as http:
        async with http.client(token, era) as client:
            bot = Desk(client)
            me = await bot.done("get_workspace")
            found = await bot.done("find_accounts")
            noted = await bot.done("add_health_note", account=hers, text="Quiet this week")
            task = await bot.done("create_tasks", account=hers, tasks=[{"title": "Ring them"}])
            refused = [
                await bot.refused("get_account", account=his),
                await bot.refused("add_health_note", account=his, text="x"),
                await bot.refused("get_account", account="His Inc"),
            ]
        async with http.client(await team.token("bot"), era) as client:
            alone = await Desk(client).done("find_accounts")
    ana_id, bot_id = team.members["ana"].id, team.members["bot"].id
    [change] = (await ana.done("list_changes", change=noted["change_id"]))["items"]

    assert (me["me"]["id"], me["on_behalf_of"]) == (bot_id, ana_id)
    assert found.ids == [hers]
    assert found["total"] == 1
    assert alone.ids == []
    assert (change["by_id"], change["on_behalf_of"], change["client"]) == (bot_id, ana_id, "bot's client")
    assert task["record"]["tasks"][0]["assignee"]["id"] == ana_id
    assert all("His Inc" not in said.replace("'His Inc'", "") for said in refused)


async def test_no_oauth_metadata_is_served(store_url: str, clock: FixedClock, team: Team) -> None:
    token = await team.token("ana")
    with serving(store_url, clock) as http:
        for path in (
            "/.well-known/oauth-protected-resource",
            "/.well-known/oauth-protected-resource/mcp",
            "/.well-known/oauth-authorization-server",
            "/.well-known/openid-configuration",
        ):
            async with http.raw() as anyone, http.raw(token) as known:
                closed, absent = await anyone.get(path), await known.get(path)
                assert (closed.status_code, absent.status_code) == (401, 404)
                assert "resource_metadata" not in closed.headers["www-authenticate"]


async def test_a_token_is_stored_as_an_hmac_alone(store_url: str, store_kind: str, store: Store, team: Team) -> None:
    token = await team.token("ana")
    secret = token.split("_", 3)[3]  # which may have underscores of its own
    rows = await team.services.identity.tokens(team.workspace)
    if store_kind == "sqlite":
        await store.close()  # whatever a journal holds goes into the file
        kept = b"".join(path.read_bytes() for path in store.where.path.parent.glob("store.db*"))
    else:
        import asyncpg

        wall = await asyncpg.connect(store_url)
        await wall.execute("select set_config('app.workspace', $1, false)", team.workspace)
        found = [await wall.fetch(f'select * from "{table}"') for table in ("token", "change", "change_payload")]
        await wall.close()
        assert found[0]
        kept = repr(found).encode()
    assert secret.encode() not in kept
    assert token.encode() not in kept
    assert SECRET not in kept
    assert secret not in repr(rows)


async def test_a_foreign_host_or_origin_is_turned_away(store_url: str, clock: FixedClock, team: Team) -> None:
    token = await team.token("ana")
    with serving(store_url, clock) as http:

        async def answer(**headers: str) -> int:
            async with http.raw(token, **headers) as client:
                sent = await client.post("/mcp", json=rpc("get_workspace", {}), headers=wire_headers("get_workspace"))
                return sent.status_code

        assert await answer() == 200
        assert await answer(host="evil.example") == 421
        assert await answer(host=f"127.0.0.1.evil.example:{http.port}") == 421
        assert await answer(origin="https://evil.example") == 403
        assert await answer(origin="null") == 403
        assert await answer(origin=f"http://127.0.0.1:{http.port}") == 200
    with serving(store_url, clock, allowed_hosts=["crm.example.com"]) as http:
        async with http.raw(token, host="crm.example.com") as client:
            named = await client.post("/mcp", json=rpc("get_workspace", {}), headers=wire_headers("get_workspace"))
            assert named.status_code == 200


async def test_listening_beyond_this_machine_needs_named_hosts(store: Store) -> None:
    with pytest.raises(Invalid, match=r"0\.0\.0\.0 lets other machines in") as refusal:
        http_app(Settings(host="0.0.0.0"), Services(store, SECRET))
    assert "CS_MCP_ALLOWED_HOSTS" in refusal.value.remedy


async def test_health_is_open_and_tells_nothing(store_url: str, clock: FixedClock, team: Team) -> None:
    with serving(store_url, clock) as http:
        async with http.raw() as client:
            answer = await client.get("/health")
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
            assert team.workspace not in str(answer.headers)
            assert (await client.get("/healthy")).status_code == 401
            assert (await client.get("/health/../mcp")).status_code in (401, 404)


async def test_other_methods_are_answered_and_hold_nothing_open(store_url: str, clock: FixedClock, team: Team) -> None:
    token = await team.token("ana")
    with serving(store_url, clock) as http:
        async with http.raw(token) as client:
            for method in ("GET", "DELETE", "PUT", "OPTIONS", "PATCH"):
                for version in ("2025-11-25", "2026-07-28"):
                    async with client.stream(method, "/mcp", headers={"mcp-protocol-version": version}) as answer:
                        assert answer.status_code == 405, (method, version)
            nowhere = await client.post("/elsewhere", json={})
            assert nowhere.status_code == 404
            call = await client.post("/mcp", json=rpc("get_workspace", {}), headers=wire_headers("get_workspace"))
            assert said(call)["result"]["structuredContent"]["id"] == team.workspace
            assert "mcp-session-id" not in call.headers
