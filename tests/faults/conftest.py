"""A bench on either store, for the tests that break things."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ._bench import Bench


@pytest.fixture
def owner_url(store_kind: str, store_url: str, request: pytest.FixtureRequest) -> str:
    """The same store past the wall."""
    if store_kind == "sqlite":
        return store_url
    return request.getfixturevalue("postgres").owner(request.getfixturevalue("postgres_database"))


@pytest.fixture
async def bench(store_url: str, owner_url: str) -> AsyncIterator[Bench]:
    made = Bench(store_url, owner_url)
    await made.populate()
    yield made
    await made.close()
