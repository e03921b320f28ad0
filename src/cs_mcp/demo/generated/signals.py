"""What lies under an account's history and is not told in it: how much it is used, and what goes wrong, week by week.

The history is drawn from these series, so that use and tickets foretell churn as they do outside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Final, NamedTuple

from cs_mcp.demo.generated.randomness import clamped, happens, stream

WEEK: Final = timedelta(days=7)
_RECENT: Final = 12  # weeks that a decision looks back on
_TICKET_RATE: Final = 0.02  # a week, times the root of the seats: large customers ask their own desk first
_LEAST_TICKETS: Final = 0.02
_HOLIDAYS: Final = frozenset({30, 31, 32, 50, 51})  # weeks of the year, from 0, in which half the world is away
_SEVERITIES: Final = ((1, 0.02), (2, 0.10), (3, 0.45), (4, 1.0))  # cumulated


class Ticket(NamedTuple):
    """`severity` 1 is the worst; `resolved_on` may lie after today."""

    opened_on: date
    severity: int
    resolved_on: date
    sla_breached: bool


@dataclass(frozen=True, slots=True)
class Signals:
    """`usage[n]` is the share of seats active in the week from `begins_on` + 7 n days, 0 to 1."""

    begins_on: date
    usage: tuple[float, ...]
    tickets: tuple[Ticket, ...]

    def usage_before(self, day: date, weeks: int = _RECENT) -> float:
        """Mean use in the weeks before a day; of the first week where there is nothing before it."""
        last = clamped((day - self.begins_on).days // 7, 1, len(self.usage))
        window = self.usage[max(0, int(last) - weeks) : int(last)]
        return sum(window) / len(window)

    def trend_before(self, day: date) -> float:
        """Use in the last weeks less use in as many before them."""
        return self.usage_before(day) - self.usage_before(day - _RECENT * WEEK)

    def tickets_before(self, day: date) -> list[Ticket]:
        """Those opened in the weeks that a decision looks back on."""
        since = day - _RECENT * WEEK
        return [ticket for ticket in self.tickets if since <= ticket.opened_on < day]

    def strain(self, day: date) -> float:
        """How hard the last weeks' tickets weigh: 0 is none, 1 is an open wound."""
        weights = {1: 0.5, 2: 0.2, 3: 0.04, 4: 0.01}
        felt = (weights[t.severity] * (2 if t.sla_breached else 1) for t in self.tickets_before(day))
        return clamped(sum(felt), 0, 1)

    def between(self, first: date, last: date) -> Signals:
        """The weeks that begin on these days, and the tickets opened on them; at least one week."""
        skipped = min(max(0, -(-(first - self.begins_on).days // 7)), len(self.usage) - 1)
        kept = max(1, (last - self.begins_on).days // 7 + 1 - skipped)
        tickets = tuple(ticket for ticket in self.tickets if first <= ticket.opened_on <= last)
        return Signals(self.begins_on + skipped * WEEK, self.usage[skipped : skipped + kept], tickets)


def latent(seed: int, number: int, seats: int, begins_on: date, today: date) -> Signals:
    """The series of one account from its start to today, contract or not."""
    random = stream(seed, number, "signals")
    weeks = max(1, (today - begins_on).days // 7 + 1)
    usage = _usage(random, begins_on, weeks)
    return Signals(begins_on, usage, _tickets(random, seats, begins_on, weeks))


def _usage(random: Random, begins_on: date, weeks: int) -> tuple[float, ...]:
    level = clamped(random.gauss(0.6, 0.19), 0.08, 0.97)
    # At most two turns in a life: a champion leaves, a department joins.
    turns = {random.randrange(8, 200): random.gauss(-0.05, 0.2) for _ in range(random.choice((0, 0, 1, 1, 2)))}
    drift, noise, day_of_year = 0.0, 0.0, begins_on.timetuple().tm_yday - 1
    series: list[float] = []
    for week in range(weeks):
        if week in turns:
            drift = turns[week] / 10  # felt over ten weeks
        level = min(0.98, max(0.02, level + drift))
        drift = drift * 0.9 if abs(drift) > 0.001 else 0.0
        noise = 0.7 * noise + random.gauss(0, 0.025)
        ramp = min(1.0, 0.25 + week / 8)
        away = 0.8 if (day_of_year + 7 * week) % 365 // 7 in _HOLIDAYS else 1.0
        series.append(round(min(1.0, max(0.0, (level + noise) * ramp * away)), 3))
    return tuple(series)


def _tickets(random: Random, seats: int, begins_on: date, weeks: int) -> tuple[Ticket, ...]:
    quality = random.lognormvariate(0, 0.6)
    rate = max(_LEAST_TICKETS, _TICKET_RATE * math.sqrt(seats) * quality)
    found: list[Ticket] = []
    at = random.expovariate(rate)
    while at < weeks:
        opened = begins_on + timedelta(days=int(at * 7))
        draw = random.random()
        severity = next(severity for severity, upto in _SEVERITIES if draw < upto)
        days = int(random.expovariate(1 / (2 + 2 * severity))) + 1
        found.append(Ticket(opened, severity, opened + timedelta(days=days), happens(random, 0.06 * quality)))
        at += random.expovariate(rate)
    return tuple(found)
