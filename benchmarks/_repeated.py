"""A large book made of a smaller one: its records again under other ids, by the store's own SQL.

Filling a million accounts row by row takes most of an hour. A night looks at no two accounts together, so the same
hundred thousand ten times over cost it what a million different ones do.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_DIGITS: Final = 18  # of an id, after its kind
_OF_ITS_NUMBER: Final = ("account", "subscription")  # one an account; ids of the others end in two digits more
_NAMING: Final = ("id", "account_id", "contact_id")


def repeat(path: Path, columns: Mapping[str, Sequence[str]], accounts: int, wanted: int) -> None:
    """Go on from the `accounts` that the file holds until there are `wanted`. Memory does not depend on either.

    The file holds nothing else in these tables.
    """
    first = path.with_suffix(".first")
    shutil.copy(path, first)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("attach ? as first", (str(first),))
        for pragma in ("journal_mode = off", "synchronous = off", "cache_size = -262144"):
            connection.execute(f"pragma {pragma}")
        for shift in range(accounts, wanted, accounts):
            for table, named in columns.items():
                connection.execute(_again(table, named, shift), {"until": f"acc_{wanted - shift:0{_DIGITS}d}"})
    finally:
        connection.close()
        first.unlink()


def _again(table: str, columns: Sequence[str], shift: int) -> str:
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(_shifted(table, name, shift) for name in columns)
    account = "id" if table == "account" else "account_id"
    return f"insert into main.{table} ({names}) select {values} from first.{table} where {account} < :until"


def _shifted(table: str, column: str, shift: int) -> str:
    if column == "attendees":
        person = "substr(attendees, instr(attendees, 'con_'), 22)"
        return f"replace(attendees, {person}, {_plus(person, shift * 100)})"
    if column not in _NAMING:
        return f'"{column}"'
    one_each = column == "account_id" or (column == "id" and table in _OF_ITS_NUMBER)
    return _plus(column, shift if one_each else shift * 100)


def _plus(text: str, more: int) -> str:
    return f"substr({text}, 1, 4) || printf('%0{_DIGITS}d', substr({text}, 5) + {more})"
