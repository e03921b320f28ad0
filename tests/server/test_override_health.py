"""Overriding health: what lists show follows at once, the computed score stays, and the override ends by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from conftest import Team
from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.health.overrides import effective_band
from cs_mcp.db.health.scoring_tables import SNAPSHOTS
from cs_mcp.db.store import Store

from ._client import Desk, Desks, writing

TODAY = date(2026, 3, 16)


async def snapshot(store: Store, workspace: str, account: str, on: date, tenths: int, band: str) -> None:
    """What a night leaves behind."""
    row = {"workspace": workspace, "account_id": account, "on": on, "run_id": "run", "rubric": "1.0"}
    told = {"score_tenths": tenths, "band": band, "computed_band": band, "confidence": 900}
    async with writing(store, workspace) as work:
        await work.session.execute(insert(SNAPSHOTS).values(row | told))


@pytest.fixture
async def globex(csm: Desk, team: Team, store: Store) -> str:
    """An account whose score was red last night."""
    account = await csm.account("Globex")
    await snapshot(store, team.workspace, account, TODAY - timedelta(days=1), 412, "red")
    return account


async def listed(desk: Desk, band: str) -> list[str]:
    return (await desk.done("find_accounts", band=[band])).ids


async def override(desk: Desk, account: str, **given: Any) -> Any:
    return await desk.done(
        "override_health", account=account, **({"reason": "New sponsor signed", "expires_on": "2026-04-30"} | given)
    )


async def test_lists_follow_an_override_at_once_and_its_end(csm: Desk, globex: str) -> None:
    answer = await override(csm, globex, band="green")

    record = answer["record"]
    assert (record["effective_band"], record["computed_band"]) == ("green", "red")
    assert (record["author"], record["from_on"], record["expires_on"]) == ("Ana Ruiz", "2026-03-16", "2026-04-30")
    assert "Its score says red, which stays beside it." in answer["triggered"]
    assert await listed(csm, "green") == [globex]

    ended = await csm.done("override_health", account=globex, clear=True, reason="The sponsor left again")

    assert (ended["record"]["effective_band"], ended["record"]["ended_on"]) == ("red", "2026-03-16")
    assert (await listed(csm, "green"), await listed(csm, "red")) == ([], [globex])


async def test_a_new_override_takes_the_place_of_the_old_and_undo_gives_it_back(csm: Desk, globex: str) -> None:
    first = await override(csm, globex, band="green")
    second = await override(csm, globex, score=62.5)
    assert (second["record"]["band"], second["record"]["score"]) == ("yellow", 62.5)
    assert await listed(csm, "yellow") == [globex]

    await csm.done("undo_changes", change=second["change_id"])
    assert await listed(csm, "green") == [globex]

    again = await csm.done("override_health", account=globex, clear=True, reason="Not that sure")
    assert again["record"]["id"] == first["record"]["id"]
    assert await listed(csm, "red") == [globex]


async def test_the_same_override_again_writes_nothing(csm: Desk, globex: str) -> None:
    await override(csm, globex, band="green")
    head = await csm.head()

    again = await override(csm, globex, band="green")

    assert "change_id" not in again.data
    assert await csm.head() == head


async def test_it_holds_to_its_last_day_and_no_longer(csm: Desk, team: Team, store: Store, globex: str) -> None:
    await override(csm, globex, band="green", expires_on="2026-03-20")
    account: Any = AccountRow.__table__

    async def band_on(day: date) -> str:
        asked = select(effective_band(account, day)).where(account.c.id == globex)
        async with writing(store, team.workspace) as work:
            return (await work.session.execute(asked)).scalar_one()

    days = [TODAY - timedelta(days=1), TODAY, date(2026, 3, 20), date(2026, 3, 21)]
    assert [await band_on(day) for day in days] == ["red", "green", "green", "red"]

    await csm.done("override_health", account=globex, clear=True, reason="Enough")
    assert await band_on(TODAY) == "red"


async def test_an_agent_only_proposes_it(csm: Desk, team: Team, desks: Desks) -> None:
    account = await csm.account("Common")
    lea, bot = await desks.of(team, "lea"), await desks.of(team, "bot")
    await lea.done("update_account", account=account, expected_version=1, clear=["owner"])

    proposed = await override(bot, account, band="red")
    assert proposed["proposal"]
    assert await listed(csm, "red") == []

    done = await csm.done("commit_plan", plan=proposed["plan_id"])
    assert (done["record"]["author"], done["record"]["computed_band"]) == ("Ana Ruiz", "unknown")
    assert await listed(csm, "red") == [account]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"band": "green"}, "expires_on, 2026-09-12 at the latest"),
        ({"band": "green", "expires_on": "2026-09-13"}, "is not between today, 2026-03-16, and 2026-09-12"),
        ({"band": "green", "expires_on": "2026-03-15"}, "is not between today"),
        ({"expires_on": "2026-04-01"}, "No band is given, and no score"),
        ({"band": "red", "score": 20, "expires_on": "2026-04-01"}, "Both a band and a score"),
        ({"clear": True, "band": "red"}, "Leave band out"),
        ({"clear": True}, "No override of Globex"),
        ({"band": "unknown", "expires_on": "2026-04-01"}, "band"),
        ({"band": "red", "expires_on": "2026-04-01", "reason": None}, "reason"),
    ],
)
async def test_what_is_refused(csm: Desk, globex: str, given: dict[str, Any], said: str) -> None:
    head = await csm.head()
    assert said in await csm.refused("override_health", account=globex, **({"reason": "So I feel"} | given))
    assert await csm.head() == head


async def test_who_does_not_see_the_account_cannot_override_it(
    sit: Callable[[str], Awaitable[Desk]], globex: str
) -> None:
    ben = await sit("ben")
    for ref in (globex, "Globex"):
        said = await ben.refused("override_health", account=ref, band="red", expires_on="2026-04-01", reason="Envy")
        assert said.startswith("No account")
