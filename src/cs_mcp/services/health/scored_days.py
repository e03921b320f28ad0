"""An account's health on a day: from the snapshot of that day, else replayed from the facts dated by then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from cs_mcp.db.health.health_reads import HealthReads
from cs_mcp.db.health.score_trend import SLACK_DAYS, TREND_DAYS
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.domain.accounts.accounts import Band, Segment
from cs_mcp.domain.errors import Invalid, NotFound
from cs_mcp.domain.health.explained import Judged
from cs_mcp.domain.health.rubric import Rubric
from cs_mcp.domain.health.scoring import Scored, rounded, totals
from cs_mcp.domain.identity import Principal
from cs_mcp.services.health.rubrics import Rubrics
from cs_mcp.services.health.scoring import Scoring, scored_of
from cs_mcp.services.naming import Match

Source = Literal["snapshot", "replay"]


@dataclass(frozen=True)
class Day:
    """An account's health on a day. `score` (tenths) and `computed_band` are the sum's, `band` is after hard rules."""

    on: date
    source: Source
    judged: Judged
    score: int | None
    band: Band
    computed_band: Band
    confidence: int
    rules: list[str]
    override: Row | None

    @property
    def effective_band(self) -> Band:
        return Band(self.override["band"]) if self.override is not None else self.band

    @property
    def effective_score(self) -> int | None:
        given = self.override["score_tenths"] if self.override is not None else None
        return given if given is not None else self.score


@dataclass(frozen=True)
class Course:
    """The day asked for, the one to compare with, the scores that led there (tenths), and what to say of them."""

    now: Day
    then: Day | None
    scores: dict[date, int]
    remarks: list[str]

    def before(self, days: int) -> int | None:
        """The newest score so many days before, as the night's trend takes it."""
        last = self.now.on - timedelta(days=days)
        near = [on for on in self.scores if last - timedelta(days=SLACK_DAYS) <= on <= last]
        return self.scores[max(near)] if near else None

    def drawn(self) -> list[tuple[date, float]]:
        """Scores of the 90 days to the day, its own too, in points."""
        first = self.now.on - timedelta(days=TREND_DAYS[-1])
        own = {self.now.on: self.now.score} if self.now.score is not None else {}
        return [(on, score / 10) for on, score in sorted((self.scores | own).items()) if first <= on <= self.now.on]


class ScoredDays:
    def __init__(self, store: Store) -> None:
        self._reads = HealthReads(store)
        self._rubrics = Rubrics(store)
        self._scoring = Scoring(store)
        self._by_digest: dict[str, Rubric] = {}

    async def course(
        self,
        principal: Principal,
        match: Match,
        *,
        today: date,
        as_of: date | None,
        since: date | None,
    ) -> Course:
        """Without `as_of`, the newest snapshot; without `since`, one of 30 days before, if a night made one."""
        day = as_of or today
        compared = since or day - timedelta(days=30)
        found = await self._reads.scored(
            principal, match.id, day=day, since=compared, from_on=day - timedelta(days=TREND_DAYS[-1] + SLACK_DAYS)
        )
        overrides, segment = found["overrides"], found["account"][0]["segment"]
        newest = found["now"][0] if found["now"] else None
        remarks: list[str] = []
        if newest is not None and (as_of is None or newest["on"] == as_of):
            now = await self._kept(principal, newest, segment, overrides)
            if (day - now.on).days > 1:
                remarks.append(f"No night has scored it since {now.on}; as_of {day} replays what is known today.")
        else:
            now = await self._replayed(principal, match, day, overrides)
            remarks.append(f"No night scored {day}: replayed from facts dated by then, by the rubric in force today.")
        before = found["then"][0] if found["then"] else None
        then: Day | None = None
        if before is not None and compared - before["on"] <= timedelta(days=SLACK_DAYS) and before["on"] < now.on:
            then = await self._kept(principal, before, segment, overrides)
        elif since is not None:
            then = await self._replayed(principal, match, since, overrides)
        scores = {row["on"]: row["score_tenths"] for row in found["course"] if row["score_tenths"] is not None}
        return Course(now, then, scores, remarks)

    async def _kept(self, principal: Principal, row: Row, segment: str, overrides: Sequence[Row]) -> Day:
        """A snapshot as a day; `segment` is the account's of today, `overrides` are newest first."""
        rubric = await self.rubric_of(principal, row)
        scored = scored_of(rubric, row)
        weighed = weighed_as(rubric, scored.points, scored.score_tenths, scored.confidence, segment)
        return _day(row["on"], "snapshot", rubric, weighed, scored, overrides)

    async def rubric_of(self, principal: Principal, row: Row) -> Rubric:
        """The rubric that made a snapshot; looked up once a text."""
        digest = row["rubric_digest"]
        if digest in self._by_digest:
            return self._by_digest[digest]
        rubric = await self._rubrics.version(principal, row["rubric"])
        if rubric is None:
            raise Invalid(
                f"The rubric {row['rubric']!r} that scored {row['on']} is not kept here.",
                remedy="Give another day, or today with as_of: it is replayed by the rubric in force.",
            )
        if digest is not None:
            self._by_digest[digest] = rubric
        return rubric

    async def _replayed(self, principal: Principal, match: Match, day: date, overrides: Sequence[Row]) -> Day:
        found = await self._scoring.of_account(principal, match.id, day)
        if found is None:
            raise NotFound(
                f"{match.name} ({match.id}) was no customer on {day}.",
                remedy="Give a day on which it was; get_timeline shows since when.",
            )
        return _day(day, "replay", found.rubric, found.segment, found.scored, overrides)


def _day(on: date, source: Source, rubric: Rubric, segment: str, scored: Scored, overrides: Sequence[Row]) -> Day:
    return Day(
        on=on,
        source=source,
        judged=Judged(rubric, segment, scored.points, scored.raws),
        score=scored.score_tenths,
        band=scored.band,
        computed_band=scored.computed_band,
        confidence=scored.confidence,
        rules=scored.rules,
        override=standing(overrides, on),
    )


def weighed_as(rubric: Rubric, points: Mapping[str, int | None], score: int | None, confidence: int, today: str) -> str:
    """The segment whose weights made a score: the account's of `today`, unless only another's give these figures."""
    for segment in (today, *(each.value for each in Segment if each.value != today)):
        weights = rubric.weights(segment)
        summed, coverage = totals(weights, points)
        if coverage * 1000 // sum(weights.values()) == confidence and (
            score is None or rounded(summed, coverage) == score
        ):
            return segment
    return today


def standing(overrides: Sequence[Row], on: date) -> Row | None:
    """The override that holds on a day; of several the last begun."""
    holds = (
        row
        for row in overrides
        if row["from_on"] <= on <= row["expires_on"] and (row["ended_on"] is None or on < row["ended_on"])
    )
    return next(holds, None)
