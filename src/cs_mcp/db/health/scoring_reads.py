"""Scores read, not written: an account on any day, by any rubric."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import Any

from sqlalchemy import select

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.facts.terms import LISTED, moment
from cs_mcp.db.health.scoring import scored
from cs_mcp.db.read_path import AnySelect, Row
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.health.rubric import Rubric
from cs_mcp.domain.identity import Principal


@lru_cache(maxsize=8)
def _scored(rubric: Rubric) -> Scoped:
    def build(scope: Conditions) -> AnySelect:
        account: Any = AccountRow.__table__
        # Counted from the facts of the day: the rollup stands at one day only.
        rows = scored(rubric, LISTED, rollup=False, with_facts=True).subquery("scored")
        return select(*rows.c).join_from(rows, account, account.c.id == rows.c.account_id).where(*scope)

    return Scoped("account", build)


class ScoringReads(ScopedReads):
    async def of_account(
        self, principal: Principal, rubric: Rubric, account: str, as_of: date, calendar: Calendar
    ) -> Row | None:
        """Score, points, raw values, and facts as `f_…`, of an account the caller may see."""
        given = moment(as_of, calendar) | {"accounts": [account]}
        [rows] = await self.rows(principal, [_scored(rubric)], **given)
        return rows[0] if rows else None
