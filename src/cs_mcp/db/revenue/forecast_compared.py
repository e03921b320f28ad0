"""What moved in the forecast: renewals that stand otherwise than a night kept them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, Date, String, and_, cast, null, or_, select

from cs_mcp.db.renewals.scope import ACCOUNT, RENEWAL
from cs_mcp.db.revenue.forecast_lines import (
    FIRST,
    HELD,
    LAST,
    ON,
    THEN,
    Shape,
    closed_stage,
    expected_of,
    held_by,
    in_its_account,
    quarter_of,
    same_renewal,
    total,
)
from cs_mcp.db.revenue.forecast_tables import SNAPSHOTS
from cs_mcp.db.scoped import Conditions, Scoped


def _side(kept: bool, on: Any, name: str) -> tuple[Any, dict[str, Any], Any]:
    """A table with renewals as they stood or stand, its columns, and the condition that a row belongs to the side."""
    if kept:
        table = SNAPSHOTS.alias(name)
        of = {key: table.c[key] for key in ("renewal_id", "close_on", "stage", "category", "amount_minor")}
        return table, of | {"expected_minor": table.c.expected_minor, "currency": table.c.currency}, table.c.on == on
    table = RENEWAL.alias(name)
    of = {"renewal_id": table.c.id, "close_on": table.c.closes_on, "stage": table.c.stage}
    of |= {"category": table.c.forecast_category, "amount_minor": table.c.amount_minor, "currency": table.c.currency}
    expected = expected_of(ACCOUNT.c.health_band, table.c.stage, table.c.amount_minor)
    return table, of | {"expected_minor": expected}, table.c.removed_at.is_(None)


def _told(side: Mapping[str, Any], suffix: str) -> list[Any]:
    names = ("close_on", "stage", "category", "amount_minor", "expected_minor")
    return [side[name].label(name + suffix) for name in names]


def _about() -> list[Any]:
    return [HELD.c.id, HELD.c.account_id, HELD.c.currency, ACCOUNT.c.name.label("account_name")]


def _absent(suffix: str) -> list[Any]:
    types = {"close_on": Date, "stage": String, "category": String, "amount_minor": BigInteger}
    return [cast(null(), of).label(name + suffix) for name, of in (types | {"expected_minor": BigInteger}).items()]


@lru_cache(maxsize=16)
def changed(shape: Shape) -> Scoped:
    """Renewals that were there then, and stand otherwise now or not at all."""

    def build(scope: Conditions) -> Any:
        was, then, at_then = _side(True, THEN, "was")
        is_, now, at_now = _side(shape.kept, ON, "is")
        differs = or_(
            now["renewal_id"].is_(None),
            *(now[name].is_distinct_from(then[name]) for name in ("close_on", "stage", "category", "amount_minor")),
        )
        within = or_(then["close_on"].between(FIRST, LAST), now["close_on"].between(FIRST, LAST))
        joined = in_its_account(was).outerjoin(is_, and_(same_renewal(is_, was), at_now))
        return (
            select(*_about(), *_told(then, "_before"), *_told(now, ""))
            .select_from(joined)
            .where(*scope, at_then, within, differs, *held_by(of_owner=shape.of_owner))
        )

    return Scoped("account", build)


@lru_cache(maxsize=16)
def came(shape: Shape) -> Scoped:
    """Renewals that were not there then."""

    def build(scope: Conditions) -> Any:
        was, then, at_then = _side(True, THEN, "was")
        is_, now, at_now = _side(shape.kept, ON, "is")
        joined = in_its_account(is_).outerjoin(was, and_(same_renewal(was, is_), at_then))
        wanted = (then["renewal_id"].is_(None), now["close_on"].between(FIRST, LAST))
        return (
            select(*_about(), *_absent("_before"), *_told(now, ""))
            .select_from(joined)
            .where(*scope, at_now, *wanted, *held_by(of_owner=shape.of_owner))
        )

    return Scoped("account", build)


@lru_cache(maxsize=16)
def before(shape: Shape) -> Scoped:
    """The sums of the earlier day, over the same renewals that `changed` looks at."""

    def build(scope: Conditions) -> Any:
        was, then, at_then = _side(True, THEN, "was")
        each = (
            select(
                quarter_of(was.c.close_on, shape.quarters).label("quarter"),
                was.c.currency,
                closed_stage(was.c.stage).label("closed"),
                was.c.category,
                was.c.amount_minor,
                was.c.expected_minor,
            )
            .select_from(in_its_account(was))
            .where(*scope, at_then, then["close_on"].between(FIRST, LAST), *held_by(of_owner=shape.of_owner))
            .subquery("each")
        )
        by = [each.c[name] for name in ("quarter", "currency", "closed", "category")]
        sums = [total(each.c[name], name) for name in ("amount_minor", "expected_minor")]
        return select(*by, *sums).group_by(*by)

    return Scoped("account", build)
