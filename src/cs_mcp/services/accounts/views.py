"""How an account is shown: a line in a list, or everything about it in one answer."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from cs_mcp.domain.contract import Amount, InOrder, LeftOut, Page, View, quoted, shown
from cs_mcp.domain.text import Quoted
from cs_mcp.services.health.brief import HealthBrief, signed
from cs_mcp.services.health.risk_views import RiskView

Section = Literal["contract", "people", "renewal", "opportunities", "risk", "tasks", "meetings", "notes"]
SECTIONS: tuple[Section, ...] = ("contract", "people", "renewal", "risk", "tasks", "meetings", "notes")
FULL_SECTIONS: tuple[Section, ...] = (*SECTIONS[:3], "opportunities", *SECTIONS[3:])


class PersonRef(View):
    id: str
    name: str

    def text(self, nonce: str) -> str:
        return f"{shown(self.name)} ({self.id})"


class AccountLine(View):
    """An account in a list. Absent fields have no value, or were not asked for."""

    id: str
    name: str
    domain: str | None = None
    segment: str | None = None
    tier: str | None = None
    stage: str | None = None
    owner: PersonRef | None = None
    arr: Amount | None = None
    renewal_on: date | None = None
    health_band: str | None = None
    health_score: float | None = None
    health_trend: float | None = None
    last_touch_on: date | None = None
    next_meeting_on: date | None = None
    executive_sponsor: PersonRef | None = None
    tags: list[str] | None = None
    version: int | None = None

    def text(self, nonce: str) -> str:
        health = None
        if self.health_band is not None:
            score = "" if self.health_score is None else f" {self.health_score:g}"
            trend = "" if self.health_trend is None else f" ({signed(self.health_trend)} in 30 days)"
            health = f"{self.health_band}{score}{trend}"
        parts = [
            shown(self.domain) if self.domain else "",
            self.segment,
            self.tier,
            self.stage,
            f"ARR {self.arr}" if self.arr else "",
            health,
            f"renews {self.renewal_on}" if self.renewal_on else "",
            f"owner {self.owner.text(nonce)}" if self.owner else "",
            f"sponsor {self.executive_sponsor.text(nonce)}" if self.executive_sponsor else "",
            f"last touch {self.last_touch_on}" if self.last_touch_on else "",
            f"next meeting {self.next_meeting_on}" if self.next_meeting_on else "",
            "tags " + ", ".join(shown(tag) for tag in self.tags) if self.tags else "",
            f"v{self.version}" if self.version else "",
        ]
        return f"- {shown(self.name)} ({self.id}): " + ", ".join(part for part in parts if part)


class AccountPage(Page[AccountLine]):
    """Accounts that match, with ARR summed by currency over all of them where asked."""

    heading = "Accounts"
    arr_total: list[Amount] = []
    as_of: date | None = None
    notes: list[str] = []

    def footer(self) -> list[str]:
        sums = ", ".join(str(amount) for amount in self.arr_total)
        return ([f"ARR of all matches: {sums}"] if sums else []) + self.notes + super().footer()


class SubscriptionLine(View):
    id: str
    product: str | None = None
    starts_on: date
    ends_on: date | None = None
    canceled_on: date | None = None
    arr: Amount
    seats: int | None = None
    seat_limit: int | None = None
    auto_renew: bool | None = None
    notice_days: int | None = None
    trial: bool = False

    def text(self, nonce: str) -> str:
        until = f" to {self.ends_on}" if self.ends_on else ", open end"
        extra = [
            f"canceled {self.canceled_on}" if self.canceled_on else "",
            "trial" if self.trial else "",
            f"{self.seats} seats" if self.seats is not None else "",
            "auto-renews" if self.auto_renew else "",
            f"{self.notice_days} days' notice" if self.notice_days is not None else "",
        ]
        tail = ", ".join(part for part in extra if part)
        return f"- {shown(self.product or 'subscription')} ({self.id}): {self.arr}, {self.starts_on}{until}" + (
            f", {tail}" if tail else ""
        )


class ContactLine(View):
    id: str
    version: int
    name: str
    title: str | None = None
    department: str | None = None
    email: str | None = None
    level: str | None = None
    roles: list[str] = []
    sentiment: str | None = None
    status: str
    leaves_on: date | None = None
    departed_on: date | None = None
    last_confirmed_on: date | None = None

    def text(self, nonce: str) -> str:
        parts = [
            shown(self.title) if self.title else "",
            shown(self.department) if self.department else "",
            shown(self.email) if self.email else "",
            self.level,
            "/".join(self.roles),
            self.sentiment,
            self.status if self.status != "active" else "",
            f"leaves {self.leaves_on}" if self.leaves_on and not self.departed_on else "",
            f"departed {self.departed_on}" if self.departed_on else "",
            f"confirmed {self.last_confirmed_on}" if self.last_confirmed_on else "",
        ]
        return f"- {shown(self.name)} ({self.id}): " + ", ".join(part for part in parts if part)


class RenewalLine(View):
    id: str
    version: int
    stage: str
    forecast_category: str | None = None
    amount: Amount
    closes_on: date
    notice_deadline_on: date | None = None
    risks: list[str] = []

    def text(self, nonce: str) -> str:
        category = f", {self.forecast_category}" if self.forecast_category else ""
        notice = f", notice by {self.notice_deadline_on}" if self.notice_deadline_on else ""
        risks = f", {'/'.join(self.risks)}" if self.risks else ""
        return (
            f"- {self.id}: {self.stage}{category}, {self.amount}, closes {self.closes_on}{notice}{risks}, "
            f"v{self.version}"
        )


class OpportunityLine(View):
    id: str
    version: int
    name: str
    kind: str
    stage: str
    amount: Amount | None = None
    expected_on: date | None = None

    def text(self, nonce: str) -> str:
        amount = f", {self.amount}" if self.amount else ", no amount"
        expected = f", expected {self.expected_on}" if self.expected_on else ""
        return f"- {shown(self.name)} ({self.id}): {self.kind}, {self.stage}{amount}{expected}, v{self.version}"


class TaskLine(View):
    """A task as lists show it; `account` is left out inside an account."""

    id: str
    version: int
    title: str
    account: PersonRef | None = None
    assignee: PersonRef | None = None
    due_on: date | None = None
    overdue: bool = False
    priority: str = "normal"
    status: str = "open"
    purpose: str | None = None
    snoozed_until: date | None = None
    done_on: date | None = None
    outcome: str | None = None

    def text(self, nonce: str) -> str:
        parts = [
            self.status,
            self.priority,
            f"due {self.due_on}" + (" OVERDUE" if self.overdue else "") if self.due_on else "no due day",
            self.assignee.text(nonce) if self.assignee else "unassigned",
            self.account.text(nonce) if self.account else "",
            f"purpose {shown(self.purpose)}" if self.purpose else "",
            f"snoozed until {self.snoozed_until}" if self.snoozed_until else "",
            f"done {self.done_on}: {shown(self.outcome or '')}" if self.done_on else "",
            f"v{self.version}",
        ]
        return f"- {shown(self.title)} ({self.id}): " + ", ".join(part for part in parts if part)


class MeetingLine(View):
    id: str
    version: int
    kind: str
    status: str
    held_on: date
    attendees: list[str] = []
    sentiment: str | None = None
    agenda: Quoted | None = None
    summary: Quoted | None = None
    decisions: list[str] = []

    def text(self, nonce: str) -> str:
        who = f" with {', '.join(shown(name) for name in self.attendees)}" if self.attendees else ""
        feeling = f", {self.sentiment}" if self.sentiment else ""
        lines = [f"- {self.kind} {self.status} {self.held_on} ({self.id}){who}{feeling}, v{self.version}"]
        lines += [f"  decided: {shown(decision, 500)}" for decision in self.decisions]
        lines += [quoted(said, nonce) for said in (self.agenda, self.summary) if said is not None]
        return "\n".join(lines)


class NoteLine(View):
    id: str
    version: int
    written_on: date
    account: PersonRef | None = None
    author: str | None = None
    sentiment: str | None = None
    risk: str | None = None
    meeting_id: str | None = None
    corrects: str | None = None
    corrected_by: str | None = None
    note: Quoted

    def text(self, nonce: str) -> str:
        parts = [
            self.account.text(nonce) if self.account else "",
            self.sentiment or "",
            f"risk {self.risk}" if self.risk else "",
            f"from {self.meeting_id}" if self.meeting_id else "",
            f"corrects {self.corrects}" if self.corrects else "",
            f"CORRECTED by {self.corrected_by}" if self.corrected_by else "",
        ]
        tail = ", ".join(part for part in parts if part)
        return f"- note {self.written_on} ({self.id})" + (f": {tail}" if tail else "") + "\n" + quoted(self.note, nonce)


class AccountView(View):
    """Everything about an account. Sections that are absent were not asked for; empty ones are empty."""

    id: str
    version: int
    name: str
    matched_by: str = "id"
    as_of: date | None = None
    domain: str | None = None
    industry: str | None = None
    employees: int | None = None
    segment: str
    tier: str
    touch: str
    stage: str
    onboarding_status: str
    owner: PersonRef | None = None
    team: list[str] = []
    parent_id: str | None = None
    created_on: date | None = None
    arr: Amount
    renewal_on: date | None = None
    days_to_renewal: int | None = None
    health_band: str
    health_score: float | None = None
    health: HealthBrief | None = None
    risk_reason: str | None = None
    executive_sponsor: PersonRef | None = None
    champion: PersonRef | None = None
    last_touch_on: date | None = None
    last_meeting_on: date | None = None
    next_meeting_on: date | None = None
    tags: list[str] = []
    custom: Annotated[dict[str, Any], InOrder] = {}
    source: str | None = None
    contract: list[SubscriptionLine] | None = None
    people: list[ContactLine] | None = None
    renewal: list[RenewalLine] | None = None
    opportunities: list[OpportunityLine] | None = None
    risk: list[RiskView] | None = None
    tasks: list[TaskLine] | None = None
    meetings: list[MeetingLine] | None = None
    notes: list[NoteLine] | None = None
    remarks: list[str] = []
    left_out: list[LeftOut] = []

    def text(self, nonce: str) -> str:
        as_of = f" as of {self.as_of}" if self.as_of else ""
        lines = [
            f"# {shown(self.name)} ({self.id}, v{self.version}){as_of}",
            self._facts(nonce),
            self.health.text(nonce) if self.health else "",
            self._people_line(nonce),
            self._dates(),
        ]
        if self.risk_reason:
            lines.append(f"Churn risk: {shown(self.risk_reason, 500)}")
        if self.tags:
            lines.append("Tags: " + ", ".join(shown(tag) for tag in self.tags))
        if self.custom:
            lines.append("Custom: " + "; ".join(f"{shown(k)} = {shown(v)}" for k, v in sorted(self.custom.items())))
        for title, items in (
            ("Contract", self.contract),
            ("People", self.people),
            ("Open renewals", self.renewal),
            ("Open opportunities", self.opportunities),
            ("Open risk case", self.risk),
            ("Open tasks", self.tasks),
            ("Meetings", self.meetings),
            ("Notes", self.notes),
        ):
            if items is not None:
                lines.append(f"## {title}" + ("" if items else ": none"))
                lines += [item.text(nonce) for item in items]
        lines += self.remarks
        lines += [f"Left out: {left.what}. Call {left.call}." for left in self.left_out]
        return "\n".join(line for line in lines if line)

    def _facts(self, nonce: str) -> str:
        score = "" if self.health_score is None else f" {self.health_score:g}"
        days = "" if self.days_to_renewal is None else f" ({self.days_to_renewal} days)"
        parts = [
            shown(self.domain) if self.domain else "",
            shown(self.industry) if self.industry else "",
            f"{self.employees} employees" if self.employees is not None else "",
            f"{self.segment}, {self.tier}, {self.touch} touch",
            f"stage {self.stage}, onboarding {self.onboarding_status}",
            f"ARR {self.arr}",
            f"renews {self.renewal_on}{days}" if self.renewal_on else "no renewal day",
            "" if self.health else f"health {self.health_band}{score}",
        ]
        return ". ".join(part for part in parts if part) + "."

    def _dates(self) -> str:
        touched, met = self.last_touch_on or "never", self.last_meeting_on or "never"
        return f"Last touch {touched}, last meeting {met}, next meeting {self.next_meeting_on or 'none planned'}."

    def _people_line(self, nonce: str) -> str:
        owner = self.owner.text(nonce) if self.owner else "nobody"
        sponsor = self.executive_sponsor.text(nonce) if self.executive_sponsor else "none"
        champion = self.champion.text(nonce) if self.champion else "none"
        team = f" Team: {'; '.join(map(shown, self.team))}." if self.team else ""
        return f"Owner {owner}. Executive sponsor {sponsor}. Champion {champion}.{team}"
