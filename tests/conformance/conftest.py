"""The suite, a store on a SQLite file, and a token for the caller that the suite acts as."""

from __future__ import annotations

import pytest

from conftest import Team

from ._suite import Suite, install


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Suite:
    return install(tmp_path_factory, worker_id)


@pytest.fixture
def store_url(sqlite_url: str) -> str:
    """The protocol is the same on both stores, which tests/server checks."""
    return sqlite_url


@pytest.fixture
async def token(team: Team) -> str:
    return await team.token("ana")
