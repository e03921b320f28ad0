"""Dated exchange rates."""

from __future__ import annotations

from datetime import date
from typing import Final

from sqlalchemy import Date, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.base import Remembered, remembered, source_key
from cs_mcp.db.repository import Repository
from cs_mcp.domain.revenue.currency_rates import ExchangeRate

_LIVE: Final = text("removed_at IS NULL")


@remembered
class ExchangeRateRow(Remembered):
    __tablename__ = "exchange_rate"

    from_currency: Mapped[str] = mapped_column(String(3))
    to_currency: Mapped[str] = mapped_column(String(3))
    on: Mapped[date] = mapped_column(Date)
    rate: Mapped[str] = mapped_column(String(40))

    __table_args__ = (
        source_key("exchange_rate"),
        Index(
            "uq_exchange_rate_day",
            "workspace",
            "from_currency",
            "to_currency",
            "on",
            unique=True,
            sqlite_where=_LIVE,
        ),
    )


class ExchangeRateRepository(Repository[ExchangeRate, ExchangeRateRow]):
    row, model = ExchangeRateRow, ExchangeRate
