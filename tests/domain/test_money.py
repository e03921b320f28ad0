from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cs_mcp.domain.errors import CustomerSuccessError
from cs_mcp.domain.money import (
    CURRENCIES,
    MINOR_LIMIT,
    AmountNotRepresentable,
    AmountOutOfRange,
    CurrencyMismatch,
    Money,
    RateNotUsable,
    UnknownCurrency,
    exponent,
)

currencies = st.sampled_from(sorted(CURRENCIES))
minors = st.integers(-MINOR_LIMIT + 1, MINOR_LIMIT - 1)
moneys = st.builds(Money, minor=minors, currency=currencies)
small = st.integers(-(10**15), 10**15)


@given(moneys)
def test_the_text_of_an_amount_reads_back_as_the_same_money(money: Money) -> None:
    assert Money.of(money.amount, money.currency) == money
    assert Money.of(Decimal(money.amount), money.currency) == money
    assert Money.model_validate_json(money.model_dump_json()) == money


@given(moneys)
def test_an_amount_shows_exactly_the_decimals_of_its_currency(money: Money) -> None:
    assert len(money.amount.partition(".")[2]) == exponent(money.currency)
    assert Decimal(money.amount) * 10 ** exponent(money.currency) == money.minor


@pytest.mark.parametrize(
    ("amount", "currency", "minor", "shown", "spoken"),
    [
        ("1234.5", "EUR", 123450, "1234.50", "1,234.50 EUR"),
        ("-5", "USD", -500, "-5.00", "-5.00 USD"),
        ("-0.05", "USD", -5, "-0.05", "-0.05 USD"),
        ("-0", "USD", 0, "0.00", "0.00 USD"),
        ("1200", "JPY", 1200, "1200", "1,200 JPY"),
        ("1.5", "KWD", 1500, "1.500", "1.500 KWD"),
        ("2.0001", "CLF", 20001, "2.0001", "2.0001 CLF"),
    ],
)
def test_amounts_are_read_and_shown_in_the_way_of_their_currency(
    amount: str, currency: str, minor: int, shown: str, spoken: str
) -> None:
    money = Money.of(amount, currency)

    assert (money.minor, money.amount, str(money)) == (minor, shown, spoken)


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("1.005", "EUR"),
        ("1.500", "EUR"),
        ("1.0", "JPY"),
        ("1,200", "EUR"),
        ("1e3", "EUR"),
        ("1_000", "EUR"),
        (" 1", "EUR"),
        ("1.", "EUR"),
        ("+1", "EUR"),
        ("٣", "EUR"),
        ("NaN", "EUR"),
        ("", "EUR"),
        ("9" * 5000, "EUR"),
        (Decimal("0.001"), "EUR"),
        (Decimal("NaN"), "EUR"),
        (Decimal("-Infinity"), "EUR"),
        (Decimal("1E-999999"), "EUR"),
    ],
)
def test_an_amount_the_currency_cannot_hold_is_refused(amount: str | Decimal, currency: str) -> None:
    with pytest.raises(AmountNotRepresentable) as refusal:
        Money.of(amount, currency)

    assert refusal.value.remedy


def test_a_decimal_is_taken_by_its_value_whatever_zeros_it_carries() -> None:
    assert Money.of(Decimal("12.5000"), "EUR") == Money.of(Decimal("1.25E+1"), "EUR") == Money.of("12.50", "EUR")
    assert Money.of(Decimal("0E-9"), "EUR") == Money.zero("EUR")


@pytest.mark.parametrize("amount", [1.5, 12, None])
def test_only_text_and_decimals_make_money(amount: object) -> None:
    with pytest.raises(TypeError):
        Money.of(cast("Any", amount), "EUR")


def test_minor_units_are_whole_numbers_only() -> None:
    with pytest.raises(ValidationError):
        Money.model_validate({"minor": 1.0, "currency": "EUR"})


@pytest.mark.parametrize("currency", ["EURO", "", "XXX", "XAU", "HRK", "BGN"])
def test_a_code_that_is_no_active_currency_is_refused(currency: str) -> None:
    with pytest.raises(UnknownCurrency):
        Money.of("1", currency)
    with pytest.raises(UnknownCurrency):
        Money(minor=1, currency=currency)


def test_a_currency_in_small_letters_is_refused_with_the_code_that_was_meant() -> None:
    with pytest.raises(UnknownCurrency) as refusal:
        Money.of("1", "eur")

    assert refusal.value.remedy == "Write EUR."


@given(small, small, currencies)
def test_sums_and_differences_are_those_of_the_minor_units(left: int, right: int, currency: str) -> None:
    a, b = Money(minor=left, currency=currency), Money(minor=right, currency=currency)

    assert (a + b).minor == left + right
    assert a - b == a + -b
    assert sum([a, b], Money.zero(currency)) == a + b
    assert (a < b, a <= b, a > b, a >= b) == (left < right, left <= right, left > right, left >= right)


def test_two_currencies_never_meet() -> None:
    euro, dollar = Money.of("1", "EUR"), Money.of("1", "USD")

    for meet in (
        lambda: euro + dollar,
        lambda: euro - dollar,
        lambda: euro < dollar,
        lambda: euro <= dollar,
        lambda: euro > dollar,
        lambda: euro >= dollar,
    ):
        with pytest.raises(CurrencyMismatch):
            meet()
    assert euro != dollar


@pytest.mark.parametrize("amount", ["1000000000000000.00", "-1000000000000000.00", Decimal("1E+999999")])
def test_an_amount_beyond_the_column_is_refused_with_the_largest_one(amount: str | Decimal) -> None:
    with pytest.raises(AmountOutOfRange) as refusal:
        Money.of(amount, "EUR")

    assert "999999999999999.99 EUR" in refusal.value.remedy


def test_a_sum_beyond_the_column_is_refused() -> None:
    largest = Money(minor=MINOR_LIMIT - 1, currency="EUR")

    with pytest.raises(AmountOutOfRange):
        _ = largest + Money(minor=1, currency="EUR")


@pytest.mark.parametrize(
    ("amount", "rate", "to", "converted"),
    [
        ("0.05", "0.5", "USD", "0.02"),
        ("0.15", "0.5", "USD", "0.08"),
        ("-0.05", "0.5", "USD", "-0.02"),
        ("10.00", "161.25", "JPY", "1612"),
        ("10.00", "0.3345", "KWD", "3.345"),
    ],
)
def test_conversion_rounds_half_to_even(amount: str, rate: str, to: str, converted: str) -> None:
    assert Money.of(amount, "EUR").converted(Decimal(rate), to).amount == converted


@given(small, currencies, currencies, st.decimals("0.0001", "1", places=8).filter(bool))
def test_conversion_agrees_with_decimal_arithmetic(minor: int, currency: str, to: str, rate: Decimal) -> None:
    money = Money(minor=minor // 1000, currency=currency)
    with localcontext(prec=60):
        exact = Decimal(money.amount) * rate
        expected = exact.quantize(Decimal(1).scaleb(-exponent(to)), rounding=ROUND_HALF_EVEN)

    assert Decimal(money.converted(rate, to).amount) == expected


@pytest.mark.parametrize("rate", ["0", "-1", "NaN", "Infinity", "1E+999999"])
def test_a_rate_that_is_none_is_refused(rate: str) -> None:
    with pytest.raises(RateNotUsable):
        Money.of("1", "EUR").converted(Decimal(rate), "USD")


@given(st.text(), currencies)
def test_any_text_is_money_or_a_refusal_in_words(amount: str, currency: str) -> None:
    try:
        Money.of(amount, currency)
    except CustomerSuccessError as refusal:
        assert refusal.remedy
