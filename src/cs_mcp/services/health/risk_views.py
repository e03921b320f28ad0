"""How a risk case is shown."""

from __future__ import annotations

from datetime import date
from typing import Final

from cs_mcp.db.read_path import Row
from cs_mcp.domain.contract import Named, View, shown
from cs_mcp.domain.health.risks import RiskCase, RiskState

MITIGATION_SHOWN: Final = 2_000


class EvidenceLine(View):
    what: str
    record: str | None = None
    on: date | None = None

    def text(self, nonce: str) -> str:
        source = ", ".join(str(part) for part in (self.record, self.on) if part)
        return f"  - {shown(self.what, 500)}" + (f" ({shown(source)})" if source else "")


class RiskView(View):
    """A risk case with its evidence, oldest first; `account` is left out inside an account."""

    id: str
    version: int
    account: Named | None = None
    category: str
    state: str
    severity: str | None = None
    owner: Named | None = None
    opened_on: date
    due_on: date | None = None
    overdue: bool = False
    summary: str | None = None
    mitigation: str | None = None
    outcome: str | None = None
    closed_on: date | None = None
    evidence: list[EvidenceLine] = []

    def text(self, nonce: str) -> str:
        of = f" of {self.account.text(nonce)}" if self.account else ""
        parts = [
            self.state,
            self.severity,
            f"opened {self.opened_on}",
            f"due {self.due_on}{' OVERDUE' if self.overdue else ''}" if self.due_on else "no due day",
            f"owner {self.owner.text(nonce)}" if self.owner else "no owner",
            f"closed {self.closed_on}" if self.closed_on else "",
            f"v{self.version}",
        ]
        lines = [
            f"- risk {self.category} ({self.id}){of}: " + ", ".join(part for part in parts if part),
            f"  {shown(self.summary, 500)}" if self.summary else "",
            f"  Mitigation: {shown(self.mitigation, MITIGATION_SHOWN)}" if self.mitigation else "",
            f"  Outcome: {shown(self.outcome, 500)}" if self.outcome else "",
            *(one.text(nonce) for one in self.evidence),
        ]
        return "\n".join(line for line in lines if line)


def risk_view(case: RiskCase, account_name: str, today: date, names: dict[str, str]) -> RiskView:
    is_open = case.state is RiskState.open
    return RiskView(
        id=case.id,
        version=case.version,
        account=Named(id=case.account_id, name=account_name),
        category=case.category.value,
        state=case.state.value,
        severity=case.severity.value if case.severity else None,
        owner=Named(id=case.owner_id, name=names.get(case.owner_id, "?")) if case.owner_id else None,
        opened_on=case.opened_on,
        due_on=case.due_on,
        overdue=is_open and case.due_on is not None and case.due_on < today,
        summary=case.summary,
        mitigation=case.mitigation,
        outcome=case.outcome,
        closed_on=case.closed_on,
        evidence=[EvidenceLine(what=one.what, record=one.record, on=one.on) for one in case.evidence],
    )


def risk_of_row(row: Row, today: date) -> RiskView:
    """The same from a row with `owner_name`, inside its account."""
    names = {row["owner_id"]: row.get("owner_name") or "?"}
    return risk_view(RiskCase.model_validate(row), "", today, names).model_copy(update={"account": None})
