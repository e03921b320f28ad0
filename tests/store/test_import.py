"""The import end to end, on both stores: what it promises its user (import-format.md, last paragraph)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from import_desk import (
    ACCOUNTS,
    CONTACTS,
    EVERYTHING,
    SUBSCRIPTIONS,
    TASKS,
    USERS,
    Desk,
    counts,
    of,
    open_desk,
)
from sqlalchemy.orm.exc import StaleDataError

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.bulk import RowUpdate, bulk_update
from cs_mcp.domain.errors import NotAllowed
from cs_mcp.domain.identity import Role
from cs_mcp.services.history.undo import UndoChanges
from cs_mcp.services.imports.report import State
from cs_mcp.services.wiring import Services


@pytest.fixture
async def desk(services: Services, tmp_path: Path) -> Desk:
    return await open_desk(services, tmp_path)


async def test_everything_is_stored_as_the_files_say(desk: Desk) -> None:
    desk.write(**EVERYTHING)

    report = await desk.run()

    assert {file.kind: counts(file)[0] for file in report.files} == {
        "users": 2, "accounts": 2, "contacts": 2, "subscriptions": 4, "ledger": 6, "meetings": 2, "notes": 2,
        "tasks": 2,
    }  # fmt: skip
    assert of(report, "accounts").others["account_team"].created == 1
    assert of(report, "contacts").others["sponsorship"].created == 2
    members, accounts = await desk.by_source("member"), await desk.by_source("account")
    contacts = await desk.by_source("contact")
    assert members["U1"]["email"] == "ana@acme.example"
    assert (members["U1"]["role"], members["U1"]["reach"]) == ("csm", "own")
    globex = accounts["A1"]
    assert globex["source_system"] == "folder"
    assert globex["owner_id"] == accounts["A2"]["owner_id"] == members["U1"]["id"]
    assert globex["parent_id"] == accounts["A2"]["id"]
    assert globex["domain"] == "globex.example"
    assert globex["arr_minor"] == 15_000_50
    assert (globex["segment"], globex["touch"], globex["tier"]) == ("mid_market", "mid", "standard")
    assert str(globex["renewal_on"]) == "2026-06-30"
    assert str(globex["last_meeting_on"]) == "2026-03-02"
    assert str(globex["next_meeting_on"]) == "2026-04-01"
    assert globex["executive_sponsor_id"] == contacts["C1"]["id"]
    assert globex["champion_id"] == contacts["C2"]["id"]
    assert accounts["A2"]["arr_minor"] == 0
    assert accounts["A2"]["renewal_on"] is None
    [seat] = await desk.rows("account_team")
    assert (seat["account_id"], seat["user_id"], seat["role"]) == (globex["id"], members["U2"]["id"], "account_manager")
    meeting = (await desk.by_source("meeting"))["M1"]
    attendees = meeting["attendees"] if isinstance(meeting["attendees"], list) else json.loads(meeting["attendees"])
    assert [a["contact_id"] or a["user_id"] or a["name"] for a in attendees] == [
        contacts["C1"]["id"], contacts["C2"]["id"], members["U1"]["id"], "A Guest",
    ]  # fmt: skip
    assert meeting["summary"] == "All fine\nso far"
    notes = await desk.by_source("health_note")
    assert notes["N1"]["author_id"] == members["U1"]["id"]
    assert (notes["N2"]["author_id"], notes["N2"]["author_name"]) == (None, "gone@acme.example")
    tasks = await desk.by_source("task")
    assert [tasks[key]["status"] for key in ("T1", "T2")] == ["open", "done"]
    assert tasks["T1"]["origin"] == "imported"


async def test_a_second_run_changes_nothing(desk: Desk) -> None:
    desk.write(**EVERYTHING)
    await desk.run()
    before = await desk.everything()

    report = await desk.run()

    assert report.changed == 0
    assert await desk.everything() == before


async def test_every_change_carries_the_run_and_what_it_came_from(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, subscriptions=SUBSCRIPTIONS)

    report = await desk.run()

    imported = [row for row in await desk.rows("change") if row["tool"] == "import"]
    assert {row["run_id"] for row in imported} == {report.run_id}
    assert {row["reason"] for row in imported} == {
        "Import of accounts.csv from folder",
        "Import of subscriptions.csv from folder",
        "Import of ledger from folder",
    }


async def test_a_preview_says_the_same_and_writes_nothing(desk: Desk) -> None:
    desk.write(**EVERYTHING)
    before = await desk.everything()

    preview = await desk.run(preview=True)

    assert await desk.everything() == before
    assert preview.preview
    done = await desk.run()
    assert [(f.kind, f.rows, f.records, f.others) for f in preview.files] == [
        (f.kind, f.rows, f.records, f.others) for f in done.files
    ]
    assert preview.warnings == done.warnings


async def test_a_preview_of_a_stopped_file_goes_on_with_what_does_not_depend_on_it(desk: Desk) -> None:
    desk.write(users=USERS, accounts=ACCOUNTS, contacts=CONTACTS, tasks=TASKS + "    T3,A9,Nobody's,,,,\n")

    report = await desk.run(preview=True)

    assert {file.kind: file.state for file in report.files} == {
        "users": State.done, "accounts": State.done, "contacts": State.done, "ledger": State.done,
        "tasks": State.stopped,
    }  # fmt: skip
    assert await desk.rows("account") == []


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", ["contacts.csv", "ledger", "meetings.csv"])
async def test_an_import_killed_between_files_is_simply_run_again(desk: Desk, at: str) -> None:
    desk.write(**EVERYTHING)

    def killed(file: str, done: int, total: int | None) -> None:
        if file == at:
            raise Killed

    with pytest.raises(Killed):
        await desk.run(progress=killed)
    ids = {row["source_id"]: row["id"] for row in await desk.rows("account")}
    assert len(ids) == 2

    report = await desk.run()

    assert counts(of(report, "accounts")) == (0, 0, 0, 2)
    assert {row["source_id"]: row["id"] for row in await desk.rows("account")} == ids
    assert await desk.arr() == {"A1": 15_000_50, "A2": 0}
    assert (await desk.by_source("account"))["A1"]["segment"] == "mid_market"
    assert (await desk.run()).changed == 0


async def test_a_kill_inside_a_file_leaves_none_of_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cs_mcp.connectors.loading.CHUNK", 1)
    desk.write(accounts=ACCOUNTS, contacts=CONTACTS)

    def killed(file: str, done: int, total: int | None) -> None:
        if file == "contacts.csv" and done:
            raise Killed

    with pytest.raises(Killed):
        await desk.run(progress=killed)

    assert len(await desk.rows("account")) == 2
    assert await desk.rows("contact") == []


async def test_chunks_of_one_row_give_the_same_store(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cs_mcp.connectors.loading.CHUNK", 1)
    desk.write(**EVERYTHING)

    await desk.run()

    accounts = await desk.by_source("account")
    assert accounts["A1"]["parent_id"] == accounts["A2"]["id"]  # which stands further down
    assert accounts["A1"]["executive_sponsor_id"] is not None
    assert (await desk.run()).changed == 0
    assert ("tasks.csv", 2, 3) in desk.progress
    assert desk.progress[-1] == ("tasks.csv", 3, 3)


async def test_only_columns_the_file_has_are_updated(desk: Desk) -> None:
    desk.write(users=USERS, accounts=ACCOUNTS)
    await desk.run()
    before = (await desk.by_source("account"))["A1"]
    desk.drop("users")
    desk.write(accounts="account_id,name,domain,custom.Tier\n    A1,Globex Corporation,,gold")

    report = await desk.run()

    after = (await desk.by_source("account"))["A1"]
    assert counts(of(report, "accounts")) == (0, 1, 0, 0)
    assert after["version"] == before["version"] + 1
    assert (after["name"], after["name_key"], after["domain"]) == ("Globex Corporation", "globex corporation", None)
    custom = after["custom"] if isinstance(after["custom"], dict) else json.loads(after["custom"])
    assert custom == {"Region": "EMEA", "Tier": "gold"}
    kept = ("owner_id", "currency", "created_on", "parent_id", "tags", "id")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    changed = [row for row in await desk.rows("change") if row["run_id"] == report.run_id]
    fields = changed[0]["fields"] if isinstance(changed[0]["fields"], list) else json.loads(changed[0]["fields"])
    assert (len(changed), fields) == (1, ["custom", "domain", "name"])


async def test_names_and_texts_are_cleaned(desk: Desk) -> None:
    desk.write(
        accounts="account_id,name,churn_risk_reason\n    A1,  Glo\u200bbex \u202e Corp  ,a\u200bb\n    A2,\u200b,"
    )

    report = await desk.run(keep_going=True)

    [account] = await desk.rows("account")
    assert (account["name"], account["risk_reason"]) == ("Globex Corp", "ab")
    assert of(report, "accounts").rejects[0].reason == "name: it holds nothing that can be seen"


async def test_an_undone_import_comes_back_when_it_is_run_again(desk: Desk) -> None:
    desk.write(**EVERYTHING)
    first = await desk.run()
    before = await desk.by_source("account")
    await desk.services.writes.perform(desk.principal, UndoChanges(run=first.run_id, reason="wrong folder"))
    assert all(row["removed_at"] is not None for row in await desk.rows("account"))
    assert all(row["removed_at"] is not None for row in await desk.rows("arr_movement"))

    again = await desk.run()

    assert counts(of(again, "accounts")) == (0, 0, 2, 0)
    assert of(again, "ledger").records.restored == 6
    after = await desk.by_source("account")
    assert {key: row["id"] for key, row in after.items()} == {key: row["id"] for key, row in before.items()}
    for name in ("arr_minor", "segment", "executive_sponsor_id", "last_meeting_on", "renewal_on", "removed_at"):
        assert {k: row[name] for k, row in after.items()} == {k: row[name] for k, row in before.items()}, name
    kinds = {row["kind"] for row in await desk.rows("change") if row["run_id"] == again.run_id}
    assert "restored" in kinds
    assert "created" not in kinds
    assert (await desk.run()).changed == 0


async def test_only_an_admin_imports(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS)
    desk.principal = desk.principal.model_copy(update={"role": Role.cs_leader})

    with pytest.raises(NotAllowed):
        await desk.run()


async def test_a_bulk_update_of_a_row_that_moved_is_refused_not_recorded(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS)
    await desk.run()
    stored = (await desk.by_source("account"))["A1"]
    changes = len(await desk.rows("change"))

    late = RowUpdate(stored["id"], stored["version"] - 1, None, {"name": "Glo"}, {"name": "Globex 2"})
    async with desk.store.unit_of_work(desk.principal, desk.act()) as work:
        with pytest.raises(StaleDataError):
            await bulk_update(work, AccountRow, [late])
        work.forget_changes_since(0)

    assert len(await desk.rows("change")) == changes
