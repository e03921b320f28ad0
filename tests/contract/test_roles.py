"""Roles × tools, cell by cell: who is shown what, and that a refusal leaves nothing behind."""

from __future__ import annotations

import pytest

from conftest import Team
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.errors import NotAllowed
from cs_mcp.domain.identity import Role, Scope
from cs_mcp.domain.rights import RIGHTS, may
from cs_mcp.services.accounts.accounts import CreateAccount
from cs_mcp.services.history.changes import CommitPlan
from server._client import Desk, Desks, head_of, serving

# Written by hand a second time, on purpose: a slip in domain/rights.py is not repeated here.
READS = {
    "search", "fetch", "get_timeline",
    "get_workspace", "find_accounts", "get_account", "list_health_notes",
    "list_tasks", "list_changes",
    "list_contacts", "list_renewals", "list_opportunities",
    "explain_health", "get_metrics", "get_health_accuracy", "get_retention", "get_cohorts", "get_forecast",
}  # fmt: skip
WRITES = {
    "create_account", "update_account", "add_health_note", "create_tasks", "update_task", "log_meeting",
    "schedule_meeting", "undo_changes", "move_account_stage", "update_accounts", "merge_records", "save_contact",
    "assign_sponsor", "record_departure",
    "update_renewal", "move_renewal", "override_health", "save_risk",
    "save_opportunity",
}  # fmt: skip
FEEDS = {"record_signals"}
MAY = {
    "viewer": READS,
    "agent": READS | WRITES | FEEDS,
    "csm": READS | WRITES | {"commit_plan"},
    "account_manager": READS | WRITES | {"commit_plan"},
    "cs_leader": READS | WRITES | {"commit_plan"},
    "admin": READS | WRITES | FEEDS | {"commit_plan"},
}
SEAT = {"viewer": "vic", "agent": "bot", "csm": "ana", "account_manager": "kim", "cs_leader": "lea", "admin": "ada"}
# Calls that would succeed for someone with the right: `{account}` and the rest are filled in.
CALLS = {
    "create_account": {"name": "Forbidden Inc"},
    "update_account": {"account": "Northwind", "expected_version": 1, "tier": "gold"},
    "move_account_stage": {
        "account": "Northwind",
        "to_stage": "adoption",
        "expected_version": 1,
        "override_reason": "Forbidden words",
    },
    "update_accounts": {"accounts": ["Northwind"], "tier": "gold", "reason": "Forbidden words"},
    "merge_records": {"kind": "account", "keep": "Northwind", "merge": "Southwind", "reason": "Forbidden words"},
    "add_health_note": {"account": "Northwind", "text": "Forbidden words"},
    "create_tasks": {"account": "Northwind", "tasks": [{"title": "Forbidden task"}]},
    "update_task": {"task": "{task}", "expected_version": 1, "priority": "urgent"},
    "log_meeting": {"account": "Northwind", "kind": "call", "summary": "Forbidden words"},
    "schedule_meeting": {"account": "Northwind", "kind": "call", "on": "2026-03-20", "agenda": "Forbidden words"},
    "undo_changes": {"change": "{change}"},
    "commit_plan": {"plan": "{plan}"},
    "save_contact": {"account": "Northwind", "name": "Forbidden Person"},
    "assign_sponsor": {"account": "Northwind", "contact": "Priya Shah", "role": "champion"},
    "record_departure": {"account": "Northwind", "contact": "Priya Shah"},
    "update_renewal": {"renewal": "Northwind", "expected_version": 1, "decision_criteria": ["Forbidden words"]},
    "move_renewal": {"renewal": "Northwind", "expected_version": 1, "stage": "discovery"},
    "override_health": {"account": "Northwind", "band": "red", "expires_on": "2026-04-01", "reason": "Forbidden words"},
    "save_risk": {"account": "Northwind", "category": "adoption", "summary": "Forbidden words"},
    "save_opportunity": {"account": "Northwind", "name": "Forbidden seats", "kind": "seat"},
    "record_signals": {
        "items": [{"kind": "usage", "account": "Northwind", "on": "2026-03-15", "figures": {"active_users": 3}}]
    },
}


def test_the_table_names_every_role_and_every_tool() -> None:
    assert set(MAY) == {role.value for role in Role}
    assert set(RIGHTS) == READS | WRITES | FEEDS | {"commit_plan"}
    assert set(CALLS) == WRITES | FEEDS | {"commit_plan"}


@pytest.mark.parametrize("role", list(MAY))
async def test_a_role_is_listed_exactly_what_it_may_use(role: str, team: Team, desks: Desks, era: str) -> None:
    desk = await desks.of(team, SEAT[role], mode=era)
    listed = set(await desk.names())
    principal = await team.principal(SEAT[role])

    assert listed == MAY[role]
    assert {tool for tool in RIGHTS if may(principal, tool)} == listed
    assert set((await desk.done("get_workspace"))["may_call"]) == listed


async def test_a_tool_out_of_reach_is_refused_and_writes_nothing(
    team: Team, desks: Desks, era: str, store: Store
) -> None:
    filled = await _something_to_forbid(await desks.of(team, "ana"))
    before = await head_of(store, team.workspace)

    for role, seat in SEAT.items():
        desk = await desks.of(team, seat, mode=era)
        for tool in sorted(set(RIGHTS) - MAY[role]):
            said = await desk.refused(tool, **filled[tool])
            assert "There is no tool" in said, (role, tool)

    assert await head_of(store, team.workspace) == before


async def test_the_use_cases_refuse_too_whatever_is_listed(team: Team, desks: Desks, store: Store) -> None:
    services, bot, vic = team.services, await team.principal("bot"), await team.principal("vic")
    await (await desks.of(team, "ana")).account("Northwind", owner="kim@acme.example")
    proposed = await services.writes.perform(bot, CreateAccount(name="Proposed Inc"))
    before = await head_of(store, team.workspace)

    with pytest.raises(NotAllowed, match="viewer may not use create_account"):
        await services.writes.perform(vic, CreateAccount(name="Forbidden Inc"))
    with pytest.raises(NotAllowed, match="agent may not use commit_plan"):
        await services.changes.decide(bot, CommitPlan(plan=proposed.plan_id))
    with pytest.raises(NotAllowed, match="agent may not use commit_plan"):
        await services.changes.decide(bot, CommitPlan(plan=proposed.plan_id, decision="decline", reason="Own"))

    assert await head_of(store, team.workspace) == before


async def test_a_read_only_server_lists_and_runs_no_write(team: Team, desks: Desks, era: str, store: Store) -> None:
    filled = await _something_to_forbid(await desks.of(team, "ana"))
    before = await head_of(store, team.workspace)
    desk = await desks.of(team, "ada", mode=era, read_only=True)

    assert set(await desk.names()) == READS
    for tool in sorted(set(RIGHTS) - READS):
        assert "There is no tool" in await desk.refused(tool, **filled[tool])

    assert await head_of(store, team.workspace) == before


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        ({Scope.read}, READS),
        ({Scope.read, Scope.write}, READS | WRITES),
        ({Scope.commit}, {"commit_plan"}),
        (set(), set()),
    ],
    ids=["read", "read+write", "commit alone", "none"],
)
async def test_the_scopes_of_a_token_narrow_what_its_role_may(
    scopes: set[Scope], expected: set[str], team: Team, desks: Desks, store_url: str, clock: FixedClock, store: Store
) -> None:
    filled = await _something_to_forbid(await desks.of(team, "ana"))
    before = await head_of(store, team.workspace)
    made = await team.services.identity.create_token(
        team.workspace, email=team.members["ana"].email, label="narrow", scopes=frozenset(scopes)
    )
    with serving(store_url, clock) as http:
        for mode in ("auto", "legacy"):
            async with http.client(made.text, mode) as client:
                desk = Desk(client)
                assert set(await desk.names()) == expected
                for tool in sorted((WRITES | {"commit_plan"}) - expected):
                    assert "There is no tool" in await desk.refused(tool, **filled[tool])

    assert await head_of(store, team.workspace) == before


async def _something_to_forbid(ana: Desk) -> dict[str, dict[str, object]]:
    """A book with an account, a task, a person and a plan, and the calls that would change it."""
    await ana.account("Northwind")
    await ana.done("log_meeting", account="Northwind", kind="call", summary="Met", attendees=[{"name": "Priya Shah"}])
    made = await ana.done("create_tasks", account="Northwind", tasks=[{"title": "Call Priya"}])
    plan = await ana.done("update_account", account="Northwind", expected_version=1, tier="gold", preview=True)
    names = {"{task}": made["record"]["tasks"][0]["id"], "{change}": made["change_id"], "{plan}": plan["plan_id"]}
    return {
        tool: {key: names.get(value, value) if isinstance(value, str) else value for key, value in call.items()}
        for tool, call in CALLS.items()
    }
