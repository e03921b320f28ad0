"""kill -9 under write load: no answered write is lost, none is half there, and a retried key happens once (R1, R7)."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from conftest import PROOF, SECRET, new_team
from cs_mcp.db.store import open_store
from cs_mcp.services.accounts.accounts import CreateAccount
from cs_mcp.services.wiring import Services

from ._bench import as_owner
from ._oracle import Ack, every_row, judged
from ._writer import WHOLE, Job, Stream

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240 * PROOF)]

WRITER = [sys.executable, str(Path(__file__).with_name("_writer.py"))]
SEED = int(os.environ.get("CS_MCP_FAULT_SEED", "20260316"))


@dataclass
class Killed:
    """A store that is written to by processes that get killed, and every answer they gave before."""

    job: dict[str, Any]
    random: random.Random
    kills: int = 0
    acks: list[Ack] = field(default_factory=list[Ack])
    already: int = 0
    unanswered: int = 0
    refused: list[str] = field(default_factory=list[str])
    last_try: dict[str, Any] | None = None
    tried_at: float = 0.0
    pace: float = 0.01  # seconds a write takes, as seen here

    def next_job(self) -> dict[str, Any]:
        retry = None
        if self.last_try is not None:
            retry = {name: self.last_try[name] for name in ("tool", "command")}
        return {"seed": SEED * 1000 + self.kills, "retry": retry}

    def read(self, line: dict[str, Any]) -> None:
        if "trying" in line:
            self.last_try = line
            self.tried_at = time.monotonic()
        elif "done" in line:
            assert self.last_try is not None
            assert line["done"] == self.last_try["trying"]
            self.last_try = None
            self.pace += 0.1 * (time.monotonic() - self.tried_at - self.pace)
            self.already += line["already_done"]
            records = tuple((entity, record, did) for entity, record, did in line["records"])
            self.acks.append(Ack(line["done"], line["tool"], line["change_id"], records))

        elif "refused" in line:
            self.refused.append(f"{line['refused']}: {line['why']}")
            self.last_try = None

    def until_killed(self, pid: int, lines: IO[bytes], *, end: str | None) -> None:
        """Read what the writer says, kill it at a moment drawn beforehand, and read what was still in the pipe.

        The moment is spread evenly over the time that a write takes here.
        """
        answers, wait = self.random.choice([0, 1, 1, 2, 3, 5, 8]), self.random.uniform(0, 1.2 * self.pace)
        if self.random.random() < 0.1:
            answers, wait = -1, self.random.uniform(0, 0.08)  # while it starts, mostly
        alive = True
        while True:
            if alive and answers < 0:
                time.sleep(wait)
                os.kill(pid, signal.SIGKILL)
                alive = False
            raw = lines.readline()
            line: dict[str, Any] = json.loads(raw) if raw else {}
            if not raw or (end is not None and end in line):
                break
            self.read(line)
            if "done" in line or (answers == 0 and "trying" in line):
                answers -= 1
        assert not alive, "the writer ended by itself"
        self.kills += 1
        self.unanswered += self.last_try is not None

    def report(self) -> None:
        """Retry what the last kill left open, then judge."""
        if self.last_try is not None:
            asyncio.run(self._finish())
        tables = asyncio.run(every_row(as_owner(self.job["url"]), self.job["workspace"]))
        verdict = judged(tables, self.acks, WHOLE)
        print(
            f"\nkill -9, {self.job['url'].partition(':')[0]}: {self.kills} kills, {len(self.acks)} answered, "
            f"{self.unanswered} unanswered at the kill ({self.already} of them had been written), "
            f"{len(tables['change'])} entries; lost {len(verdict.lost)}, half {len(verdict.half)}, "
            f"doubled {len(verdict.doubled)}; 95 % bound {3 / self.kills:.2%} a kill; seed {SEED}"
        )
        assert verdict.clean, str(verdict)
        assert not self.refused, f"only a key that was forgotten is refused: {self.refused[:3]}"
        keys = {row["reason"] for row in tables["change"] if row["reason"]}
        assert keys == {ack.key for ack in self.acks}
        assert len(self.acks) == len(keys)

    async def _finish(self) -> None:
        job = Job(**self.job, **self.next_job())
        store = await open_store(job.url)
        services = Services(store, SECRET)
        principal = await services.identity.by_id(job.workspace, job.member, client="writer")
        assert principal is not None
        assert self.last_try is not None
        command = Stream.command(self.last_try["tool"], self.last_try["command"])
        answer = await services.writes.perform(principal, command)
        await store.close()
        self.read(Stream.answered(self.last_try["tool"], command, answer))


@pytest.fixture
def killed(store_url: str) -> Killed:
    return Killed(asyncio.run(_book(store_url)), random.Random(SEED))


async def _book(url: str) -> dict[str, Any]:
    store = await open_store(url)
    services = Services(store, SECRET)
    team = await new_team(services)
    ada = await team.principal("ada")
    for name in ("Globex", "Initech", "Umbrella"):
        await services.writes.perform(ada, CreateAccount(name=name))
    await store.close()
    return {
        "url": url,
        "workspace": team.workspace,
        "member": team.members["ada"].id,
        "accounts": ["Globex", "Initech", "Umbrella"],
    }


@contextmanager
def _process(arguments: list[str]) -> Generator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(WRITER + arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_nothing_answered_is_lost_when_a_process_is_killed_and_started_again(killed: Killed) -> None:
    for _ in range(20 * PROOF):
        with _process([json.dumps(killed.job | killed.next_job())]) as writer:
            assert writer.stdout is not None
            killed.until_killed(writer.pid, writer.stdout, end=None)

    killed.report()


def test_nothing_answered_is_lost_over_two_hundred_kills(killed: Killed) -> None:
    with _process(["--fork", json.dumps(killed.job)]) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        while "ready" not in (line := json.loads(server.stdout.readline())):
            killed.read(line)
        for _ in range(200 * PROOF):
            server.stdin.write((json.dumps(killed.next_job()) + "\n").encode())
            server.stdin.flush()
            child = json.loads(server.stdout.readline())["child"]
            killed.until_killed(child, server.stdout, end="dead")

    killed.report()
