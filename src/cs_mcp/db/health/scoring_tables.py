"""What scoring keeps: a snapshot of each account a day, and the runs that made them. Derived, so not remembered."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, Date, Double, Index, Integer, String, Table, Text

from cs_mcp.db.base import Base, Id, Instant
from cs_mcp.domain.health.rubric import SLOTS

# Points (hundredths) and raw values lie in the slot of their measure: its place in the rubric of that version.
SNAPSHOTS: Final[Table] = Table(
    "health_snapshot",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("account_id", Id, primary_key=True),
    Column("on", Date, primary_key=True),
    Column("run_id", Id, nullable=False),
    Column("rubric", String(32), nullable=False),
    Column("score_tenths", Integer),
    Column("band", String(8), nullable=False),
    Column("computed_band", String(8), nullable=False),
    Column("confidence", Integer, nullable=False),
    Column("rules", Text),
    *(Column(f"p{slot}", Integer) for slot in range(1, SLOTS + 1)),
    *(Column(f"v{slot}", Double) for slot in range(1, SLOTS + 1)),
    sqlite_with_rowid=False,
)

RUNS: Final[Table] = Table(
    "health_run",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("as_of", Date, nullable=False),
    Column("rubric", String(32), nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("accounts", Integer, nullable=False),
    Column("batches", Integer, nullable=False),
    # Of runs that score from what is kept: the last change it was doubted by, and what it meant (facts/keeping.py).
    Column("seq", BigInteger),
    Column("facts_key", String(32)),
    Index("ix_health_run_as_of", "workspace", "as_of", "id"),
)


def slot_columns(table: Any, letter: str) -> list[Any]:
    return [table.c[f"{letter}{slot}"] for slot in range(1, SLOTS + 1)]
