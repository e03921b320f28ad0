"""Who is high-value: proposed from what the store holds, and adopted by a person through update_accounts."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from conftest import SECRET, Team, new_team
from cs_mcp.cli.commands import app
from cs_mcp.db.store import Store, open_store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind
from cs_mcp.services.accounts.tiers import TierProposals, TierReport
from cs_mcp.services.criteria import default_tier_text
from cs_mcp.services.wiring import Services

from ._client import Desk, Desks, writing
from ._renewals import TODAY, Book

ARR = {"Umbrella": 90_000, "Hooli": 50_000, "Globex": 20_000, "Initech": 9_000, "Soylent": 4_000}


@pytest.fixture
async def ada(team: Team, desks: Desks) -> Desk:
    return await desks.of(team, "ada")


async def book_of_five(desk: Desk, book: Book) -> dict[str, str]:
    ids: dict[str, str] = {}
    for name, arr in ARR.items():
        ids[name] = await desk.account(name, tags=["Strategic"] if name == "Soylent" else [], employees=1_000)
        long = {"term_months": 36, "auto_renew": True, "seats": 20} if name == "Globex" else {}
        await book.signs(ids[name], arr, starts_on=TODAY - timedelta(days=500), **long)
    return ids


async def proposed(store: Store, team: Team, name: str = "ada") -> TierReport:
    return await TierProposals(store).propose(await team.principal(name))


async def test_tiers_are_proposed_with_reasons_and_adopted_by_a_plan(ada: Desk, store: Store, team: Team) -> None:
    book = Book(store, team.workspace)
    ids = await book_of_five(ada, book)
    async with writing(store, team.workspace) as work:
        work.movements.add(
            ArrMovement(
                id=work.ids.new("arr_movement"), account_id=ids["Globex"], on=TODAY - timedelta(days=30),
                kind=MovementKind.expansion, amount_minor=800_000, currency="USD",
            )
        )  # fmt: skip
    who = {"attendees": [{"name": "Priya Shah"}], "news": [{"contact": "Priya Shah", "news": "champion"}]}
    await ada.done("log_meeting", account=ids["Globex"], kind="call", summary="Met", **who)
    ticket = {"kind": "ticket", "account": ids["Hooli"], "severity": 2, "subject": "Slow"}
    opened = [ticket | {"source_id": f"T{n}", "opened_at": "2026-03-01T09:00:00Z"} for n in range(12)]
    await ada.done("record_signals", source="desk", items=opened)

    report = await proposed(store, team)

    assert (report.customers, report.proposed) == (5, {"platinum": 3, "gold": 1, "standard": 1})
    lines = {line.account.name: line for line in report.lines}
    assert {name: (line.tier, line.proposed) for name, line in lines.items()} == {
        "Umbrella": ("standard", "platinum"), "Hooli": ("standard", "gold"), "Globex": ("standard", "platinum"),
        "Soylent": ("standard", "platinum"),
    }  # fmt: skip
    assert lines["Globex"].reasons[:3] == [
        "ARR is rank 3 of 5: gold", "83 of 100 points lift it one tier: platinum", "Growth in a year 0.4: 100 of 100",
    ]  # fmt: skip
    assert any("Tickets per 10,000 of ARR 2.4" in reason for reason in lines["Hooli"].reasons)
    assert lines["Soylent"].reasons[1] == "strategic by its tag Strategic: platinum"

    for call in report.adopt:
        plan = await ada.done("update_accounts", accounts=call.accounts, tier=call.tier, reason="Tiers of the quarter")
        await ada.done("commit_plan", plan=plan["plan_id"])
    again = await proposed(store, team)
    assert (again.lines, again.adopt, again.now) == ([], [], report.proposed)


async def test_who_sees_a_part_ranks_that_part_and_other_currencies_need_a_rate(
    csm: Desk, ada: Desk, store: Store, team: Team
) -> None:
    await book_of_five(ada, Book(store, team.workspace))
    mine = await csm.account("Acme")
    await Book(store, team.workspace).signs(mine, 1_000)
    yen = await csm.account("Kaiyo", currency="JPY")
    async with writing(store, team.workspace) as work:
        work.movements.add(
            ArrMovement(
                id=work.ids.new("arr_movement"), account_id=yen, on=TODAY, kind=MovementKind.new,
                amount_minor=10_000_000, currency="JPY",
            )
        )  # fmt: skip

    report = await proposed(store, team, "ana")

    assert (report.scope, report.customers) == ("the accounts you see", 1)
    assert [one.name for one in report.without_rate] == ["Kaiyo"]
    assert "Not ranked, for want of an exchange rate: Kaiyo" in report.text("")


async def test_tiers_are_a_metric_too(ada: Desk, csm: Desk, store: Store, team: Team) -> None:
    ids = await book_of_five(ada, Book(store, team.workspace))
    found = await ada.done("get_metrics", metric="tiers", limit=1)
    counted, moves = found["tables"]
    assert [(row["label"], row["before"], row["after"]) for row in counted["rows"]] == [
        ("platinum", 0, 2), ("gold", 0, 2), ("standard", 5, 1),
    ]  # fmt: skip
    [largest] = moves["rows"]
    assert (largest["account"]["id"], largest["label"]) == (ids["Umbrella"], "standard → platinum")
    assert largest["formula"].startswith("ARR is rank 1 of 5: platinum")
    assert found["left_out"][0]["what"] == "3 of 4 moves"
    assert any("update_accounts" in note for note in found["notes"])

    mine = await ada.done("get_metrics", metric="tiers", owner="ana@acme.example")
    assert mine["tables"][1]["rows"] == []
    none = await csm.done("get_metrics", metric="tiers")
    assert "Ranked among the 0 customers you see." in none["notes"]


def test_the_command_line_proposes_and_takes_changed_criteria(
    sqlite_url: str, tmp_path: Path, clock: FixedClock
) -> None:
    async def arranged() -> None:
        store = await open_store(sqlite_url, clock=clock)
        team = await new_team(Services(store, SECRET))
        desks = Desks()
        try:
            await book_of_five(await desks.of(team, "ada"), Book(store, team.workspace))
        finally:
            await desks.close()
            await store.close()

    asyncio.run(arranged())

    def said(*words: str, code: int = 0) -> str:
        answer = CliRunner().invoke(app, ["tiers", *words])
        assert answer.exit_code == code, (answer.stdout, answer.stderr, answer.exception)
        return answer.stdout if code == 0 else answer.stderr

    text = said("propose", "--db", sqlite_url)
    assert "5 customers as of" in text
    assert "update_accounts with tier 'platinum'" in text
    ours = tmp_path / "ours.yaml"
    assert said("show") == default_tier_text()
    ours.write_text(default_tier_text().replace("platinum: 0.2", "platinum: 0.0").replace("[strategic]", "[]"))
    told: dict[str, Any] = json.loads(said("propose", "--db", sqlite_url, "--criteria", str(ours), "--json"))
    assert told["proposed"]["gold"] == 2
    assert "platinum" not in told["proposed"]
    ours.write_text("criteria: []")
    assert "Start from 'cs-mcp tiers show'" in said("propose", "--db", sqlite_url, "--criteria", str(ours), code=2)
