"""Whoever follows the change feed while others write misses nothing and is never sent back."""

from __future__ import annotations

import asyncio

import pytest
from book import Desk, desk, head_of, unit

from conftest import Team
from cs_mcp.db.store import Store

WRITES_EACH = 10
WRITERS = {"sqlite": 8, "postgresql": 16}


async def writes(person: Desk, account: str, number: int) -> None:
    """Small writes of one, two and four records, so that units end in another order than they began."""
    for turn in range(WRITES_EACH):
        match (number + turn) % 3:
            case 0:
                await person.notes(account, f"Note {number}.{turn}")
            case 1:
                await person.plans_work(account, *(f"Task {number}.{turn}.{n}" for n in range(4)))
            case _:
                await person.plans_work(account, f"Task {number}.{turn}", f"Other {number}.{turn}")


async def reads(person: Desk, after: int, done: asyncio.Event) -> tuple[list[int], list[int]]:
    """Every place in the history as the feed gave it, and the heads it told, until all is written and read."""
    places: list[int] = []
    heads: list[int] = []
    while True:
        last_look = done.is_set()
        page = await person.changes(after=after, limit=50, budget_tokens=20_000)
        for line in page.items:
            assert line.seq is not None
            places += range(line.seq - len(line.records) + 1, line.seq + 1)
            after = line.seq
        heads.append(page.history_head)
        if last_look and not page.items:
            return places, heads


async def test_a_follower_sees_every_entry_once_and_in_order(store: Store, team: Team) -> None:
    ana, ben, lea = [await desk(team, name) for name in ("ana", "ben", "lea")]
    accounts = [await ana.opens(f"Account {n}") for n in range(4)]
    start = (await head_of(store, team))["seq"]
    done = asyncio.Event()
    followers = [asyncio.create_task(reads(person, start, done)) for person in (ana, lea)]

    await asyncio.gather(*(writes([ana, ben][n % 2], accounts[n % 4], n) for n in range(WRITERS[store.dialect])))
    done.set()

    end = (await head_of(store, team))["seq"]
    assert end - start > WRITERS[store.dialect] * WRITES_EACH
    for places, heads in await asyncio.gather(*followers):
        assert places == list(range(start + 1, end + 1))
        assert heads == sorted(heads)
        assert heads[-1] == end
        assert len(set(heads)) > 3, "it read while others wrote"


async def test_a_head_told_is_a_cursor_that_misses_nothing(store: Store, team: Team) -> None:
    ana = await desk(team, "ana")
    acme = await ana.opens("Acme")
    head = (await ana.changes(limit=1)).history_head

    done = [(await ana.notes(acme, f"Note {n}")).change_id for n in range(3)]

    page = await ana.changes(after=head)
    assert [line.change_id for line in page.items] == done
    assert (await ana.changes(after=page.history_head)).items == []


async def test_pages_of_the_feed_are_stable_while_rows_are_added(store: Store, team: Team) -> None:
    ana = await desk(team, "ana")
    acme = await ana.opens("Acme")
    done = [(await ana.notes(acme, f"Note {n}")).change_id for n in range(5)]

    first = await ana.changes(record=None, account=acme, limit=2)
    await ana.notes(acme, "In between")
    second = await ana.changes(account=acme, limit=2, cursor=first.next_cursor)

    assert [line.change_id for line in first.items + second.items] == list(reversed(done))[:4]


@pytest.mark.parametrize("store_kind", ["postgresql"])
async def test_an_entry_that_commits_later_stands_later(store: Store, team: Team) -> None:
    """The second unit began first and wrote its row first; it takes its place only when it ends."""
    ana, ben = await desk(team, "ana"), await desk(team, "ben")
    acme, beta = await ana.opens("Acme"), await ana.opens("Beta")
    head = (await head_of(store, team))["seq"]
    async with unit(store, ben.principal, "slow") as slow:
        row = await slow.accounts.get(beta)
        slow.accounts.save(row.changed(industry="Slow"))
        await slow.flush()
        await ana.updates(acme, industry="Fast")
        seen = await ana.changes(after=head)

    after = await ana.changes(after=seen.history_head)
    assert [line.tool for line in seen.items] == ["update_account"]
    assert [(line.tool, line.seq) for line in after.items] == [("slow", head + 2)]
