"""What is aimed at and what it costs, of an import: targets of metrics, goals of people and teams, costs of CS."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Final

from cs_mcp.db.revenue.targets import CsCostRow, GoalRow, TargetRow
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.revenue.targets import GoalSubject
from cs_mcp.domain.text import clean_name
from cs_mcp.services.imports.columns import Columns, Concept, Known, Told, minor_of, taken
from cs_mcp.services.imports.report import ImportedRow, Refused
from cs_mcp.services.imports.sheets import Sheet

_METRIC: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_KIND_LENGTH: Final = 32


def _metric(told: Told) -> str:
    if _METRIC.fullmatch(told["metric"]) is None:
        raise Refused(f"metric: {told['metric'][:60]!r} is no name of a metric, such as nrr or renewal_rate")
    return told["metric"]


def _value(told: Told, known: Known) -> Columns:
    """A number, or an amount with its currency; one of the two."""
    value, amount = told.get("value"), told.get("amount")
    if (value is None) == (amount is None):
        raise Refused("value: give either a value or an amount")
    if value is not None:
        return {"value": float(value), "amount_minor": None, "currency": None}
    assert amount is not None
    currency = told.get("currency") or known.currency
    return {"value": None, "amount_minor": minor_of(amount, currency, "amount"), "currency": currency}


def target(told: Told, known: Known) -> Columns:
    columns: Columns = {"metric": _metric(told), "from_on": told["from_on"]} | _value(told, known)
    columns |= taken(told, {"segment": "segment"}, lambda segment: segment.value)
    columns |= taken(told, {"to_on": "to_on"})
    if columns.get("to_on") is not None and columns["to_on"] < told["from_on"]:
        raise Refused(f"to_on: {columns['to_on']} is before from_on {told['from_on']}")
    if "owner_email" in told:
        columns["owner_id"] = known.member_of(told, "owner_email")
    return columns


def goal(told: Told, known: Known) -> Columns:
    starts = _quarter_start(known.calendar, told)
    columns: Columns = {"metric": _metric(told), "quarter_start": starts} | _value(told, known)
    columns |= taken(told, {"subject": "subject"}, lambda subject: subject.value)
    if "user_email" in told:
        columns["user_id"] = known.member_of(told, "user_email")
        if told["user_email"] and columns["user_id"] is None:
            raise Refused(f"user_email: nobody has the e-mail {told['user_email']!r}")  # else it would be everybody's
    return columns


def _quarter_start(calendar: Calendar, told: Told) -> date:
    quarter = calendar.quarter_of(told["quarter_start"])
    if quarter.starts_on != told["quarter_start"]:
        raise Refused(
            f"quarter_start: {told['quarter_start']} lies in {quarter.label}, which starts {quarter.starts_on}"
        )
    return quarter.starts_on


def cost(told: Told, known: Known) -> Columns:
    currency = told.get("currency") or known.currency
    columns: Columns = {
        "month": told["on"].replace(day=1),
        "amount_minor": minor_of(told["amount"], currency, "amount"),
        "currency": currency,
        "kind": (clean_name(told.get("note") or "") or "cost")[:_KIND_LENGTH],
    }
    if "user_email" in told:
        columns["user_id"] = known.member_of(told, "user_email")
        if told["user_email"] and columns["user_id"] is None:
            raise Refused(f"user_email: nobody has the e-mail {told['user_email']!r}")
    return columns


class _AimSheet(Sheet):
    """Rows that belong to no account."""

    async def prepare(self, rows: Sequence[ImportedRow]) -> None:
        pass


class TargetSheet(_AimSheet):
    concept = Concept(TargetRow, target, lambda _columns, _known: {})


class GoalSheet(_AimSheet):
    concept = Concept(GoalRow, goal, lambda _columns, _known: {"subject": GoalSubject.user.value})


class CostSheet(_AimSheet):
    concept = Concept(CsCostRow, cost, lambda _columns, _known: {})
