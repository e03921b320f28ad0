"""What became of earlier forecasts: how renewals of each band ended, and what was foretold of the closed ones."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, and_, case, cast, func, literal, select

from cs_mcp.db.facts.conditions import days_before
from cs_mcp.db.health.scoring_tables import SNAPSHOTS as HEALTH
from cs_mcp.db.read_path import Statement
from cs_mcp.db.renewals.scope import RENEWAL
from cs_mcp.db.revenue.forecast_lines import FIRST, HELD, LAST, WORKSPACE, held_by, in_its_account, is_closed
from cs_mcp.db.revenue.forecast_tables import SNAPSHOTS
from cs_mcp.db.scoped import Conditions, Scoped
from cs_mcp.domain.renewals.renewals import RenewalStage
from cs_mcp.domain.revenue.forecast import LOOK_AHEAD_DAYS

# What the odds are learned from: enough for any book, and a bounded read.
HISTORY_DAYS: Final = 730
HISTORY_ROWS: Final = 5_000
BAND_SLACK_DAYS: Final = 14  # nights are missed: the newest score so much older at most stands for the day


def _foretold(scope: Conditions, *, of_owner: bool) -> Any:
    """Renewals as forecast so many days before their close in the period, and what became of them."""
    kept, is_there = SNAPSHOTS.alias("kept"), HELD.c.removed_at.is_(None)
    in_time = and_(kept.c.milestone == literal(LOOK_AHEAD_DAYS, Integer), kept.c.close_on.between(FIRST, LAST))
    # A close day that moves within the quarter is looked at twice: the first look counts.
    first_look = (
        select(kept.c.renewal_id, func.min(kept.c.on).label("on"))
        .where(kept.c.workspace == WORKSPACE, in_time)
        .group_by(kept.c.renewal_id)
        .subquery("first_look")
    )
    columns = ("renewal_id", "currency", "stage", "category", "amount_minor", "expected_minor")
    return (
        select(
            *(SNAPSHOTS.c[name] for name in columns),
            case((is_there, HELD.c.stage)).label("stage_now"),
            case((is_there, HELD.c.closed_on)).label("closed_on"),
            HELD.c.amount_minor.label("amount_now"),
        )
        .select_from(in_its_account(SNAPSHOTS))
        .join(first_look, and_(SNAPSHOTS.c.on == first_look.c.on, SNAPSHOTS.c.renewal_id == first_look.c.renewal_id))
        .where(*scope, SNAPSHOTS.c.workspace == WORKSPACE, *held_by(of_owner=of_owner))
    )


FORETOLD: Final = {of: Scoped("account", lambda scope, of=of: _foretold(scope, of_owner=of)) for of in (False, True)}


def _band_before_close() -> Any:
    early = RENEWAL.c.closed_on < RENEWAL.c.closes_on
    settled = case((early, RENEWAL.c.closed_on), else_=RENEWAL.c.closes_on)
    score = HEALTH.alias("score")
    return (
        select(score.c.band)
        .where(
            score.c.workspace == RENEWAL.c.workspace,
            score.c.account_id == RENEWAL.c.account_id,
            score.c.on.between(
                days_before(settled, LOOK_AHEAD_DAYS + BAND_SLACK_DAYS), days_before(settled, LOOK_AHEAD_DAYS)
            ),
        )
        .order_by(score.c.on.desc())
        .limit(1)
        .scalar_subquery()
    )


def _closed_by_band() -> Any:
    closed = (
        select(RENEWAL.c.stage, _band_before_close().label("band"))
        .where(
            RENEWAL.c.workspace == WORKSPACE,
            RENEWAL.c.removed_at.is_(None),
            RENEWAL.c.closes_on.between(FIRST, LAST),
            is_closed(RENEWAL.c.stage),
        )
        .order_by(RENEWAL.c.closes_on.desc(), RENEWAL.c.id.desc())
        .limit(HISTORY_ROWS)
        .subquery("closed")
    )
    won = func.sum(case((closed.c.stage == RenewalStage.closed_won.value, 1), else_=0))
    return (
        select(closed.c.band, func.count().label("closed"), cast(won, BigInteger).label("won"))
        .where(closed.c.band.is_not(None))
        .group_by(closed.c.band)
    )


CLOSED_BY_BAND: Final = Statement(_closed_by_band)


def history_given(today: date) -> dict[str, date]:
    return {"first": today - timedelta(days=HISTORY_DAYS), "last": today}
