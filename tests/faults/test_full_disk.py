"""A SQLite store that may not grow, and one whose lock somebody else holds (R4, R5)."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from sqlalchemy import event

from conftest import SECRET
from cs_mcp.db.store import open_store
from cs_mcp.domain.errors import CustomerSuccessError
from cs_mcp.services.health.health import AddHealthNote
from cs_mcp.services.wiring import Services

from ._bench import Bench, a_bench
from ._oracle import Ack, every_row, judged
from ._writer import WHOLE

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

HOLDER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("begin immediate")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("rollback")
"""


@pytest.fixture
async def bench(sqlite_url: str) -> AsyncGenerator[Bench]:
    async with a_bench(sqlite_url) as opened:
        yield opened


class Limit:
    """How many pages the file may have, as a disk would say it."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.pages = 1_000_000

    async def set(self, more: int) -> None:
        """Let the file grow by `more` pages from where it is, on connections to come and on the open one."""
        connection = sqlite3.connect(self._bench.store.where.path)
        self.pages = connection.execute("pragma page_count").fetchone()[0] + more
        connection.close()
        async with self._bench.store.writer.connect() as open_one:
            await open_one.exec_driver_sql(f"pragma max_page_count={self.pages}")

    def on_connect(self, driver: Any, _record: Any) -> None:
        driver.cursor().execute(f"pragma max_page_count={self.pages}")


@pytest.fixture
def limit(bench: Bench) -> Limit:
    made = Limit(bench)
    event.listen(bench.store.writer.sync_engine, "connect", made.on_connect)
    return made


def note(key: str) -> AddHealthNote:
    return AddHealthNote(account="Globex", text=f"{key}: " + "x" * 3000, idempotency_key=key, reason=key)


async def test_a_full_disk_refuses_plainly_loses_nothing_and_needs_no_restart(bench: Bench, limit: Limit) -> None:
    acks: list[Ack] = []
    refused: list[str] = []

    async def write(key: str) -> None:
        answer = await bench.perform(note(key))
        records = tuple((change.record, change.id, change.did) for change in answer.changed)
        acks.append(Ack(key, "add_health_note", answer.change_id, records))

    for time_full in range(10):
        await limit.set(more=time_full * 3)
        for number in range(100):
            key = f"k{time_full}-{number}"
            before = (await bench.look()).counts
            try:
                await write(key)
            except CustomerSuccessError as plain:
                refused.append(key)
                assert "full" in plain.message
                assert (await bench.look()).counts == before
                break
        else:
            pytest.fail("the disk never was full")
        assert await bench.unhealthy() is None

        await limit.set(more=1000)
        await write(f"{key}-next")
        await write(key)

    connection = sqlite3.connect(bench.store.where.path)
    assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    connection.close()
    verdict = judged(await every_row(bench.url, bench.workspace), acks, WHOLE)
    print(f"\nfull disk: {len(refused)} times full, {len(acks)} answered, {len(verdict.lost)} lost, {verdict}")
    assert verdict.clean, str(verdict)


@contextmanager
def held(bench: Bench, seconds: float) -> Generator[None]:
    """Another process holds the file's write lock for a while."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(bench.store.where.path), str(seconds)], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        holder.communicate()


async def test_writers_wait_for_a_lock_that_another_process_holds(bench: Bench) -> None:
    stores = [await open_store(bench.url) for _ in range(4)]
    with held(bench, 2.0):
        started = time.monotonic()
        async with asyncio.timeout(30):
            answers = await asyncio.gather(
                *(
                    Services(store, SECRET).writes.perform(bench.ada, note(f"k{number}"))
                    for number, store in enumerate(stores)
                )
            )
        waited = time.monotonic() - started
    for store in stores:
        await store.close()

    assert waited > 1.5
    assert len({answer.change_id for answer in answers}) == 4
    print(f"\nlock held for 2 s: 4 of 4 waiting writers succeeded after {waited:.1f} s")


async def test_a_caller_who_gives_up_waiting_leaves_the_lock_to_others(bench: Bench) -> None:
    with held(bench, 1.0):
        with anyio.move_on_after(0.3) as gave_up:
            await bench.perform(note("gave-up"))
        task = asyncio.create_task(bench.perform(note("cancelled")))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert gave_up.cancelled_caught
    async with asyncio.timeout(10):
        await bench.perform(note("next"))
    assert await bench.unhealthy() is None
    assert await bench.effects("gave-up") == await bench.effects("cancelled") == []
