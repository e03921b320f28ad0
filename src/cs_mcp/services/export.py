"""The workspace as records of the import format: what an import into an empty workspace makes the same figures of."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.store import Store
from cs_mcp.db.transfer import export_aims as aims
from cs_mcp.db.transfer import export_reads as reads
from cs_mcp.db.transfer import export_signals as signals
from cs_mcp.db.transfer.export_reads import Snapshot
from cs_mcp.domain.accounts.accounts import CustomValue
from cs_mcp.domain.errors import NotAllowed
from cs_mcp.domain.identity import Principal, Role
from cs_mcp.domain.money import Money
from cs_mcp.domain.people.sponsors import ContactStatus, SponsorRole
from cs_mcp.domain.revenue.conventions import RevenueConventions
from cs_mcp.domain.revenue.settings import SETTINGS
from cs_mcp.domain.signals.usage import METRICS
from cs_mcp.domain.work.meetings import MeetingStatus
from cs_mcp.domain.workspaces import Workspace

Fields = dict[str, Any]  # by column of the import format: text, numbers, days, instants, lists; None where unknown
SOURCE: Final = "folder"


@dataclass(slots=True)
class ExportRun:
    """One state of a workspace, told file by file. `remarks` count meanwhile what the format cannot say."""

    workspace: Workspace
    id: str
    at: datetime
    _snapshot: Snapshot
    remarks: Counter[str] = field(default_factory=Counter[str])

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(_KINDS)

    async def custom_fields(self) -> dict[str, set[type]]:
        """Every custom field of the accounts, and the types of its values."""
        found: dict[str, set[type]] = {}
        async for page in self._snapshot.pages(reads.CUSTOM_FIELDS):
            for row in page:
                custom: dict[str, CustomValue] = row["custom"]
                for name, value in custom.items():
                    if value is not None:
                        found.setdefault(name, set()).add(type(value))
        return dict(sorted(found.items()))

    async def records(self, kind: str) -> AsyncIterator[Fields]:
        """The live records of one kind, in a fixed order."""
        for statement, told in _KINDS[kind]:
            async for page in self._snapshot.pages(statement):
                names = await self._names_of_attendees(page) if kind == "meetings" else {}
                for row in page:
                    found = told(self, row, names)
                    for fields in found if isinstance(found, list) else [found]:
                        if fields is not None:
                            yield fields

    async def _names_of_attendees(self, page: list[Row]) -> dict[str, str]:
        wanted = sorted({a["contact_id"] for row in page for a in row["attendees"] if a.get("contact_id")})
        found = await self._snapshot.rows(reads.CONTACT_NAMES, listed=wanted) if wanted else []
        names = {row["id"]: row["name"] if row["removed_at"] else row["email"] or row["name"] for row in found}
        return names | {row["id"]: row["email"] for row in await self._snapshot.rows(reads.USERS_BY_ID)}

    # -- concepts -------------------------------------------------------------------------------------------
    def settings(self, row: Row, _names: dict[str, str]) -> list[Fields]:
        revenue = RevenueConventions.model_validate(row["conventions"] or {})
        told = [(one.name, one.of(revenue), one.of(RevenueConventions())) for one in SETTINGS.values()]
        return [{"name": name, "value": value} for name, value, default in told if value != default]

    def rate(self, row: Row, _names: dict[str, str]) -> Fields | None:
        if row["to_currency"] != self.workspace.currency:
            self.remarks["exchange rates are not to the workspace's currency, and are left out"] += 1
            return None
        return {"on": row["on"], "currency": row["from_currency"], "rate": Decimal(row["rate"])}

    def target(self, row: Row, _names: dict[str, str]) -> Fields:
        names = ("metric", "currency", "segment", "from_on", "to_on", "owner_email")
        return {"target_id": key_of(row, "own"), **_same(row, *names), **_aimed_at(row)}

    def goal(self, row: Row, _names: dict[str, str]) -> Fields | None:
        if row["user_id"] is not None and row["user_email"] is None:
            self.remarks["goals are of users who are gone, and are left out"] += 1
            return None
        names = ("metric", "currency", "quarter_start", "subject", "user_email")
        return {"goal_id": key_of(row, "own"), **_same(row, *names), **_aimed_at(row)}

    def cost(self, row: Row, _names: dict[str, str]) -> Fields:
        if row["user_id"] is not None and row["user_email"] is None:
            self.remarks["costs are of users who are gone, and are told as costs of all"] += 1
        told = {"on": row["month"], "note": row["kind"], "amount": _major(row, "amount_minor")}
        return told | _same(row, "currency", "user_email")

    def user(self, row: Row, _names: dict[str, str]) -> Fields:
        if not row["active"]:
            self.remarks["users are inactive here, and would be active where they are imported"] += 1
        return {"user_id": key_of(row, "own")} | _same(row, "name", "email", "role")

    def account(self, row: Row, _names: dict[str, str]) -> Fields:
        names = ("name", "domain", "industry", "employees", "segment", "tier", "onboarding_status", "currency")
        return (
            {"account_id": key_of(row, "own"), "parent_account_id": key_of(row, "parent")}
            | _same(row, *names, "owner_email", "account_manager_email", "created_on", "renewal_on", "tags")
            | {"lifecycle_stage": row["stage"], "churn_risk_reason": row["risk_reason"]}
            | {"custom": {name: value for name, value in row["custom"].items() if value is not None}}
        )

    def contact(self, row: Row, _names: dict[str, str]) -> Fields:
        names = ("name", "email", "title", "department", "level", "sentiment", "status", "departed_on")
        return {**_of_account(row, "contact_id"), **_same(row, *names), "roles": self._roles(row)}

    def _roles(self, row: Row) -> list[str]:
        """An import gives a seat for each role of sponsor and champion, so only who holds the seat has the role."""
        if row["status"] == ContactStatus.departed.value:
            return row["roles"]
        held = {role.value for role in SponsorRole if row[f"{role.value}_id"] == row["own_id"]}
        seats = {role.value for role in SponsorRole}
        if (set(row["roles"]) & seats) - held:
            self.remarks[
                "contacts have the role of a sponsor or champion without the seat, and are told without it"
            ] += 1
        return sorted((set(row["roles"]) - seats) | held)

    def subscription(self, row: Row, _names: dict[str, str]) -> Fields:
        names = (
            "product", "starts_on", "ends_on", "currency", "seats", "seat_limit", "auto_renew", "term_months",
            "notice_days", "canceled_on", "trial", "payment_method_expires_on",
        )  # fmt: skip
        return {**_of_account(row, "subscription_id"), **_same(row, *names), "arr": _major(row, "arr_minor")}

    def movement(self, row: Row, _names: dict[str, str]) -> Fields | None:
        if row["currency"] != row["account_currency"]:
            self.remarks["movements are in another currency than their account's ARR, and are left out"] += 1
            return None
        return {
            # By our own id: names that an import gave ("…#reversed", "ledger:…") mean something to the next one.
            "movement_id": row["own_id"],
            "account_id": key_of(row, "account"),
            "subscription_id": key_of(row, "subscription"),
            "amount": _major(row, "amount_minor"),
            **_same(row, "on", "kind", "currency", "note"),
        }

    def opportunity(self, row: Row, _names: dict[str, str]) -> Fields:
        if row["evidence"] or row["movement_id"]:
            self.remarks["opportunities have evidence, or posted to the ledger, which the format cannot say"] += 1
        names = (
            "name", "kind", "trigger", "stage", "currency", "product", "department", "seats", "hypothesis",
            "pilot_from", "pilot_to", "success_criteria", "opened_on", "expected_on", "closed_on", "early_answer",
            "lost_reason", "owner_email",
        )  # fmt: skip
        amount = _major(row, "amount_minor") if row["amount_minor"] is not None else None
        return {**_of_account(row, "opportunity_id"), **_same(row, *names), "amount": amount}

    def meeting(self, row: Row, names: dict[str, str]) -> Fields:
        people = [names.get(a.get("contact_id") or a.get("user_id") or "") or a.get("name") for a in row["attendees"]]
        return {
            **_of_account(row, "meeting_id"),
            **_same(row, "kind", "status", "summary", "sentiment", "recording_url"),
            "held_at": row["held_at"] or self._hour_of(row["held_on"], row["status"] != MeetingStatus.planned.value),
            "attendees": [name for name in people if name],
        }

    def note(self, row: Row, _names: dict[str, str]) -> Fields:
        author = row["author_email"] or (row["author_name"] if "@" in (row["author_name"] or "") else None)
        return {
            **_of_account(row, "note_id"),
            **_same(row, "text", "sentiment", "risk"),
            "author_email": author,
            "written_at": self._hour_of(row["written_on"], is_past=True),
        }

    def task(self, row: Row, _names: dict[str, str]) -> Fields:
        return {**_of_account(row, "task_id"), **_same(row, "title", "due_on", "status", "priority", "assignee_email")}

    def usage(self, row: Row, _names: dict[str, str]) -> list[Fields]:
        """One row a figure that somebody told; sums that nobody told are made again."""
        told = [metric for place, metric in enumerate(METRICS) if not row["summed"] & (1 << place)]
        return [{**_on_day(row), "metric": metric, "value": row[metric]} for metric in told if row[metric] is not None]

    def usage_of_feature(self, row: Row, _names: dict[str, str]) -> Fields:
        if row["is_core"] is not None:
            self.remarks["figures are of features known as core or peripheral, which the format cannot say"] += 1
        return {**_on_day(row), "metric": "feature_events", "value": row["events"], "feature": row["feature"]}

    def ticket(self, row: Row, _names: dict[str, str]) -> Fields:
        if row["sla_breached"] is not None or row["contact_id"] is not None:
            self.remarks["tickets say whose they are or whether their SLA held, which the format cannot say"] += 1
        times = ("opened_at", "first_response_at", "resolved_at")
        names = ("severity", "category", "escalated", "csat", "subject", "text")
        return {**_of_account(row, "ticket_id"), **_same(row, *times, *names)}

    def invoice(self, row: Row, _names: dict[str, str]) -> Fields:
        told = _same(row, "currency", "due_on", "paid_on", "status")
        return {**_of_account(row, "invoice_id"), **told, "amount": _major(row, "amount_minor")}

    def survey(self, row: Row, _names: dict[str, str]) -> Fields:
        names = ("kind", "scale_max", "answered_at", "invited", "loop_state", "comment", "tags")
        return {
            **_of_account(row, "response_id"),
            **_same(row, *names),
            "contact_id": key_of(row, "contact"),
            "score": Decimal(repr(row["score"])),
        }

    def company_event(self, row: Row, _names: dict[str, str]) -> Fields:
        if row["told_by"] is not None:
            self.remarks["company events say who told them, which the format cannot say"] += 1
        return {"account_id": key_of(row, "account"), **_same(row, "on", "kind", "note", "source_url")}

    def override(self, row: Row, _names: dict[str, str]) -> Fields:
        names = ("band", "reason", "author_email", "from_on", "expires_on", "ended_on")
        score = None if row["score_tenths"] is None else Decimal(row["score_tenths"]) / 10
        return {**_of_account(row, "override_id"), **_same(row, *names), "score": score}

    def risk(self, row: Row, _names: dict[str, str]) -> Fields:
        names = ("category", "state", "severity", "owner_email", "opened_on", "due_on", "summary", "mitigation")
        if any(one["record"] for one in row["evidence"]):
            self.remarks["risk cases name records as evidence, and are told without these"] += 1
        evidence = [f"{one['on']} {one['what']}" if one["on"] else one["what"] for one in row["evidence"]]
        told = _same(row, *names, "outcome", "closed_on")
        return {**_of_account(row, "risk_id"), **told, "evidence": evidence}

    def _hour_of(self, day: Any, is_past: bool) -> datetime:
        """Noon, which is the same day in nearly every zone; but what was today already is not told as still to come."""
        calendar = self.workspace.calendar
        noon = calendar.start_of(day) + timedelta(hours=12)
        if day != calendar.today(self.at) or (noon <= self.at) == is_past:
            return noon
        return calendar.start_of(day) if is_past else calendar.end_of(day) - timedelta(seconds=1)


def key_of(row: Row, prefix: str) -> str | None:
    """The name a record goes by in the files: the one it was imported under, or else its own id."""
    return row[f"{prefix}_source_id"] if row[f"{prefix}_source_system"] == SOURCE else row[f"{prefix}_id"]


def _same(row: Row, *names: str) -> Fields:
    return {name: row[name] for name in names}


def _of_account(row: Row, own: str) -> Fields:
    return {own: key_of(row, "own"), "account_id": key_of(row, "account")}


def _major(row: Row, column: str) -> Decimal:
    return Decimal(Money(minor=row[column], currency=row["currency"]).amount)


def _aimed_at(row: Row) -> Fields:
    return {"value": row["value"], "amount": None if row["amount_minor"] is None else _major(row, "amount_minor")}


def _on_day(row: Row) -> Fields:
    on = date.fromordinal(row["day"])
    return {"account_id": key_of(row, "account"), "on": on, "department": row["department"] or None}


Told = Callable[[ExportRun, Row, dict[str, str]], Fields | list[Fields] | None]
_KINDS: Final[dict[str, list[tuple[Statement, Told]]]] = {
    "settings": [(aims.PROFILE, ExportRun.settings)],
    "fx_rates": [(aims.RATES, ExportRun.rate)],
    "users": [(reads.USERS, ExportRun.user)],
    "accounts": [(reads.ACCOUNTS, ExportRun.account)],
    "contacts": [(reads.CONTACTS, ExportRun.contact)],
    "subscriptions": [(reads.SUBSCRIPTIONS, ExportRun.subscription)],
    "arr_movements": [(reads.MOVEMENTS, ExportRun.movement)],
    "opportunities": [(reads.OPPORTUNITIES, ExportRun.opportunity)],
    "meetings": [(reads.MEETINGS, ExportRun.meeting)],
    "notes": [(reads.NOTES, ExportRun.note)],
    "tasks": [(reads.TASKS, ExportRun.task)],
    "usage": [(signals.USAGE, ExportRun.usage), (signals.USAGE_OF_FEATURES, ExportRun.usage_of_feature)],
    "tickets": [(signals.TICKETS, ExportRun.ticket)],
    "invoices": [(signals.INVOICES, ExportRun.invoice)],
    "surveys": [(signals.SURVEYS, ExportRun.survey)],
    "company_events": [(signals.COMPANY_EVENTS, ExportRun.company_event)],
    "health_overrides": [(signals.OVERRIDES, ExportRun.override)],
    "risks": [(signals.RISKS, ExportRun.risk)],
    "targets": [(aims.TARGETS, ExportRun.target)],
    "goals": [(aims.GOALS, ExportRun.goal)],
    "cs_costs": [(aims.COSTS, ExportRun.cost)],
}


class Exports:
    """Use cases of the export."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @asynccontextmanager
    async def run(self, principal: Principal, *, spill: Path) -> AsyncGenerator[ExportRun, None]:
        """One export, of one state of the whole workspace. `spill` is a folder for what is needed meanwhile."""
        if principal.role is not Role.admin:
            raise NotAllowed(f"Your role {principal.role.value} may not export.", remedy="Ask an admin to export.")
        profile = await self._store.workspace(principal.workspace)
        async with reads.snapshot(self._store, principal.workspace, spill) as taken:
            yield ExportRun(profile, principal.workspace, self._store.clock.now(), taken)
