"""A year of snapshots of a whole book, and what one account's trend costs in it beside `get_account`."""

from __future__ import annotations

import random
import sqlite3
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from benchmarks._stores import Postgres
from cs_mcp.db.health.scoring_tables import SNAPSHOTS
from cs_mcp.db.store import Store
from cs_mcp.domain.identity import Principal
from cs_mcp.services.accounts.accounts import GetAccount
from cs_mcp.services.health.scored_days import ScoredDays
from cs_mcp.services.naming import Match
from cs_mcp.services.wiring import Services

NIGHTS: Final = 365
CALLS: Final = 200


@dataclass(frozen=True)
class Year:
    """Middle times in milliseconds, of calls taken in turns."""

    snapshots: int
    trend: float
    get_account: float


async def year(store: Store, postgres: Postgres | None, operator: Principal, accounts: int, last: date) -> Year:
    """Repeat the snapshots of the last night for the year before it, and read accounts at random."""
    await _repeat(store, postgres, last)
    services, days, pick = Services(store, b"benchmark"), ScoredDays(store), random.Random(7)
    trends: list[float] = []
    gets: list[float] = []
    for _ in range(CALLS):
        account = f"acc_{pick.randrange(accounts):018d}"
        match = Match(account, account, "id", {})
        trends.append(await _timed(lambda: days.course(operator, match, today=last, as_of=None, since=None)))  # noqa: B023
        gets.append(await _timed(lambda: services.accounts.get(operator, GetAccount(account=account))))  # noqa: B023
    return Year(accounts * NIGHTS, statistics.median(trends) * 1000, statistics.median(gets) * 1000)


async def _timed(call: Callable[[], Awaitable[Any]]) -> float:
    started = time.perf_counter()
    await call()
    return time.perf_counter() - started


async def _repeat(store: Store, postgres: Postgres | None, last: date) -> None:
    rest = ", ".join(f'"{column.key}"' for column in SNAPSHOTS.c if column.key not in ("workspace", "account_id", "on"))
    if store.where.is_sqlite:
        days = f"with recursive back(n) as (select 1 union all select n + 1 from back where n < {NIGHTS - 1}) "
        on = "date(now.\"on\", '-' || back.n || ' days')"
    else:
        days = f"with back(n) as (select generate_series(1, {NIGHTS - 1})) "
        on = 'now."on" - back.n'
    statement = (
        f'insert into health_snapshot (workspace, account_id, "on", {rest}) {days}'
        f"select workspace, account_id, {on}, {rest} from health_snapshot as now cross join back "
        f"where now.\"on\" = '{last}' order by account_id, n desc on conflict do nothing"
    )
    if store.where.is_sqlite:
        connection = sqlite3.connect(store.where.path, timeout=60)
        with connection:
            connection.execute("pragma synchronous = off")
            connection.execute(statement)
        connection.close()
    else:
        assert postgres is not None
        database = str(store.where.url.database)
        await postgres.execute("set session_replication_role = replica", database=database)
        await postgres.execute(statement, database=database)
        await postgres.execute("vacuum analyze health_snapshot", database=database)
