"""The lifecycle of an account: its stages in order, what must be true to leave each, and who leads it.

One table names every exit criterion, with the fact it looks at and what to do where it fails. A criterion whose fact
nothing tells yet is unknown: it is said, and blocks nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from cs_mcp.domain.accounts.accounts import Account, Band, OnboardingStatus, Stage, TeamRole, Tier

ORDER: Final = (
    Stage.onboarding,
    Stage.adoption,
    Stage.value_realization,
    Stage.expansion,
    Stage.renewal,
    Stage.advocacy,
)
REVIEW_FRESH: Final = timedelta(days=183)
VALUE_FRESH: Final = timedelta(days=365)
MOTION_DAYS: Final = 120
MOTION_DAYS_PLATINUM: Final = 180


class LifecycleFacts(BaseModel):
    """What the store knows of an account when its stage moves. None: not so, or nothing tells (`feeds` says which)."""

    model_config = ConfigDict(frozen=True)

    account: Account
    today: date
    kickoff_on: date | None = None
    last_review_on: date | None = None
    last_roi_on: date | None = None
    engaged_contacts: int = 0
    open_renewal_deadline_on: date | None = None  # the earliest: end of term less notice
    renewals: int = 0
    first_value_on: date | None = None
    value_confirmed_on: date | None = None
    opportunities_open: int | None = None
    stage_before_renewal: Stage | None = None
    # Kinds of facts that something records in this store; the others are unknown, not missing.
    feeds: frozenset[str] = frozenset()

    @property
    def in_motion(self) -> bool:
        """Whether an open renewal is in the window in which it is worked on."""
        deadline = self.open_renewal_deadline_on
        days = MOTION_DAYS_PLATINUM if self.account.tier is Tier.platinum else MOTION_DAYS
        return deadline is not None and (deadline - self.today).days <= days


class Verdict(StrEnum):
    met = "met"
    failed = "failed"
    unknown = "unknown"


class Finding(BaseModel):
    """One criterion against the facts."""

    model_config = ConfigDict(frozen=True)

    criterion: str
    says: str
    verdict: Verdict
    fact: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Criterion:
    """`met` is None where nothing tells; `fact` puts in words what was looked at."""

    name: str
    says: str
    met: Callable[[LifecycleFacts], bool | None]
    fact: Callable[[LifecycleFacts], str]
    remedy: str

    def judged(self, facts: LifecycleFacts) -> Finding:
        met = self.met(facts)
        verdict = Verdict.unknown if met is None else Verdict.met if met else Verdict.failed
        return Finding(criterion=self.name, says=self.says, verdict=verdict, fact=self.fact(facts), remedy=self.remedy)


class StageRule(NamedTuple):
    """Who leads an account in this stage, after how many days it counts as stuck, and what must hold to go on."""

    owner: TeamRole
    limit_days: int | None
    exit: tuple[Criterion, ...]


def _fresh(day: date | None, facts: LifecycleFacts, lasts: timedelta) -> bool:
    return day is not None and facts.today - day <= lasts


def _dated(day: date | None, what: str) -> str:
    return f"{what} on {day}" if day is not None else f"no {what} is recorded"


_ONBOARDED: Final[Criterion] = Criterion(
    "onboarding_complete",
    "onboarding is complete",
    lambda f: f.account.onboarding_status is OnboardingStatus.complete,
    lambda f: f"onboarding is {f.account.onboarding_status.value}",
    "Set onboarding_status 'complete' with update_account once it is.",
)
_STARTED: Final[Criterion] = Criterion(
    "kickoff_or_first_value",
    "a kickoff was held or first value was reached",
    lambda f: f.kickoff_on is not None or f.first_value_on is not None,
    lambda f: _dated(f.first_value_on or f.kickoff_on, "first value" if f.first_value_on else "kickoff"),
    "Log the kickoff with log_meeting, kind 'kickoff'.",
)
_SPONSORED: Final[Criterion] = Criterion(
    "executive_sponsor",
    "the executive sponsor is known",
    lambda f: f.account.executive_sponsor_id is not None,
    lambda f: f"executive sponsor {f.account.executive_sponsor_id or 'unknown'}",
    "Seat one with assign_sponsor, role 'executive_sponsor'.",
)
_CHAMPIONED: Final[Criterion] = Criterion(
    "champion",
    "a champion is known",
    lambda f: f.account.champion_id is not None,
    lambda f: f"champion {f.account.champion_id or 'unknown'}",
    "Seat one with assign_sponsor, role 'champion'.",
)
_REVIEWED: Final[Criterion] = Criterion(
    "review_held",
    f"a review was held in the last {REVIEW_FRESH.days} days",
    lambda f: _fresh(f.last_review_on, f, REVIEW_FRESH),
    lambda f: _dated(f.last_review_on, "review"),
    "Log a value_review, qbr or ebr with log_meeting.",
)
_MULTI_THREADED: Final[Criterion] = Criterion(
    "two_engaged_contacts",
    "at least two contacts are engaged",
    lambda f: f.engaged_contacts >= 2,
    lambda f: f"{f.engaged_contacts} active contacts met in the last 90 days",
    "Meet a second contact and log it with log_meeting.",
)
_ROI_SHOWN: Final[Criterion] = Criterion(
    "roi_shown",
    f"quantified ROI was shown in the last {VALUE_FRESH.days} days",
    lambda f: _fresh(f.last_roi_on, f, VALUE_FRESH),
    lambda f: _dated(f.last_roi_on, "meeting that showed ROI"),
    "Log the review that showed it with log_meeting, roi_shown true.",
)
_VALUE_CONFIRMED: Final[Criterion] = Criterion(
    "value_confirmed",
    "the customer confirmed a value realization",
    lambda f: f.value_confirmed_on is not None if "value" in f.feeds else None,
    lambda f: (
        _dated(f.value_confirmed_on, "confirmed value") if "value" in f.feeds else "value realizations are not recorded"
    ),
    "Record it with record_value.",
)
_EXPANDED: Final[Criterion] = Criterion(
    "no_opportunity_open",
    "no expansion opportunity is open",
    lambda f: f.opportunities_open == 0 if f.opportunities_open is not None else None,
    lambda f: (
        f"{f.opportunities_open} open opportunities"
        if f.opportunities_open is not None
        else "opportunities are not recorded"
    ),
    "Close them with save_opportunity.",
)
_NOT_RED: Final[Criterion] = Criterion(
    "health_not_red",
    "health is not red",
    lambda f: None if f.account.health_band is Band.unknown else f.account.health_band is not Band.red,
    lambda f: f"health is {f.account.health_band.value}",
    "Clear what makes it red: get_account shows the reasons.",
)
_RENEWED: Final[Criterion] = Criterion(
    "renewal_closed",
    "no renewal in its motion window is open",
    lambda f: not f.in_motion if f.renewals else None,
    lambda f: (
        f"an open renewal has its deadline on {f.open_renewal_deadline_on}"
        if f.in_motion
        else "no open renewal is in its window"
        if f.renewals
        else "renewals are not recorded"
    ),
    "Close the renewal as won or lost with move_renewal.",
)
IN_MOTION: Final[Criterion] = Criterion(
    "renewal_in_motion",
    f"a renewal is in its motion window ({MOTION_DAYS} days, platinum {MOTION_DAYS_PLATINUM})",
    lambda f: f.in_motion if f.renewals else None,
    lambda f: (
        _dated(f.open_renewal_deadline_on, "deadline of an open renewal") if f.renewals else "renewals are not recorded"
    ),
    "Wait for the window, or say in override_reason why the motion starts early.",
)

STAGES: Final[dict[Stage, StageRule]] = {
    Stage.onboarding: StageRule(TeamRole.onboarding_specialist, 90, (_ONBOARDED, _STARTED, _SPONSORED)),
    Stage.adoption: StageRule(TeamRole.csm, 180, (_CHAMPIONED, _REVIEWED, _MULTI_THREADED)),
    Stage.value_realization: StageRule(TeamRole.csm, 270, (_SPONSORED, _ROI_SHOWN, _VALUE_CONFIRMED)),
    Stage.expansion: StageRule(TeamRole.account_manager, None, (_NOT_RED, _EXPANDED)),
    Stage.renewal: StageRule(TeamRole.renewals_manager, 180, (_RENEWED,)),
    Stage.advocacy: StageRule(TeamRole.csm, None, ()),
    Stage.churned: StageRule(TeamRole.csm, None, ()),
}


class Move(NamedTuple):
    """A move judged: what the facts say of it, the stages it leaps, and why it needs a person's word, if it does."""

    findings: list[Finding]
    skipped: list[Stage]
    judgement: str | None

    @property
    def failed(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.verdict is Verdict.failed]


def judged(facts: LifecycleFacts, to: Stage) -> Move:
    """What stands against moving the account to `to`.

    Renewal is an interlude: it begins when a renewal comes into its window, from whichever stage, and goes back to the
    stage before it. Stages leapt over are left too, so their criteria count.
    """
    stage = facts.account.stage
    if to is Stage.churned:
        return Move([], [], "a churn")
    if stage is Stage.churned:
        return Move([], [], "a return from churned")
    if to is Stage.renewal:
        return Move([IN_MOTION.judged(facts)], [], None)
    findings: list[Finding] = []
    start = stage
    if stage is Stage.renewal:
        findings = _judge(STAGES[stage].exit, facts)
        before = facts.stage_before_renewal
        if to is before:
            return Move(findings, [], None)
        start = before or stage
    at, goal = ORDER.index(start), ORDER.index(to)
    if goal < at:
        return Move(findings, [], "a step back")
    between = [passed for passed in ORDER[at + 1 : goal] if passed is not Stage.renewal]
    left: list[Stage] = [start, *between] if start is not Stage.renewal else between
    for passed in left:
        findings += _judge(STAGES[passed].exit, facts)
    return Move(_once(findings), between, None)


def _judge(criteria: Sequence[Criterion], facts: LifecycleFacts) -> list[Finding]:
    return [criterion.judged(facts) for criterion in criteria]


def _once(findings: Sequence[Finding]) -> list[Finding]:
    return list({finding.criterion: finding for finding in findings}.values())
