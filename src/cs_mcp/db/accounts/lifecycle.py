"""What the lifecycle asks of the store, inside the transaction that moves a stage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import Date, String, bindparam, case, func, select

from cs_mcp.db.people.sponsors import ContactRow
from cs_mcp.db.read_path import Statement
from cs_mcp.db.renewals.renewals import RenewalRow
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.domain.accounts.accounts import Stage
from cs_mcp.domain.people.stakeholders import ENGAGED_DAYS
from cs_mcp.domain.work.meetings import MeetingKind

_CONTACT: Final[Any] = ContactRow.__table__
_MEETING: Final[Any] = MeetingRow.__table__
_RENEWAL: Final[Any] = RenewalRow.__table__
_REVIEWS: Final = frozenset({MeetingKind.value_review, MeetingKind.qbr, MeetingKind.ebr})


def _of_account(table: Any) -> tuple[Any, ...]:
    return (
        table.c.workspace == bindparam("workspace", type_=String),
        table.c.account_id == bindparam("account", type_=String),
        table.c.removed_at.is_(None),
    )


def _held() -> tuple[Any, ...]:
    return (*_of_account(_MEETING), _MEETING.c.status == "held", _MEETING.c.held_on <= bindparam("today", type_=Date))


_LAST_OF_KIND: Final = Statement(
    lambda: (
        select(_MEETING.c.kind, _MEETING.c.roi_shown, func.max(_MEETING.c.held_on).label("held_on"))
        .where(*_held())
        .group_by(_MEETING.c.kind, _MEETING.c.roi_shown)
    )
)
_LATELY: Final = Statement(
    lambda: select(_MEETING.c.attendees).where(*_held(), _MEETING.c.held_on >= bindparam("since", type_=Date))
)
_ACTIVE: Final = Statement(lambda: select(_CONTACT.c.id).where(*_of_account(_CONTACT), _CONTACT.c.status == "active"))


def _renewals() -> Any:
    closed = (_RENEWAL.c.stage == "closed_won") | (_RENEWAL.c.stage == "closed_lost")
    deadline = func.coalesce(_RENEWAL.c.notice_deadline_on, _RENEWAL.c.closes_on)
    first_open = func.min(case((~closed, deadline)), type_=Date)
    return select(func.count().label("renewals"), first_open.label("deadline_on")).where(*_of_account(_RENEWAL))


_RENEWALS: Final = Statement(_renewals)


@dataclass(frozen=True, slots=True)
class LifecycleFound:
    """Days are None where there was no such thing; `stage_before_renewal` where the history tells none."""

    kickoff_on: date | None
    last_review_on: date | None
    last_roi_on: date | None
    engaged_contacts: int
    renewals: int
    open_renewal_deadline_on: date | None
    stage_before_renewal: Stage | None
    stage_since: date | None


async def lifecycle_of(work: UnitOfWork, account: str) -> LifecycleFound:
    """What is known of an account that the caller may see: load it first."""
    wire, today = await work.wire(), work.today
    given: dict[str, Any] = {"workspace": work.principal.workspace, "account": account, "today": today}
    meetings = await wire.rows(_LAST_OF_KIND, given)
    lately = await wire.rows(_LATELY, given | {"since": today - timedelta(days=ENGAGED_DAYS)})
    active = {row["id"] for row in await wire.rows(_ACTIVE, given)}
    [renewals] = await wire.rows(_RENEWALS, given)
    met = {who.get("contact_id") for row in lately for who in row["attendees"] if who.get("attended", True)}
    moves = [entry for entry in await work.entries(records=[account]) if "stage" in entry.fields]
    began = next((entry for entry in moves if (entry.after or {}).get("stage") == Stage.renewal), None)
    before: str | None = (began.before or {}).get("stage") if began is not None else None

    def last(*kinds: MeetingKind) -> date | None:
        return max((row["held_on"] for row in meetings if row["kind"] in kinds), default=None)

    return LifecycleFound(
        kickoff_on=last(MeetingKind.kickoff),
        last_review_on=last(*_REVIEWS),
        last_roi_on=max((row["held_on"] for row in meetings if row["roi_shown"]), default=None),
        engaged_contacts=len(met & active),
        renewals=renewals["renewals"],
        open_renewal_deadline_on=renewals["deadline_on"],
        stage_before_renewal=Stage(before) if before else None,
        stage_since=work.calendar.day_of(moves[0].at) if moves else None,
    )
