"""What is exported imports again to the same figures, whatever customers typed."""

from __future__ import annotations

import csv
import json
from datetime import date, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from book import Desk as Person
from book import desk, post_arr, rows_of, unit
from import_desk import EVERYTHING, Desk, open_desk

from conftest import SECRET, Team, new_team
from cs_mcp.connectors.folder_writing import write_folder
from cs_mcp.connectors.loading import load_source
from cs_mcp.connectors.manifest import MANIFEST
from cs_mcp.connectors.tables import UnreadableFile
from cs_mcp.db.base import Base
from cs_mcp.db.history.changes import plain
from cs_mcp.db.store import Store, open_store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.errors import Conflict, NotAllowed
from cs_mcp.domain.health.health import RiskCategory
from cs_mcp.domain.health.risks import Severity
from cs_mcp.domain.revenue.subscriptions import Subscription
from cs_mcp.domain.work.meetings import Attendee, Meeting, MeetingKind, MeetingStatus
from cs_mcp.services.export import Exports
from cs_mcp.services.health.overrides import OverrideHealth
from cs_mcp.services.health.risks import GivenEvidence, SaveRisk
from cs_mcp.services.imports.imports import Imports
from cs_mcp.services.imports.report import State
from cs_mcp.services.people.sponsors import AssignSponsor, RecordDeparture, SaveContact
from cs_mcp.services.wiring import Services

TODAY = date(2026, 3, 16)
FORMULAS = ["=1+1", "+49 30 1234", "-2+3", "@SUM(A1)", "'=quoted", "''", "＝1+1"]
HOSTILE = [*FORMULAS, 'say "hi", twice;', "Zoë 漢字 🙂", "a,b", "x' or 1=1", "<b>bold</b>", "-5"]


@pytest.fixture
async def elsewhere(store_kind: str, request: pytest.FixtureRequest, tmp_path: Path, clock: FixedClock) -> Any:
    """Another, empty store: a file of its own, or another workspace behind its wall."""
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}" if store_kind == "sqlite" else request.getfixturevalue("store_url")
    opened = await open_store(url, clock=clock)
    (tmp_path / "there").mkdir()
    yield await open_desk(Services(opened, SECRET), tmp_path / "there")
    await opened.close()


async def exported(store: Store, workspace: str, folder: Path) -> Any:
    operator = await Services(store, SECRET).identity.operator(workspace)
    return await write_folder(Exports(store), operator, folder)


async def imported(there: Desk, folder: Path) -> Any:
    report = await load_source(Imports(there.store), there.principal, folder)
    assert [file.state for file in report.files] == [State.done] * len(report.files), report
    assert sum(file.skipped for file in report.files) == 0
    return report


# -- figures, read without the code under test ------------------------------------------------------------------
async def figures(store: Store, workspace: str) -> dict[str, Any]:
    """What a book says, by the names people use rather than by ids."""

    async def rows(table: str) -> list[dict[str, Any]]:
        found = await rows_of(store, workspace, Base.metadata.tables[table], "id")
        return [row for row in found if row["removed_at"] is None]

    members = {row["id"]: row for row in await rows("member")}
    accounts = {row["id"]: row for row in await rows("account")}
    contacts = {row["id"]: row for row in await rows("contact")}
    subscriptions = {row["id"]: row for row in await rows("subscription")}
    email = {None: None} | {key: row["email"] for key, row in members.items()}
    name = {None: None} | {key: row["name"] for key, row in accounts.items()}
    person = {None: None} | {key: row["name"] for key, row in contacts.items()}

    def kept(row: dict[str, Any], *names: str) -> dict[str, Any]:
        return {n: plain(row[n]) for n in names}

    ledger: dict[str, int] = {}
    for row in await rows("arr_movement"):
        product = subscriptions[row["subscription_id"]]["product"] if row["subscription_id"] else None
        key = f"{name[row['account_id']]} {row['on']} {row['kind']} {row['currency']} {product} {row['note']}"
        ledger[key] = ledger.get(key, 0) + row["amount_minor"]
    return {
        "members": sorted((row["email"], row["name"], row["role"]) for row in members.values()),
        "accounts": {
            row["name"]: kept(
                row, "domain", "industry", "employees", "segment", "tier", "touch", "stage", "onboarding_status",
                "currency", "created_on", "renewal_on", "risk_reason", "tags", "custom", "arr_minor",
                "last_touch_on", "last_meeting_on", "next_meeting_on",
                "health_band",
            )
            | {
                "owner": email[row["owner_id"]],
                "parent": name[row["parent_id"]],
                "sponsor": person[row["executive_sponsor_id"]],
                "champion": person[row["champion_id"]],
            }
            for row in accounts.values()
        },
        "managers": sorted(
            (name[row["account_id"]], email[row["user_id"]])
            for row in await rows("account_team")
            if row["role"] == "account_manager"
        ),
        "ledger": ledger,
        "subscriptions": sorted(

                json.dumps(
                    kept(
                        row, "product", "starts_on", "ends_on", "canceled_on", "arr_minor", "currency", "seats",
                        "seat_limit", "auto_renew", "term_months", "notice_days", "trial", "payment_method_expires_on",
                    )
                    | {"account": name[row["account_id"]]}
                )
                for row in subscriptions.values()

        ),
        "contacts": sorted(
            json.dumps(
                kept(row, "name", "email", "title", "department", "level", "sentiment", "status", "departed_on")
                | {"roles": sorted(row["roles"]), "account": name[row["account_id"]]}
            )
            for row in contacts.values()
        ),
        "meetings": sorted(
            json.dumps(
                kept(row, "kind", "status", "held_on", "summary", "sentiment", "recording_url")
                | {
                    "account": name[row["account_id"]],
                    "people": [
                        person.get(a["contact_id"]) if a["contact_id"]
                        else email[a["user_id"]] if a["user_id"] else a["name"]
                        for a in row["attendees"]
                    ],
                }
            )
            for row in await rows("meeting")
        ),
        "notes": sorted(
            json.dumps(
                kept(row, "written_on", "text", "sentiment", "risk")
                | {"account": name[row["account_id"]], "author": email[row["author_id"]] or row["author_name"]}
            )
            for row in await rows("health_note")
        ),
        "tasks": sorted(
            json.dumps(
                kept(row, "title", "due_on", "status", "priority")
                | {"account": name[row["account_id"]], "assignee": email[row["assignee_id"]]}
            )
            for row in await rows("task")
        ),
        "overrides": sorted(
            json.dumps(
                kept(row, "band", "score_tenths", "reason", "from_on", "expires_on", "ended_on")
                | {"account": name[row["account_id"]], "author": email[row["author_id"]]}
            )
            for row in await rows("health_override")
        ),
        "risks": sorted(
            json.dumps(
                kept(
                    row, "category", "state", "severity", "opened_on", "due_on", "summary", "mitigation", "outcome",
                    "closed_on",
                )
                | {"account": name[row["account_id"]], "owner": email[row["owner_id"]]}
                | {"evidence": [(one["what"], one["on"]) for one in row["evidence"]]}
            )
            for row in await rows("risk")
        ),
    }  # fmt: skip


async def hostile_book(store: Store) -> Team:
    """Everything people can enter by the tools, in the words of those who would break a spreadsheet."""
    team = await new_team(Services(store, SECRET))
    ana: Person = await desk(team, "ana")
    for number, words in enumerate(HOSTILE):
        account = await ana.opens(
            words,
            allow_duplicate=True,
            reason="Namesakes are meant",
            industry=words,
            tags=[words.replace(";", "")],
            custom={
                words.strip(): words,
                "Seats": number,
                "Live": number % 2 == 0,
                "Mixed": [number, words][number % 2],
            },
            renewal_on=date(2026, 12, 31),
        )
        await ana.notes(account, f"{words}\n\n=cmd()\n  indented\t{words}", sentiment="negative", risk="commercial")
        await ana.plans_work(account, words)
        await ana.do(SaveContact(account=account, name=words, title=words, roles=["procurement"]))
        await ana.do(SaveContact(account=account, name=f"Champion {number}", email=f"c{number}@x.example"))
        await ana.do(AssignSponsor(account=account, role="champion", contact=f"Champion {number}", since=TODAY))
        await ana.meets(account, f"-{words}\nline two", held_on=TODAY - timedelta(days=number))
        until = TODAY + timedelta(days=number + 1)
        given: dict[str, Any] = {"band": "red"} if number % 2 else {"score": 62.5}
        await ana.do(OverrideHealth(account=account, **given, expires_on=until, reason=words))
        seen = words.replace(";", "")
        evidence = [GivenEvidence(what=seen), GivenEvidence(what=f"2026-02-30 {seen}", on=TODAY - timedelta(days=3))]
        opened = {"category": RiskCategory.adoption, "severity": Severity.high, "summary": words, "evidence": evidence}
        case = (await ana.do(SaveRisk(account=account, **opened, mitigation=words))).record
        if number % 2:
            closed = SaveRisk(account=account, expected_version=case.version, outcome=words)
            await ana.do(closed)
            await ana.do(SaveRisk(account=account, category=RiskCategory.support, due_on=until))
        await post_arr(store, team, account, 1_000 * (number + 1), date(2026, 1, 1 + number))
        await post_arr(store, team, account, -7, date(2026, 2, 1))
    first, second, *_ = (await ana.finds(limit=50)).items
    await ana.do(SaveContact(account=first.id, name="Gone Girl"))
    await ana.do(AssignSponsor(account=first.id, role="executive_sponsor", contact="Gone Girl", since=TODAY))
    await ana.do(RecordDeparture(account=first.id, contact="Gone Girl", on=TODAY - timedelta(days=1)))
    await ana.updates(second.id, parent=first.id)
    return team


async def more(store: Store, team: Team) -> None:
    """What no tool writes: a subscription, a meeting planned for a day that is past, one called off, money in yen."""
    ana = await desk(team, "ana")
    account = (await ana.finds()).items[0].id
    async with unit(store, await team.services.identity.operator(team.workspace)) as work:
        work.subscriptions.add(
            Subscription(
                id=work.ids.new("subscription"), account_id=account, product="=Pro", starts_on=date(2026, 1, 1),
                ends_on=date(2026, 12, 31), arr_minor=1_234_567, currency="JPY", seats=3, auto_renew=False, trial=True,
            )
        )  # fmt: skip
        for status, day in (("planned", -3), ("canceled", -4), ("planned", 0), ("held", 0), ("planned", 30)):
            work.meetings.add(
                Meeting(
                    id=work.ids.new("meeting"), account_id=account, kind=MeetingKind.qbr, status=MeetingStatus(status),
                    held_on=TODAY + timedelta(days=day),
                    attendees=[Attendee(name="=A Guest"), Attendee(user_id=team.members["ana"].id)],
                )
            )  # fmt: skip


# -- there and back ---------------------------------------------------------------------------------------------
async def test_a_hostile_book_comes_back_the_same(store: Store, elsewhere: Desk, tmp_path: Path) -> None:
    team = await hostile_book(store)
    await more(store, team)

    report = await exported(store, team.workspace, tmp_path / "out")
    await imported(elsewhere, tmp_path / "out")

    there, here = await figures(elsewhere.store, elsewhere.principal.workspace), await figures(store, team.workspace)
    for what in here:
        assert there[what] == here[what], what
    assert (report.left_out, report.left_out_count, report.remarks) == ([], 0, {})
    assert report.files["accounts.csv"] == len(HOSTILE)


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Europe/Madrid", "Asia/Tokyo"])
async def test_days_are_the_same_in_a_workspace_of_another_zone(
    store: Store, team: Team, elsewhere: Desk, tmp_path: Path, zone: str
) -> None:
    async with unit(store, await team.services.identity.operator(team.workspace)) as work:
        [profile] = await work.workspaces.where()
        work.workspaces.save(profile.changed(time_zone=zone))
    ana = await desk(team, "ana")
    account = await ana.opens("Globex")
    await ana.meets(account, held_on=date(2026, 1, 31))
    await ana.notes(account, "Written in summer.", written_on=date(2025, 7, 1))

    await exported(store, team.workspace, tmp_path / "out")
    await imported(elsewhere, tmp_path / "out")

    there, here = await figures(elsewhere.store, elsewhere.principal.workspace), await figures(store, team.workspace)
    assert (there["meetings"], there["notes"]) == (here["meetings"], here["notes"])


async def test_an_import_comes_back_under_its_own_names(services: Services, elsewhere: Desk, tmp_path: Path) -> None:
    here = await open_desk(services, tmp_path)
    here.write(**EVERYTHING)
    await here.run()

    await exported(here.store, here.principal.workspace, tmp_path / "out")
    await imported(elsewhere, tmp_path / "out")

    workspace = elsewhere.principal.workspace
    assert await figures(elsewhere.store, workspace) == await figures(here.store, here.principal.workspace)
    assert await elsewhere.arr() == await here.arr()
    assert set(await elsewhere.by_source("contact")) == {"C1", "C2"}


async def test_the_same_export_again_changes_nothing(store: Store, elsewhere: Desk, tmp_path: Path) -> None:
    team = await hostile_book(store)
    await exported(store, team.workspace, tmp_path / "out")
    await imported(elsewhere, tmp_path / "out")

    again = await imported(elsewhere, tmp_path / "out")
    await exported(elsewhere.store, elsewhere.principal.workspace, tmp_path / "further")

    assert not again.changed
    for name in ("accounts", "contacts", "users", "meetings", "notes", "tasks", "subscriptions"):
        first, second = [(tmp_path / folder / f"{name}.csv").read_text("utf-8") for folder in ("out", "further")]
        assert sorted(first.splitlines()) == sorted(second.splitlines()), name


async def test_no_cell_is_one_that_a_spreadsheet_runs(store: Store, tmp_path: Path) -> None:
    team = await hostile_book(store)
    await more(store, team)

    await exported(store, team.workspace, tmp_path / "out")

    cells = [
        (file.name, column, cell)
        for file in sorted((tmp_path / "out").glob("*.csv"))
        for row in csv.DictReader(StringIO(file.read_text("utf-8"), newline=""))
        for column, cell in row.items()
    ]
    live = [cell for cell in cells if cell[2].startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))]
    numbers = {cell for cell in live if cell[1] == "amount"}
    assert set(live) == numbers, "a negative amount is a number to a spreadsheet, and nothing else is let through"
    assert numbers
    assert ("accounts.csv", "name", "'=1+1") in cells
    assert ("accounts.csv", "name", "''=quoted") in cells


async def test_a_folder_without_a_manifest_is_read_as_it_is(elsewhere: Desk) -> None:
    elsewhere.write(accounts="account_id,name\nA1,'=1+1")

    await elsewhere.run()

    assert (await elsewhere.by_source("account"))["A1"]["name"] == "'=1+1"


# -- what it refuses and what it says ---------------------------------------------------------------------------
async def test_an_export_is_not_imported_where_it_came_from(store: Store, team: Team, tmp_path: Path) -> None:
    await exported(store, team.workspace, tmp_path / "out")
    operator = await team.services.identity.operator(team.workspace)

    with pytest.raises(Conflict, match="exported from this very workspace"):
        await load_source(Imports(store), operator, tmp_path / "out")

    (tmp_path / "out" / MANIFEST).write_text("{}", encoding="utf-8")
    with pytest.raises(UnreadableFile, match="no manifest"):
        await load_source(Imports(store), operator, tmp_path / "out")


async def test_a_folder_that_holds_something_is_left_alone(store: Store, team: Team, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    await exported(store, team.workspace, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    with pytest.raises(Conflict, match="is not empty"):
        await exported(store, team.workspace, folder)

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


async def test_only_an_admin_exports(store: Store, team: Team, tmp_path: Path) -> None:
    with pytest.raises(NotAllowed, match="csm may not export"):
        await write_folder(Exports(store), await team.principal("ana"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


async def test_what_the_format_cannot_say_is_told(store: Store, team: Team, elsewhere: Desk, tmp_path: Path) -> None:
    ana = await desk(team, "ana")
    account = await ana.opens("Globex", tags=["a;b"])
    await ana.do(SaveContact(account=account, name="Hank"))
    await post_arr(store, team, account, 5_000, date(2026, 1, 1))
    async with unit(store, await team.services.identity.operator(team.workspace)) as work:
        [movement] = await work.movements.where()
        work.movements.add(movement.changed(id=work.ids.new("arr_movement"), currency="EUR", version=0))
        [hank] = await work.contacts.where()
        work.contacts.save(hank.changed(email="no address", roles=["champion", "technical"]))
        work.members.save((await work.members.get(team.members["vic"].id)).changed(active=False))

    report = await exported(store, team.workspace, tmp_path / "out")
    await imported(elsewhere, tmp_path / "out")

    assert sorted(report.remarks.items()) == [
        ("accounts: tags hold a semicolon, which separates them, and have a comma instead", 1),
        ("contacts have the role of a sponsor or champion without the seat, and are told without it", 1),
        ("contacts: email is nothing that an import takes, and is left empty", 1),
        ("movements are in another currency than their account's ARR, and are left out", 1),
        ("users are inactive here, and would be active where they are imported", 1),
    ]
    there = await figures(elsewhere.store, elsewhere.principal.workspace)
    assert there["accounts"]["Globex"]["arr_minor"] == 5_000
    assert there["accounts"]["Globex"]["champion"] is None
    assert there["accounts"]["Globex"]["tags"] == ["a,b"]


async def test_an_export_is_one_state_while_others_write(store: Store, team: Team, tmp_path: Path) -> None:
    """Accounts and their movements are read one after the other; what is written in between is in neither."""
    ana = await desk(team, "ana")
    await ana.opens("Globex")
    (tmp_path / "spill").mkdir()
    operator = await team.services.identity.operator(team.workspace)

    async with Exports(store).run(operator, spill=tmp_path / "spill") as run:
        before = [fields["name"] async for fields in run.records("accounts")]
        late = await ana.opens("Latecomer")
        await ana.notes(late, "Written while the export runs.")
        notes = [fields async for fields in run.records("notes")]

    assert (before, notes) == (["Globex"], [])
    assert list((tmp_path / "spill").iterdir()) == []
