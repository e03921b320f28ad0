"""Money: whole minor units of one currency. A float never touches an amount."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Self

from pydantic import BaseModel, ConfigDict, StrictInt, field_validator

from cs_mcp.domain.errors import Invalid

# Ninety sums of the largest amount still fit a signed 64-bit column.
MINOR_LIMIT = 10**17

# ISO 4217:2015, list one (active codes, funds included) as amended up to January 2026. Codes for which the standard
# gives no minor unit (XAU, XDR, XTS, XXX …) are left out: nothing can be counted in them.
_CODES_BY_EXPONENT = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW
        CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF
        IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK
        MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP
        SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG
        YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_EXPONENTS = {code: decimals for decimals, codes in _CODES_BY_EXPONENT.items() for code in codes.split()}

CURRENCIES = frozenset(_EXPONENTS)

_PLAIN_DECIMAL = re.compile(r"-?[0-9]{1,30}(?:\.([0-9]{1,30}))?")


class UnknownCurrency(Invalid):
    def __init__(self, currency: str) -> None:
        meant = currency.strip().upper()
        super().__init__(
            f"{currency[:20]!r} is not an active ISO 4217 currency.",
            remedy=f"Write {meant}." if meant in CURRENCIES else "Use the three-letter code, such as EUR or USD.",
        )


class CurrencyMismatch(Invalid):
    def __init__(self, left: str, right: str) -> None:
        super().__init__(
            f"{left} and {right} cannot be added or compared.",
            remedy=f"Convert one of them first, or ask for {left} and {right} apart.",
        )


class AmountNotRepresentable(Invalid):
    def __init__(self, amount: str | Decimal, currency: str) -> None:
        decimals = exponent(currency)
        shape = f"at most {decimals} decimals" if decimals else "no decimals"
        super().__init__(
            f"{str(amount)[:40]!r} is not an amount of {currency}.",
            remedy=f"Write digits with a point and {shape}, no separators, such as {_as_text(123450, decimals)!r}.",
        )


class AmountOutOfRange(Invalid):
    def __init__(self, currency: str) -> None:
        super().__init__(
            f"The amount of {currency} is too large to be kept.",
            remedy=f"The largest is {_as_text(MINOR_LIMIT - 1, exponent(currency))} {currency}; check for extra zeros.",
        )


class RateNotUsable(Invalid):
    def __init__(self, rate: Decimal) -> None:
        super().__init__(
            f"{str(rate)[:40]} is not an exchange rate.",
            remedy="Give how many units of the target currency one unit is worth, greater than zero.",
        )


def exponent(currency: str) -> int:
    """Decimals the currency has: 2 for EUR, 0 for JPY, 3 for KWD."""
    try:
        return _EXPONENTS[currency]
    except KeyError:
        raise UnknownCurrency(currency) from None


class Money(BaseModel):
    """An amount in minor units (cents for EUR, yen for JPY) and its ISO 4217 code."""

    model_config = ConfigDict(frozen=True)

    minor: StrictInt
    currency: str

    @field_validator("currency")
    @classmethod
    def _is_known(cls, currency: str) -> str:
        exponent(currency)
        return currency

    def model_post_init(self, context: object, /) -> None:
        if abs(self.minor) >= MINOR_LIMIT:
            raise AmountOutOfRange(self.currency)

    @classmethod
    def of(cls, amount: str | Decimal, currency: str) -> Self:
        """From "1234.5" or a Decimal. Text with more decimals than the currency has is refused, zeros included,
        because "1.500" is a thousand and a half to many people; a Decimal is taken by its value.
        """
        decimals = exponent(currency)
        match amount:
            case str():
                plain = _PLAIN_DECIMAL.fullmatch(amount)
                if plain is None or len(plain[1] or "") > decimals:
                    raise AmountNotRepresentable(amount, currency)
                value = Decimal(amount)
            case Decimal():
                value = amount
            case _:
                raise TypeError(f"An amount is a decimal text or a Decimal, not {type(amount).__name__}.")
        if value.is_zero():
            return cls.zero(currency)
        # The size is looked at first: Decimal("1E+999999") must not be written out.
        if not value.is_finite() or value.adjusted() < -decimals:
            raise AmountNotRepresentable(amount, currency)
        if value.adjusted() > 18:
            raise AmountOutOfRange(currency)
        minor = Fraction(value) * 10**decimals
        if minor.denominator != 1:
            raise AmountNotRepresentable(amount, currency)
        return cls(minor=minor.numerator, currency=currency)

    @classmethod
    def zero(cls, currency: str) -> Self:
        return cls(minor=0, currency=currency)

    @property
    def amount(self) -> str:
        """Decimal text with exactly the currency's decimals: "1234.50", "-5.00", "1200" for JPY."""
        return _as_text(self.minor, exponent(self.currency))

    def converted(self, rate: Decimal, to: str) -> Money:
        """At `rate` units of `to` for one unit of this currency, rounded half to even in minor units of `to`."""
        if not rate.is_finite() or rate <= 0 or abs(rate.adjusted()) > 18:
            raise RateNotUsable(rate)
        scale = Fraction(10) ** (exponent(to) - exponent(self.currency))
        # Fractions are exact and round() on them is ROUND_HALF_EVEN: no decimal context can change the result.
        return Money(minor=round(self.minor * Fraction(rate) * scale), currency=to)

    def __add__(self, other: Money) -> Money:
        return Money(minor=self.minor + self._minor_of(other), currency=self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(minor=self.minor - self._minor_of(other), currency=self.currency)

    def __neg__(self) -> Money:
        return Money(minor=-self.minor, currency=self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.minor < self._minor_of(other)

    def __le__(self, other: Money) -> bool:
        return self.minor <= self._minor_of(other)

    def __gt__(self, other: Money) -> bool:
        return self.minor > self._minor_of(other)

    def __ge__(self, other: Money) -> bool:
        return self.minor >= self._minor_of(other)

    def __str__(self) -> str:
        return f"{Decimal(self.amount):,f} {self.currency}"

    def _minor_of(self, other: Money) -> int:
        if self.currency != other.currency:
            raise CurrencyMismatch(self.currency, other.currency)
        return other.minor


def _as_text(minor: int, decimals: int) -> str:
    sign = "-" if minor < 0 else ""
    digits = str(abs(minor)).zfill(decimals + 1)
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}" if decimals else f"{sign}{digits}"
