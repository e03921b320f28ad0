"""A write is a change, kept for ever: what one entry says, how entries fold back in time, how the chain is made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from operator import itemgetter
from typing import Any

from pydantic import BaseModel, ConfigDict

Fields = dict[str, Any]
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class ChangeKind(StrEnum):
    created = "created"
    updated = "updated"
    removed = "removed"
    restored = "restored"


class Change(BaseModel):
    """One record's part of one write. Rows of one write share `change_id`; `seq` orders the workspace's history."""

    model_config = ConfigDict(frozen=True)

    seq: int
    change_id: str
    entity: str
    entity_id: str
    entity_version: int
    account_id: str | None
    kind: ChangeKind
    fields: list[str]
    before: Fields | None
    after: Fields | None
    at: datetime
    actor_id: str
    on_behalf_of: str | None
    client: str | None
    tool: str
    reason: str | None
    run_id: str | None
    plan_id: str | None
    undoes: str | None


def canonical(value: Any) -> str:
    """JSON text that is the same for equal values: sorted keys, no spaces."""
    return _ENCODER.encode(value)


def digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def payload_hash(salt: str, before: str, after: str) -> str:
    """Binds an entry to its values, given as canonical JSON.

    Without the salt an erased payload cannot be guessed back from its hash.
    """
    return digest(salt, before, after)


def chained(previous: str, entry: Mapping[str, Any]) -> str:
    """The hash of an entry, which holds the one before it: no entry can be changed, dropped or moved unseen."""
    at, fields, *others = _CHAINED(entry)
    return digest(previous, _instant(at), ",".join(fields), *map(str, others))


@lru_cache(maxsize=64)
def _instant(at: datetime) -> str:
    """Entries of one write share their instant, so it is written once."""
    return at.astimezone(UTC).isoformat()


# Every column of an entry but its own hash.
CHAINED_FIELDS = (
    "at",
    "fields",
    "workspace",
    "seq",
    "change_id",
    "entity",
    "entity_id",
    "entity_version",
    "account_id",
    "kind",
    "actor_id",
    "on_behalf_of",
    "client",
    "tool",
    "reason",
    "run_id",
    "plan_id",
    "undoes",
    "schema_revision",
    "payload_hash",
)


_CHAINED = itemgetter(*CHAINED_FIELDS)


def folded_back(current: Fields | None, later: Iterable[Change]) -> Fields | None:
    """A record as it was before `later` changes (newest first), or None where it did not exist yet."""
    state = dict(current) if current is not None else None
    for change in later:
        if change.kind is ChangeKind.created:
            state = None
        elif state is not None and change.before is not None:
            state |= change.before
    return state
