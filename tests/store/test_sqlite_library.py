"""The SQLite that the extra brings: which one a process speaks, and that the store holds with it as with Python's."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(find_spec("pysqlite3") is None, reason="the extra has no wheel for this machine")
ROOT = Path(__file__).parents[2]
# What SQLite itself decides: plans, locks, what a commit holds, what drafts see, files of either journal, searches.
DECIDED = (
    "test_nights.py",
    "test_plans_of_nights.py",
    "test_plans_of_queries.py",
    "test_drafts.py",
    "test_opening.py",
    "test_backup.py",
    "test_search.py",
    "test_conditions_in_sql.py",
    "../faults/test_full_disk.py",
)


def ran(*arguments: str, library: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"CS_MCP_SQLITE_LIBRARY": library}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("first", "library", "spoken"),
    [
        ("cs_mcp.db", "extra", "pysqlite3 pysqlite3"),
        ("cs_mcp.db", "python", "sqlite3 sqlite3"),
        # Two that open the same file drop each other's locks, so whoever was first decides for all.
        ("sqlite3", "extra", "sqlite3 sqlite3"),
    ],
)
def test_a_process_speaks_one_sqlite(first: str, library: str, spoken: str) -> None:
    said = ran(
        "-c",
        f"import {first}, cs_mcp.db.store, sqlite3, aiosqlite; from sqlalchemy import create_engine;"
        "print(sqlite3.__name__, create_engine('sqlite://').dialect.dbapi.__name__.split('.')[0]);"
        "assert aiosqlite.Error is sqlite3.Error is create_engine('sqlite://').dialect.dbapi.Error",
        library=library,
    )

    assert (said.stdout.strip(), said.stderr) == (spoken, "")


@pytest.mark.timeout(900)
def test_the_store_holds_with_the_sqlite_of_the_extra() -> None:
    files = [str(Path(__file__).parent / name) for name in DECIDED]

    done = ran(
        "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-k", "not postgresql", *files, library="extra"
    )

    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]
