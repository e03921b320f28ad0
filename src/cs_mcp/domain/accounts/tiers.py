"""Who is high-value: a tier proposed for each customer by ARR and by criteria, with reasons. A person adopts it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Final, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cs_mcp.domain.accounts.accounts import Tier

ORDER: Final = (Tier.standard, Tier.gold, Tier.platinum)
_Word = Annotated[str, Field(min_length=1, max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shares(_Part):
    """Shares of the customers, by ARR, that are platinum, and gold after them."""

    platinum: Annotated[float, Field(ge=0, le=1)]
    gold: Annotated[float, Field(ge=0, le=1)]


class Lift(_Part):
    """A score of so many points, from criteria of at least this share of the weights, lifts by one tier."""

    score: Annotated[float, Field(ge=0, le=100)]
    least_weight: Annotated[float, Field(ge=0, le=1)]


class Criterion(_Part):
    """`points` are pairs of raw value and points: straight lines between them, level beyond the ends."""

    name: _Word
    title: _Word
    says: _Word
    weight: Annotated[int, Field(ge=0, le=1_000)]
    points: Annotated[list[tuple[float, float]], Field(min_length=2, max_length=12)]

    @model_validator(mode="after")
    def _is_usable(self) -> Self:
        if self.name not in RAW:
            raise ValueError(f"{self.name!r} is no criterion; they are {', '.join(RAW)}")
        raws = [raw for raw, _ in self.points]
        if raws != sorted(set(raws)):
            raise ValueError("the raw values of `points` must rise")
        if any(not 0 <= points <= 100 for _, points in self.points):
            raise ValueError("points run from 0 to 100")
        return self

    def of(self, raw: float) -> float:
        place = bisect_right([one for one, _ in self.points], raw)
        if place == 0:
            return self.points[0][1]
        if place == len(self.points):
            return self.points[-1][1]
        (x0, y0), (x1, y1) = self.points[place - 1], self.points[place]
        return y0 + (y1 - y0) * (raw - x0) / (x1 - x0)


class TierCriteria(_Part):
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")]
    shares: Shares
    lift: Lift
    strategic_tags: list[_Word] = []
    reference_tags: list[_Word] = []
    target_industries: list[_Word] = []
    criteria: Annotated[list[Criterion], Field(min_length=1, max_length=20)]

    @model_validator(mode="after")
    def _is_usable(self) -> Self:
        if self.shares.platinum + self.shares.gold > 1:
            raise ValueError("the shares of platinum and gold are more than all customers")
        names = [criterion.name for criterion in self.criteria]
        if len(set(names)) < len(names):
            raise ValueError("a criterion is there twice")
        if not any(criterion.weight for criterion in self.criteria):
            raise ValueError("no criterion has a weight")
        return self


@dataclass(frozen=True, slots=True)
class CustomerFacts:
    """What is known of a customer; None is unknown, which counts neither way. ARR in major units of one currency."""

    account: str
    tier: Tier
    arr: Fraction
    industry: str | None = None
    tags: Collection[str] = ()
    employees: int | None = None
    seats: int | None = None
    grown: float | None = None  # expansions of the last year as a share of the ARR before them
    term_months: int | None = None
    auto_renew: bool | None = None
    tickets_90: int | None = None
    champion: bool | None = None
    nps: float | None = None
    integrations: int | None = None


class Ranked(NamedTuple):
    """A customer and how many of how many have more ARR."""

    facts: CustomerFacts
    above: int
    customers: int


def _fit(ranked: Ranked, criteria: TierCriteria) -> float | None:
    if _tagged(ranked.facts, criteria.strategic_tags):
        return 1.0
    industry = ranked.facts.industry
    if not criteria.target_industries or industry is None:
        return None
    return float(industry.casefold() in {name.casefold() for name in criteria.target_industries})


def _reference(ranked: Ranked, criteria: TierCriteria) -> float | None:
    if _tagged(ranked.facts, criteria.reference_tags):
        return 1.0
    return None if ranked.facts.nps is None else ranked.facts.nps / 10


def _tagged(facts: CustomerFacts, tags: Collection[str]) -> bool:
    return not {tag.casefold() for tag in facts.tags}.isdisjoint(tag.casefold() for tag in tags)


def _headroom(ranked: Ranked, _: TierCriteria) -> float | None:
    seats, employees = ranked.facts.seats, ranked.facts.employees
    return None if not employees or seats is None else min(1.0, seats / employees)


def _contract(ranked: Ranked, _: TierCriteria) -> float | None:
    months = ranked.facts.term_months
    return None if months is None else float(months + (12 if ranked.facts.auto_renew else 0))


def _cost(ranked: Ranked, _: TierCriteria) -> float | None:
    tickets, arr = ranked.facts.tickets_90, ranked.facts.arr
    return None if tickets is None or arr <= 0 else float(Fraction(tickets * 10_000) / arr)


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


# How the raw value of each criterion is had; None where it is not known.
RAW: Final[Mapping[str, Callable[[Ranked, TierCriteria], float | None]]] = {
    "arr_share": lambda ranked, _: ranked.above / ranked.customers,
    "growth": lambda ranked, _: ranked.facts.grown,
    "headroom": _headroom,
    "contract": _contract,
    "cost_to_serve": _cost,
    "strategic_fit": _fit,
    "champion": lambda ranked, _: _number(ranked.facts.champion),
    "reference": _reference,
    "integrations": lambda ranked, _: _number(ranked.facts.integrations),
}


class Judged(NamedTuple):
    criterion: Criterion
    raw: float
    points: float


@dataclass(frozen=True, slots=True)
class TierProposal:
    """`by_arr` is what its ARR alone makes it; `score` is out of 100, None where nothing is known."""

    account: str
    tier: Tier
    proposed: Tier
    by_arr: Tier
    above: int
    customers: int
    score: float | None
    known_weight: float
    judged: list[Judged]
    reasons: list[str]

    @property
    def moves(self) -> bool:
        return self.proposed is not self.tier


def propose(customers: Sequence[CustomerFacts], criteria: TierCriteria) -> list[TierProposal]:
    """A tier for each of these customers, the largest first. Who has the same ARR stands equally high."""
    ranked: list[Ranked] = []
    largest_first = sorted(customers, key=lambda one: (-one.arr, one.account))
    above = 0
    for place, one in enumerate(largest_first):
        if place and one.arr != largest_first[place - 1].arr:
            above = place
        ranked.append(Ranked(one, above, len(customers)))
    return [_proposal(one, criteria) for one in ranked]


def _proposal(ranked: Ranked, criteria: TierCriteria) -> TierProposal:
    by_arr = _by_arr(ranked, criteria.shares)
    judged = [
        Judged(criterion, raw, criterion.of(raw))
        for criterion in criteria.criteria
        if (raw := RAW[criterion.name](ranked, criteria)) is not None
    ]
    weight = sum(one.criterion.weight for one in judged)
    score = sum(one.criterion.weight * one.points for one in judged) / weight if weight else None
    known = weight / sum(criterion.weight for criterion in criteria.criteria)
    reasons = [f"ARR is rank {ranked.above + 1} of {ranked.customers}: {by_arr.value}"]
    proposed = by_arr
    lift = criteria.lift
    if _tagged(ranked.facts, criteria.strategic_tags):
        proposed = Tier.platinum
        tags = {tag.casefold() for tag in criteria.strategic_tags}
        named = sorted(tag for tag in ranked.facts.tags if tag.casefold() in tags)
        reasons.append(f"strategic by its tag {', '.join(named)}: platinum")
    elif score is not None and score >= lift.score and known >= lift.least_weight and by_arr is not Tier.platinum:
        proposed = ORDER[ORDER.index(by_arr) + 1]
        reasons.append(f"{score:.0f} of 100 points lift it one tier: {proposed.value}")
    reasons += [_told(one) for one in sorted(judged, key=_weighed) if one.criterion.name != "arr_share"]
    return TierProposal(
        account=ranked.facts.account,
        tier=ranked.facts.tier,
        proposed=proposed,
        by_arr=by_arr,
        above=ranked.above,
        customers=ranked.customers,
        score=score,
        known_weight=known,
        judged=judged,
        reasons=reasons,
    )


def _weighed(judged: Judged) -> float:
    """What speaks most for it, or most against it, comes first."""
    return -judged.criterion.weight * abs(judged.points - 50)


def _told(judged: Judged) -> str:
    return f"{judged.criterion.title} {judged.raw:.3g}: {judged.points:.0f} of 100"


def _by_arr(ranked: Ranked, shares: Shares) -> Tier:
    # Exact: in binary, 20 % of 40 and a rank of 8 would meet or not by luck.
    platinum = Fraction(str(shares.platinum))
    place = Fraction(ranked.above, ranked.customers)
    if place < platinum:
        return Tier.platinum
    return Tier.gold if place < platinum + Fraction(str(shares.gold)) else Tier.standard
