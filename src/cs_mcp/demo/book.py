"""The demo book as its files tell it: one file a customer, days counted from today (-12 is twelve days ago)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cs_mcp.domain.accounts.accounts import OnboardingStatus, Segment, Stage, TeamRole, Tier
from cs_mcp.domain.health.health import RiskCategory
from cs_mcp.domain.identity import Role
from cs_mcp.domain.opportunities.opportunities import EarlyAnswer, ExpansionTrigger, OpportunityKind, OpportunityStage
from cs_mcp.domain.people.sponsors import ContactRole, ContactStatus, Level, Sentiment, SponsorRole
from cs_mcp.domain.renewals.renewals import Concession, ForecastCategory, LossReason, OfferTier, RenewalStage
from cs_mcp.domain.signals.signals import CompanyEventKind, LoopState, SurveyKind
from cs_mcp.domain.text import clean_name, clean_text
from cs_mcp.domain.work.meetings import MeetingKind, RenewalIntent
from cs_mcp.domain.work.tasks import Priority

Days = int
# Cleaned on the way in, as everything is that people outside may have written.
Line = Annotated[str, AfterValidator(clean_name)]
Prose = Annotated[str, AfterValidator(clean_text)]
Key = Annotated[str, Field(description="The part of an e-mail before the @: it names a person within the book")]


class Told(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Colleague(Told):
    key: Key
    name: str
    role: Role
    manager: Key | None = None


class GivenRate(Told):
    """From that day on: units of the company's currency for one of this."""

    currency: str
    on: Days
    rate: str


class Aim(Told):
    metric: str
    value: float
    since: Days
    owner: Key


class Company(Told):
    """The company whose book it is, its people, what it reckons by and aims at."""

    name: str
    domain: str
    currency: str
    time_zone: str
    fiscal_year_starts: int
    people: list[Colleague]
    rates: list[GivenRate]
    targets: list[Aim]


class Seat(Told):
    role: SponsorRole
    since: Days
    until: Days | None = None


class Person(Told):
    key: Key
    name: Line
    title: Line
    department: Line | None = None
    level: Level
    roles: list[ContactRole] = []
    sentiment: Sentiment | None = None
    status: ContactStatus = ContactStatus.active
    confirmed: Days | None = None
    leaves: Days | None = None
    departed: Days | None = None
    successor: Annotated[Key | None, Field(description="Who took over from them")] = None
    seats: list[Seat] = []


class Option(Told):
    tier: OfferTier
    amount: str
    includes: Prose | None = None


class RenewalStory(Told):
    """What people have made of a renewal since it opened."""

    stage: RenewalStage = RenewalStage.not_started
    forecast: ForecastCategory | None = None
    amount: Annotated[str | None, Field(description="What we ask for; the contract's ARR if absent")] = None
    expected: str | None = None
    owner: Annotated[Key | None, Field(description="Where it is not the account's owner")] = None
    confirmed: Annotated[Days | None, Field(description="When the stakeholders were confirmed")] = None
    decision_criteria: list[Prose] = []
    procurement_steps: list[Prose] = []
    risks: list[Prose] = []
    options: list[Option] = []
    concessions: list[Concession] = []
    closed: Days | None = None
    loss_reason: LossReason | None = None


class Contract(Told):
    product: Line
    starts: Days
    ends: Days | None = None
    canceled: Days | None = None
    arr: str
    seats: int | None = None
    seat_limit: int | None = None
    auto_renew: bool | None = None
    term_months: Annotated[int | None, Field(description="A year if absent; without an end either: evergreen")] = None
    notice_days: int | None = 30
    trial: bool = False
    payment_expires: Annotated[Days | None, Field(description="When the payment method on file expires")] = None
    expansion_kind: Annotated[str | None, Field(description="What grew when this began: seat, usage, feature")] = None
    reason: Annotated[str | None, Field(description="Why ARR moved when this began")] = None
    end_reason: Annotated[str | None, Field(description="Why ARR moved when this ended")] = None
    renewal: RenewalStory | None = None

    @property
    def months(self) -> int | None:
        return 12 if self.term_months is None and self.ends is not None else self.term_months


class Conversation(Told):
    kind: MeetingKind
    on: Annotated[Days, Field(description="After today: a meeting that is planned")]
    by: Key
    people: list[Key] = []
    absent: list[Key] = []
    summary: Prose | None = None
    decisions: list[Prose] = []
    sentiment: Sentiment | None = None
    renewal_intent: RenewalIntent | None = None
    requests: list[Prose] = []
    roi_shown: bool = False


class Note(Told):
    on: Days
    by: Key
    text: Prose
    sentiment: Sentiment | None = None
    risk: RiskCategory | None = None


class Todo(Told):
    title: str
    due: Days
    assignee: Key
    priority: Priority = Priority.normal
    purpose: str | None = None
    done: Days | None = None
    outcome: str | None = None


Points = Annotated[list[tuple[Days, int]], Field(min_length=1, description="Straight between these days")]


class Use(Told):
    """How much they use it: people on a weekday; a quarter of them at weekends."""

    active: Points
    power: Annotated[Points | None, Field(description="Three in ten of the active people if absent")] = None
    seats: int
    integrations: int
    features: Annotated[int, Field(ge=0, le=6, description="How many, in the order of `FEATURES`")]
    departments: Annotated[dict[str, float], Field(description="Their shares of the active people")] = {}


class Case(Told):
    on: Days
    severity: Annotated[int, Field(ge=1, le=4)]
    subject: Line
    text: Prose | None = None
    resolved: Days | None = None
    escalated: bool = False
    sla_breached: bool | None = None
    csat: int | None = None


class Response(Told):
    on: Days
    kind: SurveyKind
    score: float
    by: Key
    comment: Prose | None = None
    loop: LoopState | None = None


class Bill(Told):
    due: Days
    amount: str
    paid: Days | None = None


class News(Told):
    on: Days
    kind: CompanyEventKind
    note: Prose


class Seen(Told):
    on: Days
    what: Line


class Chance(Told):
    """An expansion that somebody works on, or worked on."""

    name: Line
    kind: OpportunityKind
    trigger: ExpansionTrigger | None = None
    stage: OpportunityStage = OpportunityStage.identified
    opened: Days
    expected: Days | None = None
    closed: Days | None = None
    amount: str | None = None
    owner: Annotated[Key | None, Field(description="Where it is not the account's owner")] = None
    product: Line | None = None
    department: Line | None = None
    seats: int | None = None
    hypothesis: Prose | None = None
    pilot: Annotated[tuple[Days, Days] | None, Field(description="Its first and last day")] = None
    success_criteria: Prose | None = None
    early_answer: EarlyAnswer | None = None
    lost_reason: Prose | None = None
    evidence: list[Seen] = []


class Helper(Told):
    key: Key
    role: TeamRole


class Customer(Told):
    """One account and everything that happened with it."""

    name: Line
    domain: str | None = None
    industry: Line
    employees: int
    segment: Segment
    tier: Tier = Tier.standard
    stage: Stage
    onboarding: OnboardingStatus = OnboardingStatus.complete
    owner: Key | None = None
    currency: str
    parent: str | None = None
    risk: str | None = None
    tags: list[str] = []
    custom: dict[str, str | int | float | bool] = {}
    team: list[Helper] = []
    people: list[Person] = []
    contracts: list[Contract] = []
    conversations: list[Conversation] = []
    notes: list[Note] = []
    tasks: list[Todo] = []
    usage: Use | None = None
    tickets: list[Case] = []
    surveys: list[Response] = []
    invoices: list[Bill] = []
    events: list[News] = []
    opportunities: list[Chance] = []


def _told(folder: str) -> Iterator[dict[str, Any]]:
    for file in sorted(files("cs_mcp.demo").joinpath(folder).iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".toml"):
            yield tomllib.loads(file.read_text(encoding="utf-8"))


@lru_cache
def company() -> Company:
    return Company.model_validate(tomllib.loads(files("cs_mcp.demo").joinpath("company.toml").read_text("utf-8")))


@lru_cache
def customers() -> tuple[Customer, ...]:
    return tuple(Customer.model_validate(told) for told in _told("book"))
