"""The store as a plain program would keep it: records as dicts, a list of entries, and what an undo does to them.

Values are as JSON holds them, days as ISO text. `_model_rules` says what each write does; nothing here is shared with
the code under test but the names of the columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from cs_mcp.domain.errors import Conflict, CustomerSuccessError, NotFound

Fields = dict[str, Any]
# By field: a write brings a new state, an undo an old one. What a write left is taken back while it is in that state.
States = dict[str, object]

_SHARED: Fields = {"removed_at": None, "source_system": None, "source_id": None}
EMPTY: dict[str, Fields] = {
    "account": _SHARED | {
        "name": None, "domain": None, "industry": None, "employees": None, "segment": "smb", "tier": "standard",
        "touch": "low", "stage": "onboarding", "onboarding_status": "not_started", "owner_id": None,
        "currency": "USD", "created_on": None, "renewal_on": None, "risk_reason": None, "tags": [], "custom": {},
        "parent_id": None, "source_url": None, "merged_into_id": None,
    },
    "contact": _SHARED | {
        "account_id": None, "name": None, "email": None, "title": None, "department": None, "level": None,
        "roles": [], "sentiment": None, "status": "active", "last_confirmed_on": None, "leaves_on": None,
        "departed_on": None, "successor_id": None, "merged_into_id": None,
    },
    "sponsorship": _SHARED | {"account_id": None, "contact_id": None, "role": None, "from_on": None, "to_on": None},
    "task": _SHARED | {
        "account_id": None, "title": None, "purpose": None, "assignee_id": None, "due_on": None,
        "priority": "normal", "status": "open", "origin": "person", "related_id": None, "snoozed_until": None,
        "sla_due_at": None, "done_on": None, "outcome": None,
    },
    "subscription": _SHARED | {
        "account_id": None, "product": None, "starts_on": None, "ends_on": None, "canceled_on": None,
        "arr_minor": 0, "currency": "USD", "seats": None, "seat_limit": None, "auto_renew": None,
        "term_months": 12, "notice_days": 30, "trial": False, "payment_method_expires_on": None,
    },
    "arr_movement": _SHARED | {
        "account_id": None, "subscription_id": None, "on": None, "kind": None, "amount_minor": 0,
        "currency": "USD", "expansion_kind": None, "reason": None, "note": None, "reverses_id": None,
    },
    "meeting": _SHARED | {
        "account_id": None, "kind": None, "status": None, "held_on": None, "held_at": None, "attendees": [],
        "agenda": None, "summary": None, "decisions": [], "sentiment": None, "renewal_intent": None,
        "forecast_hint": None, "product_requests": [], "roi_shown": False, "materials_shared_on": None,
        "recording_url": None,
    },
    "health_note": _SHARED | {
        "account_id": None, "written_on": None, "text": None, "sentiment": None, "risk": None, "author_id": None,
        "author_name": None, "meeting_id": None, "corrects_id": None,
    },
    "renewal": _SHARED | {
        "account_id": None, "subscription_id": None, "owner_id": None, "stage": "not_started",
        "forecast_category": None, "category_reason": None, "amount_minor": 0, "expected_minor": None,
        "currency": "USD", "closes_on": None, "notice_deadline_on": None, "decision_criteria": [],
        "procurement_steps": [], "risks": [], "options": [], "concessions": [], "stakeholders_confirmed_on": None,
        "closed_on": None, "loss_reason": None,
    },
}  # fmt: skip

# The columns that name another record.
NAMING = {
    "account": ("parent_id", "merged_into_id"),
    "contact": ("account_id", "successor_id", "merged_into_id"),
    "sponsorship": ("account_id", "contact_id"),
    "task": ("account_id", "related_id"),
    "meeting": ("account_id",),
    "health_note": ("account_id", "meeting_id", "corrects_id"),
    "subscription": ("account_id",),
    "arr_movement": ("account_id", "subscription_id"),
    "renewal": ("account_id", "subscription_id"),
}


def names_of(entity: str, fields: Fields) -> list[tuple[str, str]]:
    """The records that one names, with the column that does."""
    named = [(column, fields[column]) for column in NAMING[entity] if fields[column] is not None]
    return named + [("attendees", who["contact_id"]) for who in fields.get("attendees", ()) if who["contact_id"]]


ABSENT = object()
SEATS = ("champion", "executive_sponsor")


class Refused(Exception):
    """The model's word that a write is refused: as what, and one of the ids that its words must hold, if any."""

    def __init__(self, kind: type[CustomerSuccessError], naming: Iterable[str] = ()) -> None:
        super().__init__(kind.__name__)
        self.kind = kind
        self.naming = frozenset(naming)


@dataclass
class Row:
    entity: str
    id: str
    fields: Fields
    version: int = 0
    states: States = field(default_factory=dict[str, object])

    @property
    def is_live(self) -> bool:
        return self.fields["removed_at"] is None

    @property
    def account(self) -> str:
        return self.id if self.entity == "account" else self.fields["account_id"]


@dataclass(frozen=True)
class Entry:
    """One record's part of one write; `account` is where the record stood after it."""

    change: str
    entity: str
    id: str
    account: str
    kind: str
    before: Fields | None
    after: Fields
    left: States
    found: States


@dataclass
class Model:
    """One workspace. `now` is the fixed clock's instant, `today` its day."""

    now: str
    today: str
    rows: dict[str, Row] = field(default_factory=dict[str, Row])
    entries: list[Entry] = field(default_factory=list[Entry])

    def live(self, entity: str, account: str | None = None, **wanted: Any) -> list[Row]:
        """Live records of a kind in the order of their ids."""
        found = [row for row in self.rows.values() if row.entity == entity and row.is_live]
        return sorted(
            (
                row
                for row in found
                if account in (None, row.account) and all(row.fields[name] == value for name, value in wanted.items())
            ),
            key=lambda row: row.id,
        )

    def enter(self, draft: Draft, change: str, *, undoes: str | None = None) -> list[Entry]:
        """Make a draft so: one entry and one version for each record that is not as it was."""
        made: list[Entry] = []
        for record, fields in draft.edited.items():
            row = self.rows.get(record)
            if row is None:
                row = self.rows[record] = Row(draft.born[record], record, EMPTY[draft.born[record]])
                before, after, kind = None, dict(fields), "created"
            else:
                after = {name: value for name, value in fields.items() if row.fields[name] != value}
                before = {name: row.fields[name] for name in after}
                kind = "updated"
                if "removed_at" in after:
                    kind = "restored" if after["removed_at"] is None else "removed"
            if after:
                left: States = {name: object() for name in after}
                for undone in self.entries if undoes is not None else ():
                    if (undone.change, undone.id) == (undoes, record):
                        left = undone.found
                # A record that was not there has but its removal to be taken back by.
                found = {name: row.states.get(name, ABSENT) for name in (left if before else ["removed_at"])}
                row.fields, row.version, row.states = fields, row.version + 1, row.states | left
                made.append(Entry(change, row.entity, record, row.account, kind, before, after, left, found))
        self.entries += made
        return made

    def touched(self, draft: Draft) -> dict[str, set[str]]:
        """The fields that a draft changes, by record; those of new records are left out."""
        found: dict[str, set[str]] = {}
        for record, fields in draft.edited.items():
            if (row := self.rows.get(record)) is not None:
                found[record] = {name for name, value in fields.items() if row.fields[name] != value}
        return {record: names for record, names in found.items() if names}

    # -- undo -------------------------------------------------------------------------------------------------
    def undo(self, change: str, sees: Callable[[str], bool], only: list[str] | None = None) -> Undoing:
        """What taking back a write, or some records of it, does. Raises Refused."""
        mine = {n: e for n, e in enumerate(self.entries) if e.change == change and (only is None or e.id in only)}
        if not mine:
            raise Refused(NotFound)
        seen = {n: entry for n, entry in mine.items() if sees(self.rows[entry.id].account)}
        if not seen:
            raise Refused(NotFound)
        refused = {e.id: why for n, e in seen.items() if (why := self._blocking(n, e))}
        while True:
            draft = Draft(self)
            for entry in seen.values():
                if entry.id not in refused:
                    before = entry.before if entry.before is not None else {"removed_at": self.now}
                    draft.edit(entry.id, **before)
            standing = draft.in_the_way()
            if not standing:
                break
            refused |= standing
        if len(refused) == len(seen):
            raise Refused(Conflict, set[str]().union(*refused.values()))
        draft.check()
        return Undoing(draft, len(seen) - len(refused), refused)

    def _blocking(self, number: int, entry: Entry) -> set[str]:
        """The later writes that keep a record from being taken back."""
        states = self.rows[entry.id].states
        moved = {name for name, left in entry.left.items() if states[name] is not left}
        return {e.change for e in self.entries[number + 1 :] if e.id == entry.id and e.after.keys() & moved}


@dataclass
class Undoing:
    draft: Draft
    restored: int
    refused: dict[str, set[str]]


class Draft:
    """Records as they would be after a write."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.edited: dict[str, Fields] = {}
        self.born: dict[str, str] = {}

    def __getitem__(self, record: str) -> Fields:
        return self.edited.get(record) or self.model.rows[record].fields

    def edit(self, record: str, **fields: Any) -> None:
        self.edited[record] = self[record] | fields

    def new(self, entity: str, record: str, **fields: Any) -> str:
        self.born[record] = entity
        self.edited[record] = EMPTY[entity] | fields
        return record

    def _all(self) -> list[Row]:
        known = [Row(row.entity, row.id, self[row.id]) for row in self.model.rows.values()]
        return known + [Row(entity, record, self.edited[record]) for record, entity in self.born.items()]

    def in_the_way(self) -> dict[str, set[str]]:
        """Records of an undo that must stay after all, and the records for whose sake."""
        rows = {row.id: row for row in self._all()}
        why: dict[str, set[str]] = {}
        for row in rows.values():
            told, old = row.fields, self.model.rows[row.id].fields
            for column, target in names_of(row.entity, told):
                if rows[target].is_live:
                    for one, other in (
                        ((row, rows[target]), (rows[target], row)) if elsewhere(row, rows[target]) else ()
                    ):
                        if one.account != self.model.rows[one.id].account:
                            why.setdefault(one.id, set()).add(other.id)
                    continue
                goes = self.model.rows[target].is_live
                if goes and (row.is_live or column == "merged_into_id"):
                    why.setdefault(target, set()).add(row.id)  # it would go although this one names it
                moved = {name for name in (column, "removed_at") if told[name] != old[name]}
                if row.id in self.edited and row.is_live and moved:
                    why.setdefault(row.id, set()).add(target)
        for person in rows.values():
            was = self.model.rows[person.id]
            if person.entity != "contact" or not person.is_live or not parted(person, rows.values(), self.model.today):
                continue
            now, then = (
                {r.id for r in all_rows if r.fields.get("contact_id") == person.id and place_of(r, self.model.today)}
                for all_rows in (self.model.rows.values(), rows.values())
            )
            seats = sorted(now ^ then)
            moved = [person.id] if any(person.fields[n] != was.fields[n] for n in ("roles", "removed_at")) else []
            for record in seats + moved:
                why.setdefault(record, set()).add(person.id)
        places: dict[tuple[str, ...], list[Row]] = {}
        for row in rows.values():
            if (place := place_of(row, self.model.today)) is not None:
                places.setdefault(place, []).append(row)
        for place, together in places.items():
            for row in together if len(together) > 1 else ():
                if place == place_of(self.model.rows[row.id], self.model.today):
                    continue
                beside = "id" if row.entity == "task" else "contact_id"
                others = {(other.fields | {"id": other.id})[beside] for other in together if other is not row}
                why.setdefault(row.id, set()).update(others)
                holder = row.fields.get("contact_id")
                if holder in self.edited and self[holder]["roles"] != self.model.rows[holder].fields["roles"]:
                    why.setdefault(holder, set()).update(others)
        return why

    def check(self) -> None:
        """The rules that no write may break, an undo neither: Refused where one would be broken."""
        if broken(self._all(), self.model.today):
            raise Refused(Conflict)


def place_of(row: Row, today: str) -> tuple[str, ...] | None:
    """What only one live record may hold: a seat, an open task of a purpose."""
    told = row.fields
    if not row.is_live:
        return None
    if row.entity == "sponsorship" and (told["to_on"] is None or told["to_on"] > today):
        return row.account, "seat", told["role"]
    if row.entity == "task" and told["purpose"] is not None and told["status"] == "open":
        return row.account, "purpose", told["purpose"]
    return None


def parted(contact: Row, rows: Iterable[Row], today: str) -> set[str]:
    """Roles that a contact has without the seat, or the other way round."""
    seats = [row for row in rows if row.entity == "sponsorship" and place_of(row, today) is not None]
    held = {seat.fields["role"] for seat in seats if seat.fields["contact_id"] == contact.id}
    return held ^ {role for role in contact.fields["roles"] if role in SEATS}


def elsewhere(row: Row, target: Row) -> bool:
    """Whether a record is live on one account and names one of another."""
    return row.is_live and target.entity != "account" and row.account != target.account


def broken(rows: Iterable[Row], today: str) -> list[str]:
    """What must not be: a place held twice, a live record that names a removed one."""
    every = {row.id: row for row in rows}
    live = [row for row in every.values() if row.is_live]
    faults = [
        f"{row.entity} {row.id} names {target}, which is removed, as {column}"
        for row in live
        for column, target in names_of(row.entity, row.fields)
        if not every[target].is_live
    ]
    faults += [
        f"contact {row.id} is {roles} by role or seat alone"
        for row in live
        if row.entity == "contact" and (roles := parted(row, live, today))
    ]
    faults += [
        f"{row.entity} {row.id} on {row.account} names {target} of another account, as {column}"
        for row in live
        for column, target in names_of(row.entity, row.fields)
        if elsewhere(row, every[target])
    ]
    places = Counter(place for row in live if (place := place_of(row, today)) is not None)
    return faults + [f"{' '.join(place)} is taken {count} times" for place, count in places.items() if count > 1]
