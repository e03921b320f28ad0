"""Renewals in the store: they open with their subscriptions, and closing them keeps account and ledger together."""

from __future__ import annotations

import random
import sqlite3
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from book import Desk as Caller
from book import desk as caller_of
from book import rows_of, unit
from import_desk import ACCOUNTS, SUBSCRIPTIONS, TODAY, Desk, of, open_desk, warned
from sqlalchemy import event

from conftest import Team
from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.bulk import bulk_create
from cs_mcp.db.renewals.renewals import RenewalRow
from cs_mcp.db.revenue.subscriptions import ArrMovementRow, SubscriptionRow
from cs_mcp.db.store import Store
from cs_mcp.domain.contract import Amount
from cs_mcp.domain.errors import CustomerSuccessError
from cs_mcp.domain.renewals.renewals import LossReason, RenewalStage
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind, Subscription
from cs_mcp.services.history.undo import UndoChanges
from cs_mcp.services.imports.report import Looks
from cs_mcp.services.renewals.closing import MoveRenewal
from cs_mcp.services.renewals.cycles import Opened, open_due
from cs_mcp.services.renewals.renewals import ListRenewals, UpdateRenewal
from cs_mcp.services.renewals.views import RenewalPage
from cs_mcp.services.wiring import Services

# S1 and S2 are Globex's, S3 is over, S4 a trial.
PLANS = "".join(
    f"{line},{notice}\n"
    for line, notice in zip(SUBSCRIPTIONS.splitlines(), ["notice_days", "60", "", "", "30"], strict=True)
)


@pytest.fixture
async def desk(services: Services, tmp_path: Path) -> Desk:
    return await open_desk(services, tmp_path)


async def renewals(desk: Desk) -> dict[str, dict[str, Any]]:
    """Live renewals by the source id of their subscription."""
    names = {row["id"]: row["source_id"] or row["starts_on"] for row in await desk.rows("subscription")}
    return {str(names[row["subscription_id"]]): row for row in await desk.rows("renewal") if row["removed_at"] is None}


async def closed(desk: Desk, renewal: str, stage: RenewalStage, **more: Any) -> Any:
    [row] = [row for row in await desk.rows("renewal") if row["id"] == renewal]
    move = MoveRenewal(renewal=renewal, expected_version=row["version"], stage=stage, **more)
    return await desk.services.writes.perform(desk.principal, move)


# -- opening ------------------------------------------------------------------------------------------------


async def test_an_import_opens_a_renewal_for_each_live_subscription_once(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, subscriptions=PLANS)

    report = await desk.run()

    found = await renewals(desk)
    assert {
        key: (str(row["closes_on"]), str(row["notice_deadline_on"]), row["amount_minor"], row["stage"], row["owner_id"])
        for key, row in found.items()
    } == {
        "S1": ("2026-12-31", "2026-11-01", 12_000_50, "not_started", None),
        "S2": ("2026-06-30", "2026-06-30", 3_000_00, "not_started", None),
    }
    assert of(report, "ledger").others["renewal"].created == 2
    again = await desk.run()
    assert again.changed == 0
    assert await renewals(desk) == found


async def test_a_renewal_follows_its_source_until_somebody_works_on_it(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, subscriptions=PLANS)
    await desk.run()
    before = await renewals(desk)
    update = UpdateRenewal(renewal=before["S2"]["id"], expected_version=1, closes_on=date(2026, 6, 1))
    await desk.services.writes.perform(desk.principal, update)
    later = PLANS.replace("2026-12-31,12000.50", "2027-12-31,15000").replace("2026-06-30,3000", "2026-08-31,3000")
    desk.write(subscriptions=later)

    await desk.run()

    after = await renewals(desk)
    assert {key: row["id"] for key, row in after.items()} == {key: row["id"] for key, row in before.items()}
    assert {
        key: (str(row["closes_on"]), str(row["notice_deadline_on"]), row["amount_minor"]) for key, row in after.items()
    } == {"S1": ("2027-12-31", "2027-11-01", 15_000_00), "S2": ("2026-06-01", "2026-08-31", 3_000_00)}
    assert (await desk.run()).changed == 0


async def test_what_the_source_cancels_is_not_renewed_unless_somebody_works_on_it(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, subscriptions=PLANS)
    await desk.run()
    before = await renewals(desk)
    update = UpdateRenewal(renewal=before["S2"]["id"], expected_version=1, decision_criteria=["Price"])
    await desk.services.writes.perform(desk.principal, update)
    header, *lines = PLANS.splitlines()
    canceled = [f"{line},{'' if line.startswith(('S3', 'S4')) else '2026-04-01'}" for line in lines]
    desk.write(subscriptions="\n".join([f"{header},canceled_on", *canceled]) + "\n")

    report = await desk.run()

    assert of(report, "ledger").others["renewal"].removed == 1
    assert set(await renewals(desk)) == {"S2"}
    assert (await desk.run()).changed == 0
    desk.write(subscriptions=f"{header},canceled_on\n" + "".join(f"{line},\n" for line in lines))
    await desk.run()
    assert {key: row["id"] for key, row in (await renewals(desk)).items()} == {k: r["id"] for k, r in before.items()}


async def test_an_undone_import_opens_the_same_renewals_again(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, subscriptions=PLANS)
    report = await desk.run()
    before = await renewals(desk)
    await desk.services.writes.perform(desk.principal, UndoChanges(run=report.run_id))
    assert await renewals(desk) == {}

    again = await desk.run()

    assert of(again, "ledger").others["renewal"].restored == 2
    assert {key: row["id"] for key, row in (await renewals(desk)).items()} == {k: r["id"] for k, r in before.items()}


async def test_somebodys_own_renewal_of_a_term_wins(store: Store, team: Team) -> None:
    ana = await caller_of(team, "ana")
    account = await ana.opens("Globex", owner="me")
    async with unit(store, ana.principal) as work:
        bought = Subscription(
            id=work.ids.new("subscription"), account_id=account, starts_on=TODAY, ends_on=date(2026, 9, 30),
            arr_minor=100, currency="USD",
        )  # fmt: skip
        work.subscriptions.add(bought)
        await work.flush()
        name = {"source_system": "crm", "source_id": "R1", "stage": "discovery"}
        lists = {key: [] for key in ("decision_criteria", "procurement_steps", "risks", "options", "concessions")}
        own = {"account_id": account, "amount_minor": 90, "currency": "USD", "closes_on": date(2026, 9, 30)}
        await bulk_create(work, RenewalRow, [{"id": work.ids.new("renewal")} | name | lists | own])

        assert await open_due(work) == Opened(unchanged=1)


async def test_a_rolling_subscription_opens_its_next_term_once_the_last_is_closed(store: Store, team: Team) -> None:
    ana = await caller_of(team, "ana")
    account = await ana.opens("Globex", owner="me")
    await signs(ana, account, arr=100, ends=None, starts_on=date(2025, 4, 1), term_months=12)
    [row] = (await listed(ana)).items
    assert row.closes_on == date(2026, 3, 31)

    won = await moves(ana, row.id, RenewalStage.closed_won, reason="Rolls on")

    [following] = (await listed(ana)).items
    assert following.closes_on == date(2027, 3, 31)
    assert len(await rows_of(store, team.workspace, SubscriptionRow.__table__)) == 1
    # Taken back and done again, the same term has the same renewal.
    await ana.undoes(won.change_id)
    assert [row.id for row in (await listed(ana)).items] == [row.id]
    await moves(ana, row.id, RenewalStage.closed_won, reason="Rolls on after all")
    assert [row.id for row in (await listed(ana)).items] == [following.id]


# -- closing on an imported ledger, which books every end ahead ---------------------------------------------


async def ledger_of(desk: Desk, key: str = "A1") -> dict[date, int]:
    """ARR by the days on which it changes."""
    account = (await desk.by_source("account"))[key]["id"]
    steps: dict[date, int] = {}
    for row in await desk.rows("arr_movement"):
        if row["account_id"] == account and row["removed_at"] is None:
            on = date.fromisoformat(str(row["on"]))
            steps[on] = steps.get(on, 0) + row["amount_minor"]
    total, levels = 0, dict[date, int]()
    for on in sorted(steps):
        total += steps[on]
        levels[on] = total
    return levels


async def test_a_win_takes_back_the_end_that_an_import_booked_and_books_the_next(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, subscriptions=PLANS)
    await desk.run()
    found = await renewals(desk)

    await closed(
        desk, found["S1"]["id"], RenewalStage.closed_won, reason="Signed", amount=Amount(amount="20000", currency="USD")
    )
    await closed(desk, found["S2"]["id"], RenewalStage.closed_lost, loss_reason=LossReason.price)

    assert await ledger_of(desk) == {
        date(2025, 1, 1): 12_000_50,
        date(2025, 7, 1): 15_000_50,
        date(2026, 7, 1): 12_000_50,
        date(2027, 1, 1): 20_000_00,
        date(2029, 1, 1): 0,
    }
    movements = await desk.rows("arr_movement")
    reasons = {row["source_id"]: row["reason"] for row in movements if row["source_id"]}
    assert reasons["ledger:A1:2026-07-01:contraction"] == "price"
    ahead = [row["reason"] for row in movements if row["note"] == "The end of contract, booked ahead."]
    assert ahead == [None], "why it was won does not explain an end that is still to come"
    # The same export again contradicts nothing of it.
    levels, subscriptions = await ledger_of(desk), await renewals(desk)
    report = await desk.run()
    assert Looks.ledger_by_hand not in warned(report)
    assert (await ledger_of(desk), await renewals(desk)) == (levels, subscriptions)


# -- whatever is won, lost and undone -----------------------------------------------------------------------


async def signs(ana: Caller, account: str, arr: int, ends: date | None, **fields: Any) -> str:
    told: dict[str, Any] = {"starts_on": TODAY - timedelta(days=200)} | fields
    async with unit(ana.services.store, ana.principal) as work:
        bought = Subscription(
            id=work.ids.new("subscription"), account_id=account, ends_on=ends, arr_minor=arr, currency="USD", **told
        )
        work.subscriptions.add(bought)
        work.movements.add(
            ArrMovement(
                id=work.ids.new("arr_movement"), account_id=account, subscription_id=bought.id, on=bought.starts_on,
                kind=MovementKind.new, amount_minor=arr, currency="USD",
            )
        )  # fmt: skip
        await work.flush()
        await open_due(work)
        return bought.id


async def listed(ana: Caller, **asked: Any) -> RenewalPage:
    return await ana.services.renewals.list(ana.principal, ListRenewals(**{"fields": ["version", "arr"]} | asked))


async def moves(ana: Caller, renewal: str, stage: RenewalStage, **more: Any) -> Any:
    found = await listed(ana, renewal=renewal)
    [row] = found.items
    assert row.version is not None
    return await ana.do(MoveRenewal(renewal=renewal, expected_version=row.version, stage=stage, **more))


@pytest.mark.parametrize("seed", range(4))
async def test_an_accounts_arr_is_its_ledgers_whatever_is_won_lost_and_undone(
    store: Store, team: Team, seed: int
) -> None:
    ana, dice = await caller_of(team, "ana"), random.Random(seed)
    account = await ana.opens("Globex", owner="me")
    for _ in range(3):
        ends = TODAY + timedelta(days=dice.randint(0, 5))
        await signs(ana, account, arr=dice.randint(1, 9) * 1_000, ends=ends, term_months=dice.choice([None, 1, 12]))
    done: list[str] = []
    for _ in range(14):
        # Days pass, so that ends and starts of terms come into effect between the writes.
        store.clock.advance(timedelta(days=dice.randint(0, 6)))  # type: ignore[attr-defined]
        open_now = (await listed(ana)).items
        try:
            if done and dice.random() < 0.3:
                await ana.undoes(done.pop())
            elif open_now:
                row = dice.choice(open_now)
                if dice.random() < 0.3:
                    answer = await moves(ana, row.id, RenewalStage.closed_lost, loss_reason=LossReason.price)
                else:
                    amount = Amount(amount=str(dice.randint(1, 90)), currency="USD")
                    answer = await moves(ana, row.id, RenewalStage.closed_won, amount=amount, reason="r")
                done.append(answer.change_id)
        except CustomerSuccessError as refused:
            assert "Nothing could be undone" in str(refused)
        today = store.clock.now().date()
        async with unit(store, ana.principal) as work:
            ledger = await work.movements.of_account(account)
            subscriptions = await work.subscriptions.where(SubscriptionRow.account_id == account)
            open_ones = {renewal.subscription_id for renewal in await work.renewals.open_of_account(account)}
        [row] = await rows_of(store, team.workspace, AccountRow.__table__)
        if ledger and max(movement.on for movement in ledger) <= today:
            assert row["arr_minor"] == sum(movement.amount_minor for movement in ledger)
        for day in {today, *(s.starts_on for s in subscriptions), today + timedelta(days=4_000)}:
            live = sum(
                s.arr_minor
                for s in subscriptions
                if s.starts_on <= day and (s.canceled_on is None or day < s.canceled_on)
                and (s.ends_on is None or day <= s.ends_on or (s.canceled_on is None and s.id in open_ones))
            )  # fmt: skip
            assert sum(movement.amount_minor for movement in ledger if movement.on <= day) == live, (seed, day)
    assert min(_levels(await rows_of(store, team.workspace, ArrMovementRow.__table__))) >= 0


def _levels(movements: list[dict[str, Any]]) -> list[int]:
    live = [row for row in movements if row["removed_at"] is None]
    return [sum(row["amount_minor"] for row in live if row["on"] <= day) for day in {row["on"] for row in live}]


# -- how it is read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("store_kind", ["sqlite"])
async def test_a_page_walks_the_index_of_close_days_and_goes_on_in_it(store: Store, team: Team) -> None:
    ada = await caller_of(team, "ada")
    account = await ada.opens("Globex")
    shape = {"account_id": account, "starts_on": TODAY, "arr_minor": 5, "currency": "USD", "trial": False}
    async with unit(store, ada.principal) as work:
        sold = [
            shape | {"id": work.ids.new("subscription"), "ends_on": TODAY + timedelta(days=n % 300)}
            for n in range(2_000)
        ]
        await bulk_create(work, SubscriptionRow, sold)
        await open_due(work)
    ran: list[str] = []
    reads: Any = store.reads
    event.listen(reads._engine, "checkout", lambda driver, _record, _proxy: driver.set_trace_callback(ran.append))

    seen: list[str] = []
    page = await listed(ada, limit=200, budget_tokens=20_000)
    while True:
        seen += [row.id for row in page.items]
        if page.next_cursor is None:
            break
        page = await listed(ada, limit=200, budget_tokens=20_000, cursor=page.next_cursor)

    assert len(seen) == len(set(seen)) == 2_000
    connection = sqlite3.connect(store.where.path)
    pages = [statement for statement in ran if "ORDER BY renewal.closes_on, renewal.id" in statement]
    for statement in (*pages[:3], *pages[-3:]):
        plan = [line[3] for line in connection.execute(f"explain query plan {statement}")]
        walks = [line for line in plan if line.startswith("SEARCH renewal")]
        assert walks
        assert all("ix_renewal_closes" in line for line in walks), plan
        # The page, once found, may be put in order again: some rows, not the book.
        assert sum("TEMP B-TREE FOR ORDER BY" in line for line in plan) <= ("page.closes_on" in statement), plan
    assert "closes_on>" in next(line for line in plan if line.startswith("SEARCH renewal"))
    connection.close()
