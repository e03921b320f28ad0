"""The forecast against a plain model of the book, and what a night keeps of it."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest
from book import Desk, rows_of, unit
from book import desk as caller_of
from sqlalchemy import update

from conftest import Team
from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.history.changes import DERIVED
from cs_mcp.db.renewals.renewals import RenewalRow
from cs_mcp.db.revenue.forecast_tables import SNAPSHOTS
from cs_mcp.db.store import Store
from cs_mcp.domain.accounts.accounts import Band
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.contract import Amount
from cs_mcp.domain.errors import CustomerSuccessError, Invalid
from cs_mcp.domain.renewals.renewals import ForecastCategory, LossReason, RenewalStage
from cs_mcp.domain.revenue.forecast import ASSUMED
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind, Subscription
from cs_mcp.services.renewals.closing import MoveRenewal
from cs_mcp.services.renewals.cycles import open_due
from cs_mcp.services.renewals.renewals import UpdateRenewal
from cs_mcp.services.revenue.forecast import GetForecast
from cs_mcp.services.revenue.forecast_views import ForecastView

TODAY = date(2026, 3, 16)
START, END = date(2026, 1, 1), date(2026, 12, 31)


@dataclass(frozen=True)
class Stand:
    """A renewal as the model sees it, from the rows of the store."""

    quarter: int
    currency: str
    segment: str
    category: str
    amount: int
    expected: int
    counts: bool

    def within(self, quarters: tuple[int, ...]) -> bool:
        return self.counts and self.quarter in quarters

    @property
    def told(self) -> tuple[Any, ...]:
        """What a comparison of two days looks at."""
        return self.category, self.quarter, self.amount, self.counts

    @property
    def forecast(self) -> int:
        return self.amount if self.category in ("won", "commit") else 0


async def standing(store: Store, workspace: str) -> dict[str, Stand]:
    accounts = {row["id"]: row for row in await rows_of(store, workspace, AccountRow.__table__)}
    found: dict[str, Stand] = {}
    for row in await rows_of(store, workspace, RenewalRow.__table__):
        if row["removed_at"] is not None:
            continue
        account, amount = accounts[row["account_id"]], row["amount_minor"]
        closed = {"closed_won": "won", "closed_lost": "lost"}.get(row["stage"])
        likely = (amount * ASSUMED[Band(account["health_band"])] + 500) // 1000
        found[row["id"]] = Stand(
            quarter=(row["closes_on"].month - 1) // 3 + 1,
            currency=row["currency"],
            segment=account["segment"],
            category=closed or row["forecast_category"] or "not_judged",
            amount=amount,
            expected={"won": amount, "lost": 0}.get(closed or "", likely),
            counts=START <= row["closes_on"] <= END,
        )
    return found


def minor(text: str) -> int:
    return round(float(text) * 100)


def added(stands: dict[str, Stand], key: str, figure: str) -> dict[tuple[int, str, Any], int]:
    sums: defaultdict[tuple[int, str, Any], int] = defaultdict(int)
    for stand in stands.values():
        if stand.counts:
            sums[stand.quarter, stand.currency, getattr(stand, key)] += getattr(stand, figure)
    return dict(sums)


def told(view: ForecastView, lines: str, key: str, figure: str) -> dict[tuple[int, str, Any], int]:
    return {
        (int(quarter.quarter[1]), quarter.currency, getattr(line, key)): minor(getattr(line, figure))
        for quarter in view.quarters
        for line in getattr(quarter, lines)
    }


async def signs(ada: Desk, account: str, arr: int, ends: date, currency: str) -> None:
    async with unit(ada.services.store, ada.principal) as work:
        bought = Subscription(
            id=work.ids.new("subscription"), account_id=account, starts_on=TODAY - timedelta(days=300), ends_on=ends,
            arr_minor=arr, currency=currency, term_months=12,
        )  # fmt: skip
        work.subscriptions.add(bought)
        movement = {"account_id": account, "on": bought.starts_on, "kind": MovementKind.new, "amount_minor": arr}
        work.movements.add(ArrMovement(id=work.ids.new("arr_movement"), currency=currency, **movement))
        await work.flush()
        await open_due(work)


async def sets_band(ada: Desk, account: str, band: str) -> None:
    async with unit(ada.services.store, ada.principal) as work:
        told_ = update(AccountRow).where(AccountRow.id == account).values(health_band=band)
        await work.session.execute(told_, execution_options={DERIVED: True})


async def acts(ada: Desk, dice: random.Random, accounts: list[tuple[str, str]]) -> str | None:
    """One thing that happens to the book; the change that undoes it."""
    renewals = [row for row in await rows_of(ada.services.store, ada.principal.workspace, RenewalRow.__table__)
                if row["removed_at"] is None and not row["stage"].startswith("closed")]  # fmt: skip
    account, currency = dice.choice(accounts)
    what = dice.choice(["signs", "band", "judges", "judges", "prices", "pushes", "pushes", "pushes", "wins", "loses"])
    if what == "signs" or not renewals:
        await signs(ada, account, dice.randint(1, 10**7), TODAY + timedelta(days=dice.randint(20, 300)), currency)
        return None
    if what == "band":
        await sets_band(ada, account, dice.choice(list(Band)).value)
        return None
    row = dice.choice(renewals)
    about: dict[str, Any] = {"renewal": row["id"], "expected_version": row["version"], "reason": "It came so"}
    if what == "judges":
        command: Any = UpdateRenewal(**about, forecast_category=dice.choice(list(ForecastCategory)))
    elif what == "prices":
        command = UpdateRenewal(**about, amount=Amount.of(dice.randint(1, 10**7), row["currency"]))
    elif what == "pushes":
        command = UpdateRenewal(**about, closes_on=TODAY + timedelta(days=dice.randint(0, 350)))
    elif what == "wins":
        command = MoveRenewal(**about, stage=RenewalStage.closed_won)
    else:
        command = MoveRenewal(**about, stage=RenewalStage.closed_lost, loss_reason=LossReason.price)
    return (await ada.do(command)).change_id


@pytest.mark.parametrize("seed", range(3))
async def test_figures_and_moves_are_those_of_a_plain_model_whatever_happens(
    store: Store, team: Team, seed: int
) -> None:
    ada, dice = await caller_of(team, "ada"), random.Random(seed)
    accounts = [
        (await ada.opens(f"Account {n}", currency=currency, segment=dice.choice(["smb", "enterprise"])), currency)
        for n, currency in enumerate(["USD", "USD", "EUR"])
    ]
    clock, ask = store.clock, {"budget_tokens": 20_000, "limit": 200}
    assert isinstance(clock, FixedClock)
    for _ in range(8):
        await acts(ada, dice, accounts)
    kept: list[tuple[date, dict[str, Stand]]] = []
    done: list[str] = []
    for _ in range(3):
        await ada.services.forecasts.keep_today(ada.principal)
        kept.append((clock.now().date(), await standing(store, team.workspace)))
        clock.advance(timedelta(days=1))
        for _ in range(8):
            if done and dice.random() < 0.25:
                try:
                    await ada.undoes(done.pop())
                except CustomerSuccessError as refused:
                    assert "Nothing could be undone" in str(refused)
            elif (change := await acts(ada, dice, accounts)) is not None:
                done.append(change)
        now = await standing(store, team.workspace)
        # Four fiscal quarters from the current one on: the calendar year, as today is in March.
        view = await ada.services.forecasts.get(ada.principal, GetForecast(group_by="segment", **ask))
        for figure in ("amount", "expected"):
            assert told(view, "categories", "category", figure) == added(now, "category", figure)
        for figure in ("forecast", "expected"):
            assert told(view, "groups", "group", figure) == added(now, "segment", figure)

        day, then = dice.choice(kept)
        asked = dice.choice([(1, 2, 3, 4), (2,), (3,)])
        quarter = None if len(asked) > 1 else f"Q{asked[0]} FY2026"
        view = await ada.services.forecasts.get(ada.principal, GetForecast(compare_to=day, quarter=quarter, **ask))
        assert view.compared is not None
        effects: defaultdict[str, int] = defaultdict(int)
        for line in view.compared.renewals:
            effects[line.amount.currency] += minor(line.forecast_effect)
        for currency in ("USD", "EUR"):
            figures = [
                sum(one.forecast for one in book.values() if one.currency == currency and one.within(asked))
                for book in (then, now)
            ]
            assert figures[0] + effects[currency] == figures[1]
        touched = {line.renewal for line in view.compared.renewals}
        for renewal in then.keys() | now.keys():
            before, after = then.get(renewal), now.get(renewal)
            seen = any(side is not None and side.within(asked) for side in (before, after))
            same = before is not None and after is not None and before.told == after.told
            assert (renewal in touched) == (seen and not same), renewal
    # Days later, each night still says what it kept.
    for day, then in kept:
        view = await ada.services.forecasts.get(ada.principal, GetForecast(as_of=day, group_by="segment", **ask))
        assert view.kept_on == day
        assert told(view, "categories", "category", "expected") == added(then, "category", "expected")


# -- what a night keeps -------------------------------------------------------------------------------------


async def snapshots(store: Store, team: Team) -> list[dict[str, Any]]:
    return await rows_of(store, team.workspace, SNAPSHOTS, "on", "renewal_id")


async def test_a_second_night_of_the_day_changes_nothing_and_a_later_one_brings_it_up_to_date(
    store: Store, team: Team
) -> None:
    ada = await caller_of(team, "ada")
    account = await ada.opens("Globex")
    await signs(ada, account, 12_000_00, TODAY + timedelta(days=100), "USD")
    night = ada.in_run("run_1")
    async with unit(store, night.principal) as work:
        first = await ada.services.forecasts.snapshot(work, TODAY)
    kept = await snapshots(store, team)
    entries = await rows_of(store, team.workspace, RenewalRow.__table__)

    assert await ada.services.forecasts.keep_today(ada.principal) == first
    assert (first.renewals, await snapshots(store, team)) == (1, kept)
    assert await rows_of(store, team.workspace, RenewalRow.__table__) == entries, "keeping changes no record"
    told_ = UpdateRenewal(
        renewal=kept[0]["renewal_id"], expected_version=1, forecast_category=ForecastCategory.commit, reason="Yes"
    )
    await ada.do(told_)
    await ada.services.forecasts.keep_today(ada.principal)
    assert [row["category"] for row in await snapshots(store, team)] == ["commit"]


async def test_each_renewal_is_marked_once_at_each_milestone_even_after_missed_nights(store: Store, team: Team) -> None:
    ada = await caller_of(team, "ada")
    account = await ada.opens("Globex")
    await signs(ada, account, 100, TODAY + timedelta(days=125), "USD")
    clock = store.clock
    assert isinstance(clock, FixedClock)
    marks: dict[int, int | None] = {}
    for days in (0, 5, 1, 25, 10, 29, 29, 20):  # 125, 120, 119, 94, 84, 55, 26, 6 days before
        clock.advance(timedelta(days=days))
        await ada.services.forecasts.keep_today(ada.principal)
    for row in await snapshots(store, team):
        marks[(row["close_on"] - row["on"]).days] = row["milestone"]

    assert marks == {125: None, 120: 120, 119: None, 94: None, 84: 90, 55: 60, 26: 30, 6: None}


async def test_only_today_can_be_kept(store: Store, team: Team) -> None:
    ada = await caller_of(team, "ada")
    async with unit(store, ada.principal) as work:
        with pytest.raises(Invalid, match="cannot be kept: today is 2026-03-16"):
            await ada.services.forecasts.snapshot(work, TODAY - timedelta(days=1))
