"""The bulk path on an empty store: how many records a second, and what their history weighs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks._book import Maker, an_act
from benchmarks._stores import Kind
from cs_mcp.db.accounts import AccountRow
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

    @property
    def rows_a_record(self) -> int:
        """A record is its row, its change entry and the entry's payload."""
        return 3


async def bulk(kind: Kind, url: str, *, accounts: int) -> Bulk:
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
        before = await _sizes(store)
        updated: list[float] = []
        for start in range(0, len(held), 2_500):
            await _update(store, principal, held[start : start + 2_500], updated)
        after = await _sizes(store)
        return Bulk(
            kind,
            records,
            median(created),
            median(updated),
            {name: size / records * 1e5 for name, size in before.items()},
            {name: (after[name] - size) / len(held) * 1e5 for name, size in before.items()},
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


async def _sizes(store: Store) -> dict[str, float]:
    """Bytes of the history's tables, their indexes included."""
    from sqlalchemy import text

    async with store.writer.connect() as connection:
        if store.dialect == "postgresql":
            found = await connection.execute(
                text(
                    "select relname, pg_total_relation_size(oid) from pg_class "
                    "where relname in ('change', 'change_payload') and relkind = 'r'"
                )
            )
        else:
            found = await connection.execute(
                text(
                    "select m.tbl_name, sum(s.pgsize) from dbstat s join sqlite_master m on m.name = s.name "
                    "where m.tbl_name in ('change', 'change_payload') group by m.tbl_name"
                )
            )
        sizes = {name: float(size) for name, size in found}
        await connection.rollback()
    return sizes
