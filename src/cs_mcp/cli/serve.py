"""`cs-mcp serve`: one person over stdio, or many over HTTP.

argparse reads its options: hosts wait for a stdio server to start, and a richer parser costs a tenth of that.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from cs_mcp.cli._run import opened, refusals, run, settings_of

if TYPE_CHECKING:
    from cs_mcp.config import Settings
    from cs_mcp.tools._toolset import ScopedServer


def serve(arguments: Sequence[str]) -> int:
    """Serve until the client hangs up or a signal comes."""
    given = vars(options_of_serve().parse_args(arguments))
    over_http = given.pop("http")
    # What start-up makes stays to the end, so looking through it for garbage is time lost.
    gc.disable()
    with refusals():
        settings = settings_of(**given)
        run(_over_http(settings) if over_http else over_stdio(settings))
    return 0


def options_of_serve() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cs-mcp serve",
        description="Serve the tools to MCP clients: over stdio as one person, or with --http to whoever has a token.",
        epilog="Every option but --http is also a CS_MCP_ variable; the option wins.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--http", action="store_true", help="streamable HTTP instead of stdio; clients send a bearer token")
    add("--db", metavar="URL", help="the store: sqlite:///path or postgresql://user@host/database")
    add("--as", metavar="EMAIL", dest="user", help="whom a stdio server acts as")
    add("--workspace", metavar="ID", help="the workspace, where the store holds several")
    add("--host", help="address to listen on (127.0.0.1)")
    add("--port", type=int, help="port to listen on (8930); 0 takes a free one")
    add("--allowed-host", metavar="HOST", dest="allowed_hosts", action="append", help="Host header to let in")
    add("--allowed-origin", metavar="URL", dest="allowed_origins", action="append", help="Origin header to let in")
    add("--profile", choices=("csm", "leader", "agent", "all"), help="which tools to offer (csm)")
    add("--toolsets", metavar="NAMES", type=_names, help="toolsets to offer instead of the profile's: core,accounts")
    add("--tools", metavar="NAMES", type=_names, help="single tools to offer beside them: schedule_meeting")
    add("--read-only", action="store_const", const=True, help="list and run no write")
    add("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR, on stderr (WARNING)")
    return parser


def _names(text: str) -> list[str]:
    return [name for name in text.replace(" ", "").split(",") if name]


async def over_stdio(settings: Settings) -> None:
    """Serve on stdin and stdout until the client closes them."""
    from cs_mcp.server import configure_logging, stdio_server

    configure_logging(settings.log_level)
    try:
        async with opened(settings) as services:
            server = await stdio_server(settings, services)
            _started()
            await until_hung_up(server)
    except Stopped:
        leave()


async def _over_http(settings: Settings) -> None:
    from cs_mcp.cli._http import Listener
    from cs_mcp.server import configure_logging, http_app

    configure_logging(settings.log_level)
    listener = Listener.bound(settings.host, settings.port)
    async with opened(settings) as services:
        app: Any = http_app(settings, services)
        _started()
        await listener.serve(app)


class Stopped(Exception):
    """A signal came while the client still held on."""


async def until_hung_up(server: ScopedServer) -> None:
    """Speak on stdin and stdout until the client closes them; Stopped if SIGINT or SIGTERM comes first."""
    speaking = asyncio.create_task(server.run_stdio_async())
    signaled = asyncio.Event()
    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, signaled.set)
    stopping = asyncio.create_task(signaled.wait())
    await asyncio.wait({speaking, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not speaking.done():
        raise Stopped
    await speaking


def leave() -> NoReturn:
    """End the process at once: a thread still waits on stdin, and nothing else frees it."""
    os._exit(0)


def _started() -> None:
    gc.freeze()
    gc.enable()
