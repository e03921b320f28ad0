"""Ways to change a remembered row that the record would not see: each is refused, and nothing is written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from book import Desk, as_owner, desk, everything_of, unit
from sqlalchemy import Connection, bindparam, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from conftest import Team
from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.history.changes import CHANGES, DERIVED, PAYLOADS, Unrecordable
from cs_mcp.db.store import Store
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Account

ACCOUNT: Any = AccountRow.__table__
Hole = Callable[[UnitOfWork, AccountRow], Awaitable[Any]]


@pytest.fixture
async def ana(team: Team) -> Desk:
    return await desk(team, "ana")


@pytest.fixture
async def acme(ana: Desk) -> str:
    return await ana.opens("Acme", tags=["pilot"], custom={"region": "emea"})


async def row_of(work: UnitOfWork, account: str) -> AccountRow:
    await work.accounts.get(account)
    found = await work.session.get(AccountRow, (work.principal.workspace, account))
    assert found is not None
    return found


def another(row: AccountRow) -> dict[str, Any]:
    """Column values of a second account."""
    values = {column.key: getattr(row, column.key) for column in ACCOUNT.c}
    return values | {"id": "acc_another", "name": "Another", "name_key": "another"}


# -- through the session's rows -------------------------------------------------------------------------------


async def a_list_edited_in_place(work: UnitOfWork, row: AccountRow) -> None:
    row.tags.append("vip")


async def a_dict_edited_in_place(work: UnitOfWork, row: AccountRow) -> None:
    row.custom["region"] = "apac"


async def a_list_edited_in_place_beside_a_plain_change(work: UnitOfWork, row: AccountRow) -> None:
    row.tags.append("vip")
    row.industry = "Freight"


async def a_dict_edited_in_place_beside_a_plain_change(work: UnitOfWork, row: AccountRow) -> None:
    row.custom["region"] = "apac"
    row.industry = "Freight"


async def an_sql_expression_as_value(work: UnitOfWork, row: AccountRow) -> None:
    row.employees = AccountRow.employees + 1  # type: ignore[assignment]


async def an_sql_expression_in_a_new_row(work: UnitOfWork, row: AccountRow) -> None:
    work.session.add(AccountRow(**another(row) | {"employees": text("1 + 1")}))


async def a_column_set_before_it_was_loaded(work: UnitOfWork, row: AccountRow) -> None:
    work.session.sync_session.expire(row, ["name"])
    row.name = "Acme Holding"


async def a_row_deleted(work: UnitOfWork, row: AccountRow) -> None:
    await work.session.delete(row)


# -- past the session's rows ----------------------------------------------------------------------------------


async def an_orm_update(work: UnitOfWork, row: AccountRow) -> None:
    await work.session.execute(update(AccountRow).where(AccountRow.id == row.id).values(name="Hidden"))


async def an_orm_delete(work: UnitOfWork, row: AccountRow) -> None:
    await work.session.execute(delete(AccountRow).where(AccountRow.id == row.id))


async def an_orm_bulk_insert(work: UnitOfWork, row: AccountRow) -> None:
    await work.session.execute(insert(AccountRow), [another(row)])


async def an_orm_bulk_update_by_key(work: UnitOfWork, row: AccountRow) -> None:
    await work.session.execute(
        update(AccountRow), [{"workspace": row.workspace, "id": row.id, "version": 1, "name": "Hidden"}]
    )


async def legacy_bulk_mappings(work: UnitOfWork, row: AccountRow) -> None:
    changed = {"workspace": row.workspace, "id": row.id, "version": 1, "name": "Hidden"}

    def write(session: Session) -> None:
        session.bulk_update_mappings(AccountRow.__mapper__, [changed])

    await work.session.run_sync(write)


async def a_core_update_by_the_session(work: UnitOfWork, row: AccountRow) -> None:
    await work.session.execute(update(ACCOUNT).where(ACCOUNT.c.id == row.id).values(name="Hidden"))


async def a_core_insert_by_the_session(work: UnitOfWork, row: AccountRow) -> None:
    await work.session.execute(insert(ACCOUNT).values(another(row)))


async def a_core_delete_by_the_session(work: UnitOfWork, row: AccountRow) -> None:
    await work.session.execute(delete(ACCOUNT).where(ACCOUNT.c.id == row.id))


async def a_core_update_of_an_alias(work: UnitOfWork, row: AccountRow) -> None:
    other = ACCOUNT.alias("other")
    await work.session.execute(update(other).where(other.c.id == row.id).values(name="Hidden"))


async def a_core_update_by_the_connection(work: UnitOfWork, row: AccountRow) -> None:
    connection = await work.session.connection()
    await connection.execute(update(ACCOUNT).where(ACCOUNT.c.id == row.id).values(name="Hidden"))


async def a_core_insert_by_the_connection(work: UnitOfWork, row: AccountRow) -> None:
    connection = await work.session.connection()
    await connection.execute(insert(ACCOUNT), [another(row)])


async def a_core_delete_by_the_connection(work: UnitOfWork, row: AccountRow) -> None:
    connection = await work.session.connection()
    await connection.execute(delete(ACCOUNT).where(ACCOUNT.c.id == row.id))


async def a_core_update_after_a_flush(work: UnitOfWork, row: AccountRow) -> None:
    row.industry = "Freight"
    await work.flush()
    await a_core_update_by_the_connection(work, row)


async def a_core_update_after_a_flush_that_failed(work: UnitOfWork, row: AccountRow) -> None:
    async def fail() -> None:
        async with work.savepoint():
            work.session.add(AccountRow(**another(row) | {"name": None}))
            await work.session.flush()

    with pytest.raises(IntegrityError):
        await fail()
    await a_core_update_by_the_connection(work, row)


# -- under the flag of derived columns ------------------------------------------------------------------------


async def as_derived(work: UnitOfWork, statement: Any, given: Any = None) -> None:
    connection = await work.session.connection()
    await connection.execute(statement, given, execution_options={DERIVED: True})


async def a_name_as_derived(work: UnitOfWork, row: AccountRow) -> None:
    await as_derived(work, update(ACCOUNT).where(ACCOUNT.c.id == row.id).values(name="Hidden"))


async def a_name_beside_a_derived_column(work: UnitOfWork, row: AccountRow) -> None:
    await as_derived(work, update(ACCOUNT).where(ACCOUNT.c.id == row.id).values(arr_minor=1, name="Hidden"))


async def a_name_in_the_parameters_as_derived(work: UnitOfWork, row: AccountRow) -> None:
    await as_derived(work, update(ACCOUNT).where(ACCOUNT.c.id == bindparam("of")), {"of": row.id, "name": "Hidden"})


async def a_name_in_ordered_values_as_derived(work: UnitOfWork, row: AccountRow) -> None:
    await as_derived(work, update(ACCOUNT).where(ACCOUNT.c.id == row.id).ordered_values((ACCOUNT.c.name, "Hidden")))


async def a_row_deleted_as_derived(work: UnitOfWork, row: AccountRow) -> None:
    await as_derived(work, delete(ACCOUNT).where(ACCOUNT.c.id == row.id))


# -- the record itself ----------------------------------------------------------------------------------------


async def an_entry_updated(work: UnitOfWork, row: AccountRow) -> None:
    await work.session.execute(update(CHANGES).values(reason="rewritten"))


async def an_entry_deleted(work: UnitOfWork, row: AccountRow) -> None:
    await work.session.execute(delete(CHANGES))


async def a_payload_updated(work: UnitOfWork, row: AccountRow) -> None:
    await work.session.execute(update(PAYLOADS).values(after={}))


async def a_payload_deleted(work: UnitOfWork, row: AccountRow) -> None:
    connection = await work.session.connection()
    await connection.execute(delete(PAYLOADS))


HOLES: list[Hole] = [
    a_list_edited_in_place,
    a_dict_edited_in_place,
    a_list_edited_in_place_beside_a_plain_change,
    a_dict_edited_in_place_beside_a_plain_change,
    an_sql_expression_as_value,
    an_sql_expression_in_a_new_row,
    a_column_set_before_it_was_loaded,
    a_row_deleted,
    an_orm_update,
    an_orm_delete,
    an_orm_bulk_insert,
    an_orm_bulk_update_by_key,
    legacy_bulk_mappings,
    a_core_update_by_the_session,
    a_core_insert_by_the_session,
    a_core_delete_by_the_session,
    a_core_update_of_an_alias,
    a_core_update_by_the_connection,
    a_core_insert_by_the_connection,
    a_core_delete_by_the_connection,
    a_core_update_after_a_flush,
    a_core_update_after_a_flush_that_failed,
    a_name_as_derived,
    a_name_beside_a_derived_column,
    a_name_in_the_parameters_as_derived,
    a_name_in_ordered_values_as_derived,
    a_row_deleted_as_derived,
    an_entry_updated,
    an_entry_deleted,
    a_payload_updated,
    a_payload_deleted,
]


async def test_what_the_record_would_not_see_is_refused(store: Store, team: Team, ana: Desk, acme: str) -> None:
    before = await everything_of(store, team)
    went_through: list[str] = []
    for hole in HOLES:
        try:
            async with unit(store, ana.principal) as work:
                await hole(work, await row_of(work, acme))
            went_through.append(f"{hole.__name__}: written")
        except Unrecordable:
            pass
        except Exception as other:
            went_through.append(f"{hole.__name__}: {other!r}")

    assert went_through == []
    assert await everything_of(store, team) == before


async def test_a_flush_that_failed_does_not_open_the_guard_for_the_next_unit(
    store: Store, team: Team, ana: Desk, acme: str
) -> None:
    with pytest.raises(IntegrityError):
        async with unit(store, ana.principal) as work:
            work.session.add(AccountRow(**another(await row_of(work, acme)) | {"name": None}))

    for _ in range(3):  # whichever connection of the pool it left behind
        with pytest.raises(Unrecordable, match="account is remembered"):
            async with unit(store, ana.principal) as work:
                await a_core_update_by_the_connection(work, await row_of(work, acme))


async def test_derived_columns_may_be_set_under_their_flag(store: Store, ana: Desk, acme: str) -> None:
    async with unit(store, ana.principal) as work:
        await as_derived(work, update(ACCOUNT).where(ACCOUNT.c.id == acme).values(arr_minor=500))

    assert (await ana.sees(acme)).arr.amount == "5.00"


async def test_reading_is_free(store: Store, ana: Desk, acme: str) -> None:
    async with unit(store, ana.principal) as work:
        found = await work.session.execute(select(ACCOUNT.c.name).where(ACCOUNT.c.id == acme))

        assert found.scalar_one() == "Acme"


async def test_a_record_saved_unread_is_refused(store: Store, ana: Desk, acme: str) -> None:
    with pytest.raises(Exception, match="was saved before it was read"):
        async with unit(store, ana.principal) as work:
            work.accounts.save(Account(id=acme, name="Unread"))


def run(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement)


@pytest.mark.parametrize("store_kind", ["postgresql"])
@pytest.mark.parametrize(
    "statement",
    [
        "update change set reason = 'rewritten'",
        "delete from change",
        "truncate change",
        "update change_payload set after = '{}'",
        "delete from change_payload",
        "delete from account",
        "delete from member",
        "delete from plan",
        "update workspace set id = 'wsp_other'",
        "drop table change",
        "alter table change disable row level security",
        "create policy mine on change using (true)",
    ],
)
async def test_postgresql_itself_refuses_it_to_the_application(
    store: Store, team: Team, ana: Desk, acme: str, statement: str
) -> None:
    before = await everything_of(store, team)

    with pytest.raises(Exception, match=r"permission denied|must be owner"):
        async with unit(store, ana.principal) as work:
            await (await work.session.connection()).run_sync(run, statement)

    assert await everything_of(store, team) == before


@pytest.mark.parametrize("store_kind", ["sqlite"])
async def test_the_reading_side_of_sqlite_cannot_write(store: Store, ana: Desk, acme: str) -> None:
    reader: Any = store.reads
    connection = reader._engine.raw_connection()
    try:
        with pytest.raises(Exception, match="readonly"):
            connection.cursor().execute("update account set name = 'Hidden'")
    finally:
        connection.close()
    await as_owner(store, "select 1")
    assert (await ana.sees(acme)).name == "Acme"
