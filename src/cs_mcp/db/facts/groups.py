"""What each feed tells of accounts by a day, in one grouped read a feed: no row for an account it tells nothing of.

Days are numbers here: what is kept of them (facts/kept.py) is compared without reading a date again. Joined tables are
narrowed to the accounts at hand too: then each side of a join is read in one range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Select, and_, case, func, null, or_, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.days import day_number
from cs_mcp.db.facts.people import attendance, contacts, seats
from cs_mcp.db.facts.terms import (
    AS_OF,
    UNTIL,
    WORKSPACE,
    Among,
    attended,
    count_of,
    first_day,
    first_instant,
    live_of,
    number,
    one_of,
    seconds,
    table_of,
    too,
    total_of,
    whole,
)
from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.revenue.subscriptions import ArrMovementRow, SubscriptionRow
from cs_mcp.db.signals.signals import CompanyEventRow, InvoiceRow, SurveyResponseRow, TicketRow
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.domain.revenue.subscriptions import MovementKind
from cs_mcp.domain.signals.signals import CompanyEventKind, InvoiceStatus, TicketStatus
from cs_mcp.domain.work.meetings import MeetingKind

AnySelect = Select[*tuple[Any, ...]]
REVIEWS: Final = (MeetingKind.qbr.value, MeetingKind.ebr.value, MeetingKind.value_review.value)
ATTENDED: Final = (*REVIEWS, MeetingKind.training.value)
BAD_EVENTS: Final = tuple(
    kind.value for kind in (CompanyEventKind.layoff, CompanyEventKind.acquisition, CompanyEventKind.leadership_change)
)
# How much an answer counts, by the days since it was given.
_RECENCY: Final = ((30, 4), (90, 3), (180, 2))


def tickets(among: Among) -> AnySelect:
    t = table_of(TicketRow)
    solved = t.c.status == TicketStatus.resolved.value
    is_open = or_(and_(t.c.resolved_at.is_(None), ~solved), t.c.resolved_at >= UNTIL)
    lately = t.c.opened_at >= first_instant(90)
    resolved = and_(t.c.resolved_at >= first_instant(90), t.c.resolved_at < UNTIL)
    return (
        select(
            t.c.account_id,
            count_of(and_(is_open, t.c.severity == 1)).label("open_sev1"),
            count_of(and_(is_open, t.c.severity == 2)).label("open_sev2"),
            count_of(is_open).label("open_tickets"),
            count_of(t.c.opened_at >= first_instant(30)).label("tickets_30"),
            count_of(and_(lately, t.c.opened_at < first_instant(30))).label("tickets_prev_60"),
            count_of(resolved).label("resolved_90"),
            total_of(case((resolved, seconds(t.c.resolved_at) - seconds(t.c.opened_at)))).label("resolution_seconds"),
            count_of(and_(lately, t.c.sla_breached.is_not(None))).label("sla_told_90"),
            count_of(and_(lately, t.c.sla_breached)).label("sla_breaches_90"),
            count_of(and_(lately, t.c.escalated)).label("escalations_90"),
        )
        .where(*live_of(t, among), t.c.opened_at < UNTIL)
        .group_by(t.c.account_id)
    )


def surveys(among: Among) -> AnySelect:
    t = table_of(SurveyResponseRow)
    weight = case(*((t.c.answered_at >= first_instant(days), by) for days, by in _RECENCY), else_=1)
    # In hundredths of the scale and whole: a sum of doubles would depend on the order it is taken in.
    hundredths = whole(number(t.c.score) * 10000 / number(t.c.scale_max) + 0.5)
    return (
        select(
            t.c.account_id,
            func.count().label("survey_answers"),
            total_of(weight * hundredths).label("weighted"),
            total_of(weight).label("weights"),
            seconds(func.max(t.c.answered_at)).label("newest_second"),
        )
        .where(*live_of(t, among), t.c.answered_at >= first_instant(365), t.c.answered_at < UNTIL)
        .group_by(t.c.account_id)
    )


def newest_nps(among: Among) -> AnySelect:
    t, later = table_of(SurveyResponseRow), table_of(SurveyResponseRow).alias("later")
    newer = and_(
        later.c.workspace == t.c.workspace,
        later.c.account_id == t.c.account_id,
        too(among, later.c.account_id),
        later.c.removed_at.is_(None),
        later.c.kind == "nps",
        later.c.answered_at < UNTIL,
        or_(later.c.answered_at > t.c.answered_at, and_(later.c.answered_at == t.c.answered_at, later.c.id > t.c.id)),
    )
    score = number(t.c.score) * 10 / number(t.c.scale_max)
    # One row an account as it is; grouped, SQLite reads them once rather than once for each account beside them.
    return (
        select(t.c.account_id, func.max(score).label("nps_latest"))
        .where(
            *live_of(t, among), t.c.kind == "nps", t.c.answered_at < UNTIL, ~select(later.c.id).where(newer).exists()
        )
        .group_by(t.c.account_id)
    )


def notes(among: Among) -> AnySelect:
    note, newer = table_of(HealthNoteRow), table_of(HealthNoteRow).alias("newer")
    corrected = (
        select(newer.c.id)
        .where(
            newer.c.workspace == note.c.workspace,
            newer.c.account_id == note.c.account_id,
            too(among, newer.c.account_id),
            newer.c.corrects_id == note.c.id,
            newer.c.written_on <= AS_OF,
            newer.c.removed_at.is_(None),
        )
        .exists()
    )
    return (
        select(note.c.account_id, func.count().label("sentiments"), total_of(_balance(note)).label("sentiment_sum"))
        .where(*live_of(note, among), note.c.written_on.between(first_day(90), AS_OF), note.c.sentiment.is_not(None))
        .where(~corrected)
        .group_by(note.c.account_id)
    )


def _balance(told: Any) -> Any:
    return case((told.c.sentiment == "positive", 1), (told.c.sentiment == "negative", -1), else_=0)


def meetings(among: Among) -> AnySelect:
    t = table_of(MeetingRow)
    lately = t.c.held_on >= first_day(90)
    return (
        select(
            t.c.account_id,
            day_number(func.max(t.c.held_on)).label("touched_day"),
            day_number(func.max(case((one_of(t.c.kind, REVIEWS), t.c.held_on)))).label("reviewed_day"),
            count_of(and_(t.c.held_on >= first_day(365), one_of(t.c.kind, ATTENDED), attended(t.c.attendees))).label(
                "attended_365"
            ),
            count_of(and_(lately, t.c.sentiment.is_not(None))).label("sentiments"),
            total_of(case((lately, _balance(t)), else_=0)).label("sentiment_sum"),
        )
        .where(*live_of(t, among), t.c.status == "held", t.c.held_on <= AS_OF)
        .group_by(t.c.account_id)
    )


def invoices(among: Among) -> AnySelect:
    t = table_of(InvoiceRow)
    paid = t.c.status == InvoiceStatus.paid.value
    unpaid = or_(t.c.paid_on > AS_OF, and_(t.c.paid_on.is_(None), ~paid))
    due = and_(t.c.due_on < AS_OF, unpaid)
    late = or_(due, t.c.paid_on > t.c.due_on)
    return (
        select(
            t.c.account_id,
            day_number(func.min(case((due, t.c.due_on)))).label("oldest_due_day"),
            count_of(t.c.due_on >= first_day(365)).label("invoices_365"),
            count_of(and_(t.c.due_on >= first_day(365), late)).label("late_365"),
        )
        .where(*live_of(t, among), t.c.due_on <= AS_OF)
        .where(t.c.status != InvoiceStatus.void.value, t.c.status != InvoiceStatus.written_off.value)
        .group_by(t.c.account_id)
    )


def ledger(among: Among) -> AnySelect:
    t, account = table_of(ArrMovementRow), table_of(AccountRow).alias("holder")
    given_up = and_(t.c.kind == MovementKind.contraction.value, t.c.on >= first_day(365))
    movements = and_(
        t.c.workspace == account.c.workspace,
        t.c.account_id == account.c.id,
        too(among, t.c.account_id),
        t.c.removed_at.is_(None),
        t.c.on <= AS_OF,
        t.c.currency == account.c.currency,
    )
    # From the account outwards, so that its currency is looked up once.
    return (
        select(
            account.c.id.label("account_id"),
            total_of(t.c.amount_minor).label("arr_minor"),
            total_of(case((given_up, -t.c.amount_minor), (t.c.id.is_not(None), 0))).label("contracted_365_minor"),
        )
        .select_from(account.outerjoin(t, movements))
        .where(account.c.workspace == WORKSPACE, among.of(account.c.id))
        .group_by(account.c.id)
    )


def subscriptions(among: Among) -> AnySelect:
    """The subscriptions that run on the day."""
    t = table_of(SubscriptionRow)
    return (
        select(
            t.c.account_id,
            total_of(t.c.seats).label("seats_licensed"),
            func.max(t.c.term_months).label("term_months"),
            func.min(case((t.c.auto_renew.is_(None), null()), (t.c.auto_renew, 1), else_=0)).label("auto_renews"),
            day_number(func.min(t.c.ends_on)).label("ends_day"),
        )
        .where(*live_of(t, among), t.c.starts_on <= AS_OF, ~t.c.trial)
        .where(or_(t.c.canceled_on.is_(None), t.c.canceled_on > AS_OF))
        .where(or_(t.c.ends_on.is_(None), t.c.ends_on >= AS_OF))
        .group_by(t.c.account_id)
    )


def company_events(among: Among) -> AnySelect:
    t = table_of(CompanyEventRow)
    lately = t.c.on >= first_day(180)
    return (
        select(
            t.c.account_id,
            count_of(lately).label("company_events_180"),
            count_of(and_(lately, one_of(t.c.kind, BAD_EVENTS))).label("bad_events_180"),
        )
        .where(*live_of(t, among), t.c.on <= AS_OF)
        .group_by(t.c.account_id)
    )


GROUPS: Final[Mapping[str, Callable[[Among], AnySelect]]] = {
    group.__name__: group
    for group in (
        tickets,
        surveys,
        newest_nps,
        notes,
        meetings,
        attendance,
        contacts,
        seats,
        invoices,
        ledger,
        subscriptions,
        company_events,
    )
}
