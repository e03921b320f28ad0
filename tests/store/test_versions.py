"""A write names the version it read; one that comes too late hears who was first, and with what."""

from __future__ import annotations

import asyncio

import pytest
from book import Desk, desk, history_of

from conftest import Team
from cs_mcp.db.store import Store
from cs_mcp.domain.contract import Written
from cs_mcp.domain.errors import Stale

AT = "2026-03-16 09:30 UTC"


@pytest.fixture
async def ana(team: Team) -> Desk:
    return await desk(team, "ana")


@pytest.fixture
async def ben(team: Team) -> Desk:
    return await desk(team, "ben")


@pytest.fixture
async def acme(ana: Desk) -> str:
    return await ana.opens("Acme")


async def test_a_stale_version_hears_who_changed_which_field(ana: Desk, ben: Desk, acme: str) -> None:
    first = await ben.updates(acme, industry="Freight", employees=80)
    second = await ana.updates(acme, add_tags=["vip"])

    with pytest.raises(Stale) as refused:
        await ana.updates(acme, version=1, name="Acme Holding")

    assert str(refused.value) == (
        f"{acme} changed since version 1: Ben Okafor changed employees, industry on {AT} "
        f"(update_account, {first.change_id}); Ana Ruiz changed tags on {AT} (update_account, {second.change_id}). "
        "It is now at version 3. Nothing was done. "
        "Read the account again, see whether your change still makes sense, and send expected_version 3."
    )
    assert (await ana.sees(acme)).name == "Acme"


async def test_only_what_came_after_the_version_read_is_told(ana: Desk, ben: Desk, acme: str) -> None:
    await ben.updates(acme, industry="Freight")
    later = await ben.updates(acme, employees=80)

    with pytest.raises(Stale) as refused:
        await ana.updates(acme, version=2, name="Acme Holding")

    assert refused.value.message == (
        f"{acme} changed since version 2: Ben Okafor changed employees on {AT} (update_account, {later.change_id}). "
        "It is now at version 3. Nothing was done."
    )


async def test_a_version_that_never_was_is_refused(ana: Desk, acme: str) -> None:
    with pytest.raises(Stale) as refused:
        await ana.updates(acme, version=2, name="Acme Holding")

    assert str(refused.value) == (
        f"{acme} is at version 1; there never was a version 2. Nothing was done. "
        "Read the account again and use the version it shows."
    )


async def test_a_task_and_a_meeting_have_versions_of_their_own(ana: Desk, ben: Desk, acme: str) -> None:
    task = (await ana.plans_work(acme, "Call")).record.tasks[0].id
    meeting = (await ana.meets(acme)).record.meeting.id
    await ben.updates_task(task, 1, title="Call Priya")
    await ben.meets(acme, "They want SSO.", meeting=meeting, expected_version=1)

    with pytest.raises(Stale, match=rf"{task} changed since version 1: Ben Okafor changed title"):
        await ana.updates_task(task, 1, title="Call Jon")
    with pytest.raises(Stale, match=rf"{meeting} changed since version 1: Ben Okafor changed summary"):
        await ana.meets(acme, "They want SAML.", meeting=meeting, expected_version=1)

    assert (await ana.sees(acme)).version == 1


async def test_of_sixteen_at_once_one_is_applied_and_fifteen_hear_why(
    store: Store, team: Team, ana: Desk, ben: Desk, acme: str
) -> None:
    people = [ana, ben] * 8

    answers = await asyncio.gather(
        *(who.updates(acme, version=1, industry=f"Industry {n}") for n, who in enumerate(people)),
        return_exceptions=True,
    )

    [(place, won)] = [(n, answer) for n, answer in enumerate(answers) if isinstance(answer, Written)]
    refused = [str(answer) for answer in answers if isinstance(answer, Stale)]
    told = (
        f"{acme} changed since version 1: {people[place].name} changed industry on {AT} "
        f"(update_account, {won.change_id}). It is now at version 2. Nothing was done. "
        "Read the account again, see whether your change still makes sense, and send expected_version 2."
    )
    assert refused == [told] * 15
    now = await ana.sees(acme)
    assert (now.industry, now.version) == (f"Industry {place}", 2)
    assert [e["entity_version"] for e in await history_of(store, team) if e["entity_id"] == acme] == [1, 2]


async def test_sixteen_who_read_again_when_refused_all_get_through(ana: Desk, ben: Desk, acme: str) -> None:
    async def insist(who: Desk, tag: str) -> None:
        while True:
            try:
                await who.updates(acme, add_tags=[tag])
            except Stale:
                continue
            return

    await asyncio.gather(*(insist(who, f"tag-{n:02}") for n, who in enumerate([ana, ben] * 8)))

    now = await ana.sees(acme)
    assert (now.version, now.tags) == (17, [f"tag-{n:02}" for n in range(16)])
