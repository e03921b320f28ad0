"""Reads of accounts: one in a single snapshot with what hangs on it, or pages of many."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from cs_mcp.db.accounts.pages import COUNTED, Sort, count_of, page_of, shaped, sums_of
from cs_mcp.db.accounts.whole import (
    ARR_OF_EACH,
    ARR_ON,
    CONTRACT,
    EVERY_ACCOUNT,
    EVERY_MEMBER,
    EVERYTHING,
    GET,
    MEETINGS,
    NOTES,
    OPPORTUNITIES,
    PEOPLE,
    RENEWALS,
    TASKS,
    TEAM,
)
from cs_mcp.db.health.health_reads import OVERRIDES, POINTS_BY_DAY
from cs_mcp.db.health.risk_reads import OPEN_CASE
from cs_mcp.db.read_path import Row
from cs_mcp.db.scoped import ScopedReads, page_rows
from cs_mcp.domain.identity import Principal


class AccountReads(ScopedReads):
    """Accounts as the caller may see them."""

    async def page(
        self,
        principal: Principal,
        filters: dict[str, Any],
        *,
        sort: Sort,
        limit: int,
        after: tuple[Any, str] | None = None,
        exact_total: bool = False,
        sums: bool = False,
    ) -> tuple[list[Row], int | None, list[Row]]:
        """One row more than `limit` where there are more; the total (None past 1 000); sums by currency if asked.

        `filters` holds the parameters of the conditions in pages.py; custom fields as `custom`: name → value.
        """
        shape, given = shaped(filters)
        sqlite = self.store.dialect == "sqlite"
        cursor: Literal["", "value", "null"] = "" if after is None else ("null" if after[0] is None else "value")
        if after is not None:
            given |= {"cursor_value": after[0], "cursor_id": after[1]}
        plan = [page_of(shape, sort, cursor, page_rows(limit), sqlite), count_of(shape, exact_total, sqlite)]
        if sums:
            plan.append(sums_of(shape, sqlite))
        found = await self.rows(principal, plan, **given)
        total = found[1][0]["total"]
        return found[0][: limit + 1], (total if exact_total or total <= COUNTED else None), (found[2] if sums else [])

    async def one(
        self, principal: Principal, account: str, day: date, *, opportunities: bool = False
    ) -> dict[str, list[Row]]:
        """The account and what hangs on it, as one snapshot; no `account` row where the caller may not see it.

        `health` is its newest score by `day`, `overrides` those of the account, newest first. `opportunities`: the
        open ones too.
        """
        names = ("account", "team", "people", "contract", "renewals", "risk", "tasks", "meetings", "notes")
        plan = (GET, TEAM, PEOPLE, CONTRACT, RENEWALS, OPEN_CASE, TASKS, MEETINGS, NOTES, POINTS_BY_DAY, OVERRIDES)
        names += ("health", "overrides")
        if opportunities:
            names, plan = (*names, "opportunities"), (*plan, OPPORTUNITIES)
        found = await self.rows(principal, plan, account=account, day=day)
        return dict(zip(names, found, strict=True))

    async def everything(self, principal: Principal, account: str, day: date) -> tuple[dict[str, list[Row]], int]:
        """Every row of the account, removed ones too, and its ARR on `day`: what an as-of read starts from."""
        found = await self.rows(principal, [*EVERYTHING.values(), ARR_ON], account=account, day=day)
        return dict(zip(EVERYTHING, found, strict=False)), found[-1][0]["arr_minor"]

    async def all_with_arr(self, principal: Principal, day: date, limit: int) -> tuple[list[Row], dict[str, int]]:
        """Every account the caller may see, removed ones too, and the ARR of each on `day`."""
        rows, sums = await self.rows(principal, [EVERY_ACCOUNT, ARR_OF_EACH], limit=limit, day=day)
        return rows, {row["account_id"]: row["arr_minor"] for row in sums}

    async def member_names(self, principal: Principal) -> dict[str, str]:
        """Names of us by id, those who left included."""
        [found] = await self.rows(principal, [EVERY_MEMBER])
        return {row["id"]: row["name"] for row in found}
