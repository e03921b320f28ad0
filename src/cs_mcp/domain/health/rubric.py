"""The rubric: which measures make an account's health, how a raw value becomes points, what each weighs.

One YAML file, written and read by a CS leader; `rubric_check.py` says what is wrong with one.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from cs_mcp.domain.accounts.accounts import Band, Segment
from cs_mcp.domain.facts.conditions import Condition
from cs_mcp.domain.facts.facts import Feed

SLOTS: Final = 32  # columns a snapshot has for measures
FULL: Final = 10_000  # points of a measure are hundredths of a point
_DECIMALS: Final = 6
_LARGEST: Final = 1_000_000_000


def _exact(value: float) -> float:
    """Short decimals are the same double in Python, SQLite and PostgreSQL alike."""
    if abs(value) > _LARGEST or round(value, _DECIMALS) != value:
        raise ValueError(f"use at most {_DECIMALS} decimals and at most {_LARGEST:,}")
    return value


def _per_mille(value: Any) -> Any:
    """A share as people write it (0.3) as whole thousandths."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    thousandths = round(value * 1000)
    if abs(thousandths - value * 1000) > 1e-9:
        raise ValueError("use at most three decimals")
    return thousandths


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Line = Annotated[str, Field(min_length=1, max_length=120)]
Words = Annotated[str, Field(min_length=1, max_length=600)]
Raw = Annotated[float, Field(allow_inf_nan=False), AfterValidator(_exact)]
Points = Annotated[int, Field(ge=0, le=100)]
PerMille = Annotated[int, BeforeValidator(_per_mille), Field(ge=0, le=1000)]
Weight = Annotated[int, Field(ge=1, le=1000)]
SegmentWeight = Annotated[int, Field(ge=0, le=1000)]
Cap = Literal[Band.yellow, Band.red]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bands(_Part):
    """The lowest score, in points, of green and of yellow; below is red."""

    green: Annotated[int, Field(ge=2, le=100)]
    yellow: Annotated[int, Field(ge=1, le=99)]

    def of(self, score_tenths: int) -> Band:
        if score_tenths >= self.green * 10:
            return Band.green
        return Band.yellow if score_tenths >= self.yellow * 10 else Band.red


class Cadence(_Part):
    """Days within which each touch model wants a touch."""

    high: Annotated[int, Field(ge=1, le=730)]
    mid: Annotated[int, Field(ge=1, le=730)]
    low: Annotated[int, Field(ge=1, le=730)]


class Group(_Part):
    name: Name
    title: Line
    says: Words


class Measure(_Part):
    """One measure. `points` are pairs of raw value and points: straight lines between them, level beyond the ends."""

    name: Name
    group: Name
    weight: Weight
    title: Line
    says: Words
    unit: Line
    points: Annotated[list[tuple[Raw, Points]], Field(min_length=2, max_length=12)]
    movable: bool
    remedy: Words
    fresh_days: Annotated[int, Field(ge=1, le=1000)]

    @cached_property
    def steps(self) -> tuple[tuple[float, float, float, float, float], ...]:
        """Each line as (from, to, points at its start, their difference, its length); points in hundredths.

        Lengths are decimal differences, so that each is a short decimal as well.
        """
        return tuple(
            (x0, x1, y0 * 100.0, (y1 - y0) * 100.0, float(Decimal(repr(x1)) - Decimal(repr(x0))))
            for (x0, y0), (x1, y1) in zip(self.points, self.points[1:], strict=False)
        )


class HardRule(_Part):
    """While `when` is true the band is `cap` at best, whatever the sum says; what is not known decides nothing."""

    name: Name
    says: Words
    when: Condition
    cap: Cap
    clears: Words
    feed: Feed


class Rubric(_Part):
    """A version of the rubric. The place of a measure in `measures` is its slot in snapshots."""

    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]
    title: Line
    min_coverage: PerMille
    bands: Bands
    cadence_days: Cadence
    groups: Annotated[list[Group], Field(min_length=1, max_length=12)]
    measures: Annotated[list[Measure], Field(min_length=1, max_length=SLOTS)]
    rules: Annotated[list[HardRule], Field(max_length=16)] = []
    segments: dict[Segment, dict[Name, SegmentWeight]] = {}

    def __hash__(self) -> int:
        return hash(self.version)

    @cached_property
    def slots(self) -> dict[str, int]:
        """Slot of each measure, from 1."""
        return {measure.name: place for place, measure in enumerate(self.measures, 1)}

    @cached_property
    def by_name(self) -> dict[str, Measure]:
        return {measure.name: measure for measure in self.measures}

    def weights(self, segment: str) -> dict[str, int]:
        """What each measure weighs for accounts of a segment."""
        own: dict[str, int] = dict(self.segments.get(segment, {}))  # type: ignore[call-overload]
        return {measure.name: own.get(measure.name, measure.weight) for measure in self.measures}
