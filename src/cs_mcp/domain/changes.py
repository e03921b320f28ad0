"""A write is a change, kept for ever: what one entry says, how entries fold back in time, how the chain is made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from operator import itemgetter
from typing import Any, cast

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

Fields = dict[str, Any]
_SEPARATOR = "\x1f"


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
    return to_json(in_order(value), inf_nan_mode="constants").decode()


def in_order(value: Any) -> Any:
    """Keys in order all the way down; what is in order already is given back as it is."""
    kind = cast("type[Any]", type(value))
    if kind is dict:
        fields = cast("dict[str, Any]", value)
        names = sorted(fields)
        if not _HOLDERS.isdisjoint(map(type, fields.values())):
            return {name: in_order(fields[name]) for name in names}
        return fields if names == list(fields) else {name: fields[name] for name in names}
    if kind is list or kind is tuple:
        return [in_order(held) for held in value]
    return value


_HOLDERS = frozenset({dict, list, tuple})


def digest(*parts: str) -> str:
    return hashlib.sha256(_SEPARATOR.join(parts).encode()).hexdigest()


def payload_hash(salt: str, before: str, after: str) -> str:
    """Binds an entry to its values, given as canonical JSON.

    Without the salt an erased payload cannot be guessed back from its hash.
    """
    return digest(salt, before, after)


def chained(previous: str, entry: Mapping[str, Any]) -> str:
    """The hash of an entry, which holds the one before it: no entry can be changed, dropped or moved unseen."""
    at, fields, *others = _CHAINED(entry)
    return digest(previous, _instant(at), ",".join(fields), *map(str, others))


class Chain:
    """`chained` for the entries of one write, which share most of what is hashed."""

    def __init__(self, previous: str, shared: Mapping[str, Any]) -> None:
        self.hash = previous
        parts = {name: str(value) for name, value in shared.items()} | {"at": _instant(shared["at"])}
        template = ["%s" if name in OF_AN_ENTRY else parts[name].replace("%", "%%") for name in CHAINED_FIELDS]
        self._template = _SEPARATOR.join(["%s", *template])

    def take(self, *entry: object) -> str:
        """The hash of the next entry, told as the fields of OF_AN_ENTRY, in their order; `fields` joined by commas."""
        self.hash = hashlib.sha256((self._template % (self.hash, *entry)).encode()).hexdigest()
        return self.hash


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
# What entries of one write do not share, in the order of CHAINED_FIELDS.
OF_AN_ENTRY = ("fields", "seq", "entity", "entity_id", "entity_version", "account_id", "kind", "payload_hash")


def folded_back(current: Fields | None, later: Iterable[Change]) -> Fields | None:
    """A record as it was before `later` changes (newest first), or None where it did not exist yet."""
    state = dict(current) if current is not None else None
    for change in later:
        if change.kind is ChangeKind.created:
            state = None
        elif state is not None and change.before is not None:
            state |= change.before
    return state
