"""What is kept of the ledger so that its figures need no sum over the book. Derived: made again from the ledger.

Nothing is deleted here, because the application role may not: a sum that came to nothing stays as a row of zeros.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, Date, Index, Integer, SmallInteger, String, Table

from cs_mcp.db.base import Base, Id, Instant, Json, Minor

# Live movements of an account, summed by the month of their day (its first day), currency and kind.
REVENUE_MONTH: Final = Table(
    "revenue_month",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("account_id", Id, primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("month", Date, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("amount_minor", Minor, nullable=False),
    Column("movements", Integer, nullable=False),
    Index("ix_revenue_month_size", "workspace", "kind", "amount_minor", "month"),
    sqlite_with_rowid=False,
)

# The workspace's sums: by how much ARR, and the number of accounts with any, moved in a month. What a ledger is below
# zero is counted apart. `dimension` '' counts everything; segment and tier count each value by itself, and what passes
# from one to another in a month as a change of both.
REVENUE_BOOK: Final = Table(
    "revenue_book",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("dimension", String(8), primary_key=True),
    Column("value", String(24), primary_key=True),
    Column("month", Date, primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("amount_minor", Minor, nullable=False),
    Column("below_minor", Minor, nullable=False),
    Column("accounts", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# What accounts net to within `months` months up to and with `last_month`: netting does not add up over months, so
# the windows that are asked for most are kept apart. Accounts without a movement in a window are not in it. A segment
# or tier is the one that the account had when the window began.
REVENUE_WINDOW: Final = Table(
    "revenue_window",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("dimension", String(8), primary_key=True),
    Column("months", SmallInteger, primary_key=True, autoincrement=False),
    Column("last_month", Date, primary_key=True),
    Column("value", String(24), primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("in_cohort", Boolean, primary_key=True),
    Column("bar", String(16), primary_key=True),
    Column("amount_minor", Minor, nullable=False),
    Column("accounts", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# What moved in a month of the accounts that started in another: see `cohorts.Step`.
REVENUE_COHORT: Final = Table(
    "revenue_cohort",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("started", Date, primary_key=True),
    Column("month", Date, primary_key=True),
    Column("accounts", Integer, nullable=False),
    Column("arr_minor", Minor, nullable=False),
    Column("kept_minor", Minor, nullable=False),
    Column("initial_accounts", Integer, nullable=False),
    Column("initial_minor", Minor, nullable=False),
    sqlite_with_rowid=False,
)

# The latest instant at which something told of that day was corrected, or told late: figures that had the day in
# them, and were closed before the instant, are restated.
REVENUE_RESTATEMENT: Final = Table(
    "revenue_restatement",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("account_id", Id, primary_key=True),
    Column("on", Date, primary_key=True),
    Column("at", Instant, nullable=False),
    sqlite_with_rowid=False,
)

# The value that an attribute of an account had until an instant, for every attribute that ever changed.
PAST_ATTRIBUTE: Final = Table(
    "past_attribute",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("field", String(16), primary_key=True),
    Column("account_id", Id, primary_key=True),
    Column("until_at", Instant, primary_key=True),
    Column("value", Json),
    sqlite_with_rowid=False,
)
