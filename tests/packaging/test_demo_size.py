"""`cs-mcp demo --accounts`: a book of any size from the command line."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from _home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def counts(path: Path) -> tuple[int, int]:
    with sqlite3.connect(path) as connection:
        [(accounts,)] = connection.execute("select count(*) from account")
        [(arr,)] = connection.execute("select sum(arr_minor) from account where currency = 'USD'")
    connection.close()
    return accounts, arr


def test_a_book_is_written_once_and_the_same_for_its_seed(home: Home) -> None:
    books = [home.folder / "one.db", home.folder / "two.db"]
    for book in books:
        done = home.run("demo", "--accounts", "40", "--seed", "3", "--no-serve", "--db", f"sqlite:///{book}")
        assert done.returncode == 0, done.stderr
        assert re.search(r"40 accounts, [\d,]+ records in [\d.]+ s: [\d,]+ rows/s", done.stderr)
        assert "accounts: 40 of 40" in done.stderr
        assert done.stdout.startswith("Workspace wsp_")

    assert counts(books[0]) == counts(books[1])
    assert counts(books[0])[0] == 40
    again = home.run("demo", "--accounts", "5", "--no-serve", "--db", f"sqlite:///{books[0]}")
    assert (again.returncode, "another file" in again.stderr) == (2, True)
    assert counts(books[0])[0] == 40


def test_the_stories_can_be_written_without_a_server(home: Home) -> None:
    home.said("demo", "--no-serve")

    assert 38 <= counts(home.folder / "data" / "cs_mcp" / "demo.db")[0] <= 45


@pytest.mark.parametrize(
    "options",
    [("--accounts", "5", "--tour"), ("--accounts", "5", "--keep"), ("--no-serve", "--stdio"), ("--accounts", "0")],
)
def test_options_that_contradict_each_other_are_refused(home: Home, options: tuple[str, ...]) -> None:
    done = home.run("demo", *options, *(("--no-serve",) if options[-1] == "0" else ()))

    assert done.returncode == 2
    assert done.stdout == ""
