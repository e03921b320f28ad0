"""One server on every wire: the SDK's client meets the same in process, over stdio and over HTTP, in each era."""

from __future__ import annotations

from typing import Any

import pytest
from mcp import Client

from conftest import ERAS, Team
from cs_mcp.domain.calendar import FixedClock
from server._client import Desk, in_process, serving, stdio_parameters
from server._prompts import completed, read, rendered


@pytest.mark.parametrize("era", ERAS)
async def test_every_wire_shows_the_same_server(
    store_url: str, clock: FixedClock, team: Team, token: str, era: str
) -> None:
    async with in_process(team, "ana", mode=era) as client:
        account = await Desk(client).account("Northwind Traders", domain="northwind.example")
        here = await seen(client, account)
    async with Client(stdio_parameters(store_url, team, "ana"), mode=era) as client:
        over_stdio = await seen(client, account)
    with serving(store_url, clock) as http:
        async with http.client(token, era) as client:
            over_http = await seen(client, account)

    assert over_stdio == here
    assert over_http == here
    assert here["version"] == ("2026-07-28" if era == "auto" else "2025-11-25")
    assert here["completed"] == ["Northwind Traders"]


async def seen(client: Client, account: str) -> dict[str, Any]:
    """All that a client can list, and what does not depend on the day of what it can ask for."""
    desk = Desk(client)
    prompt = await rendered(desk, "qbr_summary", account=account, period_start="2026-01-01", period_end="2026-01-31")
    found = await desk.done("find_accounts", text="northwind")
    return {
        "version": client.protocol_version,
        "capabilities": client.server_capabilities,
        "info": client.server_info,
        "instructions": client.instructions,
        "tools": await desk.tools(),
        "prompts": (await client.list_prompts()).prompts,
        "resources": (await client.list_resources()).resources,
        "templates": (await client.list_resource_templates()).resource_templates,
        "guide": await read(desk, "cs://guide"),
        "brief": prompt.uri,
        "told": prompt.told.replace(prompt.mark, "mark"),
        "completed": await completed(client, "qbr_summary", "account", "north"),
        "found": found.ids,
    }
