"""Expansion opportunities of an import. A won one posts nothing here: the source's ledger, or its subscriptions, do."""

from __future__ import annotations

from typing import Any, Final

from cs_mcp.db.opportunities.opportunities import OpportunityRow
from cs_mcp.db.read_path import Row
from cs_mcp.domain.opportunities.opportunities import OpportunityStage
from cs_mcp.domain.text import clean_name, clean_text
from cs_mcp.services.imports.columns import Columns, Concept, Known, Told, minor_of, taken
from cs_mcp.services.imports.report import ImportedRow, Looks, Refused
from cs_mcp.services.imports.sheets import Sheet

_CLOSED: Final = frozenset(stage.value for stage in OpportunityStage if stage.is_closed)
# What a win here has posted by: the source does not take that back by telling an older state.
_POSTED: Final = ("stage", "amount_minor", "currency", "closed_on", "account_id")


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def opportunity(told: Told, known: Known) -> Columns:
    at = known.account_of(told)
    currency = told.get("currency") or at["currency"]
    name = clean_name(told["name"])
    if not name:
        raise Refused("name: it holds nothing that can be seen")
    columns: Columns = {"account_id": at["id"], "name": name, "kind": told["kind"].value, "currency": currency}
    columns |= taken(told, _same("trigger", "stage", "early_answer"), lambda value: value.value)
    columns |= taken(told, _same("product", "department"), clean_name)
    columns |= taken(told, _same("hypothesis", "success_criteria", "lost_reason"), clean_text)
    columns |= taken(told, _same("seats", "pilot_from", "pilot_to", "opened_on", "expected_on", "closed_on"))
    columns |= taken(told, {"amount": "amount_minor"}, lambda amount: minor_of(amount, currency, "amount"))
    if "owner_email" in told:
        columns["owner_id"] = known.member_of(told, "owner_email")
    if columns.get("closed_on") is None:
        columns.pop("closed_on", None)  # who is told closed without a day closed when that was first told
    _check(told, columns, known)
    if currency != at["currency"]:
        what = f"opportunity {told['opportunity_id']} is in {currency}, its account in {at['currency']}"
        known.warnings.add(Looks.no_rate, what)
    return columns


def _check(told: Told, columns: Columns, known: Known) -> None:
    closed_on, stage = columns.get("closed_on"), columns.get("stage")
    if closed_on is not None and closed_on > known.today:
        raise Refused(f"closed_on: {closed_on} is in the future")
    if closed_on is not None and stage not in _CLOSED:
        raise Refused(f"closed_on: {closed_on} goes with stage won or lost")
    if stage == OpportunityStage.won.value and not columns.get("amount_minor"):
        raise Refused("amount: a won opportunity needs one")
    starts, ends = columns.get("pilot_from"), columns.get("pilot_to")
    if starts is not None and ends is not None and ends < starts:
        known.warnings.add(Looks.dates, f"the pilot of {told['opportunity_id']} ends on {ends}, before it starts")


def _first(columns: Columns, known: Known) -> Columns:
    first: Columns = {"stage": OpportunityStage.identified.value, "evidence": [], "opened_on": known.today}
    if columns.get("stage") in _CLOSED:
        first["closed_on"] = known.today
    return first


def _settled(before: Row, columns: Columns, known: Known) -> Columns:
    if columns.get("stage") in _CLOSED and columns.get("closed_on") is None:
        return {"closed_on": before["closed_on"] or known.today}
    return {"closed_on": None} if "stage" in columns and columns["stage"] not in _CLOSED else {}


class OpportunitySheet(Sheet):
    concept = Concept(OpportunityRow, opportunity, _first, _settled)

    def columns_of(self, row: ImportedRow, before: Row | None) -> Columns:
        columns = super().columns_of(row, before)
        if before is None or before["movement_id"] is None:
            return columns
        kept: dict[str, Any] = {name: before[name] for name in _POSTED}
        if any(name in columns and columns[name] != value for name, value in kept.items()):
            self.known.warnings.add(Looks.won_here, f"{row.source_id} ({before['id']})")
        return columns | kept
