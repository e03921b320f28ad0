"""SQLite and PostgreSQL answer one script of calls with the same words: no caller can tell which store is below."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from datetime import timedelta
from difflib import unified_diff

import pytest
from mcp import Client

from conftest import NOW, PROOF, SECRET, Postgres
from cs_mcp.db.store import Store, open_store
from cs_mcp.demo.book import company
from cs_mcp.demo.seed import email_of, seed
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.records import Ids
from cs_mcp.server import build_server
from cs_mcp.services.wiring import Services
from cs_mcp.tools._context import FixedCaller

from ._client import Answer, Desk, Desks
from ._script import Script, Step

SEEDS = range(20260316, 20260316 + PROOF)
CALLS = 2_000
CALLERS = {"ada": 12, "tess": 6, "lea": 2, "ana": 2, "noor": 1, "night": 1}
# The mark of an answer's fences is random, so that no stored text can imitate it; nothing else in an answer is.
MARK = re.compile(r"⟦(quote|end) [0-9a-f]{8}")


class Switchboard:
    """Whoever `who` says calls, each as the person of a stdio server: one client serves them all."""

    def __init__(self, people: dict[str, FixedCaller], who: str) -> None:
        self._people = people
        self.who = who

    async def principal(self) -> Principal:
        return await self._people[self.who].principal()


class Side:
    """A server over one store that holds the demo book, and a client that speaks for all callers."""

    def __init__(self, store: Store, callers: Switchboard, desk: Desk) -> None:
        self.store = store
        self.desk = desk
        self._callers = callers

    @classmethod
    async def opened(cls, url: str, seeded: int, clock: FixedClock, desks: Desks) -> Side:
        dice = random.Random(seeded)
        ids = Ids(milliseconds=lambda: int(clock.now().timestamp() * 1000), random_bits=dice.getrandbits)
        store = await open_store(url, clock=clock, ids=ids)
        services = Services(store, SECRET)
        workspace = await seed(services)
        people: dict[str, FixedCaller] = {}
        for caller in CALLERS:
            person = await services.identity.by_email(workspace, email_of(company(), caller), client="test")
            people[caller] = FixedCaller(services, workspace, person.user)
        callers = Switchboard(people, "ada")
        return cls(store, callers, await desks.at(Client(build_server(services, callers))))

    async def answers(self, step: Step) -> Answer:
        self._callers.who = step.who
        return await self.desk.call(step.tool, **step.arguments)


def said(answer: Answer) -> str:
    return MARK.sub(r"⟦\1 mark", f"{answer.text}\n{json.dumps(answer.data, ensure_ascii=False, indent=1)}")


async def compare(seeded: int, clock: FixedClock, sides: list[Side]) -> tuple[Counter[str], list[str]]:
    """Play the script on both sides; how often each tool went through, and the tools there are."""
    tools = await sides[0].desk.tools()
    # To undo the book as a whole would leave little to ask about.
    book = await sides[0].desk.done("list_changes", made_by_tool="demo", limit=1)
    spared = frozenset({book["items"][0]["change_id"]})
    script = Script(seeded, tools, CALLERS, lambda: clock.now().date(), spared=spared)
    done: Counter[str] = Counter()
    for number in range(1, CALLS + 1):
        step = script.next()
        one, other = [await side.answers(step) for side in sides]
        told = f"seed {seeded}, call {number}, {step}"
        if said(one) != said(other):
            lines = unified_diff(
                said(one).splitlines(), said(other).splitlines(), "SQLite", "PostgreSQL", lineterm="", n=2
            )
            pytest.fail(f"{told}\n" + "\n".join(lines)[:8_000], pytrace=False)
        assert "failed on our side" not in one.text, f"{told}\n{one.text}"
        script.learn(step, one)
        done[step.tool] += not one.refused
        clock.advance(timedelta(seconds=number % 600))
    return done, [tool.name for tool in tools]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeded", SEEDS)
async def test_both_stores_give_the_same_answers(
    seeded: int, sqlite_url: str, postgres: Postgres, postgres_database: str, desks: Desks
) -> None:
    clock = FixedClock(NOW)
    urls = (sqlite_url, postgres.app(postgres_database))
    sides = [await Side.opened(url, seeded, clock, desks) for url in urls]
    try:
        done, tools = await compare(seeded, clock, sides)
    finally:
        await desks.close()
        for side in sides:
            await side.store.close()

    assert [tool for tool in tools if not done[tool]] == [], "the script does not know what these tools want"
    assert done.total() > CALLS / 3
