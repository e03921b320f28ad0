"""The clock on an unhappy customer, against a model that counts hour by hour and day by day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.work.reply_clock import ReplyState, reply_clock

MADRID = Calendar(time_zone="Europe/Madrid", holidays=frozenset({date(2026, 3, 19)}))
MONDAY = date(2026, 3, 16)
CAME = datetime(2026, 3, 16, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (CAME, ReplyState.running),
        (CAME + timedelta(hours=48, seconds=-1), ReplyState.running),
        (CAME + timedelta(hours=48), ReplyState.overdue),
        # Five business days and a holiday after Monday the 16th is Tuesday the 24th; it begins in Madrid at 23 UTC.
        (datetime(2026, 3, 23, 22, 59, tzinfo=UTC), ReplyState.overdue),
        (datetime(2026, 3, 23, 23, 0, tzinfo=UTC), ReplyState.escalated),
    ],
)
def test_a_reply_is_due_within_48_hours_and_escalates_after_5_business_days(now: datetime, state: ReplyState) -> None:
    assert reply_clock(MONDAY, CAME, now, MADRID).state is state


def test_without_an_hour_it_counts_from_the_start_of_the_day_there() -> None:
    clock = reply_clock(MONDAY, None, CAME, MADRID)

    assert clock.received_at == datetime(2026, 3, 15, 23, tzinfo=UTC)
    assert clock.due_at == datetime(2026, 3, 17, 23, tzinfo=UTC)


@given(st.dates(date(2024, 1, 1), date(2030, 12, 31)), st.integers(0, 24 * 20))
def test_the_state_only_ever_goes_on(received: date, hours: int) -> None:
    came = MADRID.start_of(received)
    states = [reply_clock(received, came, came + timedelta(hours=h), MADRID).state for h in (hours, hours + 1)]
    order = list(ReplyState)
    business_days = sum(
        MADRID.is_business_day(received + timedelta(days=n))
        for n in range(1, (MADRID.today(came + timedelta(hours=hours)) - received).days + 1)
    )

    assert order.index(states[0]) <= order.index(states[1])
    assert (states[0] is ReplyState.running) == (hours < 48)
    assert (states[0] is ReplyState.escalated) == (hours >= 48 and business_days >= 5)
