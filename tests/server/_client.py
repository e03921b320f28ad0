"""Callers as they come: the SDK's client over a server in process, over HTTP and over stdio."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
import uvloop
from jsonschema import Draft202012Validator
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Tool

from conftest import SECRET, Team
from cs_mcp.config import Settings
from cs_mcp.db.history.changes import Act
from cs_mcp.db.history.history import HistoryReads
from cs_mcp.db.store import Store, open_store
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.calendar import Clock
from cs_mcp.domain.identity import Principal, Reach, Role
from cs_mcp.server import build_server, http_app
from cs_mcp.services.wiring import Services
from cs_mcp.tools import TOOLSETS
from cs_mcp.tools._context import FixedCaller
from cs_mcp.tools._selection import chosen


def _check_a_schema_once() -> None:
    """The SDK's client checks each output schema anew in every session: a hundred times what it costs to use it."""
    check, checked = Draft202012Validator.check_schema, set[str]()

    def once(schema: Any, *further: Any, **named: Any) -> None:
        text = json.dumps(schema, sort_keys=True)
        if text not in checked:
            check(schema, *further, **named)
            checked.add(text)

    Draft202012Validator.check_schema = once


_check_a_schema_once()
SERVE = Path(__file__).with_name("_serve.py")


@dataclass(frozen=True)
class Answer:
    """What a call came back with: `data` is the structured content, {} for a refusal."""

    data: Any
    text: str
    refused: bool

    @classmethod
    def of(cls, result: CallToolResult) -> Answer:
        part, *pictures = result.content
        assert part.type == "text"
        assert all(picture.type == "image" for picture in pictures)
        return cls(result.structured_content or {}, part.text, bool(result.is_error))

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    @property
    def ids(self) -> list[str]:
        return [item["id"] for item in self.data["items"]]


class Desk:
    """One caller at work: calls tools, and says at once when an answer is not of the expected kind."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, **arguments: Any) -> Answer:
        return Answer.of(await self.client.call_tool(tool, arguments))

    async def done(self, tool: str, **arguments: Any) -> Answer:
        answer = await self.call(tool, **arguments)
        assert not answer.refused, answer.text
        return answer

    async def refused(self, tool: str, **arguments: Any) -> str:
        answer = await self.call(tool, **arguments)
        assert answer.refused, f"{tool} went through: {answer.text[:500]}"
        assert "failed on our side" not in answer.text, answer.text
        return answer.text

    async def tools(self) -> list[Tool]:
        return list((await self.client.list_tools(cache_mode="refresh")).tools)

    async def names(self) -> list[str]:
        return [tool.name for tool in await self.tools()]

    async def account(self, name: str, **fields: Any) -> str:
        """Create an account of the caller's and give its id."""
        fields.setdefault("owner", "me")
        return (await self.done("create_account", name=name, **fields))["record"]["id"]

    async def head(self) -> int:
        """Where the history stands: what has not moved when nothing was written."""
        return (await self.done("get_workspace"))["history_head"]


class Desks:
    """Opens desks for members of a team and closes them in the task that opened them, as the SDK asks."""

    def __init__(self) -> None:
        self._open: list[tuple[asyncio.Event, asyncio.Task[None]]] = []

    async def at(self, client: AbstractAsyncContextManager[Client]) -> Desk:
        ready: asyncio.Future[Desk] = asyncio.get_running_loop().create_future()
        leave = asyncio.Event()

        async def hold() -> None:
            try:
                async with client as connected:
                    ready.set_result(Desk(connected))
                    await leave.wait()
            except BaseException as failure:
                if ready.done():
                    raise
                ready.set_exception(failure)

        task = asyncio.create_task(hold())
        self._open.append((leave, task))
        return await ready

    async def of(self, team: Team, name: str, *, mode: Any = "auto", read_only: bool = False) -> Desk:
        """A desk of a member over a server in this process."""
        return await self.at(in_process(team, name, mode=mode, read_only=read_only))

    async def close(self) -> None:
        for leave, task in reversed(self._open):
            leave.set()
            await task
        self._open.clear()


def in_process(team: Team, name: str, *, mode: Any = "auto", read_only: bool = False) -> Client:
    caller = FixedCaller(team.services, team.workspace, team.members[name].id)
    tools = chosen(TOOLSETS, profile="all", read_only=read_only)
    return Client(build_server(team.services, caller, tools=tools), mode=mode)


# -- HTTP ---------------------------------------------------------------------------------------------------


@dataclass
class Http:
    """A server on a loopback port: uvicorn with uvloop and h11, in a thread with a loop and a store of its own."""

    url: str
    port: int

    def raw(self, token: str | None = None, **headers: str) -> httpx2.AsyncClient:
        sent = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        return httpx2.AsyncClient(base_url=self.url, headers=sent | headers, timeout=60)

    @asynccontextmanager
    async def client(self, token: str, mode: Any = "auto") -> AsyncIterator[Client]:
        async with self.raw(token) as http:
            transport = streamable_http_client(f"{self.url}/mcp", http_client=http)
            async with Client(transport, mode=mode, cache=None) as client:
                yield client


@contextmanager
def serving(
    url: str, clock: Clock | None = None, *, app: Callable[[Settings, Services], Any] = http_app, **settings: Any
) -> Iterator[Http]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(256)
        port = listening.getsockname()[1]
        started = threading.Event()
        failed: list[BaseException] = []
        server: list[uvicorn.Server] = []

        async def serve() -> None:
            store = await open_store(url, clock=clock)
            try:
                served = app(Settings(db=url, port=port, **{"profile": "all"} | settings), Services(store, SECRET))
                config = uvicorn.Config(served, http="h11", lifespan="on", log_config=None, timeout_graceful_shutdown=5)
                server.append(_Announcing(config, started))
                await server[0].serve(sockets=[listening])
            finally:
                await store.close()

        def run() -> None:
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(serve())
            except BaseException as failure:
                failed.append(failure)
            finally:
                started.set()

        thread = threading.Thread(target=run, name=f"http-{port}")
        thread.start()
        started.wait(30)
        if failed:
            raise failed[0]
        try:
            yield Http(f"http://127.0.0.1:{port}", port)
        finally:
            server[0].should_exit = True
            thread.join(30)
        assert not thread.is_alive(), "the server did not stop"
        if failed:
            raise failed[0]


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: threading.Event) -> None:
        super().__init__(config)
        self._announced = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announced.set()


def rpc(tool: str, arguments: dict[str, Any], *, call_id: int = 1, era: str = "modern") -> dict[str, Any]:
    """A tools/call as it goes over the wire."""
    params: dict[str, Any] = {"name": tool, "arguments": arguments}
    if era == "modern":
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    return {"jsonrpc": "2.0", "id": call_id, "method": "tools/call", "params": params}


def wire_headers(tool: str, era: str = "modern") -> dict[str, str]:
    if era == "modern":
        return {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": tool}
    return {"mcp-protocol-version": "2025-11-25"}


def said(response: httpx2.Response) -> dict[str, Any]:
    """The JSON-RPC message of a response, whether it came as JSON or as one server-sent event."""
    if response.headers["content-type"].startswith("application/json"):
        return response.json()
    [data] = [line[5:] for line in response.text.splitlines() if line.startswith("data:") and line[5:].strip()]
    return json.loads(data)


# -- stdio --------------------------------------------------------------------------------------------------


def stdio_environment(url: str, team: Team, name: str) -> dict[str, str]:
    return {
        "CS_MCP_DB": url,
        "CS_MCP_USER": team.members[name].email,
        "CS_MCP_WORKSPACE": team.workspace,
        "CS_MCP_SECRET": SECRET.decode(),
        "CS_MCP_PROFILE": "all",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


def stdio_parameters(url: str, team: Team, name: str) -> StdioServerParameters:
    return StdioServerParameters(command=sys.executable, args=[str(SERVE)], env=stdio_environment(url, team, name))


# -- the store, where no tool reaches it yet -----------------------------------------------------------------


@asynccontextmanager
async def writing(store: Store, workspace: str, tool: str = "arrange") -> AsyncIterator[UnitOfWork]:
    """A unit of work of the machine's operator: what an import would write."""
    operator = Principal(
        workspace=workspace, user="operator", name="operator", role=Role.admin, reach=Reach.workspace, people=()
    )
    act = Act(change_id=store.ids.new("change"), actor_id="operator", tool=tool, at=store.clock.now())
    async with store.unit_of_work(operator, act) as work:
        yield work


async def head_of(store: Store, workspace: str) -> int:
    async with writing(store, workspace) as work:
        return await HistoryReads(store).head(work.principal)


def walk(value: Any, visit: Callable[[str], None]) -> None:
    """Every text in a structured answer, keys included."""
    if isinstance(value, str):
        visit(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            visit(key)
            walk(item, visit)
    elif isinstance(value, list):
        for item in value:
            walk(item, visit)


_ID = re.compile(
    r"\b(acc|atm|cev|mov|chg|con|ftr|imp|inv|nte|mtg|opp|usr|pln|ren|run|sig|spo|sub|svy|tkt|tsk|tok|wsp|wpr)_[0-9a-z]{18}\b"
)
_MARK = re.compile(r"⟦(quote|end) [0-9a-f]{8}")


class Labels:
    """Gives ids short names in the order they are met, so that whole answers compare across runs and stores."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def __call__(self, text: str) -> str:
        return _MARK.sub(r"⟦\1 mark", _ID.sub(self._label, text))

    def _label(self, found: re.Match[str]) -> str:
        if found[0] not in self._names:
            self._counts[found[1]] += 1
            self._names[found[0]] = f"{found[1]}_{self._counts[found[1]]}"
        return self._names[found[0]]
