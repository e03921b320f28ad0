"""Two records of one thing become one: which values stay, which fill a gap, which are set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cs_mcp.domain.accounts.accounts import Account
from cs_mcp.domain.people.sponsors import Contact

ACCOUNT_FILLS: Final = (
    "domain", "industry", "employees", "owner_id", "created_on", "renewal_on", "risk_reason", "source_url",
)  # fmt: skip
ACCOUNT_CHOICES: Final = ("name", "segment", "tier", "touch", "stage", "onboarding_status")
CONTACT_FILLS: Final = ("email", "title", "department", "level", "sentiment", "last_confirmed_on", "leaves_on")
CONTACT_CHOICES: Final = ("name", "status")


@dataclass(frozen=True, slots=True)
class SetAside:
    """A value of the merged record that gave way."""

    field: str
    kept: Any
    merged: Any


@dataclass(slots=True)
class Union:
    """The kept record with its gaps filled, and what did not go in."""

    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    filled: list[str] = field(default_factory=list[str])
    set_aside: list[SetAside] = field(default_factory=list[SetAside])

    def take(self, kept: Any, merged: Any, fills: Iterable[str], choices: Iterable[str]) -> None:
        for name in (*fills, *choices):
            mine, theirs = getattr(kept, name), getattr(merged, name)
            if theirs is None or mine == theirs:
                continue
            if mine is None:
                self.fields[name] = theirs
                self.filled.append(name)
            else:
                self.set_aside.append(SetAside(name, mine, theirs))

    def add(self, name: str, mine: Sequence[Any], theirs: Sequence[Any]) -> None:
        """Lists are joined: nothing in them contradicts."""
        if more := set(theirs) - set(mine):
            self.fields[name] = sorted({*mine, *more})
            self.filled.append(name)


def union_of_accounts(kept: Account, merged: Account) -> Union:
    union = Union()
    union.take(kept, merged, ACCOUNT_FILLS, ACCOUNT_CHOICES)
    union.add("tags", kept.tags, merged.tags)
    missing = {name: value for name, value in merged.custom.items() if name not in kept.custom}
    if missing:
        union.fields["custom"] = kept.custom | missing
        union.filled += [f"custom.{name}" for name in sorted(missing)]
    for name, value in sorted(merged.custom.items()):
        if name in kept.custom and kept.custom[name] != value:
            union.set_aside.append(SetAside(f"custom.{name}", kept.custom[name], value))
    return union


def union_of_contacts(kept: Contact, merged: Contact) -> Union:
    union = Union()
    union.take(kept, merged, CONTACT_FILLS, CONTACT_CHOICES)
    union.add("roles", kept.roles, merged.roles)
    return union


def look_alikes(contacts: Sequence[Contact], key: Callable[[str], str]) -> list[tuple[Contact, Contact, str]]:
    """Pairs of contacts with one e-mail, or else one name, and what they share; each contact with the first alike."""
    first: dict[tuple[str, str], Contact] = {}
    found: list[tuple[Contact, Contact, str]] = []
    for contact in contacts:
        shared = [("email", key(contact.email))] if contact.email else []
        shared.append(("name", key(contact.name)))
        twin = next((first[mark] for mark in shared if mark in first), None)
        if twin is not None:
            by_mail = contact.email and twin.email and key(contact.email) == key(twin.email)
            found.append((twin, contact, contact.email if by_mail and contact.email else contact.name))
        for mark in shared:
            first.setdefault(mark, contact)
    return found
