"""What must hold of a store whatever happened to the processes that wrote to it.

Reads every table with the columns' own types, and recomputes what the store claims: the order of the history, its
chain of hashes, the values of every entry, the rows that the entries add up to, and the figures derived from them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import create_engine, select
from sqlalchemy.ext.asyncio import create_async_engine

from cs_mcp.db.base import REMEMBERED, Base
from cs_mcp.db.history.changes import plain, recorded_columns
from cs_mcp.db.store import StoreUrl
from cs_mcp.domain.changes import canonical, chained, payload_hash

Row = dict[str, Any]
Tables = dict[str, list[Row]]
Effect = Counter[tuple[str, str]]


async def every_row(url: str, workspace: str) -> Tables:
    """All rows of a workspace, read past the wall: `url` is a SQLite file, or PostgreSQL as the owner."""
    where = StoreUrl.parse(url)
    plan = {
        name: select(table).where(table.c.workspace == workspace).order_by(*table.primary_key)
        for name, table in Base.metadata.tables.items()
        if "workspace" in table.c
    }
    if where.is_sqlite:
        engine = create_engine(where.url)
        with engine.connect() as connection:
            found = {name: [dict(row) for row in connection.execute(s).mappings()] for name, s in plan.items()}
        engine.dispose()
        return found
    owner = create_async_engine(where.url.set(drivername="postgresql+asyncpg"))
    try:
        async with owner.connect() as connection:
            return {name: [dict(row) for row in (await connection.execute(s)).mappings()] for name, s in plan.items()}
    finally:
        await owner.dispose()


@dataclass
class Verdict:
    """What is wrong with a store, by kind; empty where all is well."""

    lost: list[str] = field(default_factory=list[str])
    half: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])

    @property
    def clean(self) -> bool:
        return not (self.lost or self.half or self.doubled)

    def __str__(self) -> str:
        return "\n".join(
            f"{kind}: {len(found)}, such as {found[:4]}" for kind, found in vars(self).items() if found
        )  # fmt: skip


@dataclass(frozen=True)
class Ack:
    """One answer that a caller got: for this key, this change, of these records."""

    key: str
    tool: str
    change_id: str
    records: tuple[tuple[str, str, str], ...]


def judged(tables: Tables, acks: Iterable[Ack], whole: Mapping[str, Effect]) -> Verdict:
    """Hold the store against itself and against every answer that was given.

    `whole` is what one call of each tool writes. The key of a write stands in its `reason` too, so that a doubled
    write shows even where the store's own note of the key is gone.
    """
    verdict = Verdict()
    verdict.half += history_faults(tables)
    entries: dict[str, list[Row]] = defaultdict(list)
    for row in tables["change"]:
        entries[row["change_id"]].append(row)
    by_key: dict[str, set[str]] = defaultdict(set)
    for change, rows in entries.items():
        by_key[rows[0]["reason"] or change].add(change)
    verdict.doubled += [f"{key} as {sorted(found)}" for key, found in by_key.items() if len(found) > 1]
    for ack in acks:
        rows = entries.get(ack.change_id, [])
        wrote = {(row["entity"], row["entity_id"], row["kind"]) for row in rows}
        if not rows:
            verdict.lost.append(f"{ack.key} ({ack.tool}) was answered with {ack.change_id}, which is nowhere")
        elif wrote != set(ack.records):
            verdict.half.append(f"{ack.key} ({ack.tool}) was answered with other records than it wrote: {wrote}")
        if rows and rows[0]["reason"] not in (None, ack.key):
            verdict.doubled.append(f"{ack.key} was answered with the write of {rows[0]['reason']}")
    for rows in entries.values():
        tool, key = rows[0]["tool"], rows[0]["reason"]
        did = Counter((row["entity"], row["kind"]) for row in rows)
        if key is not None and did != whole[tool]:
            verdict.half.append(f"{key} ({tool}) wrote {dict(did)}, whole is {dict(whole[tool])}")
    changes = set(entries)
    for row in tables["idempotency"]:
        if row["answer"] is None:
            verdict.half.append(f"the key {row['key']} is taken and has no answer")
        elif row["answer"].get("change_id") not in changes:
            verdict.half.append(f"the key {row['key']} answers with {row['answer'].get('change_id')}, which is nowhere")
    return verdict


def history_faults(tables: Tables) -> list[str]:
    """Everything the store says of itself that does not add up."""
    faults: list[str] = []
    changes, payloads = tables["change"], {row["seq"]: row for row in tables["change_payload"]}
    [head] = tables["workspace_head"]
    if [row["seq"] for row in changes] != list(range(1, len(changes) + 1)):
        faults.append("the seq has gaps")
    if set(payloads) != {row["seq"] for row in changes}:
        faults.append("entries without payloads, or payloads without entries")
        return faults
    previous = ""
    for row in changes:
        payload = payloads[row["seq"]]
        if row["payload_hash"] != payload_hash(
            payload["salt"], canonical(payload["before"]), canonical(payload["after"])
        ):
            faults.append(f"the payload of #{row['seq']} does not fit its hash")
        if row["hash"] != chained(previous, row):
            faults.append(f"the chain breaks at #{row['seq']}")
        previous = row["hash"]
    if (head["seq"], head["hash"]) != (len(changes), previous):
        faults.append(f"the head says #{head['seq']}, the history ends at #{len(changes)}")
    faults += _row_faults(tables, payloads)
    faults += _derived_faults(tables)
    return faults


def _row_faults(tables: Tables, payloads: dict[int, Row]) -> list[str]:
    """Each record is what its entries add up to, version by version; no record is without entries."""
    faults: list[str] = []
    folded: dict[tuple[str, str], Row] = {}
    versions: dict[tuple[str, str], int] = defaultdict(int)
    for change in tables["change"]:
        record = (change["entity"], change["entity_id"])
        payload: dict[str, Any] = payloads[change["seq"]]
        before: Row = payload["before"] or {}
        versions[record] += 1
        if change["entity_version"] != versions[record]:
            faults.append(f"{record}: #{change['seq']} is version {change['entity_version']}, not {versions[record]}")
        if (change["kind"] == "created") != (payload["before"] is None) or sorted(payload["after"]) != change["fields"]:
            faults.append(f"{record}: #{change['seq']} says {change['kind']} of other fields than it keeps")
        state = folded.setdefault(record, {})
        for name, value in before.items():
            if state.get(name) != value:
                faults.append(f"{record}: #{change['seq']} found {name} as {value!r}, it was {state.get(name)!r}")
        state |= payload["after"]
    for entity, row_class in REMEMBERED.items():
        for row in tables[entity]:
            record = (entity, row["id"])
            state = folded.pop(record, None)
            if state is None:
                faults.append(f"{record} has a row and no history")
                continue
            if row["version"] != versions[record]:
                faults.append(f"{record} is at version {row['version']} with {versions[record]} entries")
            now = {name: plain(row[name]) for name in recorded_columns(row_class)}
            if now != state:
                differ = [name for name in now if now[name] != state.get(name)]
                faults.append(f"{record}: {differ} are not what the history says")
    faults += [f"{record} has a history and no row" for record in folded]
    return faults


def _derived_faults(tables: Tables) -> list[str]:
    """Figures of an account that follow from its other records, and of a renewal that follow from its account."""
    faults: list[str] = []
    for account in tables["account"]:
        meetings = [m for m in tables["meeting"] if m["account_id"] == account["id"] and m["removed_at"] is None]
        held = [m["held_on"] for m in meetings if m["status"] == "held"]
        planned = [m["held_on"] for m in meetings if m["status"] == "planned"]
        if account["last_touch_on"] != max(held, default=None):
            faults.append(f"{account['id']}: last touch {account['last_touch_on']}, held {max(held, default=None)}")
        if account["next_meeting_on"] != min(planned, default=None):
            faults.append(f"{account['id']}: next meeting {account['next_meeting_on']}, planned {sorted(planned)[:1]}")
        for role in ("champion", "executive_sponsor"):
            seated = {
                seat["contact_id"]
                for seat in tables["sponsorship"]
                if (seat["account_id"], seat["role"]) == (account["id"], role)
                and seat["removed_at"] is None
                and seat["to_on"] is None
            }
            if account[f"{role}_id"] not in (seated or {None}):
                faults.append(f"{account['id']}: {role} {account[f'{role}_id']}, seated {sorted(seated)[:2]}")
    accounts = {account["id"]: account for account in tables["account"]}
    for renewal in tables["renewal"]:
        account = accounts[renewal["account_id"]]
        said = (renewal["account_band"], renewal["account_segment"], renewal["responsible_id"])
        follows = (account["health_band"], account["segment"], renewal["owner_id"] or account["owner_id"])
        if renewal["removed_at"] is None and said != follows:
            faults.append(f"{renewal['id']} says {said} of its account, which says {follows}")
    return faults
