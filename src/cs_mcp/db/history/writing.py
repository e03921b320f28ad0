"""Gives captured changes their place in the workspace's history: number, chain, insert."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, select, update

from cs_mcp.db.history.changes import CHANGES, PAYLOADS, Act, Captured
from cs_mcp.db.many_rows import Insertion
from cs_mcp.db.migrations import HEAD
from cs_mcp.db.read_path import Statement
from cs_mcp.db.wire import A_PART, A_TURN, Wire
from cs_mcp.db.workspaces import HEADS
from cs_mcp.domain.changes import Chain, canonical, payload_hash


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
    hashed = Chain(head["hash"], shared)
    last = head["seq"] + len(entries)
    # The first part is a short one: until it is made, nothing is sent.
    following: list[_Part] = [_made(entries[:A_TURN], head["seq"], salt, hashed)]
    for start in range(A_TURN, len(entries), A_PART):
        part, following = following, list[_Part]()
        async with wire.beside(_insert(wire, shared, part)):
            for turn in range(start, min(start + A_PART, len(entries)), A_TURN):
                following.append(_made(entries[turn : turn + A_TURN], head["seq"] + turn, salt, hashed))
                await asyncio.sleep(0)
    await _insert(wire, shared, following)
    await wire.many(_TAKE_HEAD, [{"in_workspace": workspace, "new_seq": last, "new_hash": hashed.hash}])


class _Part(NamedTuple):
    columns: dict[str, list[Any]]
    payload: dict[str, list[Any]]


def _made(part: Sequence[Captured], seq: int, salt: str, hashed: Chain) -> _Part:
    """Columns of the entries that come after `seq`, but for what a write shares."""
    numbers = range(seq + 1, seq + len(part) + 1)
    salts = [f"{salt}{number:x}" for number in numbers]
    texts = [entry.texts() for entry in part]
    befores, afters = [before for before, _ in texts], [after for _, after in texts]
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
    hashes = list(map(hashed.take, (joined for _, joined in names), *own.values(), payload_hashes))
    columns = own | {"fields": [fields for fields, _ in names], "payload_hash": payload_hashes, "hash": hashes}
    return _Part(columns, {"seq": own["seq"], "before": befores, "after": afters, "salt": salts})


async def _insert(wire: Wire, shared: Mapping[str, Any], parts: Sequence[_Part]) -> None:
    columns, payload = (_joined(sides) for sides in zip(*parts, strict=True))
    constants = {name: [value] * len(columns["seq"]) for name, value in shared.items()}
    await wire.insert(_CHANGE, constants | columns)
    await wire.insert(_PAYLOAD, {"workspace": constants["workspace"]} | payload)


def _joined(parts: Sequence[dict[str, list[Any]]]) -> dict[str, list[Any]]:
    if len(parts) == 1:
        return parts[0]
    return {name: list(chain.from_iterable(part[name] for part in parts)) for name in parts[0]}


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
