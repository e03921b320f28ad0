"""The import end to end, on both stores: what it promises its user (import-format.md, last paragraph)."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from cs_mcp.connectors.loading import defused, load_source
from cs_mcp.connectors.reading import UnreadableFile
from cs_mcp.db.changes import Act
from cs_mcp.db.store import Store
from cs_mcp.domain.accounts import Account
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.errors import NotAllowed
from cs_mcp.domain.identity import Principal, Role
from cs_mcp.domain.sponsors import Contact
from cs_mcp.domain.subscriptions import ArrMovement, MovementKind
from cs_mcp.services.imports import Imports
from cs_mcp.services.imports_report import FileReport, ImportReport, Looks, State
from cs_mcp.services.undo import UndoChanges
from cs_mcp.services.wiring import Services

TODAY = date(2026, 3, 16)

USERS = """\
    user_id,name,email,role
    U1,Ana Ruiz,Ana@Acme.example,csm
    U2,Kim Sato,kim@acme.example,account_manager
"""
ACCOUNTS = """\
    account_id,name,domain,owner_email,account_manager_email,currency,created_on,parent_account_id,tags,custom.Region
    A1,Globex,Globex.example,ana@acme.example,kim@acme.example,USD,2024-01-01,A2,vip;beta,EMEA
    A2,Initech,initech.example,ANA@acme.example,,USD,2024-01-01,,,
"""
CONTACTS = """\
    contact_id,account_id,name,email,roles,status,departed_on
    C1,A1,Hank Scorpio,hank@globex.example,executive_sponsor,active,
    C2,A1,Homer S.,homer@globex.example,champion;power_user,,
"""
SUBSCRIPTIONS = """\
    subscription_id,account_id,product,starts_on,ends_on,arr,currency,seats,trial
    S1,A1,Pro,2025-01-01,2026-12-31,12000.50,USD,20,false
    S2,A1,Add-on,2025-07-01,2026-06-30,3000,,5,
    S3,A2,Pro,2025-01-01,2025-12-31,250000,USD,,
    S4,A2,Pilot,2026-01-01,2026-05-31,900,USD,,true
"""
MEETINGS = """\
    meeting_id,account_id,kind,held_at,attendees,summary
    M1,A1,qbr,2026-03-02T15:00:00+01:00,hank@globex.example;Homer S.;ana@acme.example;A Guest,"All fine
    so far"
    M2,A1,check_in,2026-04-01T09:00:00Z,,
"""
NOTES = """\
    note_id,account_id,written_at,author_email,text,sentiment,risk
    N1,A1,2026-02-01T23:30:00Z,ana@acme.example,They like it,positive,
    N2,A1,2026-02-02T10:00:00Z,gone@acme.example,Budget is tight,negative,commercial
"""
TASKS = """\
    task_id,account_id,title,due_on,status,assignee_email,priority
    T1,A1,Send deck,2026-03-20,,ana@acme.example,high
    T2,A2,Call back,,done,,
"""
EVERYTHING = {
    "users": USERS,
    "accounts": ACCOUNTS,
    "contacts": CONTACTS,
    "subscriptions": SUBSCRIPTIONS,
    "meetings": MEETINGS,
    "notes": NOTES,
    "tasks": TASKS,
}
TABLES = (
    "member", "account", "account_team", "contact", "sponsorship", "subscription", "arr_movement", "meeting",
    "health_note", "task", "change", "change_payload",
)  # fmt: skip


@dataclass
class Desk:
    """A folder, a workspace, and the import between them."""

    store: Store
    services: Services
    principal: Principal
    folder: Path
    progress: list[tuple[str, int, int | None]] = field(default_factory=list)

    def write(self, **files: str) -> None:
        for kind, content in files.items():
            lines = "\n".join(line.removeprefix("    ") for line in content.splitlines())
            (self.folder / f"{kind}.csv").write_text(lines + "\n", encoding="utf-8")

    def drop(self, kind: str) -> None:
        (self.folder / f"{kind}.csv").unlink()

    async def run(self, **options: Any) -> ImportReport:
        def note(file: str, done: int, total: int | None) -> None:
            self.progress.append((file, done, total))

        return await load_source(
            Imports(self.store), self.principal, self.folder, **{"progress": note, **options}
        )

    async def rows(self, table: str) -> list[dict[str, Any]]:
        """Every row of the workspace, removed ones too, in id order."""
        key = "seq" if table.startswith("change") else "id"
        async with self.store.unit_of_work(self.principal, self.act()) as work:
            found = await work.session.execute(
                text(f'select * from "{table}" where workspace = :w order by {key}'), {"w": self.principal.workspace}
            )
            return [dict(row) for row in found.mappings()]

    async def by_source(self, table: str) -> dict[str, dict[str, Any]]:
        return {row["source_id"]: row for row in await self.rows(table) if row["source_id"]}

    async def everything(self) -> dict[str, list[dict[str, Any]]]:
        return {table: await self.rows(table) for table in TABLES}

    async def arr(self) -> dict[str, int]:
        return {key: row["arr_minor"] for key, row in (await self.by_source("account")).items()}

    def act(self) -> Act:
        return Act(self.store.ids.new("change"), self.principal.user, "test", self.store.clock.now())


@pytest.fixture
async def desk(services: Services, tmp_path: Path) -> Desk:
    workspace = await services.identity.found_workspace(name="Acme Software")
    folder = tmp_path / "export"
    folder.mkdir()
    return Desk(services.store, services, await services.identity.operator(workspace), folder)


def of(report: ImportReport, kind: str) -> FileReport:
    return next(file for file in report.files if file.kind == kind)


def warned(report: ImportReport) -> dict[Looks, int]:
    return {warning.kind: warning.count for warning in report.warnings}


def counts(report: FileReport) -> tuple[int, int, int, int]:
    tally = report.records
    return tally.created, tally.updated, tally.restored, tally.unchanged


async def test_everything_is_stored_as_the_files_say(desk: Desk) -> None:
    desk.write(**EVERYTHING)

    report = await desk.run()

    assert {file.kind: counts(file)[0] for file in report.files} == {
        "users": 2, "accounts": 2, "contacts": 2, "subscriptions": 4, "ledger": 4, "meetings": 2, "notes": 2, "tasks": 2,
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


async def test_the_ledger_is_derived_from_the_subscriptions(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, subscriptions=SUBSCRIPTIONS)

    await desk.run()

    ledger = {key: (str(row["on"]), row["kind"], row["amount_minor"]) for key, row in (await desk.by_source("arr_movement")).items()}
    assert ledger == {
        "ledger:A1:2025-01-01:new": ("2025-01-01", "new", 12_000_50),
        "ledger:A1:2025-07-01:expansion": ("2025-07-01", "expansion", 3_000_00),
        "ledger:A1:2026-07-01:contraction": ("2026-07-01", "contraction", -3_000_00),
        "ledger:A1:2027-01-01:churn": ("2027-01-01", "churn", -12_000_50),
        "ledger:A2:2025-01-01:new": ("2025-01-01", "new", 250_000_00),
        "ledger:A2:2026-01-01:churn": ("2026-01-01", "churn", -250_000_00),
    }


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
        "users": State.done, "accounts": State.done, "contacts": State.done, "ledger": State.done, "tasks": State.stopped,
    }  # fmt: skip
    assert await desk.rows("account") == []


BAD_CONTACTS = CONTACTS + (
    "    C3,A1,Late,not-an-address,,,\n    C4,A9,Stranger,,,,\n    C5,A2,=cmd|calc,,,,\n    C5,A2,Other,,,,\n"
)


async def test_a_bad_row_stops_its_file_and_tells_every_reason(desk: Desk, tmp_path: Path) -> None:
    desk.write(users=USERS, accounts=ACCOUNTS, contacts=BAD_CONTACTS, meetings=MEETINGS, tasks=TASKS)
    rejects = tmp_path / "rejects.csv"

    report = await desk.run(rejects=rejects)

    assert report.stopped
    contacts = of(report, "contacts")
    assert (contacts.rows, contacts.skipped, counts(contacts)) == (6, 3, (0, 0, 0, 0))
    assert [(reject.line, reject.reason) for reject in contacts.rejects] == [
        (4, "email: 'not-an-address' is not an e-mail address"),
        (7, "'C5' is here already, at line 6, and says otherwise"),
        (5, "account_id: no account is called 'A9'"),
    ]
    assert await desk.rows("contact") == []
    assert await desk.rows("sponsorship") == []
    assert of(report, "meetings").state is State.not_reached
    assert of(report, "tasks").state is State.done
    assert warned(report)[Looks.unknown_account] == 1
    with rejects.open(encoding="utf-8", newline="") as file:
        [header, *lines] = list(csv.reader(file))
    assert header == ["file", "line", "reason", "row"]
    assert [(name, line) for name, line, *_ in lines] == [("contacts.csv", n) for n in ("4", "7", "5")]
    assert json.loads(lines[2][3])["account_id"] == "A9"


async def test_keep_going_writes_the_good_rows(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, contacts=BAD_CONTACTS)

    report = await desk.run(keep_going=True)

    assert not report.stopped
    assert of(report, "contacts").skipped == 3
    assert sorted(await desk.by_source("contact")) == ["C1", "C2", "C5"]
    assert (await desk.run(keep_going=True)).changed == 0


async def test_a_file_that_cannot_be_read_to_its_end_stops_even_when_going_on(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, tasks=TASKS + '    T3,A1,"never closed,,,,')

    report = await desk.run(keep_going=True)

    assert of(report, "tasks").state is State.stopped
    assert "is never closed" in of(report, "tasks").rejects[0].reason
    assert await desk.rows("task") == []


async def test_a_missing_column_is_said_before_anything_is_written(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, tasks="task_id,title\nT1,x")

    with pytest.raises(UnreadableFile, match="lacks the column 'account_id'"):
        await desk.run()

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
    desk.write(accounts="account_id,name,churn_risk_reason\n    A1,  Glo\u200bbex \u202e Corp  ,a\u200bb\n    A2,\u200b,")

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
    assert report.changed == 1 + 4
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
    V3,A2,2025-02-01,churn,40,USD,,
"""


async def test_movements_of_a_file_are_the_ledger(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, subscriptions=SUBSCRIPTIONS, arr_movements=MOVEMENTS)

    report = await desk.run()

    assert await desk.arr() == {"A1": 1500_25, "A2": 40_00}
    assert counts(of(report, "ledger")) == (0, 0, 0, 0)
    assert warned(report)[Looks.unknown_record] == 1
    assert warned(report)[Looks.sign] == 1
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
    assert [(r["segment"], r["touch"]) for r in (await desk.by_source("account")).values()] == [
        ("mid_market", "mid"), ("smb", "low"),
    ]  # fmt: skip
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


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "100.5"), ("USD", "1.005"), ("USD", "999999999999999.00")])
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


async def test_numbers_beyond_their_column_are_refused(desk: Desk) -> None:
    desk.write(accounts="account_id,name,employees\n    A1,Globex,3000000000")

    report = await desk.run()

    assert of(report, "accounts").rejects[0].reason == "employees: 3000000000 is larger than 2,147,483,647"


async def test_what_looks_wrong_is_said_with_examples(desk: Desk) -> None:
    desk.write(
        accounts="""\
    account_id,name,domain,owner_email,created_on,lifecycle_stage,parent_account_id
    A1,Globex,same.example,nobody@acme.example,2024-01-01,churned,A9
    A2,GLOBEX,Same.example,,2024-01-01,,
""",
        contacts="""\
    contact_id,account_id,name,status,departed_on
    C1,A1,Early,departed,2023-05-01
    C2,A1,Odd,active,2025-05-01
""",
        subscriptions="""\
    subscription_id,account_id,starts_on,ends_on,canceled_on,arr
    S1,A1,2025-01-01,2024-12-01,,10
    S2,A1,2025-01-01,,2025-01-01,10
    S3,A1,2025-02-01,,,10
""",
        usage="account_id,on,metric,value\n    A1,2024-12-31,logins,3\n    A1,2025-03-01,logins,3\n    A9,2025-03-01,logins,3",
        churn="account_id,churned_on\n    A1,2025-06-01\n    A2,2025-06-01",
    )
    (desk.folder / "readme.txt").write_text("x")

    report = await desk.run()

    assert warned(report) == {
        Looks.unknown_account: 1,
        Looks.unknown_user: 1,
        Looks.unknown_record: 1,
        Looks.dates: 2,
        Looks.ended_at_once: 1,
        Looks.departed_yet_active: 1,
        Looks.shared_name: 1,
        Looks.shared_domain: 1,
        Looks.churned_yet_paying: 2,
        Looks.usage_first: 1,
    }
    assert next(w for w in report.warnings if w.kind is Looks.usage_first).examples == [
        "account A1 on 2024-12-31, its contract starts on 2025-01-01"
    ]
    assert report.unread_files == ["readme.txt"]
    usage = of(report, "usage")
    assert (usage.state, usage.rows, usage.skipped) == (State.not_read_yet, 3, 3)
    assert (await desk.by_source("account"))["A1"]["owner_id"] is None


async def test_examples_are_five_and_all_are_counted(desk: Desk) -> None:
    rows = "\n".join(f"    A{n},Account {n},user{n}@acme.example" for n in range(12))
    desk.write(accounts=f"account_id,name,owner_email\n{rows}")

    report = await desk.run()

    [unknown] = report.warnings
    assert (unknown.count, len(unknown.examples)) == (12, 5)


async def test_a_user_who_was_added_by_hand_is_taken_over(desk: Desk) -> None:
    added = await desk.services.identity.add_member(
        desk.principal.workspace, name="Ana", email="ana@acme.example", role=Role.cs_leader
    )
    desk.write(users=USERS + "    U3,Ana Again,ana@acme.example,csm\n")

    report = await desk.run(keep_going=True)

    assert counts(of(report, "users")) == (1, 1, 0, 0)
    assert (await desk.by_source("member"))["U1"]["id"] == added.id
    assert of(report, "users").rejects[0].reason == "email: another user has 'ana@acme.example'"
    again = await desk.run(keep_going=True)
    assert counts(of(again, "users")) == (0, 0, 0, 2)


async def test_a_contact_who_leaves_leaves_the_seat(desk: Desk, clock: FixedClock) -> None:
    desk.write(accounts=ACCOUNTS, contacts=CONTACTS)
    await desk.run()
    clock.advance(timedelta(days=10))
    desk.write(contacts=CONTACTS.replace("executive_sponsor,active,", "executive_sponsor,departed,2026-03-20"))

    report = await desk.run()

    assert of(report, "contacts").others["sponsorship"].updated == 1
    seats = {row["source_id"]: (str(row["from_on"]), str(row["to_on"])) for row in await desk.rows("sponsorship")}
    assert seats == {"C1:executive_sponsor": ("2026-03-16", "2026-03-20"), "C2:champion": ("2026-03-16", "None")}
    assert (await desk.by_source("account"))["A1"]["executive_sponsor_id"] is None
    assert (await desk.run()).changed == 0


async def test_seats_given_by_hand_are_left_alone(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, contacts=CONTACTS)
    await desk.run()
    account = (await desk.by_source("account"))["A1"]["id"]
    async with desk.store.unit_of_work(desk.principal, desk.act()) as work:
        [seat] = [s for s in await work.sponsorships.where() if s.role.value == "executive_sponsor"]
        work.sponsorships.save(seat.changed(to_on=TODAY))
        work.contacts.add(Contact(id=work.ids.new("contact"), account_id=account, name="By hand"))

    assert (await desk.run()).changed == 0


async def test_an_account_manager_who_is_no_more_leaves_the_team(desk: Desk) -> None:
    desk.write(users=USERS, accounts=ACCOUNTS)
    await desk.run()
    desk.write(accounts=ACCOUNTS.replace("kim@acme.example", ""))

    report = await desk.run()

    assert of(report, "accounts").others["account_team"].updated == 1
    [seat] = await desk.rows("account_team")
    assert seat["removed_at"] is not None
    assert (await desk.run()).changed == 0


async def test_a_meeting_that_moves_to_another_account_moves_both_last_touches(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS, meetings=MEETINGS)
    await desk.run()
    desk.write(meetings=MEETINGS.replace("M1,A1", "M1,A2"))

    await desk.run()

    touched = {key: str(row["last_touch_on"]) for key, row in (await desk.by_source("account")).items()}
    assert touched == {"A1": "None", "A2": "2026-03-02"}


async def test_only_an_admin_imports(desk: Desk) -> None:
    desk.write(accounts=ACCOUNTS)
    desk.principal = desk.principal.model_copy(update={"role": Role.cs_leader})

    with pytest.raises(NotAllowed):
        await desk.run()


@pytest.mark.parametrize("start", list("=+-@\t\r\n"))
def test_no_reject_is_a_formula(start: str) -> None:
    assert defused(start + "1+1") == "'" + start + "1+1"
    assert defused("1+1") == "1+1"
