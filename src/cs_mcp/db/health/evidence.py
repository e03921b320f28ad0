"""The records behind an account's measures on a day: what `facts/groups.py` counts, row by row, newest first."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any, Final

from sqlalchemy import String, and_, bindparam, case, func, or_, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.facts.groups import BAD_EVENTS
from cs_mcp.db.facts.terms import AS_OF, AS_OF_DAY, UNTIL, first_day, first_instant, flag, moment, total_of
from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.people.sponsors import ContactRow, SponsorshipRow
from cs_mcp.db.read_path import Row
from cs_mcp.db.revenue.subscriptions import ArrMovementRow, SubscriptionRow
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads
from cs_mcp.db.signals.signals import CompanyEventRow, FeatureRow, InvoiceRow, SurveyResponseRow, TicketRow
from cs_mcp.db.usage.usage import USAGE_DAY, USAGE_FEATURE
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.people.sponsors import SponsorRole
from cs_mcp.domain.revenue.subscriptions import MovementKind
from cs_mcp.domain.signals.signals import InvoiceStatus
from cs_mcp.domain.signals.usage import WHOLE_ACCOUNT

MOST: Final = 60  # rows of a feed; what counts among them is in the raw value
ACCOUNT: Final[Any] = AccountRow.__table__
_ID: Final = bindparam("account", type_=String)


def _own(table: Any, scope: Conditions, *columns: str) -> Any:
    return select(table.c.id, *(table.c[name] for name in columns)).where(*scope, table.c.account_id == _ID)


def _tickets(scope: Conditions) -> Any:
    t: Any = TicketRow.__table__
    is_open = or_(and_(t.c.resolved_at.is_(None), t.c.status != "resolved"), t.c.resolved_at >= UNTIL)
    lately = or_(t.c.opened_at >= first_instant(90), t.c.resolved_at >= first_instant(90))
    columns = ("severity", "opened_at", "resolved_at", "escalated", "sla_breached")
    return (
        _own(t, scope, *columns)
        .add_columns(flag(is_open).label("is_open"))
        .where(t.c.opened_at < UNTIL, or_(is_open, lately))
        .order_by(t.c.severity.nulls_last(), t.c.opened_at.desc(), t.c.id)
        .limit(MOST)
    )


def _surveys(scope: Conditions) -> Any:
    t: Any = SurveyResponseRow.__table__
    return (
        _own(t, scope, "kind", "score", "scale_max", "answered_at")
        .where(t.c.answered_at >= first_instant(365), t.c.answered_at < UNTIL)
        .order_by(t.c.answered_at.desc(), t.c.id)
        .limit(MOST)
    )


def _notes(scope: Conditions) -> Any:
    t: Any = HealthNoteRow.__table__
    newer = t.alias("newer")
    corrected = select(newer.c.id).where(
        newer.c.workspace == t.c.workspace,
        newer.c.account_id == t.c.account_id,
        newer.c.corrects_id == t.c.id,
        newer.c.written_on <= AS_OF,
        newer.c.removed_at.is_(None),
    )
    return (
        _own(t, scope, "sentiment", "written_on")
        .where(t.c.written_on.between(first_day(90), AS_OF), t.c.sentiment.is_not(None), ~corrected.exists())
        .order_by(t.c.written_on.desc(), t.c.id)
        .limit(MOST)
    )


def _meetings(scope: Conditions) -> Any:
    t: Any = MeetingRow.__table__
    return (
        _own(t, scope, "kind", "held_on", "sentiment", "attendees")
        .where(t.c.status == "held", t.c.held_on <= AS_OF)
        .order_by(t.c.held_on.desc(), t.c.id)
        .limit(MOST)
    )


def _seats(scope: Conditions) -> Any:
    t: Any = SponsorshipRow.__table__
    contact: Any = ContactRow.__table__
    return (
        select(
            t.c.id,
            t.c.role,
            t.c.from_on,
            t.c.contact_id,
            contact.c.name,
            case((contact.c.last_confirmed_on <= AS_OF, contact.c.last_confirmed_on)).label("last_confirmed_on"),
            case((contact.c.departed_on <= AS_OF, contact.c.departed_on)).label("departed_on"),
            case((t.c.to_on <= AS_OF, t.c.to_on)).label("to_on"),
        )
        .join_from(t, contact, and_(contact.c.workspace == t.c.workspace, contact.c.id == t.c.contact_id))
        .where(
            *scope, t.c.account_id == _ID, t.c.from_on <= AS_OF, or_(t.c.to_on.is_(None), t.c.to_on > first_day(365))
        )
        .where(or_(t.c.role == SponsorRole.executive_sponsor.value, t.c.role == SponsorRole.champion.value))
        .order_by(t.c.from_on.desc(), t.c.id)
        .limit(MOST)
    )


def _invoices(scope: Conditions) -> Any:
    t: Any = InvoiceRow.__table__
    unpaid = or_(t.c.paid_on > AS_OF, and_(t.c.paid_on.is_(None), t.c.status != InvoiceStatus.paid.value))
    late = or_(and_(t.c.due_on < AS_OF, unpaid), and_(t.c.due_on >= first_day(365), t.c.paid_on > t.c.due_on))
    return (
        _own(t, scope, "amount_minor", "currency", "due_on")
        .add_columns(case((t.c.paid_on <= AS_OF, t.c.paid_on)).label("paid_on"))
        .where(t.c.due_on <= AS_OF, late)
        .where(t.c.status != InvoiceStatus.void.value, t.c.status != InvoiceStatus.written_off.value)
        .order_by(flag(unpaid).desc(), t.c.due_on, t.c.id)
        .limit(MOST)
    )


def _contractions(scope: Conditions) -> Any:
    t: Any = ArrMovementRow.__table__
    return (
        _own(t, scope, "on", "amount_minor", "currency")
        .where(t.c.kind == MovementKind.contraction.value, t.c.on.between(first_day(365), AS_OF))
        .order_by(t.c.on.desc(), t.c.id)
        .limit(MOST)
    )


def _subscriptions(scope: Conditions) -> Any:
    t: Any = SubscriptionRow.__table__
    return (
        _own(t, scope, "starts_on", "ends_on", "seats", "term_months", "auto_renew")
        .where(t.c.starts_on <= AS_OF, ~t.c.trial, or_(t.c.canceled_on.is_(None), t.c.canceled_on > AS_OF))
        .where(or_(t.c.ends_on.is_(None), t.c.ends_on >= AS_OF))
        .order_by(t.c.ends_on.nulls_last(), t.c.id)
        .limit(MOST)
    )


def _company_events(scope: Conditions) -> Any:
    t: Any = CompanyEventRow.__table__
    return (
        _own(t, scope, "on", "kind")
        .where(t.c.on.between(first_day(180), AS_OF), or_(*(t.c.kind == kind for kind in BAD_EVENTS)))
        .order_by(t.c.on.desc(), t.c.id)
        .limit(MOST)
    )


def _records() -> Any:
    """The account and what was merged into it: usage stays with the record that it was told for."""
    return select(ACCOUNT.c.id).where(
        ACCOUNT.c.workspace == bindparam("workspace"), or_(ACCOUNT.c.id == _ID, ACCOUNT.c.merged_into_id == _ID)
    )


def _usage(scope: Conditions) -> Any:
    day = USAGE_DAY.c.day
    return (
        select(day, *(total_of(USAGE_DAY.c[name]).label(name) for name in ("active_users", "power_sessions")))
        .where(*scope, USAGE_DAY.c.account_id.in_(_records()), USAGE_DAY.c.department == WHOLE_ACCOUNT)
        .where(day <= AS_OF_DAY, day > AS_OF_DAY - 60)
        .group_by(day)
        .order_by(day.desc())
    )


def _features(scope: Conditions) -> Any:
    t: Any = FeatureRow.__table__
    used = USAGE_FEATURE
    mine = and_(
        used.c.workspace == t.c.workspace,
        used.c.feature_id == t.c.id,
        used.c.account_id.in_(_records()),
        used.c.events > 0,
        used.c.day.between(AS_OF_DAY - 29, AS_OF_DAY),
    )
    return (
        select(t.c.id, t.c.name, func.max(used.c.day).label("day"))
        .outerjoin_from(t, used, mine)
        .where(*scope, t.c.is_core)
        .group_by(t.c.id, t.c.name)
        .order_by(t.c.id)
        .limit(MOST)
    )


FEEDS: Final = {
    "tickets": Scoped("ticket", _tickets),
    "surveys": Scoped("survey_response", _surveys),
    "notes": Scoped("health_note", _notes),
    "meetings": Scoped("meeting", _meetings),
    "seats": Scoped("sponsorship", _seats),
    "invoices": Scoped("invoice", _invoices),
    "contractions": Scoped("arr_movement", _contractions),
    "subscriptions": Scoped("subscription", _subscriptions),
    "company_events": Scoped("company_event", _company_events),
    "usage": Scoped("usage_day", _usage, removed_too=True),
    "features": Scoped("feature", _features),
}


class EvidenceReads(ScopedReads):
    async def of(
        self, principal: Principal, account: str, feeds: Collection[str], day: date, calendar: Calendar
    ) -> dict[str, list[Row]]:
        """Rows of these feeds that speak of the account on a day, in one snapshot."""
        named = sorted(feeds)
        found = await self.rows(principal, [FEEDS[name] for name in named], account=account, **moment(day, calendar))
        return dict(zip(named, found, strict=True))
