"""What is known of each customer when tiers are proposed: contract, growth, support, people, integrations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from sqlalchemy import BigInteger, Date, and_, bindparam, case, cast, func, or_, select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.facts.facts import facts_of
from cs_mcp.db.facts.terms import LISTED, WORKSPACE, moment
from cs_mcp.db.members import MemberRow
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.revenue.exchange_rates import ExchangeRateRow
from cs_mcp.db.revenue.subscriptions import ArrMovementRow
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads, live
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.health.rubric import Cadence
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.revenue.currency_rates import ExchangeRate, Rates

ACCOUNT: Final[Any] = AccountRow.__table__
MEMBER: Final[Any] = MemberRow.__table__
LEDGER: Final[Any] = ArrMovementRow.__table__
RATE: Final[Any] = ExchangeRateRow.__table__
BATCH: Final = 1_000

_NAMES: Final = (
    "id", "name", "version", "tier", "segment", "currency", "arr_minor", "industry", "employees", "tags", "owner_id",
)  # fmt: skip
_FACTS: Final = (
    "seats_licensed", "term_months", "auto_renew", "tickets_30", "tickets_prev_60", "champion_present", "nps_latest",
    "integrations",
)  # fmt: skip


def _customers(scope: Conditions) -> Any:
    owner = and_(MEMBER.c.workspace == ACCOUNT.c.workspace, MEMBER.c.id == ACCOUNT.c.owner_id)
    return (
        select(*(ACCOUNT.c[name] for name in _NAMES), MEMBER.c.name.label("owner_name"))
        .outerjoin_from(ACCOUNT, MEMBER, owner)
        .where(*scope, ACCOUNT.c.stage != "churned", ACCOUNT.c.arr_minor > 0)
        .order_by(ACCOUNT.c.id)
    )


_CUSTOMERS: Final = Scoped("account", _customers)
# From the records themselves: what is kept stands at the last night, if there was one. The cadence is of no fact asked
# for here.
_KNOWN: Final = Statement(lambda: facts_of(_FACTS, LISTED, Cadence(high=30, mid=90, low=365), rollup=False))


def _sum_where(condition: Any) -> Any:
    return cast(func.sum(case((condition, LEDGER.c.amount_minor), else_=0)), BigInteger)


def _grown() -> Any:
    """Expansions of the last year, in the account's currency."""
    rises = or_(LEDGER.c.kind == "expansion", LEDGER.c.kind == "price_change")
    lately = LEDGER.c.on > bindparam("year_ago", type_=Date)
    return (
        select(
            LEDGER.c.account_id,
            _sum_where(and_(lately, rises)).label("grown_minor"),
            _sum_where(~lately).label("then_minor"),
        )
        .join_from(
            LEDGER, ACCOUNT, and_(ACCOUNT.c.workspace == LEDGER.c.workspace, ACCOUNT.c.id == LEDGER.c.account_id)
        )
        .where(LEDGER.c.workspace == WORKSPACE, LISTED.of(LEDGER.c.account_id), LEDGER.c.removed_at.is_(None))
        .where(LEDGER.c.on <= bindparam("as_of", type_=Date), LEDGER.c.currency == ACCOUNT.c.currency)
        .group_by(LEDGER.c.account_id)
    )


_GROWN: Final = Statement(_grown)
_RATES: Final = Statement(lambda: select(*(RATE.c[name] for name in ExchangeRate.model_fields)).where(*live(RATE)))


class TierReads(ScopedReads):
    async def customers(self, principal: Principal) -> list[Row]:
        """Accounts with ARR, as far as the caller sees."""
        [rows] = await self.rows(principal, [_CUSTOMERS])
        return rows

    async def rates(self, principal: Principal) -> Rates:
        [rows] = await self.rows(principal, [_RATES])
        return Rates(ExchangeRate.model_validate(row) for row in rows)

    async def known(
        self, principal: Principal, accounts: Sequence[str], today: date, year_ago: date, calendar: Calendar
    ) -> dict[str, Row]:
        """Facts by account, with `grown_minor` and ARR a year ago as `then_minor`."""
        found: dict[str, Row] = {}
        for start in range(0, len(accounts), BATCH):
            given = moment(today, calendar) | {"accounts": list(accounts[start : start + BATCH]), "year_ago": year_ago}
            facts, grown = await self.rows(principal, [_KNOWN, _GROWN], **given)
            for row in (*facts, *grown):
                found.setdefault(row["account_id"], {}).update(row)
        return found
