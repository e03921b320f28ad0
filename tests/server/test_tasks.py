"""Tasks and notes: what a batch reports, what a task may become, and pages that stay put."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from conftest import NOW, Team
from cs_mcp.db.store import Store

from ._client import Desk, Desks, head_of

TODAY = NOW.date()


def day(offset: int) -> str:
    return str(TODAY + timedelta(days=offset))


@pytest.fixture
async def northwind(csm: Desk) -> str:
    return await csm.account("Northwind")


async def task(desk: Desk, **fields: Any) -> dict[str, Any]:
    made = await desk.done("create_tasks", account="Northwind", tasks=[{"title": "Call them", **fields}])
    return made["record"]["tasks"][0]


async def titles(desk: Desk, **filters: Any) -> list[str]:
    return [item["title"] for item in (await desk.done("list_tasks", **filters))["items"]]


async def test_each_task_of_a_batch_is_reported_and_the_good_ones_made(
    csm: Desk, northwind: str, desks: Desks, team: Team
) -> None:
    other = await csm.account("Other")
    his = await (await desks.of(team, "ben")).account("His")
    made = await csm.done(
        "create_tasks",
        account="Northwind",
        tasks=[
            {"title": "Here", "purpose": "p"},
            {"title": "Twin", "purpose": "p"},
            {"title": "There", "account": "Other", "purpose": "p"},
            {"title": "Hidden", "account": his},
            {"title": "Whose", "assignee": "Nobody Known"},
        ],
    )
    assert [(item["index"], item["outcome"]) for item in made["items"]] == [
        (0, "done"), (1, "refused"), (2, "done"), (3, "refused"), (4, "refused"),
    ]  # fmt: skip
    assert "purpose 'p' exists: Here" in made["items"][1]["why"]
    assert "No account has the id" in made["items"][3]["why"]
    assert "No user is called" in made["items"][4]["why"]
    assert all(f"item {index}: refused" in made.text for index in (1, 3, 4))
    assert [(t["title"], t["account"]["id"]) for t in made["record"]["tasks"]] == [
        ("Here", northwind),
        ("There", other),
    ]
    assert sorted(await titles(csm)) == ["Here", "There"]


async def test_a_batch_with_nothing_good_is_refused_whole(csm: Desk, northwind: str, team: Team, store: Store) -> None:
    before = await head_of(store, team.workspace)
    assert "No user is called" in await csm.refused(
        "create_tasks", account="Northwind", tasks=[{"title": str(n), "assignee": "Nobody Known"} for n in range(3)]
    )
    assert await head_of(store, team.workspace) == before


async def test_a_task_is_done_with_an_outcome_and_can_be_opened_again(csm: Desk, northwind: str) -> None:
    made = await task(csm, purpose="p", due_on=day(-1))
    assert made | {"overdue": True, "assignee": made["assignee"]} == made
    bare = await csm.refused("update_task", task=made["id"], expected_version=1, status="done")
    done = await csm.done("update_task", task=made["id"], expected_version=1, status="done", outcome="They agreed")
    again = await csm.done("update_task", task=made["id"], expected_version=2, status="open")

    assert "cannot be done without an outcome" in bare
    assert (done["record"]["done_on"], done["record"]["outcome"], done["record"]["overdue"]) == (
        day(0),
        "They agreed",
        False,
    )
    assert "They agreed" in done.text
    assert again["record"]["status"] == "open"
    assert "done_on" not in again["record"]


async def test_a_snoozed_task_sleeps_until_its_day(csm: Desk, northwind: str, clock: Any) -> None:
    made = await task(csm)
    for past in (0, -1):
        assert "is not after today" in await csm.refused(
            "update_task", task=made["id"], expected_version=1, snooze_until=day(past)
        )
    await csm.done("update_task", task=made["id"], expected_version=1, snooze_until=day(2))
    assert await titles(csm) == []
    assert await titles(csm, snoozed=True) == ["Call them"]
    clock.advance(timedelta(days=2))
    assert await titles(csm) == ["Call them"]
    await csm.done("update_task", task=made["id"], expected_version=2, clear=["snooze_until", "assignee"])
    assert await titles(csm, assignee="none") == ["Call them"]


async def test_a_task_is_passed_on_renamed_and_ranked(csm: Desk, northwind: str, team: Team) -> None:
    made = await task(csm, due_on=day(5))
    changed = await csm.done(
        "update_task",
        task=made["id"],
        expected_version=1,
        assignee="ben okafor",
        title="Ring",
        priority="urgent",
        due_on=day(6),
    )
    assert changed["record"]["assignee"] == {"id": team.members["ben"].id, "name": "Ben Okafor"}
    assert (changed["record"]["title"], changed["record"]["priority"], changed["record"]["due_on"]) == (
        "Ring",
        "urgent",
        day(6),
    )
    assert "both set and cleared" in await csm.refused(
        "update_task", task=made["id"], expected_version=2, due_on=day(1), clear=["due_on"]
    )
    assert "changed since version 1" in await csm.refused("update_task", task=made["id"], expected_version=1, title="x")


async def test_reopening_beside_a_twin_of_the_same_purpose_is_refused(csm: Desk, northwind: str) -> None:
    first = await task(csm, purpose="p")
    await csm.done("update_task", task=first["id"], expected_version=1, status="canceled")
    await task(csm, purpose="p")
    said = await csm.refused("update_task", task=first["id"], expected_version=2, status="open")
    assert "an open task with this purpose exists" in said


async def test_lists_of_tasks_filter_by_all_they_say(csm: Desk, northwind: str) -> None:
    await task(csm, title="late", due_on=day(-3), priority="high")
    await task(csm, title="soon", due_on=day(3))
    await task(csm, title="some day", assignee="ben okafor")
    closed = await task(csm, title="closed", due_on=day(-9))
    await csm.done("update_task", task=closed["id"], expected_version=1, status="canceled")

    assert await titles(csm) == ["late", "soon", "some day"]
    assert await titles(csm, overdue=True) == ["late"]
    assert await titles(csm, overdue=True, status=["canceled"]) == ["late"]
    assert await titles(csm, status=["canceled", "done"]) == ["closed"]
    assert await titles(csm, priority=["high", "urgent"]) == ["late"]
    assert await titles(csm, due_from=day(0), due_to=day(3)) == ["soon"]
    assert await titles(csm, assignee="Ben Okafor") == ["some day"]


async def test_pages_of_tasks_and_notes_stay_put_while_rows_come_and_change(csm: Desk, northwind: str) -> None:
    for start in (0, 20):
        batch = [{"title": f"Task {n}", **({"due_on": day(n // 3)} if n % 4 else {})} for n in range(start, start + 20)]
        await csm.done("create_tasks", account="Northwind", tasks=batch)
    for n in range(20):
        await csm.done("add_health_note", account="Northwind", text=f"Note {n}", written_on=day(-(n // 3)))
    tasks, notes = Counter[str](), Counter[str]()
    for tool, met in (("list_tasks", tasks), ("list_health_notes", notes)):
        cursor: dict[str, str] = {}
        for number in range(20):
            page = await csm.done(tool, limit=6, **cursor)
            met.update(item.get("title") or item["note"]["text"] for item in page["items"])
            if (token := page.data.get("next_cursor")) is None:
                break
            cursor = {"cursor": token}
            await csm.done(
                "create_tasks", account="Northwind", tasks=[{"title": f"New {number}", "due_on": day(number)}]
            )
            await csm.done("add_health_note", account="Northwind", text=f"New {number}", written_on=day(-number))
            here = page["items"][0]
            if tool == "list_tasks":
                await csm.done("update_task", task=here["id"], expected_version=here["version"], due_on=day(-9))
    assert [n for n in range(40) if tasks[f"Task {n}"] != 1] == []
    assert [n for n in range(20) if notes[f"Note {n}"] != 1] == []
    assert max(tasks.values()) == max(notes.values()) == 1


async def test_notes_filter_by_author_feeling_risk_and_days(
    csm: Desk, northwind: str, desks: Desks, team: Team
) -> None:
    add: dict[str, Any] = {"account": "Northwind"}
    await csm.done("add_health_note", **add, text="up", sentiment="positive", written_on=day(-1))
    await csm.done("add_health_note", **add, text="down", sentiment="negative", risk="product", written_on=day(-2))
    await (await desks.of(team, "lea")).done("add_health_note", **add, text="hers", risk="sponsor")

    async def found(**filters: Any) -> list[str]:
        return [item["note"]["text"] for item in (await csm.done("list_health_notes", **filters))["items"]]

    assert await found() == ["hers", "up", "down"]
    assert await found(author="me") == ["up", "down"]
    assert await found(author="Lea Brandt", account="Northwind") == ["hers"]
    assert await found(sentiment=["negative"]) == ["down"]
    assert await found(risk=["product", "sponsor"]) == ["hers", "down"]
    assert await found(period_start=day(-1), period_end=day(-1)) == ["up"]
    assert await found(period_start=day(-2), period_end=day(-1)) == ["up", "down"]


@pytest.mark.parametrize("budget", [300, 1_000])
async def test_a_budget_binds_notes_and_the_account_and_says_what_is_left(
    csm: Desk, northwind: str, budget: int
) -> None:
    for n in range(12):
        await csm.done("add_health_note", account="Northwind", text=f"Note {n} " + "long " * 60)
    allowed = budget * 3.3
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(13):
        page = await csm.done("list_health_notes", budget_tokens=budget, **cursor)
        assert max(len(page.text.encode()), _bytes(page.data)) <= allowed or len(page["items"]) == 1
        seen += page.ids
        if (token := page.data.get("next_cursor")) is None:
            break
        cursor = {"cursor": token}
    assert len(seen) == len(set(seen)) == 12

    whole = await csm.done("get_account", account="Northwind", budget_tokens=budget)
    assert max(len(whole.text.encode()), _bytes(whole.data)) <= allowed
    [left] = whole["left_out"]
    assert left == {"what": f"{12 - len(whole['notes'])} of 12 notes", "call": "list_health_notes with this account"}
    assert f"Left out: {left['what']}. Call {left['call']}." in whole.text


async def test_a_long_note_is_cut_in_brief_with_a_mark_and_whole_in_full(csm: Desk, northwind: str) -> None:
    text = "word " * 1_000
    await csm.done("add_health_note", account="Northwind", text=text)
    [brief] = (await csm.done("list_health_notes"))["items"]
    [full] = (await csm.done("list_health_notes", detail="full"))["items"]
    assert len(brief["note"]["text"]) == 600
    assert brief["note"]["text"].endswith("…")
    assert full["note"]["text"].strip() == text.strip()


def _bytes(data: Any) -> int:
    return len(json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode())
