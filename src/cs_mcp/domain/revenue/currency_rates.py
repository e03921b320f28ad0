"""Dated exchange rates: how one currency's figures are told in another's, and by which rate."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.money import exponent
from cs_mcp.domain.records import Record
from cs_mcp.domain.revenue.subscriptions import MovementKind


class ExchangeRate(Record):
    """From `on` until a later one: `rate`, a decimal text, units of `to_currency` for one of `from_currency`."""

    from_currency: str
    to_currency: str
    on: date
    rate: str


class MissingRate(Invalid):
    def __init__(self, source: str, target: str, day: date, through: str | None = None) -> None:
        super().__init__(
            f"There is no exchange rate from {source} to {target} on {day} or before.",
            remedy=f"Import fx_rates.csv with a row of that or an earlier day for {_or(source, target, through)}."
            " Nothing is summed across currencies without a rate.",
        )


def _or(source: str, target: str, through: str | None) -> str:
    """The currencies that lack a rate: in fx_rates.csv all are told in the workspace's."""
    return " and ".join(currency for currency in (source, target) if currency != through)


class Rate(NamedTuple):
    """What one minor unit of a currency is worth in minor units of another, and the day that rate was given for."""

    factor: Fraction
    on: date | None  # None: one and the same currency


class Rates:
    """Of each pair the latest rate on or before a day. A pair given one way is read the other way too.

    Two currencies without a rate of their own are told by what each is worth in the currency `through`.
    """

    def __init__(self, given: Iterable[ExchangeRate], through: str | None = None) -> None:
        dated: defaultdict[tuple[str, str], list[tuple[date, Fraction]]] = defaultdict(list)
        for rate in given:
            worth = Fraction(Decimal(rate.rate)) * Fraction(10) ** (
                exponent(rate.to_currency) - exponent(rate.from_currency)
            )
            dated[rate.from_currency, rate.to_currency].append((rate.on, worth))
        self._dated = {pair: sorted(rates) for pair, rates in dated.items()}
        self._through = through

    def on(self, source: str, target: str, day: date) -> Rate:
        """MissingRate where none was given by that day."""
        found = self._between(source, target, day)
        if found is None and self._through is not None:
            first, second = self._between(source, self._through, day), self._between(self._through, target, day)
            if first is not None and second is not None:
                given = [leg.on for leg in (first, second) if leg.on is not None]
                found = Rate(first.factor * second.factor, min(given, default=None))
        if found is None:
            raise MissingRate(source, target, day, self._through)
        return found

    def has(self, source: str, target: str, day: date) -> bool:
        try:
            self.on(source, target, day)
        except MissingRate:
            return False
        return True

    def _between(self, source: str, target: str, day: date) -> Rate | None:
        if source == target:
            return Rate(Fraction(1), None)
        straight, back = self._latest(source, target, day), self._latest(target, source, day)
        if straight is not None and (back is None or back[0] <= straight[0]):
            return Rate(straight[1], straight[0])
        return None if back is None else Rate(1 / back[1], back[0])

    def _latest(self, source: str, target: str, day: date) -> tuple[date, Fraction] | None:
        rates = self._dated.get((source, target), [])
        place = bisect_right(rates, day, key=lambda rate: rate[0])
        return rates[place - 1] if place else None


class Booked(NamedTuple):
    """A movement of one account's ledger in one currency, or the same told in another."""

    on: date
    kind: MovementKind
    amount: int


def carried(ledger: Iterable[Booked], source: str, target: str, rates: Rates) -> list[Booked]:
    """An account's movements, from its first and in order, told in `target` at the rates of their days.

    A rise counts at the rate of its day. A fall takes its share of what the ARR had been counted at, so that nothing
    is left over of a customer who left, whatever the rates did meanwhile. Amounts are in whole minor units and add up
    to the rounded value carried.
    """
    balance, value = 0, Fraction(0)
    told: list[Booked] = []
    for movement in ledger:
        before = round(value)
        if movement.amount < 0 < balance:
            value = value * max(balance + movement.amount, 0) / balance
            beyond = min(balance + movement.amount, 0)
        else:
            beyond = movement.amount
        if beyond:
            value += beyond * rates.on(source, target, movement.on).factor
        balance += movement.amount
        told.append(Booked(movement.on, movement.kind, round(value) - before))
    return told
