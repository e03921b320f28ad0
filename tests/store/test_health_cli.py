"""`cs-mcp health` on a store: adopt a rubric of one's own, score by it, look at one account."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from book import desk
from typer.testing import CliRunner

from conftest import SECRET, new_team
from cs_mcp.cli.commands import app
from cs_mcp.db.store import open_store
from cs_mcp.services.health.rubric_files import default_text
from cs_mcp.services.wiring import Services


async def _an_account(url: str) -> str:
    store = await open_store(url)
    try:
        ada = await desk(await new_team(Services(store, SECRET)), "ada")
        account = await ada.opens("Initech")
        await ada.meets(account, sentiment="positive")
        return account
    finally:
        await store.close()


def test_a_rubric_of_ones_own_is_adopted_and_scored_by(sqlite_url: str, tmp_path: Path) -> None:
    account = asyncio.run(_an_account(sqlite_url))
    ours = tmp_path / "ours.yaml"
    changed = default_text().replace("min_coverage: 0.3", "min_coverage: 0.05")

    def said(*words: str, code: int = 0) -> str:
        answer = CliRunner().invoke(app, ["health", *words, "--db", sqlite_url])
        assert answer.exit_code == code, (answer.stdout, answer.stderr, answer.exception)
        return answer.stdout if code == 0 else answer.stderr

    ours.write_text(changed, encoding="utf-8")
    assert "1 accounts scored" in said("score")
    assert "still called '1.0'" in said("adopt", str(ours), code=2)
    ours.write_text(changed.replace('version: "1.0"', "version: ours-1"), encoding="utf-8")
    assert "The rubric ours-1 is in force." in said("adopt", str(ours))
    assert said("show") == ours.read_text("utf-8")

    scored = json.loads(said("score", "--json"))
    assert (scored["rubric"], scored["accounts"], scored["written"]) == ("ours-1", 1, 1)
    assert json.loads(said("score", "--json"))["written"] == 0
    found = json.loads(said("explain", "Initech", "--json"))
    assert (found["account"], found["rubric"]) == (account, "ours-1")
    known = [one for one in found["measures"] if one["points"] is not None]
    assert round(sum(one["gives"] for one in known), 1) == found["score"]
    assert round(sum(one["costs"] for one in known), 1) == round(100 - found["score"], 1)
    assert "Sentiment of notes and meetings" in said("explain", account)
    assert [line["name"] for line in json.loads(said("versions", "--json"))] == ["ours-1", "1.0"]
    assert "The rubric 1.0 is in force." in said("adopt", "--default")
    assert "exactly one" in said("adopt", code=2)
