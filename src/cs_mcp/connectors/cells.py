"""What a cell may hold: text in, a typed value out, or a reason a person understands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import PlainValidator

from cs_mcp.domain.accounts.accounts import CustomValue
from cs_mcp.domain.money import CURRENCIES

KEY_LENGTH: Final = 200
NAME_LENGTH: Final = 500
TEXT_LENGTH: Final = 100_000
# Years outside these are placeholders ("9999-12-31", "0001-01-01") or typing errors, and break date arithmetic.
FIRST_YEAR: Final = 1900
LAST_YEAR: Final = 2199
# Files name the same accounts and days over and over; remembering them reads a sixth more usage rows a second.
_REMEMBERED: Final = 10_000

_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{1,12})?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,15}(\.0+)?", re.ASCII)  # pandas writes a whole number as "12.0" beside empty cells
_EMAIL = re.compile(r"[^\s@,;<>]+@[^\s@,;<>]+")
_YES_AND_NO: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def shown(text: str) -> str:
    """The value as a reason quotes it: control characters escaped, long ones cut."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _cell(parse: Callable[[str], Any], *accepted: type) -> PlainValidator:
    """A validator of text by `parse`; values that already have an `accepted` type pass."""

    def validated(value: Any) -> Any:
        if isinstance(value, str):
            return parse(value)
        if isinstance(value, accepted):
            return value
        raise ValueError("is empty, and every row needs it")

    return PlainValidator(validated)


def storable(text: str, limit: int) -> str:
    """The text as it is. NUL and lone surrogates pass Python and break the stores' drivers."""
    if len(text) > limit:
        raise ValueError(f"{shown(text)} is {len(text):,} characters long; {limit:,} is the limit")
    if "\x00" in text:
        raise ValueError(f"{shown(text)} holds a NUL character")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{shown(text)} holds half of a character (a lone surrogate)")
    return text


@lru_cache(_REMEMBERED)
def _key(text: str) -> str:
    # Stripped, " A1" would silently join "A1"; kept, it would be an account of its own that looks the same.
    if text != text.strip():
        raise ValueError(f"{shown(text)} has spaces around it, so it may not mean {shown(text.strip())}")
    if not text.isprintable() and "\x00" not in text:
        raise ValueError(f"{shown(text)} holds a character that cannot be seen")
    return storable(text, KEY_LENGTH)


def is_email(text: str) -> bool:
    return _EMAIL.fullmatch(text.strip()) is not None


def _email(text: str) -> str:
    if not is_email(text):
        raise ValueError(f"{shown(text)} is not an e-mail address")
    return storable(text.strip(), KEY_LENGTH)


def _in_reach(day: date, text: str) -> None:
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ValueError(
            f"{shown(text)} is outside the years {FIRST_YEAR} to {LAST_YEAR}; leave the cell empty if no date is known"
        )


@lru_cache(_REMEMBERED)
def _day(text: str) -> date:
    text = text.strip()
    try:
        # `fromisoformat` alone would take "20240131" and "2024-W05-3" too.
        if len(text) != 10 or text[4] != "-" or text[7] != "-":
            raise ValueError
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is not a date (YYYY-MM-DD)") from None
    _in_reach(day, text)
    return day


def _instant(text: str) -> datetime:
    text = text.strip()
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is not a time (2024-01-31T09:30:00Z)") from None
    if instant.tzinfo is None:
        raise ValueError(f"{shown(text)} names no time zone (2024-01-31T09:30:00Z, or +02:00 at the end)")
    _in_reach(instant, text)
    return instant.astimezone(UTC)


def _number(text: str) -> Decimal:
    if _NUMBER.fullmatch(text.strip()) is None:
        raise ValueError(f"{shown(text)} is not a number (1200.50, without thousands separators)")
    return Decimal(text.strip())


def _amount(text: str) -> Decimal:
    number = _number(text)
    if number < 0:
        raise ValueError(f"{shown(text)} is below zero")
    return number


def _rate(text: str) -> Decimal:
    number = _number(text)
    if number <= 0:
        raise ValueError(f"{shown(text)} is not above zero")
    return number


def _measure(text: str) -> float:
    return float(_number(text))


def _count(text: str) -> int:
    if _INTEGER.fullmatch(text.strip()) is None:
        raise ValueError(f"{shown(text)} is not a whole number")
    count = int(text.strip().partition(".")[0])
    if count < 0:
        raise ValueError(f"{shown(text)} is below zero")
    return count


def _severity(text: str) -> int:
    if text.strip() not in ("1", "2", "3", "4"):
        raise ValueError(f"{shown(text)} is not a severity (1 is the worst, 4 the mildest)")
    return int(text)


def _flag(text: str) -> bool:
    flag = _YES_AND_NO.get(text.strip().casefold())
    if flag is None:
        raise ValueError(f"{shown(text)} is neither true nor false")
    return flag


def _currency(text: str) -> str:
    currency = text.strip().upper()
    if currency not in CURRENCIES:
        raise ValueError(f"{shown(text)} is not a currency of ISO 4217 (three letters, as USD)")
    return currency


def _name_among(names: Iterable[str]) -> Callable[[str], str]:
    by_name = {str(name): name for name in names}

    def parse(text: str) -> str:
        name = by_name.get(text.strip().casefold().replace(" ", "_").replace("-", "_"))
        if name is None:
            raise ValueError(f"{shown(text)} is not one of {', '.join(by_name)}")
        return name

    return parse


def one_of(names: Iterable[str]) -> PlainValidator:
    """One of the names, whatever its case, with spaces or hyphens for the underscores."""
    return _cell(_name_among(names))


def list_of(parse: Callable[[str], Any]) -> PlainValidator:
    """A cell split at `;`: parts without the spaces around them, empty parts left out."""

    def parts(value: Any) -> tuple[Any, ...]:
        if value is None:
            return ()
        found: Iterable[str] = value.split(";") if isinstance(value, str) else value
        return tuple(parse(part.strip()) for part in found if part.strip())

    return PlainValidator(parts)


def names_of(names: Iterable[str]) -> PlainValidator:
    """A list in which each part is one of the names."""
    return list_of(_name_among(names))


def _text(limit: int) -> Callable[[str], str]:
    return lambda text: storable(text, limit)


def _custom(fields: dict[str, CustomValue]) -> dict[str, CustomValue]:
    for name, value in fields.items():
        if not name or len(name) > KEY_LENGTH or not name.isprintable():
            raise ValueError(f"{shown(name)} is not a name for a custom field")
        try:
            if isinstance(value, str):
                storable(value, TEXT_LENGTH)
        except ValueError as reason:
            raise ValueError(f"{name}: {reason}") from None
    return fields


Key = Annotated[str, _cell(_key)]
Name = Annotated[str, _cell(_text(NAME_LENGTH))]
Text = Annotated[str, _cell(_text(TEXT_LENGTH))]
Email = Annotated[str, _cell(_email)]
Day = Annotated[date, _cell(_day, date)]
Instant = Annotated[datetime, _cell(_instant, datetime)]
SignedAmount = Annotated[Decimal, _cell(_number, Decimal)]
Amount = Annotated[Decimal, _cell(_amount, Decimal)]
Rate = Annotated[Decimal, _cell(_rate, Decimal)]
Measure = Annotated[float, _cell(_measure, float, int)]
Count = Annotated[int, _cell(_count, int)]
Severity = Annotated[int, _cell(_severity, int)]
Flag = Annotated[bool, _cell(_flag, bool)]
Currency = Annotated[str, _cell(_currency)]
Tags = Annotated[tuple[str, ...], list_of(_text(NAME_LENGTH))]
Lines = Annotated[tuple[str, ...], list_of(_text(TEXT_LENGTH))]
Keys = Annotated[tuple[str, ...], list_of(_key)]
CustomFields = Annotated[dict[str, CustomValue], PlainValidator(_custom)]
