"""The product over HTTP in a process of its own, with one tool more: a no-op that pays all that a tool pays.

Prints its port and the number of its process on stdout, then serves until it is ended.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import uvicorn

from cs_mcp.config import Settings
from cs_mcp.domain.contract import AccountRef, Budget, Question, View
from cs_mcp.domain.rights import RIGHTS
from cs_mcp.greeting import configure_logging
from cs_mcp.server import http_app, open_services
from cs_mcp.tools._context import Call
from cs_mcp.tools.accounts import accounts


class Noop(Question):
    account: AccountRef
    budget_tokens: Budget = 4000


class Nothing(View):
    id: str
    name: str
    version: int

    def text(self, nonce: str) -> str:
        return f"- {self.name} ({self.id}) v{self.version}"


def add_the_noop() -> None:
    RIGHTS["noop"] = RIGHTS["get_account"]

    @accounts.read("No-op")
    async def noop(question: Noop, call: Call) -> Nothing:  # pyright: ignore[reportUnusedFunction]
        """Do nothing and say so."""
        return Nothing(id=question.account, name=call.principal.name, version=1)


async def main() -> None:
    settings = Settings()
    configure_logging(settings.log_level)
    add_the_noop()
    services = await open_services(settings)
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    app = http_app(settings, services)
    config = uvicorn.Config(
        app, http="h11", loop="uvloop", log_level="warning", access_log=False, timeout_keep_alive=600
    )
    try:
        await uvicorn.Server(config).serve(sockets=[listening])
    finally:
        await services.store.close()


if __name__ == "__main__":
    if sys.platform == "win32":
        asyncio.run(main())
    else:
        import uvloop

        uvloop.run(main())
