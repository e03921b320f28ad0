"""Times as HubSpot and warehouses write them: with a zone or without, as a day, as milliseconds since 1970."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cs_mcp.connectors.cells import shown
from cs_mcp.connectors.mapping import Times

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
# "2020-12-30 3:15:52", "2022-03-01 19:37:03.699000", "2023-06-08T23:22:50Z", "2020-07-09 11:04:22.087 UTC"
_INSTANT: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?\s*(Z|UTC|[+-]\d{2}(?::?\d{2})?)?", re.ASCII
)
_MILLISECONDS: Final = re.compile(r"-?\d{11,14}", re.ASCII)
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """Reads times by the mapping's zones. All raise ValueError for what is no time."""

    def __init__(self, times: Times) -> None:
        self._written_in = ZoneInfo(times.written_in)
        self._days_in = ZoneInfo(times.days_in)
        self.day = lru_cache(10_000)(self._day)

    def instant(self, text: str) -> str:
        """In ISO 8601, with zone; "" for an empty cell."""
        return self._instant(text.strip()).isoformat() if text.strip() else ""

    def _day(self, text: str) -> str:
        """The calendar day, where the mapping says days are counted; "" for an empty cell."""
        text = text.strip()
        if not text:
            return ""
        if _DAY.fullmatch(text):
            return str(date.fromisoformat(text))
        return str(self._instant(text).astimezone(self._days_in).date())

    def _instant(self, text: str) -> datetime:
        try:
            if _MILLISECONDS.fullmatch(text):
                return _FIRST + timedelta(milliseconds=int(text))
            if _DAY.fullmatch(text):
                return datetime.fromisoformat(text).replace(tzinfo=self._written_in)
            if found := _INSTANT.fullmatch(text):
                day, hour, minute, second, fraction, zone = found.groups()
                clock = f"{hour:0>2}:{minute}:{second or '00'}.{(fraction or '')[:6]:0<6}"
                instant = datetime.fromisoformat(f"{day}T{clock}{_offset(zone)}")
                return instant if zone else instant.replace(tzinfo=self._written_in)
        except (ValueError, OverflowError):
            pass
        raise ValueError(f"{shown(text)} is not a time (2024-01-31 09:30:00, with or without a zone)")


def _offset(zone: str | None) -> str:
    if zone is None or zone in ("Z", "UTC"):
        return "+00:00" if zone else ""
    return f"{zone[:3]}:{zone[3:].lstrip(':') or '00'}"
