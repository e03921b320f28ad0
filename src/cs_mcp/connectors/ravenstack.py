"""RavenStack, a synthetic SaaS company by Rivalytics (MIT): five CSV files, read as the records of the import format.

A source of arithmetic and of data quality only: its churn is drawn independently of all else it records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cs_mcp.connectors.cells import shown
from cs_mcp.connectors.reading import Reading, SourceFile, UnreadableFile, folder_at
from cs_mcp.connectors.records import ChurnReason
from cs_mcp.connectors.tables import Cells, Columns, csv_rows

_SUBSCRIPTIONS: Final = "ravenstack_subscriptions.csv"
_USAGE: Final = "ravenstack_feature_usage.csv"
_CURRENCY: Final = "USD"  # the churn events' refunds say so ("refund_amount_usd"); the rest names none
_SEVERITY: Final = {"urgent": "1", "high": "2", "medium": "3", "low": "4"}
# RavenStack states no term. What is billed at once is the least a customer is bound to.
_TERM_MONTHS: Final = {"annual": "12", "monthly": "1"}
# "budget" says neither that the price was wrong nor that the company changed, and "unknown" says nothing.
_CHURN_REASON: Final[dict[str, ChurnReason]] = {
    "features": "product",
    "support": "process",
    "competitor": "competition",
    "pricing": "price",
}


def read(path: Path) -> Reading:
    """Whichever of `ravenstack_accounts.csv`, `…_subscriptions.csv`, `…_feature_usage.csv`, … are there."""
    found = {file.name: file for file in folder_at(path)}
    layouts = [
        _Layout("accounts", "ravenstack_accounts.csv", _ACCOUNT_COLUMNS, _account),
        _Layout("subscriptions", _SUBSCRIPTIONS, _SUBSCRIPTION_COLUMNS, _subscription),
        _Layout("usage", _USAGE, _USAGE_COLUMNS, _Usage(path).translated),
        _Layout("tickets", "ravenstack_support_tickets.csv", _TICKET_COLUMNS, _ticket),
        _Layout("churn", "ravenstack_churn_events.csv", _CHURN_COLUMNS, _churn),
    ]
    files = [layout.file(found.pop(layout.file_name)) for layout in layouts if layout.file_name in found]
    if not files:
        raise UnreadableFile(
            f"{path} holds no file of RavenStack.",
            remedy=f"Its files are {', '.join(layout.file_name for layout in layouts)}.",
        )
    return Reading("ravenstack", files, sorted(found))


@dataclass(frozen=True)
class _Layout:
    """How one file stands for ours: `columns` (field → column) are taken over, then `reworked` replaces some."""

    kind: str
    file_name: str
    columns: dict[str, str]
    reworked: Callable[[Cells], Cells]

    def file(self, path: Path) -> SourceFile:
        def translated(cells: Cells) -> Cells:
            return {field: cells[column] for field, column in self.columns.items()} | self.reworked(cells)

        columns = frozenset(self.columns.values())
        return SourceFile(self.kind, path, path.stat().st_size, Columns(columns, columns), translated, self.columns)


_ACCOUNT_COLUMNS: Final = {
    "account_id": "account_id",
    "name": "account_name",
    "industry": "industry",
    "created_on": "signup_date",
    "custom.country": "country",
    "custom.referral_source": "referral_source",
    "custom.plan_tier": "plan_tier",
    "custom.seats": "seats",
    "custom.is_trial": "is_trial",
    "custom.churn_flag": "churn_flag",
}


def _account(_cells: Cells) -> Cells:
    return {"currency": _CURRENCY}


# `end_date` is the first day without: it is set on exactly the subscriptions flagged as churned, never where a term ran
# out; and accounts that replace a subscription start the next one on that day (53 do, against 24 on the day after), so
# counting it as a day under contract would count both.
_SUBSCRIPTION_COLUMNS: Final = {
    "subscription_id": "subscription_id",
    "account_id": "account_id",
    "product": "plan_tier",
    "starts_on": "start_date",
    "canceled_on": "end_date",
    "arr": "arr_amount",
    "seats": "seats",
    "trial": "is_trial",
    "term_months": "billing_frequency",
    "auto_renew": "auto_renew_flag",
}


def _subscription(cells: Cells) -> Cells:
    return {"currency": _CURRENCY, "term_months": _known(_TERM_MONTHS, cells, "billing_frequency")}


_USAGE_COLUMNS: Final = {
    "account_id": "subscription_id",
    "on": "usage_date",
    "feature": "feature_name",
    "value": "usage_count",
}


class _Usage:
    """Usage by subscription, told by account, day and feature.

    An account may use one feature through two subscriptions on a day, and usage ids repeat, so no row has a key of its
    own: each of them carries the sum of its account, day and feature, and importing them in any order is right.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._account_of: dict[str, str] = {}
        self._sums: dict[tuple[str, str, str], int] = {}

    def translated(self, cells: Cells) -> Cells:
        if not self._account_of:
            self._prepare()
        account = self._account_of.get(cells["subscription_id"])
        if account is None:
            raise ValueError(f"subscription_id: no subscription is called {shown(cells['subscription_id'])}")
        total = self._sums.get((account, cells["usage_date"], cells["feature_name"]))
        value = cells["usage_count"] if total is None or not cells["usage_count"].isdecimal() else str(total)
        return {"account_id": account, "metric": "feature_events", "value": value}

    def _prepare(self) -> None:
        for row in _columns_of(self._folder / _SUBSCRIPTIONS, "subscription_id", "account_id"):
            self._account_of[row["subscription_id"]] = row["account_id"]
        sums: dict[tuple[str, str, str], int] = {}
        shared: set[tuple[str, str, str]] = set()
        for row in _columns_of(self._folder / _USAGE, *_USAGE_COLUMNS.values()):
            key = (self._account_of.get(row["subscription_id"], ""), row["usage_date"], row["feature_name"])
            if row["usage_count"].isdecimal():
                if key in sums:
                    shared.add(key)
                sums[key] = sums.get(key, 0) + int(row["usage_count"])
        self._sums = {key: sums[key] for key in shared}


def _columns_of(path: Path, *names: str) -> Iterator[Cells]:
    rows = csv_rows(path, Columns(frozenset(names), frozenset(names)))
    return (row.cells for row in rows if row.broken is None)


_TICKET_COLUMNS: Final = {
    "ticket_id": "ticket_id",
    "account_id": "account_id",
    "severity": "priority",
    "opened_at": "submitted_at",
    "first_response_at": "first_response_time_minutes",
    "resolved_at": "closed_at",
    "escalated": "escalation_flag",
    "csat": "satisfaction_score",
}


def _ticket(cells: Cells) -> Cells:
    opened = _instant(cells, "submitted_at")
    minutes = cells["first_response_time_minutes"].strip()
    if minutes and not (minutes.isdecimal() and len(minutes) < 9):
        raise ValueError(f"first_response_time_minutes: {shown(minutes)} is not a number of minutes")
    answered = opened + timedelta(minutes=int(minutes)) if opened and minutes else None
    resolved = _instant(cells, "closed_at")
    return {
        "severity": _known(_SEVERITY, cells, "priority"),
        "opened_at": opened.isoformat() if opened else "",
        "first_response_at": answered.isoformat() if answered else "",
        "resolved_at": resolved.isoformat() if resolved else "",
    }


def _instant(cells: Cells, column: str) -> datetime | None:
    """A bare day or "2023-07-28 3:00", as UTC: `resolution_time_hours` counts from the midnight of a bare day."""
    text = cells[column].strip()
    if not text:
        return None
    for form in ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise ValueError(f"{column}: {shown(text)} is not a time (2024-01-31, or 2024-01-31 9:30)")


_CHURN_COLUMNS: Final = {
    "account_id": "account_id",
    "churned_on": "churn_date",
    "reason": "reason_code",
    "note": "feedback_text",
}


def _churn(cells: Cells) -> Cells:
    code = cells["reason_code"].strip()
    reason = _CHURN_REASON.get(code, "")
    said = [cells["feedback_text"].strip(), "" if reason else f"recorded reason: {code}"]
    return {"reason": reason, "note": "; ".join(part for part in said if part)}


def _known(meanings: dict[str, str], cells: Cells, column: str) -> str:
    text = cells[column].strip()
    if text and text not in meanings:
        raise ValueError(f"{column}: {shown(text)} is not one of {', '.join(meanings)}")
    return meanings.get(text, "")
