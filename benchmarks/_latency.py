"""How long a call takes beside a no-op of the same server; all stores, sizes and kinds take turns call by call."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles
from typing import Any

from benchmarks._http import Caller, Protocol
from benchmarks._serving import Served

NOOP = "no-op"
_keys = itertools.count()


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one kind of call on one server."""

    server: str
    kind: str
    times: list[float]

    @property
    def p50(self) -> float:
        return median(self.times)

    @property
    def p95(self) -> float:
        return quantiles(self.times, n=20)[-1]


Arguments = Callable[[], dict[str, Any]]


@dataclass
class Kind:
    """One kind of call on one server, with a source of fresh arguments."""

    server: str
    name: str
    tool: str
    caller: Caller
    arguments: Arguments
    times: list[float]

    async def once(self) -> None:
        request = self.caller.request(self.tool, self.arguments())
        self.times.append((await self.caller.send(request))[0])


async def measure(servers: list[Served], *, protocol: Protocol, rounds: int, calls: int) -> list[Timing]:
    """Every kind once, in a fresh order, and again: so that what else the machine does meets all kinds alike."""
    kinds = [kind for server in servers for kind in _kinds(server, protocol)]
    for turn in range(-max(5, calls // 3), rounds * calls):
        random.shuffle(kinds)
        for kind in kinds:
            await kind.once()
            if turn < 0:
                kind.times.clear()
    for kind in kinds:
        await kind.caller.close()
    return [Timing(kind.server, kind.name, kind.times) for kind in kinds]


def _kinds(server: Served, protocol: Protocol) -> list[Kind]:
    chance = random.Random(7)
    leader = server.caller(server.leader, protocol)
    csm = server.caller(server.csm, protocol)
    fresh = _each_once(server.accounts, chance)

    def one(accounts: list[str]) -> Arguments:
        return lambda: {"account": chance.choice(accounts)}

    def kind(name: str, tool: str, caller: Caller, arguments: Arguments) -> Kind:
        return Kind(server.name, name, tool, caller, arguments, [])

    return [
        kind(NOOP, "noop", leader, one(server.accounts)),
        kind("get_account", "get_account", leader, one(server.accounts)),
        kind("find_accounts", "find_accounts", leader, _questions(chance)),
        kind(f"{NOOP}, own book", "noop", csm, one(server.of_csm)),
        kind("get_account, own book", "get_account", csm, one(server.of_csm)),
        kind("explain_health, scored", "explain_health", csm, one(server.prepared.book.scored)),
        kind("get_account, scored", "get_account", csm, one(server.prepared.book.scored)),
        kind("find_accounts, own book", "find_accounts", csm, _questions(chance)),
        kind("search", "search", leader, _words(chance, server.prepared.accounts)),
        kind("search, own book", "search", csm, _words(chance, server.prepared.accounts)),
        kind("list_renewals", "list_renewals", leader, _pipeline(chance)),
        kind("update_account", "update_account", leader, lambda: an_update(next(fresh), 1)),
        kind("add_health_note", "add_health_note", leader, lambda: a_note(chance.choice(server.accounts))),
    ]


def _each_once(accounts: list[str], chance: random.Random) -> Iterator[str]:
    """An update names the version it read; an account that is updated once is at its first."""
    return iter(chance.sample(accounts, len(accounts)))


def _questions(chance: random.Random) -> Arguments:
    """Twenty-five rows, two filters and a sort, as people narrow a book."""
    today = datetime.now(UTC).date()

    def ask() -> dict[str, Any]:
        shape = chance.randrange(4)
        if shape == 0:
            return {"segment": [chance.choice(["smb", "enterprise"])], "band": ["red"], "sort": "-arr"}
        if shape == 1:
            return {"tier": ["gold", "platinum"], "band": ["red", "yellow"], "sort": "renewal_on"}
        if shape == 2:
            start = today + timedelta(days=chance.randrange(5, 100))
            window = {"renews_from": start.isoformat(), "renews_to": (start + timedelta(days=90)).isoformat()}
            return {"segment": ["enterprise"], **window, "sort": "renewal_on"}
        return {"stage": ["adoption", "expansion"], "segment": ["smb", "mid_market"], "sort": "name"}

    return ask


def _words(chance: random.Random, accounts: int) -> Arguments:
    """What people look for: one note of half a million, a word that every other note has, two words, part of a name."""

    def ask() -> dict[str, Any]:
        number = chance.randrange(accounts)
        asked = [f"case {number}", "renewal", "champion export", f"Customer {number:06d}"[:-2], "single sign-on"]
        return {"query": chance.choice(asked)}

    return ask


def _pipeline(chance: random.Random) -> Arguments:
    """A page of what is up for renewal."""
    today = datetime.now(UTC).date()

    def ask() -> dict[str, Any]:
        start = today + timedelta(days=chance.randrange(5, 100))
        window = {"period_start": start.isoformat(), "period_end": (start + timedelta(days=90)).isoformat()}
        return {**window, "band": ["red", "yellow"]} if chance.randrange(2) else window

    return ask


def an_update(account: str, version: int) -> dict[str, Any]:
    return {
        "account": account,
        "expected_version": version,
        "industry": f"industry {next(_keys)}",
        "risk_reason": "The sponsor left and nobody has taken over.",
        "idempotency_key": f"update-{next(_keys)}",
    }


def a_note(account: str) -> dict[str, Any]:
    return {
        "account": account,
        "text": "They asked for single sign-on again and will decide after the pilot.",
        "sentiment": "neutral",
        "risk": "product",
        "idempotency_key": f"note-{next(_keys)}",
    }
