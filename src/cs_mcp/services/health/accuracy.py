"""How well the health score foretold who left: the answer of get_health_accuracy and of `cs-mcp health backtest`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated, Final

import anyio.to_thread
from pydantic import Field, PrivateAttr

from cs_mcp.db.store import Store
from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.contract import LeftOut, Question, View
from cs_mcp.domain.health.accuracy import (
    AHEAD_DAYS,
    GOAL_AHEAD,
    Accuracy,
    Auc,
    Case,
    Foreseen,
    Share,
    accuracy,
    by_band,
    calibration,
    foreseen,
    sample,
    share_of,
    verdict,
    warned,
)
from cs_mcp.domain.identity import Principal, Reach
from cs_mcp.services.charts import HOW_TO_INSTALL, can_draw, png
from cs_mcp.services.health.accuracy_chart import accuracy_chart
from cs_mcp.services.health.backtest import Backtests, Every, Period, Progress, Replay
from cs_mcp.services.health.rubrics import Rubrics

HORIZON_DAYS: Final = 180
# Some seconds of work. Larger books are drawn from in an answer to a caller who waits.
MOST_CASES: Final = 30_000
_WARNINGS: Final = {"red": (Band.red,), "red or yellow": (Band.red, Band.yellow)}
_SEGMENTS: Final = ("smb", "mid_market", "enterprise", "unknown")
HOW: Final = (
    "Each customer with ARR on a scored day is a case; it left if its ARR came to nothing within the horizon. "
    "Precision: warned cases that left ÷ warned. Recall: cases that left and were warned of ÷ left. False alarms: "
    "cases that stayed and were warned of ÷ stayed. Flagged ahead: churns warned of on the last scored day 60 days or "
    "more before ÷ churns scored then. Brackets: 95 % interval, in which an account counts once."
)
KNOWN_THEN: Final = (
    "A day is scored from records dated on or before it, whenever they were entered: what was entered late with an "
    "earlier date counts from its date. A ticket's escalation and SLA outcome count from its opening. Today's are: "
    "touch model, when a sponsor was last confirmed, and a renewal day that no contract states. Segments are those of "
    "the ARR of the day. Overrides are left out."
)


class GetHealthAccuracy(Question):
    period_start: Annotated[date, Field(description="First scored day; 18 months back when absent")] | None = None
    period_end: Annotated[date, Field(description="Today when absent")] | None = None
    every: Every = "month"
    horizon_days: Annotated[int, Field(ge=AHEAD_DAYS, le=365, description="Churn within so many days counts")] = (
        HORIZON_DAYS
    )
    image: Annotated[bool, Field(description="Also draw churn by score as a PNG")] = False


class ShareView(View):
    """`value` is hits ÷ of; `low` and `high` bound it at 95 %."""

    value: float
    low: float
    high: float
    hits: int
    of: int
    accounts: int

    @classmethod
    def told(cls, share: Share | None) -> ShareView | None:
        if share is None:
            return None
        return cls(
            value=round(share.value, 4),
            low=round(share.low, 4),
            high=round(share.high, 4),
            hits=share.hits,
            of=share.of,
            accounts=share.accounts,
        )

    def text(self, nonce: str) -> str:
        return f"{_percent(self.value)} [{_percent(self.low)}–{_percent(self.high)}] {self.hits}/{self.of}"


class AucView(View):
    value: float
    low: float
    high: float
    churned_accounts: int
    other_accounts: int

    @classmethod
    def told(cls, auc: Auc | None) -> AucView | None:
        if auc is None:
            return None
        return cls(
            value=round(auc.value, 4),
            low=round(auc.low, 4),
            high=round(auc.high, 4),
            churned_accounts=auc.left,
            other_accounts=auc.stayed,
        )

    def text(self, nonce: str) -> str:
        return f"{self.value:.2f} [{self.low:.2f}–{self.high:.2f}]"


class WarningView(View):
    """What these bands would have been worth as a warning."""

    bands: str
    precision: ShareView | None = None
    recall: ShareView | None = None
    false_alarms: ShareView | None = None
    flagged_60_days_ahead: ShareView | None = None

    def text(self, nonce: str) -> str:
        told = {
            "precision": self.precision,
            "recall": self.recall,
            "false alarms": self.false_alarms,
            f"flagged ≥ {AHEAD_DAYS} days ahead": self.flagged_60_days_ahead,
        }
        parts = [f"{name} {share.text(nonce) if share else 'none to tell'}" for name, share in told.items()]
        return f"  - warned = {self.bands}: {'; '.join(parts)}"


class SliceView(View):
    """Figures over all customers, or those of one segment on the scored day."""

    name: str
    cases: int
    accounts: int
    churned_accounts: int
    without_score: int
    churns_too_early: int
    churn: ShareView | None = None
    auc: AucView | None = None
    warnings: list[WarningView]
    caution: str | None = None

    def text(self, nonce: str) -> str:
        lines = [
            f"- **{self.name}**: {self.cases} cases of {self.accounts} accounts, {self.churned_accounts} churned"
            + (f" ({self.churn.text(nonce)} of cases)" if self.churn else "")
            + (f", AUC {self.auc.text(nonce)}" if self.auc else "")
            + (f", {self.without_score} cases without a score" if self.without_score else "")
            + (f", {self.churns_too_early} churns with no score 60 days before" if self.churns_too_early else "")
            + (f". {self.caution}" if self.caution else "")
        ]
        return "\n".join(lines + [warning.text(nonce) for warning in self.warnings])


class BandView(View):
    """Who churned within the horizon, of the cases in a band."""

    band: Band
    churn: ShareView

    def text(self, nonce: str) -> str:
        return f"{self.band.value} {self.churn.text(nonce)}"


class BinView(View):
    """The same of the cases whose score lies from `score_from` to below `score_to`."""

    score_from: float
    score_to: float
    churn: ShareView

    def text(self, nonce: str) -> str:
        return self.line(1.0, nonce)

    def line(self, scale: float, nonce: str) -> str:
        """With a bar whose full length is the share `scale`."""
        return f"  {self.score_from:3.0f}–{self.score_to:<3.0f} {_bar(self.churn, scale)} {self.churn.text(nonce)}"


class AccuracyView(View):
    as_of: date
    rubric: str
    scope: str
    period_start: date
    period_end: date
    scored_days: int
    complete_to: date | None = None
    horizon_days: int
    verdict: str
    goal_flagged_ahead: float = GOAL_AHEAD
    slices: list[SliceView]
    bands: list[BandView]
    calibration: list[BinView]
    formula: str = HOW
    known_then: str = KNOWN_THEN
    remarks: list[str] = []
    left_out: list[LeftOut] = []
    _picture: bytes | None = PrivateAttr(default=None)

    def with_picture(self, drawn: bytes | None) -> AccuracyView:
        self._picture = drawn
        return self

    def pictures(self) -> list[bytes]:
        return [] if self._picture is None else [self._picture]

    def text(self, nonce: str) -> str:
        lines = [
            f"# Accuracy of health, rubric {self.rubric}",
            self.verdict,
            f"{self.scored_days} days scored from {self.period_start} to {self.period_end}, churn within "
            f"{self.horizon_days} days"
            + (f", complete for days up to {self.complete_to}" if self.complete_to else "")
            + f"; {self.scope}, as of {self.as_of}. Goal: {_percent(self.goal_flagged_ahead)} of churns flagged "
            f"≥ {AHEAD_DAYS} days ahead.",
            *(slice_.text(nonce) for slice_ in self.slices),
        ]
        if self.bands:
            lines.append("Churned by band: " + "; ".join(band.text(nonce) for band in self.bands))
        if self.calibration:
            scale = max(found.churn.high for found in self.calibration)
            lines.append(f"Churned by score (the bar ends at {_percent(scale)}; light: its interval):")
            lines += [found.line(scale, nonce) for found in self.calibration]
        lines += [*self.remarks, self.formula, self.known_then]
        return "\n".join(lines + [f"Left out: {left.what}. Call {left.call}." for left in self.left_out])


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %" if 0 < share < 0.1 else f"{share * 100:.0f} %"


_BAR: Final = 20


def _bar(share: ShareView, scale: float) -> str:
    """The share as a bar of twenty, and how far its interval reaches."""
    low, value, high = (round(bound / scale * _BAR) for bound in (share.low, share.value, share.high))
    return ("█" * low + "▓" * (value - low) + "░" * (high - value)).ljust(_BAR, "·")


class HealthAccuracy:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._backtests = Backtests(store)
        self._rubrics = Rubrics(store)

    async def get(self, principal: Principal, question: GetHealthAccuracy) -> AccuracyView:
        period = await self.period(principal, question)
        replay = await self.replay(principal, period, most_cases=MOST_CASES)
        view = await anyio.to_thread.run_sync(seen, replay, principal)
        if not question.image:
            return view
        if not can_draw():
            return view.model_copy(update={"remarks": [*view.remarks, HOW_TO_INSTALL]})
        return view.with_picture(await picture(replay))

    async def period(self, principal: Principal, question: GetHealthAccuracy) -> Period:
        workspace = await self._store.workspace(principal.workspace)
        today = workspace.calendar.today(self._store.clock.now())
        return Period.of(question.period_start, question.period_end, question.every, question.horizon_days, today)

    async def begins_on(self, principal: Principal) -> date | None:
        """The first day on which anybody had ARR."""
        return await self._backtests.begins_on(principal)

    async def replay(
        self,
        principal: Principal,
        period: Period,
        *,
        most_cases: int | None = None,
        progress: Progress = lambda _done: None,
    ) -> Replay:
        """The rubric in force, on the days of the period."""
        rubric = await self._rubrics.in_force(principal)
        return await self._backtests.replay(principal, rubric, period, most_cases=most_cases, progress=progress)


async def picture(replay: Replay) -> bytes | None:
    """Churn by score as PNG; None where no case has both a score and an outcome."""
    bins = calibration(replay.cases)
    overall = share_of((case.account, bool(case.left)) for case in replay.cases if case.left is not None)
    if not bins or overall is None:
        return None
    days = replay.period.days
    title = f"Churn by health score, {days[0]} to {days[-1]}, rubric {replay.rubric.version}"
    return await png(accuracy_chart(title, bins, overall, replay.period.horizon_days))


def seen(replay: Replay, principal: Principal) -> AccuracyView:
    """The figures of a replay, as the caller is told them."""
    period, cases = replay.period, replay.cases
    churns = foreseen(cases, replay.churns, horizon_days=period.horizon_days)
    complete = [day for day in period.days if day + timedelta(days=period.horizon_days) <= replay.today]
    everyone = accuracy(cases)
    # What the verdict says of the sample need not be said twice.
    slices = [_slice("all customers", everyone, cases, churns).model_copy(update={"caution": None})]
    for segment in _SEGMENTS:
        own = [case for case in cases if case.segment == segment]
        if own:
            its_churns = [found for found in churns if found.case is not None and found.case.segment == segment]
            slices.append(_slice(segment, accuracy(own), own, its_churns))
    return AccuracyView(
        as_of=replay.today,
        rubric=replay.rubric.version,
        scope="the whole workspace" if principal.reach is Reach.workspace else "the accounts you may see",
        period_start=period.days[0],
        period_end=period.days[-1],
        scored_days=len(period.days),
        complete_to=complete[-1] if complete else None,
        horizon_days=period.horizon_days,
        verdict=verdict(everyone.auc, everyone.left_accounts),
        slices=slices,
        bands=[BandView(band=band, churn=_told(share)) for band, share in by_band(cases).items()],
        calibration=[
            BinView(score_from=found.from_tenths / 10, score_to=found.to_tenths / 10, churn=_told(found.left))
            for found in calibration(cases)
        ],
        remarks=_remarks(replay, complete),
        left_out=_left_out(replay),
    )


def _slice(name: str, told: Accuracy, cases: Sequence[Case], churns: Sequence[Foreseen]) -> SliceView:
    warnings = {said: warned(cases, churns, bands) for said, bands in _WARNINGS.items()}
    return SliceView(
        name=name,
        cases=told.cases,
        accounts=told.accounts,
        churned_accounts=told.left_accounts,
        without_score=told.without_score,
        churns_too_early=next(iter(warnings.values())).too_new,
        churn=ShareView.told(told.left),
        auc=AucView.told(told.auc),
        warnings=[
            WarningView(
                bands=said,
                precision=ShareView.told(found.precision),
                recall=ShareView.told(found.recall),
                false_alarms=ShareView.told(found.false_alarms),
                flagged_60_days_ahead=ShareView.told(found.ahead),
            )
            for said, found in warnings.items()
        ],
        caution=sample(told.left_accounts) or None,
    )


def _told(share: Share) -> ShareView:
    told = ShareView.told(share)
    assert told is not None
    return told


def _remarks(replay: Replay, complete: Sequence[date]) -> list[str]:
    said: list[str] = []
    if not complete:
        said.append(
            f"No scored day lies {replay.period.horizon_days} days back, so what came after is not known yet: "
            "give an earlier period_start or a shorter horizon_days."
        )
    unknown = sum(case.score_tenths is None for case in replay.cases)
    if unknown:
        said.append(
            f"{unknown:,} of {len(replay.cases):,} cases have no score: less than "
            f"{_percent(replay.rubric.min_coverage / 1000)} of the weights had data. Only hard rules warn of them."
        )
    return said


def _left_out(replay: Replay) -> list[LeftOut]:
    if replay.sampled_from is None:
        return []
    drawn = len({case.account for case in replay.cases})
    return [
        LeftOut(
            what=f"all but {drawn:,} of {replay.sampled_from:,} accounts, drawn by a hash of their id",
            call="get_health_accuracy with every: quarter or a later period_start, or 'cs-mcp health backtest' for all",
        )
    ]
