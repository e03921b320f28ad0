"""What a brief on one account is made from, as one snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlalchemy import Date, String, and_, bindparam, or_, select

from cs_mcp.db.accounts.whole import ARR_ON, CONTRACT, GET, PEOPLE, RENEWALS, TASKS, TEAM
from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.members import MemberRow
from cs_mcp.db.people.sponsors import SponsorshipRow
from cs_mcp.db.read_path import Row
from cs_mcp.db.revenue.subscriptions import ArrMovementRow
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.db.work.tasks import TaskRow
from cs_mcp.domain.identity import Principal

MEETING: Final = MeetingRow.__table__
NOTE: Final = HealthNoteRow.__table__
TASK: Final = TaskRow.__table__
MOVEMENT: Final = ArrMovementRow.__table__
SEAT: Final = SponsorshipRow.__table__
MEMBER: Final = MemberRow.__table__
MOST_READ: Final = 500

_ACCOUNT: Final = bindparam("account", type_=String)
_SINCE: Final = bindparam("since", type_=Date)
_FROM: Final = bindparam("movements_from", type_=Date)
_DAY: Final = bindparam("day", type_=Date)


def _of_account(table: Any, order: list[Any], *conditions: Any, person: str | None = None) -> Scoped:
    def build(scope: Conditions) -> Any:
        found = select(*(column for column in table.c if column.key != "workspace"))
        if person is not None:
            of_us = and_(MEMBER.c.workspace == table.c.workspace, MEMBER.c.id == table.c[person])
            found = found.add_columns(MEMBER.c.name.label("person_name")).outerjoin_from(table, MEMBER, of_us)
        return found.where(*scope, table.c.account_id == _ACCOUNT, *conditions).order_by(*order).limit(MOST_READ)

    return Scoped(table.name, build)


_MEETINGS: Final = _of_account(MEETING, [MEETING.c.held_on.desc(), MEETING.c.id.desc()], MEETING.c.held_on >= _SINCE)
_NOTES: Final = _of_account(
    NOTE, [NOTE.c.written_on.desc(), NOTE.c.id.desc()], NOTE.c.written_on >= _SINCE, person="author_id"
)
_DONE: Final = _of_account(
    TASK,
    [TASK.c.done_on.desc(), TASK.c.id.desc()],
    TASK.c.status == "done",
    TASK.c.done_on >= _SINCE,
    person="assignee_id",
)
_MOVEMENTS: Final = _of_account(MOVEMENT, [MOVEMENT.c.on, MOVEMENT.c.id], MOVEMENT.c.on >= _FROM, MOVEMENT.c.on <= _DAY)
_SEATS: Final = _of_account(
    SEAT, [SEAT.c.from_on.desc(), SEAT.c.id.desc()], or_(SEAT.c.to_on.is_(None), SEAT.c.to_on >= _SINCE)
)


@dataclass(frozen=True, slots=True)
class BriefFacts:
    """Rows newest first. `tasks` are open ones, `renewals` open ones; `arr_minor` is the ARR on the last day asked."""

    account: Row
    team: list[Row]
    people: list[Row]
    contract: list[Row]
    renewals: list[Row]
    tasks: list[Row]
    meetings: list[Row]
    notes: list[Row]
    done: list[Row]
    movements: list[Row]
    seats: list[Row]
    arr_minor: int


class BriefReads(ScopedReads):
    async def of_account(
        self, principal: Principal, account: str, *, since: date, movements_from: date, day: date
    ) -> BriefFacts:
        """Meetings, notes, finished tasks and seats since `since`; ARR movements from `movements_from` to `day`.

        The account must be visible: resolve it first.
        """
        plan = [GET, TEAM, PEOPLE, CONTRACT, RENEWALS, TASKS, _MEETINGS, _NOTES, _DONE, _MOVEMENTS, _SEATS, ARR_ON]
        head, *lists, arr = await self.rows(
            principal, plan, account=account, since=since, movements_from=movements_from, day=day
        )
        return BriefFacts(head[0], *lists, arr_minor=arr[0]["arr_minor"])
