"""A raw client: prebuilt requests over kept connections, so that what is measured is the server."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Literal

Protocol = Literal["2025-11-25", "2026-07-28"]


class CallFailed(RuntimeError):
    """The server answered with an error, where the benchmark expects none."""


class Caller:
    """One kept connection of one bearer token."""

    def __init__(self, port: int, token: str, protocol: Protocol) -> None:
        self._port = port
        self._token = token
        self._protocol = protocol
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def request(self, tool: str, arguments: dict[str, Any]) -> bytes:
        params: dict[str, Any] = {"name": tool, "arguments": arguments}
        more = ""
        if self._protocol == "2026-07-28":
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": self._protocol,
                "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            }
            more = f"Mcp-Method: tools/call\r\nMcp-Name: {tool}\r\n"
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
        head = (
            f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nAuthorization: Bearer {self._token}\r\n"
            f"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
            f"MCP-Protocol-Version: {self._protocol}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def send(self, request: bytes) -> tuple[float, bytes]:
        """Milliseconds to the whole answer, and the answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        started = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await self._body(reader, head.lower())
        took = (time.perf_counter() - started) * 1e3
        if not head.startswith(b"HTTP/1.1 200") or b'"isError":true' in body or b'"error":{' in body:
            raise CallFailed((head + body).decode("utf-8", "replace")[:1500])
        return took, body

    async def call(self, tool: str, arguments: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        took, body = await self.send(self.request(tool, arguments))
        return took, answer_of(body)

    @staticmethod
    async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
        if b"transfer-encoding: chunked" not in head:
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            return await reader.readexactly(length)
        parts: list[bytes] = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readexactly(2)
        return b"".join(parts)

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def answer_of(body: bytes) -> dict[str, Any]:
    """The structured content of an answer, whether it came as JSON or as one event."""
    for line in body.splitlines():
        text = line.removeprefix(b"data: ") if line.startswith(b"data: ") else line
        if text.startswith(b"{"):
            return json.loads(text)["result"]["structuredContent"]
    raise CallFailed(body.decode("utf-8", "replace")[:500])
