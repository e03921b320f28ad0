"""The people of a generated account, and who of them holds which seat."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Any, Final

from cs_mcp.demo.generated.companies import names, person_of, title_of
from cs_mcp.demo.generated.history import Generated
from cs_mcp.demo.generated.randomness import happens
from cs_mcp.domain.accounts.accounts import Segment
from cs_mcp.domain.people.sponsors import ContactRole, ContactStatus, Level, Sentiment, SponsorRole
from cs_mcp.domain.records import Ids

_HOW_MANY: Final = {Segment.smb: (1, 3), Segment.mid_market: (3, 6), Segment.enterprise: (5, 12)}
_LEVELS: Final = (Level.c_level, Level.manager, Level.vp, Level.individual, Level.director)
_OTHER_ROLES: Final = (ContactRole.power_user, ContactRole.technical, ContactRole.procurement)
_WITHOUT_SPONSOR: Final = {Segment.smb: 0.25, Segment.mid_market: 0.15, Segment.enterprise: 0.08}


@dataclass(slots=True)
class People:
    contacts: list[dict[str, Any]]
    seats: list[dict[str, Any]]
    sponsor: str | None = None
    champion: str | None = None
    sponsor_is_silent: bool = False

    @property
    def present(self) -> list[dict[str, Any]]:
        return [contact for contact in self.contacts if contact["status"] != ContactStatus.departed.value]


def people_of(account: Generated, account_id: str, random: Random, ids: Ids) -> People:
    count = random.randint(*_HOW_MANY[account.segment])
    people = People([], [])
    addresses: set[str] = set()
    for place in range(count):
        people.contacts.append(_contact(account, account_id, place, addresses, random, ids))
    roles: dict[int, list[ContactRole]] = {place: [] for place in range(count)}
    roles[min(1, count - 1)].append(ContactRole.primary)
    if not happens(random, _WITHOUT_SPONSOR[account.segment]):
        _seat(account, people, 0, SponsorRole.executive_sponsor, roles, random, ids)
        people.sponsor_is_silent = happens(random, 0.1 + 0.5 * account.pressure(account.today))
    if not happens(random, 0.12):
        _seat(account, people, min(1, count - 1), SponsorRole.champion, roles, random, ids)
    for place in range(2, count):
        roles[place].append(random.choice(_OTHER_ROLES))
    for place, contact in enumerate(people.contacts):
        if contact["sentiment"] == Sentiment.negative.value and happens(random, 0.4):
            roles[place].append(ContactRole.detractor)
        contact["roles"] = sorted(role.value for role in roles[place])
    if people.sponsor_is_silent and people.sponsor is not None:
        people.contacts[0]["last_confirmed_on"] = account.today - timedelta(days=random.randint(46, 200))
    return people


def _contact(
    account: Generated, account_id: str, place: int, addresses: set[str], random: Random, ids: Ids
) -> dict[str, Any]:
    name = person_of(random, account.region)
    address, number = name.address, 2
    while address in addresses:
        address, number = f"{name.address}{number}", number + 1
    addresses.add(address)
    level = _LEVELS[place % len(_LEVELS)]
    department = random.choice(names()["people"]["departments"])
    return {
        "id": ids.new("contact"),
        "account_id": account_id,
        "name": name.full,
        "email": f"{address}@{account.company.domain}",
        "title": title_of(random, level, department),
        "department": department,
        "level": level.value,
        "roles": [],
        "sentiment": mood_of(random, account.pressure(account.today)).value if happens(random, 0.7) else None,
        "status": ContactStatus.on_leave.value if happens(random, 0.02) else ContactStatus.active.value,
        "last_confirmed_on": _confirmed(account, random),
        "leaves_on": None,
        "departed_on": None,
    }


def _confirmed(account: Generated, random: Random) -> date | None:
    if happens(random, 0.1):
        return None
    return max(account.starts_on, account.today - timedelta(days=int(random.expovariate(1 / 70))))


def _seat(
    account: Generated,
    people: People,
    place: int,
    role: SponsorRole,
    roles: dict[int, list[ContactRole]],
    random: Random,
    ids: Ids,
) -> None:
    """Somebody takes the seat; one in ten has left it since, and one in thirty is about to."""
    contact = people.contacts[place]
    since = min(account.today, account.starts_on + timedelta(days=random.randint(0, 60)))
    until: date | None = None
    days = (account.today - since).days
    alone = place == 0 and len(people.contacts) == 1
    if days > 120 and not alone and happens(random, 0.1):
        until = account.today - timedelta(days=random.randint(3, min(days - 1, 240)))
        contact |= {"status": ContactStatus.departed.value, "departed_on": until}
    else:
        roles[place].append(ContactRole(role.value))
        if not alone and happens(random, 0.03):
            contact["leaves_on"] = account.today + timedelta(days=random.randint(5, 60))
        if role is SponsorRole.champion:
            people.champion = contact["id"]
        else:
            people.sponsor = contact["id"]
    people.seats.append(
        {
            "id": ids.new("sponsorship"),
            "account_id": contact["account_id"],
            "contact_id": contact["id"],
            "role": role.value,
            "from_on": since,
            "to_on": until,
        }
    )


def mood_of(random: Random, pressure: float) -> Sentiment:
    draw = pressure + random.gauss(0, 0.14)
    if draw > 0.52:
        return Sentiment.negative
    return Sentiment.positive if draw < 0.27 else Sentiment.neutral
