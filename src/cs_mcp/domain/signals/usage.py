"""How much a customer uses the product: figures a day, for the whole account and by department."""

from __future__ import annotations

import math
from datetime import date, timedelta
from difflib import get_close_matches
from enum import StrEnum
from typing import Final

from cs_mcp.domain.contract import shown


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


def place_of(metric: str) -> int:
    """The place of a metric in `METRICS`. Raises ValueError with the names there are."""
    if metric not in METRICS:
        near = get_close_matches(metric, METRICS, 1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"{shown(metric)} is no metric of usage; they are {', '.join(METRICS)}.{meant}")
    return METRICS.index(metric)


def figure(what: str, value: float) -> int:
    """A figure as it is kept. Raises ValueError for what cannot be counted."""
    if value < 0:
        raise ValueError(f"{what}: {value:g} is below zero")
    if value > LARGEST:
        raise ValueError(f"{what}: {value:g} is larger than {LARGEST:,}")
    if math.isnan(value) or value != int(value):
        raise ValueError(f"{what}: {value:g} is not a whole number")
    return int(value)


def refuse_future(day: date, today: date) -> None:
    """Usage is told once it has happened. A day's grace, for who is ahead of the workspace's clock."""
    if day > today + timedelta(days=1):
        raise ValueError(f"on: {day} is in the future; today is {today}")


def department_key(name: str) -> str:
    """How the department is called in figures, whatever its spelling; empty for the whole account."""
    key = " ".join(name.casefold().split())
    if len(key) > DEPARTMENT_LIMIT:
        raise ValueError(f"department: {len(key)} characters are more than {DEPARTMENT_LIMIT}")
    return key
