"""The signals of the demo book: tickets, answers, invoices and news as records, use as figures by day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.demo.book import Customer, Points, Use, customers
from cs_mcp.demo.generated.facts import FEATURES
from cs_mcp.domain.money import Money
from cs_mcp.domain.records import Ids, Record
from cs_mcp.domain.signals.signals import (
    SCALES,
    CompanyEvent,
    Invoice,
    SurveyResponse,
    Ticket,
    TicketStatus,
    invoice_status,
)
from cs_mcp.domain.signals.usage import METRICS, department_key
from cs_mcp.services.signals.usage import UsageTelling

_AT_WEEKENDS: Final = 0.25
_POWER: Final = 0.3


def signals_of(
    customer: Customer, account: str, contacts: Mapping[str, str], today: date, ids: Ids
) -> Iterator[Record]:
    def at(days: int, hour: int) -> datetime:
        return datetime.combine(today + timedelta(days=days), time(hour), UTC)

    for case in customer.tickets:
        yield Ticket(
            id=ids.new("ticket"),
            account_id=account,
            severity=case.severity,
            category="incident" if case.severity < 3 else "question",
            status=TicketStatus.open if case.resolved is None else TicketStatus.resolved,
            opened_at=at(case.on, 8),
            first_response_at=at(case.on, 8 + case.severity),
            resolved_at=None if case.resolved is None else at(case.resolved, 15),
            escalated=case.escalated,
            sla_breached=case.sla_breached,
            csat=case.csat,
            subject=case.subject,
            text=case.text,
        )
    for told in customer.surveys:
        yield SurveyResponse(
            id=ids.new("survey_response"),
            account_id=account,
            contact_id=contacts[told.by],
            kind=told.kind,
            score=told.score,
            scale_max=SCALES[told.kind],
            answered_at=at(told.on, 10),
            loop_state=told.loop,
            comment=told.comment,
        )
    for bill in customer.invoices:
        paid = None if bill.paid is None else today + timedelta(days=bill.paid)
        yield Invoice(
            id=ids.new("invoice"),
            account_id=account,
            amount_minor=Money.of(bill.amount, customer.currency).minor,
            currency=customer.currency,
            due_on=today + timedelta(days=bill.due),
            paid_on=paid,
            status=invoice_status(None, paid),
        )
    for news in customer.events:
        event = CompanyEvent(id=ids.new("company_event"), account_id=account, on=today, kind=news.kind, note=news.note)
        yield event.changed(on=today + timedelta(days=news.on))


async def tell_usage(work: UnitOfWork, accounts: Mapping[str, str]) -> None:
    """Figures of every customer that has any, by the day; departments and features by the week."""
    telling = UsageTelling(work, None)
    await telling.meet_features(FEATURES)
    for name, is_core in FEATURES.items():
        telling.mark_core(name, is_core)
    for customer in customers():
        if customer.usage is not None:
            _tell(telling, customer.usage, accounts[customer.name], work.today)
    await telling.write()
    await telling.finish()


def _tell(telling: UsageTelling, use: Use, account: str, today: date) -> None:
    told, names = telling.told, list(FEATURES)
    for back in range(use.active[0][0], use.active[-1][0] + 1):
        day = today + timedelta(days=back)
        share = _AT_WEEKENDS if day.weekday() > 4 else 1.0
        active = round(_at(use.active, back) * share)
        power = round((_at(use.power, back) if use.power else _POWER * _at(use.active, back)) * share)
        figures = {
            "active_users": active,
            "power_sessions": power,
            "logins": 2 * active + power,
            "seats_used": use.seats,
            "integrations": use.integrations,
        }
        for metric, value in figures.items():
            told.tell(account, day.toordinal(), METRICS.index(metric), value)
        for department, part in use.departments.items():
            key, place = department_key(department), METRICS.index("active_users")
            told.tell(account, day.toordinal(), place, round(active * part), key)
        if back % 7 == 0 or back == use.active[-1][0]:
            for place, name in enumerate(names[: use.features]):
                told.tell_feature(account, day.toordinal(), telling.feature(name), active * 4 // (1 + place))


def _at(points: Points, back: int) -> float:
    """Straight between the points, level before the first and after the last."""
    before = points[0]
    for point in points:
        if back <= point[0]:
            if point[0] == before[0]:
                return point[1]
            return before[1] + (point[1] - before[1]) * (back - before[0]) / (point[0] - before[0])
        before = point
    return before[1]
