"""Books of CSMs today, the largest customers, and what is aimed at: targets, goals, costs."""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Date, Double, String, and_, bindparam, case, cast, func, or_, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.accounts.scores import ACCOUNT_SCORE, of_account
from cs_mcp.db.members import MemberRow
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.revenue.targets import CsCostRow, GoalRow, TargetRow
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads, live
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.db.work.tasks import TaskRow
from cs_mcp.domain.accounts.accounts import Stage
from cs_mcp.domain.identity import Principal

ACCOUNT: Final[Any] = AccountRow.__table__
MEETING: Final[Any] = MeetingRow.__table__
MEMBER: Final[Any] = MemberRow.__table__
TASK: Final[Any] = TaskRow.__table__
TARGET: Final[Any] = TargetRow.__table__
GOAL: Final[Any] = GoalRow.__table__
COST: Final[Any] = CsCostRow.__table__

ACTIVITY: Final = timedelta(days=30)
_TODAY: Final = bindparam("today", type_=Date)
_CUSTOMER: Final = ACCOUNT.c.stage != Stage.churned.value


def _total(value: Any, name: str) -> Any:
    return cast(func.coalesce(func.sum(value), 0), BigInteger).label(name)


def _of(owner: bool, column: Any) -> list[Any]:
    return [column == bindparam("owner", type_=String)] if owner else []


def _books(scope: Conditions, of_owner: bool) -> Any:
    grouped = (ACCOUNT.c.owner_id, ACCOUNT.c.segment, ACCOUNT.c.currency)
    scored = ACCOUNT_SCORE.c.score.is_not(None)
    return (
        select(
            *grouped,
            func.count().label("accounts"),
            _total(ACCOUNT.c.arr_minor, "arr_minor"),
            _total(case((scored, 1), else_=0), "scored"),
            cast(func.coalesce(func.sum(ACCOUNT_SCORE.c.score), 0), Double).label("score"),
        )
        .outerjoin_from(ACCOUNT, ACCOUNT_SCORE, of_account())
        .where(*scope, _CUSTOMER, *_of(of_owner, ACCOUNT.c.owner_id))
        .group_by(*grouped)
        .order_by(*grouped)
    )


def _overdue(scope: Conditions, of_owner: bool) -> Any:
    return (
        select(TASK.c.assignee_id, func.count().label("tasks"))
        .where(*scope, TASK.c.status == "open", TASK.c.due_on < _TODAY, *_of(of_owner, TASK.c.assignee_id))
        .group_by(TASK.c.assignee_id)
    )


def _touches(scope: Conditions, of_owner: bool) -> Any:
    """Meetings, calls and e-mails held lately with the accounts of each book."""
    account = and_(ACCOUNT.c.workspace == MEETING.c.workspace, ACCOUNT.c.id == MEETING.c.account_id)
    held = (MEETING.c.status == "held", MEETING.c.held_on > bindparam("since", type_=Date), MEETING.c.held_on <= _TODAY)
    return (
        select(ACCOUNT.c.owner_id, func.count().label("touches"))
        .join_from(MEETING, ACCOUNT, account)
        .where(*scope, *held, *_of(of_owner, ACCOUNT.c.owner_id))
        .group_by(ACCOUNT.c.owner_id)
    )


_MOST: Final = 10


def _largest(scope: Conditions, of_owner: bool) -> Any:
    """The largest customers of each currency."""
    place = func.row_number().over(partition_by=ACCOUNT.c.currency, order_by=(ACCOUNT.c.arr_minor.desc(), ACCOUNT.c.id))
    kept = [ACCOUNT.c[name] for name in ("id", "name", "currency", "arr_minor")]
    ranked = (
        select(*kept, place.label("place"))
        .where(*scope, ACCOUNT.c.arr_minor > 0, *_of(of_owner, ACCOUNT.c.owner_id))
        .subquery("ranked")
    )
    return select(*ranked.c).where(ranked.c.place <= _MOST).order_by(ranked.c.currency, ranked.c.place)


def _totals(scope: Conditions, of_owner: bool) -> Any:
    return (
        select(ACCOUNT.c.currency, func.count().label("accounts"), _total(ACCOUNT.c.arr_minor, "arr_minor"))
        .where(*scope, ACCOUNT.c.arr_minor > 0, *_of(of_owner, ACCOUNT.c.owner_id))
        .group_by(ACCOUNT.c.currency)
        .order_by(ACCOUNT.c.currency)
    )


@lru_cache(maxsize=16)
def _read(table: str, build: Any, of_owner: bool) -> Scoped:
    return Scoped(table, lambda scope: build(scope, of_owner))


_EVERY_MEMBER: Final = Scoped(
    "member", lambda scope: select(MEMBER.c.id, MEMBER.c.name, MEMBER.c.manager_id).where(*scope), removed_too=True
)
_TARGETS: Final = Statement(
    lambda: (
        select(
            *(TARGET.c[name] for name in ("id", "metric", "segment", "value", "amount_minor", "currency", "owner_id"))
        )
        .add_columns(MEMBER.c.name.label("owner_name"))
        .outerjoin_from(
            TARGET, MEMBER, and_(MEMBER.c.workspace == TARGET.c.workspace, MEMBER.c.id == TARGET.c.owner_id)
        )
        .where(*live(TARGET), TARGET.c.from_on <= bindparam("day", type_=Date))
        .where(or_(TARGET.c.to_on.is_(None), TARGET.c.to_on >= bindparam("day", type_=Date)))
        .order_by(TARGET.c.metric, TARGET.c.from_on.desc(), TARGET.c.id.desc())
    )
)


def _theirs(column: Any, seen_all: bool) -> list[Any]:
    """Rows of people whose books the caller sees; what is of everybody, of who sees every book."""
    return [] if seen_all else [any_of(column, texts("portfolio"))]


def _goals(seen_all: bool) -> Statement:
    names = ("id", "subject", "user_id", "metric", "quarter_start", "value", "amount_minor", "currency")
    return Statement(
        lambda: (
            select(*(GOAL.c[name] for name in names))
            .where(*live(GOAL), GOAL.c.quarter_start == bindparam("quarter_start", type_=Date))
            .where(*_theirs(GOAL.c.user_id, seen_all))
            .order_by(GOAL.c.metric, GOAL.c.id)
        )
    )


def _costs(seen_all: bool) -> Statement:
    within = COST.c.month.between(bindparam("first_month", type_=Date), bindparam("last_month", type_=Date))
    return Statement(
        lambda: (
            select(COST.c.currency, _total(COST.c.amount_minor, "amount_minor"))
            .add_columns(func.count(COST.c.month.distinct()).label("months"))
            .where(*live(COST), within, *_theirs(COST.c.user_id, seen_all))
            .group_by(COST.c.currency)
            .order_by(COST.c.currency)
        )
    )


_GOALS: Final = {seen_all: _goals(seen_all) for seen_all in (False, True)}
_COSTS: Final = {seen_all: _costs(seen_all) for seen_all in (False, True)}


class Books(NamedTuple):
    """Rows by owner, segment and currency; open tasks past their day by assignee; touches of 30 days by owner."""

    accounts: list[Row]
    overdue: dict[str, int]
    touches: dict[str, int]
    people: dict[str, str]
    managers: dict[str, str | None]


class BookReads(ScopedReads):
    async def books(self, principal: Principal, today: date, owner: str | None) -> Books:
        of_owner = owner is not None
        plan = [
            _read("account", _books, of_owner),
            _read("task", _overdue, of_owner),
            _read("meeting", _touches, of_owner),
            _EVERY_MEMBER,
        ]
        given: dict[str, Any] = {"today": today, "since": today - ACTIVITY} | ({"owner": owner} if owner else {})
        accounts, overdue, touches, people = await self.rows(principal, plan, **given)
        return Books(
            accounts,
            {row["assignee_id"]: row["tasks"] for row in overdue if row["assignee_id"]},
            {row["owner_id"]: row["touches"] for row in touches if row["owner_id"]},
            {row["id"]: row["name"] for row in people},
            {row["id"]: row["manager_id"] for row in people},
        )

    async def people(self, principal: Principal) -> dict[str, str]:
        [rows] = await self.rows(principal, [_EVERY_MEMBER])
        return {row["id"]: row["name"] for row in rows}

    async def largest(self, principal: Principal, owner: str | None) -> tuple[list[Row], list[Row]]:
        """The ten largest customers of each currency, and customers and ARR by currency."""
        plan = [_read("account", build, owner is not None) for build in (_largest, _totals)]
        found = await self.rows(principal, plan, **({"owner": owner} if owner else {}))
        return found[0], found[1]

    async def targets(self, principal: Principal, day: date) -> list[Row]:
        """Those that hold on a day, of one metric the latest first."""
        [rows] = await self.rows(principal, [_TARGETS], day=day)
        return rows

    async def goals(self, principal: Principal, quarter_start: date) -> list[Row]:
        [rows] = await self.rows(principal, [_GOALS[principal.sees_all]], quarter_start=quarter_start)
        return rows

    async def costs(self, principal: Principal, first_month: date, last_month: date) -> list[Row]:
        """What customer success cost from month to month, by currency, and in how many months it cost anything."""
        given = {"first_month": first_month, "last_month": last_month}
        [rows] = await self.rows(principal, [_COSTS[principal.sees_all]], **given)
        return rows
