"""The records behind each measure, said as a line with an id and a day."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from statistics import fmean
from typing import Final, NamedTuple

from cs_mcp.db.read_path import Row
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.contract import Amount, View, shown
from cs_mcp.domain.work.meetings import MeetingKind

REVIEWS: Final = frozenset({MeetingKind.qbr, MeetingKind.ebr, MeetingKind.value_review})
ATTENDED: Final = REVIEWS | {MeetingKind.training}


class Evidence(View):
    """A record, or days of usage, that a measure is computed from."""

    id: str | None = None
    on: date
    what: str

    def text(self, nonce: str) -> str:
        return f"  - {self.on} {shown(self.what)}" + (f" ({self.id})" if self.id else "")


@dataclass(frozen=True)
class Found:
    """Rows by feed, as of a day."""

    feeds: Mapping[str, list[Row]]
    day: date
    calendar: Calendar

    def at(self, name: str) -> list[Row]:
        return self.feeds.get(name, [])


class Source(NamedTuple):
    """`stands` where the records hold until others take their place: a running contract does not grow stale."""

    feeds: tuple[str, ...]
    lines: Callable[[Found], Iterable[Evidence]]
    stands: bool = False


# -- usage ----------------------------------------------------------------------------------------------------


def _days(found: Found, metric: str, first: int, last: int) -> list[tuple[int, int]]:
    """Days with a figure from `first` to `last` days back, newest first."""
    today = found.day.toordinal()
    return [
        (row["day"], row[metric])
        for row in found.at("usage")
        if first <= today - row["day"] <= last and row[metric] is not None
    ]


def _active_now(found: Found) -> Iterator[Evidence]:
    if recent := _days(found, "active_users", 0, 29)[:7]:
        mean = fmean(users for _, users in recent)
        since = date.fromordinal(recent[-1][0])
        yield Evidence(on=date.fromordinal(recent[0][0]), what=f"{mean:.1f} active users a day since {since}")
    for row in found.at("subscriptions"):
        if row["seats"] is not None:
            yield Evidence(id=row["id"], on=row["starts_on"], what=f"{row['seats']} seats under contract")


def _months_of_use(found: Found) -> Iterator[Evidence]:
    for first, last, said in ((0, 29, "the last 30 days"), (30, 59, "the 30 days before")):
        if days := _days(found, "active_users", first, last):
            mean = fmean(users for _, users in days)
            what = f"{mean:.1f} active users a day in {said} ({len(days)} days with data)"
            yield Evidence(on=date.fromordinal(days[0][0]), what=what)


def _weeks_of_power(found: Found) -> Iterator[Evidence]:
    for week in range(3):
        if days := _days(found, "power_sessions", week * 7, week * 7 + 6):
            what = f"{sum(sessions for _, sessions in days)} power-user sessions in the 7 days to then"
            yield Evidence(on=date.fromordinal(found.day.toordinal() - week * 7), what=what)


def _core(found: Found) -> Iterator[Evidence]:
    used = [row for row in found.at("features") if row["day"] is not None]
    for row in found.at("features"):
        if row["day"] is None and used:
            yield Evidence(id=row["id"], on=found.day, what=f"{shown(row['name'], 80)} not used in 30 days")
    for row in sorted(used, key=lambda row: -row["day"]):
        yield Evidence(id=row["id"], on=date.fromordinal(row["day"]), what=f"{shown(row['name'], 80)} used last")


# -- support --------------------------------------------------------------------------------------------------


def _ticket(found: Found, row: Row, what: str) -> Evidence:
    severity = f"severity {row['severity']} ticket" if row["severity"] else "ticket"
    return Evidence(id=row["id"], on=found.calendar.day_of(row["opened_at"]), what=f"{severity} {what}")


def _days_back(found: Found, row: Row, column: str) -> int | None:
    """How many days before as-of an instant was; None where it was not yet."""
    at = row[column]
    days = None if at is None else (found.day - found.calendar.day_of(at)).days
    return days if days is not None and days >= 0 else None


def _within(found: Found, row: Row, column: str, days: int) -> bool:
    back = _days_back(found, row, column)
    return back is not None and back < days


def _open_of(*severities: int) -> Callable[[Found], Iterator[Evidence]]:
    def lines(found: Found) -> Iterator[Evidence]:
        for row in found.at("tickets"):
            if row["is_open"] and row["severity"] in severities:
                yield _ticket(found, row, "opened, still open")

    return lines


def _resolved(found: Found) -> Iterator[Evidence]:
    took = [
        ((row["resolved_at"] - row["opened_at"]).total_seconds() / 3600, row)
        for row in found.at("tickets")
        if _within(found, row, "resolved_at", 90)
    ]
    for hours, row in sorted(took, key=lambda one: -one[0]):
        yield _ticket(found, row, f"opened, resolved after {hours:.0f} hours")


def _breached(found: Found) -> Iterator[Evidence]:
    for row in found.at("tickets"):
        if row["sla_breached"] and _within(found, row, "opened_at", 90):
            yield _ticket(found, row, "opened, its SLA was breached")


def _escalated(found: Found) -> Iterator[Evidence]:
    for row in found.at("tickets"):
        if row["escalated"] and _within(found, row, "opened_at", 90):
            yield _ticket(found, row, "opened, was escalated")


def _opened(found: Found) -> Iterator[Evidence]:
    lately = [row for row in found.at("tickets") if _within(found, row, "opened_at", 30)]
    for row in sorted(lately, key=lambda row: row["opened_at"], reverse=True):
        yield _ticket(found, row, "opened")


# -- sentiment ------------------------------------------------------------------------------------------------


def _answers(found: Found) -> Iterator[Evidence]:
    for row in found.at("surveys"):
        what = f"{row['kind'].upper()} {row['score']:g} of {row['scale_max']}"
        yield Evidence(id=row["id"], on=found.calendar.day_of(row["answered_at"]), what=what)


def _sentiments(found: Found) -> Iterator[Evidence]:
    told = [Evidence(id=row["id"], on=row["written_on"], what=f"{row['sentiment']} note") for row in found.at("notes")]
    told += [
        Evidence(id=row["id"], on=row["held_on"], what=f"{row['sentiment']} {_kind(row)}")
        for row in found.at("meetings")
        if row["sentiment"] is not None and (found.day - row["held_on"]).days < 90
    ]
    yield from sorted(told, key=lambda one: one.on, reverse=True)


def _kind(row: Row) -> str:
    return row["kind"].replace("_", " ")


# -- commercial -----------------------------------------------------------------------------------------------


def _payments(found: Found) -> Iterator[Evidence]:
    for row in found.at("invoices"):
        amount = Amount.of(row["amount_minor"], row["currency"])
        if row["paid_on"] is None:
            what = f"{amount} due then, unpaid for {(found.day - row['due_on']).days} days"
        else:
            what = f"{amount} due then, paid {(row['paid_on'] - row['due_on']).days} days late"
        yield Evidence(id=row["id"], on=row["due_on"], what=what)


def _unpaid(found: Found) -> Iterator[Evidence]:
    open_ones = [row for row in found.at("invoices") if row["paid_on"] is None]
    yield from _payments(Found({"invoices": open_ones}, found.day, found.calendar))


def _contractions(found: Found) -> Iterator[Evidence]:
    for row in found.at("contractions"):
        amount = Amount.of(-row["amount_minor"], row["currency"])
        yield Evidence(id=row["id"], on=row["on"], what=f"contraction of {amount}")


def _terms(found: Found) -> Iterator[Evidence]:
    for row in found.at("subscriptions"):
        term = f"{row['term_months']} months" if row["term_months"] else "term not told"
        renews = {True: "renews by itself", False: "does not renew by itself", None: "renewal not told"}
        yield Evidence(id=row["id"], on=row["starts_on"], what=f"subscription, {term}, {renews[row['auto_renew']]}")


def _events(found: Found) -> Iterator[Evidence]:
    for row in found.at("company_events"):
        yield Evidence(id=row["id"], on=row["on"], what=_kind(row))


def _review_and_end(found: Found) -> Iterator[Evidence]:
    yield from _held(found, REVIEWS, most=1)
    yield from _end_of_term(found)


def _end_of_term(found: Found) -> Iterator[Evidence]:
    for row in found.at("subscriptions")[:1]:
        if row["ends_on"] is not None:
            yield Evidence(id=row["id"], on=row["ends_on"], what="the term ends")


# -- relationship ---------------------------------------------------------------------------------------------


def _held(found: Found, kinds: frozenset[MeetingKind] | None, *, most: int, days: int = 10_000) -> Iterator[Evidence]:
    held = [row for row in found.at("meetings") if (found.day - row["held_on"]).days < days]
    for row in [row for row in held if kinds is None or row["kind"] in kinds][:most]:
        yield Evidence(id=row["id"], on=row["held_on"], what=f"{_kind(row)} held")


def _attended(found: Found) -> Iterator[Evidence]:
    for row in found.at("meetings"):
        there = [who for who in row["attendees"] if who.get("contact_id") and who.get("attended", True)]
        if row["kind"] in ATTENDED and there and (found.day - row["held_on"]).days < 365:
            yield Evidence(id=row["id"], on=row["held_on"], what=f"{_kind(row)} with {len(there)} of theirs")


def _seat(role: str) -> Callable[[Found], Iterator[Evidence]]:
    def lines(found: Found) -> Iterator[Evidence]:
        seats = [row for row in found.at("seats") if row["role"] == role]
        for row in [row for row in seats if row["to_on"] is None] or seats[:1]:
            yield from _holder(row, role.replace("_", " "))

    return lines


def _holder(row: Row, role: str) -> Iterator[Evidence]:
    name = shown(row["name"], 80)
    if row["departed_on"] is not None:
        yield Evidence(id=row["contact_id"], on=row["departed_on"], what=f"{name}, {role}, departed")
    elif row["to_on"] is not None:
        yield Evidence(id=row["contact_id"], on=row["to_on"], what=f"{name} was {role} until then")
    else:
        yield Evidence(id=row["contact_id"], on=row["from_on"], what=f"{name} became {role}")
    is_there = row["departed_on"] is None and row["to_on"] is None
    if is_there and row["last_confirmed_on"] is not None and row["last_confirmed_on"] > row["from_on"]:
        yield Evidence(id=row["contact_id"], on=row["last_confirmed_on"], what=f"{name} last confirmed")


def _touched(found: Found) -> Iterator[Evidence]:
    yield from _held(found, None, most=1)


def _engaged(found: Found) -> Iterator[Evidence]:
    yield from _held(found, None, most=60, days=90)


def _confirmed(found: Found) -> Iterator[Evidence]:
    yield from _SPONSOR(found)
    holders = {
        row["contact_id"] for row in found.at("seats") if row["role"] == "executive_sponsor" and row["to_on"] is None
    }
    for row in found.at("meetings"):
        if any(who.get("contact_id") in holders and who.get("attended", True) for who in row["attendees"]):
            yield Evidence(id=row["id"], on=row["held_on"], what=f"{_kind(row)} with the sponsor")
            return


_SPONSOR: Final = _seat("executive_sponsor")
_USAGE: Final = ("usage",)
_TICKETS: Final = ("tickets",)
_MEETINGS: Final = ("meetings",)
SOURCES: Final[Mapping[str, Source]] = {
    "active_seats": Source(("usage", "subscriptions"), _active_now),
    "usage_trend": Source(_USAGE, _months_of_use),
    "power_users": Source(_USAGE, _weeks_of_power),
    "core_depth": Source(("features",), _core),
    "sponsor_department": Source(("seats",), _SPONSOR, stands=True),
    "open_severe": Source(_TICKETS, _open_of(1, 2)),
    "time_to_resolution": Source(_TICKETS, _resolved),
    "sla_breaches": Source(_TICKETS, _breached),
    "escalations": Source(_TICKETS, _escalated),
    "ticket_volume": Source(_TICKETS, _opened),
    "survey": Source(("surveys",), _answers),
    "notes_sentiment": Source(("notes", "meetings"), _sentiments),
    "payment": Source(("invoices",), _payments),
    "contraction": Source(("contractions",), _contractions),
    "contract": Source(("subscriptions",), _terms, stands=True),
    "company_events": Source(("company_events",), _events),
    "reviewed_before_renewal": Source(("meetings", "subscriptions"), _review_and_end),
    "touch": Source(_MEETINGS, _touched),
    "sponsor_present": Source(("seats",), _SPONSOR, stands=True),
    "sponsor_confirmed": Source(("seats", "meetings"), _confirmed),
    "champion_present": Source(("seats",), _seat("champion"), stands=True),
    "breadth": Source(_MEETINGS, _engaged),
    "attendance": Source(_MEETINGS, _attended),
}


# The records behind a fact that a hard rule may be about.
OF_FACTS: Final[Mapping[str, Source]] = {
    "sponsor_departed": Source(("seats",), _SPONSOR),
    "sponsor_present": Source(("seats",), _SPONSOR),
    "champion_present": Source(("seats",), _seat("champion")),
    "open_sev1": Source(_TICKETS, _open_of(1)),
    "open_sev2": Source(_TICKETS, _open_of(2)),
    "escalations_90": Source(_TICKETS, _escalated),
    "sla_breaches_90": Source(_TICKETS, _breached),
    "overdue_days": Source(("invoices",), _unpaid),
    "days_to_renewal": Source(("subscriptions",), _end_of_term),
    "touch_age_days": Source(_MEETINGS, _touched),
}


def feeds_of(measures: Iterable[str], facts: Iterable[str] = ()) -> set[str]:
    """What has to be read to tell of these measures and of these facts."""
    sources = [SOURCES[name] for name in measures if name in SOURCES]
    sources += [OF_FACTS[name] for name in facts if name in OF_FACTS]
    return {feed for source in sources for feed in source.feeds}


def evidence_of_facts(facts: Iterable[str], found: Found) -> list[Evidence]:
    """The records behind facts, the telling ones first."""
    return [line for name in facts if name in OF_FACTS for line in OF_FACTS[name].lines(found)]


def grows_stale(measure: str) -> bool:
    return measure in SOURCES and not SOURCES[measure].stands


def evidence_of(measure: str, found: Found) -> tuple[list[Evidence], date | None]:
    """The records behind a measure, the telling ones first, and the day of the newest."""
    source = SOURCES.get(measure)
    lines = list(source.lines(found)) if source is not None else []
    return lines, max((line.on for line in lines if line.on <= found.day), default=None)
