"""A canary for the seams of the SDK that our tools stand on: it says which one moved, before anything else breaks."""

from __future__ import annotations

import inspect
from importlib.metadata import version

from mcp.server import CacheHint, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp_types import CallToolResult, TextContent


def test_the_sdk_is_of_the_line_we_know() -> None:
    major, minor, *_ = version("mcp").split(".")
    assert (int(major), int(minor) >= 3) == (2, True)


def test_a_tool_is_a_model_with_the_fields_we_set() -> None:
    ours = {"fn", "name", "title", "description", "parameters", "fn_metadata", "is_async", "annotations"}
    assert ours <= set(Tool.model_fields)
    assert list(inspect.signature(Tool.run).parameters)[:4] == ["self", "arguments", "context", "convert_result"]
    assert inspect.iscoroutinefunction(Tool.run)


def test_metadata_can_be_made_without_a_function_to_read() -> None:
    made = FuncMetadata(arg_model=ArgModelBase, output_schema={"type": "object"})
    assert made.output_schema == {"type": "object"}


def test_a_server_takes_tools_and_lists_and_calls_them_through_methods() -> None:
    assert {"tools", "cache_hints", "instructions", "title", "version", "log_level"} <= set(
        inspect.signature(MCPServer.__init__).parameters
    )
    assert inspect.iscoroutinefunction(MCPServer.list_tools)
    assert list(inspect.signature(MCPServer.call_tool).parameters)[:3] == ["self", "name", "arguments"]
    assert {"stateless_http", "json_response", "host", "transport_security"} <= set(
        inspect.signature(MCPServer.streamable_http_app).parameters
    )
    assert CacheHint(ttl_ms=1, scope="private").scope == "private"


async def test_overridden_methods_are_what_the_protocol_calls() -> None:
    from mcp import Client

    class Ours(MCPServer):
        async def list_tools(self):
            return []

        async def call_tool(self, name, arguments, context=None):
            if name == "refuse":
                raise ToolError("said by us")
            return CallToolResult(content=[TextContent(type="text", text=f"{name} {arguments}")])

    for mode in ("auto", "legacy"):
        async with Client(Ours("ours"), mode=mode) as client:
            assert (await client.list_tools()).tools == []
            answered = (await client.call_tool("any", {"a": 1})).content[0]
            refused = await client.call_tool("refuse", {})
            assert answered.text == "any {'a': 1}"
            assert refused.is_error
            assert refused.content[0].text.endswith("said by us")
