"""How opportunities, candidates for one, and what an account does not have yet are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import ClassVar

from cs_mcp.domain.contract import Amount, Page, View, shown
from cs_mcp.domain.opportunities.expansion import Finding
from cs_mcp.domain.opportunities.opportunities import Opportunity
from cs_mcp.services.accounts.views import PersonRef
from cs_mcp.services.health.risk_views import EvidenceLine

EVIDENCE_SHOWN = 2


class OpportunityView(View):
    """An opportunity. `early` says why asking now would be too early; in a list, the newest evidence alone."""

    id: str
    version: int
    account: PersonRef
    name: str
    kind: str
    trigger: str | None = None
    stage: str
    amount: Amount | None = None
    expected_on: date | None = None
    owner: PersonRef | None = None
    product: str | None = None
    department: str | None = None
    seats: int | None = None
    early: list[str] = []
    early_answer: str | None = None
    evidence: list[EvidenceLine] = []
    more_evidence: int | None = None
    hypothesis: str | None = None
    pilot_from: date | None = None
    pilot_to: date | None = None
    success_criteria: str | None = None
    subscription_id: str | None = None
    opened_on: date | None = None
    closed_on: date | None = None
    lost_reason: str | None = None
    movement_id: str | None = None

    def text(self, nonce: str) -> str:
        pilot = f"pilot {self.pilot_from or '?'} to {self.pilot_to or '?'}" if self.pilot_from or self.pilot_to else ""
        parts = [
            f"{self.kind}" + (f" after {self.trigger}" if self.trigger else ""),
            self.stage + (f" {self.closed_on}" if self.closed_on else ""),
            str(self.amount) if self.amount else "no amount",
            f"expected {self.expected_on}" if self.expected_on else "",
            f"owner {self.owner.text(nonce)}" if self.owner else "no owner",
            f"product {shown(self.product)}" if self.product else "",
            f"department {shown(self.department)}" if self.department else "",
            f"{self.seats} seats" if self.seats else "",
            pilot,
            f"early answer {self.early_answer}" if self.early_answer else "",
            f"lost for {shown(self.lost_reason, 500)}" if self.lost_reason else "",
            f"posted {self.movement_id}" if self.movement_id else "",
            f"v{self.version}",
        ]
        head = f"- {shown(self.name)} ({self.id}) of {self.account.text(nonce)}: "
        lines = [head + ", ".join(part for part in parts if part)]
        for title, words in (("Hypothesis", self.hypothesis), ("Success criteria", self.success_criteria)):
            if words:
                lines.append(f"  {title}: {shown(words, 500)}")
        if self.early:
            lines.append(f"  Too early to ask: {'; '.join(self.early)}")
        lines += [one.text(nonce) for one in self.evidence]
        if self.more_evidence:
            lines.append(f"  - {self.more_evidence} more")
        return "\n".join(lines)


class OpportunitySum(View):
    """Opportunities in one currency, over all matches; with a `group`, those of it."""

    group: str | None = None
    opportunities: int
    amount: Amount

    def text(self, nonce: str) -> str:
        name = f"{shown(self.group)}: " if self.group else ""
        return f"{name}{self.opportunities} opportunit{'y' if self.opportunities == 1 else 'ies'}, {self.amount}"


class Found(View):
    """One thing that speaks for an expansion, as save_opportunity takes it."""

    trigger: str
    kind: str
    what: str
    on: date
    department: str | None = None
    record: str | None = None

    @classmethod
    def of(cls, finding: Finding) -> Found:
        return cls(
            trigger=finding.trigger.value,
            kind=finding.kind.value,
            what=finding.what,
            on=finding.on,
            department=finding.department,
            record=finding.record,
        )

    def text(self, nonce: str) -> str:
        return f"  - {self.trigger} ({self.kind}): {shown(self.what, 300)}" + (
            f" ({self.record})" if self.record else ""
        )


class Candidate(View):
    """An account that evidence was found for and nobody works on yet."""

    account: PersonRef
    arr: Amount
    health_band: str
    found: list[Found]
    early: list[str] = []

    def text(self, nonce: str) -> str:
        lines = [f"- {self.account.text(nonce)}: ARR {self.arr}, {self.health_band}"]
        lines += [found.text(nonce) for found in self.found]
        return "\n".join(lines + ([f"  Too early to ask: {'; '.join(self.early)}"] if self.early else []))


class Gap(View):
    """A product the account lacks; `have_it` of `of` paying accounts of its segment have it."""

    product: str
    have_it: int
    of: int

    def text(self, nonce: str) -> str:
        return f"{shown(self.product)} ({self.have_it} of {self.of} of its segment have it)"


class WhitespaceLine(View):
    account: PersonRef
    arr: Amount
    has: list[str]
    lacks: list[Gap]

    def text(self, nonce: str) -> str:
        has = ", ".join(shown(name) for name in self.has) or "nothing that is named"
        return f"- {self.account.text(nonce)} has {has}; lacks " + ", ".join(gap.text(nonce) for gap in self.lacks)


class OpportunityPage(Page[OpportunityView]):
    """`sums` tie out to all matches, those on other pages included. Candidates and whitespace come when looked for."""

    heading: ClassVar[str] = "Expansion opportunities by expected day"
    scope: str
    as_of: date
    sums: list[OpportunitySum] = []
    groups: list[OpportunitySum] = []
    candidates: list[Candidate] | None = None
    whitespace: list[WhitespaceLine] | None = None

    def title(self) -> str:
        sums = "; ".join(total.text("") for total in self.sums)
        return f"{self.heading}, {self.scope}, as of {self.as_of}" + (f" — all: {sums}" if sums else "")

    def footer(self) -> list[str]:
        lines = [group.text("") for group in self.groups]
        if self.candidates is not None:
            lines += ["## Evidence nobody works on yet", *([one.text("") for one in self.candidates] or ["none"])]
        if self.whitespace is not None:
            lines += ["## Products they do not have", *([one.text("") for one in self.whitespace] or ["none"])]
        return lines + super().footer()


def opportunity_view(
    opportunity: Opportunity,
    account_name: str,
    people: Mapping[str, str],
    *,
    responsible: str | None,
    early: Sequence[str],
    full: bool,
) -> OpportunityView:
    """`people`: names by id. `responsible`: who owns it, or its account."""
    evidence = sorted(opportunity.evidence, key=lambda one: one.on or date.min, reverse=True)
    shown_evidence = evidence if full else evidence[:EVIDENCE_SHOWN]
    amount = opportunity.amount_minor
    view = OpportunityView(
        id=opportunity.id,
        version=opportunity.version,
        account=PersonRef(id=opportunity.account_id, name=account_name),
        name=opportunity.name,
        kind=opportunity.kind.value,
        trigger=opportunity.trigger.value if opportunity.trigger else None,
        stage=opportunity.stage.value,
        amount=Amount.of(amount, opportunity.currency) if amount is not None else None,
        expected_on=opportunity.expected_on,
        owner=PersonRef(id=responsible, name=people.get(responsible, "?")) if responsible else None,
        product=opportunity.product,
        department=opportunity.department,
        seats=opportunity.seats,
        early=[] if opportunity.stage.is_closed else list(early),
        early_answer=opportunity.early_answer.value if opportunity.early_answer else None,
        evidence=[EvidenceLine(what=one.what, record=one.record, on=one.on) for one in shown_evidence],
        more_evidence=len(evidence) - len(shown_evidence) or None,
        closed_on=opportunity.closed_on,
        lost_reason=opportunity.lost_reason,
    )
    if not full:
        return view
    names = (
        "hypothesis", "pilot_from", "pilot_to", "success_criteria", "subscription_id", "opened_on", "movement_id",
    )  # fmt: skip
    return view.model_copy(update={name: getattr(opportunity, name) for name in names})
