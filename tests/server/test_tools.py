"""A day at the desk: every tool once, whole answers compared, the same on both stores and in both eras.

The answers are kept in `answers/`, text above and structure below. After a change that is meant, run
`CS_MCP_UPDATE=1 python -m pytest tests/server/test_tools.py -n 0` and read the diff.
"""

from __future__ import annotations

import json
import os
import re
import time
from itertools import count
from pathlib import Path
from typing import Any

from conftest import Team
from cs_mcp.db.store import Store
from cs_mcp.domain.records import Ids
from cs_mcp.domain.rights import RIGHTS

from ._client import Answer, Desk, Desks, Labels

ANSWERS = Path(__file__).with_name("answers")
# Each has a test file of its own.
LEFT_TO_OTHERS = {
    "list_contacts", "save_contact", "assign_sponsor", "record_departure", "list_renewals", "update_renewal",
    "move_renewal", "search", "fetch", "get_timeline", "schedule_meeting", "move_account_stage", "update_accounts",
    "merge_records", "explain_health", "override_health", "save_risk", "record_signals", "get_metrics",
    "get_health_accuracy", "get_retention", "get_cohorts", "get_forecast", "list_opportunities", "save_opportunity",
}  # fmt: skip
# What the text may leave out: how a name was matched, addresses beside ids, a contact who is simply active.
STRUCTURE_ONLY = {("get_account", "matched_by"), ("get_workspace", "email"), ("get_account", "status")}
STRUCTURE_ONLY |= {("log_meeting", "status")}


async def test_a_day_at_the_desk(ana: Desk, team: Team, desks: Desks, era: str, store: Store) -> None:
    # Ids of one millisecond come in any order; here each has its own, so that answers list records in one order.
    store.ids = Ids(milliseconds=count(time.time_ns() // 1_000_000).__next__)
    day = Day(ana)
    await day("get_workspace")
    account = await day(
        "create_account", name="Northwind Traders", domain="Northwind.example", segment="enterprise", owner="me",
        industry="Retail", employees=120, tags=["pilot", "emea"], renewal_on="2026-09-30", custom={"region": "emea"},
        reason="Won last week",
    )  # fmt: skip
    here = account["record"]["id"]
    met = await day(
        "log_meeting", account="northwind.example", kind="qbr", held_on="2026-03-10", sentiment="positive",
        summary="Adoption is up.\nBudget is *tight*.", decisions=["Roll out to Lyon"], roi_shown=True,
        attendees=[
            {"name": "Priya Shah", "email": "priya@northwind.example", "title": "VP Operations", "level": "vp"},
            {"name": "Tom Lee", "attended": False},
            {"user": "me"},
        ],
        health_note={"text": "Usage up by a third.", "sentiment": "positive"},
        news=[{"contact": "Priya Shah", "news": "champion"}], renewal_intent="renew", forecast_hint="commit",
        product_requests=["SSO"], next_meeting={"kind": "check_in", "on": "2026-04-10"},
        follow_ups=[{"title": "Send the deck", "due_on": "2026-03-20", "assignee": "ben okafor"}],
    )  # fmt: skip
    note = met["record"]["note"]["id"]
    await day("add_health_note", account=here, text="Only in Lyon, it turns out.", corrects=note, risk="adoption")
    await day("list_health_notes", account="NORTHWIND traders")
    made = await day(
        "create_tasks",
        account=here,
        tasks=[
            {"title": "Agree the roll-out", "purpose": "rollout", "priority": "high", "due_on": "2026-03-12"},
            {"title": "Agree it again", "purpose": "rollout"},
            {"title": "Elsewhere", "account": "Nowhere"},
        ],
    )
    await day("list_tasks", account=here)
    task = made["record"]["tasks"][0]
    await day("update_task", task=task["id"], expected_version=task["version"], status="done", outcome="Agreed by mail")
    updated = await day(
        "update_account", account=here, expected_version=1, tier="gold", add_tags=["vip"], clear=["industry"]
    )
    await day("get_account", account="Northwind Traders")
    await day("find_accounts", tag="vip", sum_arr=True)
    planned = await day("update_account", account=here, expected_version=2, employees=150, preview=True)
    await day("commit_plan", plan=planned["plan_id"])
    await day("undo_changes", change=updated["change_id"], reason="Not gold yet")
    await day("undo_changes", change=met["change_id"])

    bot = await desks.of(team, "bot", mode=era)
    day.desk = bot
    proposed = await day("create_account", name="Proposed Inc", reason="Signed on the website")
    day.desk = await desks.of(team, "ada", mode=era)
    await day("list_changes", state="proposed")
    await day("commit_plan", plan=proposed["plan_id"], decision="decline", reason="Not signed yet")
    await day("list_changes", account=here, limit=4)

    assert sorted(day.unsaid) == [], "a host that shows only text loses these"
    assert day.called == set(RIGHTS) - LEFT_TO_OTHERS
    assert {path.stem for path in ANSWERS.glob("*.md")} == day.kept


class Day:
    """Calls tools one after another and compares each answer with the one that is kept."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.called: set[str] = set()
        self.kept: set[str] = set()
        self.unsaid: set[tuple[str, str]] = set()
        self._labels = Labels()

    async def __call__(self, tool: str, **arguments: Any) -> Answer:
        answer = await self.desk.done(tool, **arguments)
        self.called.add(tool)
        name = f"{len(self.kept) + 1:02d}-{tool}"
        self.kept.add(name)
        text, structure = self._labels(answer.text), self._labels(json.dumps(answer.data, indent=1, ensure_ascii=False))
        page = re.sub(r"W[\w-]{20,}", "a-cursor", f"{text}\n\n```json\n{structure}\n```\n")
        path = ANSWERS / f"{name}.md"
        if os.environ.get("CS_MCP_UPDATE"):
            path.write_text(page, encoding="utf-8")
        assert page == path.read_text(encoding="utf-8")
        unsaid = {(tool, where) for where, value in leaves(answer.data) if not is_said(where, value, answer.text)}
        self.unsaid |= unsaid - STRUCTURE_ONLY
        return answer


def leaves(value: Any, where: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, key)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item, where)]
    return [(where, value)]


def is_said(where: str, value: Any, text: str) -> bool:
    if value in (None, "", 0, False):
        return True
    if value is True:
        return where.replace("_", " ") in text.lower()
    if where in ("at", "expires_at", "now"):
        return value[:10] in text
    flat = " ".join(text.split())
    return " ".join(str(value).split()) in flat or str(value).replace("_", " ") in flat
