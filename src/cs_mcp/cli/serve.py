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
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from cs_mcp.cli._run import opened, refusals, run, settings_of

if TYPE_CHECKING:
    from cs_mcp.config import Settings
    from cs_mcp.greeting import Greeter
    from cs_mcp.scoped_server import CustomerSuccessServer


def serve(arguments: Sequence[str]) -> int:
    """Serve until the client hangs up or a signal comes."""
    given = vars(options_of_serve().parse_args(arguments))
    over_http = given.pop("http")
    # What start-up makes stays to the end, so looking through it for garbage is time lost.
    gc.disable()
    with refusals():
        settings = settings_of(**given)
        run(_over_http(settings) if over_http else over_stdio(settings.log_level, _opening(settings)))
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


async def over_stdio(log_level: str, opening: AbstractAsyncContextManager[CustomerSuccessServer]) -> None:
    """Serve on stdin and stdout until the client closes them; it is greeted while the store is being opened."""
    from cs_mcp.greeting import Greeter, configure_logging

    configure_logging(log_level)
    greeter = Greeter()
    speaking = asyncio.create_task(greeter.run_stdio_async())
    serving = asyncio.create_task(_serve_behind(greeter, opening, speaking))
    stopping = asyncio.create_task(_signaled())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        stopping.cancel()
        leave(serving.result())
    serving.cancel()
    await asyncio.wait({serving})
    leave()


async def _serve_behind(
    greeter: Greeter, opening: AbstractAsyncContextManager[CustomerSuccessServer], speaking: asyncio.Task[None]
) -> int:
    """Open what the greeter hands over to, and wait for the client to hang up; the exit code."""
    try:
        with refusals():
            # In a thread, because importing takes a second in which the loop has to answer.
            await asyncio.to_thread(import_module, "cs_mcp.server")
            async with opening as server:
                greeter.hand_over(server)
                _started()
                await speaking
    except SystemExit as refused:  # a task that raises it would end the loop before the others are told
        return refused.code if isinstance(refused.code, int) else 1
    return 0


@asynccontextmanager
async def _opening(settings: Settings) -> AsyncGenerator[CustomerSuccessServer, None]:
    from cs_mcp.server import stdio_server

    async with opened(settings) as services:
        yield await stdio_server(settings, services)


async def _over_http(settings: Settings) -> None:
    from cs_mcp.cli._http import Listener
    from cs_mcp.greeting import configure_logging
    from cs_mcp.server import http_app

    configure_logging(settings.log_level)
    listener = Listener.bound(settings.host, settings.port)
    async with opened(settings) as services:
        app: Any = http_app(settings, services)
        _started()
        await listener.serve(app)


async def _signaled() -> None:
    """Wait for SIGINT or SIGTERM: the client still holds on."""
    signaled = asyncio.Event()
    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, signaled.set)
    await signaled.wait()


def leave(code: int = 0) -> NoReturn:
    """End the process at once: a thread still waits on stdin, and nothing else frees it."""
    sys.stderr.flush()
    os._exit(code)


def _started() -> None:
    gc.freeze()
    gc.enable()
