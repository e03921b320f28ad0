"""Pages of what hangs on accounts: health notes and tasks."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Date, String, and_, bindparam, func, or_, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.accounts.pages import COUNTED
from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.members import MemberRow
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Row
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads, page_rows
from cs_mcp.db.work.tasks import TaskRow
from cs_mcp.domain.identity import Principal

NOTE: Final = HealthNoteRow.__table__
TASK: Final = TaskRow.__table__
ACCOUNT: Final = AccountRow.__table__
MEMBER: Final = MemberRow.__table__

_NOTE_FILTERS: Final[dict[str, Callable[[], Any]]] = {
    "account": lambda: NOTE.c.account_id == bindparam("account", type_=String),
    "author": lambda: NOTE.c.author_id == bindparam("author", type_=String),
    "sentiment": lambda: any_of(NOTE.c.sentiment, texts("sentiment")),
    "risk": lambda: any_of(NOTE.c.risk, texts("risk")),
    "written_from": lambda: NOTE.c.written_on >= bindparam("written_from", type_=Date),
    "written_to": lambda: NOTE.c.written_on <= bindparam("written_to", type_=Date),
}
_TASK_FILTERS: Final[dict[str, Callable[[], Any]]] = {
    "account": lambda: TASK.c.account_id == bindparam("account", type_=String),
    "assignee": lambda: TASK.c.assignee_id == bindparam("assignee", type_=String),
    "no_assignee": lambda: TASK.c.assignee_id.is_(None),
    "status": lambda: any_of(TASK.c.status, texts("status")),
    "priority": lambda: any_of(TASK.c.priority, texts("priority")),
    "due_from": lambda: TASK.c.due_on >= bindparam("due_from", type_=Date),
    "due_to": lambda: TASK.c.due_on <= bindparam("due_to", type_=Date),
    "awake": lambda: or_(TASK.c.snoozed_until.is_(None), TASK.c.snoozed_until <= bindparam("awake", type_=Date)),
}


def _joined(table: Any, person: Any, scope: Conditions, conditions: list[Any]) -> Any:
    member = MEMBER.alias("person")
    return (
        select(*(c for c in table.c if c.key != "workspace"))
        .add_columns(ACCOUNT.c.name.label("account_name"), member.c.name.label("person_name"))
        .join_from(table, ACCOUNT, and_(ACCOUNT.c.workspace == table.c.workspace, ACCOUNT.c.id == table.c.account_id))
        .outerjoin(member, and_(member.c.workspace == table.c.workspace, member.c.id == person))
        .where(*scope, ACCOUNT.c.removed_at.is_(None), *conditions)
    )


def _after_day(column: Any, table: Any, *, descending: bool, null: bool) -> Any:
    day, row = bindparam("cursor_value", type_=Date), bindparam("cursor_id", type_=String)
    if descending:
        return or_(column < day, and_(column == day, table.c.id < row))
    if null:
        return and_(column.is_(None), table.c.id > row)
    return or_(column > day, and_(column == day, table.c.id > row), column.is_(None))


@lru_cache(maxsize=256)
def _notes(filters: tuple[str, ...], cursor: str, rows: int) -> Scoped:
    def build(scope: Conditions) -> Any:
        conditions = [_NOTE_FILTERS[name]() for name in filters]
        if cursor:
            conditions.append(_after_day(NOTE.c.written_on, NOTE, descending=True, null=False))
        return (
            _joined(NOTE, NOTE.c.author_id, scope, conditions)
            .order_by(NOTE.c.written_on.desc(), NOTE.c.id.desc())
            .limit(rows)
        )

    return Scoped("health_note", build)


@lru_cache(maxsize=256)
def _tasks(filters: tuple[str, ...], cursor: str, rows: int) -> Scoped:
    def build(scope: Conditions) -> Any:
        conditions = [_TASK_FILTERS[name]() for name in filters]
        if cursor:
            conditions.append(_after_day(TASK.c.due_on, TASK, descending=False, null=cursor == "null"))
        return (
            _joined(TASK, TASK.c.assignee_id, scope, conditions)
            .order_by(TASK.c.due_on.asc().nulls_last(), TASK.c.id)
            .limit(rows)
        )

    return Scoped("task", build)


@lru_cache(maxsize=256)
def _count(table: str, filters: tuple[str, ...], exact: bool) -> Scoped:
    known = _NOTE_FILTERS if table == "health_note" else _TASK_FILTERS
    row: Any = NOTE if table == "health_note" else TASK

    def build(scope: Conditions) -> Any:
        found = (
            select(row.c.id)
            .join_from(row, ACCOUNT, and_(ACCOUNT.c.workspace == row.c.workspace, ACCOUNT.c.id == row.c.account_id))
            .where(*scope, ACCOUNT.c.removed_at.is_(None), *(known[name]() for name in filters))
        )
        limited = (found if exact else found.limit(COUNTED + 1)).subquery()
        return select(func.count().label("total")).select_from(limited)

    return Scoped(table, build)


def _corrections() -> Scoped:
    return Scoped(
        "health_note",
        lambda scope: select(NOTE.c.corrects_id, NOTE.c.id).where(*scope, any_of(NOTE.c.corrects_id, texts("notes"))),
    )


CORRECTIONS: Final = _corrections()

Cursor = tuple[Any, str] | None


class ListReads(ScopedReads):
    """Rows carry `account_name` and `person_name` (author or assignee)."""

    async def notes(
        self, principal: Principal, filters: dict[str, Any], *, limit: int, after: Cursor, exact_total: bool
    ) -> tuple[list[Row], int | None]:
        """Newest first."""
        return await self._page(principal, "health_note", _notes, filters, limit, after, exact_total)

    async def tasks(
        self, principal: Principal, filters: dict[str, Any], *, limit: int, after: Cursor, exact_total: bool
    ) -> tuple[list[Row], int | None]:
        """Earliest due first, those without a due day last."""
        return await self._page(principal, "task", _tasks, filters, limit, after, exact_total)

    async def corrections(self, principal: Principal, notes: list[str]) -> dict[str, str]:
        """Which of these notes were corrected, and by which note."""
        [found] = await self.rows(principal, [CORRECTIONS], notes=notes)
        return {row["corrects_id"]: row["id"] for row in found}

    async def _page(
        self,
        principal: Principal,
        table: str,
        build: Any,
        filters: dict[str, Any],
        limit: int,
        after: Cursor,
        exact_total: bool,
    ) -> tuple[list[Row], int | None]:
        shape = tuple(sorted(filters))
        cursor = "" if after is None else ("null" if after[0] is None else "value")
        given = dict(filters)
        if after is not None:
            given |= {"cursor_value": after[0], "cursor_id": after[1]}
        plan = [build(shape, cursor, page_rows(limit)), _count(table, shape, exact_total)]
        rows, counted = await self.rows(principal, plan, **given)
        total = counted[0]["total"]
        return rows[: limit + 1], total if exact_total or total <= COUNTED else None
