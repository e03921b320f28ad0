"""The only wiring: settings → store → services → MCPServer, over stdio or HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mcp.server.transport_security import TransportSecuritySettings

from cs_mcp.config import Settings
from cs_mcp.db.store import Store, open_store
from cs_mcp.domain.errors import Invalid
from cs_mcp.gate import BearerGate
from cs_mcp.greeting import about
from cs_mcp.scoped_server import CustomerSuccessServer
from cs_mcp.services.identity import token_secret
from cs_mcp.services.wiring import Services
from cs_mcp.tools import TOOLSETS
from cs_mcp.tools._context import Caller, FixedCaller, VerifiedCaller
from cs_mcp.tools._selection import chosen
from cs_mcp.tools._toolset import StrictTool

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


async def open_services(settings: Settings) -> Services:
    store: Store = await open_store(settings.db, sqlite_journal=settings.sqlite_journal)
    return Services(store, token_secret(settings), link_base=settings.link_base)


def build_server(
    services: Services,
    caller: Caller,
    *,
    tools: Sequence[StrictTool] | None = None,
    server_type: type[CustomerSuccessServer] = CustomerSuccessServer,
) -> CustomerSuccessServer:
    """The server over open services, with all tools unless told. One factory for every transport, and for the tests."""
    return server_type(
        **about(),
        tools=chosen(TOOLSETS, profile="all") if tools is None else tools,
        services=services,
        caller=caller,
    )


def tools_of(settings: Settings) -> list[StrictTool]:
    """What this configuration offers."""
    return chosen(
        TOOLSETS,
        profile=settings.profile,
        toolsets=settings.toolsets,
        tools=settings.tools,
        read_only=settings.read_only,
    )


async def stdio_server(settings: Settings, services: Services) -> CustomerSuccessServer:
    """A server for the one person that configuration names."""
    workspace = await services.identity.the_workspace(settings.workspace)
    if settings.user is None:
        raise Invalid(
            "A stdio server acts as one person, and none is named.",
            remedy="Name one with --as EMAIL or CS_MCP_USER; 'cs-mcp user list' shows who there is.",
        )
    person = await services.identity.by_email(workspace, settings.user, client="stdio")
    return build_server(services, FixedCaller(services, workspace, person.user), tools=tools_of(settings))


def http_app(settings: Settings, services: Services) -> Any:
    """The ASGI application: one endpoint behind the bearer gate, and an open /health that says nothing of the data."""
    return app_of(build_server(services, VerifiedCaller(), tools=tools_of(settings)), settings, services)


def app_of(server: CustomerSuccessServer, settings: Settings, services: Services) -> Any:
    """A server as that application."""
    app = server.streamable_http_app(
        stateless_http=True,
        json_response=False,
        host=settings.host,
        transport_security=transport_security(settings),
    )
    return BearerGate(app, services.identity)


def transport_security(settings: Settings) -> TransportSecuritySettings:
    """Which Host and Origin headers are let in. Beyond this machine they must be named."""
    hosts = list(settings.allowed_hosts)
    origins = list(settings.allowed_origins)
    if settings.host in LOOPBACK:
        hosts += ["127.0.0.1:*", "localhost:*", "[::1]:*"]
        origins += ["http://127.0.0.1:*", "http://localhost:*", "http://[::1]:*"]
    elif not hosts:
        raise Invalid(
            f"Listening on {settings.host} lets other machines in, and no host name is allowed yet.",
            remedy="Name the hosts clients use, e.g. CS_MCP_ALLOWED_HOSTS='[\"crm.example.com\"]' or --allowed-host.",
        )
    return TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=origins)
