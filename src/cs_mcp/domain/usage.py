"""How much a customer uses the product: figures a day, for the whole account and by department."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class UsageMetric(StrEnum):
    """What is counted; the order is that of the columns and of the bits in `summed`."""

    active_users = "active_users"
    power_sessions = "power_sessions"
    logins = "logins"
    feature_events = "feature_events"
    seats_used = "seats_used"
    integrations = "integrations"
    api_calls = "api_calls"


METRICS: Final = tuple(metric.value for metric in UsageMetric)
WHOLE_ACCOUNT: Final = ""  # the department of a figure that is not broken down
DEPARTMENT_LIMIT: Final = 100
LARGEST: Final = 10**15  # sums of it over years stay within 64 bits
