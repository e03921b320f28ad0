"""A client that hangs up while its meeting is logged: the outcome is whole or absent, and the key settles it (R8)."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from cs_mcp.config import Settings
from cs_mcp.server import http_app

from ._bench import WHOLE_MEETING, Bench, a_bench, a_meeting, as_owner
from ._oracle import every_row, history_faults

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

ROUNDS = 40
SEED = int(os.environ.get("CS_MCP_FAULT_SEED", "20260316"))


@pytest.fixture
async def bench(store_url: str) -> AsyncGenerator[Bench]:
    async with a_bench(store_url) as opened:
        yield opened


class Server:
    """The HTTP server on a loopback port, and clients that speak to it over a bare socket."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self._token = token

    def request(self, arguments: dict[str, Any]) -> bytes:
        call = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "log_meeting", "arguments": arguments},
        }
        body = json.dumps(call).encode()
        head = (
            f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self._token}\r\n"
            "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"
            f"MCP-Protocol-Version: 2025-11-25\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body

    async def ask(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Ask and wait for the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(self.request(arguments))
        raw = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        said = raw[raw.index("{") : raw.rindex("}") + 1]
        result = json.loads(said)["result"]
        assert not result.get("isError"), result
        return result["structuredContent"]

    async def hang_up(self, arguments: dict[str, Any], *, after_bytes: int | None, wait: float, reset: bool) -> None:
        """Send all or the first bytes of a request, wait, and be gone: with a reset, or with an orderly close."""
        loop = asyncio.get_running_loop()
        client = socket.socket()
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", self.port))
        await loop.sock_sendall(client, self.request(arguments)[:after_bytes])
        await asyncio.sleep(wait)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()


@asynccontextmanager
async def serving(bench: Bench) -> AsyncGenerator[Server]:
    token = await bench.team.token("ada")
    app = http_app(Settings(db=bench.url, port=0), bench.services)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, timeout_graceful_shutdown=5))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Server(port, token)
    finally:
        server.should_exit = True
        await running


async def test_a_client_that_hangs_up_leaves_all_or_nothing_and_the_key_settles_it(bench: Bench) -> None:
    dice = random.Random(SEED)
    whole = absent = in_flight = 0
    async with serving(bench) as server:
        await server.ask(a_meeting("first"))
        started = asyncio.get_running_loop().time()
        await server.ask(a_meeting("second"))
        usual = asyncio.get_running_loop().time() - started
        for number in range(ROUNDS):
            arguments = a_meeting(f"k{number}")
            size = len(server.request(arguments))
            partly = number % 5 == 0
            await server.hang_up(
                arguments,
                after_bytes=dice.randrange(size) if partly else None,
                wait=0 if partly else dice.uniform(0, 1.2 * usual),
                reset=dice.random() < 0.5,
            )
            if number % 2:
                in_flight += 1  # asked again at once, while the first call may still be at it
            else:
                await _quiet(bench, usual)
                effects = await bench.effects(f"k{number}")
                assert effects in ([], [WHOLE_MEETING]), effects
                whole += bool(effects)
                absent += not effects
                assert not (partly and effects), "half a request was carried out"

            answer = await server.ask(arguments)

            assert await bench.effects(f"k{number}") == [WHOLE_MEETING]
            assert answer["record"]["meeting"]["id"] in {change["id"] for change in answer["changed"]}
        await _quiet(bench, usual)
        assert await bench.unhealthy() is None

    left = history_faults(await every_row(as_owner(bench.url), bench.workspace))
    print(
        f"\n{bench.store.dialect}: {ROUNDS} hang-ups; of those looked at, {whole} had been written whole and {absent} "
        f"not at all; {in_flight} asked again at once; every key had one effect; a call takes {usual * 1000:.0f} ms; "
        f"seed {SEED}"
    )
    assert not left, left[:5]


async def _quiet(bench: Bench, usual: float) -> None:
    """Until what was sent has been taken up and nothing is under way any more."""
    await asyncio.sleep(2 * usual)
    while await bench.unhealthy() is not None:
        await asyncio.sleep(usual)
