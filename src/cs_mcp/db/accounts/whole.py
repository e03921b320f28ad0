"""What is read of one account: the row and what hangs on it, removed rows too where a past day is folded back to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Date,
    String,
    and_,
    bindparam,
    cast,
    exists,
    func,
    select,
)

from cs_mcp.db.accounts.accounts import AccountRow, TeamMemberRow
from cs_mcp.db.accounts.scores import ACCOUNT_SCORE, of_account
from cs_mcp.db.base import by_bytes
from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.health.risks import RiskRow
from cs_mcp.db.members import MemberRow
from cs_mcp.db.opportunities.opportunities import OpportunityRow
from cs_mcp.db.people.sponsors import ContactRow, SponsorshipRow
from cs_mcp.db.renewals.renewals import RenewalRow
from cs_mcp.db.renewals.scope import open_sev1
from cs_mcp.db.revenue.subscriptions import ArrMovementRow, SubscriptionRow
from cs_mcp.db.scoped import Conditions, Scoped
from cs_mcp.db.signals.signals import TicketRow
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.db.work.tasks import TaskRow

ACCOUNT: Final = AccountRow.__table__
CONTACT: Final = ContactRow.__table__
MEMBER: Final = MemberRow.__table__
_ID: Final = bindparam("account", type_=String)


def _all_of(table: Any, scope: Conditions) -> Any:
    return select(*(column for column in table.c if column.key != "workspace")).where(*scope)


def _is_burning() -> Any:
    ticket = TicketRow.__table__
    return exists(
        select(ticket.c.id).where(
            ticket.c.workspace == ACCOUNT.c.workspace,
            ticket.c.account_id == ACCOUNT.c.id,
            ticket.c.removed_at.is_(None),
            open_sev1(ticket),
        )
    )


def _account(scope: Conditions) -> Any:
    owner = MEMBER.alias("owner")
    return (
        _all_of(ACCOUNT, scope)
        .add_columns(
            owner.c.name.label("owner_name"),
            owner.c.email.label("owner_email"),
            _is_burning().label("open_sev1"),
            ACCOUNT_SCORE.c.score.label("health_score"),
            ACCOUNT_SCORE.c.trend.label("health_trend"),
        )
        .outerjoin_from(
            ACCOUNT, owner, and_(owner.c.workspace == ACCOUNT.c.workspace, owner.c.id == ACCOUNT.c.owner_id)
        )
        .outerjoin(ACCOUNT_SCORE, of_account())
        .where(ACCOUNT.c.id == _ID)
    )


def _team(scope: Conditions) -> Any:
    seat = TeamMemberRow.__table__
    return (
        select(seat.c.id, seat.c.user_id, seat.c.role, MEMBER.c.name)
        .join_from(seat, MEMBER, and_(MEMBER.c.workspace == seat.c.workspace, MEMBER.c.id == seat.c.user_id))
        .where(*scope, seat.c.account_id == _ID)
        .order_by(by_bytes(seat.c.role), by_bytes(MEMBER.c.name), seat.c.id)
    )


def _children(row: type[Any], order: Sequence[Any], limit: int, *conditions: Any) -> Scoped:
    table = row.__table__
    return Scoped(
        table.name,
        lambda scope: _all_of(table, scope).where(table.c.account_id == _ID, *conditions).order_by(*order).limit(limit),
    )


def _with_person(row: type[Any], person: str, order: Sequence[Any], limit: int, *conditions: Any) -> Scoped:
    table = row.__table__

    def build(scope: Conditions) -> Any:
        member = MEMBER.alias("person")
        return (
            _all_of(table, scope)
            .add_columns(member.c.name.label("person_name"))
            .outerjoin_from(
                table, member, and_(member.c.workspace == table.c.workspace, member.c.id == table.c[person])
            )
            .where(table.c.account_id == _ID, *conditions)
            .order_by(*order)
            .limit(limit)
        )

    return Scoped(table.name, build)


_TASK, _MEETING, _NOTE = TaskRow.__table__, MeetingRow.__table__, HealthNoteRow.__table__
_SUBSCRIPTION, _RENEWAL = SubscriptionRow.__table__, RenewalRow.__table__
_OPPORTUNITY = OpportunityRow.__table__

GET: Final = Scoped("account", _account)
NAMED: Final = Scoped(
    "account", lambda scope: select(ACCOUNT.c.id, ACCOUNT.c.name, ACCOUNT.c.domain).where(*scope, ACCOUNT.c.id == _ID)
)
TEAM: Final = Scoped("account_team", _team)
PEOPLE: Final = _children(ContactRow, [by_bytes(CONTACT.c.name), CONTACT.c.id], 200)
CONTRACT: Final = _children(SubscriptionRow, [_SUBSCRIPTION.c.starts_on.desc(), _SUBSCRIPTION.c.id], 50)
RENEWALS: Final = _children(
    RenewalRow,
    [_RENEWAL.c.closes_on, _RENEWAL.c.id],
    5,
    _RENEWAL.c.stage != "closed_won",
    _RENEWAL.c.stage != "closed_lost",
)
OPPORTUNITIES: Final = _children(
    OpportunityRow,
    [_OPPORTUNITY.c.expected_on.is_(None), _OPPORTUNITY.c.expected_on, _OPPORTUNITY.c.id],
    50,
    _OPPORTUNITY.c.stage != "won",
    _OPPORTUNITY.c.stage != "lost",
)
TASKS: Final = _with_person(
    TaskRow, "assignee_id", [_TASK.c.due_on.is_(None), _TASK.c.due_on, _TASK.c.id], 50, _TASK.c.status == "open"
)
MEETINGS: Final = _children(MeetingRow, [_MEETING.c.held_on.desc(), _MEETING.c.id.desc()], 20)
NOTES: Final = _with_person(HealthNoteRow, "author_id", [_NOTE.c.written_on.desc(), _NOTE.c.id.desc()], 20)


def _arr_on(scope: Conditions) -> Any:
    ledger = ArrMovementRow.__table__
    total = cast(func.coalesce(func.sum(ledger.c.amount_minor), 0), BigInteger)
    own = (ledger.c.account_id == _ID, ledger.c.on <= bindparam("day", type_=Date), _in_own_currency(ledger))
    return select(total.label("arr_minor")).where(*scope, *own)


def _in_own_currency(ledger: Any) -> Any:
    # As the derived column has it: a movement in another currency is not the account's ARR.
    return exists(
        select(ACCOUNT.c.id).where(
            ACCOUNT.c.workspace == ledger.c.workspace,
            ACCOUNT.c.id == ledger.c.account_id,
            ACCOUNT.c.currency == ledger.c.currency,
        )
    )


ARR_ON: Final = Scoped("arr_movement", _arr_on)


def _with_removed(table: Any) -> Scoped:
    key = "id" if table.name == "account" else "account_id"
    return Scoped(table.name, lambda scope: _all_of(table, scope).where(table.c[key] == _ID), removed_too=True)


# An account and all that hangs on it, removed rows too: what as-of reads fold back from.
EVERYTHING: Final = {
    row.__tablename__: _with_removed(row.__table__)
    for row in (
        AccountRow,
        TeamMemberRow,
        ContactRow,
        SponsorshipRow,
        SubscriptionRow,
        RenewalRow,
        OpportunityRow,
        RiskRow,
        TaskRow,
        MeetingRow,
        HealthNoteRow,
    )
}


def _arr_of_each(scope: Conditions) -> Any:
    ledger = ArrMovementRow.__table__
    total = cast(func.sum(ledger.c.amount_minor), BigInteger)
    return (
        select(ledger.c.account_id, total.label("arr_minor"))
        .where(*scope, ledger.c.on <= bindparam("day", type_=Date), _in_own_currency(ledger))
        .group_by(ledger.c.account_id)
    )


ARR_OF_EACH: Final = Scoped("arr_movement", _arr_of_each)
EVERY_ACCOUNT: Final = Scoped(
    "account", lambda scope: _all_of(ACCOUNT, scope).order_by(ACCOUNT.c.id).limit(bindparam("limit")), removed_too=True
)
EVERY_MEMBER: Final = Scoped("member", lambda scope: select(MEMBER.c.id, MEMBER.c.name).where(*scope), removed_too=True)
