"""Opportunities of another system: taken once, followed, never taken back once won here, and exported as they came."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from import_desk import ACCOUNTS, SUBSCRIPTIONS, USERS, Desk, counts, of, open_desk, warned
from sqlalchemy import text

from conftest import SECRET
from cs_mcp.connectors.folder_writing import write_folder
from cs_mcp.db.store import Store, open_store
from cs_mcp.services.export import Exports
from cs_mcp.services.imports.report import Looks, State
from cs_mcp.services.opportunities.saving import SaveOpportunity
from cs_mcp.services.wiring import Services

HEADER = (
    "opportunity_id,account_id,name,kind,trigger,stage,amount,expected_on,closed_on,seats,hypothesis,lost_reason,"
    "owner_email,pilot_from,pilot_to,early_answer"
)
OPEN = "O1,A1,Twenty seats,seat,near_limit,negotiation,1200.50,2026-04-30,,20,They grow,,,2026-03-01,2026-03-31,yes"
WON = "O2,A1,Forecasts,cross_sell,,won,500,,2026-02-01,,,,,,,"
LOST = "O3,A2,Osaka,seat,new_department,lost,,,,,,No budget,,,,no"


def sheet(*rows: str) -> str:
    return "\n".join((HEADER, *rows))


@pytest.fixture
async def desk(services: Services, tmp_path: Path) -> Desk:
    desk = await open_desk(services, tmp_path)
    desk.write(users=USERS, accounts=ACCOUNTS, subscriptions=SUBSCRIPTIONS, opportunities=sheet(OPEN, WON, LOST))
    return desk


async def test_opportunities_are_taken_once_and_followed(desk: Desk) -> None:
    ledger = await _ledger_without(desk)
    report = await desk.run()

    assert counts(of(report, "opportunities")) == (3, 0, 0, 0)
    found = await desk.by_source("opportunity")
    one = found["O1"]
    assert (one["stage"], one["amount_minor"], one["seats"], one["early_answer"]) == ("negotiation", 120_050, 20, "yes")
    assert (str(one["expected_on"]), str(one["opened_on"])) == ("2026-04-30", "2026-03-16")
    assert (found["O2"]["movement_id"], str(found["O3"]["closed_on"])) == (None, "2026-03-16")
    assert len(await desk.rows("arr_movement")) == ledger, "the source's ledger tells what was won"
    head = len(await desk.rows("change"))
    assert not (await desk.run()).changed
    assert len(await desk.rows("change")) == head

    desk.write(opportunities=sheet(OPEN.replace("negotiation", "proposed"), WON, LOST))
    assert counts(of(await desk.run(), "opportunities")) == (0, 1, 0, 2)


async def _ledger_without(desk: Desk) -> int:
    """How many movements the same import posts without the opportunities; nothing stays of it."""
    desk.drop("opportunities")
    report = await desk.run(preview=True)
    desk.write(opportunities=sheet(OPEN, WON, LOST))
    return of(report, "ledger").records.created


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("O9,A9,Seats,seat,,,,,,,,,,,,", "account_id: no account is called 'A9'"),
        ("O9,A1,Seats,bundle,,,,,,,,,,,,", "kind: "),
        ("O9,A1,Seats,seat,,won,,,,,,,,,,", "amount: a won opportunity needs one"),
        ("O9,A1,Seats,seat,,won,5,,2026-05-01,,,,,,,", "closed_on: 2026-05-01 is in the future"),
        ("O9,A1,Seats,seat,,proposed,5,,2026-03-01,,,,,,,", "closed_on: 2026-03-01 goes with stage won or lost"),
        ("O9,A1,Seats,seat,,,-5,,,,,,,,,", "amount: "),
    ],
)
async def test_a_row_that_cannot_be_says_why_and_nothing_is_written(desk: Desk, row: str, reason: str) -> None:
    desk.write(opportunities=sheet(OPEN, row))
    file = of(await desk.run(), "opportunities")
    assert file.state is State.stopped
    [rejected] = file.rejects
    assert rejected.reason.startswith(reason)
    assert await desk.by_source("opportunity") == {}


async def test_what_was_won_here_stays_won_whatever_the_source_still_tells(desk: Desk) -> None:
    await desk.run()
    known = (await desk.by_source("opportunity"))["O1"]
    it = {"opportunity": known["id"], "expected_version": known["version"]}
    win = SaveOpportunity.model_validate(it | {"stage": "won", "product": "add-on", "reason": "Signed"})
    await desk.services.writes.perform(desk.principal, win)
    posted = len(await desk.rows("arr_movement"))

    desk.write(opportunities=sheet(OPEN.replace("Twenty seats", "20 seats"), WON, LOST))
    report = await desk.run()

    now = (await desk.by_source("opportunity"))["O1"]
    assert (now["stage"], now["name"], now["amount_minor"]) == ("won", "20 seats", 120_050)
    assert now["movement_id"] is not None
    assert warned(report)[Looks.won_here] == 1
    assert len(await desk.rows("arr_movement")) == posted


async def test_an_export_brings_them_into_another_store(desk: Desk, sqlite_template: Path, tmp_path: Path) -> None:
    await desk.run()
    written = await write_folder(Exports(desk.store), desk.principal, tmp_path / "out")
    assert (written.files["opportunities.csv"], written.remarks) == (3, {})

    shutil.copy(sqlite_template, tmp_path / "elsewhere.db")
    elsewhere = await open_store(f"sqlite:///{tmp_path / 'elsewhere.db'}", clock=desk.store.clock)
    try:
        (tmp_path / "elsewhere").mkdir()
        there = await open_desk(Services(elsewhere, SECRET), tmp_path / "elsewhere")
        there.folder = tmp_path / "out"
        await there.run()
        assert await _told(there.store, there) == await _told(desk.store, desk)
    finally:
        await elsewhere.close()


async def _told(store: Store, desk: Desk) -> list[dict[str, Any]]:
    columns = (
        "name, kind, trigger, stage, amount_minor, currency, seats, hypothesis, pilot_from, pilot_to, opened_on, "
        "expected_on, closed_on, early_answer, lost_reason, source_id"
    )
    async with store.unit_of_work(desk.principal, desk.act()) as work:
        found = await work.session.execute(
            text(f"select {columns} from opportunity where workspace = :w order by source_id"),
            {"w": desk.principal.workspace},
        )
        return [
            {name: None if value is None else str(value) for name, value in row.items()} for row in found.mappings()
        ]
