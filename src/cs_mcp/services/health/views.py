"""How an account's health is explained: score, contributions, why it moved, the way to the next band."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal

from pydantic import PrivateAttr

from cs_mcp.domain.contract import LeftOut, Named, View, counted, shown
from cs_mcp.domain.health.path import YES_OR_NO
from cs_mcp.services.health.brief import OverrideLine, signed
from cs_mcp.services.health.evidence import Evidence

FORMULA = "score = Σ weight × points ÷ Σ weight, over the measures that have data"
_LEVELS = "▁▂▃▄▅▆▇█"


class Trend(View):
    """Points of the score against 7, 30 and 90 days before; `course` is the score from `since` on, low to high."""

    days_7: float | None = None
    days_30: float | None = None
    days_90: float | None = None
    course: str | None = None
    low: float | None = None
    high: float | None = None
    since: date | None = None

    def text(self, nonce: str) -> str:
        moved = [(days, points) for days in (7, 30, 90) if (points := getattr(self, f"days_{days}")) is not None]
        said = ", ".join(f"{signed(points)} in {days} days" for days, points in moved) or "no score before it"
        if self.course is None:
            return f"Trend: {said}."
        return f"Trend: {said}. {self.course} (from {self.low:.1f} to {self.high:.1f} since {self.since})"


def value_in_words(raw: float, unit: str, *, bare: bool = False) -> str:
    """A raw value as people say it: shares and changes in percent, one of a unit in the singular."""
    if unit == YES_OR_NO:
        return "yes" if raw >= 1 else "no"
    if unit.startswith("share of "):
        return _percent(raw) if bare else f"{_percent(raw)} % of {shown(unit.removeprefix('share of '))}"
    if unit.split(" ")[0] == "change":
        said = f"{raw * 100:+.4g}".replace("-", "−") if raw else "0"
        return said if bare else f"{said} % {shown(unit.removeprefix('change'))}".rstrip()
    return f"{raw:g}" if bare else f"{raw:g} {shown(_singular(unit) if raw == 1 else unit)}"


def _percent(raw: float) -> str:
    return f"{raw * 100:.4g}"


def _singular(unit: str) -> str:
    first, *rest = unit.split(" ")
    if first.endswith("s"):
        return " ".join([first[:-1], *rest])
    return unit.removesuffix("s") if rest else unit


def sparkline(scores: Sequence[float], width: int = 30) -> str:
    """Scores as blocks, the lowest ▁ and the highest █, at most `width` of them, evenly picked, the last kept."""
    last = len(scores) - 1
    picked = [scores[round(place * last / (width - 1))] for place in range(width)] if len(scores) > width else scores
    low, span = min(scores), max(scores) - min(scores)
    return "".join(_LEVELS[round((score - low) / span * (len(_LEVELS) - 1)) if span else 3] for score in picked)


class RuleLine(View):
    """A hard rule that holds: the band is `cap` at best until it is cleared."""

    name: str
    says: str
    cap: str
    clears: str
    evidence: list[Evidence] | None = None

    def text(self, nonce: str) -> str:
        line = f"Hard rule {self.name} caps at {self.cap}: {shown(self.says, 300)} Clears: {shown(self.clears, 300)}"
        return "\n".join([line, *(one.text(nonce) for one in self.evidence or ())])


class MeasureLine(View):
    """What a measure gives to the score and costs it, in points that add up to the score and to 100 less it.

    `points` are of the measure itself, 0 to 100. `newest_on` is the day of its newest evidence.
    """

    name: str
    title: str
    group: str
    raw: float
    unit: str
    points: float
    weight: int
    gives: float | None = None
    costs: float | None = None
    newest_on: date | None = None
    stale: Literal[True] | None = None
    evidence: list[Evidence] | None = None
    more_evidence: int | None = None

    def text(self, nonce: str) -> str:
        newest = f", newest {self.newest_on}" if self.newest_on else ""
        stale = " STALE" if self.stale else ""
        more = f", {counted(self.more_evidence, 'more record')}" if self.more_evidence else ""
        what = "no share" if self.costs is None else f"costs {self.costs:.1f}, gives {self.gives:.1f}"
        value = f"{value_in_words(self.raw, self.unit)} = {self.points:g} points × {self.weight}"
        line = f"- {shown(self.title)} [{self.name}]: {what}. {value}{newest}{stale}{more}"
        return "\n".join([line, *(one.text(nonce) for one in self.evidence or ())])


class MissingLine(View):
    name: str
    title: str
    weight: int

    def text(self, nonce: str) -> str:
        return f"{shown(self.title)} [{self.name}] × {self.weight}"


class Mover(View):
    name: str
    title: str
    points: float
    before: float
    after: float
    unit: str

    def text(self, nonce: str) -> str:
        before, after = value_in_words(self.before, self.unit, bare=True), value_in_words(self.after, self.unit)
        return f"- {shown(self.title)} [{self.name}] {signed(self.points)}: {before} → {after}"


class WhyChanged(View):
    """What moved the score since a day, in points that add up to `difference`."""

    since: date
    source: Literal["snapshot", "replay"]
    band_then: str
    score_then: float | None = None
    score_now: float | None = None
    difference: float | None = None
    behaviour: float | None = None
    configuration: float | None = None
    override: float | None = None
    missing_data: float | None = None
    measures: list[Mover] = []
    rules_added: list[str] = []
    rules_cleared: list[str] = []
    remarks: list[str] = []

    def text(self, nonce: str) -> str:
        then = self.band_then if self.score_then is None else f"{self.band_then} {self.score_then:.1f}"
        head = f"## Since {self.since} ({then}, from the {self.source})"
        if self.difference is None:
            return "\n".join([head, *self.remarks])
        parts = ", ".join(
            f"{name.replace('_', ' ')} {signed(value)}"
            for name in ("behaviour", "configuration", "override", "missing_data")
            if (value := getattr(self, name)) is not None
        )
        lines = [f"{head} to {self.score_now:.1f}: {signed(self.difference)} = {parts}"]
        lines += [mover.text(nonce) for mover in self.measures]
        if self.rules_added:
            lines.append("Hard rules since: " + ", ".join(self.rules_added))
        if self.rules_cleared:
            lines.append("Hard rules cleared since: " + ", ".join(self.rules_cleared))
        return "\n".join([*lines, *self.remarks])


class PathStep(View):
    name: str
    title: str
    raw: float
    to: float
    unit: str
    points: float
    to_points: float
    remedy: str

    def text(self, nonce: str) -> str:
        before, to = value_in_words(self.raw, self.unit, bare=True), value_in_words(self.to, self.unit)
        points = f"({self.points:g} → {self.to_points:g} points)"
        return f"- {shown(self.title)} [{self.name}]: {before} → {to} {points}. {shown(self.remedy, 300)}"


class PathUp(View):
    """The fewest measures, then the fewest points, that reach `target`; `score` is computed anew with them."""

    target: str
    reaches: bool
    score: float
    steps: list[PathStep] = []
    clear: list[str] = []

    def text(self, nonce: str) -> str:
        if self.reaches:
            head = f"## Smallest path to {self.target} (score then {self.score:.1f})"
        else:
            head = (
                f"## {self.target} is out of reach by what a team can move: at best {self.score:.1f}. It takes the "
                "measures below at their best, and others or missing data too"
            )
        lines = [head] + [step.text(nonce) for step in self.steps]
        lines += [f"- clear hard rule {name}, as told above" for name in self.clear]
        return "\n".join(lines)


class HealthExplained(View):
    """`score` and `computed_band` are the sum's; `band` is what counts: the override's, else the hard rules'."""

    account: Named
    as_of: date
    scored_on: date
    source: Literal["snapshot", "replay"]
    rubric: str
    segment: str
    band: str
    score: float | None = None
    computed_band: str
    confidence: float
    formula: str = FORMULA
    trend: Trend
    override: OverrideLine | None = None
    rules: list[RuleLine] = []
    measures: list[MeasureLine] = []
    missing: list[MissingLine] = []
    why: WhyChanged | None = None
    path: PathUp | None = None
    remarks: list[str] = []
    left_out: list[LeftOut] = []
    _picture: bytes | None = PrivateAttr(default=None)

    def with_picture(self, png: bytes) -> HealthExplained:
        self._picture = png
        return self

    def pictures(self) -> list[bytes]:
        return [] if self._picture is None else [self._picture]

    def text(self, nonce: str) -> str:
        score = "no score" if self.score is None else f"score {self.score:.1f} of 100"
        computed = "" if self.computed_band == self.band else f", by the sum alone {self.computed_band}"
        made = f"rubric {shown(self.rubric)}, weights of {self.segment}; from the {self.source} of {self.scored_on}"
        lines = [
            f"# Health of {self.account.text(nonce)}, as of {self.as_of}: {self.band}",
            f"{score.capitalize()}{computed}; confidence {self.confidence:.0%}; {made}.",
            self.trend.text(nonce),
        ]
        if self.override is not None:
            lines.append(self.override.text(nonce))
        lines += [rule.text(nonce) for rule in self.rules]
        lines += [*self.remarks]
        if self.why is not None:
            lines.append(self.why.text(nonce))
        if self.path is not None:
            lines.append(self.path.text(nonce))
        if self.measures:
            lines.append(f"## Measures, the costliest first ({self.formula})")
            lines += [measure.text(nonce) for measure in self.measures]
        if self.missing:
            lines.append("No data, so not counted: " + "; ".join(each.text(nonce) for each in self.missing))
        lines += [f"Left out: {left.what}. Call {left.call}." for left in self.left_out]
        return "\n".join(lines)
