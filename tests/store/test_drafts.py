"""Drafts of a night on SQLite: what the writer puts up with while it knows them, and that it is rid of it after."""

from __future__ import annotations

import pytest

from cs_mcp.db.drafts import drafts
from cs_mcp.db.health.scoring_drafts import DRAFTED, WRITERS
from cs_mcp.db.store import CACHE_KIB, Store

pytestmark = pytest.mark.parametrize("store_kind", ["sqlite"], indirect=True)
SETTINGS = ("cache_size", "cache_spill", "foreign_keys", "synchronous")


async def settings_of(store: Store) -> dict[str, object]:
    async with store.writer.connect() as connection:
        found = {name: (await connection.exec_driver_sql(f"pragma {name}")).scalar() for name in SETTINGS}
        schemas = (await connection.exec_driver_sql("select name from pragma_database_list")).scalars()
        found["schemas"] = set(schemas) - {"temp"}
        found["own tables"] = set((await connection.exec_driver_sql("select name from temp.sqlite_master")).scalars())
        await connection.rollback()
    return found


async def test_a_writer_that_knows_drafts_holds_little_besides_what_it_writes(store: Store) -> None:
    """Each page that it only reads would stay in the memory of a night until as many as in a server had come."""
    async with drafts(store, DRAFTED, WRITERS) as pair:
        during = await settings_of(store)

    assert during["cache_size"] == -CACHE_KIB // 4
    assert during["cache_spill"] == 0
    assert during["own tables"] == {table.name for table in WRITERS}
    assert during["schemas"] == {"main", *(draft.schema for draft in pair)}


async def test_after_a_night_the_writer_is_as_before_also_when_it_broke_off(store: Store) -> None:
    usual = await settings_of(store)
    assert usual["cache_size"] == -CACHE_KIB

    async with drafts(store, DRAFTED, WRITERS):
        pass
    assert await settings_of(store) == usual

    with pytest.raises(OSError, match="disk"):
        async with drafts(store, DRAFTED, WRITERS):
            raise OSError("disk full")
    assert await settings_of(store) == usual
