"""A stdio server from the environment, as a process of its own."""

from __future__ import annotations

import anyio

from cs_mcp.config import Settings
from cs_mcp.greeting import configure_logging
from cs_mcp.server import open_services, stdio_server


async def main() -> None:
    settings = Settings()
    configure_logging(settings.log_level)
    services = await open_services(settings)
    try:
        await (await stdio_server(settings, services)).run_stdio_async()
    finally:
        await services.store.close()


if __name__ == "__main__":
    anyio.run(main)
