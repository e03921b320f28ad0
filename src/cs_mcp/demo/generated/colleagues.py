"""Our own people: enough CSMs for the book, each with accounts of one segment, in teams under a leader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from cs_mcp.demo.generated.companies import person_of
from cs_mcp.demo.generated.randomness import stream
from cs_mcp.domain.accounts.accounts import Segment
from cs_mcp.domain.identity import DEFAULT_REACH, Member, Role
from cs_mcp.domain.records import Ids

TEAM: Final = 8  # CSMs a leader has
UNOWNED: Final = 0.02
# How many accounts a CSM gets: inside the ranges of 10–30, 30–75 and 100–500, with room to grow.
BOOK: Final = {Segment.enterprise: (13, 24), Segment.mid_market: (38, 64), Segment.smb: (150, 400)}
# The share of accounts that end up live in each segment, measured over many seeds.
_LIVE_SHARE: Final = {Segment.smb: 0.5, Segment.mid_market: 0.285, Segment.enterprise: 0.105}
# Who of the company's own people begins which kind of book.
_FIRST: Final = {Segment.mid_market: ("ana", "noor"), Segment.enterprise: ("ben",), Segment.smb: ("kenta",)}
_LEADERS: Final = ("lea", "omar")
_REGIONS: Final = ("amer", "emea", "apac")


@dataclass
class Colleagues:
    """`rows` are the members to create; `owner` deals accounts out."""

    rows: list[dict[str, Any]]
    _decks: dict[Segment, list[str]]
    _names: Mapping[str, str]
    _dealt: dict[Segment, int] = field(default_factory=dict[Segment, int])

    def owner(self, random: Random, segment: Segment, *, live: bool) -> str | None:
        """The next live account of a segment goes to the next in its deck; a lost one had anybody's name on it."""
        deck = self._decks[segment]
        if random.random() < UNOWNED:
            return None
        if not live:
            return random.choice(deck)
        place = self._dealt.get(segment, 0)
        self._dealt[segment] = place + 1
        return deck[place % len(deck)]

    def name(self, member: str) -> str:
        return self._names[member]


def colleagues_of(seed: int, accounts: int, known: Mapping[str, Member], ids: Ids, domain: str) -> Colleagues:
    """As many as the book takes, beside those there are (`known`, by key)."""
    random = stream(seed, "colleagues")
    rows: list[dict[str, Any]] = []
    addresses = {member.email for member in known.values()}

    def hire(role: Role, manager: str) -> str:
        name = person_of(random, random.choice(_REGIONS))
        email, number = f"{name.address}@{domain}", 2
        while email in addresses:
            email, number = f"{name.address}{number}@{domain}", number + 1
        addresses.add(email)
        member = ids.new("member")
        row = {"id": member, "name": name.full, "email": email, "role": role.value, "manager_id": manager}
        rows.append(row | {"reach": DEFAULT_REACH[role].value, "active": True})
        return member

    leaders = [known[key].id for key in _LEADERS]
    room = len(leaders) * TEAM
    decks: dict[Segment, list[str]] = {}
    for segment, (fewest, most) in BOOK.items():
        needed = max(1, round(accounts * _LIVE_SHARE[segment]))
        deck: list[str] = []
        firsts = [known[key].id for key in _FIRST[segment]]
        while len(deck) < needed:
            if not firsts and room == 0:
                leaders.append(hire(Role.cs_leader, known["tess"].id))
                room = TEAM
            csm = firsts.pop(0) if firsts else hire(Role.csm, leaders[-1 - (room - 1) // TEAM])
            room -= 1 if room else 0
            deck += [csm] * random.randint(fewest, most)
        random.shuffle(deck)
        decks[segment] = deck
    named = {row["id"]: row["name"] for row in rows} | {member.id: member.name for member in known.values()}
    return Colleagues(rows, decks, named)
