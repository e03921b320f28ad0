"""People's judgements of an import: risk cases, and overrides of health."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from cs_mcp.db.health.overrides import HealthOverrideRow
from cs_mcp.db.health.risks import RiskRow
from cs_mcp.db.read_path import Row
from cs_mcp.domain.health.risks import MOST_EVIDENCE, Evidence, RiskState
from cs_mcp.domain.text import clean_name, clean_text
from cs_mcp.services.imports.columns import Columns, Concept, Known, Told, taken
from cs_mcp.services.imports.report import ImportedRow, Refused
from cs_mcp.services.imports.sheets import Draft, Sheet

_DATED: Final = re.compile(r"(\d{4}-\d{2}-\d{2}) +(.+)", re.DOTALL)


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _refuse_to_come(told: Told, known: Known, *names: str) -> None:
    for name in names:
        if (day := told.get(name)) is not None and day > known.today:
            raise Refused(f"{name}: {day} is in the future")


def risk(told: Told, known: Known) -> Columns:
    _refuse_to_come(told, known, "opened_on", "closed_on")
    columns: Columns = {"account_id": known.account_of(told)["id"], "category": told["category"].value}
    columns |= taken(told, _same("severity"), lambda one: one.value) | taken(told, _same("due_on", "closed_on"))
    columns |= taken(told, _same("summary", "mitigation", "outcome"), clean_text)
    columns |= taken(told, _same("evidence"), lambda lines: [_evidence(line) for line in lines][-MOST_EVIDENCE:])
    columns["opened_on"] = told["opened_on"]
    # A case with a day on which it was closed is closed, whatever else is said of it.
    if told.get("closed_on") is not None:
        columns["state"] = RiskState.closed.value
    else:
        columns |= taken(told, _same("state"), lambda state: state.value)
    if columns.get("state") == RiskState.closed.value and columns.get("closed_on") is None:
        columns["closed_on"] = told["opened_on"]
    if "owner_email" in told:
        columns["owner_id"] = known.member_of(told, "owner_email")
    return columns


def _evidence(line: str) -> Columns:
    """What was seen, with the day that the line begins with."""
    dated = _DATED.fullmatch(line)
    try:
        on = date.fromisoformat(dated[1]) if dated else None
    except ValueError:
        on = None
    what = clean_name(dated[2] if dated and on else line)
    return Evidence(what=what, on=on).model_dump(mode="json")


def override(told: Told, known: Known) -> Columns:
    _refuse_to_come(told, known, "from_on", "ended_on")
    if told["expires_on"] < told["from_on"]:
        raise Refused(f"expires_on: {told['expires_on']} is before from_on {told['from_on']}")
    reason = clean_text(told["reason"])
    if not reason.strip():
        raise Refused("reason: it holds nothing that can be seen")
    columns: Columns = {
        "account_id": known.account_of(told)["id"],
        "band": told["band"],
        "reason": reason,
        "from_on": told["from_on"],
        "expires_on": told["expires_on"],
    }
    columns |= taken(told, _same("ended_on"))
    columns |= taken(told, {"score": "score_tenths"}, lambda score: round(score * 10))
    if "author_email" in told:
        columns["author_id"] = known.member_of(told, "author_email")
    return columns


class OverrideSheet(Sheet):
    concept = Concept(HealthOverrideRow, override, lambda _c, _k: {})


class RiskSheet(Sheet):
    """An account has one open case: a second one is refused, whoever opened the first."""

    concept = Concept(RiskRow, risk, lambda _c, _k: {"state": RiskState.open.value, "evidence": []})

    async def prepare(self, rows: Sequence[ImportedRow]) -> None:
        await super().prepare(rows)
        accounts = sorted({account["id"] for account in self.known.accounts.values()})
        self._open = await self.reads.open_cases(accounts)

    async def stored(self, rows: Sequence[ImportedRow]) -> dict[str, Row]:
        stored = await super().stored(rows)
        # What this very file closes makes room for what it opens.
        closing = {stored[row.source_id]["id"] for row in rows if row.source_id in stored and _closes(row.told)}
        self._open = {account: case for account, case in self._open.items() if case not in closing}
        return stored

    def columns_of(self, row: ImportedRow, before: Row | None) -> Columns:
        columns = super().columns_of(row, before)
        state = columns.get("state") or (before["state"] if before is not None else RiskState.open.value)
        if state == RiskState.open.value:
            case = before["id"] if before is not None else f"the case {row.source_id} of this file"
            there = self._open.setdefault(columns["account_id"], case)
            if there != case:
                raise Refused(f"account_id: {row.told['account_id']!r} has an open risk case already, {there}")
        return columns

    async def write(self, drafts: Sequence[Draft]) -> None:
        closed = [draft for draft in drafts if draft.before is not None and _closes(draft.row.told)]
        for part in (closed, [draft for draft in drafts if draft not in closed]):
            await super().write(part)


def _closes(told: Told) -> bool:
    state: Any = told.get("state")
    return told.get("closed_on") is not None or state is RiskState.closed
