"""The tools as a client lists them, and the files that hold them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

from mcp import Client
from mcp_types import ListToolsResult

from cs_mcp.domain.identity import Principal, Reach, Role
from cs_mcp.server import build_server
from cs_mcp.services.wiring import Services

SNAPSHOTS = Path(__file__).with_name("snapshots")


class Admin:
    """A caller who may use every tool; listing them reads nothing of the store."""

    async def principal(self) -> Principal:
        return Principal(
            workspace="wsp_any", user="usr_any", name="Any", role=Role.admin, reach=Reach.workspace, people=()
        )


async def list_tools(mode: Any = "auto") -> ListToolsResult:
    # A server lists its tools without use cases behind them; none of them is called here.
    server = build_server(cast("Services", None), Admin())
    async with Client(server, mode=mode) as client:
        return await client.list_tools()


def wire(result: ListToolsResult) -> dict[str, Any]:
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


def listed() -> list[dict[str, Any]]:
    """Every tool as it goes over the wire."""
    return wire(asyncio.run(list_tools()))["tools"]


def pretty(tool: dict[str, Any]) -> str:
    kept = {
        name: tool[name]
        for name in ("name", "title", "description", "annotations", "inputSchema", "outputSchema")
        if name in tool
    }
    return json.dumps(kept, indent=2, ensure_ascii=False) + "\n"


def compact(value: Any) -> int:
    """Bytes of a value as compact JSON."""
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
