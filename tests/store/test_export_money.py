"""How revenue is counted, rates, targets, goals and costs leave with the rest and give the same figures elsewhere."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from import_desk import USERS, Desk, of, open_desk

from conftest import SECRET
from cs_mcp.connectors.folder_writing import write_folder
from cs_mcp.db.store import open_store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.revenue.currency_rates import ExchangeRate
from cs_mcp.domain.revenue.targets import Goal
from cs_mcp.services.export import Exports
from cs_mcp.services.history.undo import UndoChanges
from cs_mcp.services.imports.report import State
from cs_mcp.services.metrics.metrics import GetMetrics
from cs_mcp.services.revenue.forecast import GetForecast
from cs_mcp.services.revenue.retention import GetRetention
from cs_mcp.services.wiring import Services

BOOK = {
    "users": USERS,
    "accounts": """\
    account_id,name,currency,segment,owner_email
    A1,Acme,USD,smb,ana@acme.example
    A2,Bolt,EUR,smb,ana@acme.example
    A3,Yama,JPY,enterprise,
""",
    "subscriptions": """\
    subscription_id,account_id,product,starts_on,ends_on,arr
    S1,A1,Pro,2024-01-01,2025-06-30,1000
    S2,A1,Pro,2025-07-11,2026-06-30,1200
    S3,A2,Pro,2024-01-01,2026-05-31,900.50
    S4,A3,Pro,2024-05-01,,250000
    S5,A3,Add-on,2025-05-01,2025-09-30,50000
""",
    "settings": """\
    name,value
    reactivation_gap_days,10
    netting,none
    odds_unknown,0.75
    gross_margin,0.7
""",
    "fx_rates": "on,currency,rate\n    2024-01-01,EUR,1.1\n    2025-06-01,EUR,1.2345678\n    2024-01-01,JPY,0.0065",
    "targets": """\
    target_id,metric,value,amount,currency,segment,from_on,to_on,owner_email
    T1,nrr,1.05,,,,2025-01-01,,kim@acme.example
    T2,grr,0.9,,,smb,2025-01-01,2026-12-31,
    T3,clv,,250000,JPY,,2025-01-01,,
""",
    "goals": """\
    goal_id,metric,quarter_start,value,amount,currency,subject,user_email
    G1,grr,2026-01-01,0.95,,,,ana@acme.example
    G2,expansion_arr,2026-01-01,,10000.50,,team,
""",
    "cs_costs": """\
    on,amount,currency,user_email,account_id,note
    2026-01-10,9000,,ana@acme.example,,Salary
    2026-01-20,9000,,ana@acme.example,,Salary
    2026-02-15,500.50,EUR,,,
""",
}  # fmt: skip


@pytest.fixture
async def desk(services: Services, tmp_path: Path) -> Desk:
    desk = await open_desk(services, tmp_path)
    desk.write(**BOOK)
    return desk


@pytest.fixture
async def elsewhere(store_kind: str, request: pytest.FixtureRequest, tmp_path: Path, clock: FixedClock) -> Any:
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}" if store_kind == "sqlite" else request.getfixturevalue("store_url")
    opened = await open_store(url, clock=clock)
    (tmp_path / "there").mkdir()
    yield await open_desk(Services(opened, SECRET), tmp_path / "there")
    await opened.close()


async def figures(desk: Desk) -> dict[str, Any]:
    """What the book's people are told, without the ids that are each store's own."""
    services, who = desk.services, desk.principal
    year = GetRetention(period_start=date(2025, 1, 1), period_end=date(2025, 12, 31), currency="EUR")
    views: dict[str, Any] = {
        "retention": await services.retentions.get(who, year),
        "forecast": await services.forecasts.get(who, GetForecast()),
    }
    for metric in ("clv", "churn", "goals", "cs_return"):
        views[metric] = await services.metrics.get(who, GetMetrics(metric=metric))
    return {name: _without_ids(view.model_dump(mode="json")) for name, view in views.items()}


_ID = re.compile(r"\b[a-z]+_[0-9a-z]{16,}")


def _without_ids(told: Any) -> Any:
    if isinstance(told, str):
        return _ID.sub("", told)
    if isinstance(told, dict):
        return {name: _without_ids(value) for name, value in told.items() if name not in ("id", "ids")}
    return [_without_ids(one) for one in told] if isinstance(told, list) else told


async def test_figures_are_the_same_in_the_store_that_an_export_is_read_into(
    desk: Desk, elsewhere: Desk, tmp_path: Path
) -> None:
    assert {file.state for file in (await desk.run()).files} == {State.done}
    here = await figures(desk)
    assert here["retention"]["conventions"]["netting"] == "none"

    written = await write_folder(Exports(desk.store), desk.principal, tmp_path / "out")
    elsewhere.folder = tmp_path / "out"
    await elsewhere.run()

    assert (written.remarks, written.left_out) == ({}, [])
    named = {name: written.files[f"{name}.csv"] for name in ("settings", "fx_rates", "targets", "goals", "cs_costs")}
    assert named == {"settings": 4, "fx_rates": 3, "targets": 3, "goals": 2, "cs_costs": 2}
    assert await figures(elsewhere) == here
    assert (await elsewhere.run()).changed == 0


async def test_a_late_renewal_is_no_churn_where_the_company_says_so(desk: Desk) -> None:
    preview = await desk.run(preview=True)
    report = await desk.run()

    assert of(preview, "ledger").records == of(report, "ledger").records
    kinds = [row["kind"] for row in await desk.rows("arr_movement") if row["source_id"].startswith("ledger:A1:")]
    assert sorted(kinds) == ["churn", "expansion", "new"], "ten days without a contract are a late renewal"
    desk.write(settings="name,value\n    reactivation_gap_days,")
    await desk.run()
    live = [row for row in await desk.rows("arr_movement") if row["source_id"].startswith("ledger:A1:")]
    standing = [row["kind"] for row in live if row["amount_minor"] and not row["source_id"].endswith("#reversed")]
    assert "reactivation" in standing


async def test_a_setting_that_cannot_be_stops_its_file_and_an_undo_takes_settings_back(desk: Desk) -> None:
    desk.write(settings="name,value\n    netting,none\n    fx,daily\n    nettin,none")
    report = of(await desk.run(), "settings")
    assert [(one.line, one.reason.partition(".")[0]) for one in report.rejects] == [
        (3, "fx cannot be 'daily'"),
        (4, "No setting of revenue is called 'nettin'"),
    ]
    assert (await desk.store.workspace(desk.principal.workspace)).conventions is None

    desk.write(settings="name,value\n    netting,none")
    run = (await desk.run()).run_id
    assert (await desk.store.workspace(desk.principal.workspace)).revenue.retention.netting == "none"
    await desk.services.writes.perform(desk.principal, UndoChanges(run=run, reason="wrong company"))
    assert (await desk.store.workspace(desk.principal.workspace)).conventions is None


async def test_what_the_format_cannot_say_of_them_is_told(desk: Desk, tmp_path: Path) -> None:
    await desk.run()
    async with desk.store.unit_of_work(desk.principal, desk.act()) as work:
        rate = {"from_currency": "EUR", "to_currency": "JPY", "on": date(2025, 1, 1), "rate": "160"}
        work.exchange_rates.add(ExchangeRate(id=work.ids.new("exchange_rate"), **rate))
        [ana] = [member for member in await work.members.where() if member.email == "ana@acme.example"]
        kept = {"metric": "nrr", "quarter_start": date(2026, 1, 1), "value": 1.0, "user_id": ana.id}
        work.goals.add(Goal(id=work.ids.new("goal"), **kept))
        await work.flush()
        work.members.save(ana.changed(removed_at=work.now))

    written = await write_folder(Exports(desk.store), desk.principal, tmp_path / "out")

    assert written.remarks == {
        "exchange rates are not to the workspace's currency, and are left out": 1,
        "goals are of users who are gone, and are left out": 2,
        "costs are of users who are gone, and are told as costs of all": 1,
    }
