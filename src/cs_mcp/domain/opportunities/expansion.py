"""What speaks for asking a customer to buy more, and what speaks against asking now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from cs_mcp.domain.opportunities.opportunities import ExpansionTrigger, OpportunityKind
from cs_mcp.domain.revenue.subscriptions import MovementKind

_ONE_DAY: Final = timedelta(days=1)


class ExpansionCriteria(BaseModel):
    """The numbers by which evidence is found; read from a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    near_limit: Annotated[float, Field(gt=0, le=1)]
    new_within_days: Annotated[int, Field(ge=1, le=90)]
    known_for_days: Annotated[int, Field(ge=1, le=365)]
    least_active: Annotated[int, Field(ge=1)]
    value_shown_within_days: Annotated[int, Field(ge=1, le=1_000)]


class Finding(NamedTuple):
    """One thing that speaks for an expansion, in one line, with its day."""

    trigger: ExpansionTrigger
    kind: OpportunityKind
    what: str
    on: date
    department: str | None = None
    record: str | None = None


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What is told of an account by a day.

    `departments` is the first day each was seen within the last half year, and the most active users it had;
    `features` the first day each was used at all; `funded` the days of funding they told of lately, with the record.
    """

    seats_used: int | None = None
    seats_used_on: date | None = None
    seat_limit: int | None = None
    first_day: date | None = None
    departments: Mapping[str, tuple[date, int]] | None = None
    features: Mapping[str, date] | None = None
    funded: Sequence[tuple[date, str]] = ()


def findings(told: Telemetry, criteria: ExpansionCriteria, today: date) -> list[Finding]:
    """The strongest first: a full plan, new departments, new features, funding; newest before older."""
    full = _near_limit(told, criteria)
    return [*([full] if full is not None else []), *_new_in_usage(told, criteria, today), *_grown(told)]


def _new_in_usage(told: Telemetry, criteria: ExpansionCriteria, today: date) -> list[Finding]:
    since = today - timedelta(days=criteria.new_within_days - 1)
    if told.first_day is None or told.first_day > since - timedelta(days=criteria.known_for_days):
        return []  # all of it is new: they have just begun
    departments = [
        Finding(
            ExpansionTrigger.new_department,
            OpportunityKind.seat,
            f"New in usage since {first}: {name}, {active} active users",
            first,
            name,
        )
        for name, (first, active) in (told.departments or {}).items()
        if first >= since and active >= criteria.least_active
    ]
    features = [
        Finding(ExpansionTrigger.new_use_case, OpportunityKind.feature, f"First used on {first}: {name}", first)
        for name, first in (told.features or {}).items()
        if first >= since
    ]
    return [*_newest_first(departments), *_newest_first(features)]


def _grown(told: Telemetry) -> list[Finding]:
    kind = OpportunityKind.seat
    return _newest_first(
        Finding(ExpansionTrigger.company_growth, kind, f"They were funded on {on}", on, record=record)
        for on, record in told.funded
    )


def _newest_first(found: Iterable[Finding]) -> list[Finding]:
    return sorted(found, key=lambda one: (-one.on.toordinal(), one.what))


def _near_limit(told: Telemetry, criteria: ExpansionCriteria) -> Finding | None:
    used, limit = told.seats_used, told.seat_limit
    if used is None or not limit or used < criteria.near_limit * limit or told.seats_used_on is None:
        return None
    what = f"{used} of {limit} seats in use ({used / limit:.0%})"
    return Finding(ExpansionTrigger.near_limit, OpportunityKind.seat, what, told.seats_used_on)


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of the value an account got: the last review with quantified ROI, onboarding, health."""

    roi_shown_on: date | None
    onboarded: bool
    first_value_reached: bool | None
    health_band: str


def early_because(value: Value, criteria: ExpansionCriteria, today: date) -> list[str]:
    """Why asking now would be too early; empty where nothing says so.

    Asking for expansion before value is proven backfires.
    """
    why: list[str] = []
    if value.first_value_reached is False or not value.onboarded:
        why.append("first value is not reached: onboarding is not complete")
    if value.roi_shown_on is None:
        why.append("no quantified ROI was ever shown: log_meeting with roi_shown, once it was")
    elif value.roi_shown_on < today - timedelta(days=criteria.value_shown_within_days):
        why.append(f"ROI was last shown on {value.roi_shown_on}")
    if value.health_band == "red":
        why.append("health is red")
    return why


class Whitespace(NamedTuple):
    """A product an account lacks, and how common it is among the accounts of its segment that pay."""

    product: str
    have_it: int
    of: int


def whitespace(owned: Sequence[str], sold: Mapping[str, int], customers: int) -> list[Whitespace]:
    """What of `sold` (products by how many of `customers` have them) the account lacks, the most common first.

    Names are compared without case and spacing.
    """
    has = {product_key(name) for name in owned}
    gaps = [Whitespace(name, count, customers) for name, count in sold.items() if product_key(name) not in has]
    return sorted(gaps, key=lambda gap: (-gap.have_it, gap.product))


def product_key(name: str) -> str:
    return " ".join(name.casefold().split())


class Booked(NamedTuple):
    """A live movement of the account's ledger, in the account's currency."""

    on: date
    amount_minor: int
    kind: MovementKind
    subscription_id: str | None


class Growth(NamedTuple):
    """A movement that a won opportunity posts."""

    on: date
    kind: MovementKind
    amount_minor: int
    note: str | None = None


def growth(
    ledger: Sequence[Booked], *, on: date, amount_minor: int, subscription: str, last_day: date | None
) -> list[Growth]:
    """What winning `amount_minor` from `on` posts; `last_day` is the end of the contract it runs with.

    From nothing it is no expansion: the ledger's first rise is `new`, one after churn a reactivation. Where an import
    booked the end of that contract ahead, the end takes this with it, so that nothing stays after the contract.
    """
    so_far = [booked for booked in ledger if booked.on <= on]
    if sum(booked.amount_minor for booked in so_far) > 0:
        kind = MovementKind.expansion
    else:
        kind = MovementKind.reactivation if so_far else MovementKind.new
    posted = [Growth(on, kind, amount_minor)]
    if last_day is not None:
        after = last_day + _ONE_DAY
        ends = [
            booked
            for booked in ledger
            if booked.on == after and booked.amount_minor < 0 and booked.subscription_id in (None, subscription)
        ]
        if ends and after > on:
            posted.append(Growth(after, ends[0].kind, -amount_minor, "The end of contract, booked ahead."))
    return posted
