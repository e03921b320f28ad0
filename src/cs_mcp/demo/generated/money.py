"""A generated account's contracts as rows: subscriptions, the ledger that follows from them, and their renewals."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from random import Random
from typing import Any, Final

from cs_mcp.db.renewals.renewals import RenewalRow
from cs_mcp.db.repository import stored
from cs_mcp.db.revenue.subscriptions import ArrMovementRow, SubscriptionRow
from cs_mcp.demo.generated.history import Generated, Term
from cs_mcp.demo.generated.prose import Writer
from cs_mcp.demo.generated.randomness import happens
from cs_mcp.demo.generated.rowing import Placed
from cs_mcp.domain.records import Ids
from cs_mcp.domain.renewals.checkpoints import MOTION_DAYS
from cs_mcp.domain.renewals.renewals import CYCLE, ForecastCategory, Offer, OfferTier, Renewal, RenewalStage, cycle_key
from cs_mcp.domain.renewals.stages import ORDER
from cs_mcp.domain.renewals.terms import notice_deadline
from cs_mcp.domain.revenue.ledger import Movement, SubscriptionSpan, derive_movements
from cs_mcp.domain.revenue.subscriptions import MovementKind, Subscription
from cs_mcp.services.renewals.cycles import renewal_of

_NOT_A_COLUMN: Final = frozenset({"version"})
# Days before the deadline at which a renewal that is on time enters a stage.
_ENTERED: Final = (
    (30, RenewalStage.negotiation),
    (60, RenewalStage.proposal),
    (90, RenewalStage.value_review),
    (MOTION_DAYS, RenewalStage.discovery),
)


def contract_rows(account: Generated, account_id: str, random: Random, ids: Ids, writer: Writer) -> Iterator[Placed]:
    spans: list[SubscriptionSpan] = []
    for term in account.terms:
        subscription = _subscription(account, account_id, term, ids)
        yield SubscriptionRow, _row(subscription)
        renewal = renewal_of(ids.new("renewal"), subscription, account.today)
        if renewal is not None:
            yield RenewalRow, _row(renewal.changed(**_worked_on(account, renewal, random, writer)))
        elif term.won is not None and term.ends_on is not None:
            yield RenewalRow, _row(_closed(subscription, term, random, ids))
        spans.append(
            SubscriptionSpan(
                account=account_id,
                subscription=subscription.id,
                starts_on=term.starts_on,
                first_day_without=term.first_day_without,
                arr_minor=term.arr_minor,
                trial=term.trial,
            )
        )
    for movement in derive_movements(spans):
        if movement.on <= account.today:
            yield ArrMovementRow, _movement(account, account_id, movement, ids, writer)


def _row(record: Subscription | Renewal) -> dict[str, Any]:
    return {name: stored(value) for name, value in record if name not in _NOT_A_COLUMN}


def _subscription(account: Generated, account_id: str, term: Term, ids: Ids) -> Subscription:
    limit = term.seats + term.seats // 10 + 1
    return Subscription(
        id=ids.new("subscription"),
        account_id=account_id,
        product=term.product,
        starts_on=term.starts_on,
        ends_on=term.ends_on,
        canceled_on=term.canceled_on,
        arr_minor=term.arr_minor,
        currency=account.currency,
        seats=round(term.seats * account.latent.usage_before(term.first_day_without or account.today)),
        seat_limit=limit if limit % 5 else limit - 1,
        auto_renew=term.auto_renew,
        term_months=term.months,
        notice_days=term.notice_days,
        trial=term.trial,
    )


def _movement(account: Generated, account_id: str, movement: Movement, ids: Ids, writer: Writer) -> dict[str, Any]:
    why = account.why.get(movement.on)
    kind = movement.kind
    if kind is MovementKind.expansion and movement.on in account.prices:
        kind = MovementKind.price_change
    reason: str | None = None
    if kind is MovementKind.churn:
        reason = why
    elif kind is MovementKind.contraction:
        reason = writer.line("reasons", why if why in ("adoption", "support", "budget") else "budget")
    elif kind is MovementKind.expansion:
        reason = writer.line("reasons", "growth")
    return {
        "id": ids.new("arr_movement"),
        "account_id": account_id,
        "subscription_id": movement.subscription,
        "on": movement.on,
        "kind": kind.value,
        "amount_minor": movement.amount_minor,
        "currency": account.currency,
        "expansion_kind": why if kind is MovementKind.expansion and why in ("seat", "cross_sell") else None,
        "reason": reason,
    }


def _closed(subscription: Subscription, term: Term, random: Random, ids: Ids) -> Renewal:
    """The renewal of a term that is over: signed before its end, or lost by the notice deadline."""
    assert term.ends_on is not None
    deadline = notice_deadline(term.starts_on, term.ends_on, term.notice_days)
    early = timedelta(days=random.randint(0, 45))
    closed_on: date = max(term.starts_on, (term.ends_on if term.won else deadline) - early)
    forecast = ForecastCategory.commit if term.won else ForecastCategory.at_risk
    if happens(random, 0.25):
        forecast = ForecastCategory.best_case
    return Renewal(
        id=ids.new("renewal"),
        account_id=subscription.account_id,
        subscription_id=subscription.id,
        stage=RenewalStage.closed_won if term.won else RenewalStage.closed_lost,
        forecast_category=forecast,
        amount_minor=term.arr_minor,
        currency=subscription.currency,
        closes_on=term.ends_on,
        notice_deadline_on=deadline,
        closed_on=closed_on,
        loss_reason=term.loss.value if term.loss is not None else None,
        source_system=CYCLE,
        source_id=cycle_key(subscription.id, term.ends_on),
    )


def _worked_on(account: Generated, renewal: Renewal, random: Random, writer: Writer) -> dict[str, Any]:
    """What somebody made of an open renewal: further on as its deadline nears, behind where things go badly."""
    deadline = renewal.notice_deadline_on or renewal.closes_on
    days = (deadline - account.today).days
    pressure = account.pressure(account.today)
    late = int(random.expovariate(1 / (10 + 60 * pressure)))
    stage = next((stage for upto, stage in _ENTERED if days + late <= upto), RenewalStage.not_started)
    if stage is RenewalStage.not_started:
        return {}
    at = ORDER.index(stage)
    told: dict[str, Any] = {"stage": stage, "forecast_category": _forecast(pressure)}
    if pressure > 0.5:
        told["risks"] = writer.lines(2, "renewals", "risks")
    if at >= ORDER.index(RenewalStage.value_review):
        told["stakeholders_confirmed_on"] = account.today - timedelta(days=random.randint(1, 40))
        told["decision_criteria"] = writer.lines(2, "renewals", "criteria")
    if at >= ORDER.index(RenewalStage.proposal):
        told["procurement_steps"] = writer.lines(3, "renewals", "procurement")
    if at >= ORDER.index(RenewalStage.negotiation):
        sizes = zip(OfferTier, (100, 112, 130), strict=True)
        told["options"] = [Offer(tier=tier, amount_minor=renewal.amount_minor * size // 100) for tier, size in sizes]
    return told


def _forecast(pressure: float) -> ForecastCategory:
    if pressure > 0.75:
        return ForecastCategory.omitted
    if pressure > 0.5:
        return ForecastCategory.at_risk
    return ForecastCategory.best_case if pressure > 0.3 else ForecastCategory.commit
