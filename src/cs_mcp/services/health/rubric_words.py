"""The rubric as a page for a CS leader: what is measured, how it becomes points, how points become a band."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from cs_mcp.domain.contract import View, shown
from cs_mcp.domain.facts.conditions import in_words
from cs_mcp.domain.health.rubric import Group, Measure, Rubric

_ARITHMETIC: Final = """\
1. Each measure takes one **raw value** from the account's dated records. Only what is dated on or before the day
   counts.
2. The raw value becomes **points** from 0 to 100: straight lines between the pairs of its list, level beyond the ends,
   rounded to hundredths.
3. **Score** = Σ weight × points ÷ Σ weight, over the measures that have data; rounded to tenths, halves up.
4. **Confidence** = Σ weight of the measures that have data ÷ Σ weight of all. Missing data lowers the confidence and
   never the score.
5. **Band**: green from {green}, yellow from {yellow}, red below; `unknown` where the confidence is under {coverage}.
6. **Hard rules** then cap the band, each until the fact that clears it. A rule speaks only where its facts are known.
   An account of too little data stays `unknown` unless a rule caps it at red.
7. An **override** sets the band that lists show, with a reason and a last day. The computed score and band stand
   beside it."""


class RubricPage(View):
    """The rubric in force, in words."""

    rubric: Rubric
    adopted_at: datetime | None = None

    def text(self, nonce: str) -> str:
        return page_of(self.rubric, adopted_at=self.adopted_at)


def page_of(rubric: Rubric, *, adopted_at: datetime | None = None) -> str:
    """Markdown. Words of whoever wrote the rubric leave through `shown`."""
    return "\n\n".join(_parts(rubric, adopted_at)) + "\n"


def _parts(rubric: Rubric, adopted_at: datetime | None) -> Iterator[str]:
    since = f", in force since {adopted_at:%Y-%m-%d}" if adopted_at is not None else ""
    green, yellow = rubric.bands.green, rubric.bands.yellow
    yield f"# {shown(rubric.title)}"
    yield f"Version `{rubric.version}`{since}. {len(rubric.measures)} measures in {len(rubric.groups)} groups."
    yield "## How a score comes about"
    coverage = f"{rubric.min_coverage / 10:g} %"
    yield _ARITHMETIC.format(green=green, yellow=yellow, coverage=coverage)
    yield "What a measure gives is its share of the score in tenths, by largest remainder, so shares add up exactly."
    yield "## Hard rules" if rubric.rules else "There are no hard rules."
    if rubric.rules:
        lines = ["| rule | while | band | cleared when |", "|---|---|---|---|"]
        for rule in rubric.rules:
            most = "red" if rule.cap == "red" else f"{rule.cap.value} at most"
            lines.append(f"| {shown(rule.says)} | {shown(in_words(rule.when))} | {most} | {shown(rule.clears)} |")
        yield "\n".join(lines)
    for group in rubric.groups:
        yield from _group(rubric, group)
    if rubric.segments:
        yield "## Weights by segment"
        yield _segments(rubric)
    cadence = rubric.cadence_days
    yield (
        f"A touch is wanted every {cadence.high} days at high touch, {cadence.mid} at mid, {cadence.low} at low. "
        "Value, objectives and first value count as missing data until success plans and onboarding are told."
    )


def _group(rubric: Rubric, group: Group) -> Iterator[str]:
    measures = [measure for measure in rubric.measures if measure.group == group.name]
    yield f"## {shown(group.title)}: {sum(measure.weight for measure in measures)}"
    yield f"{shown(group.says)}."
    yield from (_measure(measure) for measure in measures)


def _measure(measure: Measure) -> str:
    points = " · ".join(f"{raw:g} → {points}" for raw, points in measure.points)
    moved = "A team can move it" if measure.movable else "Moves with time alone"
    return (
        f"### {shown(measure.title)} (`{measure.name}`), weight {measure.weight}\n\n{shown(measure.says)}\n\n"
        f"- Points by value ({shown(measure.unit)}): {points}\n"
        f"- {moved}: {shown(measure.remedy)}\n"
        f"- Fresh for {measure.fresh_days} days"
    )


def _segments(rubric: Rubric) -> str:
    segments = sorted(rubric.segments, key=lambda segment: segment.value)
    changed = [name for name in rubric.by_name if any(name in rubric.segments[segment] for segment in segments)]
    lines = [
        f"| measure | {' | '.join(segment.value for segment in segments)} | others |",
        "|---" * (len(segments) + 2) + "|",
    ]
    for name in changed:
        weights = [str(rubric.weights(segment)[name]) for segment in segments]
        title = shown(rubric.by_name[name].title)
        lines.append(f"| {title} | {' | '.join(weights)} | {rubric.by_name[name].weight} |")
    return "\n".join(lines)
