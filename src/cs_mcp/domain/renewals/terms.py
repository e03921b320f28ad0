"""Terms of a subscription: when one ends, by when notice has to be given, and how the next one runs."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, timedelta
from typing import Final, NamedTuple

from cs_mcp.domain.calendar import add_months

_ONE_DAY: Final = timedelta(days=1)
_LATEST: Final = date(9000, 1, 1)  # contracts "without end" are written as the year 9999: they have no cycle


class Term(NamedTuple):
    """A term's last day, and the last day on which notice can be given."""

    ends_on: date
    deadline_on: date


def current_term(
    *,
    starts_on: date,
    ends_on: date | None,
    canceled_on: date | None,
    term_months: int | None,
    notice_days: int | None,
    trial: bool,
    arr_minor: int,
    today: date,
) -> Term | None:
    """The term that is to be renewed next.

    None where there is nothing to renew: a trial, without ARR, canceled, over, or evergreen (neither an end nor terms).
    """
    if trial or arr_minor <= 0 or canceled_on is not None:
        return None
    if ends_on is None:
        if not term_months:
            return None
        ends_on = rolling_term_end(starts_on, term_months, today)
    if ends_on is None or ends_on < max(today, starts_on) or ends_on >= _LATEST:
        return None
    return Term(ends_on, notice_deadline(starts_on, ends_on, notice_days))


def rolling_term_end(starts_on: date, term_months: int, today: date) -> date | None:
    """The last day of the term that holds `today`, of terms that follow one another without end."""
    if today >= _LATEST or starts_on >= _LATEST or term_months > 12_000:
        return None
    passed = max(0, (today.year - starts_on.year) * 12 + today.month - starts_on.month)
    number = max(1, passed // term_months)
    # Counted from the first day each time: terms that begin on the 31st come back to it after February.
    while (end := add_months(starts_on, number * term_months) - _ONE_DAY) < today:
        number += 1
    return end


def notice_deadline(starts_on: date, ends_on: date, notice_days: int | None) -> date:
    """End of term − notice days; never before the term's first day."""
    notice = notice_days or 0
    return ends_on - timedelta(days=notice) if notice < (ends_on - starts_on).days else min(starts_on, ends_on)


def months_of(starts_on: date, ends_on: date) -> int | None:
    """The length of a term in whole months; None where it is none."""
    months = (ends_on.year - starts_on.year) * 12 + ends_on.month - starts_on.month
    for length in (months, months + 1):
        if length > 0 and add_months(starts_on, length) - _ONE_DAY == ends_on:
            return length
    return None


def next_term_end(starts_on: date, ends_on: date, months: int | None) -> date:
    """The last day of the term after `starts_on`..`ends_on`: as long as it, or `months` long.

    Terms that begin at a month's end keep to it: from 31 January, after 27 February follows 30 March.
    """
    first = ends_on + _ONE_DAY
    length = months or months_of(starts_on, ends_on)
    if length is None:
        return ends_on + (first - starts_on)
    last_of_month = monthrange(first.year, first.month)[1]
    wanted_day = max(first.day, starts_on.day) if first.day == last_of_month else first.day
    begins = add_months(first, length)
    return begins.replace(day=min(wanted_day, monthrange(begins.year, begins.month)[1])) - _ONE_DAY
