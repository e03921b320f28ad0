"""How the statements of a night find their rows: nothing in them may grow with the book, or with the nights before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import aiosqlite.core
import pytest
from book import unit
from test_nights import DEFAULT, TODAY, a_book, operator_of

from conftest import SECRET, Team, new_team
from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.facts.terms import moment
from cs_mcp.db.health.scoring_drafts import judge
from cs_mcp.db.health.scoring_writes import scoring_writes
from cs_mcp.db.store import Store, open_store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.services.health.rubric_files import read_rubric
from cs_mcp.services.health.scoring import Scoring
from cs_mcp.services.wiring import Services


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """How SQLite goes about each statement that goes to a driver's thread, as that connection sees its schemas."""
    found: dict[str, list[str]] = {}
    ordinary = aiosqlite.core.Connection._execute

    async def explained(self: Any, do: Any, *given: Any, **more: Any) -> Any:
        match given:
            case [str(sql), arguments, *_] if sql.startswith(("INSERT", "UPDATE", "DELETE", "SELECT", "WITH")):
                one = arguments[0] if do.__name__ == "executemany" else arguments
                if sql not in found:
                    rows = await ordinary(self, self._conn.execute, f"explain query plan {sql}", one)
                    found[sql] = [row[-1] for row in await ordinary(self, rows.fetchall)]
            case _:
                pass
        return await ordinary(self, do, *given, **more)

    monkeypatch.setattr(aiosqlite.core.Connection, "_execute", explained)
    return found


@pytest.mark.parametrize(
    ("size", "judged"),
    [(10, "INSERT INTO judged "), (10, 'INSERT INTO "temp".judged '), (None, None)],
    ids=["judged in drafts", "judged by the writer", "in one batch"],
)
async def test_no_batch_reads_through_the_accounts_of_others(
    sqlite_url: str,
    clock: FixedClock,
    plans: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    size: int | None,
    judged: str | None,
) -> None:
    """SQLite reads all rows of a table for a filter to try them by, where a join has a condition on it alone."""
    in_draft = judged == "INSERT INTO judged "
    monkeypatch.setattr(
        "cs_mcp.services.health.scoring_run.judge",
        lambda draft, rubric, given, _wanted: judge(draft, rubric, given, lambda: in_draft),
    )
    store = await open_store(sqlite_url, clock=clock)
    team = await new_team(Services(store, SECRET))
    book = await a_book(store, team, 40)
    operator = await operator_of(team)
    old, new = [account["id"] for account in book.rows["account"][:2]]
    scoring = Scoring(store)
    plans.clear()
    for day in (TODAY - timedelta(days=9), TODAY):
        await scoring.score_all(operator, day, size=size)
    nights = dict(plans)
    async with unit(store, operator) as work:
        row = await work.session.get_one(AccountRow, (operator.workspace, old))
        row.removed_at, row.merged_into_id = work.now, new
    plans.clear()
    clock.advance(timedelta(days=1))
    await scoring.score_all(operator, size=size)
    await scoring.score_all(operator, TODAY, size=size)

    nights |= plans
    assert {sql.split("(")[0] for sql in nights if "judged (" in sql} == ({judged} if judged else set())
    for sql, plan in nights.items():
        filters = [line for line in plan if line.startswith("BLOOM FILTER ON") and " anon_" not in line]
        assert not filters, (sql, filters)
        assert not {"SCAN account", "SCAN account_facts", "SCAN account_score"}.intersection(plan), (sql, plan)
    await store.close()


async def test_what_a_night_writes_to_accounts_looks_each_snapshot_up_by_its_key(store: Store, team: Team) -> None:
    """A range of accounts holds a snapshot for each night there was, so reading through it grows night by night."""
    await a_book(store, team, 3)
    operator = await operator_of(team)
    given = {"workspace": operator.workspace, "after": "", "upto": "z", "run": "run_1"}
    async with unit(store, operator) as work:
        wire = await work.wire()
        given |= moment(TODAY, work.calendar)
        driver: Any = (await (await work.session.connection()).get_raw_connection()).driver_connection
        if not store.where.is_sqlite:
            await driver.execute("set local enable_seqscan = off; set local enable_nestloop = off")
        written = scoring_writes(read_rubric(DEFAULT), wire.dialect.name, rollup=True).columns
        reading = [one for one in (each.prepared(wire.dialect) for each in written) if "health_snapshot" in one.sql]
        assert len(reading) == (3 if store.where.is_sqlite else 1)
        for prepared in reading:
            arguments = prepared.arguments(given)
            if store.where.is_sqlite:
                found = await driver.execute_fetchall(f"explain query plan {prepared.sql}", arguments)
                looked_up = "PRIMARY KEY (workspace=? AND account_id=? AND on=?)"
            else:
                found = await driver.fetch(f"explain {prepared.sql}", *arguments)
                looked_up = '((account_id)::text = (holder.id)::text) AND ("on" = '
            plan = "\n".join(str(row[-1]) for row in found)
            assert looked_up in plan, plan
