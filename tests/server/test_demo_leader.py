"""The demo book after its nights, as its head of customer success reads it: bands, trends, figures in one currency."""

from __future__ import annotations

from datetime import timedelta

from conftest import Team
from cs_mcp.demo.seed import live_through, seed
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.services.wiring import Services

from ._client import Desks


async def test_the_demo_book_answers_its_leader(services: Services, clock: FixedClock, desks: Desks) -> None:
    workspace = await seed(services)
    await live_through(services, workspace)
    members = {member.name: member for member in await services.identity.members(workspace)}
    tess = await desks.of(Team(services, workspace, {"tess": members["Tess Vermeer"]}), "tess")

    red = {item["name"] for item in (await tess.done("find_accounts", band=["red"])).data["items"]}
    assert "Globex" in red
    why = (await tess.done("explain_health", account="Globex")).text
    assert "sponsor_departed" in why
    assert "in 90 days" in why
    retention = (await tess.done("get_retention")).data
    assert retention["currency"] == "USD"
    assert {rate["currency"] for rate in retention["rates_used"]} == {"EUR", "GBP", "JPY"}
    assert retention["target"] == {"nrr": 1.1, "grr": 0.9, "logo_churn_rate": 0.08}
    assert 0.5 < retention["grr"] < 1 < retention["nrr"] < 1.5
    kept_on = f"{clock.now():%Y-%m-%d}"
    clock.advance(timedelta(days=1))
    compared = (await tess.done("get_forecast", compare_to=kept_on)).data["compared"]
    assert compared["compared_to"] == kept_on
    assert compared["renewals"] == [], "nothing moved since the forecast was kept"
