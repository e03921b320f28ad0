"""Dated rates: which one counts, both ways, for currencies of 0 and 3 decimals; a ledger told at its own days'."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cs_mcp.domain.revenue.currency_rates import Booked, ExchangeRate, MissingRate, Rates, carried
from cs_mcp.domain.revenue.subscriptions import MovementKind

JAN, FEB, MAR = (date(2025, month, 1) for month in (1, 2, 3))


def rate(source: str, target: str, on: date, text: str) -> ExchangeRate:
    return ExchangeRate(id="fxr_1", from_currency=source, to_currency=target, on=on, rate=text)


RATES = Rates([rate("EUR", "USD", JAN, "1.10"), rate("EUR", "USD", MAR, "1.20"), rate("JPY", "KWD", JAN, "0.002")])


def test_the_latest_rate_by_the_day_counts_and_is_read_either_way() -> None:
    assert RATES.on("EUR", "USD", FEB) == (Fraction(11, 10), JAN)
    assert RATES.on("EUR", "USD", MAR) == (Fraction(6, 5), MAR)
    assert RATES.on("USD", "EUR", MAR) == (Fraction(5, 6), MAR)
    assert RATES.on("USD", "USD", date(1999, 1, 1)) == (1, None)


def test_a_rate_is_of_whole_units_whatever_decimals_a_currency_has() -> None:
    # 1 000 yen are 2 dinars, which are 2 000 fils.
    assert 1_000 * RATES.on("JPY", "KWD", JAN).factor == 2_000
    assert 2_000 * RATES.on("KWD", "JPY", JAN).factor == 1_000


def test_two_currencies_without_a_rate_of_their_own_go_through_the_workspaces() -> None:
    given = [rate("EUR", "USD", JAN, "1.10"), rate("JPY", "USD", FEB, "0.01")]
    found = Rates(given, through="USD").on("EUR", "JPY", MAR)
    assert found == (Fraction(11, 10), JAN)  # a cent of a euro is 1.1 yen
    with pytest.raises(MissingRate) as refused:
        Rates(given, through="USD").on("GBP", "USD", MAR)
    assert "for GBP." in refused.value.remedy


def test_a_missing_rate_is_named_with_its_day() -> None:
    with pytest.raises(MissingRate) as refused:
        RATES.on("EUR", "USD", date(2024, 12, 31))
    assert "EUR to USD on 2024-12-31" in refused.value.message
    assert "fx_rates.csv with a row of that or an earlier day for EUR and USD" in refused.value.remedy
    with pytest.raises(MissingRate, match="EUR to JPY"):
        RATES.on("EUR", "JPY", MAR)


def test_a_rise_counts_at_its_day_and_a_fall_at_what_it_was_counted_at() -> None:
    ledger = [
        Booked(JAN, MovementKind.new, 100),
        Booked(MAR, MovementKind.expansion, 100),
        Booked(MAR, MovementKind.contraction, -50),
    ]
    assert [b.amount for b in carried(ledger, "EUR", "USD", RATES)] == [110, 120, -58]  # a quarter of 230, even
    gone = [*ledger, Booked(MAR, MovementKind.churn, -150)]
    assert sum(b.amount for b in carried(gone, "EUR", "USD", RATES)) == 0


@given(st.lists(st.sampled_from([0, 0, 1, 40, 100, 333]), max_size=12))
def test_whoever_pays_nothing_is_worth_nothing_in_any_currency(balances: list[int]) -> None:
    amounts = [after - before for before, after in pairwise([0, *balances])]
    ledger = [Booked(date(2025, 1 + n // 4, 1), MovementKind.expansion, amount) for n, amount in enumerate(amounts)]
    told = accumulate(b.amount for b in carried(ledger, "EUR", "USD", RATES))
    for balance, value in zip(balances, told, strict=True):
        assert (value == 0) == (balance == 0)
        assert value >= balance  # a euro was never worth less than 1.10
