"""Custom fields: columns that nothing else reads, and the type that all their values share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from cs_mcp.connectors.cells import shown
from cs_mcp.connectors.mapping import CustomColumn, FieldType
from cs_mcp.connectors.tables import Cells
from cs_mcp.domain.accounts.accounts import CustomValue

# A leading zero, a plus or sixteen digits are no quantity: post codes, telephone numbers, identifiers.
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,12})?", re.ASCII)
_NAMES_NO_QUANTITY: Final = frozenset(
    {"phone", "mobilephone", "mobile", "fax", "zip", "postal", "postcode", "id", "vid"}
)
_TRUTHS: Final = {"true": True, "yes": True, "false": False, "no": False}
_CHOICES: Final = 12
_CHOICE_LENGTH: Final = 50

Day = Callable[[str], str]


@dataclass(slots=True)
class CustomField:
    """`values` are those of a choice, or else empty."""

    column: str
    name: str
    type: FieldType
    values: list[str] = field(default_factory=list[str])


class _Met:
    """What the values of one column can still be."""

    def __init__(self, column: str, day: Day) -> None:
        self._day = day
        self._number = _NAMES_NO_QUANTITY.isdisjoint(column.split("_"))
        self._boolean = self._date = True
        self._choices: set[str] | None = set()
        self._count = 0

    def add(self, text: str) -> None:
        text = text.strip()
        self._count += 1
        self._number = self._number and _NUMBER.fullmatch(text) is not None
        self._boolean = self._boolean and text.casefold() in _TRUTHS
        self._date = self._date and self._is_day(text)
        if self._choices is not None:
            self._choices.add(text)
            if len(self._choices) > _CHOICES or len(text) > _CHOICE_LENGTH:
                self._choices = None

    def _is_day(self, text: str) -> bool:
        if text.isdecimal():  # milliseconds since 1970 are days where the mapping says so, else numbers
            return False
        try:
            self._day(text)
        except ValueError:
            return False
        return True

    def field(self, column: str, name: str, told: FieldType | None) -> CustomField:
        kind = told or self._type()
        return CustomField(column, name, kind, sorted(self._choices or ()) if kind is FieldType.choice else [])

    def _type(self) -> FieldType:
        if not self._count:
            return FieldType.text
        if self._boolean:
            return FieldType.boolean
        if self._number:
            return FieldType.number
        if self._date:
            return FieldType.date
        if self._choices is not None and self._count >= 2 * len(self._choices):
            return FieldType.choice
        return FieldType.text


def find_custom_fields(
    rows: Iterable[Cells], columns: Iterable[str], told: Mapping[str, CustomColumn | bool], day: Day
) -> list[CustomField]:
    """The fields that the columns become, typed by the mapping or by all values of all rows."""
    wanted = [column for column in columns if told.get(column, True) is not False]
    met = {column: _Met(column, day) for column in wanted}
    for cells in rows:
        for column, values in met.items():
            if (text := cells.get(column, "")) and not text.isspace():
                values.add(text)
    fields: list[CustomField] = []
    names: set[str] = set()
    for column in wanted:
        said = told.get(column)
        said = said if isinstance(said, CustomColumn) else CustomColumn()
        name = said.name or column.removeprefix("property_")
        name = column if name in names else name
        names.add(name)
        fields.append(met[column].field(column, name, said.type))
    return fields


def typed(kind: FieldType, text: str, day: Day) -> CustomValue:
    """The cell as its field holds it; an empty one is None. Raises ValueError for a value of another type."""
    text = text.strip() if kind is not FieldType.text else text
    if not text or text.isspace():
        return None
    match kind:
        case FieldType.number:
            if _NUMBER.fullmatch(text) is None:
                raise ValueError(f"{shown(text)} is not a number, as the mapping says it is")
            number = Decimal(text)
            return int(number) if number == number.to_integral_value() else float(number)
        case FieldType.boolean:
            if text.casefold() not in _TRUTHS:
                raise ValueError(f"{shown(text)} is neither true nor false, as the mapping says it is")
            return _TRUTHS[text.casefold()]
        case FieldType.date:
            return day(text)
        case FieldType.text | FieldType.choice:
            return text
