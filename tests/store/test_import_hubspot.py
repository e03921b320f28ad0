"""An export of HubSpot in the store, on both stores: what is there, what goes, and what a second run finds."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
import typer
from import_desk import Desk, counts, of, open_desk, warned
from typer.testing import CliRunner

from cs_mcp.cli.imports import import_command
from cs_mcp.services.history.undo import UndoChanges
from cs_mcp.services.imports.report import ImportReport, Looks, State
from cs_mcp.services.wiring import Services

ROOT = Path(__file__).parents[2]
EXTRACT = ROOT / "tests" / "data" / "hubspot"
WHOLE = Path(os.environ.get("CS_MCP_HUBSPOT") or ROOT.parent / "shared" / "data" / "hubspot_export")

app = typer.Typer()
app.command("import")(import_command)


class HubSpotDesk(Desk):
    async def run(self, **options: Any) -> ImportReport:
        return await super().run(source="hubspot", **options)

    def edit(self, stem: str, old: str, new: str) -> None:
        file = self.folder / f"{stem}.csv"
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
async def desk(services: Services, tmp_path: Path) -> HubSpotDesk:
    opened = await open_desk(services, tmp_path)
    for file in EXTRACT.glob("*.csv"):
        (opened.folder / file.name).write_bytes(file.read_bytes())
    return HubSpotDesk(opened.store, opened.services, opened.principal, opened.folder)


def loaded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


async def test_the_export_is_stored_as_it_hangs_together(desk: HubSpotDesk) -> None:
    report = await desk.run()

    assert not report.stopped
    assert {file.kind: (counts(file)[0], file.skipped) for file in report.files} == {
        "users": (2, 2), "accounts": (3, 2), "contacts": (3, 5), "subscriptions": (2, 3), "ledger": (2, 0),
        "meetings": (2, 1), "notes": (1, 1), "tasks": (1, 1), "tickets": (1, 1),
    }  # fmt: skip
    assert of(report, "tickets").left_out == {"no company is named": 1}
    members, accounts = await desk.by_source("member"), await desk.by_source("account")
    contacts, meetings = await desk.by_source("contact"), await desk.by_source("meeting")
    globex, initech, hooli = accounts["2182162682"], accounts["2319384765"], accounts["2050238876"]
    assert globex["owner_id"] == members["35252170"]["id"]
    assert hooli["owner_id"] == members["44023296"]["id"]
    assert (initech["owner_id"], initech["parent_id"]) == (None, globex["id"])
    assert (globex["arr_minor"], initech["arr_minor"]) == (12_000_50, 2_000_00)
    assert (globex["stage"], initech["stage"]) == ("onboarding", "advocacy")
    assert hooli["name"] == "=Hooli"
    assert loaded(globex["custom"]) == {
        "country": "United States", "zip": "01234", "annualrevenue": 10_000_000, "is_public": True,
        "fiscal_start": "2019-02-01", "hs_all-funky-a9384-syntax": 23,
    }  # fmt: skip
    assert loaded(initech["custom"]) == {"country": "United States", "annualrevenue": 2500.5, "is_public": False}
    assert globex["executive_sponsor_id"] == contacts["78971951"]["id"]
    assert sorted(contacts) == ["36842001", "55703851", "78971951"]
    review, missed = meetings["3416212491"], meetings["3621491516"]
    attendees = [person["contact_id"] or person["user_id"] for person in loaded(review["attendees"])]
    assert attendees == [contacts["78971951"]["id"], members["35252170"]["id"]]
    assert (review["status"], missed["status"]) == ("held", "canceled")
    assert str(globex["last_touch_on"]) == "2019-09-26"
    assert initech["last_touch_on"] is None
    note = (await desk.by_source("health_note"))["19732728857"]
    assert (note["text"], note["author_id"]) == ("They like it.\nAT&T asked too.", members["35252170"]["id"])
    task = (await desk.by_source("task"))["32034933897"]
    assert (task["title"], task["priority"], task["assignee_id"]) == ("=Send the deck", "high", None)
    assert warned(report)[Looks.unknown_user] == 3


async def test_a_second_run_changes_nothing(desk: HubSpotDesk) -> None:
    await desk.run()
    before = await desk.everything()

    report = await desk.run()

    assert report.changed == 0
    assert await desk.everything() == before


async def test_a_preview_says_the_same_with_the_types_found_and_writes_nothing(desk: HubSpotDesk) -> None:
    before = await desk.everything()

    preview = await desk.run(preview=True)

    assert await desk.everything() == before
    assert {field.name: field.type for field in preview.custom_fields}["annualrevenue"] == "number"
    done = await desk.run()
    assert preview.model_dump(exclude={"run_id", "preview"}) == done.model_dump(exclude={"run_id", "preview"})


async def test_an_edited_export_changes_just_that(desk: HubSpotDesk) -> None:
    await desk.run()
    before = await desk.everything()
    desk.edit("company_data", "United States,01234,10000000", "United States,,7")
    desk.edit("engagement_note_data", "19732728857,false", "19732728857,true")

    report = await desk.run()

    assert counts(of(report, "accounts")) == (0, 1, 0, 2)
    assert of(report, "notes").records.removed == 1
    assert report.changed == 2
    globex = (await desk.by_source("account"))["2182162682"]
    assert loaded(globex["custom"]) == {
        "country": "United States", "annualrevenue": 7, "is_public": True, "fiscal_start": "2019-02-01",
        "hs_all-funky-a9384-syntax": 23,
    }  # fmt: skip
    assert (await desk.by_source("health_note"))["19732728857"]["removed_at"] is not None
    for table in ("member", "contact", "subscription", "arr_movement", "meeting", "task", "sponsorship"):
        assert await desk.rows(table) == before[table]
    assert (await desk.run()).changed == 0
    await desk.services.writes.perform(desk.principal, UndoChanges(run=report.run_id))
    assert (await desk.by_source("health_note"))["19732728857"]["removed_at"] is None


async def test_a_record_that_one_row_has_and_another_says_was_deleted_stays(desk: HubSpotDesk) -> None:
    await desk.run()
    row = "19732728857,true,2023-06-08 23:22:50.588000,,,,an earlier state,2026-02-27 23:50:44.778000,,,NOTE\n"
    with (desk.folder / "engagement_note_data.csv").open("a", encoding="utf-8") as file:
        file.write(row)

    report = await desk.run()

    assert of(report, "notes").left_out == {"deleted in HubSpot": 2}
    assert report.changed == 0


async def test_a_deal_that_is_no_longer_won_takes_its_arr_with_it(desk: HubSpotDesk) -> None:
    await desk.run()
    desk.edit("deal_data", "1244495215,false,default,closedwon", "1244495215,false,default,qualifiedtobuy")

    report = await desk.run()

    assert of(report, "subscriptions").records.removed == 1
    assert (await desk.arr())["2182162682"] == 0
    desk.edit("deal_data", "1244495215,false,default,qualifiedtobuy", "1244495215,false,default,closedwon")
    again = await desk.run()
    assert of(again, "subscriptions").records.restored == 1
    assert (await desk.arr())["2182162682"] == 12_000_50


async def test_people_and_companies_that_are_gone_in_hubspot_are_told_not_removed(desk: HubSpotDesk) -> None:
    await desk.run()
    desk.edit("company_data", "2050238876,false", "2050238876,true")
    desk.edit("contact_data", "76340251;46897301", "76340251;46897301;36842001")

    report = await desk.run()

    [gone] = [warning for warning in report.warnings if warning.kind is Looks.gone]
    account = (await desk.by_source("account"))["2050238876"]
    contact = (await desk.by_source("contact"))["36842001"]
    assert gone.examples == [
        f"account 2050238876 ({account['id']}) was deleted",
        f"contact 36842001 ({contact['id']}) was merged into 78971951",
    ]
    assert (account["removed_at"], contact["removed_at"]) == (None, None)


async def test_every_row_that_is_not_stored_is_in_the_rejects_file(desk: HubSpotDesk, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.csv"

    report = await desk.run(rejects=rejects)

    with rejects.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    stored = [file for file in report.files if file.state is State.done]
    assert len(rows) == sum(file.skipped for file in stored)
    [mistake] = [row for row in rows if "1077659220" in row["row"]]
    assert (mistake["file"], mistake["line"], mistake["reason"]) == ("deal_data.csv", "6", "deleted in HubSpot")


async def test_a_bad_row_stops_its_table_only(desk: HubSpotDesk) -> None:
    desk.edit("engagement_task_data", "2026-03-20 02:30:00.000000", "soon")

    report = await desk.run()

    tasks = of(report, "tasks")
    assert (tasks.state, tasks.rejects[0].line) == (State.stopped, 2)
    assert tasks.rejects[0].reason.startswith("property_hs_timestamp: 'soon' is not a time")
    assert of(report, "notes").state is State.done


@pytest.mark.skipif(not (WHOLE / "company_data.csv").is_file(), reason="the seeds of dbt_hubspot are not here")
async def test_the_whole_export_is_imported_twice_with_nothing_to_do(desk: HubSpotDesk) -> None:
    desk.folder = WHOLE

    report = await desk.run()

    assert not report.stopped
    assert (counts(of(report, "users"))[0], counts(of(report, "accounts"))[0]) == (2, 24)
    assert {file.kind: file.rows - file.skipped for file in report.files if file.kind not in ("users", "accounts")} == {
        "contacts": 0, "subscriptions": 0, "ledger": 0, "meetings": 0, "notes": 0, "tasks": 0, "tickets": 0,
    }  # fmt: skip
    assert all(not file.rejects and sum(file.left_out.values()) == file.skipped for file in report.files)
    assert of(report, "contacts").left_out == {"merged into another record": 3, "no company is named": 19}
    types = {field.name: field.type for field in report.custom_fields}
    assert (types["annualrevenue"], types["country"], types["city"]) == ("number", "choice", "text")
    assert (await desk.run()).changed == 0


# As it is typed


def typed(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setenv("CS_MCP_SECRET", "a secret for tests")
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_mapping_is_written_edited_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping, db = tmp_path / "mapping.toml", f"sqlite:///{tmp_path / 'new.db'}"
    assert typed(monkeypatch, EXTRACT, "--source", "hubspot", "--write-mapping", mapping)[0] == 0
    text = mapping.read_text(encoding="utf-8")
    assert '"property_country" = { name = "country", type = "choice" }  # United Kingdom, United States' in text
    mapping.write_text(text.replace('customer = ""', 'customer = "adoption"').replace('"country"', '"Land"'))

    code, out, _ = typed(
        monkeypatch, EXTRACT, "--source", "hubspot", "--mapping", mapping, "--preview", "--db", db
    )  # fmt: skip

    assert code == 0
    assert "Land: choice of United Kingdom, United States" in out
    assert "annualrevenue: number" in out
    assert "contact_data.csv, left out 2: merged into another record" in out
    assert "ticket_data.csv, left out 1: no company is named" in out


def test_a_mapping_is_never_written_over_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = tmp_path / "mapping.toml"
    mapping.write_text("# mine")

    code, _, err = typed(monkeypatch, "--source", "hubspot", "--write-mapping", mapping)

    assert (code, mapping.read_text()) == (2, "# mine")
    assert "exists" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--source", "hubspot"], "No folder is named"),
        ([EXTRACT, "--mapping", "m.toml"], "The source folder takes no mapping"),
        ([EXTRACT, "--source", "hubspot", "--mapping", "m.toml"], "m.toml, line 1: compnies: nothing is called that"),
    ],
)
def test_what_cannot_be_meant_exits_with_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[object], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.toml").write_text("[compnies]\n")

    code, out, err = typed(monkeypatch, *arguments, "--db", f"sqlite:///{tmp_path / 'new.db'}")

    assert (code, out) == (2, "")
    assert told in err
