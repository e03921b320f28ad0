"""Usage by day: figures that are sent again when they are corrected, so each has a key and no history of its own.

Each day with any figure has a row of the whole account; the bits of `summed` name the metrics of that row which
nobody told and which are the sum of its departments or, for feature events, of its features.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text, text

from cs_mcp.db.base import Base, Id
from cs_mcp.domain.signals.usage import METRICS


def _figure(name: str) -> Column[Any]:
    return Column(name, BigInteger)


# `account_id` is the record that the figures were told for, merged away or not: a merge and its undo move no row here,
# and a feed that goes on naming the old record goes on correcting its own figures. Reads fold them (usage/rollup.py).
USAGE_DAY: Final = Table(
    "usage_day",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("account_id", Id, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("department", Text, primary_key=True),
    *map(_figure, METRICS),
    Column("summed", Integer, nullable=False),
    sqlite_with_rowid=False,
)

USAGE_FEATURE: Final = Table(
    "usage_feature",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("account_id", Id, primary_key=True),
    Column("feature_id", Id, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("department", Text, primary_key=True),
    Column("events", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# What a rollup holds of a record's usage; None where nothing is known.
# Figures told last: metric, how many days back from as-of they count, and the column with the day they were told for.
LATEST: Final = {
    "seats_used": ("seats_used", 0, 59, "seats_day"),
    "integrations": ("integrations", 0, 59, "integrations_day"),
    "integrations_prev": ("integrations", 30, 59, "integrations_prev_day"),
}
# Sums of a metric from `first` to `last` days back from as-of, and the column that counts the days which told it.
WINDOWS: Final = {
    "active_7": ("active_users", 0, 6, "days_7"),
    "active_30": ("active_users", 0, 29, "days_30"),
    "active_prev_30": ("active_users", 30, 59, "days_prev_30"),
    "events_30": ("feature_events", 0, 29, "event_days_30"),
    "events_prev_30": ("feature_events", 30, 59, "event_days_prev_30"),
    "power_w1": ("power_sessions", 0, 6, "power_days_w1"),
    "power_w2": ("power_sessions", 7, 13, "power_days_w2"),
    "power_w3": ("power_sessions", 14, 20, "power_days_w3"),
}
# The same of the executive sponsor's department.
SPONSOR_WINDOWS: Final = {
    "sponsor_dept_30": ("active_users", 0, 29, "sponsor_dept_days_30"),
    "sponsor_dept_prev_30": ("active_users", 30, 59, "sponsor_dept_days_prev_30"),
}
SPAN: Final = 60  # days that all of these lie within
COUNTS: Final = tuple(days for *_, days in (*WINDOWS.values(), *SPONSOR_WINDOWS.values()))
TOLD_ON: Final = tuple(day for *_, day in LATEST.values())


def _by_day(name: str, windows: Collection[tuple[str, int, int, str]], beside: list[str], where: str) -> None:
    counted = {metric for metric, *_ in windows}
    Index(
        name,
        *(USAGE_DAY.c[column] for column in ("workspace", "day", "account_id")),
        postgresql_include=[*beside, *(metric for metric in METRICS if metric in counted)],
        postgresql_where=text(where),
    ).ddl_if("postgresql")


# A night reads a few days of every account: on SQLite by their keys, on PostgreSQL day by day, from the index alone.
# Rows of the whole account stand by themselves there, or each of its days would be read past, for its departments.
_by_day("ix_usage_day_by_day", [*WINDOWS.values(), *LATEST.values()], [], "department = ''")
_by_day("ix_usage_day_departments", [*SPONSOR_WINDOWS.values()], ["department"], "department <> ''")

CORE: Final = ("core_used_30", "core_total")
FIGURES: Final = (
    *("first_day", "last_day", *LATEST, *TOLD_ON, "active_now"),
    *(*WINDOWS, *SPONSOR_WINDOWS, *COUNTS, *CORE),
)

USAGE_ROLLUP: Final = Table(
    "usage_rollup",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("account_id", Id, primary_key=True),
    Column("as_of_day", Integer),  # None: not computed yet
    Column("stale", Boolean, nullable=False),  # a fact on or before as_of_day moved since
    Column("touched", Boolean, nullable=False),  # so that what cannot be shifted by a fact waits to be read again
    Column("core_key", String(32)),  # which features were core
    Column("sponsor_department", Text),
    *map(_figure, FIGURES),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": 50},  # every row is replaced every night, which needs no index where it has room
)
