"""An HTTP server on a socket of ours: the port is known before it serves, and a signal ends it in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass
from typing import Any, Final

import uvicorn

from cs_mcp.domain.errors import Invalid

PATH: Final = "/mcp"
# A client may hold a stream open for ever; a stop waits this long for answers that are under way.
LAST_ANSWERS_SECONDS: Final = 5


class _Server(uvicorn.Server):
    """Calls back once it accepts connections."""

    def __init__(self, config: uvicorn.Config, when_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._when_ready()


@dataclass(frozen=True)
class Listener:
    """A bound socket."""

    socket: socket.socket
    host: str

    @classmethod
    def bound(cls, host: str, port: int) -> Listener:
        try:
            [family, kind, _, _, address] = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            # The protocol is named: on a socket with protocol 0 asyncio leaves Nagle's delay on.
            ours = socket.socket(family, kind, socket.IPPROTO_TCP)
            if sys.platform != "win32":
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            ours.bind(address)
        except (OSError, OverflowError) as refused:
            raise Invalid(
                f"Cannot listen on {host} port {port}: {refused}.",
                remedy="Stop what listens there, or choose another --port (0 takes a free one).",
            ) from refused
        return cls(ours, host)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.socket.getsockname()[1]}{PATH}"

    def announce(self) -> None:
        print(f"Listening on {self.url}", file=sys.stderr, flush=True)

    async def serve(self, app: Any) -> None:
        """Serve until SIGINT or SIGTERM, then let answers under way finish."""
        with _signals_end_quietly():
            await self._server(app, self.announce).serve(sockets=[self.socket])

    @contextlib.asynccontextmanager
    async def serving(self, app: Any) -> AsyncGenerator[None, None]:
        """Serve beside the block, from before it begins until after it ends."""
        ready = asyncio.Event()
        server = self._server(app, ready.set)
        task = asyncio.create_task(server.serve(sockets=[self.socket]))
        started = asyncio.create_task(ready.wait())
        await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
        try:
            yield
        finally:
            started.cancel()
            server.should_exit = True
            await task

    def _server(self, app: Any, when_ready: Callable[[], None]) -> _Server:
        config = uvicorn.Config(
            app,
            loop="asyncio" if sys.platform == "win32" else "uvloop",
            http="h11",
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=LAST_ANSWERS_SECONDS,
        )
        return _Server(config, when_ready)


@contextlib.contextmanager
def _signals_end_quietly() -> Generator[None, None, None]:
    """uvicorn raises a signal once more after its orderly stop; that second one must not end us with an error."""

    def ignore(_number: int, _frame: object) -> None:
        return None

    before = {number: signal.signal(number, ignore) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
