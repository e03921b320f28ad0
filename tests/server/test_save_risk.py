"""The risk case of an account: one open, worked on by version, closed with an outcome, fed by whatever finds a risk."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from conftest import Team
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.health.health import RiskCategory
from cs_mcp.domain.health.risks import MOST_EVIDENCE, Evidence
from cs_mcp.services.health.risks import attach_evidence

from ._client import Desk, Desks, writing


@pytest.fixture
async def globex(csm: Desk) -> str:
    return await csm.account("Globex")


async def test_a_case_is_opened_for_the_owner_worked_on_and_closed(csm: Desk, globex: str) -> None:
    opened = (await csm.done("save_risk", account=globex, category="adoption", summary="Half the seats idle"))["record"]
    assert (opened["state"], opened["owner"]["name"], opened["opened_on"]) == ("open", "Ana Ruiz", "2026-03-16")

    worked = await csm.done(
        "save_risk", account="Globex", expected_version=opened["version"], severity="high", owner="lea@acme.example",
        due_on="2026-03-30", mitigation="Enable two teams; works when 60 % of the seats are active",
    )  # fmt: skip
    record = worked["record"]
    assert (record["id"], record["category"], record["owner"]["name"]) == (opened["id"], "adoption", "Lea Brandt")

    closed = await csm.done(
        "save_risk", account=globex, expected_version=record["version"], outcome="64 % active in three weeks"
    )
    assert (closed["record"]["state"], closed["record"]["closed_on"]) == ("closed", "2026-03-16")

    anew = (await csm.done("save_risk", account=globex, category="sponsor"))["record"]
    assert anew["id"] != opened["id"]


async def test_an_account_has_one_open_case(csm: Desk, globex: str) -> None:
    first = (await csm.done("save_risk", account=globex, category="adoption"))["record"]

    said = await csm.refused("save_risk", account=globex, category="sponsor")
    assert first["id"] in said
    assert "expected_version 1" in said

    await csm.done("save_risk", account=globex, expected_version=1, severity="low")
    stale = await csm.refused("save_risk", account=globex, expected_version=1, outcome="Gone")
    assert "Ana Ruiz changed severity" in stale


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "needs a category"),
        ({"outcome": "Fine"}, "no open risk case to close"),
        ({"expected_version": 1, "severity": "low"}, "closed or was taken back"),
        ({"category": "adoption", "due_on": "2026-03-15"}, "is past"),
        ({"category": "adoption", "severity": "low", "clear": ["severity"]}, "both set and cleared"),
        ({"category": "adoption", "evidence": [{"what": "Seen", "on": "2026-03-17"}]}, "in the future"),
        ({"category": "adoption", "evidence": [{"what": "Seen", "record": "tkt_1"}]}, "no record of Globex"),
    ],
)
async def test_what_is_refused_writes_nothing(csm: Desk, globex: str, given: dict[str, Any], said: str) -> None:
    head = await csm.head()
    assert said in await csm.refused("save_risk", account=globex, **given)
    assert await csm.head() == head


async def test_evidence_names_records_of_its_own_account(csm: Desk, globex: str) -> None:
    note = (await csm.done("add_health_note", account=globex, text="They asked for the exit terms"))["record"]["id"]
    other = await csm.account("Initech")
    elsewhere = (await csm.done("add_health_note", account=other, text="All is well"))["record"]["id"]

    said = await csm.refused(
        "save_risk", account=globex, category="commercial", evidence=[{"what": "Exit terms", "record": elsewhere}]
    )
    assert f"{elsewhere} is no record of Globex" in said

    seen = [{"what": "Asked for exit terms; see [here](https://evil.example)", "record": note, "on": "2026-03-12"}]
    answer = await csm.done("save_risk", account=globex, category="commercial", evidence=seen)
    [kept] = answer["record"]["evidence"]
    assert (kept["record"], kept["on"]) == (note, "2026-03-12")
    assert "https://" not in str(answer.data) + answer.text


async def test_whatever_finds_a_risk_adds_to_the_one_case(
    csm: Desk, team: Team, store: Store, desks: Desks, globex: str
) -> None:
    async def found(*evidence: Evidence) -> None:
        async with writing(store, team.workspace) as work:
            account = await work.accounts.get(globex)
            await attach_evidence(work, account, RiskCategory.support, evidence, summary="Severe tickets")
            await work.flush()

    ticket = Evidence(what="Severity 1 is open", record="tkt_1")
    await found(ticket)
    head = await csm.head()
    await found(ticket)
    assert await csm.head() == head  # what is known writes nothing

    await found(*(Evidence(what=f"Seen {n}") for n in range(MOST_EVIDENCE)))
    said = await csm.refused("save_risk", account=globex, category="support")
    assert "version 2" in said

    record = (await csm.done("save_risk", account=globex, expected_version=2, severity="critical"))["record"]
    assert record["summary"] == "Severe tickets"
    assert record["owner"]["name"] == "Ana Ruiz"
    assert [one["what"] for one in record["evidence"]] == [f"Seen {n}" for n in range(MOST_EVIDENCE)]

    ben = await desks.of(team, "ben")
    assert (await ben.refused("save_risk", account=globex, category="support")).startswith("No account")


async def test_a_note_that_names_a_risk_is_evidence_and_is_not_taken_from_under_it(csm: Desk, globex: str) -> None:
    named = {"text": "The CFO asked for a quote elsewhere", "risk": "competition"}
    before = await csm.done("add_health_note", account=globex, **named)
    assert not before.data.get("triggered")
    await csm.done("save_risk", account=globex, category="commercial")

    noted = await csm.done("add_health_note", account=globex, **named)
    met = await csm.done("log_meeting", account=globex, kind="call", summary="They wait", health_note=named)

    assert "evidence in the open risk case" in noted["triggered"][0]
    [case] = (await csm.done("get_account", account=globex, sections=["risk"]))["risk"]
    ids = [noted["record"]["id"], met["record"]["note"]["id"]]
    assert [one["record"] for one in case["evidence"]] == ids
    assert "quote elsewhere" not in str(case["evidence"])

    # Each write comes back whole, the newest first: no case is left that names a note which is gone.
    said = await csm.call("undo_changes", change=noted["change_id"])
    assert case["id"] in said.text
    [kept] = (await csm.done("get_account", account=globex, sections=["risk"]))["risk"]
    assert [one["record"] for one in kept["evidence"]] == ids
    await csm.done("undo_changes", change=met["change_id"])
    await csm.done("undo_changes", change=noted["change_id"])
    [empty] = (await csm.done("get_account", account=globex, sections=["risk"]))["risk"]
    assert empty.get("evidence", []) == []


async def test_evidence_given_by_hand_keeps_its_record(csm: Desk, globex: str) -> None:
    note = await csm.done("add_health_note", account=globex, text="Half of the seats lie idle")
    evidence = [{"what": "Idle seats", "record": note["record"]["id"]}]
    await csm.done("save_risk", account=globex, category="adoption", evidence=evidence)

    said = await csm.call("undo_changes", change=note["change_id"])

    assert "refers to it" in said.text
    notes = await csm.done("list_health_notes", account=globex)
    assert [one["id"] for one in notes["items"]] == [note["record"]["id"]]


async def test_of_two_merged_accounts_the_kept_ones_case_stays_open(csm: Desk, globex: str) -> None:
    twin = await csm.account("Globex Corp")
    kept = (await csm.done("save_risk", account=globex, category="adoption"))["record"]
    gone = (await csm.done("save_risk", account=twin, category="sponsor"))["record"]

    plan = await csm.done("merge_records", kind="account", keep=globex, merge=twin, reason="One customer")
    assert any(gone["id"] in line and "removed" in line for line in plan["would_trigger"])
    await csm.done("commit_plan", plan=plan["plan_id"])

    assert kept["id"] in await csm.refused("save_risk", account=globex, category="adoption")


async def test_the_account_shows_its_open_case_today_and_on_a_past_day(
    csm: Desk, globex: str, clock: FixedClock
) -> None:
    seen = [{"what": "Log-ins halved"}]
    opened = (await csm.done("save_risk", account=globex, category="adoption", evidence=seen))["record"]
    [case] = (await csm.done("get_account", account=globex))["risk"]
    assert case == {key: value for key, value in opened.items() if key != "account"}
    clock.advance(timedelta(days=10))
    await csm.done("save_risk", account=globex, expected_version=1, outcome="They log in again")

    now = await csm.done("get_account", account=globex, sections=["risk"])
    then = await csm.done("get_account", account=globex, sections=["risk"], as_of="2026-03-20")

    assert "Open risk case: none" in now.text
    assert [case["category"] for case in then["risk"]] == ["adoption"]
    assert "Log-ins halved" in then.text
