"""Backtests of whole books: one whose churn hangs on use and tickets, and one whose churn hangs on nothing."""

from __future__ import annotations

import asyncio
import csv
import json
import subprocess
import sys
from collections import defaultdict
from datetime import date
from pathlib import Path

from test_import_ravenstack import FOLDER, IS_WHOLE

from conftest import SECRET
from cs_mcp.connectors.loading import load_source
from cs_mcp.db.store import open_store
from cs_mcp.demo.generated.populate import populate
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.services.health.accuracy import GetHealthAccuracy, seen
from cs_mcp.services.health.rubric_files import default_text
from cs_mcp.services.health.rubrics import Rubrics
from cs_mcp.services.imports.imports import Imports
from cs_mcp.services.wiring import Services

FIRST, LAST = date(2023, 2, 28), date(2024, 12, 31)


def churns_of_the_file() -> int:
    """How often an account's subscriptions came to nothing between the days, read off the file."""
    steps: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    with (FOLDER / "ravenstack_subscriptions.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            start, end, arr = row["start_date"], row["end_date"], float(row["arr_amount"])
            if row["is_trial"] == "FALSE" and arr and not (end and end <= start):
                steps[row["account_id"]][start] += arr
                if end:
                    steps[row["account_id"]][end] -= arr
    found = 0
    for course in steps.values():
        total = 0.0
        for day in sorted(course):
            before, total = total, total + course[day]
            found += before > 0 and total == 0 and day > FIRST.isoformat()
    return found


async def test_churn_that_hangs_on_nothing_is_not_foretold(sqlite_url: str, clock: FixedClock) -> None:
    """RavenStack's churn is drawn apart from its signals: an AUC clearly above 0.5 would be a leak."""
    store = await open_store(sqlite_url, clock=clock)
    try:
        services = Services(store, SECRET)
        operator = await services.identity.operator(await services.identity.found_workspace(name="RavenStack"))
        await load_source(Imports(store), operator, FOLDER, source="ravenstack")
        question = GetHealthAccuracy(period_start=FIRST, period_end=LAST)

        # The tickets alone are too little to score an account by, and that is what is said.
        lately = question.model_copy(update={"every": "quarter", "period_start": date(2024, 6, 30)})
        told = await services.accuracy.get(operator, lately)
        assert "nothing can be said of accuracy" in told.verdict
        assert "less than 30 % of the weights had data" in told.text("q")

        low = default_text().replace("min_coverage: 0.3 ", "min_coverage: 0 ").replace('"1.0"', '"any"')
        await Rubrics(store).adopt(operator, low)
        replay = await services.accuracy.replay(operator, await services.accuracy.period(operator, question))
        judged = seen(replay, operator)
        assert len(replay.churns) == churns_of_the_file()
        assert "better than chance" not in judged.verdict
        auc = judged.slices[0].auc
        if IS_WHOLE:
            assert judged.slices[0].cases > 5_000
            assert auc is not None
            assert auc.low < 0.5 < auc.high
            assert "too few to judge" in judged.verdict
    finally:
        await store.close()


async def test_churn_that_hangs_on_use_and_tickets_is_foretold(
    sqlite_url: str, clock: FixedClock, tmp_path: Path
) -> None:
    store = await open_store(sqlite_url, clock=clock)
    try:
        services = Services(store, SECRET)
        made = await populate(services, accounts=250, seed=3)
        operator = await services.identity.operator(made.workspace)
        question = GetHealthAccuracy(period_start=date(2024, 3, 16), every="quarter")

        told = await services.accuracy.get(operator, question)

        auc = told.slices[0].auc
        assert auc is not None
        assert auc.low > 0.5
        assert told.verdict.startswith("The score tells who leaves better than chance")
        assert sum(one.cases for one in told.slices[1:]) == told.slices[0].cases
    finally:
        await store.close()

    picture = tmp_path / "churn.png"
    before = Path(store.where.path).read_bytes()
    options = ["--from", "2025-03-16", "--to", "2026-03-16", "--every", "quarter", "--propose", "--json"]
    printed = json.loads(await commanded(sqlite_url, *options, "--image", str(picture)))
    assert printed["accuracy"]["scored_days"] == 5
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    weights = printed["proposal"]["weights"]
    assert sum(line["proposed"] for line in weights) == sum(line["weight"] for line in weights)
    assert Path(store.where.path).read_bytes() == before


async def commanded(url: str, *options: str) -> str:
    """What `cs-mcp health backtest` prints."""
    command = [sys.executable, "-m", "cs_mcp", "health", "backtest", "--db", url, *options]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
