"""What the forecast keeps: every renewal as it stood on a day. Derived, so not remembered."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Date, Index, SmallInteger, String, Table, text

from cs_mcp.db.base import Base, Id, Minor

# `expected_minor` is what health told to expect on the day. `milestone` marks the first look at a renewal so many days
# before its close: from those rows the accuracy of forecasts is read.
SNAPSHOTS: Final[Table] = Table(
    "forecast_snapshot",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("on", Date, primary_key=True),
    Column("renewal_id", Id, primary_key=True),
    Column("run_id", Id),
    Column("account_id", Id, nullable=False),
    Column("owner_id", Id),
    Column("segment", String(16), nullable=False),
    Column("band", String(8), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("category", String(16)),
    Column("amount_minor", Minor, nullable=False),
    Column("expected_minor", Minor, nullable=False),
    Column("arr_minor", Minor, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("close_on", Date, nullable=False),
    Column("closed_on", Date),
    Column("milestone", SmallInteger),
    Index(
        "ix_forecast_snapshot_milestone",
        "workspace",
        "milestone",
        "close_on",
        sqlite_where=text("milestone IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)
