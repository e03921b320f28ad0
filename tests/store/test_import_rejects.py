"""Rows that cannot be stored, and rows that look wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from import_desk import (
    ACCOUNTS,
    CONTACTS,
    MEETINGS,
    TASKS,
    USERS,
    Desk,
    counts,
    of,
    open_desk,
    warned,
)

from cs_mcp.connectors.loading import defused
from cs_mcp.connectors.reading import UnreadableFile
from cs_mcp.services.imports.report import Looks, State
from cs_mcp.services.wiring import Services


@pytest.fixture
async def desk(services: Services, tmp_path: Path) -> Desk:
    return await open_desk(services, tmp_path)


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
    S1,A1,2025-01-01,,2024-12-01,10
    S2,A1,2025-01-01,,2025-01-01,10
    S3,A1,2025-02-01,,,10
""",
        usage="""\
    account_id,on,metric,value
    A1,2024-12-31,logins,3
    A1,2025-03-01,logins,3
    A9,2025-03-01,logins,3
""",
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
    assert (usage.state, usage.rows, usage.skipped) == (State.stopped, 3, 1)
    assert [reject.reason for reject in usage.rejects] == ["account_id: no account is called 'A9'"]
    assert (await desk.by_source("account"))["A1"]["owner_id"] is None


async def test_examples_are_five_and_all_are_counted(desk: Desk) -> None:
    rows = "\n".join(f"    A{n},Account {n},user{n}@acme.example" for n in range(12))
    desk.write(accounts=f"account_id,name,owner_email\n{rows}")

    report = await desk.run()

    [unknown] = report.warnings
    assert (unknown.count, len(unknown.examples)) == (12, 5)


@pytest.mark.parametrize("start", list("=+-@\t\r\n"))
def test_no_reject_is_a_formula(start: str) -> None:
    assert defused(start + "1+1") == "'" + start + "1+1"
    assert defused("1+1") == "1+1"
