"""What a driver's failure means: try the unit again, tell the caller, or let it rise."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm.exc import StaleDataError

from cs_mcp.domain.errors import Conflict, CustomerSuccessError, StoreUnusable

# PostgreSQL: serialization failure, deadlock, lock not available.
_AGAIN = frozenset({"40001", "40P01", "55P03"})


def _sqlstate(failure: BaseException | None) -> str | None:
    while failure is not None:
        state = getattr(failure, "sqlstate", None)
        if isinstance(state, str):
            return state
        failure = getattr(failure, "orig", None) or failure.__cause__
    return None


def is_transient(failure: BaseException) -> bool:
    """Whether running the whole unit again may succeed: a concurrent version, a deadlock, a busy file."""
    if isinstance(failure, StaleDataError):
        return True
    if _sqlstate(failure) in _AGAIN:
        return True
    return is_busy(failure)


def is_busy(failure: BaseException) -> bool:
    """Whether others hold the SQLite file. Statements of `wire` raise the driver's own error, the ORM wraps it."""
    said = getattr(failure, "orig", failure)
    return isinstance(said, sqlite3.OperationalError) and "database is locked" in str(said)


def is_taken(failure: BaseException) -> bool:
    """Whether a row with the same key is there already, on PostgreSQL."""
    return _sqlstate(failure) == "23505"


_UNIQUE = {
    "uq_member_email": ("another user has this e-mail", "Use another e-mail, or update the user who has it."),
    "uq_task_open_purpose": (
        "an open task with this purpose exists on the account",
        "Call list_tasks for the account and update that task instead.",
    ),
}


def refused_by_the_store(failure: BaseException) -> CustomerSuccessError | None:
    """A broken constraint, a full disk or a store held by others in words, where a caller can meet it."""
    if _sqlstate(failure) == "53100" or "database or disk is full" in str(getattr(failure, "orig", failure)):
        return StoreUnusable(
            "The disk that holds the store is full. Nothing was done.",
            remedy="Tell whoever runs the server; call again with the same idempotency_key when there is room.",
        )
    if is_transient(failure):
        return StoreUnusable(
            "Others held the store the whole time that a write waits for them. Nothing was done.",
            remedy="Call again in a minute; if it happens again, see which program or import holds the store.",
        )
    if not isinstance(failure, IntegrityError) and not (isinstance(failure, DBAPIError) and is_taken(failure)):
        return None
    said = str(failure.orig)
    for name, (why, remedy) in _UNIQUE.items():
        columns = {"uq_member_email": "member.email", "uq_task_open_purpose": "task.purpose"}[name]
        if name in said or columns in said:
            return Conflict(f"Refused: {why}. Nothing was done.", remedy=remedy)
    return None
