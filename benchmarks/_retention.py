"""Retention over five years of movements, beside get_account of the same server: ratios inside one run.

The ledger is written past the product and its rollups are made by `rebuild`: what is measured are the reads, and how
long it takes to make the rollups anew.
"""

from __future__ import annotations

import importlib
import random
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Any, Final

from sqlalchemy import make_url

from benchmarks._book import an_act
from benchmarks._http import Protocol
from benchmarks._scoring import Rows, write_rows
from benchmarks._serving import serving
from benchmarks._stores import Kind, Postgres, Prepared, open_prepared
from cs_mcp.db.revenue.rollup import rebuild
from cs_mcp.services.identity import Identity

TODAY: Final = datetime.now(UTC).date()
LAST_YEAR: Final = TODAY.year - 1
YEARS: Final = 5
CHUNK: Final = 20_000  # accounts written at a time
A_YEAR: Final = {"period_start": f"{LAST_YEAR}-01-01", "period_end": f"{LAST_YEAR}-12-31"}
# Who asks which tool what; get_retention of the whole workspace where nothing else is told.
CALLS: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "a year": ("leader", "get_retention", A_YEAR),
    "a year by month": ("leader", "get_retention", A_YEAR | {"interval": "month"}),
    "a year to today": ("leader", "get_retention", {}),
    "a year to a day within a month": ("leader", "get_retention", {"as_of": f"{LAST_YEAR}-10-14"}),
    "365 days to today": ("leader", "get_retention", {"period_start": str(TODAY - timedelta(days=364))}),
    "a year by segment": ("leader", "get_retention", A_YEAR | {"slice_by": "segment"}),
    "a year to today by segment": ("leader", "get_retention", {"slice_by": "segment"}),
    "a year by owner": ("leader", "get_retention", A_YEAR | {"slice_by": "owner"}),
    "a year by industry": ("leader", "get_retention", A_YEAR | {"slice_by": "industry"}),
    "a year by cohort": ("leader", "get_retention", A_YEAR | {"slice_by": "cohort"}),
    "a year by a custom field": ("leader", "get_retention", A_YEAR | {"slice_by": "custom:region"}),
    "a year, own book": ("csm", "get_retention", A_YEAR),
    "a year to today by segment, own book": ("csm", "get_retention", {"slice_by": "segment"}),
    "cohorts": ("leader", "get_cohorts", {}),
    "accounts of a cohort": ("leader", "get_cohorts", {"cohort": f"{LAST_YEAR}-03-01"}),
    "metric churn": ("leader", "get_metrics", {"metric": "churn"}),
    "metric churn by owner": ("leader", "get_metrics", {"metric": "churn", "slice_by": "owner"}),
    "metric clv": ("leader", "get_metrics", {"metric": "clv"}),
    "metric books": ("leader", "get_metrics", {"metric": "books"}),
    "metric concentration": ("leader", "get_metrics", {"metric": "concentration"}),
}
SLOW: Final = 200.0  # milliseconds past which a kind of call is made less often
FEWER: Final = 5


@dataclass(frozen=True)
class Retention:
    """Milliseconds, the middle of each kind of call; seconds of a rebuild."""

    kind: Kind
    accounts: int
    movements: int
    rebuilt: float
    get_account: float
    calls: dict[str, float]


async def retention(prepared: Prepared, postgres: Postgres | None, protocol: Protocol, calls: int) -> Retention:
    movements, rebuilt = await _prepare(prepared, postgres)
    async with serving(prepared, profile="all") as server:
        callers = {name: server.caller(getattr(server, name), protocol) for name in ("leader", "csm")}
        chance = random.Random(3)
        times: dict[str, list[float]] = {name: [] for name in ("get_account", *CALLS)}
        for turn in range(-2, calls):
            for name in random.sample(list(times), len(times)):
                who, tool, asked = CALLS.get(name, ("leader", name, {"account": chance.choice(server.accounts)}))
                if turn >= FEWER and median(times[name]) > SLOW:
                    continue
                took, _ = await callers[who].send(callers[who].request(tool, asked))
                if turn >= 0:
                    times[name].append(took)
        for caller in callers.values():
            await caller.close()
    middle = {name: median(found) for name, found in times.items()}
    return Retention(prepared.kind, prepared.accounts, movements, rebuilt, middle.pop("get_account"), middle)


async def _prepare(prepared: Prepared, postgres: Postgres | None) -> tuple[int, float]:
    async with open_prepared(prepared) as store:
        workspace = prepared.book.workspace
        operator = await Identity(store, b"").operator(workspace)
        accounts = await _accounts(prepared, postgres)
        written = 0
        for rows in _ledgers(workspace, accounts):
            written += len(rows["arr_movement"])
            await write_rows(store, postgres, rows)
        started = time.perf_counter()
        async with store.unit_of_work(operator, an_act(store)) as work:
            await rebuild(await work.wire(), workspace, now=work.now, calendar=work.calendar)
        took = time.perf_counter() - started
        if postgres is not None and prepared.kind == "postgresql":
            await postgres.execute("vacuum analyze", database=str(store.where.url.database))
    return written, took


async def _accounts(prepared: Prepared, postgres: Postgres | None) -> list[str]:
    """The ids of all accounts; the short ledgers they were made with are taken away."""
    drop, read = "delete from arr_movement", "select id from account order by id"
    if prepared.kind == "sqlite":
        with sqlite3.connect(prepared.url.removeprefix("sqlite:///")) as connection:
            connection.execute(drop)
            found = connection.execute(read).fetchall()
        connection.close()
        return [account for (account,) in found]
    driver: Any = importlib.import_module("asyncpg")
    assert postgres is not None
    connection = await driver.connect(postgres.owner(str(make_url(prepared.url).database)))
    try:
        await connection.execute(drop)
        return [row["id"] for row in await connection.fetch(read)]
    finally:
        await connection.close()


def _ledgers(workspace: str, accounts: list[str]) -> Iterator[dict[str, Rows]]:
    """Movements of five years, some six an account; one in twelve left, and one in four of those came back."""
    chance = random.Random(len(accounts))
    first = TODAY - timedelta(days=365 * YEARS)
    number = 0
    for start in range(0, len(accounts), CHUNK):
        rows: Rows = []
        for account in accounts[start : start + CHUNK]:
            for on, kind, amount in _ledger(chance, first):
                rows.append((workspace, f"mov_{number:018d}", 1, account, on, kind, amount, "USD"))
                number += 1
        yield {"arr_movement": rows}


def _ledger(chance: random.Random, first: date) -> Iterator[tuple[date, str, int]]:
    began = first + timedelta(days=chance.randrange(365 * (YEARS - 1)))
    balance = chance.randrange(2_000, 200_000) * 100
    yield began, "new", balance
    days = sorted(chance.randrange((TODAY - began).days) for _ in range(chance.randrange(2, 10)))
    for place, day in enumerate(days):
        on = began + timedelta(days=1 + day)
        if balance == 0:
            if chance.random() < 0.25:
                balance = chance.randrange(2_000, 100_000) * 100
                yield on, "reactivation", balance
            continue
        if place == len(days) - 2 and chance.random() < 1 / 12:
            yield on, "churn", -balance
            balance = 0
            continue
        kind = chance.choice(("expansion", "expansion", "price_change", "contraction"))
        change = max(balance // chance.randrange(5, 40), 1)
        change = -change if kind == "contraction" else change
        balance += change
        yield on, kind, change
