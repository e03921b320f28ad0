"""The records of the import format, one model a file, with the columns as fields. Money is in major units."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from cs_mcp.connectors.cells import (
    Amount,
    Count,
    Currency,
    CustomFields,
    Day,
    Email,
    Flag,
    Instant,
    Key,
    Keys,
    Lines,
    Measure,
    Name,
    Rate,
    Severity,
    SignedAmount,
    Tags,
    Text,
    names_of,
    one_of,
)
from cs_mcp.domain.accounts.accounts import OnboardingStatus, Segment, Stage, Tier
from cs_mcp.domain.health.health import RiskCategory
from cs_mcp.domain.health.risks import RiskState
from cs_mcp.domain.health.risks import Severity as RiskSeverity
from cs_mcp.domain.identity import Role
from cs_mcp.domain.opportunities.opportunities import EarlyAnswer, ExpansionTrigger, OpportunityKind, OpportunityStage
from cs_mcp.domain.people.sponsors import ContactRole, ContactStatus, Level, Sentiment
from cs_mcp.domain.revenue.subscriptions import MovementKind
from cs_mcp.domain.revenue.targets import GoalSubject
from cs_mcp.domain.signals.signals import CompanyEventKind
from cs_mcp.domain.work.meetings import MeetingKind, MeetingStatus
from cs_mcp.domain.work.tasks import Priority, TaskStatus

ChurnType = Literal["involuntary", "avoidable", "inevitable"]
ChurnReason = Literal["price", "product", "process", "competition", "company_change", "payment_failure"]
OverrideBand = Literal["green", "yellow", "red"]
SurveyKind = Literal["nps", "csat", "ces"]

SCALE_MAX: Final[Mapping[SurveyKind, int]] = {"nps": 10, "csat": 5, "ces": 7}

SentimentCell = Annotated[Sentiment, one_of(Sentiment)]


class SourceRecord(BaseModel):
    """One row. An empty cell is None; `model_fields_set` tells it from a column the file does not have.

    `identity` names the fields that make the row the same row when it is imported again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: ClassVar[tuple[str, ...]]

    @property
    def key(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.identity)


class UserRecord(SourceRecord):
    identity = ("user_id",)

    user_id: Key
    name: Name
    email: Email
    role: Annotated[Role, one_of(Role)] | None = None


class AccountRecord(SourceRecord):
    identity = ("account_id",)

    account_id: Key
    name: Name
    domain: Name | None = None
    industry: Name | None = None
    employees: Count | None = None
    segment: Annotated[Segment, one_of(Segment)] | None = None
    tier: Annotated[Tier, one_of(Tier)] | None = None
    lifecycle_stage: Annotated[Stage, one_of(Stage)] | None = None
    onboarding_status: Annotated[OnboardingStatus, one_of(OnboardingStatus)] | None = None
    owner_email: Email | None = None
    account_manager_email: Email | None = None
    currency: Currency | None = None
    created_on: Day | None = None
    parent_account_id: Key | None = None
    renewal_on: Day | None = None
    churn_risk_reason: Text | None = None
    tags: Tags = ()
    custom: CustomFields = {}


class ContactRecord(SourceRecord):
    identity = ("contact_id",)

    contact_id: Key
    account_id: Key
    name: Name
    email: Email | None = None
    title: Name | None = None
    department: Name | None = None
    level: Annotated[Level, one_of(Level)] | None = None
    roles: Annotated[tuple[ContactRole, ...], names_of(ContactRole)] = ()
    sentiment: SentimentCell | None = None
    status: Annotated[ContactStatus, one_of(ContactStatus)] | None = None
    departed_on: Day | None = None


class SubscriptionRecord(SourceRecord):
    identity = ("subscription_id",)

    subscription_id: Key
    account_id: Key
    product: Name | None = None
    starts_on: Day
    ends_on: Day | None = None
    arr: Amount
    currency: Currency | None = None
    seats: Count | None = None
    seat_limit: Count | None = None
    auto_renew: Flag | None = None
    term_months: Count | None = None
    notice_days: Count | None = None
    canceled_on: Day | None = None
    trial: Flag | None = None
    payment_method_expires_on: Day | None = None


class MovementRecord(SourceRecord):
    identity = ("movement_id",)

    movement_id: Key
    account_id: Key
    on: Day
    kind: Annotated[MovementKind, one_of(MovementKind)]
    amount: SignedAmount
    currency: Currency | None = None
    subscription_id: Key | None = None
    note: Text | None = None


class OpportunityRecord(SourceRecord):
    identity = ("opportunity_id",)

    opportunity_id: Key
    account_id: Key
    name: Name
    kind: Annotated[OpportunityKind, one_of(OpportunityKind)]
    trigger: Annotated[ExpansionTrigger, one_of(ExpansionTrigger)] | None = None
    stage: Annotated[OpportunityStage, one_of(OpportunityStage)] | None = None
    amount: Amount | None = None
    currency: Currency | None = None
    product: Name | None = None
    department: Name | None = None
    seats: Count | None = None
    hypothesis: Text | None = None
    pilot_from: Day | None = None
    pilot_to: Day | None = None
    success_criteria: Text | None = None
    opened_on: Day | None = None
    expected_on: Day | None = None
    closed_on: Day | None = None
    early_answer: Annotated[EarlyAnswer, one_of(EarlyAnswer)] | None = None
    lost_reason: Text | None = None
    owner_email: Email | None = None


class RateRecord(SourceRecord):
    """`rate`: one unit of `currency` in the workspace's currency."""

    identity = ("on", "currency")

    on: Day
    currency: Currency
    rate: Rate


class SettingRecord(SourceRecord):
    """How the company counts its revenue, as `cs-mcp revenue show` names it; an empty value is the default."""

    identity = ("name",)

    name: Name
    value: Name | None = None


class UsageRecord(SourceRecord):
    identity = ("account_id", "on", "metric", "department", "feature")

    account_id: Key
    on: Day
    metric: Key
    value: Measure
    department: Name | None = None
    feature: Name | None = None


class TicketRecord(SourceRecord):
    identity = ("ticket_id",)

    ticket_id: Key
    account_id: Key
    severity: Severity | None = None
    category: Name | None = None
    opened_at: Instant
    first_response_at: Instant | None = None
    resolved_at: Instant | None = None
    escalated: Flag | None = None
    csat: Measure | None = None
    subject: Text | None = None
    text: Text | None = None


class InvoiceRecord(SourceRecord):
    """`amount` is below zero on a credit note."""

    identity = ("invoice_id",)

    invoice_id: Key
    account_id: Key
    amount: SignedAmount
    currency: Currency | None = None
    due_on: Day
    paid_on: Day | None = None
    status: Name | None = None


class SurveyRecord(SourceRecord):
    identity = ("response_id",)

    response_id: Key
    account_id: Key
    contact_id: Key | None = None
    kind: Annotated[SurveyKind, one_of(get_args(SurveyKind))]
    score: SignedAmount
    scale_max: Count | None = None
    answered_at: Instant
    invited: Flag | None = None
    loop_state: Name | None = None
    comment: Text | None = None
    tags: Tags = ()

    @property
    def top(self) -> int:
        """The scale's highest score: as the file says, or as is usual for the kind."""
        return self.scale_max or SCALE_MAX[self.kind]

    @model_validator(mode="after")
    def _score_is_on_the_scale(self) -> Self:
        if not Decimal(0) <= self.score <= self.top:
            raise ValueError(f"score: {self.score} is not on a scale of 0 to {self.top}")
        return self


class MeetingRecord(SourceRecord):
    identity = ("meeting_id",)

    meeting_id: Key
    account_id: Key
    kind: Annotated[MeetingKind, one_of(MeetingKind)] | None = None
    status: Annotated[MeetingStatus, one_of(MeetingStatus)] | None = None
    held_at: Instant
    attendees: Tags = ()
    summary: Text | None = None
    sentiment: SentimentCell | None = None
    recording_url: Text | None = None


class NoteRecord(SourceRecord):
    identity = ("note_id",)

    note_id: Key
    account_id: Key
    written_at: Instant
    author_email: Email | None = None
    text: Text
    sentiment: SentimentCell | None = None
    risk: Annotated[RiskCategory, one_of(RiskCategory)] | None = None


class TaskRecord(SourceRecord):
    identity = ("task_id",)

    task_id: Key
    account_id: Key
    title: Name
    due_on: Day | None = None
    status: Annotated[TaskStatus, one_of(TaskStatus)] | None = None
    assignee_email: Email | None = None
    priority: Annotated[Priority, one_of(Priority)] | None = None


class ChurnRecord(SourceRecord):
    identity = ("account_id", "churned_on")

    account_id: Key
    churned_on: Day
    type: Annotated[ChurnType, one_of(get_args(ChurnType))] | None = None
    reason: Annotated[ChurnReason, one_of(get_args(ChurnReason))] | None = None
    lost_arr: Amount | None = None
    note: Text | None = None


class CompanyEventRecord(SourceRecord):
    identity = ("account_id", "on", "kind")

    account_id: Key
    on: Day
    kind: Annotated[CompanyEventKind, one_of(CompanyEventKind)]
    note: Text | None = None
    source_url: Text | None = None


class OverrideRecord(SourceRecord):
    """A person's word on an account's health; `score` where it was given instead of a band."""

    identity = ("override_id",)

    override_id: Key
    account_id: Key
    band: Annotated[OverrideBand, one_of(get_args(OverrideBand))]
    score: Amount | None = None
    reason: Text
    author_email: Email | None = None
    from_on: Day
    expires_on: Day
    ended_on: Day | None = None

    @model_validator(mode="after")
    def _score_is_on_the_scale(self) -> Self:
        if self.score is not None and self.score > 100:
            raise ValueError(f"score: {self.score} is not on a scale of 0 to 100")
        return self


class RiskRecord(SourceRecord):
    """`evidence` holds lines such as "2026-03-02 Three tickets of severity 1"."""

    identity = ("risk_id",)

    risk_id: Key
    account_id: Key
    category: Annotated[RiskCategory, one_of(RiskCategory)]
    state: Annotated[RiskState, one_of(RiskState)] | None = None
    severity: Annotated[RiskSeverity, one_of(RiskSeverity)] | None = None
    owner_email: Email | None = None
    opened_on: Day
    due_on: Day | None = None
    summary: Text | None = None
    mitigation: Text | None = None
    evidence: Lines = ()
    outcome: Text | None = None
    closed_on: Day | None = None


class ProductRequestRecord(SourceRecord):
    identity = ("request_id",)

    request_id: Key
    title: Name
    account_ids: Keys = ()
    status: Name | None = None
    shipped_on: Day | None = None


class CostRecord(SourceRecord):
    identity = ("on", "amount", "currency", "user_email", "account_id", "note")

    on: Day
    amount: SignedAmount
    currency: Currency | None = None
    user_email: Email | None = None
    account_id: Key | None = None
    note: Text | None = None


class TargetRecord(SourceRecord):
    """Of the whole workspace where no segment is told; `value` is a number or ratio, `amount` money."""

    identity = ("target_id",)

    target_id: Key
    metric: Name
    value: Measure | None = None
    amount: Amount | None = None
    currency: Currency | None = None
    segment: Annotated[Segment, one_of(Segment)] | None = None
    from_on: Day
    to_on: Day | None = None
    owner_email: Email | None = None


class GoalRecord(SourceRecord):
    """Of one person, of the team that reports to them (subject `team`), or of everybody where nobody is told."""

    identity = ("goal_id",)

    goal_id: Key
    metric: Name
    quarter_start: Day
    value: Measure | None = None
    amount: Amount | None = None
    currency: Currency | None = None
    subject: Annotated[GoalSubject, one_of(GoalSubject)] | None = None
    user_email: Email | None = None


# By file name, each after those it refers to.
RECORDS: Final[dict[str, type[SourceRecord]]] = {
    "settings": SettingRecord,
    "users": UserRecord,
    "fx_rates": RateRecord,
    "accounts": AccountRecord,
    "contacts": ContactRecord,
    "subscriptions": SubscriptionRecord,
    "arr_movements": MovementRecord,
    "opportunities": OpportunityRecord,
    "usage": UsageRecord,
    "tickets": TicketRecord,
    "invoices": InvoiceRecord,
    "surveys": SurveyRecord,
    "meetings": MeetingRecord,
    "notes": NoteRecord,
    "tasks": TaskRecord,
    "churn": ChurnRecord,
    "company_events": CompanyEventRecord,
    "health_overrides": OverrideRecord,
    "risks": RiskRecord,
    "product_requests": ProductRequestRecord,
    "cs_costs": CostRecord,
    "targets": TargetRecord,
    "goals": GoalRecord,
}


def reason_of(error: ValidationError, columns: Mapping[str, str]) -> str:
    """Why a row was refused, by the file's own column names where `columns` (field → column) knows them."""
    sentences: list[str] = []
    for detail in error.errors(include_url=False):
        field = str(detail["loc"][0]) if detail["loc"] else ""
        if detail["type"] == "missing":
            reason = "is missing, and every row needs it"
        else:
            reason = str(detail.get("ctx", {}).get("error", detail["msg"]))
        sentences.append(f"{columns.get(field, field)}: {reason}" if field else reason)
    return "; ".join(sentences)
