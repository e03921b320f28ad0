"""Days, quarters and business days as one workspace counts them. Instants are aware and UTC; a day is a date."""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated, Protocol
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, computed_field, field_validator

from cs_mcp.domain.errors import Invalid

_ONE_DAY = timedelta(days=1)


class UnknownTimeZone(Invalid):
    def __init__(self, name: str) -> None:
        near = get_close_matches(name[:64], available_timezones(), n=3)
        super().__init__(
            f"{name[:64]!r} is not an IANA time zone.",
            remedy=f"Did you mean {' or '.join(near)}?" if near else "Use a name such as Europe/Madrid or UTC.",
        )


class DayOutOfRange(Invalid):
    def __init__(self, day: date) -> None:
        super().__init__(
            f"The calendar does not reach that far from {day.isoformat()}.",
            remedy="Use a day between the years 2 and 9998.",
        )


class Clock(Protocol):
    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class FixedClock:
    """A clock that moves only when told to."""

    def __init__(self, at: datetime) -> None:
        self._at = _utc(at)

    def now(self) -> datetime:
        return self._at

    def advance(self, by: timedelta) -> None:
        self._at += by


class FiscalQuarter(BaseModel):
    """Three months of a fiscal year, which is named after the calendar year in which it ends."""

    model_config = ConfigDict(frozen=True)

    fiscal_year: int
    quarter: Annotated[int, Field(ge=1, le=4)]
    starts_on: date
    ends_on: Annotated[date, Field(description="Last day, inclusive.")]

    @computed_field
    @property
    def label(self) -> str:
        return f"Q{self.quarter} FY{self.fiscal_year}"


# Sets are written in order, so that the same calendar always gives the same JSON.
_Weekdays = Annotated[
    frozenset[Annotated[int, Field(ge=0, le=6)]],
    Field(min_length=1),
    PlainSerializer(sorted, return_type=list[int], when_used="json"),
]
_Days = Annotated[frozenset[date], PlainSerializer(sorted, return_type=list[date], when_used="json")]


class Calendar(BaseModel):
    """How a workspace reads time. Weekdays count from Monday (0) to Sunday (6)."""

    model_config = ConfigDict(frozen=True)

    time_zone: str = "UTC"
    fiscal_year_starts: Annotated[int, Field(ge=1, le=12, description="Month, 1 to 12.")] = 1
    working_days: _Weekdays = frozenset(range(5))
    holidays: _Days = frozenset()

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        # These exist in some zone databases, but mean another zone on another machine, or count leap seconds.
        if name in {"localtime", "posixrules", "Factory"} or name.startswith(("posix/", "right/")):
            raise UnknownTimeZone(name)
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise UnknownTimeZone(name) from None
        return name

    def day_of(self, instant: datetime) -> date:
        """The day with start_of(day) <= instant < end_of(day)."""
        local = _utc(instant).astimezone(ZoneInfo(self.time_zone))
        day = local.date()
        # Clocks set back across midnight show yesterday's date again; the new day has begun and stays.
        if local.fold and _utc(instant) >= self.end_of(day):
            return day + _ONE_DAY
        return day

    def today(self, now: datetime) -> date:
        return self.day_of(now)

    def least_ahead_of_utc(self, around: date) -> int:
        """The fewest seconds that its clocks are ahead of UTC, in the year before and after a day."""
        return _least_ahead(self.time_zone, around)

    def start_of(self, day: date) -> datetime:
        """The first instant of the day, in UTC: the first midnight, or the end of a gap that swallows midnight.

        A day that a zone skipped altogether (Samoa, 30 December 2011) is empty: it starts where it ends.
        """
        zone = ZoneInfo(self.time_zone)
        midnight = datetime.combine(day, time.min)
        try:
            start = midnight.replace(tzinfo=zone).astimezone(UTC)
            if start.astimezone(zone).replace(tzinfo=None) == midnight:
                return start
            before = midnight.replace(tzinfo=zone, fold=1).astimezone(UTC)
        except OverflowError:
            raise DayOutOfRange(day) from None

        def has_begun(seconds: int) -> bool:
            return (before + timedelta(seconds=seconds)).astimezone(zone).replace(tzinfo=None) >= midnight

        gap = range(int((start - before).total_seconds()))
        return before + timedelta(seconds=bisect_left(gap, True, key=has_begun))

    def end_of(self, day: date) -> datetime:
        """The first instant after the day, in UTC."""
        return self.start_of(_plus_days(day, 1))

    def quarter_of(self, day: date) -> FiscalQuarter:
        months_in = (day.month - self.fiscal_year_starts) % 12
        starts_on = add_months(day.replace(day=1), -(months_in % 3))
        return FiscalQuarter(
            fiscal_year=day.year + (1 < self.fiscal_year_starts <= day.month),
            quarter=months_in // 3 + 1,
            starts_on=starts_on,
            ends_on=_end_of_month(add_months(starts_on, 2)),
        )

    def is_business_day(self, day: date) -> bool:
        return day.weekday() in self.working_days and day not in self.holidays

    def add_business_days(self, day: date, n: int) -> date:
        """The n-th business day after `day`, or before it when n is negative.

        n = 0 gives the day itself, or the next business day when it is none.
        """
        step = -1 if n < 0 else 1
        if n == 0:
            while not self.is_business_day(day):
                day = _plus_days(day, 1)
        for _ in range(abs(n)):
            day = _plus_days(day, step)
            while not self.is_business_day(day):
                day = _plus_days(day, step)
        return day

    def business_days_between(self, start: date, end: date) -> int:
        """Business days one has to go from `start` to reach `end`; `start` itself does not count.

        Undoes add_business_days: between(d, add(d, n)) == n, for every n but 0. Negative when `end` is earlier.
        """
        if end < start:
            return -self._business_days(end, days_between(end, start))
        return self._business_days(_plus_days(start, 1), days_between(start, end)) if end > start else 0

    def _business_days(self, first: date, length: int) -> int:
        weeks, rest = divmod(length, 7)
        regular = weeks * len(self.working_days) + sum(
            (first.weekday() + i) % 7 in self.working_days for i in range(rest)
        )
        off = sum(
            day.weekday() in self.working_days and 0 <= days_between(first, day) < length for day in self.holidays
        )
        return regular - off


@lru_cache(maxsize=64)
def _least_ahead(time_zone: str, around: date) -> int:
    zone, noon = ZoneInfo(time_zone), datetime.combine(around, time(12), UTC)
    weeks = (noon + timedelta(weeks=week) for week in range(-53, 54))
    return min(int(ahead.total_seconds()) for at in weeks if (ahead := at.astimezone(zone).utcoffset()) is not None)


def add_months(day: date, n: int) -> date:
    """The same day n months on, or the month's last day: 31 January + 1 is 28 or 29 February."""
    year, month = divmod(day.year * 12 + day.month - 1 + n, 12)
    if not date.min.year <= year <= date.max.year:
        raise DayOutOfRange(day)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def year_to(end: date) -> date:
    """The first day of the twelve calendar months that end with the month of this day."""
    return add_months(end.replace(day=1), -11)


def days_between(start: date, end: date) -> int:
    """Days from `start` to `end`; negative when `end` is earlier."""
    return (end - start).days


def _end_of_month(day: date) -> date:
    return day.replace(day=monthrange(day.year, day.month)[1])


def _plus_days(day: date, n: int) -> date:
    try:
        return day + timedelta(days=n)
    except OverflowError:
        raise DayOutOfRange(day) from None


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("An instant carries its time zone; this one has none.")
    return instant.astimezone(UTC)
