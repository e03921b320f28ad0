"""Rollups of revenue that drifted from the ledger are found by `db verify` and made anew by `db rebuild`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio.to_thread
import pytest
from book import as_owner, desk, post_arr
from typer.testing import CliRunner

from conftest import SECRET, Postgres, clone_database, new_team
from cs_mcp.cli.commands import app
from cs_mcp.db.revenue import verification as revenue_verification
from cs_mcp.db.store import Store, open_store
from cs_mcp.services.wiring import Services


@pytest.fixture
def url(store_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that may be spoiled."""
    if store_kind == "sqlite":
        return f"sqlite:///{tmp_path / 'spoiled.db'}"
    postgres: Postgres = request.getfixturevalue("postgres")
    name = f"spoiled_{uuid4().hex[:12]}"
    asyncio.run(clone_database(postgres, name))
    return postgres.app(name)


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await open_store(url)
    yield opened
    await opened.close()


@pytest.fixture
async def accounts(store: Store) -> dict[str, str]:
    team = await new_team(Services(store, SECRET))
    ana = await desk(team, "ana")
    made = {name: await ana.opens(name, segment="smb") for name in ("Globex", "Initech", "Hooli")}
    for name, account in made.items():
        await post_arr(store, team, account, 120_000, date(2024, 1, 5))
        await post_arr(store, team, account, -len(name) * 1_000, date(2025, 3, 1))
    await ana.updates(made["Hooli"], segment="enterprise", industry="Energy")
    await ana.updates(made["Hooli"], industry="Retail")
    await ana.updates(made["Initech"], industry="Retail")
    return made


async def told(*arguments: str) -> tuple[int, Any]:
    result = await anyio.to_thread.run_sync(lambda: CliRunner().invoke(app, ["db", *arguments, "--json"]))
    return result.exit_code, json.loads(result.stdout)


# What is done behind the record, and what is said of it.
DRIFTS = [
    (
        "update revenue_month set amount_minor = 7 where account_id = '{Globex}' and kind = 'contraction'",
        "{Globex}: revenue_month: 2025-03 contraction USD: amount_minor is 7, the ledger says -6000",
    ),
    (
        "delete from revenue_month where account_id = '{Hooli}' and kind = 'new'",
        "{Hooli}: revenue_month: 2024-01 new USD: amount_minor is 0, the ledger says 120000, movements is 0",
    ),
    (
        "update revenue_month set account_id = 'nobody' where account_id = '{Initech}' and kind = 'new'",
        "nobody: revenue_month: 2024-01 new USD: amount_minor is 120000, the ledger says 0",
    ),
    (
        "update revenue_book set accounts = 4 where dimension = 'segment' and value = 'smb' and month = '2024-01-01'",
        "revenue_book segment smb 2024-01-01 USD: accounts is 4, the ledger says 3",
    ),
    (
        "update revenue_window set amount_minor = 2 where months = 3 and dimension = '' and last_month = '2025-05-01'",
        "revenue_window 3 2025-05-01 USD True contraction: amount_minor is 2, the ledger says -18000",
    ),
    (
        "update revenue_cohort set kept_minor = -3 where month = '2025-03-01'",
        "revenue_cohort USD 2024-01-01 2025-03-01: kept_minor is -3, the ledger says -18000",
    ),
    (
        """delete from past_attribute where account_id = '{Hooli}' and cast(value as text) = '"Energy"'""",
        "Z is not kept, the history says 'Energy'",
    ),
    (
        """update past_attribute set value = '"Energy"' where account_id = '{Initech}' and field = 'industry'""",
        "Z is kept as 'Energy', the history says None",
    ),
]


async def test_rollups_that_drifted_are_named_and_made_anew(
    store: Store, url: str, accounts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revenue_verification, "PAGE", 2)
    code, found = await told("verify", "--db", url)
    assert (code, found["problems"]) == (0, [])

    for spoil, _ in DRIFTS:
        await as_owner(store, spoil.format(**accounts))

    code, found = await told("verify", "--db", url)
    said = "\n".join(found["problems"])
    assert code == 1
    assert [drift for drift in DRIFTS if drift[1].format(**accounts) not in said] == [], said
    assert found["derived"] == len(found["problems"]) == len(DRIFTS) + 1  # the account whose row became nobody's

    assert await told("rebuild", "--db", url) == (0, {"accounts": 3, "renewals": 0})
    assert (await told("verify", "--db", url))[1]["problems"] == []

    # What no change tells of is not for a rebuild to take away.
    await as_owner(store, "update past_attribute set until_at = '2099-01-01T00:00:00Z' where field = 'segment'")
    found = (await told("verify", "--db", url))[1]
    assert "until 2099-01-01 00:00:00Z is kept as 'smb', and no change tells of it" in str(found["problems"])

    # A rebuild does not hide that the ledger itself was altered.
    spoil = "update arr_movement set amount_minor = -6500 where account_id = '{Globex}' and amount_minor < 0"
    await as_owner(store, spoil.format(**accounts))
    found = (await told("verify", "--db", url))[1]
    assert f"{accounts['Globex']}: revenue_month: 2025-03 contraction USD: amount_minor is -6000" in str(found)
    assert 0 < found["derived"] < len(found["problems"])
