"""Facts that every brief is made of: a meeting, a note, a person, a task, each with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Final
from zoneinfo import ZoneInfo

from cs_mcp.db.accounts.brief_reads import BriefFacts
from cs_mcp.db.read_path import Row
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.contract import Amount, shown
from cs_mcp.domain.people.sponsors import ContactStatus
from cs_mcp.domain.text import quote
from cs_mcp.services.briefs.views import QUOTE_LIMIT, Fact, name_of

INTERNAL_KINDS: Final = frozenset({"internal_handoff"})


@dataclass(frozen=True)
class Ground:
    """What was read, and the time it is looked at from."""

    found: BriefFacts
    calendar: Calendar
    now: datetime

    @property
    def today(self) -> date:
        return self.calendar.today(self.now)

    @cached_property
    def people(self) -> dict[str, Row]:
        return {person["id"]: person for person in self.found.people}

    @cached_property
    def held(self) -> list[Row]:
        """Meetings that took place, newest first."""
        return [m for m in self.found.meetings if m["status"] == "held" and m["held_on"] <= self.today]

    @cached_property
    def planned(self) -> list[Row]:
        """Meetings to come, soonest first."""
        return [m for m in reversed(self.found.meetings) if m["status"] == "planned" and m["held_on"] >= self.today]

    @cached_property
    def notes(self) -> list[Row]:
        """Notes that no later note corrects, newest first."""
        corrected = {note["corrects_id"] for note in self.found.notes}
        return [note for note in self.found.notes if note["id"] not in corrected]

    def last_met(self, contact: str) -> Row | None:
        return next((meeting for meeting in self.held if contact in attended(meeting)), None)

    def amount(self, minor: int) -> Amount:
        return Amount.of(minor, self.found.account["currency"])

    def local(self, instant: datetime) -> str:
        return f"{instant.astimezone(ZoneInfo(self.calendar.time_zone)):%Y-%m-%d %H:%M} {self.calendar.time_zone}"

    # -- facts ------------------------------------------------------------------------------------------------
    def meeting(self, row: Row, *, lead: str = "", internal: bool = False) -> Fact:
        """A meeting with who was there; its summary and decisions as a quote. Our judgements on it are internal."""
        there: list[str] = []
        for who in row["attendees"]:
            person = self.people.get(who.get("contact_id") or "")
            if person is not None or who.get("user_id") is None:
                name = name_of(person["name"] if person is not None else who.get("name"))
                left = " (has left since)" if person is not None and person["status"] == ContactStatus.departed else ""
                there.append(name + ("" if who.get("attended", True) else " (absent)") + left)
        planned = row["status"] == "planned"
        parts = [
            f"{lead}{_words(row['kind'])} {'planned' if planned else 'held'}"
            + (f" with {', '.join(there[:6])}{' and others' if there[6:] else ''}" if there else ""),
            f"sentiment {row['sentiment']}" if internal and row["sentiment"] else "",
            "quantified ROI was shown" if row["roi_shown"] else "",
        ]
        words = [row["summary"] or "", *(f"Decided: {decision}" for decision in row["decisions"])]
        said = "\n".join(word for word in words if word)
        return Fact(
            what="; ".join(part for part in parts if part),
            record=row["id"],
            on=row["held_on"],
            said=quote(said, origin=f"our summary of {row['id']}", written_on=row["held_on"], limit=QUOTE_LIMIT)
            if said
            else None,
        )

    def note(self, row: Row) -> Fact:
        author = row.get("person_name") or row["author_name"]
        parts = [
            f"our note{f' by {name_of(author)}' if author else ''}",
            f"sentiment {row['sentiment']}" if row["sentiment"] else "",
            f"risk {row['risk']}" if row["risk"] else "",
        ]
        said = quote(
            row["text"], origin=f"note {row['id']}", author=author, written_on=row["written_on"], limit=QUOTE_LIMIT
        )
        return Fact(what="; ".join(part for part in parts if part), record=row["id"], on=row["written_on"], said=said)

    def person(self, row: Row, seat: str, *, internal: bool = False) -> Fact:
        """A contact in a seat, and when they were last met. How they feel is internal."""
        met = self.last_met(row["id"])
        parts = [
            f"{seat}: {name_of(row['name'])}",
            name_of(row["title"]) if row["title"] else "",
            f"status {_words(row['status'])}" if row["status"] != ContactStatus.active else "",
            f"leaves {row['leaves_on']}" if row["leaves_on"] and not row["departed_on"] else "",
            f"departed {row['departed_on']}" if row["departed_on"] else "",
            f"sentiment {row['sentiment']}" if internal and row["sentiment"] else "",
            f"last met {met['held_on']} ({met['id']})" if met else "no meeting with them on record",
            f"confirmed in their role {row['last_confirmed_on']}" if row["last_confirmed_on"] else "",
        ]
        return Fact(what=", ".join(part for part in parts if part), record=row["id"])

    def open_task(self, row: Row) -> Fact:
        overdue = row["due_on"] is not None and row["due_on"] < self.today
        who = name_of(row.get("person_name")) if row["assignee_id"] else "nobody"
        due = f"due {row['due_on']}{' OVERDUE' if overdue else ''}" if row["due_on"] else "no due day"
        return Fact(what=f"open task: {shown(row['title'])} — {who}, {row['priority']}, {due}", record=row["id"])

    def done_task(self, row: Row) -> Fact:
        who = f" by {name_of(row['person_name'])}" if row.get("person_name") else ""
        said = row["outcome"]
        return Fact(
            what=f"done{who}: {shown(row['title'])}",
            record=row["id"],
            on=row["done_on"],
            said=quote(said, origin=f"outcome of {row['id']}", written_on=row["done_on"], limit=QUOTE_LIMIT)
            if said
            else None,
        )

    def renewal(self, row: Row) -> Fact:
        deadline = row["notice_deadline_on"] or row["closes_on"]
        parts = [
            f"open renewal, stage {_words(row['stage'])}",
            f"amount {Amount.of(row['amount_minor'], row['currency'])}",
            f"closes {row['closes_on']}",
            f"notice by {deadline} ({(deadline - self.today).days} days left)",
            f"forecast {_words(row['forecast_category'])}" if row["forecast_category"] else "forecast not set",
        ]
        known = [
            *(f"Decision criterion: {text}" for text in row["decision_criteria"]),
            *(f"Procurement: {text}" for text in row["procurement_steps"]),
            *(f"Risk: {text}" for text in row["risks"]),
        ]
        said = quote("\n".join(known), origin=f"renewal {row['id']}", limit=QUOTE_LIMIT) if known else None
        return Fact(what=", ".join(parts), record=row["id"], said=said)


def attended(meeting: Row) -> set[str]:
    """Ids of the contacts who were there."""
    return {who["contact_id"] for who in meeting["attendees"] if who.get("contact_id") and who.get("attended", True)}


def invited(meeting: Row) -> set[str]:
    return {who["contact_id"] for who in meeting["attendees"] if who.get("contact_id")}


def _words(code: str) -> str:
    return code.replace("_", " ")
