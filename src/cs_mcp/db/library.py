"""Which SQLite this process speaks: that of the `sqlite` extra where it is installed, else that of its Python.

One a process, for whoever imports `sqlite3` in it: two libraries that open the same file drop each other's locks
(sqlite.org/howtocorrupt.html, "Multiple copies of SQLite linked into the same application").
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Final

_EXTRA: Final = "pysqlite3"  # Python's module, with a SQLite of its own


def settle_on_sqlite() -> None:
    """Before anybody imports `sqlite3`; whoever did already has settled on Python's."""
    if "sqlite3" in sys.modules or os.environ.get("CS_MCP_SQLITE_LIBRARY") == "python":
        return
    try:
        driver = import_module(f"{_EXTRA}.dbapi2")
    except ImportError:
        return
    sys.modules["sqlite3"], sys.modules["sqlite3.dbapi2"] = sys.modules[_EXTRA], driver


def of_the_extra() -> bool:
    import sqlite3

    return sqlite3.__name__ == _EXTRA
