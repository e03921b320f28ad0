"""Overrides of health, and the band that holds: the override's while one stands, else the score's."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from sqlalchemy import ColumnElement, Date, String, Text, and_, case, func, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from cs_mcp.db.accounts.scores import score_of
from cs_mcp.db.base import Id, Remembered, belongs_to, live_index, remembered, source_key
from cs_mcp.db.facts.terms import WORKSPACE, Among
from cs_mcp.db.health.scoring_tables import SNAPSHOTS
from cs_mcp.db.repository import Repository
from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.health.overrides import IMPORTED_BANDS, HealthOverride
from cs_mcp.domain.text import Trust


@remembered
class HealthOverrideRow(Remembered):
    __tablename__ = "health_override"
    trust = {"reason": Trust.member}

    account_id: Mapped[str] = mapped_column(Id)
    band: Mapped[str | None] = mapped_column(String(8))
    score_tenths: Mapped[int | None]
    reason: Mapped[str] = mapped_column(Text)
    author_id: Mapped[str | None] = mapped_column(Id)
    from_on: Mapped[date] = mapped_column(Date)
    expires_on: Mapped[date] = mapped_column(Date)
    ended_on: Mapped[date | None] = mapped_column(Date)

    __table_args__ = (
        belongs_to("account_id", "account"),
        belongs_to("author_id", "member"),
        source_key("health_override"),
        live_index("ix_health_override_account", "account_id", "from_on"),
    )


OVERRIDE: Final[Any] = HealthOverrideRow.__table__


class HealthOverrideRepository(Repository[HealthOverride, HealthOverrideRow]):
    row, model = HealthOverrideRow, HealthOverride

    async def standing(self, account: str, on: date) -> list[HealthOverride]:
        """Those of the account that stand on this day, the one that holds last."""
        found = await self.where(HealthOverrideRow.account_id == account, stands(OVERRIDE, on))
        return sorted(found, key=lambda one: (one.from_on, one.id))


def stands(override: Any, day: Any) -> ColumnElement[bool]:
    return and_(
        override.c.from_on <= day,
        override.c.expires_on >= day,
        or_(override.c.ended_on.is_(None), override.c.ended_on > day),
    )


def override_on(account: Any, day: Any, column: str = "band") -> ColumnElement[Any]:
    """What the override that holds on `day` says of each row of `account`; NULL where none stands.

    `account` is the account table or an alias of it; `day` a date, or an expression of one.
    """
    override = OVERRIDE.alias()
    return (
        select(override.c[column])
        .where(
            override.c.workspace == account.c.workspace,
            override.c.account_id == account.c.id,
            override.c.removed_at.is_(None),
            stands(override, day),
        )
        # Merged accounts may bring two: the later one holds.
        .order_by(override.c.from_on.desc(), override.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )


def overrides_on(day: Any, among: Among) -> Any:
    """The overrides that hold on `day`, one an account: what `override_on` says, for many accounts at once."""
    override = OVERRIDE.alias()
    latest = func.row_number().over(
        partition_by=override.c.account_id, order_by=(override.c.from_on.desc(), override.c.id.desc())
    )
    standing = (
        select(override.c.account_id, override.c.band, override.c.score_tenths, latest.label("place"))
        .where(override.c.workspace == WORKSPACE, among.of(override.c.account_id))
        .where(override.c.removed_at.is_(None), stands(override, day))
        .subquery()
    )
    return (
        select(standing.c.account_id, standing.c.band, standing.c.score_tenths)
        .where(standing.c.place == 1)
        .subquery("overridden")
    )


def _snapshot_on(account: Any, day: Any) -> ColumnElement[Any]:
    snapshot = SNAPSHOTS.alias()
    return (
        select(snapshot.c.band)
        .where(
            snapshot.c.workspace == account.c.workspace,
            snapshot.c.account_id == account.c.id,
            snapshot.c.on <= day,
        )
        .order_by(snapshot.c.on.desc())
        .limit(1)
        .scalar_subquery()
    )


def computed_band(account: Any, day: Any) -> ColumnElement[Any]:
    """The band of the latest score up to `day`, hard rules included; of an imported score where none was computed."""
    score = score_of(account)
    imported = case(
        (score.is_(None), Band.unknown.value),
        (score >= IMPORTED_BANDS.green, Band.green.value),
        (score >= IMPORTED_BANDS.yellow, Band.yellow.value),
        else_=Band.red.value,
    )
    return func.coalesce(_snapshot_on(account, day), imported)


def effective_band(account: Any, day: Any) -> ColumnElement[Any]:
    """The band that lists and filters go by on `day`: the override's while one stands, else the computed one."""
    return func.coalesce(override_on(account, day), computed_band(account, day))
