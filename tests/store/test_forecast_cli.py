"""`cs-mcp forecast` on a store: a day's forecast is kept, and kept once."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

from book import desk, unit
from typer.testing import CliRunner

from conftest import SECRET, new_team
from cs_mcp.cli.commands import app
from cs_mcp.db.store import open_store
from cs_mcp.domain.revenue.subscriptions import Subscription
from cs_mcp.services.renewals.cycles import open_due
from cs_mcp.services.wiring import Services


async def _a_renewal(url: str) -> str:
    store = await open_store(url)
    try:
        ada = await desk(await new_team(Services(store, SECRET)), "ada")
        account = await ada.opens("Initech")
        async with unit(store, ada.principal) as work:
            days = {"starts_on": work.today, "ends_on": work.today + timedelta(days=300)}
            bought = Subscription(
                id=work.ids.new("subscription"), account_id=account, arr_minor=5, currency="USD", **days
            )
            work.subscriptions.add(bought)
            await work.flush()
            await open_due(work)
            return str(work.today)
    finally:
        await store.close()


def test_the_forecast_of_today_is_kept_and_said(sqlite_url: str) -> None:
    today = asyncio.run(_a_renewal(sqlite_url))

    def said(*words: str) -> str:
        answer = CliRunner().invoke(app, ["forecast", *words, "--db", sqlite_url])
        assert answer.exit_code == 0, (answer.stdout, answer.stderr, answer.exception)
        return answer.stdout

    assert said("snapshot") == f"The forecast of {today} is kept: 1 renewals.\n"
    assert json.loads(said("snapshot", "--json")) == {"on": today, "renewals": 1}
