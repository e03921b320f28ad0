"""Exchange rates from a folder: kept once, corrected by their source, refused with the reason, used in figures."""

from __future__ import annotations

from pathlib import Path

import pytest
from import_desk import Desk, of, open_desk

from cs_mcp.services.revenue.retention import GetRetention
from cs_mcp.services.wiring import Services

ACCOUNTS = """\
    account_id,name,currency
    A1,Acme,USD
    A2,Bolt,EUR
    A3,Yama,JPY
    A4,Kuwa,KWD
"""
MOVEMENTS = """\
    movement_id,account_id,on,kind,amount,currency
    M1,A1,2025-01-01,new,100.00,USD
    M2,A2,2025-01-01,new,100.00,EUR
    M3,A3,2025-01-01,new,10000,JPY
    M4,A4,2025-01-01,new,10.500,KWD
"""
RATES = """\
    on,currency,rate
    2024-06-01,EUR,1.10
    2024-06-01,JPY,0.0065
    2024-06-01,KWD,3.25
"""


@pytest.fixture
async def desk(services: Services, tmp_path: Path) -> Desk:
    desk = await open_desk(services, tmp_path)
    desk.write(accounts=ACCOUNTS, arr_movements=MOVEMENTS, fx_rates=RATES)
    return desk


async def opening(desk: Desk, currency: str | None = None) -> str:
    question = GetRetention.model_validate({"period_start": "2025-02-01", "currency": currency}, strict=False)
    view = await desk.services.retentions.get(desk.principal, question)
    return f"{view.total.starting_arr} {view.currency}"


async def test_figures_of_four_currencies_are_told_in_one(desk: Desk) -> None:
    report = of(await desk.run(), "fx_rates")
    assert (report.records.created, report.skipped) == (3, 0)
    # 100 + 110 + 65 + 34.125, and half a cent goes to the even one
    assert await opening(desk) == "309.12 USD"
    assert await opening(desk, "JPY") == "47558 JPY"
    assert await opening(desk, "KWD") == "95.115 KWD"

    assert of(await desk.run(), "fx_rates").records.unchanged == 3
    desk.write(fx_rates=RATES.replace("1.10", "1.20"))
    assert of(await desk.run(), "fx_rates").records.updated == 1
    assert await opening(desk) == "319.12 USD"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("2024-06-01,USD,1.0", "is the workspace's own"),
        ("2024-06-01,EUR,-1", "is not above zero"),
        ("2024-06-01,XXX,1", "XXX"),
    ],
)
async def test_a_rate_that_cannot_be_is_refused_with_the_reason(desk: Desk, row: str, why: str) -> None:
    desk.write(fx_rates=f"on,currency,rate\n    {row}\n")
    report = of(await desk.run(), "fx_rates")
    assert report.records.created == 0
    assert why in str(report.rejects)
