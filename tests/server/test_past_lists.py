"""find_accounts with as_of: the book as it was on a past day."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from conftest import Team
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.services.health.scoring import Scoring

from ._client import Desk, Desks
from ._renewals import Book, is_known


@pytest.fixture
async def moved(ana: Desk, clock: FixedClock) -> dict[str, str]:
    """Three accounts; ten days later one is renamed and grows up, one is added; it is now twenty days later."""
    ids = {
        name: await ana.account(name, segment="smb", renewal_on=f"2026-0{month}-01")
        for month, name in enumerate(("Acme", "Bravo", "Cargo"), start=5)
    }
    clock.advance(timedelta(days=10))
    await ana.done(
        "update_account", account="Bravo", expected_version=1, name="Zulu", segment="enterprise", clear=["renewal_on"]
    )
    ids["Delta"] = await ana.account("Delta")
    clock.advance(timedelta(days=10))
    return ids


async def test_a_past_list_has_the_fields_of_that_day(ana: Desk, moved: dict[str, str]) -> None:
    then = await ana.done("find_accounts", as_of="2026-03-20", sort="name", fields=["segment", "renewal_on"])
    now = await ana.done("find_accounts", sort="name", fields=["segment", "renewal_on"])

    assert [(a["name"], a["segment"], a.get("renewal_on")) for a in then["items"]] == [
        ("Acme", "smb", "2026-05-01"),
        ("Bravo", "smb", "2026-06-01"),
        ("Cargo", "smb", "2026-07-01"),
    ]
    assert [(a["name"], a["segment"], a.get("renewal_on")) for a in now["items"]] == [
        ("Acme", "smb", "2026-05-01"),
        ("Cargo", "smb", "2026-07-01"),
        ("Delta", "smb", None),
        ("Zulu", "enterprise", None),
    ]


async def test_filters_and_sorts_apply_to_the_past(ana: Desk, moved: dict[str, str]) -> None:
    async def named(**asked: object) -> list[str]:
        return [item["name"] for item in (await ana.done("find_accounts", **asked))["items"]]

    assert await named(as_of="2026-03-20", segment=["enterprise"]) == []
    assert await named(as_of="2026-03-30", segment=["enterprise"]) == ["Zulu"]
    assert await named(as_of="2026-03-20", text="brav") == ["Bravo"]
    assert await named(as_of="2026-03-30", missing=["renewal_on"], sort="name") == ["Delta", "Zulu"]
    assert await named(as_of="2026-03-30", sort="renewal_on") == ["Acme", "Cargo", *sorted(
        ("Delta", "Zulu"), key=lambda name: moved.get(name, moved["Bravo"])
    )]  # fmt: skip
    assert await named(as_of="2026-03-10") == []


async def test_pages_of_the_past_join_up(ana: Desk, moved: dict[str, str]) -> None:
    first = await ana.done("find_accounts", as_of="2026-03-30", sort="renewal_on", limit=3)
    rest = await ana.done("find_accounts", as_of="2026-03-30", sort="renewal_on", limit=3, cursor=first["next_cursor"])

    assert (first["total"], len(first.ids), len(rest.ids)) == (4, 3, 1)
    assert sorted(first.ids + rest.ids) == sorted(moved.values())


async def test_what_a_past_list_cannot_know_is_refused_with_where_it_is_known(ana: Desk, moved: dict[str, str]) -> None:
    for asked in ({"sort": "-last_touch_on"}, {"missing": ["champion"]}):
        said = await ana.refused("find_accounts", as_of="2026-03-20", **asked)
        assert "not known for a past day" in said
        assert "get_account" in said
    assert "2026-04-06 is in the future; today is 2026-04-05" in await ana.refused("find_accounts", as_of="2026-04-06")


async def test_health_of_a_past_day_is_what_the_list_showed(
    csm: Desk, desks: Desks, moved: dict[str, str], store: Store, team: Team, clock: FixedClock
) -> None:
    operator = await team.services.identity.operator(team.workspace)
    questions: list[dict[str, Any]] = [
        {"sort": "-health_score", "fields": ["health"]},
        {"sort": "health_trend", "fields": ["health"]},
        {"band": ["red"], "sort": "name", "fields": ["health"]},
        {"missing": ["health_score"], "sort": "name"},
        {"score": {"min": 60}, "sort": "health_score", "fields": ["health", "segment"]},
    ]
    said: dict[date, list[Any]] = {}

    async def end_of_day() -> None:
        await Scoring(store).score_all(operator)
        said[clock.now().date()] = [(await csm.done("find_accounts", **asked))["items"] for asked in questions]
        clock.advance(timedelta(days=20))

    ada = await desks.of(team, "ada")
    for account, nps in (("Acme", 10), ("Cargo", 2)):
        await is_known(csm, ada, moved[account], nps)
    await end_of_day()
    over = {"account": "Acme", "band": "red", "expires_on": "2026-06-30", "reason": "Heard otherwise"}
    await csm.done("override_health", **over)
    await end_of_day()
    await csm.done("override_health", account="Acme", clear=True, reason="Taken back")
    await csm.done("log_meeting", account="Cargo", kind="call", summary="Good again", sentiment="positive")
    await end_of_day()

    for day, told in said.items():
        for asked, then in zip(questions, told, strict=True):
            assert (await csm.done("find_accounts", **asked, as_of=str(day)))["items"] == then, (day, asked)
    assert len({str(told) for told in said.values()}) == len(said)
    shown = [row for told in said.values() for row in told[0]]
    assert {row["health_band"] for row in shown} >= {"red", "green", "unknown"}
    assert any(row.get("health_trend") for row in shown)
    between = await csm.done("find_accounts", as_of="2026-04-10", fields=["health"])
    assert "Bands are by the scores of 2026-04-05, the last kept by 2026-04-10." in between.text


async def test_as_of_today_is_today(ana: Desk, moved: dict[str, str]) -> None:
    now = await ana.done("find_accounts", sort="name")
    told = await ana.done("find_accounts", sort="name", as_of="2026-04-05")

    assert told["items"] == now["items"]
    assert told.data.get("notes", []) == []


async def test_a_customer_of_that_day_who_came_on_record_later_is_in_its_book(
    ana: Desk, moved: dict[str, str], store: Store, team: Team
) -> None:
    await Book(store, team.workspace).signs(moved["Acme"], starts_on=date(2025, 6, 1))

    then = await ana.done("find_accounts", as_of="2025-12-31", sum_arr=True, fields=["segment", "arr"])

    assert [(item["name"], item["segment"], item["arr"]["amount"]) for item in then["items"]] == [
        ("Acme", "smb", "12000.00")
    ]
    assert [total["amount"] for total in then["arr_total"]] == ["12000.00"]
    assert "1 of them came on record after 2025-12-31" in then.text
    assert (await ana.done("find_accounts", as_of="2025-05-31"))["items"] == []
