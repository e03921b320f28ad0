"""How subscriptions become the ledger of ARR: the netting rules, swept over the days on which something changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from cs_mcp.domain.revenue.subscriptions import MovementKind

_ONE_DAY: Final = timedelta(days=1)


class SubscriptionSpan(BaseModel):
    """The days one subscription is live, `starts_on` to the day before `first_day_without` (None: still live)."""

    model_config = ConfigDict(frozen=True)

    account: str
    subscription: str
    starts_on: date
    first_day_without: date | None = None
    arr_minor: int = Field(ge=0)
    trial: bool = False
    product: str | None = None

    @property
    def carries_arr(self) -> bool:
        """Trials are not ARR, and neither is a subscription that ended no later than it began."""
        never_live = self.first_day_without is not None and self.first_day_without <= self.starts_on
        return self.arr_minor > 0 and not self.trial and not never_live


class Movement(BaseModel):
    """One signed change of an account's ARR, in minor units. `subscription` is named where it alone changed."""

    model_config = ConfigDict(frozen=True)

    account: str
    on: date
    kind: MovementKind
    amount_minor: int
    subscription: str | None = None
    expansion_kind: str | None = None  # spans do not tell seats from features
    reason: str | None = None


def first_day_without(*, ends_on: date | None, canceled_on: date | None) -> date | None:
    """The first day no contract covers: the day after `ends_on`, or `canceled_on`, whichever comes first."""
    after_term = ends_on + _ONE_DAY if ends_on is not None and ends_on < date.max else None
    if after_term is None or canceled_on is None:
        return canceled_on if after_term is None else after_term
    return min(after_term, canceled_on)


def derive_movements(spans: Iterable[SubscriptionSpan], *, reactivation_gap_days: int = 0) -> list[Movement]:
    """The ledger of each account, by account and day, in O(n log n) of the spans.

    Every span of an account is in one currency. An account that is without ARR for `reactivation_gap_days` or fewer
    renewed late: it keeps its ARR over the gap and did not churn.
    """
    accounts: defaultdict[str, defaultdict[date, _Step]] = defaultdict(lambda: defaultdict(_Step))
    for span in spans:
        if span.carries_arr:
            accounts[span.account][span.starts_on].add(span.arr_minor, span.subscription)
            if span.first_day_without is not None:
                accounts[span.account][span.first_day_without].add(-span.arr_minor, span.subscription)
    gap = timedelta(days=reactivation_gap_days)
    return [movement for account in sorted(accounts) for movement in _movements(account, accounts[account], gap)]


class Overlap(NamedTuple):
    """Two subscriptions of one product, and the days on which the ARR of both counts (`to` None: without end)."""

    first: str
    second: str
    product: str
    start: date
    to: date | None


def overlaps(spans: Iterable[SubscriptionSpan]) -> list[Overlap]:
    """Of each account and product, each span that starts while an earlier one runs, beside the one that runs longest.

    Spans of products without a name are not compared: two of them need not be the same thing.
    """
    products: defaultdict[tuple[str, str], list[SubscriptionSpan]] = defaultdict(list)
    for span in spans:
        if span.carries_arr and span.product:
            products[span.account, span.product].append(span)
    found: list[Overlap] = []
    for (_, product), runs in products.items():
        runs.sort(key=lambda span: (span.starts_on, span.subscription))
        longest = runs[0]
        for span in runs[1:]:
            if span.starts_on < _until(longest):
                last = min(_until(longest), _until(span))
                to = None if last == date.max else last - _ONE_DAY
                found.append(Overlap(longest.subscription, span.subscription, product, span.starts_on, to))
            longest = max(longest, span, key=_until)
    return found


def _until(span: SubscriptionSpan) -> date:
    return span.first_day_without or date.max


def arr_on(movements: Iterable[Movement], day: date) -> int:
    """ARR at the end of `day`, in minor units. The movements given are in one currency."""
    return sum(movement.amount_minor for movement in movements if movement.on <= day)


@dataclass(slots=True)
class _Step:
    """What one account's subscriptions add and take on one day."""

    change: int = 0
    subscriptions: set[str] = field(default_factory=set[str])

    def add(self, change: int, subscription: str) -> None:
        self.change += change
        self.subscriptions.add(subscription)


def _movements(account: str, steps: dict[date, _Step], gap: timedelta) -> Iterable[Movement]:
    days = sorted(day for day, step in steps.items() if step.change)
    live = told = 0  # ARR of the live subscriptions, and ARR the movements so far add up to
    has_been_customer = False
    subscriptions: set[str] = set()
    for day, next_day in zip(days, [*days[1:], None], strict=True):
        live += steps[day].change
        subscriptions |= steps[day].subscriptions
        if live == 0 and next_day is not None and next_day - day <= gap:
            continue
        if live != told:
            yield Movement(
                account=account,
                on=day,
                kind=_kind(told, live, has_been_customer),
                amount_minor=live - told,
                subscription=next(iter(subscriptions)) if len(subscriptions) == 1 else None,
            )
        told = live
        has_been_customer = True
        subscriptions = set()


def _kind(before: int, after: int, has_been_customer: bool) -> MovementKind:
    if before == 0:
        return MovementKind.reactivation if has_been_customer else MovementKind.new
    if after == 0:
        return MovementKind.churn
    return MovementKind.expansion if after > before else MovementKind.contraction
