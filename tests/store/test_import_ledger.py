"""What an import makes of subscriptions and movements: the ledger, currencies, segments, renewal dates."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from import_desk import (
    ACCOUNTS,
    SUBSCRIPTIONS,
    TODAY,
    Desk,
    counts,
    of,
    open_desk,
    warned,
)

from cs_mcp.domain.accounts.accounts import Account
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind
from cs_mcp.services.history.undo import UndoChanges
from cs_mcp.services.imports.report import Looks, State
from cs_mcp.services.wiring import Services


@pytest.fixture
async def desk(services: Services, tmp_path: Path) -> Desk:
    return await open_desk(services, tmp_path)


async def test_the_ledger_is_derived_from_the_subscriptions(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, subscriptions=SUBSCRIPTIONS)

    await desk.run()

    ledger = {
        key: (str(row["on"]), row["kind"], row["amount_minor"])
        for key, row in (await desk.by_source("arr_movement")).items()
    }
    assert ledger == {
        "ledger:A1:2025-01-01:new": ("2025-01-01", "new", 12_000_50),
        "ledger:A1:2025-07-01:expansion": ("2025-07-01", "expansion", 3_000_00),
        "ledger:A1:2026-07-01:contraction": ("2026-07-01", "contraction", -3_000_00),
        "ledger:A1:2027-01-01:churn": ("2027-01-01", "churn", -12_000_50),
        "ledger:A2:2025-01-01:new": ("2025-01-01", "new", 250_000_00),
        "ledger:A2:2026-01-01:churn": ("2026-01-01", "churn", -250_000_00),
    }


async def test_a_changed_subscription_is_posted_by_reversing_entries(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, subscriptions=SUBSCRIPTIONS)
    await desk.run()
    first = await desk.by_source("arr_movement")
    desk.write(subscriptions=SUBSCRIPTIONS.replace("12000.50", "15000"))

    report = await desk.run()

    ledger = await desk.by_source("arr_movement")
    assert {key: ledger[key] for key in first} == first  # not one entry was edited
    added = {key: row["amount_minor"] for key, row in ledger.items() if key not in first}
    assert added == {
        "ledger:A1:2025-01-01:new#reversed": -12_000_50,
        "ledger:A1:2025-01-01:new#2": 15_000_00,
        "ledger:A1:2027-01-01:churn#reversed": 12_000_50,
        "ledger:A1:2027-01-01:churn#2": -15_000_00,
    }
    assert report.changed == 1 + 4 + 1  # the subscription, the ledger, the renewal that follows it
    assert await desk.arr() == {"A1": 18_000_00, "A2": 0}
    assert (await desk.run()).changed == 0

    desk.write(subscriptions=SUBSCRIPTIONS)
    await desk.run()

    assert await desk.arr() == {"A1": 15_000_50, "A2": 0}
    assert "ledger:A1:2025-01-01:new#3" in await desk.by_source("arr_movement")
    assert (await desk.run()).changed == 0


async def test_undoing_a_correction_lets_the_first_entries_stand_again(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, subscriptions=SUBSCRIPTIONS)
    await desk.run()
    desk.write(subscriptions=SUBSCRIPTIONS.replace("12000.50", "15000"))
    second = await desk.run()
    await desk.services.writes.perform(desk.principal, UndoChanges(run=second.run_id, reason="wrong file"))
    assert await desk.arr() == {"A1": 15_000_50, "A2": 0}

    third = await desk.run()

    assert await desk.arr() == {"A1": 18_000_00, "A2": 0}
    assert of(third, "ledger").records.restored == 4
    assert (await desk.run()).changed == 0


MOVEMENTS = """\
    movement_id,account_id,on,kind,amount,currency,subscription_id,note
    V1,A1,2025-01-01,new,1000,,S1,signed
    V2,A1,2025-06-01,expansion,500.25,USD,S9,
    V3,A2,2025-02-01,new,40,USD,,
"""


async def test_movements_of_a_file_are_the_ledger(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, subscriptions=SUBSCRIPTIONS, arr_movements=MOVEMENTS)

    report = await desk.run()

    assert await desk.arr() == {"A1": 1500_25, "A2": 40_00}
    assert counts(of(report, "ledger")) == (0, 0, 0, 0)
    assert warned(report)[Looks.unknown_record] == 1
    assert (await desk.run()).changed == 0

    desk.write(arr_movements=MOVEMENTS.replace("500.25", "700").replace("signed", "signed late"))
    second = await desk.run()

    assert counts(of(second, "arr_movements")) == (0, 2, 0, 1)
    assert await desk.arr() == {"A1": 1700_00, "A2": 40_00}
    ledger = await desk.by_source("arr_movement")
    assert {key: row["amount_minor"] for key, row in ledger.items() if key.startswith("V2")} == {
        "V2": 500_25, "V2#reversed": -500_25, "V2#2": 700_00,
    }  # fmt: skip
    assert ledger["V1"]["note"] == "signed late"
    assert (await desk.run()).changed == 0


async def test_a_derived_ledger_gives_way_to_a_told_one_and_stays_away(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, subscriptions=SUBSCRIPTIONS)
    await desk.run()
    desk.write(arr_movements=MOVEMENTS)

    await desk.run()

    assert await desk.arr() == {"A1": 1500_25, "A2": 40_00}
    desk.drop("arr_movements")
    assert (await desk.run()).changed == 0


async def test_a_ledger_kept_by_hand_is_left_alone_and_said(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, subscriptions=SUBSCRIPTIONS)
    await desk.run()
    account = (await desk.by_source("account"))["A1"]["id"]
    async with desk.store.unit_of_work(desk.principal, desk.act()) as work:
        work.movements.add(
            ArrMovement(
                id=work.ids.new("arr_movement"), account_id=account, on=TODAY, kind=MovementKind.expansion,
                amount_minor=100_00, currency="USD",
            )
        )  # fmt: skip
    assert (await desk.run()).changed == 0
    desk.write(subscriptions=SUBSCRIPTIONS.replace("12000.50", "12100.50"))

    report = await desk.run()

    assert warned(report)[Looks.ledger_by_hand] == 1
    assert (await desk.arr())["A1"] == 15_100_50


async def test_what_a_person_set_survives_where_the_file_says_nothing(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, subscriptions=SUBSCRIPTIONS)
    await desk.run()
    account = (await desk.by_source("account"))["A1"]["id"]
    async with desk.store.unit_of_work(desk.principal, desk.act()) as work:
        found: Account = await work.accounts.get(account)
        work.accounts.save(found.changed(segment="enterprise", touch="high", renewal_on=date(2026, 9, 1)))

    report = await desk.run()

    assert report.changed == 0
    kept = (await desk.by_source("account"))["A1"]
    assert (kept["segment"], kept["touch"], str(kept["renewal_on"])) == ("enterprise", "high", "2026-09-01")


async def test_a_told_segment_brings_its_touch(desk: Desk) -> None:
    desk.write(accounts="account_id,name,segment\n    A1,Globex,Mid-Market\n    A2,Initech,")
    await desk.run()
    assert {key: (row["segment"], row["touch"]) for key, row in (await desk.by_source("account")).items()} == {
        "A1": ("mid_market", "mid"), "A2": ("smb", "low"),
    }  # fmt: skip
    desk.write(accounts="account_id,name,segment\n    A1,Globex,enterprise\n    A2,Initech,")

    await desk.run()

    assert (await desk.by_source("account"))["A1"]["touch"] == "high"


@pytest.mark.parametrize(
    ("currency", "amount", "minor"), [("JPY", "120000", 120_000), ("KWD", "1234.567", 1_234_567), ("USD", "0.10", 10)]
)
async def test_money_is_kept_in_the_currencys_own_minor_units(
    desk: Desk, currency: str, amount: str, minor: int
) -> None:
    desk.write(
        accounts=f"account_id,name,currency\n    A1,Globex,{currency}",
        subscriptions=f"subscription_id,account_id,starts_on,arr\n    S1,A1,2025-01-01,{amount}",
    )

    report = await desk.run()

    assert await desk.arr() == {"A1": minor}
    assert (Looks.no_rate in warned(report)) == (currency != "USD")
    assert (await desk.by_source("account"))["A1"]["segment"] == "smb"


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "100.5"), ("USD", "1.005"), ("KWD", "999999999999999")])
async def test_an_amount_the_currency_cannot_hold_is_refused(desk: Desk, currency: str, amount: str) -> None:
    desk.write(
        accounts=f"account_id,name,currency\n    A1,Globex,{currency}",
        subscriptions=f"subscription_id,account_id,starts_on,arr\n    S1,A1,2025-01-01,{amount}",
    )

    report = await desk.run()

    assert of(report, "subscriptions").rejects[0].reason.startswith("arr: ")
    assert of(report, "ledger").state is State.not_reached


async def test_an_account_takes_the_currency_of_its_subscriptions(desk: Desk) -> None:
    desk.write(
        accounts="account_id,name,currency\n    A1,Globex,\n    A2,Initech,GBP\n    A3,Hooli,",
        subscriptions="""\
    subscription_id,account_id,starts_on,arr,currency
    S1,A1,2025-01-01,100,EUR
    S2,A1,2025-02-01,100,
    S3,A2,2025-01-01,100,EUR
    S4,A2,2025-01-01,70,GBP
    S5,A3,2025-01-01,5,EUR
    S6,A3,2025-01-01,6,USD
""",
    )

    report = await desk.run()

    assert {k: (r["currency"], r["arr_minor"]) for k, r in (await desk.by_source("account")).items()} == {
        "A1": ("EUR", 200_00), "A2": ("GBP", 70_00), "A3": ("USD", 6_00),
    }  # fmt: skip
    assert warned(report)[Looks.no_rate] == 2 + 2  # A1 and A2 against the workspace; S3 and S5 against their accounts
    assert (await desk.run()).changed == 0
