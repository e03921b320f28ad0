"""Briefs: the facts behind a piece of work on one account, computed when asked for."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Final

from pydantic import Field

from cs_mcp.db.accounts.brief_reads import BriefReads
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.contract import AccountRef, Question, Ref, Text
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.identity import Principal
from cs_mcp.services.briefs.detractor import detractor_brief
from cs_mcp.services.briefs.facts import Ground
from cs_mcp.services.briefs.qbr import qbr_brief
from cs_mcp.services.briefs.views import Brief, within_budget
from cs_mcp.services.naming import Names

LOOKED_BACK: Final = timedelta(days=400)  # a year and a bit: the last review, the last word on renewing


class QbrBrief(Question):
    """The period is the last complete fiscal quarter and the days since, unless given."""

    account: AccountRef
    period_start: date | None = None
    period_end: date | None = None


class DetractorBrief(Question):
    account: AccountRef
    contact: Ref | None = None
    concern: Annotated[Text, Field(max_length=2_000)] | None = None


class Briefs:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._reads = BriefReads(store)

    async def qbr(self, principal: Principal, ask: QbrBrief) -> Brief:
        """What a quarterly business review rests on.

        Raises NotFound for an account out of reach, Invalid for a period that has not begun or is empty.
        """
        calendar, today = await self._today(principal)
        account = await Names.reading(self._store, principal).account(ask.account)
        start, end = period_of(ask, calendar, today)
        ground = await self._ground(principal, account.id, calendar, start, end)
        return within_budget(qbr_brief(ground, start, end))

    async def detractor(self, principal: Principal, ask: DetractorBrief) -> Brief:
        """What a reply to someone unhappy rests on. Raises Conflict where they have left."""
        calendar, today = await self._today(principal)
        names = Names.reading(self._store, principal)
        account = await names.account(ask.account)
        contact = (await names.contact(ask.contact, account.id)).id if ask.contact is not None else None
        ground = await self._ground(principal, account.id, calendar, today, today)
        return within_budget(detractor_brief(ground, contact, ask.concern, principal))

    async def _today(self, principal: Principal) -> tuple[Calendar, date]:
        calendar = (await self._store.workspace(principal.workspace)).calendar
        return calendar, calendar.today(self._store.clock.now())

    async def _ground(self, principal: Principal, account: str, calendar: Calendar, start: date, end: date) -> Ground:
        now = self._store.clock.now()
        since = min(start, calendar.today(now) - LOOKED_BACK)
        found = await self._reads.of_account(principal, account, since=since, movements_from=start, day=end)
        return Ground(found, calendar, now)


def period_of(ask: QbrBrief, calendar: Calendar, today: date) -> tuple[date, date]:
    """First and last day of a review's period, both inclusive; today at the latest."""
    end = ask.period_end or today
    if end > today:
        raise Invalid(
            f"period_end {end} is in the future; today is {today}.", remedy="Leave it out to review up to today."
        )
    start = ask.period_start
    if start is None:
        quarter = calendar.quarter_of(end)
        start = quarter.starts_on
        if ask.period_end is None:
            start = calendar.quarter_of(start - timedelta(days=1)).starts_on
    if start > end:
        raise Invalid(f"No day is between {start} and {end}.", remedy="Give a period_start on or before period_end.")
    return start, end
