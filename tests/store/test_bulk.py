"""Many rows at once: sent in parts while the next are made ready, and told by the history as if written one by one."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
from book import Desk, desk, head_of, history_of, rows_of, unit

from conftest import Team
from cs_mcp.db.bulk import RowUpdate, bulk_create, bulk_update
from cs_mcp.db.derived import rederive
from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.history.changes import recorded_columns
from cs_mcp.db.read_path import Statement
from cs_mcp.db.store import Store
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.wire import A_PART, Wire
from cs_mcp.domain.changes import canonical, chained, payload_hash

NOTES: Any = HealthNoteRow.__table__
# What a driver could take for the end of a text, for no text at all, or for JSON.
ODD = ["\x1f", "a\x1fb", "\x1e", "x\x1e", "", "NULL", "{a,b}", '"', "\\", "é 漢 🙂", "two\nlines", "'; --", "null"]


@pytest.fixture
async def lea(team: Team) -> Desk:
    return await desk(team, "lea")


def notes(store: Store, account: str, count: int) -> list[dict[str, Any]]:
    shape = {"account_id": account, "written_on": date(2026, 3, 1), "sentiment": "neutral"}
    ids = sorted(store.ids.new("health_note") for _ in range(count))
    return [shape | {"id": one, "text": f"note {n}"} for n, one in enumerate(ids)]


async def test_texts_arrive_as_they_are_and_the_chain_holds_over_all_parts(store: Store, team: Team, lea: Desk) -> None:
    account = await lea.opens("Acme")
    before = len(await history_of(store, team))
    given = notes(store, account, 2 * A_PART + 7)
    for n, odd in enumerate(ODD):
        given[n]["text"] = given[A_PART + 3 * n]["author_name"] = odd  # the first part has no author's name at all
    async with unit(store, lea.principal) as work:
        await bulk_create(work, HealthNoteRow, given)
    async with unit(store, lea.principal) as work:
        update = {"author_name": "Ben", "text": "\x1f\x1e"}
        rows = [RowUpdate(g["id"], 1, account, g | {"author_name": g.get("author_name")}, update) for g in given]
        await bulk_update(work, HealthNoteRow, rows[: A_PART + 1])

    stored = await rows_of(store, team.workspace, NOTES, "id")
    assert {(r["text"], r["author_name"]) for r in stored[: A_PART + 1]} == {("\x1f\x1e", "Ben")}
    rest = [(g["text"], g.get("author_name")) for g in given[A_PART + 1 :]]
    assert [(r["text"], r["author_name"]) for r in stored[A_PART + 1 :]] == rest

    history = await history_of(store, team)
    created, updated = history[before : before + len(given)], history[before + len(given) :]
    assert [e["entity_id"] for e in created] == [g["id"] for g in given]
    for entry, one in zip(created, given, strict=True):
        wanted = dict.fromkeys(recorded_columns(HealthNoteRow)) | {k: v for k, v in one.items() if k != "id"}
        assert entry["after"] == json.loads(canonical(wanted))
    assert [(e["entity_version"], e["before"]["text"]) for e in updated] == [
        (2, g["text"]) for g in given[: A_PART + 1]
    ]
    assert [e["seq"] for e in history] == list(range(1, len(history) + 1))
    for earlier, entry in pairwise(history):
        told = [canonical(entry[side]) for side in ("before", "after")]
        assert entry["payload_hash"] == payload_hash(entry["salt"], *told)
        assert entry["hash"] == chained(earlier["hash"], entry)
    assert (await head_of(store, team))["hash"] == history[-1]["hash"]


@pytest.mark.parametrize("wrong", [3, A_PART + 3, 2 * A_PART + 3])
async def test_a_row_that_is_refused_takes_the_whole_write_with_it(
    store: Store, team: Team, lea: Desk, wrong: int
) -> None:
    account = await lea.opens("Acme")
    before = len(await history_of(store, team))
    given = notes(store, account, 2 * A_PART + 7)
    given[wrong]["id"] = given[wrong - 1]["id"]
    with pytest.raises(Exception, match=r"(?i)unique"):
        async with unit(store, lea.principal) as work:
            await bulk_create(work, HealthNoteRow, given)

    assert await rows_of(store, team.workspace, NOTES) == []
    assert len(await history_of(store, team)) == before
    await lea.notes(account, "The store goes on.")


async def test_a_write_that_is_given_up_halfway_leaves_nothing(store: Store, team: Team, lea: Desk) -> None:
    account = await lea.opens("Acme")
    given = notes(store, account, 3 * A_PART)

    begun: list[UnitOfWork] = []

    async def write() -> None:
        async with unit(store, lea.principal) as work:
            begun.append(work)
            await bulk_create(work, HealthNoteRow, given)
            pytest.fail("it was not given up")

    for captured in (0, 1, A_PART, 2 * A_PART):
        begun.clear()
        task = asyncio.create_task(write())
        while not task.done() and (not begun or len(begun[0].changes) < captured):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await rows_of(store, team.workspace, NOTES) == []
    await lea.notes(account, "The store goes on.")


async def test_an_accounts_arr_reads_its_own_movements_without_statistics(
    store: Store, lea: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL, as a new store is, once read the whole ledger for each account: an import took quadratic time."""
    asked: list[tuple[Statement, Any]] = []

    async def seen(_: Wire, statement: Statement, given: Any) -> None:
        asked.append((statement, given[0]))

    async with unit(store, lea.principal) as work:
        wire = await work.wire()
        monkeypatch.setattr(Wire, "many", seen)
        await rederive(wire, lea.principal.workspace, ["acc_1", "acc_2"], {"arr_movement"}, work.today)
        monkeypatch.undo()
        [(statement, given)] = asked
        prepared = statement.prepared(wire.dialect)
        driver: Any = (await (await work.session.connection()).get_raw_connection()).driver_connection
        arguments = prepared.arguments(given)
        if store.where.is_sqlite:
            found = await driver.execute_fetchall(f"explain query plan {prepared.sql}", arguments)
        else:
            await driver.execute("set local enable_seqscan = off")  # statistics of a few rows would choose it
            found = await driver.fetch(f"explain {prepared.sql}", *arguments)
    plan = "\n".join(str(row[-1]) for row in found)
    assert "ix_arr_movement_account" in plan
    assert "ix_arr_movement_on" not in plan
