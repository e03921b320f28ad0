"""What a look at a store's surroundings tells before it is opened, and at its walls once it is."""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy import text

from cs_mcp.db.migrations.walls import OUTSIDE
from cs_mcp.db.store import Store, is_wal_file, sqlite_revision, wal_is_safe

__all__ = ["is_wal_file", "sqlite_revision", "sqlite_version", "unwalled_tables", "wal_is_safe"]

_WITHOUT_WALL: Final = text(
    "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname = current_schema() and c.relkind in ('r', 'p') and not c.relispartition "
    "and not (c.relrowsecurity and c.relforcerowsecurity) order by c.relname"
)


def sqlite_version() -> str:
    return sqlite3.sqlite_version


async def unwalled_tables(store: Store) -> list[str]:
    """Tables of an open PostgreSQL store on which row-level security is not forced, though it should be."""
    async with store.writer.connect() as connection:
        found = await connection.execute(_WITHOUT_WALL)
        return [name for (name,) in found if name not in OUTSIDE]
