"""Subscriptions and the ARR ledger."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Boolean, Date, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.base import Id, Minor, Remembered, belongs_to, live_index, remembered, source_key
from cs_mcp.db.repository import Repository
from cs_mcp.domain.revenue.subscriptions import ArrMovement, Subscription
from cs_mcp.domain.text import Trust


@remembered
class SubscriptionRow(Remembered):
    __tablename__ = "subscription"
    trust = {"product": Trust.customer}

    account_id: Mapped[str] = mapped_column(Id)
    product: Mapped[str | None] = mapped_column(Text)
    starts_on: Mapped[date] = mapped_column(Date)
    ends_on: Mapped[date | None] = mapped_column(Date)
    canceled_on: Mapped[date | None] = mapped_column(Date)
    arr_minor: Mapped[int] = mapped_column(Minor)
    currency: Mapped[str] = mapped_column(String(3))
    seats: Mapped[int | None] = mapped_column(Integer)
    seat_limit: Mapped[int | None] = mapped_column(Integer)
    auto_renew: Mapped[bool | None] = mapped_column(Boolean)
    term_months: Mapped[int | None] = mapped_column(Integer)
    notice_days: Mapped[int | None] = mapped_column(Integer)
    trial: Mapped[bool] = mapped_column(Boolean)
    payment_method_expires_on: Mapped[date | None] = mapped_column(Date)

    __table_args__ = (
        belongs_to("account_id", "account"),
        source_key("subscription"),
        live_index("ix_subscription_account", "account_id", "starts_on"),
    )


@remembered
class ArrMovementRow(Remembered):
    __tablename__ = "arr_movement"
    trust = {"reason": Trust.member, "note": Trust.customer}
    settled = frozenset({"on", "kind", "amount_minor", "currency"})

    account_id: Mapped[str] = mapped_column(Id)
    subscription_id: Mapped[str | None] = mapped_column(Id)
    on: Mapped[date] = mapped_column(Date)
    kind: Mapped[str] = mapped_column(String(16))
    amount_minor: Mapped[int] = mapped_column(Minor)
    currency: Mapped[str] = mapped_column(String(3))
    expansion_kind: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
    note: Mapped[str | None] = mapped_column(Text)
    reverses_id: Mapped[str | None] = mapped_column(Id)

    __table_args__ = (
        belongs_to("account_id", "account"),
        source_key("arr_movement"),
        live_index("ix_arr_movement_account", "account_id", "on"),
        live_index("ix_arr_movement_on", "on"),
    )


class SubscriptionRepository(Repository[Subscription, SubscriptionRow]):
    row, model = SubscriptionRow, Subscription

    async def of_account(self, account: str) -> list[Subscription]:
        return await self.where(SubscriptionRow.account_id == account)


class ArrMovementRepository(Repository[ArrMovement, ArrMovementRow]):
    row, model = ArrMovementRow, ArrMovement

    async def any_of_account(self, account: str) -> bool:
        return bool(await self.where(ArrMovementRow.account_id == account, limit=1))

    async def of_account(self, account: str) -> list[ArrMovement]:
        return await self.where(ArrMovementRow.account_id == account)
