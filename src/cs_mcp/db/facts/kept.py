"""What the feeds tell of each account, kept: one row an account with the columns of facts/groups.py by group.

A night renews the groups that a write touched or that time alone may have changed, and scores from these rows;
any other day is read from the records themselves. It can always be renewed whole (facts/keeping.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Double, Integer, Table

from cs_mcp.db.base import Base, Id

KEPT: Final[Mapping[str, tuple[str, ...]]] = {
    "tickets": (
        *("open_sev1", "open_sev2", "open_tickets", "tickets_30", "tickets_prev_60", "resolved_90"),
        *("resolution_seconds", "sla_told_90", "sla_breaches_90", "escalations_90"),
    ),
    "surveys": ("survey_answers", "weighted", "weights", "newest_second"),
    "newest_nps": ("nps_latest",),
    "notes": ("sentiments", "sentiment_sum"),
    "meetings": ("touched_day", "reviewed_day", "attended_365", "sentiments", "sentiment_sum"),
    "attendance": ("engaged_contacts", "engaged_heights", "engaged_functions", "sponsor_met_day"),
    "contacts": ("contacts",),
    "seats": ("sponsors", "champions", "confirmed_day", "sponsor_id", "seated_day", "departed_day"),
    "invoices": ("oldest_due_day", "invoices_365", "late_365"),
    "ledger": ("arr_minor", "contracted_365_minor"),
    "subscriptions": ("seats_licensed", "term_months", "auto_renews", "ends_day"),
    "company_events": ("company_events_180", "bad_events_180"),
    "department": (),  # the sponsor's: the rollup of usage keeps it itself, and looks it up again when this is due
}
_TYPES: Final[Mapping[str, Any]] = {"sponsor_id": Id, "nps_latest": Double}


def until(group: str) -> str:
    """The column with the first day on which time alone may change the group; NULL where all of it is read anew."""
    return f"{group}_until"


def kept_as(group: str, name: str) -> str:
    return f"{group}_{name}"


def columns_of(group: str) -> list[Column[Any]]:
    return [Column(kept_as(group, name), _TYPES.get(name, BigInteger)) for name in KEPT[group]]


ACCOUNT_FACTS: Final = Table(
    "account_facts",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("account_id", Id, primary_key=True),
    Column("as_of_day", Integer),  # the last day that any group was renewed for
    *(Column(until(group), Integer) for group in KEPT),
    *(column for group in KEPT for column in columns_of(group)),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": 80},  # room for what a night renews, beside what it replaces
)

# Accounts that changes touched and that wait to be renewed: bit n of `groups` is the n-th of `KEPT`. Beside their rows,
# which lie all over the book: this is one small write at the start of a night.
ACCOUNT_DOUBT: Final = Table(
    "account_doubt",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("account_id", Id, primary_key=True),
    Column("groups", Integer, nullable=False),
    sqlite_with_rowid=False,
)
