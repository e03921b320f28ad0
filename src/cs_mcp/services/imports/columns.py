"""How the fields of the import format become columns, one function a concept.

A function gives columns for the fields that the file tells and for no others, and raises Refused for a value that
cannot be stored. It looks nothing up by itself: what rows refer to was fetched for the whole chunk before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from cs_mcp.db.accounts.accounts import AccountRow, name_key
from cs_mcp.db.base import Remembered
from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.members import MemberRow
from cs_mcp.db.people.sponsors import ContactRow
from cs_mcp.db.read_path import Row
from cs_mcp.db.revenue.subscriptions import SubscriptionRow
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.db.work.tasks import TaskRow
from cs_mcp.domain.accounts.accounts import TOUCH_OF_SEGMENT, Account, Segment
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.identity import DEFAULT_REACH, Role
from cs_mcp.domain.money import Money
from cs_mcp.domain.people.sponsors import ContactStatus
from cs_mcp.domain.text import clean_name, clean_text
from cs_mcp.domain.work.meetings import Attendee, MeetingKind, MeetingStatus
from cs_mcp.domain.work.tasks import Priority, TaskOrigin, TaskStatus
from cs_mcp.services.imports.report import Looks, Refused, Warnings

Told = Mapping[str, Any]
Columns = dict[str, Any]


@dataclass(slots=True)
class Known:
    """What the rows of a chunk may refer to, and the day they are read on."""

    calendar: Calendar
    now: datetime
    currency: str  # the workspace's
    warnings: Warnings
    members: dict[str, Row]  # by e-mail
    accounts: dict[str, Row] = field(default_factory=dict[str, Row])  # by source id, live ones
    contacts: dict[tuple[str, str], str | None] = field(default_factory=dict[tuple[str, str], "str | None"])
    currency_told_by_subscriptions: Callable[[str], str | None] = lambda _account: None

    @property
    def today(self) -> date:
        return self.calendar.today(self.now)

    def account_of(self, told: Told) -> Row:
        key = told["account_id"]
        found = self.accounts.get(key)
        if found is None:
            self.warnings.add(Looks.unknown_account, key)
            raise Refused(f"account_id: no account is called {key!r}")
        return found

    def member_of(self, told: Told, column: str) -> str | None:
        """The member's id, or None with a warning where nobody has the e-mail."""
        if not told[column]:
            return None
        found = self.members.get(told[column].casefold())
        if found is None:
            self.warnings.add(Looks.unknown_user, told[column])
        return found["id"] if found else None


def taken(told: Told, names: Mapping[str, str], turn: Callable[[Any], Any] = lambda value: value) -> Columns:
    """Told fields under their columns' names (field → column), each turned unless it is empty."""
    return {column: None if told[name] is None else turn(told[name]) for name, column in names.items() if name in told}


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _value(value: Enum) -> Any:
    return value.value


def _named(told: Told, name: str = "name") -> str:
    cleaned = clean_name(told[name])
    if not cleaned:
        raise Refused(f"{name}: it holds nothing that can be seen")
    return cleaned


def minor_of(amount: Decimal, currency: str, column: str) -> int:
    """The amount in minor units, or why the currency cannot count it."""
    try:
        return Money.of(amount, currency).minor
    except Invalid as impossible:
        raise Refused(f"{column}: {impossible.message}") from None


# -- concepts ---------------------------------------------------------------------------------------------------------


def member(told: Told, _known: Known) -> Columns:
    return {"name": _named(told), "email": told["email"].casefold()} | taken(told, _same("role"), _value)


def _first_member(columns: Columns, _known: Known) -> Columns:
    # A book of their own and nothing more, until someone says what they are.
    role = Role(columns.get("role", Role.csm))
    return {"role": role.value, "reach": DEFAULT_REACH[role].value, "active": True}


def _settled_member(before: Row, columns: Columns, _known: Known) -> Columns:
    was, role = Role(before["role"]), Role(columns.get("role", before["role"]))
    follows = role is not was and before["reach"] == DEFAULT_REACH[was].value
    return {"reach": DEFAULT_REACH[role].value} if follows else {}


def account(told: Told, known: Known) -> Columns:
    columns: Columns = {"name": _named(told)}
    columns |= taken(told, {"industry": "industry"}, clean_name)
    columns |= taken(told, {"domain": "domain"}, lambda domain: clean_name(domain).casefold())
    columns |= taken(told, {"churn_risk_reason": "risk_reason"}, clean_text)
    columns |= taken(told, _same("tier", "onboarding_status") | {"lifecycle_stage": "stage"}, _value)
    columns |= taken(told, _same("employees", "created_on"))
    columns |= taken(told, {"tags": "tags"}, lambda tags: [clean for tag in tags if (clean := clean_name(tag))])
    if told.get("custom"):
        columns["custom"] = {
            clean_name(key): clean_text(value) if isinstance(value, str) else value
            for key, value in told["custom"].items()
        }
    if "owner_email" in told:
        columns["owner_id"] = known.member_of(told, "owner_email")
    # What an empty cell leaves to the import is left to it here too: the ledger step settles both.
    columns |= {name: value for name, value in taken(told, _same("renewal_on")).items() if value is not None}
    columns |= {name: value for name, value in taken(told, _same("segment"), _value).items() if value is not None}
    if currency := told.get("currency") or known.currency_told_by_subscriptions(told["account_id"]):
        columns["currency"] = currency
    return columns


_ACCOUNT: Final = Account(id="", name="")


def _first_account(columns: Columns, known: Known) -> Columns:
    segment = Segment(columns.get("segment", _ACCOUNT.segment))
    return {
        "currency": known.currency,
        "custom": {},
        "onboarding_status": _ACCOUNT.onboarding_status.value,
        "segment": segment.value,
        "stage": _ACCOUNT.stage.value,
        "tags": [],
        "tier": _ACCOUNT.tier.value,
        "touch": TOUCH_OF_SEGMENT[segment].value,
    }


def _settled_account(before: Row, columns: Columns, _known: Known) -> Columns:
    settled = touch_after(before, columns["segment"]) if "segment" in columns else {}
    if "custom" in columns:  # fields that the file does not have stay; None is a field that was emptied
        merged = before["custom"] | columns["custom"]
        settled["custom"] = {name: value for name, value in merged.items() if value is not None}
    return settled


def touch_after(before: Row, segment: str) -> Columns:
    """The touch model follows the segment for as long as nobody set it apart from it."""
    follows = before["touch"] == TOUCH_OF_SEGMENT[Segment(before["segment"])].value
    return {"touch": TOUCH_OF_SEGMENT[Segment(segment)].value} if follows else {}


def contact(told: Told, known: Known) -> Columns:
    at = known.account_of(told)
    columns: Columns = {"account_id": at["id"], "name": _named(told)}
    columns |= taken(told, _same("email", "title", "department"), clean_name)
    columns |= taken(told, _same("level", "sentiment", "status"), _value)
    columns |= taken(told, _same("departed_on"))
    columns |= taken(told, _same("roles"), lambda roles: [role.value for role in roles])
    left = columns.get("departed_on")
    if left is not None:
        if left <= known.today:
            if columns.get("status") is None:
                columns["status"] = ContactStatus.departed.value
            elif columns["status"] != ContactStatus.departed.value:
                known.warnings.add(Looks.departed_yet_active, f"{told['contact_id']} left on {left}")
        if at["created_on"] is not None and left < at["created_on"]:
            known.warnings.add(
                Looks.dates, f"contact {told['contact_id']} left on {left}, before the account's {at['created_on']}"
            )
    return columns


def subscription(told: Told, known: Known) -> Columns:
    at = known.account_of(told)
    currency = told.get("currency") or at["currency"]
    columns: Columns = {
        "account_id": at["id"],
        "currency": currency,
        "arr_minor": minor_of(told["arr"], currency, "arr"),
    }
    columns |= taken(told, _same("product"), clean_name)
    columns |= taken(
        told,
        _same(
            "starts_on", "ends_on", "canceled_on", "seats", "seat_limit", "auto_renew",
            "term_months", "notice_days", "trial", "payment_method_expires_on",
        ),
    )  # fmt: skip
    key, starts = told["subscription_id"], told["starts_on"]
    if (ends := told.get("ends_on")) is not None and ends < starts:
        raise Refused(f"ends_on: {ends} is before starts_on {starts}; correct either, or leave ends_on empty")
    if (canceled := told.get("canceled_on")) is not None and canceled < starts:
        known.warnings.add(Looks.dates, f"subscription {key} is canceled on {canceled}, before its start {starts}")
    if told.get("canceled_on") == starts:
        known.warnings.add(Looks.ended_at_once, f"{key} on {starts}")
    if currency != at["currency"]:
        known.warnings.add(
            Looks.no_rate, f"subscription {key} is in {currency}, its account in {at['currency']}: left out of ARR"
        )
    return columns


def meeting(told: Told, known: Known) -> Columns:
    at, held_at = known.account_of(told), told["held_at"]
    columns: Columns = {"account_id": at["id"], "held_at": held_at, "held_on": known.calendar.day_of(held_at)}
    columns |= taken(told, _same("kind", "status", "sentiment"), _value)
    columns |= taken(told, _same("summary"), clean_text)
    columns |= taken(told, _same("recording_url"), clean_name)
    columns |= taken(told, _same("attendees"), lambda people: _attendees(at["id"], people, known))
    return columns


def _attendees(account_id: str, people: Iterable[str], known: Known) -> list[Columns]:
    """Each once: two names may be those of one contact, since they were merged."""
    found = [_attendee(account_id, name, known) for name in people]
    return [one for place, one in enumerate(found) if one["contact_id"] is None or one not in found[:place]]


def _attendee(account_id: str, written: str, known: Known) -> Columns:
    """A member or contact by e-mail, or the account's one contact of that name; else the name as it is written."""
    name = clean_name(written)
    if (us := known.members.get(name.casefold())) is not None:
        return Attendee(user_id=us["id"]).model_dump(mode="json")
    them = known.contacts.get((account_id, name_key(name)))
    found = Attendee(contact_id=them) if them is not None else Attendee(name=name)
    return found.model_dump(mode="json")


def _first_meeting(columns: Columns, known: Known) -> Columns:
    status = MeetingStatus.held if columns["held_at"] <= known.now else MeetingStatus.planned
    lists: Columns = {"attendees": [], "decisions": [], "product_requests": []}
    return lists | {"kind": MeetingKind.other.value, "status": status.value, "roi_shown": False}


def _settled_meeting(before: Row, columns: Columns, known: Known) -> Columns:
    # The column is `held_at`: once that is past, the source says it was held, unless it says otherwise.
    untold = columns.get("status") is None
    held = untold and before["status"] == MeetingStatus.planned.value and columns["held_at"] <= known.now
    return {"status": MeetingStatus.held.value} if held else {}


def note(told: Told, known: Known) -> Columns:
    at = known.account_of(told)
    text = clean_text(told["text"])
    if not text.strip():
        raise Refused("text: it holds nothing that can be seen")
    columns: Columns = {"account_id": at["id"], "text": text, "written_on": known.calendar.day_of(told["written_at"])}
    columns |= taken(told, _same("sentiment", "risk"), _value)
    if "author_email" in told:
        author = known.member_of(told, "author_email")
        columns |= {"author_id": author, "author_name": None if author else told["author_email"]}
    return columns


def task(told: Told, known: Known) -> Columns:
    at = known.account_of(told)
    columns: Columns = {"account_id": at["id"], "title": _named(told, "title")}
    columns |= taken(told, _same("due_on"))
    columns |= taken(told, _same("status", "priority"), _value)
    if "assignee_email" in told:
        columns["assignee_id"] = known.member_of(told, "assignee_email")
    return columns


def _nothing(*_given: Any) -> Columns:
    return {}


@dataclass(frozen=True, slots=True)
class Concept:
    """`columns` of a told row; `first`, a new row's where the file tells none; `settled`, what an old row adds."""

    row: type[Remembered]
    columns: Callable[[Told, Known], Columns]
    first: Callable[[Columns, Known], Columns]
    settled: Callable[[Row, Columns, Known], Columns] = _nothing


def _fixed(**columns: Any) -> Callable[[Columns, Known], Columns]:
    return lambda _columns, _known: dict(columns)


MEMBER: Final = Concept(MemberRow, member, _first_member, _settled_member)
ACCOUNT: Final = Concept(AccountRow, account, _first_account, _settled_account)
CONTACT: Final = Concept(ContactRow, contact, lambda _c, _k: {"roles": [], "status": ContactStatus.active.value})
SUBSCRIPTION: Final = Concept(SubscriptionRow, subscription, _fixed(trial=False))
MEETING: Final = Concept(MeetingRow, meeting, _first_meeting, _settled_meeting)
NOTE: Final = Concept(HealthNoteRow, note, _nothing)
TASK: Final = Concept(
    TaskRow,
    task,
    _fixed(status=TaskStatus.open.value, priority=Priority.normal.value, origin=TaskOrigin.imported.value),
)
