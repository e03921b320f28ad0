"""The bulk path on an empty store: how many records and rows a second, and what their history weighs.

Beside it, in the same run, what the driver alone does with rows as wide: texts into tables without any index.
"""

from __future__ import annotations

import importlib
import json
import sqlite3
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import anyio
from sqlalchemy import text

from benchmarks._book import Maker, an_act
from benchmarks._stores import Kind, Postgres
from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.base import REMEMBERED
from cs_mcp.db.bulk import RowUpdate, bulk_create, bulk_update
from cs_mcp.db.members import MemberRow
from cs_mcp.db.store import Store, open_store
from cs_mcp.domain.identity import Principal
from cs_mcp.services.identity import Identity


@dataclass(frozen=True)
class Bulk:
    kind: Kind
    records: int
    created_per_second: float
    updated_per_second: float
    sizes_after_creating: dict[str, float]
    sizes_of_updates: dict[str, float]
    rows: dict[str, int]  # what creating left in the tables: records, history, search, past values of slices
    rows_an_update: float
    bare_per_second: float

    @property
    def rows_a_record(self) -> float:
        """Counted in the tables. Rollups and derived columns, which creating writes too, are not counted."""
        return sum(self.rows.values()) / self.records


_BARE = ("health_note", "change", "change_payload")
_BARE_ROWS = 5_000  # of each


async def bulk(kind: Kind, url: str, *, accounts: int, postgres: Postgres | None) -> Bulk:
    """Batches of one transaction each; the median batch counts. Making the rows is not measured."""
    store = await open_store(url)
    try:
        identity = Identity(store, b"")
        workspace = await identity.found_workspace(name="Benchmark")
        principal = await identity.operator(workspace)
        made = Maker(store, accounts)
        created: list[float] = []
        records = await _create(store, principal, {MemberRow: made.members()}, [])
        held: list[dict[str, Any]] = []
        for rows in made.batches(min(2_000, accounts // 4)):
            records += await _create(store, principal, rows, created)
            held += rows[AccountRow]
        rows = await _rows(store, workspace)
        before = await _sizes(store)
        updated: list[float] = []
        for start in range(0, len(held), 2_500):
            await _update(store, principal, held[start : start + 2_500], updated)
        after, beside = await _sizes(store), await _rows(store, workspace)
        return Bulk(
            kind,
            records,
            median(created),
            median(updated),
            {name: size / records * 1e5 for name, size in before.items()},
            {name: (after[name] - size) / len(held) * 1e5 for name, size in before.items()},
            rows,
            1 + (sum(beside.values()) - sum(rows.values())) / len(held),  # its own row stays one
            _bare_sqlite(store.where.path) if postgres is None else await _bare_postgres(postgres, url),
        )
    finally:
        await store.close()


async def _create(store: Store, principal: Principal, rows: dict[Any, list[dict[str, Any]]], rates: list[float]) -> int:
    count = sum(len(given) for given in rows.values())
    started = time.perf_counter()
    async with store.unit_of_work(principal, an_act(store)) as work:
        for table, given in rows.items():
            await bulk_create(work, table, given)
    rates.append(count / (time.perf_counter() - started))
    return count


async def _update(store: Store, principal: Principal, held: list[dict[str, Any]], rates: list[float]) -> None:
    rows = [
        RowUpdate(
            id=row["id"],
            version=1,
            account_id=row["id"],
            before={"employees": row["employees"], "tier": row["tier"]},
            fields={"employees": row["employees"] + 1, "tier": "gold"},
        )
        for row in held
    ]
    started = time.perf_counter()
    async with store.unit_of_work(principal, an_act(store)) as work:
        await bulk_update(work, AccountRow, rows)
    rates.append(len(rows) / (time.perf_counter() - started))


# In a process of its own, with Python's SQLite: that of the extra does not tell sizes.
_SIZES: Final = """
import json, sqlite3, sys
found = sqlite3.connect(sys.argv[1]).execute(
    "select m.tbl_name, sum(s.pgsize) from dbstat s join sqlite_master m on m.name = s.name "
    "where m.tbl_name in ('change', 'change_payload') group by m.tbl_name"
)
print(json.dumps(dict(found.fetchall())))
"""


async def _sizes(store: Store) -> dict[str, float]:
    """Bytes of the history's tables, their indexes included."""
    if store.where.is_sqlite:
        asked = [sys.executable, "-c", _SIZES, str(store.where.path)]
        told = await anyio.run_process(asked)
        return json.loads(told.stdout)
    async with store.writer.connect() as connection:
        found = await connection.execute(
            text(
                "select relname, pg_total_relation_size(oid) from pg_class "
                "where relname in ('change', 'change_payload') and relkind = 'r'"
            )
        )
        sizes = {name: float(size) for name, size in found}
        await connection.rollback()
    return sizes


async def _rows(store: Store, workspace: str) -> dict[str, int]:
    tables = {"records": list(REMEMBERED), "changes": ["change"], "payloads": ["change_payload"]}
    tables["search"] = ["search_name", "search_text"]
    tables["past values"] = ["past_attribute"]
    async with store.writer.connect() as connection:
        if store.dialect == "postgresql":
            await connection.execute(
                text("select set_config('app.workspace', :workspace, true)"), {"workspace": workspace}
            )
        counts = {
            of: sum([(await connection.execute(text(f'select count(*) from "{name}"'))).scalar_one() for name in names])
            for of, names in tables.items()
        }
        await connection.rollback()
    return counts


def _bare_sqlite(path: Path) -> float:
    """Rows a second."""
    with sqlite3.connect(path) as source:
        told = {name: source.execute(f"select * from {name} limit {_BARE_ROWS}").fetchall() for name in _BARE}
    bare = sqlite3.connect(path.with_suffix(".bare"), isolation_level=None)
    bare.execute("pragma synchronous = full")
    bare.execute("pragma journal_mode = truncate")
    for name, rows in told.items():
        bare.execute(f"create table {name} ({', '.join(f'c{n}' for n in range(len(rows[0])))})")
    started = time.perf_counter()
    bare.execute("begin immediate")
    for name, rows in told.items():
        bare.executemany(f"insert into {name} values ({', '.join('?' * len(rows[0]))})", rows)
    bare.execute("commit")
    spent = time.perf_counter() - started
    bare.close()
    return sum(len(rows) for rows in told.values()) / spent


async def _bare_postgres(postgres: Postgres, url: str) -> float:
    """Rows a second, as the owner, whom no wall stops."""
    driver: Any = importlib.import_module("asyncpg")
    owner = await driver.connect(postgres.owner(url.partition("?")[0].rpartition("/")[2]))
    try:
        await owner.execute("create schema bare")
        told: dict[str, list[list[str | None]]] = {}
        for name in _BARE:
            rows = await owner.fetch(f"select * from {name} limit {_BARE_ROWS}")
            told[name] = [[None if v is None else str(v) for v in column] for column in zip(*rows, strict=True)]
            columns = ", ".join(f"c{n} text" for n in range(len(told[name])))
            await owner.execute(f"create table bare.{name} ({columns})")
        started = time.perf_counter()
        async with owner.transaction():
            for name, columns in told.items():
                arrays = ", ".join(f"${n}::text[]" for n in range(1, len(columns) + 1))
                await owner.execute(f"insert into bare.{name} select * from unnest({arrays})", *columns)
        return sum(len(columns[0]) for columns in told.values()) / (time.perf_counter() - started)
    finally:
        await owner.close()
