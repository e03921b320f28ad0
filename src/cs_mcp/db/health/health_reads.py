"""An account's health as it was scored: its snapshots, and the overrides beside them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any, Final

from sqlalchemy import Date, String, and_, bindparam, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.health.overrides import HealthOverrideRow
from cs_mcp.db.health.rubrics import HealthRubricRow
from cs_mcp.db.health.score_trend import TREND_DAYS, score_before
from cs_mcp.db.health.scoring_tables import SNAPSHOTS
from cs_mcp.db.members import MemberRow
from cs_mcp.db.read_path import AnySelect, Row
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads
from cs_mcp.domain.health.rubric import SLOTS
from cs_mcp.domain.identity import Principal

ACCOUNT: Final[Any] = AccountRow.__table__
MEMBER: Final[Any] = MemberRow.__table__
OVERRIDE: Final[Any] = HealthOverrideRow.__table__
RUBRIC: Final[Any] = HealthRubricRow.__table__
MOST_OVERRIDES: Final = 20
_ID: Final = bindparam("account", type_=String)


def _newest_by(day: str, *, raws: bool = True) -> Scoped:
    """The newest snapshot of the account on or before a day, with the digest of the rubric that made it.

    Without its raw values it has the scores of the days before that a trend compares with, as `score_before_…`.
    """
    unread = {"workspace"} if raws else {"workspace", *(f"v{slot}" for slot in range(1, SLOTS + 1))}

    def build(scope: Conditions) -> Any:
        named = and_(
            RUBRIC.c.workspace == SNAPSHOTS.c.workspace,
            RUBRIC.c.name == SNAPSHOTS.c.rubric,
            RUBRIC.c.removed_at.is_(None),
        )
        before = [
            score_before(SNAPSHOTS.c.workspace, SNAPSHOTS.c.account_id, SNAPSHOTS.c.on, days).label(
                f"score_before_{days}"
            )
            for days in TREND_DAYS
        ]
        return (
            select(*(column for column in SNAPSHOTS.c if column.key not in unread))
            .add_columns(RUBRIC.c.digest.label("rubric_digest"), *([] if raws else before))
            .outerjoin_from(SNAPSHOTS, RUBRIC, named)
            .where(*scope, SNAPSHOTS.c.account_id == _ID, SNAPSHOTS.c.on <= bindparam(day, type_=Date))
            .order_by(SNAPSHOTS.c.on.desc())
            .limit(1)
        )

    return _of_snapshots(build)


def _of_snapshots(build: Callable[[Conditions], AnySelect]) -> Scoped:
    return Scoped("health_snapshot", build, removed_too=True)  # a snapshot is never removed


def _course(scope: Conditions) -> Any:
    days = SNAPSHOTS.c.on.between(bindparam("from_on", type_=Date), bindparam("day", type_=Date))
    return (
        select(SNAPSHOTS.c.on, SNAPSHOTS.c.score_tenths, SNAPSHOTS.c.band, SNAPSHOTS.c.computed_band)
        .where(*scope, SNAPSHOTS.c.account_id == _ID, days)
        .order_by(SNAPSHOTS.c.on)
    )


def _overrides(scope: Conditions) -> Any:
    author = MEMBER.alias("author")
    return (
        select(*(column for column in OVERRIDE.c if column.key != "workspace"), author.c.name.label("author_name"))
        .outerjoin_from(
            OVERRIDE, author, and_(author.c.workspace == OVERRIDE.c.workspace, author.c.id == OVERRIDE.c.author_id)
        )
        .where(*scope, OVERRIDE.c.account_id == _ID, OVERRIDE.c.from_on <= bindparam("day", type_=Date))
        .order_by(OVERRIDE.c.from_on.desc(), OVERRIDE.c.id.desc())
        .limit(MOST_OVERRIDES)
    )


SCORED_BY_DAY: Final = _newest_by("day")
POINTS_BY_DAY: Final = _newest_by("day", raws=False)
SCORED_BY_SINCE: Final = _newest_by("since")
COURSE: Final = _of_snapshots(_course)
OVERRIDES: Final = Scoped("health_override", _overrides)
WEIGHED: Final = Scoped("account", lambda scope: select(ACCOUNT.c.segment).where(*scope, ACCOUNT.c.id == _ID))


class HealthReads(ScopedReads):
    """Scores of one account, as the caller may see them."""

    async def scored(
        self, principal: Principal, account: str, *, day: date, since: date, from_on: date
    ) -> dict[str, list[Row]]:
        """In one read: the segment, the newest scores by `day` and by `since`, the scores from `from_on`, overrides."""
        plan = {
            "account": WEIGHED,
            "now": SCORED_BY_DAY,
            "then": SCORED_BY_SINCE,
            "course": COURSE,
            "overrides": OVERRIDES,
        }
        found = await self.rows(principal, list(plan.values()), account=account, day=day, since=since, from_on=from_on)
        return dict(zip(plan, found, strict=True))

    async def by(self, principal: Principal, account: str, day: date, slack_days: int) -> dict[str, list[Row]]:
        """The newest score of the account by a day, if it is at most so much older, and its overrides."""
        health, overrides = await self.rows(principal, [POINTS_BY_DAY, OVERRIDES], account=account, day=day)
        recent = [row for row in health if (day - row["on"]).days <= slack_days]
        return {"health": recent, "overrides": overrides}
