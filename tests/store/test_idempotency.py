"""A key makes a write happen once: whoever repeats it, however many at once, hears the first answer."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta

import pytest
from book import Desk, desk, head_of, rows_of, unit

from conftest import Team
from cs_mcp.db.promises import IDEMPOTENCY
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.contract import Written
from cs_mcp.domain.errors import Conflict, Invalid
from cs_mcp.services.health.health import AddHealthNote


@pytest.fixture
async def ana(team: Team) -> Desk:
    return await desk(team, "ana")


@pytest.fixture
async def acme(ana: Desk) -> str:
    return await ana.opens("Acme")


async def notes_on(person: Desk, account: str) -> list[str]:
    return [line.note.text for line in (await person.sees(account)).notes or []]


async def test_the_same_call_again_hears_the_first_answer(store: Store, team: Team, ana: Desk, acme: str) -> None:
    first = await ana.notes(acme, "Once", idempotency_key="k1", sentiment="positive")
    head = await head_of(store, team)

    again = await ana.notes(acme, "Once", idempotency_key="k1", sentiment="positive")

    assert again == first.model_copy(update={"already_done": True})
    assert await head_of(store, team) == head
    assert "Already done by an earlier call with this key" in again.text("0000")


async def test_the_first_answer_stands_whatever_happened_since(ana: Desk, acme: str) -> None:
    first = await ana.updates(acme, version=1, industry="Freight", idempotency_key="k1")
    await ana.updates(acme, industry="Mining")

    again = await ana.updates(acme, version=1, industry="Freight", idempotency_key="k1")

    assert (again.already_done, again.record) == (True, first.record)
    assert (await ana.sees(acme)).industry == "Mining"


async def test_the_same_key_with_other_arguments_is_refused(ana: Desk, acme: str) -> None:
    await ana.notes(acme, "Once", idempotency_key="k1")

    with pytest.raises(Conflict) as refused:
        await ana.notes(acme, "Another", idempotency_key="k1")

    assert refused.value.message == (
        "The idempotency key 'k1' was used before for add_health_note with other arguments. Nothing was done."
    )
    assert await notes_on(ana, acme) == ["Once"]


async def test_a_key_belongs_to_its_person_and_its_tool(team: Team, ana: Desk, acme: str) -> None:
    ben = await desk(team, "ben")

    answers = [
        await ana.notes(acme, "Once", idempotency_key="k1"),
        await ben.notes(acme, "Once", idempotency_key="k1"),
        await ana.plans_work(acme, "Call", idempotency_key="k1"),
    ]

    assert [answer.already_done for answer in answers] == [False, False, False]
    assert await notes_on(ana, acme) == ["Once", "Once"]


async def test_without_a_key_nothing_is_taken_for_a_repeat(ana: Desk, acme: str) -> None:
    await ana.notes(acme, "Twice")
    await ana.notes(acme, "Twice")

    assert await notes_on(ana, acme) == ["Twice", "Twice"]


async def test_a_preview_leaves_the_key_to_the_write(store: Store, team: Team, ana: Desk, acme: str) -> None:
    await ana.notes(acme, "Once", idempotency_key="k1", preview=True)
    assert await rows_of(store, team.workspace, IDEMPOTENCY) == []

    assert not (await ana.notes(acme, "Once", idempotency_key="k1")).already_done


async def test_eight_twins_at_once_have_one_effect_and_one_answer(ana: Desk, acme: str) -> None:
    twin = AddHealthNote(account=acme, text="Once", idempotency_key="k1")

    answers = await asyncio.gather(*(ana.do(twin) for _ in range(8)))

    assert [answer.already_done for answer in answers].count(False) == 1
    assert len({answer.model_dump_json(exclude={"already_done"}) for answer in answers}) == 1
    assert await notes_on(ana, acme) == ["Once"]


async def test_of_eight_at_once_with_other_arguments_one_has_the_key(ana: Desk, acme: str) -> None:
    answers = await asyncio.gather(
        *(ana.notes(acme, f"Text {n}", idempotency_key="k1") for n in range(8)), return_exceptions=True
    )

    assert [type(answer) for answer in answers].count(Conflict) == 7
    [won] = [n for n, answer in enumerate(answers) if isinstance(answer, Written)]
    assert await notes_on(ana, acme) == [f"Text {won}"]


async def test_a_write_that_fails_leaves_its_key_free(store: Store, team: Team, ana: Desk, acme: str) -> None:
    with pytest.raises(Invalid):
        await ana.notes(acme, "Later", written_on=date(2027, 1, 1), idempotency_key="k1")
    assert await rows_of(store, team.workspace, IDEMPOTENCY) == []

    done = await ana.notes(acme, "Now", idempotency_key="k1")

    assert (done.already_done, await notes_on(ana, acme)) == (False, ["Now"])


async def test_a_write_that_changes_nothing_is_answered_again_too(ana: Desk, acme: str) -> None:
    first = await ana.updates(acme, version=1, name="Acme", idempotency_key="k1")
    again = await ana.updates(acme, version=1, name="Acme", idempotency_key="k1")

    assert (first.change_id, again.change_id, again.already_done) == (None, None, True)


async def test_answers_older_than_thirty_days_can_be_forgotten(
    store: Store, team: Team, clock: FixedClock, ana: Desk, acme: str
) -> None:
    await ana.notes(acme, "Old", idempotency_key="old")
    clock.advance(timedelta(days=30))
    await ana.notes(acme, "Young", idempotency_key="young")
    clock.advance(timedelta(seconds=1))

    async with unit(store, ana.principal) as work:
        await work.answers.forget_old(work.now)

    assert [row["key"] for row in await rows_of(store, team.workspace, IDEMPOTENCY)] == ["young"]
    assert (await ana.notes(acme, "Young", idempotency_key="young")).already_done
    assert not (await ana.notes(acme, "Old", idempotency_key="old")).already_done
