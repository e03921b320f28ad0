"""SQLite's planner statistics, given once instead of gathered: a new store has no rows to gather them from.

Without any, the planner takes an index by how many of its columns are named, and reads a person's whole book through
an index made for the workspace. The figures say what a book of customers is like, not how many there are: rows a
value of each column, from the left, have in common (https://sqlite.org/lang_analyze.html, "Fixed Results Of ANALYZE").
`ANALYZE` may replace them at any time.
"""

from __future__ import annotations

from typing import Final

from alembic import op

_FIGURES: Final = {
    "ix_account_list": "100000 100000 33000 8000 2700 450 1 1 1",
    "ix_account_arr": "100000 100000 2 1",
    "ix_account_renewal": "100000 100000 270 1",
    "ix_account_score": "100000 100000 10000 1",
    "account_score": "100000 100000 1",
    "ix_account_touch": "100000 100000 1000 1",
    "ix_account_owner": "100000 100000 200 1",
    "ix_account_name_key": "100000 100000 1 1",
    "ix_account_domain": "100000 100000 1",
    "sqlite_autoindex_account_1": "100000 100000 1",
    "ix_change_account": "1000000 1000000 30 1",
    "ix_change_record": "1000000 1000000 4 1",
    "ix_change_run": "1000000 1000000 5000 1",
    "ix_change_write": "1000000 1000000 4 1",
    "sqlite_autoindex_change_1": "1000000 1000000 1",
    "ix_task_account": "500000 500000 5 2 1",
    "ix_task_assignee": "500000 500000 1000 300 2",
    "ix_task_due": "500000 500000 150000 300",
    "sqlite_autoindex_task_1": "500000 500000 1",
    # Without it the planner takes a workspace for ten payloads, and reads them all to find those of an account.
    "sqlite_autoindex_change_payload_1": "1000000 1000000 1",
    "ix_arr_movement_account": "600000 600000 6 1",
    "ix_arr_movement_on": "600000 600000 400",
    "sqlite_autoindex_arr_movement_1": "600000 600000 1",
    "ix_revenue_month_size": "500000 500000 100000 3 1",
    # Of a table without row ids its key goes by the name of the table.
    "revenue_month": "500000 500000 5 5 2 1",
    "revenue_book": "1000 1000 300 80 1 1",
    "revenue_window": "15000 15000 5000 1700 25 7 7 4 1",
    "revenue_cohort": "2000 2000 2000 30 1",
    "revenue_restatement": "20000 20000 2 1",
    "past_attribute": "50000 50000 10000 2 1",
}
_TABLES: Final = {
    "ix_account_score": "account_score",
    "sqlite_autoindex_change_payload_1": "change_payload",
    "sqlite_autoindex_arr_movement_1": "arr_movement",
    "ix_arr_movement_account": "arr_movement",
    "ix_arr_movement_on": "arr_movement",
    "ix_revenue_month_size": "revenue_month",
}


def give_statistics() -> None:
    if op.get_bind().dialect.name != "sqlite":
        return  # PostgreSQL gathers its own
    op.execute("ANALYZE sqlite_schema")  # makes the table they stand in
    for index, figures in _FIGURES.items():
        table = _TABLES.get(index) or _named_in(index)
        op.execute(f"INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('{table}', '{index}', '{figures}')")  # noqa: S608


def _named_in(index: str) -> str:
    if index.startswith("sqlite"):
        return index.split("_")[-2]
    return index.split("_")[1] if index.startswith("ix_") else index
