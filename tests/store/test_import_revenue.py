"""What an import refuses about money, with what to put right, and what it takes with a warning."""

from __future__ import annotations

from pathlib import Path

import pytest
from import_desk import Desk, of, open_desk, warned

from cs_mcp.services.imports.report import ImportReport, Looks, State
from cs_mcp.services.wiring import Services

ACCOUNTS = "account_id,name,currency\n    A1,Globex,USD\n    A2,Initech,USD"
SUBSCRIPTIONS = "subscription_id,account_id,product,starts_on,ends_on,arr,currency"
MOVEMENTS = "movement_id,account_id,on,kind,amount,currency"


@pytest.fixture
async def desk(services: Services, tmp_path: Path) -> Desk:
    desk = await open_desk(services, tmp_path)
    desk.write(accounts=ACCOUNTS)
    return desk


def sheet(header: str, *rows: str) -> str:
    return "\n    ".join((header, *rows))


def examples(report: ImportReport, kind: Looks) -> list[str]:
    return next((warning.examples for warning in report.warnings if warning.kind is kind), [])


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        ("subscriptions", "S9,A1,Pro,2025-01-01,2024-12-31,10,", "ends_on: 2024-12-31 is before starts_on 2025-01-01"),
        ("subscriptions", "S9,A1,Pro,2025-01-01,,-10,", "arr: '-10' is below zero"),
        ("subscriptions", "S9,A1,Pro,2025-01-01,,10,XYZ", "currency: 'XYZ' is not a currency of ISO 4217"),
        ("arr_movements", "V9,A1,2025-01-01,new,10,XYZ", "currency: 'XYZ' is not a currency of ISO 4217"),
        ("arr_movements", "V9,A1,2025-02-01,new,10,EUR", "currency: the ledger of A1 is in USD, this movement in EUR"),
        ("arr_movements", "V9,A1,2025-02-01,contraction,-150,", "amount: with it the ARR of the account is -50.00 USD"),
        ("arr_movements", "V9,A1,2024-12-31,churn,-100,", "on 2024-12-31; correct the amount or the day"),
        ("arr_movements", "V9,A2,2025-02-01,new,-10,", "ARR of the account is -10.00 USD on 2025-02-01"),
        (
            "arr_movements",
            "V9,A1,2025-02-01,churn,100,",
            "churn of 100 adds ARR, and takes back no other of the account",
        ),
        ("arr_movements", "V9,A1,2025-02-01,contraction,20,", "contraction of 20 adds ARR"),
        ("arr_movements", "V9,A1,2025-02-01,contraction,20,", "; tell it as -20"),
        (
            "arr_movements",
            "V9,A1,2025-02-01,expansion,-20,",
            "expansion of -20 takes ARR away; tell it as a contraction",
        ),
    ],
)
async def test_what_cannot_be_is_refused_with_its_line_and_nothing_is_posted(
    desk: Desk, kind: str, row: str, reason: str
) -> None:
    good = "S1,A1,Pro,2025-01-01,,100," if kind == "subscriptions" else "V1,A1,2025-01-01,new,100,"
    desk.write(**{kind: sheet(SUBSCRIPTIONS if kind == "subscriptions" else MOVEMENTS, good, row)})

    report = await desk.run()

    file = of(report, kind)
    [rejected] = file.rejects
    assert (file.state, rejected.line) == (State.stopped, 3)
    assert reason in rejected.reason
    assert (await desk.rows("arr_movement"), await desk.rows("subscription")) == ([], [])
    assert set((await desk.arr()).values()) == {0}


async def test_a_ledger_below_zero_is_taken_with_a_warning_where_one_goes_on(desk: Desk) -> None:
    desk.write(arr_movements=sheet(MOVEMENTS, "V1,A1,2025-01-01,new,100,", "V2,A1,2025-02-01,churn,-150,"))

    report = await desk.run(keep_going=True)

    assert examples(report, Looks.below_zero) == [
        (
            "V2: amount: with it the ARR of the account is -50.00 USD on 2025-02-01; correct the amount or the day, or "
            "tell the movement that came before it"
        )
    ]
    assert (await desk.arr())["A1"] == -50_00


async def test_a_sign_that_contradicts_its_kind_is_a_correction_where_it_takes_one_back(desk: Desk) -> None:
    rows = ["V1,A1,2025-01-01,new,100,", "V2,A1,2025-02-01,churn,-100,", "V3,A1,2025-02-01,churn,100,"]
    desk.write(arr_movements=sheet(MOVEMENTS, *rows))

    report = await desk.run()

    assert (of(report, "arr_movements").state, (await desk.arr())["A1"]) == (State.done, 100_00)
    assert examples(report, Looks.sign) == ["V3: churn of 100, taken for a correction"]
    assert (await desk.run()).changed == 0

    desk.write(arr_movements=sheet(MOVEMENTS, rows[0], "V2,A1,2025-02-01,churn,40,"))
    goes_on = await desk.run(keep_going=True)
    assert examples(goes_on, Looks.sign) == [
        "V2: amount: churn of 40 adds ARR, and takes back no other of the account; tell it as -40"
    ]


async def test_one_days_movements_count_together_and_a_correction_may_come_in_any_order(desk: Desk) -> None:
    rows = ["V2,A1,2025-02-01,churn,-150,", "V3,A1,2025-02-01,expansion,50,", "V1,A1,2025-01-01,new,100,"]
    desk.write(arr_movements=sheet(MOVEMENTS, *rows))
    report = await desk.run()
    assert of(report, "arr_movements").state is State.done

    desk.write(arr_movements=sheet(MOVEMENTS, *rows[:2], "V1,A1,2025-01-01,new,80,"))
    report = await desk.run()

    [rejected] = of(report, "arr_movements").rejects
    assert (rejected.line, "-20.00 USD on 2025-02-01" in rejected.reason) == (2, True)
    assert len(await desk.rows("arr_movement")) == 3


async def test_overlapping_subscriptions_of_one_product_are_named_and_both_count(desk: Desk) -> None:
    desk.write(
        subscriptions=sheet(
            SUBSCRIPTIONS,
            "S1,A1,Pro,2025-01-01,2025-12-31,100,",
            "S2,A1,Pro,2025-11-01,2026-10-31,120,",
            "S3,A1,Add-on,2025-01-01,2026-12-31,10,",
            "S4,A2,Pro,2025-01-01,2025-12-31,100,",
            "S5,A2,Pro,2026-01-01,,120,",
            "S6,A2,,2025-01-01,,7,",
            "S7,A2,,2025-01-01,,7,",
        )
    )

    report = await desk.run()

    assert examples(report, Looks.overlap) == [
        (
            "S1 and S2 of account A1, Pro, 2025-11-01 to 2025-12-31: end one before the other starts, or leave out one "
            "that is there twice"
        )
    ]
    ledger = {
        str(row["on"]): row["amount_minor"] for row in await desk.rows("arr_movement") if "A1" in row["source_id"]
    }
    assert ledger == {
        "2025-01-01": 110_00, "2025-11-01": 120_00, "2026-01-01": -100_00, "2026-11-01": -120_00, "2027-01-01": -10_00,
    }  # fmt: skip


async def test_a_currency_is_without_a_rate_only_where_none_is_told(desk: Desk) -> None:
    desk.write(
        accounts="account_id,name,currency\n    A1,Globex,EUR\n    A2,Initech,JPY",
        subscriptions=sheet(SUBSCRIPTIONS, "S1,A1,Pro,2025-01-01,,95000,EUR", "S2,A2,Pro,2025-01-01,,95000,JPY"),
    )
    report = await desk.run()
    assert len(examples(report, Looks.no_rate)) == warned(report)[Looks.no_rate] == 2
    assert {row["segment"] for row in await desk.rows("account")} == {"smb"}

    desk.write(fx_rates="on,currency,rate\n    2024-06-01,EUR,1.10\n    2026-06-01,JPY,0.01")
    report = await desk.run()

    assert examples(report, Looks.no_rate) == ["account A2 is in JPY, the workspace in USD"]
    segments = {key: row["segment"] for key, row in (await desk.by_source("account")).items()}
    assert segments == {"A1": "enterprise", "A2": "smb"}, "104 500 USD; the rate of JPY begins after today"
