"""Nights in a process of their own, which has loaded what a command loads, and no more: what is measured is its memory.

python -m benchmarks._night URL    # a time a line on stdin: scores every account then; answers with a line of JSON
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Night:
    """Megabytes resident: once the store is open, now that the night is over, and the most there were so far."""

    accounts: int
    written: int
    seconds: float
    opened_mb: float
    after_mb: float
    peak_mb: float


class Sleeper:
    """Calls the nights of one store, one after the other, as a process that stays."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def night(self, at: datetime) -> Night:
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        asked.write(f"{at.isoformat()}\n".encode())
        await asked.drain()
        if not (line := await answers.readline()):
            raise RuntimeError(f"The night of {at} ended with {await self._process.wait()}.")
        return Night(**json.loads(line))


@asynccontextmanager
async def sleeping(url: str) -> AsyncGenerator[Sleeper, None]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks._night", url, stdin=pipe, stdout=pipe
    )
    try:
        yield Sleeper(process)
    finally:
        process.stdin.close()  # type: ignore[union-attr]
        await process.wait()


async def _nights(url: str) -> None:
    from cs_mcp.db.store import open_store
    from cs_mcp.domain.calendar import FixedClock
    from cs_mcp.services.health.scoring import Scoring
    from cs_mcp.services.identity import Identity

    if not (line := await _line()):
        return
    clock = FixedClock(datetime.fromisoformat(line))
    store = await open_store(url, clock=clock)
    try:
        identity = Identity(store, b"benchmark")
        operator = await identity.operator(await identity.the_workspace(None))
        opened, _ = _resident()
        while line:
            clock.advance(datetime.fromisoformat(line) - clock.now())
            done = await Scoring(store).score_all(operator)
            night = Night(done.accounts, done.written, done.seconds, opened, *_resident())
            print(json.dumps(asdict(night)), flush=True)
            line = await _line()
    finally:
        await store.close()


async def _line() -> str:
    return (await asyncio.to_thread(sys.stdin.readline)).strip()


def _resident() -> tuple[float, float]:
    """Megabytes now and at most. `ru_maxrss` would not do on Linux: a child inherits its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        found = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(found["VmRSS"].split()[0]) / 1024, int(found["VmHWM"].split()[0]) / 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 ** (2 if sys.platform == "darwin" else 1)
    return most, most


if __name__ == "__main__":
    import cs_mcp.cli.commands  # noqa: F401 - as a command
    from cs_mcp.cli._run import run

    run(_nights(sys.argv[1]))
