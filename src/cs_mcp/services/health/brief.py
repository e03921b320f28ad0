"""Health in one line of an account: what counts, the sum beside it, and what costs most."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

from cs_mcp.db.health.score_trend import TREND_DAYS
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.domain.contract import Named, View, shown
from cs_mcp.domain.health.scoring import losses
from cs_mcp.domain.identity import Principal
from cs_mcp.services.health.scored_days import ScoredDays, standing, weighed_as

SHOWN_LOSSES: Final = 3


def in_points(tenths: int | None) -> float | None:
    return None if tenths is None else tenths / 10


def signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "−")


class OverrideLine(View):
    id: str
    band: str
    score: float | None = None
    reason: str
    author: Named | None = None
    from_on: date
    expires_on: date

    def text(self, nonce: str) -> str:
        given = self.band if self.score is None else f"{self.band} {self.score:.1f}"
        by = f" by {self.author.text(nonce)}" if self.author else ""
        return f"Override {self.id}: {given} until {self.expires_on}{by}: {shown(self.reason, 500)}"


def override_line(row: Row | None) -> OverrideLine | None:
    if row is None:
        return None
    author = Named(id=row["author_id"], name=row["author_name"] or "?") if row["author_id"] else None
    return OverrideLine(
        id=row["id"],
        band=row["band"],
        score=in_points(row["score_tenths"]),
        reason=row["reason"],
        author=author,
        from_on=row["from_on"],
        expires_on=row["expires_on"],
    )


class Loss(View):
    name: str
    title: str
    costs: float

    def text(self, nonce: str) -> str:
        return f"{shown(self.title)} −{self.costs:.1f}"


class HealthBrief(View):
    """Health in one line of an account: what counts (`band`), the sum beside it, and what costs most."""

    band: str
    score: float | None = None
    computed_band: str
    confidence: float
    trend_7: float | None = None
    trend_30: float | None = None
    trend_90: float | None = None
    scored_on: date
    override: OverrideLine | None = None
    rules: list[str] = []
    losses: list[Loss] = []

    def text(self, nonce: str) -> str:
        score = "no score" if self.score is None else f"{self.score:.1f}"
        computed = "" if self.computed_band == self.band else f" (by the sum alone {self.computed_band})"
        moved = ((7, self.trend_7), (30, self.trend_30), (90, self.trend_90))
        trend = "".join(f", {signed(points)} in {days} days" for days, points in moved if points is not None)
        parts = [f"Health {self.band} {score}{computed}{trend}, confidence {self.confidence:.0%}, of {self.scored_on}."]
        if self.losses:
            parts.append("Costs most: " + ", ".join(loss.text(nonce) for loss in self.losses) + ".")
        if self.rules:
            parts.append("Hard rules: " + ", ".join(self.rules) + ".")
        if self.override is not None:
            parts.append(self.override.text(nonce) + ".")
        return " ".join(parts)


class HealthBriefs:
    """Briefs from rows that a read of the account brought along."""

    def __init__(self, store: Store) -> None:
        self._days = ScoredDays(store)

    async def of(self, principal: Principal, found: Mapping[str, list[Row]], on: date) -> HealthBrief | None:
        """`found` holds the account, its newest snapshot (`health`) and its overrides; None where no night scored it.

        The override is the one that stands `on` the day asked for, whenever the score was made.
        """
        if not found["health"]:
            return None
        [row] = found["health"]
        rubric, score, confidence = await self._days.rubric_of(principal, row), row["score_tenths"], row["confidence"]
        override = standing(found["overrides"], on)
        costs: dict[str, int] = {}
        if score is not None:
            points = {name: row[f"p{slot}"] for name, slot in rubric.slots.items()}
            segment = weighed_as(rubric, points, score, confidence, found["account"][0]["segment"])
            costs = losses(rubric.weights(segment), points)
        most = sorted((name for name in costs if costs[name]), key=lambda name: -costs[name])[:SHOWN_LOSSES]
        return HealthBrief(
            band=override["band"] if override is not None else row["band"],
            score=in_points(score),
            computed_band=row["computed_band"],
            confidence=confidence / 1000,
            **{f"trend_{days}": _moved(score, row[f"score_before_{days}"]) for days in TREND_DAYS},
            scored_on=row["on"],
            override=override_line(override),
            rules=row["rules"].split(";") if row["rules"] else [],
            losses=[Loss(name=name, title=rubric.by_name[name].title, costs=costs[name] / 10) for name in most],
        )


def _moved(score: int | None, before: int | None) -> float | None:
    return None if score is None or before is None else (score - before) / 10
