"""Explaining an account's health on a day, each figure with what it comes from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import date
from typing import Annotated, Any, Final

from pydantic import Field

from cs_mcp.db.health.evidence import EvidenceReads
from cs_mcp.db.health.score_trend import TREND_DAYS
from cs_mcp.db.store import Store
from cs_mcp.domain.contract import AccountRef, Budget, Detail, Named, Question, shown
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.facts.conditions import facts_of
from cs_mcp.domain.health.explained import Cause, difference
from cs_mcp.domain.health.path import path_up
from cs_mcp.domain.health.rubric import HardRule
from cs_mcp.domain.health.scoring import contributions, losses
from cs_mcp.domain.identity import Principal
from cs_mcp.services.charts import HOW_TO_INSTALL, Bar, can_draw, health_chart, png
from cs_mcp.services.health.answer import within_budget
from cs_mcp.services.health.brief import in_points, override_line, signed
from cs_mcp.services.health.evidence import Found, evidence_of, evidence_of_facts, feeds_of, grows_stale
from cs_mcp.services.health.scored_days import Course, Day, ScoredDays
from cs_mcp.services.health.views import (
    HealthExplained,
    MeasureLine,
    MissingLine,
    Mover,
    PathStep,
    PathUp,
    RuleLine,
    Trend,
    WhyChanged,
    counted,
    sparkline,
)
from cs_mcp.services.naming import Names

SHOWN_MOVERS: Final = 5
MOST_EVIDENCE: Final = 10
MOST_RULE_EVIDENCE: Final = 3


class ExplainHealth(Question):
    account: AccountRef
    as_of: Annotated[date, Field(description="A past day; the newest score when absent")] | None = None
    since: Annotated[date, Field(description="Say why it moved since this day; 30 days before when absent")] | None = (
        None
    )
    detail: Detail = "brief"
    image: Annotated[bool, Field(description="Also a PNG: contributions and 90 days")] = False
    budget_tokens: Budget = 4000


class HealthExplanations:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._days = ScoredDays(store)
        self._evidence = EvidenceReads(store)

    async def explain(self, principal: Principal, ask: ExplainHealth) -> HealthExplained:
        match = await Names.reading(self._store, principal).account(ask.account)
        calendar = (await self._store.workspace(principal.workspace)).calendar
        today = calendar.today(self._store.clock.now())
        _refuse_days(ask, today)
        course = await self._days.course(principal, match, today=today, as_of=ask.as_of, since=ask.since)
        now, full = course.now, ask.detail == "full"
        feeds = feeds_of(now.judged.known, _rule_facts(now))
        found = Found(await self._evidence.of(principal, match.id, feeds, now.on, calendar), now.on, calendar)
        merged = [f"{shown(ask.account)} was merged into this account."] if match.by == "merged" else []
        view = HealthExplained(
            account=Named(id=match.id, name=match.name),
            as_of=ask.as_of or today,
            scored_on=now.on,
            source=now.source,
            rubric=now.judged.rubric.version,
            segment=now.judged.segment,
            band=now.effective_band,
            score=in_points(now.score),
            computed_band=now.computed_band,
            confidence=now.confidence / 1000,
            trend=_trend(course),
            override=override_line(now.override),
            rules=_rules(now, found),
            measures=_measures(now, found),
            missing=_missing(now),
            why=_why(course.then, now, None if full else SHOWN_MOVERS) if course.then is not None else None,
            path=_path(now),
            remarks=[*merged, *course.remarks, *_unknown(now)],
        )
        fitted = within_budget(view, budget_tokens=ask.budget_tokens, full=full)
        return await _with_picture(fitted, view.measures, course) if ask.image else fitted


def _refuse_days(ask: ExplainHealth, today: date) -> None:
    day = ask.as_of or today
    if day > today:
        raise Invalid(f"as_of {day} is in the future; today is {today}.", remedy="Give a past day, or leave it out.")
    if ask.since is not None and ask.since >= day:
        raise Invalid(f"since {ask.since} is not before {day}, the day explained.", remedy="Give an earlier day.")


# -- parts of the answer ----------------------------------------------------------------------------------------


def _raw(value: float | None) -> float:
    return round(value or 0.0, 2 if value is not None and abs(value) >= 10 else 3)


def _trend(course: Course) -> Trend:
    score, drawn = course.now.score, course.drawn()
    moved: dict[str, Any] = {
        f"days_{days}": (score - before) / 10
        for days in TREND_DAYS
        if score is not None and (before := course.before(days)) is not None
    }
    if len(drawn) > 1:
        values = [value for _, value in drawn]
        moved |= {"course": sparkline(values), "low": min(values), "high": max(values), "since": drawn[0][0]}
    return Trend(**moved)


def _rule_facts(now: Day) -> set[str]:
    """The facts that the hard rules which hold are about."""
    return {fact for rule in _holding(now) for fact in facts_of(rule.when)}


def _holding(now: Day) -> list[HardRule]:
    return [rule for rule in now.judged.rubric.rules if rule.name in now.rules]


def _rules(now: Day, found: Found) -> list[RuleLine]:
    return [
        RuleLine(
            name=rule.name,
            says=rule.says,
            cap=rule.cap,
            clears=rule.clears,
            evidence=evidence_of_facts(sorted(facts_of(rule.when)), found)[:MOST_RULE_EVIDENCE] or None,
        )
        for rule in _holding(now)
    ]


def _measures(now: Day, found: Found) -> list[MeasureLine]:
    judged = now.judged
    gives = contributions(judged.weights, judged.points)
    costs = losses(judged.weights, judged.points)
    lines: list[MeasureLine] = []
    for measure in judged.rubric.measures:
        points, weight = judged.points[measure.name], judged.weights[measure.name]
        if points is None or not weight:
            continue
        evidence, newest = evidence_of(measure.name, found)
        scored = now.score is not None
        is_old = newest is not None and (now.on - newest).days > measure.fresh_days
        lines.append(
            MeasureLine(
                name=measure.name,
                title=measure.title,
                group=measure.group,
                raw=_raw(judged.raws[measure.name]),
                unit=measure.unit,
                points=points / 100,
                weight=weight,
                gives=in_points(gives[measure.name]) if scored else None,
                costs=in_points(costs[measure.name]) if scored else None,
                newest_on=newest,
                stale=True if is_old and grows_stale(measure.name) else None,
                evidence=evidence[:MOST_EVIDENCE] or None,
                more_evidence=max(0, len(evidence) - MOST_EVIDENCE) or None,
            )
        )
    return sorted(lines, key=lambda line: (-(line.costs or 0), -line.weight))


def _missing(now: Day) -> list[MissingLine]:
    weights = now.judged.weights
    lines = [
        MissingLine(name=measure.name, title=measure.title, weight=weights[measure.name])
        for measure in now.judged.rubric.measures
        if now.judged.points[measure.name] is None and weights[measure.name]
    ]
    return sorted(lines, key=lambda line: -line.weight)


def _unknown(now: Day) -> Iterator[str]:
    """Below the coverage wanted, the fewest feeds that reach it: those that weigh most."""
    if now.score is not None:
        return
    rubric, weights = now.judged.rubric, now.judged.weights
    every, known = sum(weights.values()), sum(weights[name] for name in now.judged.known)
    wanted: list[str] = []
    for line in _missing(now):
        if known and known * 1000 // every >= rubric.min_coverage:
            break
        known += line.weight
        wanted.append(f"{shown(line.title)} [{line.name}]")
    yield (
        f"No score: {now.confidence / 10:.0f} % of the weights have data and {rubric.min_coverage / 10:.0f} % are "
        f"needed. The fewest measures that would do with data: {', '.join(wanted)}."
    )


def _why(then: Day, now: Day, most: int | None) -> WhyChanged:
    changed = WhyChanged(
        since=then.on,
        source=then.source,
        score_then=in_points(then.effective_score),
        score_now=in_points(now.effective_score),
        band_then=then.effective_band,
        rules_added=[name for name in now.rules if name not in then.rules],
        rules_cleared=[name for name in then.rules if name not in now.rules],
    )
    if then.score is None or now.score is None:
        unscored = then if then.score is None else now
        said = f"No score on {unscored.on}: only {unscored.confidence / 10:.0f} % of the weights had data."
        return changed.model_copy(update={"remarks": [said]})
    moved = difference(then.judged, now.judged)
    by_hand = (now.effective_score or 0) - now.score - (then.effective_score or 0) + then.score
    ordered = sorted(moved.measures.items(), key=lambda one: (-abs(one[1]), one[0]))
    told = ordered[:most]
    others = sum(tenths for _, tenths in ordered[len(told) :])
    remarks = list(_remarks(then, now, moved.gained, moved.lost))
    if len(ordered) > len(told):
        remarks.insert(0, f"{counted(len(ordered) - len(told), 'other measure')} moved it by {signed(others / 10)}.")
    return changed.model_copy(
        update={
            "difference": (moved.tenths + by_hand) / 10,
            "behaviour": moved.by_cause[Cause.behaviour] / 10,
            "configuration": moved.by_cause[Cause.configuration] / 10,
            "override": by_hand / 10,
            "missing_data": moved.by_cause[Cause.missing_data] / 10,
            "measures": [_mover(then, now, name, tenths) for name, tenths in told],
            "remarks": remarks,
        }
    )


def _mover(then: Day, now: Day, name: str, tenths: int) -> Mover:
    measure = now.judged.rubric.by_name[name]
    before, after = _raw(then.judged.raws[name]), _raw(now.judged.raws[name])
    return Mover(name=name, title=measure.title, points=tenths / 10, before=before, after=after, unit=measure.unit)


def _remarks(then: Day, now: Day, gained: Collection[str], lost: Collection[str]) -> Iterator[str]:
    if then.judged.rubric.version != now.judged.rubric.version:
        yield f"The rubric went from {then.judged.rubric.version} to {now.judged.rubric.version}."
    if then.judged.segment != now.judged.segment:
        yield f"It was weighed as {then.judged.segment}, and is as {now.judged.segment}."
    if gained:
        yield f"Has data now and had none: {', '.join(gained)}."
    if lost:
        yield f"Had data and has none now: {', '.join(lost)}."
    before, after = then.override, now.override
    if (before and before["id"]) != (after and after["id"]):
        if before is not None:
            yield f"Override {before['id']} ({before['band']}) has ended."
        if after is not None:
            yield f"Override {after['id']} sets it to {after['band']}; the sum alone says {now.computed_band}."


def _path(now: Day) -> PathUp | None:
    if now.score is None:
        return None
    path = path_up(now.judged, now.band, now.rules)
    if path is None:
        return None
    return PathUp(
        target=path.target,
        reaches=path.reaches,
        score=path.score_tenths / 10,
        steps=[
            PathStep(
                name=step.measure.name,
                title=step.measure.title,
                raw=_raw(step.raw),
                to=step.to,
                unit=step.measure.unit,
                points=step.points / 100,
                to_points=step.to_points / 100,
                remedy=step.measure.remedy,
            )
            for step in path.steps
        ],
        clear=[rule.name for rule in path.clear],
    )


async def _with_picture(view: HealthExplained, measures: Sequence[MeasureLine], course: Course) -> HealthExplained:
    if not can_draw():
        return view.model_copy(update={"remarks": [*view.remarks, HOW_TO_INSTALL]})
    bars = [
        Bar(shown(line.title, 60), line.gives, line.costs)
        for line in measures
        if line.gives is not None and line.costs is not None
    ]
    score = "" if view.score is None else f" {view.score:.1f}"
    title = f"Health of {shown(view.account.name, 80)}, {view.scored_on}: {view.band}{score}"
    return view.with_picture(await png(health_chart(title, bars, course.drawn(), course.now.judged.rubric.bands)))
