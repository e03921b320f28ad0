"""Health over a book: how many accounts and how much ARR stand in each band, and how they moved since a day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import BigInteger, Date, Double, String, and_, bindparam, case, cast, func, literal, or_, select

from cs_mcp.db.accounts import AccountRow
from cs_mcp.db.members import MemberRow
from cs_mcp.db.overrides import override_on
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads
from cs_mcp.db.scoring_tables import RUNS, SNAPSHOTS
from cs_mcp.db.subscriptions import ArrMovementRow
from cs_mcp.domain.identity import Principal

ACCOUNT: Final[Any] = AccountRow.__table__
MEMBER: Final[Any] = MemberRow.__table__
LEDGER: Final[Any] = ArrMovementRow.__table__

Slice = Literal["segment", "tier", "owner"]
_SLICES: Final = {"segment": "segment", "tier": "tier", "owner": "owner_id"}
NOT_SCORED, CHURNED = "not scored", "churned"


class Days(NamedTuple):
    """Days on which all were scored: the first ever, and the last up to the start and up to the end of a period."""

    first: date | None
    start: date | None
    end: date | None


class Shape(NamedTuple):
    """What is asked for: of a past day, of one owner, in slices."""

    past: bool
    of_owner: bool
    slice_by: Slice | None


def _last_run(day: str) -> Any:
    done = (RUNS.c.workspace == bindparam("workspace"), RUNS.c.finished_at.is_not(None))
    return select(func.max(RUNS.c.as_of)).where(*done, RUNS.c.as_of <= bindparam(day, type_=Date)).scalar_subquery()


_DAYS: Final = Statement(
    lambda: select(
        select(func.min(RUNS.c.as_of))
        .where(RUNS.c.workspace == bindparam("workspace"), RUNS.c.finished_at.is_not(None))
        .scalar_subquery()
        .label("first"),
        _last_run("start").label("start"),
        _last_run("end").label("end"),
    )
)


def _arr_on(day: str) -> Any:
    """ARR of an account on a day, from its ledger, in its own currency."""
    total = func.coalesce(func.sum(LEDGER.c.amount_minor), 0)
    return (
        select(cast(total, BigInteger))
        .where(
            LEDGER.c.workspace == ACCOUNT.c.workspace,
            LEDGER.c.account_id == ACCOUNT.c.id,
            LEDGER.c.removed_at.is_(None),
            LEDGER.c.currency == ACCOUNT.c.currency,
            LEDGER.c.on <= bindparam(day, type_=Date),
        )
        .scalar_subquery()
    )


def _book(scope: Conditions, shape: Shape) -> Any:
    """One row an account: its band, score and ARR at the start and at the end; NULL bands where it was not scored."""
    then, now = SNAPSHOTS.alias("then"), SNAPSHOTS.alias("now")
    start, end = bindparam("start", type_=Date), bindparam("end", type_=Date)

    def on_day(snapshot: Any, run_day: str) -> Any:
        return and_(
            snapshot.c.workspace == ACCOUNT.c.workspace,
            snapshot.c.account_id == ACCOUNT.c.id,
            snapshot.c.on == bindparam(run_day, type_=Date),
        )

    arr = _arr_on("end") if shape.past else ACCOUNT.c.arr_minor
    is_gone = and_(ACCOUNT.c.stage == CHURNED, arr == 0)
    band = func.coalesce(override_on(ACCOUNT, end), now.c.band) if shape.past else ACCOUNT.c.health_band
    score = cast(now.c.score_tenths, Double) / literal(10.0, Double) if shape.past else ACCOUNT.c.health_score
    found = (
        select(
            ACCOUNT.c.id,
            ACCOUNT.c.workspace,
            ACCOUNT.c.name,
            ACCOUNT.c.currency,
            case((is_gone, CHURNED), else_=func.coalesce(band, NOT_SCORED)).label("band"),
            func.coalesce(func.coalesce(override_on(ACCOUNT, start), then.c.band), NOT_SCORED).label("band_before"),
            case((is_gone, None), else_=score).label("score"),
            (cast(then.c.score_tenths, Double) / literal(10.0, Double)).label("score_before"),
            arr.label("arr_minor"),
            _arr_on("start").label("arr_before"),
            (ACCOUNT.c[_SLICES[shape.slice_by]] if shape.slice_by else literal("", String)).label("slice"),
        )
        .select_from(ACCOUNT)
        .outerjoin(then, on_day(then, "start_run"))
        .outerjoin(now, on_day(now, "end_run"))
        .where(*scope)
    )
    if shape.of_owner:
        found = found.where(ACCOUNT.c.owner_id == bindparam("owner", type_=String))
    # Fenced, so that neither store computes a column as often as it is named.
    return found.offset(literal(0)).subquery("book")


def _total(column: Any, name: str) -> Any:
    return cast(func.sum(column), BigInteger).label(name)


def _by_band(scope: Conditions, shape: Shape) -> Any:
    of = _book(scope, shape).c
    grouped = (of.slice, of.band, of.currency)
    return (
        select(*grouped, func.count().label("accounts"), _total(of.arr_minor, "arr_minor"))
        .where(of.band != CHURNED)
        .group_by(*grouped)
        .order_by(*grouped)
    )


def _migration(scope: Conditions, shape: Shape) -> Any:
    of = _book(scope, shape).c
    grouped = (of.band_before, of.band, of.currency)
    return (
        select(*grouped, func.count().label("accounts"), _total(of.arr_before, "arr_minor"))
        # Who had churned before the period did not move in it.
        .where(or_(of.band != CHURNED, of.arr_before != 0))
        .group_by(*grouped)
        .order_by(*grouped)
    )


def _movers(scope: Conditions, shape: Shape, sign: int) -> Any:
    of = _book(scope, shape).c
    moved = of.score - of.score_before
    return (
        select(of.id, of.name, of.currency, of.arr_minor, of.score_before, of.score, of.band)
        .where(moved * sign > 0)
        .order_by((moved * sign).desc(), of.arr_minor.desc(), of.id)
        .limit(bindparam("limit"))
    )


@lru_cache(maxsize=64)
def _statements(shape: Shape) -> Sequence[Scoped]:
    return (
        Scoped("account", lambda scope: _by_band(scope, shape)),
        Scoped("account", lambda scope: _migration(scope, shape)),
        Scoped("account", lambda scope: _movers(scope, shape, -1)),
        Scoped("account", lambda scope: _movers(scope, shape, 1)),
    )


_EVERY_MEMBER: Final = Scoped(
    "member", lambda scope: select(MEMBER.c.id, MEMBER.c.name).where(*scope), removed_too=True
)


class HealthBook(NamedTuple):
    """Rows of each statement; `slice` of by_band holds a member's id where slices are owners."""

    by_band: list[Row]
    migration: list[Row]
    falls: list[Row]
    rises: list[Row]
    people: dict[str, str]


class MetricReads(ScopedReads):
    async def days(self, principal: Principal, start: date, end: date) -> Days:
        [[found]] = await self.rows(principal, [_DAYS], start=start, end=end)
        return Days(found["first"], found["start"], found["end"])

    async def health(
        self, principal: Principal, shape: Shape, *, start: date, end: date, days: Days, owner: str | None, limit: int
    ) -> HealthBook:
        """The book between two days; movers one more than `limit`."""
        given: dict[str, Any] = {
            "start": start,
            "end": end,
            "start_run": days.start,
            "end_run": days.end,
            "limit": limit + 1,
        }
        if owner is not None:
            given["owner"] = owner
        found = await self.rows(principal, [*_statements(shape), _EVERY_MEMBER], **given)
        by_band, migration, falls, rises, people = found
        return HealthBook(by_band, migration, falls, rises, {row["id"]: row["name"] for row in people})
