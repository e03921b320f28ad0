"""An HTTP server on a socket of ours: the port is known before it serves, and a signal ends it in order."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final

import uvicorn

from cs_mcp.domain.errors import Invalid

PATH: Final = "/mcp"
# A client may hold a stream open for ever; a stop waits this long for answers that are under way.
LAST_ANSWERS_SECONDS: Final = 5


class _Announcing(uvicorn.Server):
    """Says where it listens once it does."""

    def __init__(self, config: uvicorn.Config, announcement: str) -> None:
        super().__init__(config)
        self._announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._announcement, file=sys.stderr, flush=True)


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

    async def serve(self, app: Any) -> None:
        """Serve until SIGINT or SIGTERM, then let answers under way finish."""
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
        with _signals_end_quietly():
            await _Announcing(config, f"Listening on {self.url}").serve(sockets=[self.socket])


@contextlib.contextmanager
def _signals_end_quietly() -> Generator[None, None, None]:
    """uvicorn raises a signal once more after its orderly stop; that second one must not end us with an error."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
