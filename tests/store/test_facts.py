"""Facts as both stores find them, against plain Python over the same rows."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest
from _health_book import Oracle, random_book

from conftest import NOW, Team
from cs_mcp.db.facts.facts import EXPRESSIONS, facts_of
from cs_mcp.db.facts.measures import RAW, facts_needed
from cs_mcp.db.facts.terms import LISTED, moment
from cs_mcp.db.read_path import Statement
from cs_mcp.db.store import Store
from cs_mcp.domain.facts.facts import FACTS
from cs_mcp.domain.health.rubric import Cadence

TODAY = NOW.date()
CADENCE = Cadence(high=30, mid=90, low=365)
EVERY = [name for name in FACTS if name != "segment"]


def test_every_fact_of_the_catalogue_has_an_expression_and_every_measure_speaks_of_known_facts() -> None:
    assert EXPRESSIONS.keys() == FACTS.keys()
    assert set(facts_needed(RAW)) <= FACTS.keys()


@pytest.mark.parametrize("seed", [1, 2])
async def test_facts_are_what_the_records_of_the_day_say(store: Store, team: Team, seed: int) -> None:
    book = random_book(store, Random(seed), TODAY, 60)
    await book.write(store, team)
    statement = Statement(lambda: facts_of(EVERY, LISTED, CADENCE, rollup=False))

    for back in (0, 33, 120):
        day = TODAY - timedelta(days=back)
        workspace = await store.workspace(team.workspace)
        given = moment(day, workspace.calendar) | {"workspace": team.workspace, "accounts": book.accounts}
        [rows] = await store.reads.run([statement], given)
        found = {row.pop("account_id"): row for row in rows}

        oracle = Oracle(book, day)
        wanted = {row["id"]: facts for row in book.rows["account"] if (facts := oracle.of(row)) is not None}
        assert found.keys() == wanted.keys()
        for account, facts in wanted.items():
            assert _compared(found[account], facts, oracle, account) == {}, (day, account)


# Windows of usage have a model of their own (test_usage.py).
_ELSEWHERE = {"seats_used", "active_now", "active_prev_30", "events_30", "events_prev_30", "integrations"}
_ELSEWHERE |= {"integrations_prev", "sponsor_dept_30", "sponsor_dept_prev_30", "sponsor_dept_change"}


def _compared(found: dict[str, Any], wanted: dict[str, Any], oracle: Oracle, account: str) -> dict[str, Any]:
    differing = {}
    for name, value in found.items():
        if name in _ELSEWHERE:
            continue
        expected = wanted.get(name)
        same = value == pytest.approx(expected, abs=1e-9) if isinstance(expected, float) else value == expected
        if not same:
            differing[name] = (value, expected)
    return differing
