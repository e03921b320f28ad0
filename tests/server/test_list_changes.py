"""list_changes: who changed what, the feed that skips nothing, and what waits for a person."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from conftest import Team
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import FixedClock

from ._client import Desk, Desks
from ._renewals import Book


@pytest.fixture
async def northwind(csm: Desk) -> str:
    return await csm.account("Northwind")


async def tools(desk: Desk, **filters: Any) -> list[str]:
    return [item["tool"] for item in (await desk.done("list_changes", **filters))["items"]]


async def test_the_record_of_a_write_says_who_when_why_and_both_values(csm: Desk, northwind: str, team: Team) -> None:
    done = await csm.done("update_account", account=northwind, expected_version=1, tier="gold", reason="They grew")
    answer = await csm.done("list_changes", change=done["change_id"])
    [line] = answer["items"]
    assert line == {
        "seq": line["seq"],
        "change_id": done["change_id"],
        "at": "2026-03-16T09:30:00Z",
        "by": "Ana Ruiz",
        "by_id": team.members["ana"].id,
        "client": "stdio",
        "tool": "update_account",
        "reason": "They grew",
        "records": [
            {
                "id": northwind,
                "record": "account",
                "did": "updated",
                "account": "Northwind",
                "fields": [{"field": "tier", "before": "standard", "after": "gold"}],
            }
        ],
    }
    assert f"updated account Northwind {northwind} (tier: standard → gold)" in answer.text
    assert "reason: They grew" in answer.text


async def test_amounts_have_their_currency_and_people_their_names(
    csm: Desk, northwind: str, team: Team, store: Store
) -> None:
    book = Book(store, team.workspace)
    await book.signs(northwind)
    [renewal] = (await csm.done("list_renewals", fields=["version"]))["items"]
    set_to = {"renewal": renewal["id"], "expected_version": renewal["version"], "reason": "They shrink"}
    asked = set_to | {"amount": {"amount": "4800", "currency": "USD"}, "owner": "Lea Brandt"}

    preview = await csm.done("update_renewal", **asked, preview=True)
    [waits] = (await csm.done("list_changes", state="proposed"))["items"]
    done = await csm.done("update_renewal", **asked)
    [line] = (await csm.done("list_changes", change=done["change_id"]))["items"]

    lea = team.members["lea"].id
    fields = [
        {"field": "amount", "before": "12,000.00 USD", "after": "4,800.00 USD"},
        {"field": "owner_id", "after": f"Lea Brandt ({lea})"},
    ]
    for [change] in (preview["differences"], waits["records"], done["changed"], line["records"]):
        assert [f for f in change["fields"] if f["field"] in ("amount", "owner_id")] == fields
    for told in (preview.data, waits, line):
        [change] = told.get("differences") or told["records"]
        assert change["account"] == "Northwind"
    assert f"updated renewal {renewal['id']} of Northwind" in preview.text


async def test_each_filter_narrows(csm: Desk, northwind: str, clock: FixedClock, team: Team, desks: Desks) -> None:
    clock.advance(timedelta(days=1))
    note = await csm.done("add_health_note", account=northwind, text="x")
    other = await csm.account("Other")
    clock.advance(timedelta(days=1))
    lea = await desks.of(team, "lea")
    await lea.done("update_account", account=northwind, expected_version=1, tier="gold")

    assert await tools(csm, account="Northwind") == ["update_account", "add_health_note", "create_account"]
    assert await tools(csm, record=note["record"]["id"]) == ["add_health_note"]
    assert await tools(csm, record=other) == ["create_account"]
    assert await tools(csm, by="Lea Brandt") == ["update_account"]
    assert await tools(csm, by="me", account=northwind) == ["add_health_note", "create_account"]
    assert await tools(csm, made_by_tool="add_health_note") == ["add_health_note"]
    assert await tools(csm, change=note["change_id"]) == ["add_health_note"]
    assert await tools(csm, account=northwind, period_start="2026-03-17") == ["update_account", "add_health_note"]
    assert await tools(csm, account=northwind, period_end="2026-03-16") == ["create_account"]
    assert await tools(csm, account=northwind, period_start="2026-03-17", period_end="2026-03-17") == [
        "add_health_note"
    ]
    assert await tools(csm, run="run_000000000000000000") == []


@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_the_feed_gives_every_entry_once_while_others_write(csm: Desk, northwind: str, limit: int) -> None:
    start = (await csm.done("list_changes", limit=1))["history_head"]
    made = [(await csm.done("add_health_note", account=northwind, text=f"Note {n}"))["change_id"] for n in range(8)]
    heard: list[str] = []
    after, late = start, 0
    for _ in range(40):
        page = await csm.done("list_changes", after=after, limit=limit)
        heard += [item["change_id"] for item in page["items"]]
        if late < 4:
            late += 1
            made.append((await csm.done("create_tasks", account=northwind, tasks=[{"title": str(late)}]))["change_id"])
        if not page["items"]:
            break
        # Past the page where there is more, past the head where there is not.
        after = page["items"][-1]["seq"] if "next_cursor" in page.data else page["history_head"]
    assert heard == made


async def test_pages_backwards_stay_put_while_others_write(csm: Desk, northwind: str) -> None:
    made = [(await csm.done("add_health_note", account=northwind, text=str(n)))["change_id"] for n in range(9)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(10):
        page = await csm.done("list_changes", made_by_tool="add_health_note", limit=2, **cursor)
        seen += [item["change_id"] for item in page["items"]]
        if (token := page.data.get("next_cursor")) is None:
            break
        cursor = {"cursor": token}
        await csm.done("add_health_note", account=northwind, text="later")
    assert seen == made[::-1]


async def test_what_waits_is_shown_to_who_may_decide_it(csm: Desk, team: Team, desks: Desks, clock: FixedClock) -> None:
    bot, lea, vic, ben = [await desks.of(team, name) for name in ("bot", "lea", "vic", "ben")]
    open_account = await bot.done("create_account", name="Proposed Inc")
    shared = (await csm.done("create_account", name="Nobody's"))["record"]["id"]
    touched = await bot.done(
        "update_account", account=shared, expected_version=1, owner="ana ruiz", reason="Her region"
    )
    own = await csm.done("update_account", account=shared, expected_version=1, tier="gold", preview=True)

    async def waiting(desk: Desk, **filters: Any) -> set[str]:
        answer = await desk.done("list_changes", state="proposed", **filters)
        assert answer["total"] == len(answer["items"])
        return {item["plan_id"] for item in answer["items"]}

    proposals = {open_account["plan_id"], touched["plan_id"]}
    assert await waiting(csm) == proposals | {own["plan_id"]}
    assert await waiting(lea) == await waiting(ben) == proposals
    assert await waiting(bot) == proposals
    assert await waiting(csm, account=shared) == {touched["plan_id"], own["plan_id"]}
    assert await waiting(csm, by="Night Agent") == proposals
    assert await waiting(csm, made_by_tool="create_account") == {open_account["plan_id"]}
    assert await waiting(csm, record=shared) == {touched["plan_id"], own["plan_id"]}
    text = (await csm.done("list_changes", state="proposed")).text
    assert "waits until 2026-03-23 09:30 UTC; reason: Her region" in text
    assert (await vic.done("list_changes", state="proposed"))["total"] == 2

    clock.advance(timedelta(minutes=10))
    assert await waiting(csm) == proposals
    clock.advance(timedelta(days=7))
    assert await waiting(csm) == set()
    assert "expired" in await csm.refused("commit_plan", plan=touched["plan_id"])


async def test_proposals_past_a_page_are_a_cursor_away(csm: Desk, team: Team, desks: Desks) -> None:
    bot = await desks.of(team, "bot")
    made = {(await bot.done("create_account", name=f"Proposed {n}"))["plan_id"] for n in range(7)}
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(7):
        page = await csm.done("list_changes", state="proposed", limit=3, **cursor)
        seen += [item["plan_id"] for item in page["items"]]
        assert page["total"] == 7
        if (token := page.data.get("next_cursor")) is None:
            break
        cursor = {"cursor": token}
    assert len(seen) == 7
    assert set(seen) == made
