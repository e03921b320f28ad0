"""The first answers of a stdio server that was not running, beside a bare server of the same SDK."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks._serving import ROOT
from benchmarks._stores import Prepared

BARE = """
from mcp.server import MCPServer
server = MCPServer("bare", log_level="WARNING")
@server.tool()
def noop(account: str) -> str:
    "Do nothing."
    return account
server.run("stdio")
"""
SCRIPT = """
import asyncio
from cs_mcp.config import Settings
from cs_mcp.greeting import configure_logging
from cs_mcp.server import open_services, stdio_server
async def main():
    settings = Settings()
    configure_logging(settings.log_level)
    services = await open_services(settings)
    await (await stdio_server(settings, services)).run_stdio_async()
    await services.store.close()
asyncio.run(main())
"""


@dataclass(frozen=True)
class Cold:
    """Seconds from the start of the process to its first answer, and to the answer of its first tool call."""

    name: str
    first: list[float]
    tool: list[float]

    @property
    def p50(self) -> float:
        return median(self.first)

    @property
    def tool_p50(self) -> float:
        return median(self.tool)


async def cold(prepared: list[Prepared], *, starts: int) -> list[Cold]:
    """Bare and ours take turns."""
    bare = Cold("bare MCPServer", [], [])
    ours = [Cold(f"{one.kind}", [], []) for one in prepared]
    for _ in range(starts):
        await _start(bare, [sys.executable, "-c", BARE], {}, "noop", {"account": "a"})
        for found, one in zip(ours, prepared, strict=True):
            given = {"CS_MCP_DB": one.url, "CS_MCP_USER": one.book.leader, "CS_MCP_SECRET": "cold"}
            await _start(found, _command(one), given, "get_workspace", {})
    return [bare, *ours]


def _command(prepared: Prepared) -> list[str]:
    """The command users run, or what it does where the command line is not built yet."""
    if importlib.util.find_spec("cs_mcp.__main__") is None or importlib.util.find_spec("cs_mcp.cli.serve") is None:
        return [sys.executable, "-c", SCRIPT]
    return [sys.executable, "-m", "cs_mcp", "serve", "--as", prepared.book.leader]


async def _start(
    into: Cold, command: list[str], environment: dict[str, str], tool: str, arguments: dict[str, Any]
) -> None:
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "b", "version": "1"}}
        process.stdin.write(_line({"id": 1, "method": "initialize", "params": about}))
        await _answer(process.stdout, 1)
        into.first.append(time.perf_counter() - started)
        process.stdin.write(_line({"method": "notifications/initialized"}))
        process.stdin.write(_line({"id": 2, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}))
        answer = await _answer(process.stdout, 2)
        into.tool.append(time.perf_counter() - started)
        if answer.get("isError"):
            raise RuntimeError(f"{command[-1][:40]}: {answer}")
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 20)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"


async def _answer(stdout: asyncio.StreamReader, wanted: int) -> dict[str, Any]:
    while line := await asyncio.wait_for(stdout.readline(), 60):
        message = json.loads(line)
        if message.get("id") == wanted:
            return message["result"]
    raise RuntimeError("the server ended without an answer")
