"""What a renewal should have by when, counted back from its notice deadline, and the risks that facts name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from cs_mcp.domain.accounts.accounts import Tier
from cs_mcp.domain.renewals.renewals import OfferTier, Renewal, RenewalStage
from cs_mcp.domain.renewals.stages import ORDER, offered
from cs_mcp.domain.work.meetings import MeetingKind

MOTION_DAYS: Final = 120
PLATINUM_MOTION_DAYS: Final = 180
REVIEW_DAYS: Final = 90  # a value review is fresh this long
ROI_DAYS: Final = 180  # two quarters
REVIEWS: Final = frozenset({MeetingKind.value_review, MeetingKind.qbr, MeetingKind.ebr})


class RenewalRisk(StrEnum):
    """Codes short enough to stand in every row of a long list."""

    no_review = "no_review"
    no_sponsor = "no_sponsor"
    open_sev1 = "open_sev1"
    single_threaded = "single_threaded"
    price_without_roi = "price_without_roi"
    subscription_ended = "subscription_ended"


RISK_FORMULA: Final[dict[RenewalRisk, str]] = {
    RenewalRisk.no_review: (
        f"no value review, QBR or EBR held in the last {REVIEW_DAYS} days, deadline within {MOTION_DAYS} days"
    ),
    RenewalRisk.no_sponsor: "the seat of executive sponsor is vacant",
    RenewalRisk.open_sev1: "a ticket of severity 1 is open",
    RenewalRisk.single_threaded: f"fewer than two active contacts met in the last {REVIEW_DAYS} days",
    RenewalRisk.price_without_roi: f"amount above today's ARR, no ROI shown in a meeting of the last {ROI_DAYS} days",
    RenewalRisk.subscription_ended: "its subscription is canceled or over",
}


class Facts(NamedTuple):
    """What risks are judged by; `engaged` counts active contacts met lately. None: not known, so not judged."""

    deadline_on: date
    amount_minor: int
    arr_minor: int
    has_sponsor: bool
    reviewed: bool | None
    roi_shown: bool | None
    engaged: int | None
    subscription_over: bool
    open_sev1: bool


def risks_of(facts: Facts, today: date) -> list[RenewalRisk]:
    days_left = (facts.deadline_on - today).days
    named = {
        RenewalRisk.no_review: days_left <= MOTION_DAYS and facts.reviewed is False,
        RenewalRisk.no_sponsor: not facts.has_sponsor,
        RenewalRisk.open_sev1: facts.open_sev1,
        RenewalRisk.single_threaded: facts.engaged is not None and facts.engaged < 2,
        RenewalRisk.price_without_roi: facts.amount_minor > facts.arr_minor and facts.roi_shown is False,
        RenewalRisk.subscription_ended: facts.subscription_over,
    }
    return [risk for risk, applies in named.items() if applies]


def motion_starts_on(deadline_on: date, tier: Tier) -> date:
    """The day from which the renewal is worked on."""
    return deadline_on - timedelta(days=PLATINUM_MOTION_DAYS if tier is Tier.platinum else MOTION_DAYS)


class CheckpointState(StrEnum):
    met = "met"
    missed = "missed"  # the next checkpoint has come without it
    due = "due"  # its time is now
    next = "next"
    later = "later"


class Checkpoint(NamedTuple):
    """`days` before the deadline; `lacks` is what it still asks for, each with the call that gives it."""

    days: int
    on: date
    asks: str
    state: CheckpointState
    lacks: list[str]


@dataclass(frozen=True, slots=True)
class _Plan:
    days: int
    asks: str
    lacks: Callable[[Renewal, bool], list[str]]


def _needs(renewal: Renewal, *, criteria: bool) -> list[str]:
    found = {
        "stakeholders confirmed (update_renewal stakeholders_confirmed_on)": renewal.stakeholders_confirmed_on,
        "decision criteria (update_renewal decision_criteria)": renewal.decision_criteria or not criteria,
        "procurement steps (update_renewal procurement_steps)": renewal.procurement_steps or not criteria,
    }
    return [what for what, has in found.items() if not has]


def _review(_renewal: Renewal, reviewed: bool) -> list[str]:
    return [] if reviewed else ["a value review (log_meeting kind value_review)"]


def _proposal(renewal: Renewal, _reviewed: bool) -> list[str]:
    lacking = [tier.value for tier in OfferTier if tier not in offered(renewal)]
    return [f"options {', '.join(lacking)} (update_renewal options)"] if lacking else []


def _negotiation(renewal: Renewal, _reviewed: bool) -> list[str]:
    there = ORDER.index(renewal.stage) >= ORDER.index(RenewalStage.negotiation) if renewal.stage in ORDER else True
    return [] if there else ["stage negotiation (move_renewal), or an executive escalation (create_tasks)"]


_PLANS: Final = (
    _Plan(180, "executive sponsor and stakeholders confirmed", lambda r, _: _needs(r, criteria=False)),
    _Plan(
        120, "stakeholders, decision criteria and procurement steps confirmed", lambda r, _: _needs(r, criteria=True)
    ),
    _Plan(90, "value review held", _review),
    _Plan(60, "proposal with good, better and best", _proposal),
    _Plan(30, "in negotiation; otherwise executive escalation", _negotiation),
)


def review_counts_from(deadline_on: date) -> date:
    """The first day whose value review counts for this cycle: fresh when the 90-day checkpoint comes."""
    return deadline_on - timedelta(days=2 * REVIEW_DAYS)


def checkpoints(renewal: Renewal, *, deadline_on: date, tier: Tier, reviewed: bool, today: date) -> list[Checkpoint]:
    """Earliest first. `reviewed`: a value review was held since `review_counts_from`."""
    plans = [plan for plan in _PLANS if plan.days <= MOTION_DAYS or tier is Tier.platinum]
    days = [deadline_on - timedelta(days=plan.days) for plan in plans]
    ends: Sequence[date] = [*days[1:], deadline_on + timedelta(days=1)]
    found: list[Checkpoint] = []
    is_next = True
    for plan, on, until in zip(plans, days, ends, strict=True):
        lacks = plan.lacks(renewal, reviewed)
        if not lacks:
            state = CheckpointState.met
        elif today >= on:
            state = CheckpointState.due if today < until else CheckpointState.missed
        else:
            state = CheckpointState.next if is_next else CheckpointState.later
            is_next = False
        found.append(Checkpoint(plan.days, on, plan.asks, state, lacks))
    return found
