"""The catalogue of what is known of an account on a day: what measures are computed from and conditions speak of.

Every fact is taken from records dated on or before the day. `db/facts/facts.py` has a column for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from cs_mcp.domain.facts.conditions import FactType


class Feed(StrEnum):
    """Where facts come from. An account that a feed has told nothing of has no facts of it: they are missing."""

    account = "account"
    usage = "usage"
    features = "features"
    tickets = "tickets"
    surveys = "surveys"
    notes = "notes"
    meetings = "meetings"
    contacts = "contacts"
    sponsors = "sponsors"
    invoices = "invoices"
    ledger = "ledger"
    subscriptions = "subscriptions"
    company_events = "company_events"
    success_plans = "success_plans"
    onboarding = "onboarding"


class Fact(NamedTuple):
    name: str
    type: FactType
    says: str
    feed: Feed


def _numbers(feed: Feed, **told: str) -> list[Fact]:
    return [Fact(name, "number", says, feed) for name, says in told.items()]


def _flags(feed: Feed, **told: str) -> list[Fact]:
    return [Fact(name, "bool", says, feed) for name, says in told.items()]


def _texts(feed: Feed, **told: str) -> list[Fact]:
    return [Fact(name, "text", says, feed) for name, says in told.items()]


_ALL: Final = (
    *_texts(
        Feed.account,
        segment="smb, mid_market or enterprise, as set today",
        tier="platinum, gold or standard, as set today",
        touch="high, mid or low, as set today",
    ),
    *_numbers(
        Feed.usage,
        usage_age_days="days since the newest usage row",
        seats_used="seats in use, the latest figure",
        active_now="active users, mean of the last 7 days with data",
        active_30="sum of daily active users over the last 30 days",
        active_prev_30="the same over the 30 days before",
        active_change="daily active users of the last 30 days against the 30 before, as a share (0 is no change)",
        days_30="days with usage data among the last 30",
        days_prev_30="days with usage data among the 30 before",
        events_30="feature events of the last 30 days",
        events_prev_30="feature events of the 30 days before",
        power_w1="power-user sessions of the last 7 days",
        power_w2="power-user sessions of the 7 days before those",
        power_w3="power-user sessions of the 7 days before those again",
        sponsor_dept_30="active users of the executive sponsor's department over the last 30 days",
        sponsor_dept_prev_30="the same over the 30 days before",
        sponsor_dept_change="daily active users of that department, as active_change",
        integrations="integrations connected, the latest figure",
        integrations_prev="integrations connected 30 days before",
    ),
    *_numbers(
        Feed.features,
        core_used_30="distinct core features used in the last 30 days",
        core_total="core features there are",
    ),
    *_numbers(
        Feed.tickets,
        open_sev1="open tickets of severity 1",
        open_sev2="open tickets of severity 2",
        open_tickets="open tickets of any severity",
        tickets_30="tickets opened in the last 30 days",
        tickets_prev_60="tickets opened in the 60 days before those",
        resolved_90="tickets resolved in the last 90 days",
        resolution_hours="mean hours from opening to resolution, of tickets resolved in the last 90 days",
        sla_told_90="tickets of the last 90 days of which the SLA's outcome is known",
        sla_breaches_90="those of them that breached it",
        escalations_90="tickets of the last 90 days that were escalated",
    ),
    *_numbers(
        Feed.surveys,
        survey_answers="NPS, CSAT and CES answers of the last year",
        survey_score="their mean on a scale of 0 to 100, by recency: 30 days weigh 4, 90 days 3, 180 days 2, older 1",
        survey_age_days="days since the newest of them",
        nps_latest="the newest NPS score, 0 to 10",
    ),
    *_numbers(
        Feed.notes,
        sentiments_90="notes and meetings of the last 90 days that carry a sentiment",
        sentiment_sum="positive ones less negative ones among them",
    ),
    *_numbers(
        Feed.meetings,
        touch_age_days="days since anything was held with the customer",
        cadence_days="days within which the touch model wants a touch",
        review_age_days="days since the last QBR, EBR or value review",
        attended_365="reviews and trainings of the last year that the customer attended",
        engaged_contacts="active contacts met in the last 90 days",
        engaged_heights="levels among them: executive, management, practitioner",
        engaged_functions="departments among them",
    ),
    *_numbers(Feed.contacts, contacts="active contacts"),
    *_flags(
        Feed.sponsors,
        sponsor_present="whether somebody who has not left is executive sponsor",
        sponsor_departed="whether the executive sponsor left and no successor has met us since",
        champion_present="whether somebody who has not left is champion",
    ),
    *_numbers(
        Feed.sponsors,
        sponsor_age_days="days since the executive sponsor was assigned, confirmed or, in half a year, met us",
    ),
    *_numbers(
        Feed.invoices,
        overdue_days="days the oldest unpaid invoice is past due; 0 where none is",
        invoices_365="invoices that fell due in the last year",
        late_365="those of them paid late or still unpaid",
    ),
    *_numbers(
        Feed.ledger,
        arr_minor="ARR in minor units of the account's currency",
        contracted_365_minor="ARR given up in contractions over the last year, in minor units",
    ),
    *_numbers(
        Feed.subscriptions,
        seats_licensed="seats under contract",
        term_months="months of the longest running term",
        days_to_renewal="days until the next term ends",
    ),
    *_flags(Feed.subscriptions, auto_renew="whether every running subscription renews by itself"),
    *_numbers(
        Feed.company_events,
        company_events_180="events told of the company in the last 180 days",
        bad_events_180="layoffs, acquisitions and changes of leadership among them",
    ),
    *_numbers(
        Feed.success_plans,
        objectives_open="active objectives",
        objectives_on_track="those of them on track",
        value_age_days="days since the customer last confirmed a realized value",
    ),
    *_flags(
        Feed.onboarding,
        first_value_reached="whether the first value was reached",
        first_value_overdue="whether its deadline passed before it was reached",
    ),
)
FACTS: Final[Mapping[str, Fact]] = {fact.name: fact for fact in _ALL}
FACT_TYPES: Final[Mapping[str, FactType]] = {fact.name: fact.type for fact in _ALL}
