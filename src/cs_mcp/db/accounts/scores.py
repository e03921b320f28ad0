"""What each account was scored last, in a row of its own: a night replaces all of them, and little else of an account.

Every account has its row, which a trigger adds (migrations/scores_beside.py); one without a score was never scored.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Float,
    Index,
    Integer,
    SmallInteger,
    Table,
    and_,
    bindparam,
    cast,
    func,
    insert,
    select,
    update,
)

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.base import Base, Id
from cs_mcp.db.read_path import Statement
from cs_mcp.db.wire import Wire

ACCOUNT: Final[Any] = AccountRow.__table__
ACCOUNT_SCORE: Final[Any] = Table(
    "account_score",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("account_id", Id, primary_key=True),
    Column("score", Float),
    Column("trend", Float),
    # The score in steps of ten points, which most nights leave as they are, and with them the index of lists by score.
    # PostgreSQL generates it, and enters a row anew only where it differs. SQLite enters a row anew wherever an indexed
    # column is set, so there it stands for itself, and follows the scores of a batch (`steps_follow`).
    Column("step", SmallInteger),
    Index("ix_account_score", "workspace", "step", "account_id"),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": 50},  # every row is replaced every night, which needs no index where it has room
)


def score_step(score: Any, *, sqlite: bool) -> ColumnElement[int]:
    """The step of a score, as the store computes it: none is larger than that of a larger score."""
    tens = score / 10.0
    return cast(tens if sqlite else func.floor(tens), Integer)  # SQLite cuts off where PostgreSQL rounds


def of_account(account: Any = ACCOUNT, score: Any = ACCOUNT_SCORE) -> ColumnElement[bool]:
    return and_(score.c.workspace == account.c.workspace, score.c.account_id == account.c.id)


def score_of(account: Any) -> ColumnElement[float]:
    """The score of the account at hand."""
    own = ACCOUNT_SCORE.alias()
    return select(own.c.score).where(of_account(account, own)).correlate(account).scalar_subquery()


def _missing() -> Any:
    here = ACCOUNT.c.workspace == bindparam("in_workspace", type_=Id)
    without = select(ACCOUNT.c.workspace, ACCOUNT.c.id).where(
        here, ~select(ACCOUNT_SCORE.c.account_id).where(of_account()).exists()
    )
    return insert(ACCOUNT_SCORE).from_select(["workspace", "account_id"], without)


_MISSING: Final = Statement(_missing)


def steps_follow(*of: ColumnElement[bool]) -> Any:
    """On SQLite: the steps of these rows where they are not those of their scores."""
    step = score_step(ACCOUNT_SCORE.c.score, sqlite=True)
    return update(ACCOUNT_SCORE).where(*of, ACCOUNT_SCORE.c.step.is_distinct_from(step)).values(step=step)


_STEPS: Final = Statement(lambda: steps_follow(ACCOUNT_SCORE.c.workspace == bindparam("in_workspace", type_=Id)))


async def add_missing(wire: Wire, workspace: str) -> None:
    """For a store that was written to behind its triggers."""
    await wire.many(_MISSING, [{"in_workspace": workspace}])
    if wire.dialect.name == "sqlite":
        await wire.many(_STEPS, [{"in_workspace": workspace}])
