"""Signals from a folder: usage, tickets, invoices, surveys and company events, each taken once and again."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from import_desk import ACCOUNTS, CONTACTS, SUBSCRIPTIONS, USERS, Desk, of, open_desk, warned
from sqlalchemy import text

from conftest import SECRET
from cs_mcp.connectors.folder_writing import write_folder
from cs_mcp.db.store import open_store
from cs_mcp.services.export import Exports
from cs_mcp.services.imports.report import Looks, State
from cs_mcp.services.wiring import Services

USAGE = """\
    account_id,on,metric,value,department,feature
    A1,2026-03-01,active_users,12,,
    A1,2026-03-01,seats_used,20,,
    A1,2026-03-02,active_users,4,Engineering,
    A1,2026-03-02,active_users,3, engineering ,
    A1,2026-03-02,active_users,5,Sales,
    A1,2026-03-02,feature_events,7,,Dashboards
    A2,2026-03-02,feature_events,2,,dashboards
    A2,2026-03-02,feature_events,9,,Alerts
"""
TICKETS = """\
    ticket_id,account_id,severity,category,opened_at,first_response_at,resolved_at,escalated,csat,subject,text
    T1,A1,1,Bug,2026-03-01T08:00:00Z,2026-03-01T09:00:00Z,,true,,Export fails,"It stops at row 10
    and says nothing."
    T2,A2,,,2026-02-01T08:00:00+01:00,,2026-02-03T08:00:00Z,,4.5,,
"""
INVOICES = """\
    invoice_id,account_id,amount,currency,due_on,paid_on,status
    I1,A1,1200.50,,2026-01-31,,Past due
    I2,A1,-200,EUR,2026-01-31,2026-02-02,
"""
SURVEYS = """\
    response_id,account_id,contact_id,kind,score,scale_max,answered_at,invited,loop_state,comment,tags
    R1,A1,C1,nps,3,,2026-02-01T08:00:00Z,true,open,Too slow,speed;export
    R2,A2,C1,csat,4,5,2026-02-01T08:00:00Z,,,,
"""
EVENTS = """\
    account_id,on,kind,note,source_url
    A1,2026-02-01,funding,Series C,https://news.example/1
"""
SIGNALS = {"usage": USAGE, "tickets": TICKETS, "invoices": INVOICES, "surveys": SURVEYS, "company_events": EVENTS}
KEPT = ("ticket", "invoice", "survey_response", "company_event", "feature", "signal_batch")


@pytest.fixture
async def desk(services: Services, tmp_path: Path) -> Desk:
    desk = await open_desk(services, tmp_path)
    desk.write(users=USERS, accounts=ACCOUNTS, contacts=CONTACTS, subscriptions=SUBSCRIPTIONS, **SIGNALS)
    return desk


async def figures(desk: Desk, table: str = "usage_day") -> list[dict[str, Any]]:
    async with desk.store.unit_of_work(desk.principal, desk.act()) as work:
        found = await work.session.execute(
            text(f"select * from {table} where workspace = :w order by account_id, day, department"),
            {"w": desk.principal.workspace},
        )
        return [dict(row) for row in found.mappings()]


async def test_a_folder_of_signals_is_stored_as_it_says(desk: Desk) -> None:
    report = await desk.run(keep_going=True)

    assert {file.kind: (file.records.created, file.skipped) for file in report.files if file.kind in SIGNALS} == {
        "usage": (7, 1),  # Engineering is there twice
        "tickets": (2, 0),
        "invoices": (2, 0),
        "surveys": (2, 0),
        "company_events": (1, 0),
    }
    accounts, contacts = await desk.by_source("account"), await desk.by_source("contact")
    first, second = date(2026, 3, 1).toordinal(), date(2026, 3, 2).toordinal()
    told = {(r["account_id"], r["day"], r["department"]): r for r in await figures(desk)}
    a1, a2 = accounts["A1"]["id"], accounts["A2"]["id"]
    assert (told[a1, first, ""]["active_users"], told[a1, first, ""]["seats_used"]) == (12, 20)
    assert (told[a1, second, ""]["active_users"], told[a1, second, ""]["feature_events"]) == (9, 7)
    assert (told[a1, second, "engineering"]["active_users"], told[a1, second, "sales"]["active_users"]) == (4, 5)
    assert told[a2, second, ""]["feature_events"] == 11
    assert sorted(row["name"] for row in await desk.rows("feature")) == ["Alerts", "Dashboards"]
    tickets = await desk.by_source("ticket")
    assert (tickets["T1"]["severity"], tickets["T1"]["status"], tickets["T2"]["status"]) == (1, "open", "resolved")
    assert (tickets["T2"]["csat"], bool(tickets["T1"]["escalated"])) == (5, True)
    invoices = await desk.by_source("invoice")
    assert (invoices["I1"]["amount_minor"], invoices["I1"]["currency"], invoices["I1"]["status"]) == (
        120050,
        "USD",
        "open",
    )
    assert (invoices["I2"]["amount_minor"], invoices["I2"]["status"]) == (-20000, "paid")
    answers = await desk.by_source("survey_response")
    assert answers["R1"]["contact_id"] == contacts["C1"]["id"]
    assert (answers["R1"]["score"], answers["R1"]["scale_max"], answers["R1"]["loop_state"]) == (3, 10, "open")
    assert answers["R2"]["contact_id"] is None  # C1 is nobody of A2
    assert warned(report)[Looks.unknown_record] == 1
    assert list(await desk.by_source("company_event")) == ["A1:2026-02-01:funding"]
    [batch] = await desk.rows("signal_batch")
    assert (batch["rows"], batch["accounts"], str(batch["last_on"])) == (7, 2, "2026-03-02")


async def test_importing_signals_twice_changes_nothing(desk: Desk) -> None:
    await desk.run(keep_going=True)
    before = {table: await desk.rows(table) for table in (*KEPT, "change")}
    days, features = await figures(desk), await figures(desk, "usage_feature")

    report = await desk.run(keep_going=True)

    assert report.changed == 0
    assert of(report, "usage").records.unchanged == 7
    assert {table: await desk.rows(table) for table in before} == before
    assert (await figures(desk), await figures(desk, "usage_feature")) == (days, features)


REJECTS = [
    ("usage", "A1,2026-02-10,logons,3,,", "logons is no metric of usage"),
    ("usage", "A1,2026-02-11,seats_used,-3,,", "seats_used: -3 is below zero"),
    ("usage", "A1,2026-02-12,logins,1.5,,", "logins: 1.5 is not a whole number"),
    ("usage", "A1,2026-03-20,logins,1,,", "on: 2026-03-20 is in the future"),
    ("usage", "A9,2026-03-01,logins,1,,", "account_id: no account is called 'A9'"),
    ("usage", "A1,2026-03-01,logins,1,,Dashboards", "feature: it goes with the metric feature_events"),
    ("tickets", "T9,A1,,,2026-05-01T08:00:00Z,,,,,,", "opened_at: 2026-05-01 08:00:00+00:00 is in the future"),
    ("tickets", "T8,A1,,,2026-03-01T08:00:00Z,,,,9,,", "csat: 9 is not on a scale of 1 to 5"),
    ("invoices", "I9,A1,10,,2026-01-31,,draft", "status: draft is no state of an invoice"),
    ("surveys", "R9,A1,,nps,3,,2026-02-01T08:00:00Z,,later,,", "loop_state: 'later' is not one of"),
]


async def test_a_bad_row_is_named_with_its_line_and_stops_its_file_alone(desk: Desk) -> None:
    for kind in SIGNALS:
        added = "".join(f"    {row}\n" for of_kind, row, _ in REJECTS if of_kind == kind)
        desk.write(**{kind: SIGNALS[kind].replace("    A1,2026-03-02,active_users,3, engineering ,\n", "") + added})

    report = await desk.run()

    for kind in SIGNALS:
        expected = [why for of_kind, _, why in REJECTS if of_kind == kind]
        file = of(report, kind)
        assert file.state is (State.stopped if expected else State.done)
        for reject, why in zip(file.rejects, expected, strict=True):
            assert why in reject.reason
    assert [reject.line for reject in of(report, "usage").rejects] == [9, 10, 11, 12, 13, 14]
    assert await figures(desk) == []
    assert await desk.rows("feature") == []
    assert len(await desk.rows("company_event")) == 1


async def test_an_export_of_signals_imports_to_the_same(desk: Desk, tmp_path: Path, store_url: str) -> None:
    """Into another workspace: a second one on PostgreSQL, another file on SQLite."""
    await desk.run(keep_going=True)
    here = await told_of(desk)
    folder = tmp_path / "out"
    written = await write_folder(Exports(desk.store), desk.principal, folder)
    url = store_url if "postgresql" in store_url else f"sqlite:///{tmp_path / 'there.db'}"
    there = await open_store(url, clock=desk.store.clock)
    (tmp_path / "there").mkdir()
    other = await open_desk(Services(there, SECRET), tmp_path / "there")
    other.folder = folder

    report = await other.run()

    assert not report.stopped, report
    assert written.left_out == []
    assert await told_of(other) == here
    assert here["figures"]
    await there.close()


async def told_of(desk: Desk) -> dict[str, Any]:
    """Signals by what people call them."""
    accounts = {row["id"]: row["name"] for row in await desk.rows("account")}
    contacts = {row["id"]: row["name"] for row in await desk.rows("contact")}
    features = {row["id"]: row["name"].casefold() for row in await desk.rows("feature")}
    ours = {"id", "workspace", "version", "source_system", "source_id", "removed_at"}

    def plainly(row: dict[str, Any]) -> dict[str, Any]:
        named = {"account_id": accounts.get(row.get("account_id")), "contact_id": contacts.get(row.get("contact_id"))}
        named["feature_id"] = features.get(row.get("feature_id"))
        return {name: str(value) for name, value in (row | named).items() if name not in ours}

    def sorted_rows(rows: list[dict[str, Any]]) -> list[Any]:
        return sorted((plainly(row) for row in rows), key=str)

    records = {t: sorted_rows(await desk.rows(t)) for t in KEPT if t not in ("feature", "signal_batch")}
    days, events = await figures(desk), await figures(desk, "usage_feature")
    return records | {"figures": sorted_rows(days), "events": sorted_rows(events)}


async def test_usage_of_a_merged_account_stays_its_own_when_it_is_imported_again(desk: Desk) -> None:
    """A feed that goes on naming the merged record corrects that record's figures, not those of the one that stays."""
    await desk.run(keep_going=True)
    accounts = await desk.by_source("account")
    days = await figures(desk)
    async with desk.store.unit_of_work(desk.principal, desk.act()) as work:
        gone = await work.accounts.get(accounts["A2"]["id"])
        work.accounts.save(gone.changed(removed_at=work.now, merged_into_id=accounts["A1"]["id"], parent_id=None))

    report = await desk.run(keep_going=True)

    assert (of(report, "usage").records.changed, of(report, "usage").records.unchanged) == (0, 7)
    assert await figures(desk) == days


RISKS = """\
    risk_id,account_id,category,state,severity,owner_email,opened_on,due_on,summary,evidence,outcome,closed_on
    K1,A1,adoption,open,high,ana@acme.example,2026-03-01,2026-04-01,Use falls,2026-03-01 Half of it;Seen in QBR,,
    K2,A2,support,,,,2026-02-01,,,,,
"""
OVERRIDES = """\
    override_id,account_id,band,score,reason,author_email,from_on,expires_on,ended_on
    O1,A1,red,,The champion told us,ana@acme.example,2026-03-01,2026-04-01,
    O2,A2,yellow,62.5,A pilot runs,,2026-02-01,2026-03-01,
"""


async def test_risk_cases_and_overrides_come_in_and_hold(desk: Desk) -> None:
    desk.write(risks=RISKS, health_overrides=OVERRIDES)
    report = await desk.run(keep_going=True)
    again = await desk.run(keep_going=True)

    told = {file.kind: file for file in report.files}
    assert [(told[kind].records.created, told[kind].skipped) for kind in ("risks", "health_overrides")] == [(2, 0)] * 2
    assert not any(file.records.created or file.records.updated for file in again.files)
    cases, accounts = await desk.by_source("risk"), await desk.by_source("account")
    assert (cases["K1"]["state"], cases["K1"]["severity"], cases["K2"]["state"]) == ("open", "high", "open")
    evidence = cases["K1"]["evidence"]
    assert (json.loads(evidence) if isinstance(evidence, str) else evidence) == [
        {"what": "Half of it", "record": None, "on": "2026-03-01"},
        {"what": "Seen in QBR", "record": None, "on": None},
    ]
    # The one of A2 has run out.
    assert (accounts["A1"]["health_band"], accounts["A2"]["health_band"]) == ("red", "unknown")
    assert (await desk.by_source("health_override"))["O2"]["score_tenths"] == 625


async def test_an_account_keeps_one_open_case_whatever_a_file_says(desk: Desk) -> None:
    desk.write(risks=RISKS)
    await desk.run(keep_going=True)
    rows = (
        "K3,A2,product,,,,2026-03-02,,,,,",
        "K4,A1,product,,,,2026-03-02,,,,,",
        "K5,A1,product,,,,2026-03-02,,,,,",
        "K1,A1,adoption,closed,,,2026-03-01,,,,Back to normal,2026-03-10",
        "K6,A1,product,,,,2026-03-20,,,,,",
    )
    desk.write(risks="\n".join((RISKS.splitlines()[0].strip(), *rows)))
    report = await desk.run(keep_going=True)

    [file] = [file for file in report.files if file.kind == "risks"]
    assert (file.records.created, file.records.updated, file.skipped) == (1, 1, 3)
    reasons = "\n".join(line.reason for line in file.rejects)
    assert "'A2' has an open risk case already, rsk_" in reasons
    assert "'A1' has an open risk case already, the case K4 of this file" in reasons
    assert "opened_on: 2026-03-20 is in the future" in reasons
    cases = await desk.by_source("risk")
    assert {key: case["state"] for key, case in cases.items()} == {"K1": "closed", "K2": "open", "K4": "open"}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("O1,A1,green,,x,,2026-03-01,2026-02-01,", "expires_on: 2026-02-01 is before from_on 2026-03-01"),
        ("O1,A1,green,101,x,,2026-03-01,2026-04-01,", "score: 101 is not on a scale of 0 to 100"),
        ("O1,A1,purple,,x,,2026-03-01,2026-04-01,", "band: "),
        ("O1,A9,green,,x,,2026-03-01,2026-04-01,", "no account is called 'A9'"),
        ("O1,A1,green,,x,,2026-03-17,2026-04-01,", "from_on: 2026-03-17 is in the future"),
    ],
)
async def test_an_override_that_cannot_hold_is_named_and_left_out(desk: Desk, row: str, why: str) -> None:
    head, _, good = (line.strip() for line in OVERRIDES.splitlines())
    desk.write(health_overrides=f"{head}\n{good}\n{row}\n")
    report = await desk.run(keep_going=True)
    [file] = [file for file in report.files if file.kind == "health_overrides"]
    assert (file.records.created, file.skipped) == (1, 1)
    assert why in file.rejects[0].reason
