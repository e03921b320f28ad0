"""An account's contracts from its first day to today: renewed, grown, cut, lost and won back as its signals have it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Final

from cs_mcp.demo.generated.companies import Company, company_of, names
from cs_mcp.demo.generated.randomness import clamped, happens, logistic, stream
from cs_mcp.demo.generated.signals import Signals, latent
from cs_mcp.domain.accounts.accounts import Segment
from cs_mcp.domain.calendar import add_months
from cs_mcp.domain.money import exponent
from cs_mcp.domain.renewals.renewals import LossReason
from cs_mcp.domain.revenue.ledger import first_day_without
from cs_mcp.domain.workspaces import SegmentBounds

YEARS_BACK: Final = 3
# What one unit is worth in the workspace's currency, USD. Made up once, so that segments mean the same everywhere.
RATES: Final = {"USD": Decimal(1), "EUR": Decimal("1.1"), "GBP": Decimal("1.25"), "JPY": Decimal("0.0068")}
_SHARE: Final = {Segment.smb: 60, Segment.mid_market: 30, Segment.enterprise: 10}
_MEDIAN_USD: Final = {Segment.smb: 4_300, Segment.mid_market: 31_000, Segment.enterprise: 185_000}
_SPREAD: Final = {Segment.smb: 0.45, Segment.mid_market: 0.55, Segment.enterprise: 0.5}
_SEAT_USD: Final = {Segment.smb: 480, Segment.mid_market: 520, Segment.enterprise: 560}
_PRODUCT: Final = {
    Segment.smb: "Platform Starter",
    Segment.mid_market: "Platform Team",
    Segment.enterprise: "Platform Enterprise",
}
_ADDITIONS: Final = ("Forecasting", "Audit Pack", "Field App", "Premium Support")
_TERMS: Final = {
    Segment.smb: ((1, 25), (12, 70), (24, 5)),
    Segment.mid_market: ((12, 78), (24, 22)),
    Segment.enterprise: ((12, 40), (24, 25), (36, 35)),
}
_NOTICE: Final = {1: (0, 7), 12: (30, 60), 24: (60, 90), 36: (90, 120)}
_LOSSES: Final = ("price", "product", "competition", "company_change", "process")
_ONE_DAY: Final = timedelta(days=1)
_BOUNDS: Final = SegmentBounds()


def segment_of(arr_minor: int, currency: str) -> Segment:
    """By ARR in the workspace's currency."""
    major = arr_minor * RATES[currency] / 10 ** exponent(currency)
    return Segment(_BOUNDS.segment_of(float(major)))


@dataclass(frozen=True, slots=True)
class Term:
    """One contract. `won` is None while it runs; `is_addition`: sold on top of the main one, and ends with it."""

    product: str
    starts_on: date
    ends_on: date | None
    months: int
    notice_days: int
    auto_renew: bool
    arr_minor: int
    seats: int
    canceled_on: date | None = None
    trial: bool = False
    is_addition: bool = False
    won: bool | None = None
    loss: LossReason | None = None

    @property
    def first_day_without(self) -> date | None:
        return first_day_without(ends_on=self.ends_on, canceled_on=self.canceled_on)


@dataclass(slots=True)
class Generated:
    """One account as it came to be; everything else is drawn from this."""

    seed: int
    number: int
    today: date
    company: Company
    region: str
    currency: str
    starts_on: date
    latent: Signals
    terms: list[Term] = field(default_factory=list[Term])
    why: dict[date, str] = field(default_factory=dict[date, str])  # what moved ARR on a day: a key of `reasons`
    prices: set[date] = field(default_factory=set[date])  # days on which only the price moved

    @property
    def running(self) -> list[Term]:
        return [term for term in self.terms if (end := term.first_day_without) is None or end > self.today]

    @property
    def churned_on(self) -> date | None:
        """The first day without a contract, of an account that has none now."""
        if self.running:
            return None
        return max(end for term in self.terms if (end := term.first_day_without) is not None)

    @property
    def arr_minor(self) -> int:
        return sum(term.arr_minor for term in self.running if not term.trial)

    @property
    def last_arr_minor(self) -> int:
        """ARR now, or of the last contracts; what a trial would pay."""
        if now := self.arr_minor:
            return now
        last = max(term.starts_on for term in self.terms if not term.is_addition)
        return sum(term.arr_minor for term in self.terms if term.starts_on >= last)

    @property
    def segment(self) -> Segment:
        return segment_of(self.last_arr_minor, self.currency)

    @property
    def seats(self) -> int:
        last = self.running or self.terms[-1:]
        return max(1, sum(term.seats for term in last))

    def pressure(self, day: date) -> float:
        """How near the customer is to leaving on a day: 0 would sign for life, 1 is gone."""
        known = self.latent
        push = 5.0 * (0.42 - known.usage_before(day)) - 4.0 * known.trend_before(day) + 1.6 * known.strain(day)
        return logistic(push)


def signals(account: Generated) -> Signals:
    """The account's use and tickets while it was a customer, from which its figures of usage and its tickets are made.

    Weekly shares of seats and dated tickets, from the first day under contract to today or the last day; the same
    series its churn, notes and meetings were drawn from.
    """
    gone = account.churned_on
    return account.latent.between(account.starts_on, gone - _ONE_DAY if gone is not None else account.today)


def account_of(seed: int, number: int, today: date) -> Generated:
    """The account of that number: the same for the same seed and day, whichever others are made."""
    random = stream(seed, number)
    birth = random.choices(list(_SHARE), list(_SHARE.values()))[0]
    regions = names()["regions"]
    region: str = random.choices(list(regions), [known["share"] for known in regions.values()])[0]
    currency: str = random.choice(regions[region]["currencies"])
    if currency == "JPY" and birth is Segment.smb and happens(random, 0.5):
        currency = "USD"
    wanted_usd = random.lognormvariate(math.log(_MEDIAN_USD[birth]), _SPREAD[birth])
    starts_on = today - timedelta(days=_age(random))
    seats = max(2, round(wanted_usd / _SEAT_USD[birth]))
    account = Generated(
        seed=seed,
        number=number,
        today=today,
        company=company_of(seed, number),
        region=region,
        currency=currency,
        starts_on=starts_on,
        latent=latent(seed, number, seats, starts_on, today),
    )
    months = random.choices(*zip(*_TERMS[birth], strict=True))[0]
    if (today - starts_on).days < 30 and birth is not Segment.enterprise and happens(random, 0.4):
        account.terms.append(_trial(account, birth, seats))
    else:
        _live(account, random, birth, months, seats)
    return account


def _age(random: Random) -> int:
    """Days since the first contract: a base from before, and a company that sells more each year."""
    if happens(random, 0.4):
        return random.randint((YEARS_BACK - 1) * 365, YEARS_BACK * 365)
    return int(3 + (YEARS_BACK - 1) * 365 * random.random() ** 1.3)


def _price_minor(birth: Segment, currency: str) -> int:
    """A seat's yearly price: round in its own currency."""
    major = Decimal(_SEAT_USD[birth]) / RATES[currency]
    step = 1000 if currency == "JPY" else 10
    return int((major / step).to_integral_value()) * step * 10 ** exponent(currency)


def _trial(account: Generated, birth: Segment, seats: int) -> Term:
    price = _price_minor(birth, account.currency) * seats
    ends_on = account.starts_on + timedelta(days=30)
    return Term(_PRODUCT[birth], account.starts_on, ends_on, 1, 0, False, price, seats, trial=True)


def _live(account: Generated, random: Random, birth: Segment, months: int, seats: int) -> None:
    """One contract after another until today, or until the customer leaves for good."""
    price = _price_minor(birth, account.currency)
    starts_on, comes_back = account.starts_on, True
    while starts_on <= account.today:
        first = Term(
            product=_PRODUCT[birth],
            starts_on=starts_on,
            ends_on=None if months == 1 else add_months(starts_on, months) - _ONE_DAY,
            months=months,
            notice_days=random.choice(_NOTICE[months]),
            auto_renew=months == 1 or happens(random, 0.55),
            arr_minor=price * seats,
            seats=seats,
        )
        left = _roll(account, random, first) if months == 1 else _renew(account, random, first, price)
        if left is None or not comes_back or not happens(random, 0.14):
            return
        comes_back = False
        starts_on = left + timedelta(days=random.randint(60, 400))
        seats = max(2, round(seats * random.uniform(0.6, 1.0)))


def _roll(account: Generated, random: Random, term: Term) -> date | None:
    """A contract from month to month; the first day without it, if it was left."""
    month = 1
    while (day := add_months(term.starts_on, month)) <= account.today:
        if happens(random, _monthly_hazard(account, day)):
            by_card = happens(random, 0.35)
            loss = LossReason.payment_failure if by_card else _loss(random)
            account.terms.append(replace(term, canceled_on=day, won=False, loss=loss))
            account.why[day] = loss.value
            return day
        month += 1
    account.terms.append(term)
    return None


def _monthly_hazard(account: Generated, day: date) -> float:
    return 0.075 * account.pressure(day) ** 2


def _renew(account: Generated, random: Random, term: Term, price: int) -> date | None:
    """Contracts with a last day; the first day without one, if the customer left."""
    while True:
        assert term.ends_on is not None
        after = term.ends_on + _ONE_DAY
        additions = _additions(account, random, term, price)
        if after > account.today:
            account.terms += [term, *additions]
            return None
        pressure = account.pressure(after)
        lost = happens(random, 0.02 + 0.62 * pressure**1.8)
        loss = _loss(random) if lost else None
        account.terms += [replace(each, won=not lost, loss=loss) for each in (term, *additions)]
        if loss is not None:
            account.why[after] = loss.value
            return after
        term = _next(account, random, term, additions, price)


def _additions(account: Generated, random: Random, term: Term, price: int) -> list[Term]:
    """What was sold on top while the contract ran: at most one thing a term, where use is high."""
    assert term.ends_on is not None
    length = (term.ends_on - term.starts_on).days
    on = term.starts_on + timedelta(days=random.randint(60, max(61, length - 90)))
    wanted = random.random()
    if on > account.today or wanted > 0.45 * account.latent.usage_before(on) ** 2:
        return []
    seats = max(1, round(term.seats * random.uniform(0.05, 0.25)))
    by_seat = happens(random, 0.6)
    account.why.setdefault(on, "seat" if by_seat else "cross_sell")
    product = f"{term.product}: more seats" if by_seat else random.choice(_ADDITIONS)
    return [
        replace(term, product=product, starts_on=on, months=12, arr_minor=price * seats, seats=seats, is_addition=True)
    ]


def _next(account: Generated, random: Random, term: Term, additions: list[Term], price: int) -> Term:
    """The contract after this one: the additions are part of it, its size follows use."""
    assert term.ends_on is not None
    starts_on = term.ends_on + _ONE_DAY
    usage, draw = account.latent.usage_before(starts_on), random.random()
    before = sum(each.arr_minor for each in (term, *additions))
    seats = term.seats + sum(each.seats for each in additions if each.product.endswith("more seats"))
    arr = before
    cut, grown = clamped(0.75 - 1.3 * usage, 0.03, 0.6), clamped(1.1 * usage - 0.3, 0.02, 0.6)
    if draw < cut:
        kept = max(2, round(seats * random.uniform(0.6, 0.92)))
        arr, seats = max(2 * price, before - (seats - kept) * price), kept
        account.why[starts_on] = "support" if account.latent.strain(starts_on) > 0.5 else _cut_reason(random, usage)
    elif draw > 1 - grown:
        more = max(1, round(seats * random.uniform(0.05, 0.35)))
        arr, seats = before + more * price, seats + more
        account.why[starts_on] = "seat"
    elif happens(random, 0.3):
        arr = before + price * max(1, round(before / price * 0.04))
        account.why[starts_on] = "price_change"
        account.prices.add(starts_on)
    return replace(
        term,
        starts_on=starts_on,
        ends_on=add_months(starts_on, term.months) - _ONE_DAY,
        arr_minor=arr,
        seats=seats,
    )


def _cut_reason(random: Random, usage: float) -> str:
    return "adoption" if usage < 0.55 and happens(random, 0.8) else "budget"


def _loss(random: Random) -> LossReason:
    return LossReason(random.choice(_LOSSES))
