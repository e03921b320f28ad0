"""One row of a HubSpot table as the cells of a record of the import format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from typing import ClassVar, Final

from cs_mcp.connectors.cells import is_email, shown
from cs_mcp.connectors.custom_fields import CustomField
from cs_mcp.connectors.hubspot_export import Engagements, Export, joined
from cs_mcp.connectors.hubspot_links import People, Reader
from cs_mcp.connectors.markup import plain_text
from cs_mcp.connectors.reading import LeftOut
from cs_mcp.connectors.tables import CUSTOM, Cells
from cs_mcp.domain.accounts.accounts import Segment, Stage, Tier
from cs_mcp.domain.calendar import add_months
from cs_mcp.domain.people.sponsors import ContactRole, ContactStatus
from cs_mcp.domain.work.meetings import MeetingKind, MeetingStatus
from cs_mcp.domain.work.tasks import Priority, TaskStatus
from cs_mcp.services.imports.report import Looks

_SEVERITY: Final = ("1", "2", "3", "4")
# What the values of a field may become, by object.
_NAMES: Final[dict[str, dict[str, Iterable[str]]]] = {
    "companies": {"lifecycle_stage": Stage, "tier": Tier, "segment": Segment},
    "contacts": {"roles": ContactRole, "status": ContactStatus},
    "meetings": {"kind": MeetingKind, "status": MeetingStatus},
    "calls": {"kind": MeetingKind, "status": MeetingStatus},
    "emails": {"kind": MeetingKind, "status": MeetingStatus},
    "tasks": {"status": TaskStatus, "priority": Priority},
    "tickets": {"severity": _SEVERITY},
}
_ONE: Final = {
    "owners": "owner", "companies": "company", "contacts": "contact", "deals": "deal", "meetings": "meeting",
    "calls": "call", "emails": "e-mail", "notes": "note", "tasks": "task", "tickets": "ticket",
}  # fmt: skip
# How a record's field is called in the mapping, where that differs.
_TOLD_BY: Final = {
    "text": "body", "summary": "body", "account_id": "company", "owner_email": "owner", "assignee_email": "owner",
    "author_email": "owner", "parent_account_id": "parent",
}  # fmt: skip


class Rows:
    """Turns the rows of one object. A field whose columns the table lacks is not told, so what is stored stays."""

    def __init__(
        self, export: Export, name: str, reader: Reader, engagements: Engagements | None, custom: Iterable[CustomField]
    ) -> None:
        self._export = export
        self._name = name
        self._one = _ONE[name]
        self._mapping = export.mapping.objects[name]
        self._reader = reader
        self._engagements = engagements if engagements and engagements.columns else None
        self._custom = {CUSTOM + field.name: field.column for field in custom}
        self._translate = self._translations[name]
        self._values = {
            field: {theirs.casefold(): ours for theirs, ours in self._mapping.values.get(field, {}).items()}
            | {str(own): str(own) for own in names}
            for field, names in _NAMES.get(name, {}).items()
        }
        first = {field: listed[0] for field, listed in reader.columns.items() if listed}
        self.told_as: Mapping[str, str] = first | {
            field: first[by] for field, by in _TOLD_BY.items() if by in first and field not in first
        }

    def translated(self, cells: Cells) -> Cells:
        """Raises LeftOut for a row that is not for the store, ValueError for one that cannot be read."""
        if self._engagements is not None:
            cells = self._engagements.of(self._reader.cell(cells, "id")) | cells
        key = self._reader.cell(cells, "id")
        return self._translate(self, key, cells)

    # -- objects ----------------------------------------------------------------------------------------------
    def _owner(self, key: str, cells: Cells) -> Cells:
        if self._reader.flag(cells, "deleted"):
            raise LeftOut("deleted in HubSpot", gone=key)
        owner = self._export.owners.get(key)
        if owner is None or not is_email(owner.email):
            raise LeftOut("no e-mail address, neither the owner's nor its user's")
        if self._export.owner_of_email[owner.email] != key:
            raise LeftOut("another owner has the same e-mail address")
        return {"user_id": key, "name": owner.name or owner.email, "email": owner.email}

    def _company(self, key: str, cells: Cells) -> Cells:
        self._refuse_gone(key, cells, self._export.companies)
        told = {"account_id": key} | self._as_they_are(cells, "name", "domain", "industry", "employees", "currency")
        told |= self._named(key, cells, "lifecycle_stage", "tier", "segment")
        told |= self._days(cells, "created_on", "renewal_on")
        told |= self._owned(key, cells, "owner_email")
        if self._reader.has("parent"):
            parent = self._export.companies.merges.survivor(self._reader.cell(cells, "parent"))
            told["parent_account_id"] = "" if parent == key else parent
        return told | {name: cells.get(column, "") for name, column in self._custom.items()}

    def _contact(self, key: str, cells: Cells) -> Cells:
        self._refuse_gone(key, cells, self._export.contacts)
        reader = self._reader
        email = reader.cell(cells, "email")
        name = joined(reader.cell(cells, "first_name"), reader.cell(cells, "last_name")) or email
        account = self._export.links.company_of("contact", key, reader.cell(cells, "company"))
        if not name:
            raise LeftOut("neither a name nor an e-mail address")
        told = {"contact_id": key, "account_id": account, "name": name}
        if reader.has("email"):
            if email and not is_email(email):
                self._export.noticed.add(Looks.no_address, f"contact {key}", f"contact {key}: {shown(email)}")
                email = ""
            told["email"] = email
        told |= self._as_they_are(cells, "title", "department")
        return told | self._named(key, cells, "roles", "status") | self._days(cells, "departed_on")

    def _deal(self, key: str, cells: Cells) -> Cells:
        self._refuse_gone(key, cells, self._export.deals)
        reader = self._reader
        if not (reader.flag(cells, "won") or reader.cell(cells, "stage") in self._export.won_stages):
            raise LeftOut("open or lost, and this version keeps no opportunities", gone=key)
        if not reader.cell(cells, "arr"):
            raise LeftOut("won, without recurring revenue in the columns that the mapping names for arr", gone=key)
        told = {"subscription_id": key, "account_id": self._company_of("deal", key)}
        told |= self._as_they_are(cells, "product", "arr", "currency", "seats", "auto_renew", "notice_days")
        told |= self._days(cells, "starts_on", "ends_on", "canceled_on")
        months = self._mapping.ends_after_months
        if months:
            told["term_months"] = str(months)
            if told.get("starts_on") and not told.get("ends_on"):
                told["ends_on"] = str(add_months(date.fromisoformat(told["starts_on"]), months) - timedelta(days=1))
        return told

    def _meeting(self, key: str, cells: Cells) -> Cells:
        self._refuse_deleted(key, cells)
        reader = self._reader
        told = {"meeting_id": key, "account_id": self._company_of("engagement", key)}
        told["held_at"] = self._instant(cells, "held_at")
        parts = (reader.cell(cells, "title"), plain_text(reader.cell(cells, "body")))
        told["summary"] = "\n".join(part for part in parts if part)
        told |= self._named(key, cells, "kind", "status")
        people = [self._export.people.get(contact) for contact in self._export.links.contacts_of("engagement", key)]
        attendees = [person.told_as for person in people if person is not None and person.told_as]
        attendees.append(self._owner_email(key, cells))
        told["attendees"] = ";".join(name.replace(";", ",") for name in attendees if name)
        return told

    def _note(self, key: str, cells: Cells) -> Cells:
        self._refuse_deleted(key, cells)
        text = plain_text(self._reader.cell(cells, "body"))
        if not text or text.isspace():
            raise LeftOut("no text")
        told = {"note_id": key, "account_id": self._company_of("engagement", key), "text": text}
        told["written_at"] = self._instant(cells, "written_at")
        return told | self._owned(key, cells, "author_email")

    def _task(self, key: str, cells: Cells) -> Cells:
        self._refuse_deleted(key, cells)
        told = {"task_id": key, "account_id": self._company_of("engagement", key)}
        told["title"] = plain_text(self._reader.cell(cells, "title"))
        told |= self._days(cells, "due_on") | self._named(key, cells, "status", "priority")
        return told | self._owned(key, cells, "assignee_email")

    def _ticket(self, key: str, cells: Cells) -> Cells:
        self._refuse_gone(key, cells, self._export.tickets)
        told = {"ticket_id": key, "account_id": self._company_of("ticket", key)}
        told |= self._named(key, cells, "severity") | self._as_they_are(cells, "category", "subject")
        told |= {n: self._instant(cells, n) for n in ("opened_at", "first_response_at", "resolved_at")}
        return told | {"text": plain_text(self._reader.cell(cells, "text"))}

    _translations: ClassVar[dict[str, Callable[[Rows, str, Cells], Cells]]] = {
        "owners": _owner,
        "companies": _company,
        "contacts": _contact,
        "deals": _deal,
        "meetings": _meeting,
        "calls": _meeting,
        "emails": _meeting,
        "notes": _note,
        "tasks": _task,
        "tickets": _ticket,
    }

    # -- parts ------------------------------------------------------------------------------------------------
    def _refuse_gone(self, key: str, cells: Cells, objects: People) -> None:
        if (into := objects.merges.survivor(key)) != key:
            raise LeftOut("merged into another record", gone=key, merged_into=into)
        self._refuse_deleted(key, cells)

    def _refuse_deleted(self, key: str, cells: Cells) -> None:
        if self._reader.flag(cells, "deleted"):
            raise LeftOut("deleted in HubSpot", gone=key)
        if why := self._reader.why_not_wanted(cells):
            raise LeftOut(why)

    def _company_of(self, what: str, key: str) -> str:
        return self._export.links.company_of(what, key)

    def _as_they_are(self, cells: Cells, *fields: str) -> Cells:
        return {field: self._reader.cell(cells, field) for field in fields if self._reader.has(field)}

    def _days(self, cells: Cells, *fields: str) -> Cells:
        return {field: self._read(cells, field, self._export.clock.day) for field in fields if self._reader.has(field)}

    def _instant(self, cells: Cells, field: str) -> str:
        return self._read(cells, field, self._export.clock.instant)

    def _read(self, cells: Cells, field: str, read: Callable[[str], str]) -> str:
        try:
            return read(self._reader.cell(cells, field))
        except ValueError as reason:
            raise ValueError(f"{self.told_as.get(field, field)}: {reason}") from None

    def _named(self, key: str, cells: Cells, *fields: str) -> Cells:
        """Fields whose values the mapping translates; ours pass as they are, others are told as a warning."""
        told: Cells = {}
        for field in fields:
            if not self._reader.has(field):
                continue
            ours: list[str] = []
            for part in self._reader.keys(cells, field):
                value = self._values[field].get(part.casefold())
                if value is None:
                    example = f"{self.told_as.get(field, field)} {shown(part)} of {self._one} {key}"
                    self._export.noticed.add(Looks.unmapped, f"{self._one} {key} {field} {part}", example)
                elif value:
                    ours.append(value)
            told[field] = ";".join(dict.fromkeys(ours))
        return told

    def _owned(self, key: str, cells: Cells, field: str) -> Cells:
        return {field: self._owner_email(key, cells)} if self._reader.has("owner") else {}

    def _owner_email(self, key: str, cells: Cells) -> str:
        owner_id = self._reader.cell(cells, "owner")
        if not owner_id:
            return ""
        owner = self._export.owners.get(owner_id)
        if owner is not None and is_email(owner.email):
            return owner.email
        why = "has no e-mail address" if owner is not None else "is not in the export"
        example = f"owner {owner_id} of {self._one} {key} {why}"
        self._export.noticed.add(Looks.unknown_user, f"{self._one} {key}", example)
        return ""
