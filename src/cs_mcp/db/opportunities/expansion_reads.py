"""What speaks for an expansion: contracts, seats in use, first days of departments and features, ROI shown.

For the accounts of one question at a time, listed by id. Usage stays with the record it was told for, so what was
merged into an account is read with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, Date, Integer, String, and_, bindparam, cast, func, or_, select, union_all

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.opportunities.opportunities import OPPORTUNITY
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.revenue.subscriptions import SubscriptionRow
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads
from cs_mcp.db.signals.signals import CompanyEventRow, FeatureRow
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.usage.rollup import heirs
from cs_mcp.db.usage.usage import USAGE_DAY, USAGE_FEATURE
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.signals.usage import WHOLE_ACCOUNT

LOOKED_AT: Final = 500  # accounts of one question, the largest first
SEATS_DAYS: Final = 60  # a seat count told longer ago is none
SEEN_DAYS: Final = 180  # a department not seen for so long is new again
GROWTH_DAYS: Final = 180

ACCOUNT: Final[Any] = AccountRow.__table__
SUBSCRIPTION: Final[Any] = SubscriptionRow.__table__
MEETING: Final[Any] = MeetingRow.__table__
EVENT: Final[Any] = CompanyEventRow.__table__
FEATURE: Final[Any] = FeatureRow.__table__

_WORKSPACE: Final = bindparam("workspace", type_=String)
_TODAY: Final = bindparam("today", type_=Date)
_TODAY_DAY: Final = bindparam("today_day", type_=Integer)
_LISTED: Final = texts("accounts")


def _day(name: str) -> Any:
    return bindparam(name, type_=Integer)


def running(subscription: Any) -> tuple[Any, ...]:
    """Conditions for subscriptions that are paid for on the day."""
    return (
        subscription.c.removed_at.is_(None),
        ~subscription.c.trial,
        subscription.c.starts_on <= _TODAY,
        or_(subscription.c.ends_on.is_(None), subscription.c.ends_on >= _TODAY),
        or_(subscription.c.canceled_on.is_(None), subscription.c.canceled_on > _TODAY),
    )


_FILTERS: Final[dict[str, Any]] = {
    "account": lambda: ACCOUNT.c.id == bindparam("account", type_=String),
    "owner": lambda: ACCOUNT.c.owner_id == bindparam("owner", type_=String),
    "segment": lambda: any_of(ACCOUNT.c.segment, texts("segment")),
}


@lru_cache(maxsize=16)
def _accounts(filters: tuple[str, ...]) -> Scoped:
    names = ("id", "name", "segment", "currency", "arr_minor", "health_band", "onboarding_status")
    return Scoped(
        "account",
        lambda scope: (
            select(*(ACCOUNT.c[name] for name in names))
            .where(*scope, ACCOUNT.c.stage != "churned", *(_FILTERS[name]() for name in filters))
            .order_by(ACCOUNT.c.arr_minor.desc(), ACCOUNT.c.id)
            .limit(LOOKED_AT + 1)
        ),
    )


def _of_listed(table: Any, *conditions: Any) -> tuple[Any, ...]:
    return (table.c.workspace == _WORKSPACE, any_of(table.c.account_id, _LISTED), *conditions)


_SUBSCRIPTIONS: Final = Statement(
    lambda: (
        select(SUBSCRIPTION.c.account_id, SUBSCRIPTION.c.product, SUBSCRIPTION.c.seats, SUBSCRIPTION.c.seat_limit)
        .where(*_of_listed(SUBSCRIPTION, *running(SUBSCRIPTION)))
        .order_by(SUBSCRIPTION.c.account_id, SUBSCRIPTION.c.starts_on, SUBSCRIPTION.c.id)
    )
)
_ROI: Final = Statement(
    lambda: (
        select(MEETING.c.account_id, func.max(MEETING.c.held_on).label("shown_on"))
        .where(
            *_of_listed(MEETING, MEETING.c.removed_at.is_(None), MEETING.c.status == "held"),
            MEETING.c.roi_shown.is_(True),
            MEETING.c.held_on <= _TODAY,
        )
        .group_by(MEETING.c.account_id)
    )
)
_FUNDED: Final = Statement(
    lambda: select(EVENT.c.account_id, EVENT.c.id, EVENT.c.on).where(
        *_of_listed(EVENT, EVENT.c.removed_at.is_(None), EVENT.c.kind == "funding"),
        EVENT.c.on.between(bindparam("grown_from", type_=Date), _TODAY),
    )
)
# Open, or lost lately: what is worked on or was declined is no news.
_KNOWN: Final = Statement(
    lambda: select(
        OPPORTUNITY.c.account_id,
        OPPORTUNITY.c.kind,
        OPPORTUNITY.c.trigger,
        OPPORTUNITY.c.department,
        OPPORTUNITY.c.product,
    ).where(
        *_of_listed(OPPORTUNITY, OPPORTUNITY.c.removed_at.is_(None)),
        or_(
            and_(OPPORTUNITY.c.stage != "won", OPPORTUNITY.c.stage != "lost"),
            and_(OPPORTUNITY.c.stage == "lost", OPPORTUNITY.c.closed_on >= bindparam("declined_from", type_=Date)),
        ),
    )
)


def _records() -> Any:
    """The records whose usage counts for each listed account: its own, and those merged into it."""
    merged = heirs()
    own = select(ACCOUNT.c.id.label("record"), ACCOUNT.c.id.label("account_id")).where(
        ACCOUNT.c.workspace == _WORKSPACE, any_of(ACCOUNT.c.id, _LISTED)
    )
    came = select(merged.c.record, merged.c.account_id).where(any_of(merged.c.account_id, _LISTED))
    return union_all(own, came).cte("records")


# Outer joins keep SQLite to their order: from the listed records into usage by its key, never through all of it. What
# found none is left out by HAVING: by WHERE, SQLite would take the join for an inner one.


def _seats() -> Any:
    """Seats in use as last told, and the day; of merged records together."""
    records, used, told = _records(), USAGE_DAY, USAGE_DAY.alias("told")
    newest = (
        select(func.max(told.c.day))
        .where(told.c.workspace == _WORKSPACE, told.c.account_id == records.c.record)
        .where(told.c.day.between(_day("seats_from"), _TODAY_DAY))
        .where(told.c.department == WHOLE_ACCOUNT, told.c.seats_used.is_not(None))
        .scalar_subquery()
    )
    latest = select(records.c.account_id, records.c.record, newest.label("day")).cte("latest")
    there = and_(
        used.c.workspace == _WORKSPACE,
        used.c.account_id == latest.c.record,
        used.c.day == latest.c.day,
        used.c.department == WHOLE_ACCOUNT,
    )
    return (
        select(
            latest.c.account_id,
            cast(func.sum(used.c.seats_used), BigInteger).label("seats_used"),
            func.max(used.c.day).label("day"),
        )
        .outerjoin_from(latest, used, there)
        .group_by(latest.c.account_id)
        .having(func.max(used.c.day).is_not(None))
    )


def _first_days() -> Any:
    records, used = _records(), USAGE_DAY
    first = (
        select(func.min(used.c.day))
        .where(used.c.workspace == _WORKSPACE, used.c.account_id == records.c.record)
        .scalar_subquery()
    )
    each = select(records.c.account_id, first.label("day")).subquery("each")
    return select(each.c.account_id, func.min(each.c.day).label("day")).group_by(each.c.account_id)


def _departments() -> Any:
    records, used = _records(), USAGE_DAY
    seen = and_(
        used.c.workspace == _WORKSPACE,
        used.c.account_id == records.c.record,
        used.c.day.between(_day("seen_from"), _TODAY_DAY),
        used.c.department != WHOLE_ACCOUNT,
        used.c.active_users > 0,
    )
    return (
        select(
            records.c.account_id,
            used.c.department,
            func.min(used.c.day).label("day"),
            func.max(used.c.active_users).label("active"),
        )
        .outerjoin_from(records, used, seen)
        .group_by(records.c.account_id, used.c.department)
        .having(func.min(used.c.day).is_not(None))
    )


def _features() -> Any:
    """The first day of each feature: one look at the index each, however long it has been used."""
    records, used = _records(), USAGE_FEATURE
    first = (
        select(func.min(used.c.day))
        .where(
            used.c.workspace == _WORKSPACE,
            used.c.account_id == records.c.record,
            used.c.feature_id == FEATURE.c.id,
            used.c.day <= _TODAY_DAY,
        )
        .scalar_subquery()
    )
    each = (
        select(records.c.account_id, FEATURE.c.name, first.label("day"))
        .join_from(records, FEATURE, FEATURE.c.workspace == _WORKSPACE)
        .where(FEATURE.c.removed_at.is_(None))
        .subquery("each")
    )
    return (
        select(each.c.account_id, each.c.name, func.min(each.c.day).label("day"))
        .group_by(each.c.account_id, each.c.name)
        .having(func.min(each.c.day) >= _day("new_from"))
    )


_SEATS, _FIRST_DAYS = Statement(_seats), Statement(_first_days)
_DEPARTMENTS, _FEATURES = Statement(_departments), Statement(_features)


def _of_payers(columns: tuple[Any, ...], scope: Conditions) -> Any:
    live = and_(
        ACCOUNT.c.workspace == SUBSCRIPTION.c.workspace,
        ACCOUNT.c.id == SUBSCRIPTION.c.account_id,
        ACCOUNT.c.removed_at.is_(None),
    )
    accounts = func.count(SUBSCRIPTION.c.account_id.distinct()).label("accounts")
    return (
        select(*columns, accounts)
        .join_from(SUBSCRIPTION, ACCOUNT, live)
        .where(*scope, *running(SUBSCRIPTION))
        .group_by(*columns)
    )


# Products by how many accounts of each segment pay for them, among the accounts the caller sees.
_SOLD: Final = Scoped(
    "subscription",
    lambda scope: _of_payers((ACCOUNT.c.segment, SUBSCRIPTION.c.product), scope).where(
        SUBSCRIPTION.c.product.is_not(None)
    ),
)
_PAYERS: Final = Scoped("subscription", lambda scope: _of_payers((ACCOUNT.c.segment,), scope))


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored about the listed accounts, as rows that name their account."""

    subscriptions: list[Row]
    roi: list[Row]
    funded: list[Row]
    opportunities: list[Row]
    seats: list[Row]
    first_days: list[Row]
    departments: list[Row]
    features: list[Row]


class ExpansionReads(ScopedReads):
    async def accounts(self, principal: Principal, filters: dict[str, Any]) -> list[Row]:
        """Customers that fit, the largest first; one more than are looked at where there are more."""
        [rows] = await self.rows(principal, [_accounts(tuple(sorted(filters)))], **filters)
        return rows

    async def known(
        self, principal: Principal, accounts: Sequence[str], *, today: date, new_from: date, declined_from: date
    ) -> Known:
        plan = [_SUBSCRIPTIONS, _ROI, _FUNDED, _KNOWN, _SEATS, _FIRST_DAYS, _DEPARTMENTS, _FEATURES]
        day = today.toordinal()
        found = await self.rows(
            principal,
            plan,
            accounts=list(accounts),
            today=today,
            today_day=day,
            seats_from=day - SEATS_DAYS + 1,
            seen_from=day - SEEN_DAYS + 1,
            new_from=new_from.toordinal(),
            grown_from=today - timedelta(days=GROWTH_DAYS - 1),
            declined_from=declined_from,
        )
        return Known(*found)

    async def sold(self, principal: Principal, today: date) -> tuple[list[Row], list[Row]]:
        """Products and paying accounts by segment, as far as the caller sees."""
        sold, payers = await self.rows(principal, [_SOLD, _PAYERS], today=today)
        return sold, payers

    async def roi(self, principal: Principal, accounts: Sequence[str], today: date) -> dict[str, date]:
        """The last day on which quantified ROI was shown, by account."""
        [rows] = await self.rows(principal, [_ROI], accounts=list(accounts), today=today)
        return {row["account_id"]: row["shown_on"] for row in rows}


async def shown_roi(work: UnitOfWork, account: str) -> date | None:
    """The last day on which quantified ROI was shown to an account, inside a unit of work."""
    given = {"workspace": work.principal.workspace, "accounts": [account], "today": work.today}
    rows = await (await work.wire()).rows(_ROI, given)
    return rows[0]["shown_on"] if rows else None
