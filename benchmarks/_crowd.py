"""Sixteen clients at once, reads and writes mixed: nothing may fail, least of all on a lock."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from statistics import median, quantiles

from benchmarks._http import CallFailed, Protocol
from benchmarks._latency import a_note, an_update
from benchmarks._serving import Served

CLIENTS = 16


@dataclass(frozen=True)
class Crowd:
    server: str
    calls: int
    per_second: float
    write_p50: float
    write_p95: float
    errors: list[str]

    @property
    def lock_errors(self) -> int:
        return sum("locked" in text or "deadlock" in text for text in self.errors)


async def crowd(server: Served, *, protocol: Protocol, calls: int) -> Crowd:
    """Each client makes `calls` calls: half writes, on accounts that three of the others write to as well."""
    errors: list[str] = []
    writes: list[float] = []

    async def client(number: int) -> None:
        chance = random.Random(number)
        caller = server.caller(server.leader, protocol)
        shared = server.accounts[number // 4 :: CLIENTS][:50]
        # An update needs the version it read: those go to accounts nobody else updates.
        mine = server.accounts[number::CLIENTS][50:60] or server.accounts[number::CLIENTS]
        for turn in range(calls):
            try:
                if turn % 4 == 1:
                    _, seen = await caller.call("get_account", {"account": chance.choice(mine), "sections": []})
                    took, _ = await caller.call("update_account", an_update(seen["id"], seen["version"]))
                    writes.append(took)
                elif turn % 4 == 3:
                    writes.append((await caller.call("add_health_note", a_note(chance.choice(shared))))[0])
                elif turn % 4 == 2:
                    await caller.call("find_accounts", {"segment": ["enterprise"], "band": ["red"], "sort": "-arr"})
                else:
                    await caller.call("get_account", {"account": chance.choice(shared)})
            except CallFailed as failed:
                errors.append(str(failed))
        await caller.close()

    started = time.perf_counter()
    async with asyncio.TaskGroup() as clients:
        for number in range(CLIENTS):
            clients.create_task(client(number))
    took = time.perf_counter() - started
    done = CLIENTS * (calls + calls // 4)
    return Crowd(server.name, done, done / took, median(writes), quantiles(writes, n=20)[-1], errors)
