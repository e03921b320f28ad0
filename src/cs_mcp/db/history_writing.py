"""Gives captured changes their place in the workspace's history: number, chain, insert."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import bindparam, select, update

from cs_mcp.db.changes import CHANGES, PAYLOADS, Act, Captured
from cs_mcp.db.many_rows import Insertion
from cs_mcp.db.migrations import HEAD
from cs_mcp.db.read_path import Statement
from cs_mcp.db.wire import Wire
from cs_mcp.db.workspaces import HEADS
from cs_mcp.domain.changes import Chain, canonical, payload_hash

_A_PART: Final = 5_000  # entries; bounds the memory of a long unit


async def write_history(wire: Wire, workspace: str, act: Act, at: datetime, salt: str, entries: list[Captured]) -> None:
    """Insert entries behind the head. The head row is held from here to the commit."""
    [head] = await wire.rows(_HEAD, {"workspace": workspace})
    shared: dict[str, Any] = {
        "workspace": workspace,
        "change_id": act.change_id,
        "at": at,
        "actor_id": act.actor_id,
        "on_behalf_of": act.on_behalf_of,
        "client": act.client,
        "tool": act.tool,
        "reason": act.reason,
        "run_id": act.run_id,
        "plan_id": act.plan_id,
        "undoes": act.undoes,
        "schema_revision": HEAD,
    }
    chain = Chain(head["hash"], shared)
    seq: int = head["seq"]
    last = seq + len(entries)
    for start in range(0, len(entries), _A_PART):
        part = entries[start : start + _A_PART]
        numbers = range(seq + 1, seq + len(part) + 1)
        salts = [f"{salt}{number:x}" for number in numbers]
        befores = [None if entry.before is None else canonical(entry.before) for entry in part]
        afters = [None if entry.after is None else canonical(entry.after) for entry in part]
        payload_hashes = [
            payload_hash(salt, _ABSENT if before is None else before, _ABSENT if after is None else after)
            for salt, before, after in zip(salts, befores, afters, strict=True)
        ]
        names = [_field_names(tuple(entry.after or ())) for entry in part]
        own: dict[str, list[Any]] = {
            "seq": list(numbers),
            "entity": [entry.entity for entry in part],
            "entity_id": [entry.entity_id for entry in part],
            "entity_version": [entry.entity_version for entry in part],
            "account_id": [entry.account_id for entry in part],
            "kind": [entry.kind.value for entry in part],
        }
        hashes = list(map(chain.take, (joined for _, joined in names), *own.values(), payload_hashes))
        columns = own | {"fields": [fields for fields, _ in names], "payload_hash": payload_hashes, "hash": hashes}
        constants = {name: [value] * len(part) for name, value in shared.items()}
        payload = {"before": befores, "after": afters, "salt": salts}
        place = {"workspace": constants["workspace"], "seq": own["seq"]}
        await wire.insert(_CHANGE, constants | columns)
        await wire.insert(_PAYLOAD, place | payload)
        seq = numbers[-1]
    await wire.many(_TAKE_HEAD, [{"in_workspace": workspace, "new_seq": last, "new_hash": chain.hash}])


@lru_cache(maxsize=4096)
def _field_names(names: tuple[str, ...]) -> tuple[list[str], str]:
    """The names in order, and joined as the chain has them; entries of one shape share them."""
    ordered = sorted(names)
    return ordered, ",".join(ordered)


_ABSENT: Final = canonical(None)
_CHANGE: Final = Insertion(CHANGES)
# The JSON text was made for the hash already; writing it as text saves making it again.
_PAYLOAD: Final = Insertion(PAYLOADS, as_text=frozenset({"before", "after"}))
# FOR UPDATE holds the head until the commit on PostgreSQL; SQLite has one writer at a time anyway.
_HEAD: Final = Statement(
    lambda: select(HEADS.c.seq, HEADS.c.hash).where(HEADS.c.workspace == bindparam("workspace")).with_for_update()
)
_TAKE_HEAD: Final = Statement(
    lambda: (
        update(HEADS)
        .where(HEADS.c.workspace == bindparam("in_workspace"))
        .values(seq=bindparam("new_seq"), hash=bindparam("new_hash"))
    )
)
