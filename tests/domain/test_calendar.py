from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cs_mcp.domain.calendar import (
    Calendar,
    DayOutOfRange,
    FiscalQuarter,
    FixedClock,
    SystemClock,
    UnknownTimeZone,
    add_months,
    days_between,
)

ZONES = [
    "UTC",
    "Europe/Madrid",
    "America/New_York",
    "America/Sao_Paulo",  # set its clocks forward at midnight: days that began at 01:00
    "America/Havana",  # sets its clocks back to midnight: midnight comes twice
    "America/St_Johns",  # set its clocks back at 00:01: the evening before came again
    "America/Toronto",  # once set its clocks forward at 23:30: midnight fell inside the gap
    "America/Juneau",  # repeated a whole day in 1867
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Apia",  # skipped 30 December 2011
    "Pacific/Kiritimati",  # UTC+14
    "Pacific/Niue",
]
zones = st.sampled_from(ZONES)
days = st.dates(date(1850, 1, 1), date(2200, 12, 31))
instants = st.datetimes(datetime(1850, 1, 2), datetime(2200, 12, 30), timezones=st.just(UTC))
calendars = st.builds(
    Calendar,
    working_days=st.frozensets(st.integers(0, 6), min_size=1),
    holidays=st.frozensets(st.dates(date(2026, 1, 1), date(2026, 12, 31)), max_size=30),
)
days_of_2026 = st.dates(date(2025, 12, 1), date(2027, 1, 31))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- clocks ----------------------------------------------------------------------------------------------------------


def test_a_fixed_clock_moves_only_when_told() -> None:
    clock = FixedClock(datetime(2026, 11, 21, 1, tzinfo=timezone(timedelta(hours=1))))

    assert clock.now() == clock.now() == at("2026-11-21")
    clock.advance(timedelta(days=1, hours=2))

    assert clock.now() == at("2026-11-22T02:00")
    assert clock.now().tzinfo is UTC


def test_the_system_clock_speaks_utc() -> None:
    assert SystemClock().now().utcoffset() == timedelta(0)


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError):
        FixedClock(datetime(2026, 1, 1))
    with pytest.raises(ValueError):
        Calendar().day_of(datetime(2026, 1, 1))


# --- days ------------------------------------------------------------------------------------------------------------


@given(zones, instants)
def test_every_instant_lies_within_its_day(zone: str, instant: datetime) -> None:
    calendar = Calendar(time_zone=zone)
    day = calendar.day_of(instant)

    assert calendar.start_of(day) <= instant < calendar.end_of(day)


@given(zones, days)
def test_a_day_begins_where_its_clocks_first_show_it(zone: str, day: date) -> None:
    calendar = Calendar(time_zone=zone)
    start = calendar.start_of(day)

    assert start.tzinfo is UTC
    assert start.astimezone(ZoneInfo(zone)).date() >= day
    assert (start - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date() < day
    if calendar.end_of(day) > start:
        assert calendar.day_of(start) == day
        assert calendar.day_of(calendar.end_of(day) - timedelta(microseconds=1)) == day


@given(zones, days)
def test_days_follow_one_another_without_hole_or_overlap(zone: str, day: date) -> None:
    calendar = Calendar(time_zone=zone)

    assert calendar.end_of(day) == calendar.start_of(day + timedelta(days=1))
    assert calendar.end_of(day) >= calendar.start_of(day)


@given(st.timezone_keys(allow_prefix=False), st.integers(0, 700))
def test_every_zone_of_the_machine_keeps_instants_within_their_day(zone: str, offset: int) -> None:
    if zone in {"localtime", "Factory"}:
        return
    calendar = Calendar(time_zone=zone)
    instant = at("2025-06-01T12:30") + timedelta(days=offset)

    assert calendar.start_of(calendar.today(instant)) <= instant < calendar.end_of(calendar.today(instant))


@pytest.mark.parametrize(
    ("zone", "day", "start", "hours"),
    [
        ("UTC", date(2026, 3, 29), "2026-03-29T00:00", 24),
        ("Europe/Madrid", date(2026, 3, 29), "2026-03-28T23:00", 23),
        ("Europe/Madrid", date(2026, 10, 25), "2026-10-24T22:00", 25),
        ("Pacific/Kiritimati", date(2026, 1, 1), "2025-12-31T10:00", 24),
        ("America/Sao_Paulo", date(2018, 11, 4), "2018-11-04T03:00", 23),
        ("America/Sao_Paulo", date(2018, 2, 17), "2018-02-17T02:00", 25),
        ("America/Havana", date(2026, 11, 1), "2026-11-01T04:00", 25),
        ("America/Toronto", date(1919, 3, 31), "1919-03-31T04:30", 23.5),
        ("Pacific/Apia", date(2011, 12, 30), "2011-12-30T10:00", 0),
    ],
)
def test_days_are_as_long_as_their_clocks_make_them(zone: str, day: date, start: str, hours: float) -> None:
    calendar = Calendar(time_zone=zone)

    assert calendar.start_of(day) == at(start)
    assert calendar.end_of(day) - calendar.start_of(day) == timedelta(hours=hours)


def test_a_day_that_has_begun_stays_when_clocks_are_set_back_across_midnight() -> None:
    newfoundland = Calendar(time_zone="America/St_Johns")
    midnight = at("2010-11-07T02:30")

    assert newfoundland.start_of(date(2010, 11, 7)) == midnight
    assert newfoundland.day_of(midnight + timedelta(minutes=30)) == date(2010, 11, 7)  # clocks show 23:30 again


def test_today_depends_on_where_one_is() -> None:
    now = at("2026-11-20T23:30")

    assert Calendar().today(now) == date(2026, 11, 20)
    assert Calendar(time_zone="Europe/Madrid").today(now) == date(2026, 11, 21)


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../etc/passwd", "/etc/localtime", "America", "localtime", "x\0y"])
def test_a_zone_nobody_knows_is_refused(zone: str) -> None:
    with pytest.raises(UnknownTimeZone):
        Calendar(time_zone=zone)


def test_a_misspelt_zone_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownTimeZone) as refusal:
        Calendar(time_zone="Europe/Madird")

    assert "Europe/Madrid" in refusal.value.remedy


def test_a_day_beyond_the_calendar_is_refused_in_words() -> None:
    for reach in (
        lambda: Calendar(time_zone="Asia/Tokyo").start_of(date.min),
        lambda: Calendar().end_of(date.max),
        lambda: Calendar().add_business_days(date.max, 1),
        lambda: add_months(date.max, 1),
        lambda: add_months(date.min, -1),
    ):
        with pytest.raises(DayOutOfRange):
            reach()


# --- quarters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("starts", "day", "label", "starts_on", "ends_on"),
    [
        (1, date(2026, 11, 21), "Q4 FY2026", date(2026, 10, 1), date(2026, 12, 31)),
        (2, date(2026, 1, 31), "Q4 FY2026", date(2025, 11, 1), date(2026, 1, 31)),
        (2, date(2026, 2, 1), "Q1 FY2027", date(2026, 2, 1), date(2026, 4, 30)),
        (7, date(2025, 12, 31), "Q2 FY2026", date(2025, 10, 1), date(2025, 12, 31)),
        (12, date(2024, 2, 29), "Q1 FY2024", date(2023, 12, 1), date(2024, 2, 29)),
    ],
)
def test_a_fiscal_year_is_named_after_the_year_in_which_it_ends(
    starts: int, day: date, label: str, starts_on: date, ends_on: date
) -> None:
    quarter = Calendar(fiscal_year_starts=starts).quarter_of(day)

    assert (quarter.label, quarter.starts_on, quarter.ends_on) == (label, starts_on, ends_on)
    assert quarter.model_dump(mode="json")["label"] == label


@given(st.integers(1, 12), days)
def test_quarters_tile_the_years(starts: int, day: date) -> None:
    calendar = Calendar(fiscal_year_starts=starts)
    quarter = calendar.quarter_of(day)
    following = calendar.quarter_of(quarter.ends_on + timedelta(days=1))

    assert quarter.starts_on <= day <= quarter.ends_on
    assert calendar.quarter_of(quarter.starts_on) == calendar.quarter_of(quarter.ends_on) == quarter
    assert following.starts_on == quarter.ends_on + timedelta(days=1)
    assert _ordinal(following) == _ordinal(quarter) + 1
    assert (quarter.quarter == 1) == (quarter.starts_on.month == starts)
    assert quarter.quarter != 4 or quarter.ends_on.year == quarter.fiscal_year


def _ordinal(quarter: FiscalQuarter) -> int:
    return quarter.fiscal_year * 4 + quarter.quarter


# --- business days ---------------------------------------------------------------------------------------------------


@given(calendars, days_of_2026, st.integers(-60, 60))
def test_business_days_counted_on_are_counted_back(calendar: Calendar, day: date, n: int) -> None:
    reached = calendar.add_business_days(day, n)

    assert calendar.is_business_day(reached)
    if n:
        assert calendar.business_days_between(day, reached) == n


@given(calendars, days_of_2026, days_of_2026)
def test_business_days_between_are_those_one_counts_by_hand(calendar: Calendar, start: date, end: date) -> None:
    walked = [start + timedelta(days=i) for i in range(1, days_between(start, end) + 1)]
    walked_back = [start - timedelta(days=i) for i in range(1, days_between(end, start) + 1)]

    counted = sum(map(calendar.is_business_day, walked)) - sum(map(calendar.is_business_day, walked_back))

    assert calendar.business_days_between(start, end) == counted


def test_no_business_days_on_is_the_day_itself_or_the_next_business_day() -> None:
    calendar = Calendar(holidays=frozenset({date(2026, 11, 23)}))

    assert calendar.add_business_days(date(2026, 11, 20), 0) == date(2026, 11, 20)
    assert calendar.add_business_days(date(2026, 11, 21), 0) == date(2026, 11, 24)
    assert calendar.add_business_days(date(2026, 11, 20), 1) == date(2026, 11, 24)
    assert calendar.add_business_days(date(2026, 11, 24), -1) == date(2026, 11, 20)


@pytest.mark.parametrize(
    "broken", [{"working_days": []}, {"working_days": [7]}, {"fiscal_year_starts": 0}, {"fiscal_year_starts": 13}]
)
def test_a_calendar_without_sense_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Calendar.model_validate(broken)


@given(calendars)
def test_a_calendar_is_written_in_order_and_read_back(calendar: Calendar) -> None:
    written = calendar.model_dump(mode="json")

    assert written["holidays"] == sorted(written["holidays"])
    assert Calendar.model_validate(written) == calendar


# --- months ----------------------------------------------------------------------------------------------------------


@given(days, st.integers(-1200, 1200))
def test_months_are_added_as_dateutil_adds_them(day: date, n: int) -> None:
    assert add_months(day, n) == day + relativedelta(months=n)


def test_a_month_after_the_31st_of_january_is_the_end_of_february() -> None:
    assert add_months(date(2026, 1, 31), 1) == date(2026, 2, 28)
    assert add_months(date(2028, 1, 31), 1) == date(2028, 2, 29)


@given(days, days)
def test_days_between_lead_from_one_day_to_the_other(start: date, end: date) -> None:
    assert start + timedelta(days=days_between(start, end)) == end
