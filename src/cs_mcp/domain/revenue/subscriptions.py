"""What the customer bought, and the ledger of ARR that every revenue figure comes from."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from cs_mcp.domain.records import Record


class Subscription(Record):
    account_id: str
    product: str | None = None
    starts_on: date
    ends_on: date | None = None  # the last day under contract
    canceled_on: date | None = None  # the first day without
    arr_minor: int = 0
    currency: str
    seats: int | None = None
    seat_limit: int | None = None
    auto_renew: bool | None = None
    term_months: int | None = None
    notice_days: int | None = None
    trial: bool = False
    payment_method_expires_on: date | None = None


class MovementKind(StrEnum):
    new = "new"
    expansion = "expansion"
    contraction = "contraction"
    churn = "churn"
    reactivation = "reactivation"
    price_change = "price_change"


class ArrMovement(Record):
    """Signed minor units of `currency`, effective `on`; corrections are reversing entries, never edits."""

    account_id: str
    subscription_id: str | None = None
    on: date
    kind: MovementKind
    amount_minor: int
    currency: str
    expansion_kind: str | None = None
    reason: str | None = None
    note: str | None = None
    reverses_id: str | None = None  # the movement that this one takes back
