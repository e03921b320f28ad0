"""What an export reads that belongs to no account: settings, exchange rates, targets, goals and costs."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, cast, func, select

from cs_mcp.db.read_path import Statement
from cs_mcp.db.revenue.exchange_rates import ExchangeRateRow
from cs_mcp.db.revenue.targets import CsCostRow, GoalRow, TargetRow
from cs_mcp.db.transfer.export_reads import email_of, live, named
from cs_mcp.db.workspaces import WorkspaceRow

_PROFILE: Final[Any] = WorkspaceRow.__table__
_RATE: Final[Any] = ExchangeRateRow.__table__
_TARGET: Final[Any] = TargetRow.__table__
_GOAL: Final[Any] = GoalRow.__table__
_COST: Final[Any] = CsCostRow.__table__
_AIM: Final = ("metric", "value", "amount_minor", "currency")


def _rates() -> Any:
    columns = [_RATE.c[name] for name in ("on", "from_currency", "to_currency", "rate")]
    return select(*columns).where(live(_RATE)).order_by(_RATE.c.from_currency, _RATE.c.on, _RATE.c.id)


def _targets() -> Any:
    columns = [_TARGET.c[name] for name in (*_AIM, "segment", "from_on", "to_on")]
    owner = email_of(_TARGET.c.owner_id, "owner_email")
    return select(*named(_TARGET, "own"), *columns, owner).where(live(_TARGET)).order_by(_TARGET.c.id)


def _goals() -> Any:
    columns = [_GOAL.c[name] for name in (*_AIM, "subject", "quarter_start", "user_id")]
    user = email_of(_GOAL.c.user_id, "user_email")
    return select(*named(_GOAL, "own"), *columns, user).where(live(_GOAL)).order_by(_GOAL.c.id)


def _costs() -> Any:
    """Costs that nothing tells apart are summed up: an import would take the second for the first."""
    key = [_COST.c[name] for name in ("month", "user_id", "kind", "currency")]
    total = cast(func.sum(_COST.c.amount_minor), BigInteger).label("amount_minor")
    summed = select(*key, total).where(live(_COST)).group_by(*key).subquery("summed")
    return select(*summed.c, email_of(summed.c.user_id, "user_email")).order_by(
        summed.c.month, summed.c.kind, summed.c.currency, summed.c.user_id
    )


PROFILE: Final = Statement(lambda: select(_PROFILE.c.conventions).where(live(_PROFILE)))
RATES: Final = Statement(_rates)
TARGETS: Final = Statement(_targets)
GOALS: Final = Statement(_goals)
COSTS: Final = Statement(_costs)
