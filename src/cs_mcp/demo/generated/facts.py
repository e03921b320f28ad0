"""What an account's signals look like to the systems that tell them: tickets, and figures of use by day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any, Final

from cs_mcp.db.signals.signals import TicketRow
from cs_mcp.db.usage.writing import FreshUsage
from cs_mcp.demo.generated.history import Generated, signals
from cs_mcp.demo.generated.randomness import stream
from cs_mcp.demo.generated.rowing import Placed
from cs_mcp.demo.generated.signals import WEEK, Signals, Ticket
from cs_mcp.domain.records import Ids
from cs_mcp.domain.signals.signals import TicketStatus

# Name → whether it is core. An account takes them up in this order.
FEATURES: Final[Mapping[str, bool]] = {
    "Dashboards": True,
    "Reports": True,
    "Alerts": True,
    "Integrations": True,
    "Mobile app": False,
    "Custom fields": False,
}
DAILY: Final = 91  # days told each; what lies before is told by one day a week
WEEKLY: Final = 104  # weeks at most
FEATURE_WEEKS: Final = 9
AT_WEEKENDS: Final = 0.25  # of those who come on a working day
MEAN_DAY: Final = (5 + 2 * AT_WEEKENDS) / 7
_SUBJECTS: Final = {
    1: ("Nobody can sign in", "Export loses rows", "Data is missing since last night"),
    2: ("Dashboards take minutes to load", "Sync stopped", "Alerts arrive hours late"),
    3: ("Report shows the wrong month", "Filter is not saved", "Column cannot be sorted"),
    4: ("How do I add a colleague?", "Where is the audit log?", "Can the logo be changed?"),
}
_CATEGORIES: Final = {1: "incident", 2: "incident", 3: "defect", 4: "question"}


def ticket_rows(account: Generated, account_id: str, ids: Ids) -> Iterator[Placed]:
    random = stream(account.seed, account.number, "tickets")
    for ticket in signals(account).tickets:
        yield TicketRow, _ticket(ticket, account, account_id, random, ids)


def _ticket(ticket: Ticket, account: Generated, account_id: str, random: Random, ids: Ids) -> dict[str, Any]:
    resolved = ticket.resolved_on <= account.today
    answered = _at(ticket.opened_on, 9) + timedelta(minutes=random.randint(5, 60 * 2**ticket.severity))
    return {
        "id": ids.new("ticket"),
        "account_id": account_id,
        "severity": ticket.severity,
        "category": _CATEGORIES[ticket.severity],
        "status": (TicketStatus.resolved if resolved else TicketStatus.open).value,
        "opened_at": _at(ticket.opened_on, 8),
        "first_response_at": answered if answered < _at(account.today, 0) else None,
        "resolved_at": max(_at(ticket.resolved_on, 7), answered) if resolved else None,
        "escalated": ticket.severity == 1,
        "sla_breached": ticket.sla_breached,
        "csat": random.choice((2, 3, 4) if ticket.sla_breached else (3, 4, 5, 5)) if resolved else None,
        "subject": random.choice(_SUBJECTS[ticket.severity]),
    }


def _at(day: date, hour: int) -> datetime:
    return datetime.combine(day, time(hour), UTC)


def tell_usage(usage: FreshUsage, account: Generated, account_id: str, features: Mapping[str, str]) -> None:
    """Figures of one account; `features` are ids by name."""
    known, seats = signals(account), account.seats
    last = known.begins_on + len(known.usage) * WEEK - timedelta(days=1)
    last = min(last, account.today - timedelta(days=1))
    # Counted from today for everybody: told by the day up to when they left, leavers would be known by their rows.
    daily_from = account.today - timedelta(days=DAILY)
    for week, share in enumerate(known.usage):
        first = known.begins_on + week * WEEK
        if (account.today - first).days // 7 > WEEKLY:
            continue
        weekday, start = first.weekday(), first.toordinal()
        if first >= daily_from:
            working = _figures(share, seats, 1.0, account.number)
            weekend = _figures(share, seats, AT_WEEKENDS, account.number)
            for place in range(min(7, (last - first).days + 1)):
                usage.tell(account_id, start + place, weekend if (weekday + place) % 7 > 4 else working)
        else:
            # The first day that is one: of a weekend, when few work, a week cannot be told.
            day = start + (7 - weekday if weekday > 4 else 0)
            if day <= last.toordinal():
                # A day that stands for its week tells the mean of it: told as a working day, weeks long past would
                # all look busier than the last ones.
                usage.tell(account_id, day, _figures(share, seats, MEAN_DAY, account.number))
    _tell_features(usage, known, account, account_id, features, last)


def _figures(share: float, seats: int, at_work: float, number: int) -> tuple[int | None, ...]:
    """In the order of `METRICS`; `at_work` is the share of a week's users who come on the day."""
    active = round(seats * share * at_work)
    power = round(active * share * 0.4)
    taken = min(seats, round(seats * (0.35 + 0.65 * share)))
    return active, power, active * 2 + power, active * 9 + power * 20, taken, (number + taken) % 5, None


def _tell_features(
    usage: FreshUsage, known: Signals, account: Generated, account_id: str, features: Mapping[str, str], last: date
) -> None:
    """The features in use, on one day of each of the last weeks."""
    names = list(FEATURES)
    for back in range(FEATURE_WEEKS):
        day = account.today - timedelta(days=1) - back * WEEK
        if not known.begins_on <= day <= last:
            continue
        share = known.usage[(day - known.begins_on).days // 7]
        for place, name in enumerate(names[: 1 + int(share * len(names))]):
            events = round(account.seats * share * 4 / (1 + place))
            if events:
                usage.tell_feature(account_id, features[name], day.toordinal(), events)
