"""Expansion: an opportunity with its evidence, and the stages it moves through. What finds one is in `expansion`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from cs_mcp.domain.errors import Conflict, Invalid
from cs_mcp.domain.health.risks import MOST_EVIDENCE, Evidence
from cs_mcp.domain.records import Record


class OpportunityKind(StrEnum):
    """What grows; the ledger keeps it as the kind of the expansion."""

    seat = "seat"
    usage = "usage"
    feature = "feature"
    cross_sell = "cross_sell"


class ExpansionTrigger(StrEnum):
    """What led to it: expansion is led by the customer, so each opportunity can say by what."""

    near_limit = "near_limit"
    new_department = "new_department"
    new_use_case = "new_use_case"
    company_growth = "company_growth"
    customer_asked = "customer_asked"
    whitespace = "whitespace"


class OpportunityStage(StrEnum):
    identified = "identified"
    qualified = "qualified"
    proposed = "proposed"
    negotiation = "negotiation"
    won = "won"
    lost = "lost"

    @property
    def is_closed(self) -> bool:
        return self in (OpportunityStage.won, OpportunityStage.lost)


class EarlyAnswer(StrEnum):
    """What the customer says when asked early whether they would buy if the pilot meets its criteria."""

    yes = "yes"
    no = "no"


class Opportunity(Record):
    """Money in minor units of `currency`, as ARR a year; the account's currency."""

    account_id: str
    name: str
    kind: OpportunityKind
    trigger: ExpansionTrigger | None = None
    evidence: list[Evidence] = []
    hypothesis: str | None = None
    product: str | None = None
    department: str | None = None
    subscription_id: str | None = None  # what it grows; once won, what carries its ARR
    seats: int | None = None  # seats it adds
    pilot_from: date | None = None
    pilot_to: date | None = None
    success_criteria: str | None = None
    stage: OpportunityStage = OpportunityStage.identified
    amount_minor: int | None = None
    currency: str
    opened_on: date
    expected_on: date | None = None
    closed_on: date | None = None
    early_answer: EarlyAnswer | None = None
    lost_reason: str | None = None
    owner_id: str | None = None
    movement_id: str | None = None  # what winning it posted

    def with_evidence(self, found: Iterable[Evidence]) -> Opportunity:
        """With what is new in it; past the most that is kept, the oldest gives way."""
        known = {_mark(one) for one in self.evidence}
        kept = list(self.evidence)
        for one in found:
            if _mark(one) not in known:
                known.add(_mark(one))
                kept.append(one)
        return self.changed(evidence=kept[-MOST_EVIDENCE:]) if len(kept) > len(self.evidence) else self


def _mark(evidence: Evidence) -> tuple[str | None, str, date | None]:
    return (evidence.record, evidence.what, evidence.on)


ORDER: Final = (
    OpportunityStage.identified,
    OpportunityStage.qualified,
    OpportunityStage.proposed,
    OpportunityStage.negotiation,
    OpportunityStage.won,
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """A field of save_opportunity that a stage needs; `owned` is whether anybody is responsible."""

    what: str
    is_met: Callable[[Opportunity, bool], bool]


REQUIRED: Final[dict[OpportunityStage, tuple[Requirement, ...]]] = {
    OpportunityStage.qualified: (
        Requirement("owner", lambda _, owned: owned),
        Requirement("hypothesis", lambda one, _: one.hypothesis is not None),
        Requirement("evidence or trigger", lambda one, _: bool(one.evidence) or one.trigger is not None),
    ),
    OpportunityStage.proposed: (
        Requirement("amount", lambda one, _: (one.amount_minor or 0) > 0),
        Requirement("success_criteria", lambda one, _: one.success_criteria is not None),
    ),
    OpportunityStage.negotiation: (Requirement("expected_on", lambda one, _: one.expected_on is not None),),
    OpportunityStage.won: (Requirement("amount", lambda one, _: (one.amount_minor or 0) > 0),),
    OpportunityStage.lost: (Requirement("lost_reason", lambda one, _: one.lost_reason is not None),),
}


def lacking(opportunity: Opportunity, to: OpportunityStage, *, owned: bool) -> list[str]:
    return [needed.what for needed in REQUIRED.get(to, ()) if not needed.is_met(opportunity, owned)]


def next_stage(stage: OpportunityStage) -> OpportunityStage | None:
    return None if stage.is_closed else ORDER[ORDER.index(stage) + 1]


def _skipped(stage: OpportunityStage, to: OpportunityStage) -> Sequence[OpportunityStage]:
    """Losing skips nothing: it can happen at any stage."""
    return () if to is OpportunityStage.lost else ORDER[ORDER.index(stage) + 1 : ORDER.index(to)]


def refuse_closed(opportunity: Opportunity) -> None:
    if opportunity.stage.is_closed:
        raise Conflict(
            f"{opportunity.id} is {opportunity.stage.value} since {opportunity.closed_on}. Nothing was done.",
            remedy=f"Find the write that closed it with list_changes (record {opportunity.id}) and undo it: "
            "undo_changes. What came after is a new opportunity.",
        )


def check_move(opportunity: Opportunity, to: OpportunityStage, *, owned: bool, reason: str | None) -> None:
    """Raises with everything that keeps it from entering `to`. The fields of the move are set already."""
    at = opportunity.stage
    if missing := lacking(opportunity, to, owned=owned):
        raise Invalid(
            f"{opportunity.id} cannot move from {at.value} to {to.value}. Missing: {', '.join(missing)}. "
            "Nothing was done.",
            remedy="Give what is missing in the same call of save_opportunity.",
        )
    if reason is not None or to is at:
        return
    if over := _skipped(at, to):
        raise Invalid(
            f"From {at.value} to {to.value} skips {', '.join(stage.value for stage in over)}. Nothing was done.",
            remedy=f"Move to {over[0].value} first, or say in `reason` why the stages are skipped.",
        )
    if to in ORDER and ORDER.index(to) < ORDER.index(at):
        raise Invalid(
            f"{to.value} is before {at.value}. Nothing was done.", remedy="Say in `reason` why it moves back."
        )


def check_dates(opportunity: Opportunity) -> None:
    start, end = opportunity.pilot_from, opportunity.pilot_to
    if start is not None and end is not None and end < start:
        raise Invalid(
            f"The pilot ends on {end}, before it starts on {start}. Nothing was done.",
            remedy="Swap pilot_from and pilot_to, or correct one of them.",
        )
