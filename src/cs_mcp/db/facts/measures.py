"""How the raw value of each measure is computed from facts. A measure is one entry in the rubric and one here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Double, and_, case, column, null

from cs_mcp.db.facts.terms import decimal, number, quotient, ratio
from cs_mcp.domain.facts.conditions import facts_of as facts_in
from cs_mcp.domain.health.rubric import Rubric

REVIEW_DAYS: Final = 180
FAR: Final = 365  # a renewal that is reviewed or further away counts as this many days off
USAGE_STALE_DAYS: Final = 30


class Facts:
    """Columns by name; remembers which were asked for."""

    def __init__(self, columns: Mapping[str, Any] | None = None) -> None:
        self._columns = columns
        self.asked: dict[str, None] = {}

    def __getattr__(self, name: str) -> ColumnElement[Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        self.asked[name] = None
        return column(name) if self._columns is None else self._columns[name]


Expression = Callable[[Facts], Any]


def _at_most(value: Any, most: int) -> Any:
    return case((value > most, most), else_=value)


def _yes(value: Any) -> Any:
    return case((value.is_(True), 1), (value.is_(False), 0))


def _active_seats(f: Facts) -> Any:
    return case((f.usage_age_days < USAGE_STALE_DAYS, ratio(f.active_now, f.seats_licensed)))


def _power_users(f: Facts) -> Any:
    known = and_(f.power_w1.is_not(None), f.power_w2.is_not(None), f.power_w3.is_not(None))
    falling = and_(f.power_w1 < f.power_w2, f.power_w2 < f.power_w3)
    return case((and_(known, falling), ratio(f.power_w1 - f.power_w3, f.power_w3)), (known, 0.0))


def _payment(f: Facts) -> Any:
    return case((f.overdue_days > 0, number(f.overdue_days)), else_=ratio(f.late_365 * 10, f.invoices_365))


def _reviewed_before_renewal(f: Facts) -> Any:
    reviewed = f.review_age_days < REVIEW_DAYS
    return case(
        (f.touch_age_days.is_(None), null()),
        (f.days_to_renewal.is_(None), null()),
        (reviewed, FAR),
        else_=_at_most(f.days_to_renewal, FAR),
    )


RAW: Final[Mapping[str, Expression]] = {
    "active_seats": _active_seats,
    "usage_trend": lambda f: f.active_change,
    "power_users": _power_users,
    "core_depth": lambda f: ratio(f.core_used_30, f.core_total),
    "sponsor_department": lambda f: f.sponsor_dept_change - f.active_change,
    "objectives_on_track": lambda f: ratio(f.objectives_on_track, f.objectives_open),
    "value_confirmed": lambda f: f.value_age_days,
    "first_value": lambda f: case((f.first_value_reached.is_(True), 1), (f.first_value_overdue.is_(True), 0)),
    "open_severe": lambda f: f.open_sev1 * 3 + f.open_sev2,
    "time_to_resolution": lambda f: f.resolution_hours,
    "sla_breaches": lambda f: ratio(f.sla_breaches_90, f.sla_told_90),
    "escalations": lambda f: f.escalations_90,
    "ticket_volume": lambda f: number(f.tickets_30) - quotient(number(f.tickets_prev_60), decimal(2.0)),
    "survey": lambda f: f.survey_score,
    "notes_sentiment": lambda f: ratio(f.sentiment_sum, f.sentiments_90),
    "payment": _payment,
    "contraction": lambda f: ratio(f.contracted_365_minor, f.arr_minor + f.contracted_365_minor),
    "contract": lambda f: f.term_months + case((f.auto_renew.is_(True), 12), else_=0),
    "company_events": lambda f: f.bad_events_180,
    "reviewed_before_renewal": _reviewed_before_renewal,
    "touch": lambda f: ratio(f.touch_age_days, f.cadence_days),
    "sponsor_present": lambda f: _yes(f.sponsor_present),
    "sponsor_confirmed": lambda f: f.sponsor_age_days,
    "champion_present": lambda f: _yes(f.champion_present),
    "breadth": lambda f: _at_most(f.engaged_heights, 3) + _at_most(f.engaged_functions, 3),
    "attendance": lambda f: f.attended_365,
}


def raw_value(name: str, columns: Mapping[str, Any]) -> ColumnElement[float]:
    """The raw value of a measure as a double; NULL where data is missing."""
    raw = RAW[name](Facts(columns))
    return raw if isinstance(raw.type, Double) else number(raw)


def facts_needed(names: Iterable[str]) -> list[str]:
    """The facts that these measures are computed from, in the order they are first asked for."""
    asked = Facts()
    for name in names:
        RAW[name](asked)
    return list(asked.asked)


def facts_needed_by(rubric: Rubric) -> list[str]:
    """The facts that a rubric's measures and hard rules take."""
    needed = facts_needed(measure.name for measure in rubric.measures)
    ruled = sorted({fact for rule in rubric.rules for fact in facts_in(rule.when)})
    return list(dict.fromkeys((*needed, *ruled)))
