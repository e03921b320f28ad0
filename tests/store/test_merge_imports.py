"""Imports after a merge: nothing is recreated, and what the source tells of either record goes to the kept one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from book import Desk
from import_desk import ACCOUNTS, EVERYTHING, counts, of, open_desk
from import_desk import Desk as ImportDesk

from cs_mcp.services.accounts.merge import MergeRecords
from cs_mcp.services.history.changes import CommitPlan
from cs_mcp.services.history.undo import UndoChanges
from cs_mcp.services.wiring import Services

WHY = "One customer"


@pytest.fixture
async def source(services: Services, tmp_path: Path) -> ImportDesk:
    found = await open_desk(services, tmp_path)
    found.write(**EVERYTHING)
    await found.run()
    return found


async def merge(source: ImportDesk, kind: str, keep: str, gone: str) -> str:
    rows = await source.by_source(kind)
    command = MergeRecords(kind=kind, keep=rows[keep]["id"], merge=rows[gone]["id"], reason=WHY)  # type: ignore[arg-type]
    plan = await source.services.writes.perform(source.principal, command)
    done = await source.services.changes.decide(source.principal, CommitPlan(plan=plan.plan_id))
    return done.change_id


async def live(source: ImportDesk, table: str) -> dict[str, dict[str, Any]]:
    return {key: row for key, row in (await source.by_source(table)).items() if row["removed_at"] is None}


async def test_an_import_after_a_merge_recreates_nothing_and_all_it_tells_goes_to_the_kept_account(
    source: ImportDesk,
) -> None:
    await merge(source, "account", "A1", "A2")
    merged = {table: await source.by_source(table) for table in ("account", "contact", "subscription", "task")}

    again = await source.run()

    assert counts(of(again, "accounts"))[0] == 0
    assert set(await live(source, "account")) == {"A1"}
    kept = merged["account"]["A1"]["id"]
    for table in ("contact", "subscription", "task"):
        after = await source.by_source(table)
        assert {key: row["id"] for key, row in after.items()} == {k: row["id"] for k, row in merged[table].items()}
        assert {row["account_id"] for row in after.values()} == {kept}
    arr = (await source.by_source("account"))["A1"]["arr_minor"]
    assert arr == merged["account"]["A1"]["arr_minor"]
    # What the ledger says by subscriptions of one customer is stable from then on.
    ledger = await live(source, "arr_movement")
    quiet = await source.run()
    assert quiet.changed == 0
    assert await live(source, "arr_movement") == ledger


async def test_new_records_of_a_merged_account_come_to_the_kept_one(source: ImportDesk) -> None:
    await merge(source, "account", "A1", "A2")
    source.write(
        contacts=EVERYTHING["contacts"] + "    C9,A2,Nora New,nora@initech.example,primary,active,\n",
        subscriptions=EVERYTHING["subscriptions"] + "    S9,A2,More,2026-01-01,2026-12-31,1000,USD,,\n",
    )
    before = (await source.by_source("account"))["A1"]["arr_minor"]

    await source.run()

    kept = (await source.by_source("account"))["A1"]
    assert (await source.by_source("contact"))["C9"]["account_id"] == kept["id"]
    assert kept["arr_minor"] == before + 1_000_00


async def test_what_a_merge_filled_is_not_emptied_by_the_kept_ones_row(source: ImportDesk) -> None:
    source.write(accounts=ACCOUNTS.replace("Globex,Globex.example", "Globex,"))
    await source.run()
    await merge(source, "account", "A1", "A2")
    assert (await source.by_source("account"))["A1"]["domain"] == "initech.example"

    await source.run()

    kept = (await source.by_source("account"))["A1"]
    assert kept["domain"] == "initech.example"
    assert kept["parent_id"] is None  # its parent was the one that went into it


async def test_an_account_of_ours_takes_in_an_imported_one_and_its_ledger_goes_on(
    source: ImportDesk, services: Services
) -> None:
    ours = Desk(services, source.principal)
    kept = await ours.opens("Initech by hand")
    double = (await source.by_source("account"))["A2"]
    plan = await ours.do(MergeRecords(kind="account", keep=kept, merge=double["id"], reason=WHY))
    assert any("Later imports will not change the fields" in line for line in plan.would_trigger)
    await ours.commits(plan.plan_id)

    ended, goes_on = "S3,A2,Pro,2025-01-01,2025-12-31", "S3,A2,Pro,2025-01-01,"
    source.write(subscriptions=EVERYTHING["subscriptions"].replace(ended, goes_on))
    await source.run()

    assert (await ours.sees(kept)).arr.amount == "250000.00"
    assert (await ours.sees(double["id"])).id == kept
    assert set(await live(source, "account")) == {"A1"}
    assert (await source.run()).changed == 0


async def test_a_merged_contact_stays_one_and_keeps_seats_and_meetings(source: ImportDesk) -> None:
    await merge(source, "contact", "C1", "C2")
    before = await source.everything()

    again = await source.run()

    assert set(await live(source, "contact")) == {"C1"}
    kept = (await source.by_source("contact"))["C1"]
    roles = kept["roles"] if isinstance(kept["roles"], list) else json.loads(kept["roles"])
    assert roles == ["champion", "executive_sponsor", "power_user"]
    assert again.changed == 0
    after = await source.everything()
    for table in ("contact", "sponsorship", "meeting"):
        assert after[table] == before[table]


async def test_an_undone_merge_is_imported_as_if_it_had_never_been(source: ImportDesk) -> None:
    before = {table: await source.by_source(table) for table in ("account", "contact", "subscription", "arr_movement")}
    change = await merge(source, "account", "A1", "A2")
    await source.services.writes.perform(source.principal, UndoChanges(change=change))

    again = await source.run()

    assert again.changed == 0
    for table, rows in before.items():
        after = await source.by_source(table)
        assert {key: row["removed_at"] for key, row in after.items()} == dict.fromkeys(rows)
        if table != "account":
            assert {key: row["account_id"] for key, row in after.items()} == {
                key: row["account_id"] for key, row in rows.items()
            }
