"""get_health_accuracy over a small book whose figures are counted by hand."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from conftest import Team
from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.bulk import bulk_create
from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.history.changes import Act
from cs_mcp.db.revenue.subscriptions import ArrMovementRow
from cs_mcp.db.signals.signals import TicketRow
from cs_mcp.services.health.rubric_files import default_text
from cs_mcp.services.health.rubrics import Rubrics

from ._client import Desk, Desks

PERIOD = {"period_start": "2025-06-16", "period_end": "2025-08-16"}  # three days, 180 more by 2026-02-12
LEFT_ON = date(2025, 10, 20)  # 65 days after the last of them


@pytest.fixture
async def book(team: Team) -> None:
    """Ana's: 12 content, 2 troubled that stayed, 5 troubled that left, 1 content that left. Ben's: 4 content."""
    rubric = default_text().replace("min_coverage: 0.3 ", "min_coverage: 0.1 ").replace('"1.0"', '"1.0-low"')
    operator = await team.services.identity.operator(team.workspace)
    await Rubrics(team.services.store).adopt(operator, rubric)
    store = team.services.store
    act = Act(change_id=store.ids.new("change"), actor_id=operator.user, tool="a test", at=store.clock.now())
    rows: dict[Any, list[dict[str, Any]]] = {AccountRow: [], TicketRow: [], HealthNoteRow: [], ArrMovementRow: []}
    kinds = [("ana", False, False)] * 12 + [("ana", True, False)] * 2 + [("ana", True, True)] * 5
    kinds += [("ana", False, True)] + [("ben", False, False)] * 4
    for number, (owner, troubled, leaves) in enumerate(kinds):
        account = store.ids.new("account")

        def add(row: Any, account: str = account, **values: Any) -> None:
            rows[row].append({"id": store.ids.new(row.__tablename__), "account_id": account} | values)

        rows[AccountRow].append({
            "id": account, "name": f"Customer {number}", "segment": "smb", "tier": "standard", "touch": "low",
            "stage": "churned" if leaves else "adoption", "onboarding_status": "complete", "currency": "USD",
            "owner_id": team.members[owner].id, "tags": [], "custom": {},
        })  # fmt: skip
        add(ArrMovementRow, on=date(2025, 1, 1), kind="new", amount_minor=900_000, currency="USD")
        if leaves:
            add(ArrMovementRow, on=LEFT_ON, kind="churn", amount_minor=-900_000, currency="USD")
        for _ in range(6 if troubled else 1):
            opened, solved = datetime(2025, 6, 1, 9, tzinfo=UTC), datetime(2025, 6, 1, 12, tzinfo=UTC)
            add(TicketRow, severity=1 if troubled else 4, opened_at=opened, escalated=troubled,
                resolved_at=None if troubled else solved, status="open" if troubled else "resolved")  # fmt: skip
        sentiment = "negative" if troubled else "positive"
        add(HealthNoteRow, written_on=date(2025, 6, 2), text="A note.", sentiment=sentiment)
    async with store.unit_of_work(operator, act) as work:
        for row, values in rows.items():
            await bulk_create(work, row, values)


def figures(share: dict[str, Any]) -> tuple[int, int, int]:
    return share["hits"], share["of"], share["accounts"]


async def test_figures_are_those_counted_by_hand(csm: Desk, book: None) -> None:
    told = await csm.done("get_health_accuracy", **PERIOD)

    everyone, *segments = told["slices"]
    red = everyone["warnings"][0]
    assert (told["scored_days"], told["complete_to"], told["rubric"]) == (3, "2025-08-16", "1.0-low")
    assert (everyone["cases"], everyone["accounts"], everyone["churned_accounts"]) == (60, 20, 6)
    assert red["bands"] == "red"
    assert figures(red["precision"]) == (15, 21, 7)
    assert figures(red["recall"]) == (15, 18, 6)
    assert figures(red["false_alarms"]) == (6, 42, 14)
    assert figures(red["flagged_60_days_ahead"]) == (5, 6, 6)
    # Of two accounts on whatever days: troubled ones tie with troubled ones, content ones with content ones.
    assert everyone["auc"]["value"] == pytest.approx((5 * (12 + 2 * 0.5) + 1 * 12 * 0.5) / (6 * 14), abs=1e-4)
    assert [(s["name"], s["cases"]) for s in segments] == [("smb", 60)]
    assert {band["band"]: figures(band["churn"])[:2] for band in told["bands"]} == {"green": (3, 39), "red": (15, 21)}
    assert sum(found["churn"]["of"] for found in told["calibration"]) == 60
    # 5 of 6 as if each account had been seen once, by Wilson.
    assert (red["recall"]["low"], red["recall"]["high"]) == pytest.approx((0.4365, 0.9699), abs=1e-4)
    assert told["verdict"].startswith("The score tells who leaves better than chance: AUC 0.85, between")
    assert "Only 6 accounts churned: too few to judge" in told["verdict"]
    for words in (told["verdict"], "15/21", "Precision:", "dated on or before it"):
        assert words in told.text
    assert max(len(told.text.encode()), len(json.dumps(told.data).encode())) < 4_000 * 3.3


async def test_everybody_counts_the_accounts_they_may_see(desks: Desks, team: Team, book: None) -> None:
    told = {name: await (await desks.of(team, name)).done("get_health_accuracy", **PERIOD) for name in ("ben", "lea")}

    assert {name: answer["slices"][0]["accounts"] for name, answer in told.items()} == {"ben": 4, "lea": 24}
    assert told["ben"]["scope"] == "the accounts you may see"
    assert told["ben"]["verdict"].startswith("Nobody churned within the horizon of a scored day: nothing can be said")


async def test_days_whose_horizon_is_not_over_say_nothing_yet(csm: Desk, book: None) -> None:
    told = await csm.done("get_health_accuracy", period_start="2025-06-16", horizon_days=365)
    assert (told["scored_days"], told["slices"][0]["cases"]) == (10, 0)
    assert "No scored day lies 365 days back" in told.text
    # A churn that happened is known all the same, and was it flagged?
    assert figures(told["slices"][0]["warnings"][0]["flagged_60_days_ahead"]) == (5, 6, 6)


async def test_the_picture_is_a_png_beside_the_text(csm: Desk, book: None) -> None:
    result = await csm.client.call_tool("get_health_accuracy", PERIOD | {"image": True})

    text, picture = result.content
    assert text.type == "text"
    assert picture.type == "image"
    png = base64.b64decode(picture.data)
    assert (picture.mime_type, png[:8]) == ("image/png", b"\x89PNG\r\n\x1a\n")
    assert len(png) > 5_000


async def test_a_period_that_cannot_be_replayed_is_named(csm: Desk) -> None:
    for wrong, said in (
        ({"period_end": "2026-03-17"}, "period_end 2026-03-17 is in the future; today is 2026-03-16"),
        ({"period_start": "2026-02-01", "period_end": "2026-01-01"}, "is after period_end"),
        ({"period_start": "1990-01-01"}, "more than 120 days to replay"),
        ({"horizon_days": 30}, "horizon_days"),
    ):
        assert said in await csm.refused("get_health_accuracy", **wrong)
