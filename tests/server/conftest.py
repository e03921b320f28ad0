"""Desks at a team's server, opened in a test and closed after it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from conftest import Team

from ._client import Desk, Desks


@pytest.fixture
def era(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def desks() -> AsyncIterator[Desks]:
    opened = Desks()
    yield opened
    await opened.close()


@pytest.fixture
def sit(desks: Desks, team: Team, era: str) -> Callable[[str], Awaitable[Desk]]:
    """Sit down as a member of the team, in the era under test."""

    async def down(name: str) -> Desk:
        return await desks.of(team, name, mode=era)

    return down


@pytest.fixture
async def ana(sit: Callable[[str], Awaitable[Desk]]) -> Desk:
    """Ana's desk: a customer success manager, who sees her own book."""
    return await sit("ana")


@pytest.fixture
async def csm(desks: Desks, team: Team) -> Desk:
    """Ana's desk in the stateless era, for what does not depend on the era."""
    return await desks.of(team, "ana")
