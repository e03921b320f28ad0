"""The ways to find retention agree: rows that are kept, sums over the book, and account by account.

With `known_on` today nothing is taken back from what is known, and figures are found account by account.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

from conftest import Team
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import FixedClock, add_months, year_to
from cs_mcp.domain.revenue.retention import Bar
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind

from ._client import Answer, Desk, Desks, writing

BLOCK = ("starting_arr", *(bar.value for bar in Bar), "ending_arr")
SLICES = ("segment", "segment", "tier", "owner", "industry", "cohort", "custom:region")


class Book:
    """Accounts that move and change hands as days go by."""

    def __init__(self, random: Random, lea: Desk, store: Store, team: Team, clock: FixedClock) -> None:
        self.random, self.lea, self.store, self.team, self.clock = random, lea, store, team, clock
        self.accounts: list[str] = []
        self.balance: dict[str, int] = {}
        self.days: list[date] = []  # on which something moved

    @property
    def today(self) -> date:
        return self.clock.now().date()

    async def opens(self, name: str) -> None:
        self.accounts.append(await self.lea.account(name, segment=self.random.choice(["smb", "enterprise"])))

    async def moves(self, start: date, days: int) -> str:
        """The change that posted one or two movements within those days."""
        async with writing(self.store, self.team.workspace) as work:
            for _ in range(self.random.randint(1, 2)):
                account = self.random.choice(self.accounts)
                was = self.balance.get(account)
                now = self.random.choice([0, 0, 1_000, 2_500, 6_000, 10_001])
                if now == (was or 0):
                    continue
                if not was:
                    kind = MovementKind.new if was is None else MovementKind.reactivation
                elif now == 0:
                    kind = MovementKind.churn
                elif now < was:
                    kind = MovementKind.contraction
                else:
                    kind = self.random.choice([MovementKind.expansion, MovementKind.price_change])
                on = start + timedelta(days=self.random.randrange(days))
                told: dict[str, Any] = {"account_id": account, "on": on, "kind": kind, "amount_minor": now - (was or 0)}
                work.movements.add(ArrMovement(id=work.ids.new("arr_movement"), currency="USD", **told))
                self.balance[account] = now
                self.days.append(on)
            return work.act.change_id

    async def reclasses(self) -> None:
        account = self.random.choice(self.accounts)
        told: dict[str, Any] = {
            "segment": self.random.choice(["smb", "mid_market", "enterprise"]),
            "tier": self.random.choice(["gold", "standard"]),
            "industry": self.random.choice(["Retail", "Energy"]),
            "custom": {"region": self.random.choice(["EMEA", "APAC"])},
            "owner": self.random.choice(["ana@acme.example", "ben@acme.example"]),
        }
        field = self.random.choice(list(told))
        version = (await self.lea.done("get_account", account=account))["version"]
        await self.lea.done("update_account", account=account, expected_version=version, **{field: told[field]})


def figures(answer: Answer | Any) -> dict[str, Any]:
    """What must be the same whichever way it was found."""
    told: dict[str, Any] = answer.data if isinstance(answer, Answer) else answer
    names = ("cohort", "total", "nrr", "grr", "logo_churn_rate", "accounts_at_start", "accounts_lost")
    found = {name: told.get(name) for name in names}
    if "slices" in told:
        found["slices"] = {one["slice"]: figures(one) for one in told["slices"]}
        found["bars"] = {one["bar"]: (one["amount"], one["accounts"]) for one in told["bars"]}
    return found


def units(block: Any, name: str) -> int:
    return int(Decimal(block[name]) * 100)


async def test_every_way_tells_the_same_and_it_ties_out(
    desks: Desks, team: Team, store: Store, clock: FixedClock
) -> None:
    random = Random(f"a book of its own on {store.where.url.drivername}")
    lea, vic = await desks.of(team, "lea"), await desks.of(team, "vic")  # who sees every book
    book = Book(random, lea, store, team, clock)
    for n in range(8):
        await book.opens(f"Account {n}")
    for n in range(12):  # what an import would tell of the past
        await book.moves(date(2025, 1, 1) + timedelta(days=36 * n), 36)
    last = ""
    for _ in range(8):
        clock.advance(timedelta(days=random.randrange(1, 40)))
        await book.reclasses()
        last = await book.moves(book.today, random.choice([1, 1, 45]))  # and now and then of days to come

    async def agreed(start: date, end: date, slice_by: str | None = None) -> Answer:
        asked = {"period_start": str(start), "period_end": str(end)} | ({"slice_by": slice_by} if slice_by else {})
        quick = await vic.done("get_retention", **asked)
        slow = await vic.done("get_retention", **asked, known_on=str(book.today))
        assert figures(quick) == figures(slow), asked
        assert quick.data.get("grr", 0) <= min(1, quick.data.get("nrr", 0)), asked
        for block in ("cohort", "total") if slice_by else ():
            for name in BLOCK:
                assert sum(units(one[block], name) for one in quick["slices"]) == units(quick[block], name)
        return quick

    month = book.today.replace(day=1)
    months = [date(2025, 1, 1), date(2025, 4, 1), date(2026, 1, 1), date(2026, 4, 1)]
    windows = [(start, after - timedelta(days=1)) for start, after in pairwise(months)]
    windows += [(month, book.today), (date(month.year - 1, month.month, 1), book.today)]
    # Near a kept window, and apart from it by a day on which something moved.
    for on in random.sample([day for day in book.days if day <= book.today], 3):
        windows += [(year_to(on), on - timedelta(days=1)), (on + timedelta(days=1), add_months(on, 1))]
    windows += [(date(2025, 2, 20), date(2026, 2, 19)), (date(2025, 3, 5), date(2025, 8, 27))]
    for start, end in windows:
        for slice_by in (None, random.choice(SLICES)) if start <= end <= book.today else ():
            await agreed(start, end, slice_by)
    assert (
        figures(await vic.done("get_retention"))["total"]
        == figures(await vic.done("get_retention", known_on=str(book.today)))["total"]
    )

    # A window split in two: the second opens with what the first closed at, and their ends are the whole's.
    start, end = date(2025, 1, 1), date(2026, 3, 31)
    whole = await agreed(start, end)
    for cut in (date(2025, 12, 31), date(2025, 9, 17)):
        first, second = await agreed(start, cut), await agreed(cut + timedelta(days=1), end)
        assert units(first["total"], "ending_arr") == units(second["total"], "starting_arr")
        assert units(first["total"], "starting_arr") == units(whole["total"], "starting_arr")
        assert units(second["total"], "ending_arr") == units(whole["total"], "ending_arr")

    # What is undone and brought back leaves the figures as they were.
    asked = {"slice_by": "segment", "interval": "month"}
    before = await vic.done("get_retention", **asked)
    undone = await lea.done("undo_changes", change=last)
    await agreed(month, book.today, "segment")
    await lea.done("undo_changes", change=undone["change_id"])
    again = await vic.done("get_retention", **asked)
    assert (figures(again), again["series"]) == (figures(before), before["series"])
