"""Health over a book: how many accounts and how much ARR stand in each band, and how they moved since a day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import BigInteger, Date, Double, String, and_, bindparam, case, cast, func, literal, or_, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.accounts.scores import ACCOUNT_SCORE, of_account
from cs_mcp.db.health.overrides import override_on
from cs_mcp.db.health.scoring_tables import RUNS, SNAPSHOTS
from cs_mcp.db.members import MemberRow
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.revenue.subscriptions import ArrMovementRow
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads
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


def _on_day(snapshot: Any, run_day: str) -> Any:
    return and_(
        snapshot.c.workspace == ACCOUNT.c.workspace,
        snapshot.c.account_id == ACCOUNT.c.id,
        snapshot.c.on == bindparam(run_day, type_=Date),
    )


def _tenths(snapshot: Any) -> Any:
    return cast(snapshot.c.score_tenths, Double) / literal(10.0, Double)


def _arr(shape: Shape) -> Any:
    return _arr_on("end") if shape.past else ACCOUNT.c.arr_minor


def _is_gone(shape: Shape) -> Any:
    return and_(ACCOUNT.c.stage == CHURNED, _arr(shape) == 0)


def _band(shape: Shape, now: Any) -> Any:
    end = bindparam("end", type_=Date)
    return func.coalesce(override_on(ACCOUNT, end), now.c.band) if shape.past else ACCOUNT.c.health_band


def _book(scope: Conditions, shape: Shape, *, moved: bool) -> Any:
    """One row an account: its band and ARR at the end and, where it `moved`, at the start.

    NOT_SCORED stands for the band of an account without a score, CHURNED for that of one that left.
    """
    then, now = SNAPSHOTS.alias("then"), SNAPSHOTS.alias("now")
    start = bindparam("start", type_=Date)
    found = select(
        ACCOUNT.c.currency,
        case((_is_gone(shape), CHURNED), else_=func.coalesce(_band(shape, now), NOT_SCORED)).label("band"),
        _arr(shape).label("arr_minor"),
        (ACCOUNT.c[_SLICES[shape.slice_by]] if shape.slice_by else literal("", String)).label("slice"),
    ).select_from(ACCOUNT)
    if shape.past:
        found = found.outerjoin(now, _on_day(now, "end_run"))
    if moved:
        band_before = func.coalesce(func.coalesce(override_on(ACCOUNT, start), then.c.band), NOT_SCORED)
        found = found.outerjoin(then, _on_day(then, "start_run")).add_columns(
            band_before.label("band_before"), _arr_on("start").label("arr_before")
        )
    found = found.where(*scope)
    if shape.of_owner:
        found = found.where(ACCOUNT.c.owner_id == bindparam("owner", type_=String))
    # Fenced, so that neither store computes a column as often as it is named.
    return found.offset(literal(0)).subquery("book")


def _total(column: Any, name: str) -> Any:
    return cast(func.sum(column), BigInteger).label(name)


def _by_band(scope: Conditions, shape: Shape) -> Any:
    of = _book(scope, shape, moved=False).c
    grouped = (of.slice, of.band, of.currency)
    return (
        select(*grouped, func.count().label("accounts"), _total(of.arr_minor, "arr_minor"))
        .where(of.band != CHURNED)
        # On a past day, who has neither a score nor ARR was no customer yet.
        .where(*([or_(of.band != NOT_SCORED, of.arr_minor != 0)] if shape.past else []))
        .group_by(*grouped)
        .order_by(*grouped)
    )


def _migration(scope: Conditions, shape: Shape) -> Any:
    of = _book(scope, shape, moved=True).c
    grouped = (of.band_before, of.band, of.currency)
    return (
        select(*grouped, func.count().label("accounts"), _total(of.arr_before, "arr_minor"))
        # Who had churned before the period did not move in it.
        .where(or_(of.band != CHURNED, of.arr_before != 0))
        .group_by(*grouped)
        .order_by(*grouped)
    )


def _movers(scope: Conditions, shape: Shape, sign: int) -> Any:
    """Found by the two scores alone; what else is told of an account is asked of those few."""
    then, now = SNAPSHOTS.alias("then"), SNAPSHOTS.alias("now")
    before, after = _tenths(then), _tenths(now) if shape.past else ACCOUNT_SCORE.c.score
    found = (
        select(ACCOUNT.c.workspace, ACCOUNT.c.id, before.label("score_before"), after.label("score"))
        .select_from(ACCOUNT)
        .join(then, _on_day(then, "start_run"))
        .where(*scope, (after - before) * sign > 0, ~_is_gone(shape))
        .order_by(((after - before) * sign).desc(), ACCOUNT.c.arr_minor.desc(), ACCOUNT.c.id)
        .limit(bindparam("limit"))
    )
    found = found.join(now, _on_day(now, "end_run")) if shape.past else found.join(ACCOUNT_SCORE, of_account())
    if shape.of_owner:
        found = found.where(ACCOUNT.c.owner_id == bindparam("owner", type_=String))
    few, told = found.subquery("few"), _band(shape, now)
    rows = select(
        *(few.c[name] for name in ("id", "score_before", "score")),
        *(ACCOUNT.c[name] for name in ("name", "currency")),
        _arr(shape).label("arr_minor"),
        told.label("band"),
    ).join_from(few, ACCOUNT, and_(ACCOUNT.c.workspace == few.c.workspace, ACCOUNT.c.id == few.c.id))
    if shape.past:
        rows = rows.join(now, _on_day(now, "end_run"))
    return rows.order_by(((few.c.score - few.c.score_before) * sign).desc(), ACCOUNT.c.arr_minor.desc(), few.c.id)


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

    async def bands(self, principal: Principal, shape: Shape, *, end: date, days: Days, owner: str | None) -> list[Row]:
        """The rows of `by_band` alone."""
        given: dict[str, Any] = {"end": end, "end_run": days.end} | ({"owner": owner} if owner is not None else {})
        [found] = await self.rows(principal, _statements(shape)[:1], **given)
        return found

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
