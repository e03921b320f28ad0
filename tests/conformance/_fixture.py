"""The product's application with diagnostics added: what the conformance suite is run against.

Factory, server class, gate, store and transport settings are the product's. Added are the diagnostics, the handshake
era's three methods that the product has no use for, and an Authorization header, which the suite cannot send.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from mcp.server import MCPServer
from mcp_types import (
    EmptyResult,
    SetLevelRequestParams,
    SubscribeRequestParams,
    UnsubscribeRequestParams,
)

from cs_mcp.config import Settings
from cs_mcp.scoped_server import CustomerSuccessServer
from cs_mcp.server import app_of, build_server
from cs_mcp.services.wiring import Services
from cs_mcp.tools._context import VerifiedCaller

from . import _asking as _asking  # it declares diagnostics too
from ._diagnostics import PROMPTS, RESOURCES, TOOLS

_OURS = {function.__name__ for function in (*TOOLS, *PROMPTS)}
_ADDRESSES = [re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(uri))) for uri, _, _ in RESOURCES]


class DiagnosedServer(CustomerSuccessServer):
    """The product's server, which also answers to the names of the diagnostics."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for function in TOOLS:
            self.add_tool(function, structured_output=False)
        for function in PROMPTS:
            self.prompt()(function)
        for uri, mime_type, function in RESOURCES:
            self.resource(uri, mime_type=mime_type)(function)
        # Methods that 2026-07-28 removed; `MCPServer` leaves them to the low-level server.
        served = self._lowlevel_server.add_request_handler
        served("logging/setLevel", SetLevelRequestParams, _accept)
        served("resources/subscribe", SubscribeRequestParams, _accept)
        served("resources/unsubscribe", UnsubscribeRequestParams, _accept)

    async def list_tools(self) -> list[Any]:
        return await super().list_tools() + [tool for tool in await MCPServer.list_tools(self) if tool.name in _OURS]

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        if name in _OURS:
            return await MCPServer.call_tool(self, name, arguments, context)
        return await super().call_tool(name, arguments, context)

    async def list_prompts(self) -> list[Any]:
        return await super().list_prompts() + await MCPServer.list_prompts(self)

    async def get_prompt(self, name: str, arguments: dict[str, Any] | None = None, context: Any = None) -> Any:
        if name in _OURS:
            return await MCPServer.get_prompt(self, name, arguments, context)
        return await super().get_prompt(name, arguments, context)

    async def list_resources(self) -> list[Any]:
        return await super().list_resources() + await MCPServer.list_resources(self)

    async def list_resource_templates(self) -> list[Any]:
        return await super().list_resource_templates() + await MCPServer.list_resource_templates(self)

    async def read_resource(self, uri: Any, context: Any = None) -> Any:
        if any(address.fullmatch(str(uri)) for address in _ADDRESSES):
            return await MCPServer.read_resource(self, uri, context)
        return await super().read_resource(uri, context)


async def _accept(_ctx: Any, _params: Any) -> EmptyResult:
    return EmptyResult()


App = Callable[[Settings, Services], Any]


def diagnosed_app(settings: Settings, services: Services) -> Any:
    """`http_app` with the diagnosed server in it."""
    server = build_server(services, VerifiedCaller(), server_type=DiagnosedServer)
    return app_of(server, settings, services)


def signed_in(app: App, token: str) -> App:
    """An application to which every request comes with one bearer token."""

    def make(settings: Settings, services: Services) -> Any:
        inside = app(settings, services)

        async def with_header(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                header = (b"authorization", f"Bearer {token}".encode())
                scope = {**scope, "headers": [*scope["headers"], header]}
            await inside(scope, receive, send)

        return with_header

    return make
