"""A store that was tampered with says where, and one that was migrated is whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import anyio.to_thread
import pytest
from alembic import command
from book import as_owner, desk, everything_of, head_of, history_of, owner_url, post_arr, unit
from sqlalchemy import Connection, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from typer.testing import CliRunner

from conftest import APP_ROLE, SECRET, Postgres, Team, clone_database, new_team
from cs_mcp.cli.commands import app
from cs_mcp.db.migrations import HEAD, REVISIONS
from cs_mcp.db.store import Store, StoreUrl, open_store
from cs_mcp.db.upgrade import alembic_config, upgrade_postgres, upgrade_sqlite
from cs_mcp.db.usage.keeping import bring_to
from cs_mcp.db.usage.writing import UsageTold, UsageWritten, write_usage
from cs_mcp.db.verification import Verified, verify_postgres, verify_sqlite
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.renewals.renewals import Renewal
from cs_mcp.domain.signals.usage import METRICS
from cs_mcp.services.rebuilding import rebuild_all
from cs_mcp.services.wiring import Services

TODAY = date(2026, 3, 16)


@pytest.fixture
def own_url(store_kind: str, request: pytest.FixtureRequest) -> str:
    """A store whose history no other test shares, so that it may be spoiled."""
    if store_kind == "sqlite":
        return request.getfixturevalue("sqlite_url")
    postgres: Postgres = request.getfixturevalue("postgres")
    name = f"backup_{uuid4().hex[:12]}"
    asyncio.run(clone_database(postgres, name))
    return postgres.app(name)


@pytest.fixture
async def own_store(own_url: str, clock: FixedClock) -> AsyncIterator[Store]:
    opened = await open_store(own_url, clock=clock)
    yield opened
    await opened.close()


@pytest.fixture
async def book(own_store: Store) -> Team:
    """A workspace with two accounts that pay, a note, a meeting and a task."""
    team = await new_team(Services(own_store, SECRET))
    ana = await desk(team, "ana")
    for name in ("Globex", "Initech"):
        account = await ana.opens(name)
        await post_arr(own_store, team, account, 120_000, date(2026, 1, 1))
        await ana.notes(account, f"{name} is content.")
        await ana.meets(account)
        await ana.plans_work(account, "Send the deck")
    return team


async def verified(store: Store, anchors: dict[int, str] | None = None) -> Verified:
    if store.where.is_sqlite:
        return verify_sqlite(store.where.path, store.clock, anchors)
    return await verify_postgres(store, anchors)


# -- verify -----------------------------------------------------------------------------------------------------
async def test_a_store_that_was_only_written_through_verifies(own_store: Store, book: Team) -> None:
    found = await verified(own_store)

    assert (found.problems, found.notes) == ([], [])
    head = await head_of(own_store, book)
    assert (found.revision, found.entries, found.accounts) == (HEAD, head["seq"], 2)
    assert found.heads == {book.workspace: f"{head['seq']}:{head['hash']}"}


SPOILED = {
    "a flipped byte in an entry": (
        "update change set tool = 'log_meetinh' where seq = 12",
        "entry 12 (",
        "does not fit the chain",
    ),
    "another actor": ("update change set actor_id = 'operator' where seq = 14", "entry 14 (", "does not fit the chain"),
    "another time": ("update change set at = '2026-03-16 09:30:01' where seq = 14", "entry 14 (", "does not fit"),
    "a dropped entry": ("delete from change where seq = 12", "entry 12 is missing", ""),
    "several dropped entries": ("delete from change where seq in (12, 13)", "entry 12 to 13 is missing", ""),
    "an altered payload": (
        """update change_payload set "after" = '{"name":"Globey"}' where seq = 12""",
        "entry 12 (",
        "its values were altered",
    ),
    "a payload without its values": (
        'update change_payload set "after" = null, "before" = null where seq = 12',
        "entry 12 (",
        "its values were altered",
    ),
    "a cut tail": ("delete from change where seq >= 17", "the history ends at entry 16, its head names", ""),
    "ARR by hand": ("update account set arr_minor = 130000 where name = 'Globex'", "(Globex): ARR is 130000", "120000"),
    "a movement by hand": ("update arr_movement set amount_minor = 5", "its ledger says 5", ""),
    "a record past its history": ("update task set version = 7", "the record is at version 7, its history at 1", ""),
}


@pytest.mark.parametrize("how", SPOILED)
async def test_what_was_done_behind_the_record_is_found_and_named(own_store: Store, book: Team, how: str) -> None:
    statement, where, what = SPOILED[how]
    assert (await head_of(own_store, book))["seq"] == 18

    await as_owner(own_store, statement)

    found = await verified(own_store)
    assert not found.sound
    assert any(where in problem and what in problem for problem in found.problems), found.problems
    assert all(book.workspace in problem for problem in found.problems)


async def test_a_tail_that_was_cut_and_made_to_fit_is_found_by_its_records_and_by_an_anchor(
    own_store: Store, book: Team
) -> None:
    head = await head_of(own_store, book)
    before = (await history_of(own_store, book))[-2]
    await as_owner(own_store, f"delete from change where seq = {head['seq']}")
    await as_owner(own_store, f"update workspace_head set seq = {before['seq']}, hash = '{before['hash']}'")

    unaided = await verified(own_store)
    anchored = await verified(own_store, {head["seq"]: head["hash"]})

    assert [p for p in unaided.problems if "the record is at version 1, its history at none" in p]
    assert any(f"the anchor names entry {head['seq']}" in problem for problem in anchored.problems)


async def test_an_erased_payload_leaves_the_chain_whole(own_store: Store, book: Team) -> None:
    await as_owner(own_store, "delete from change_payload where seq = 12")
    await as_owner(own_store, 'update change_payload set "before" = null, "after" = null, salt = null where seq = 14')

    found = await verified(own_store)

    assert (found.problems, found.erased) == ([], 2)


async def test_a_movement_that_fell_due_since_is_a_note(own_store: Store, book: Team, clock: FixedClock) -> None:
    ana = await desk(book, "ana")
    account = next(line.id for line in (await ana.finds()).items if line.name == "Globex")
    await post_arr(own_store, book, account, 60_000, TODAY + timedelta(days=3))
    assert (await verified(own_store)).notes == []

    clock.advance(timedelta(days=4))

    found = await verified(own_store)
    assert (found.problems, len(found.notes)) == ([], 1)
    assert account in found.notes[0]


async def test_a_usage_rollup_that_drifted_from_its_days_is_named(own_store: Store, book: Team) -> None:
    ana = await desk(book, "ana")
    [first, second] = [line.id for line in (await ana.finds()).items]
    async with unit(own_store, ana.principal) as work:
        told = UsageTold()
        for day in range(TODAY.toordinal() - 70, TODAY.toordinal()):
            told.tell(first, day, METRICS.index("active_users"), 5)
            told.tell(second, day, METRICS.index("seats_used"), 9)
        await write_usage(work, told, UsageWritten())
        await bring_to(work, TODAY)
    assert (await verified(own_store)).problems == []

    await as_owner(own_store, f"update usage_rollup set active_30 = 149, core_total = 3 where account_id = '{first}'")
    await as_owner(own_store, f"delete from usage_day where account_id = '{second}' and day > {TODAY.toordinal() - 20}")

    problems = (await verified(own_store)).problems
    assert len(problems) == 2
    drifted = "active_30 is 149, its days say 145; core_total is 3, its days say 0"
    assert f"{first}: usage rollup: {drifted}" in "\n".join(problems)
    assert any(second in problem and "seats_day is" in problem for problem in problems)


async def test_a_renewal_that_no_longer_follows_its_account_is_named_and_brought_back(
    own_store: Store, book: Team
) -> None:
    ana = await desk(book, "ana")
    [account, *_] = [line.id for line in (await ana.finds()).items]
    async with unit(own_store, ana.principal) as work:
        renewal = Renewal(
            id=work.ids.new("renewal"), account_id=account, amount_minor=5, currency="USD", closes_on=TODAY
        )
        work.renewals.add(renewal)
    assert (await verified(own_store)).problems == []

    await as_owner(own_store, f"update renewal set account_band = 'red', responsible_id = '{ana.id}'")

    found = await verified(own_store)
    assert found.problems == [
        f"{book.workspace}: renewal {renewal.id}: its band is red, by its account unknown",
        f"{book.workspace}: renewal {renewal.id}: its responsible is {ana.id}, by its account None",
    ]
    assert found.is_mended_by_rebuild
    assert (await rebuild_all(own_store)).renewals == 1
    assert (await verified(own_store)).problems == []
    assert (await rebuild_all(own_store)).renewals == 0


async def test_an_account_without_a_row_for_its_score_is_named_and_listed_again(own_store: Store, book: Team) -> None:
    ana = await desk(book, "ana")
    worst = [line.id for line in (await ana.finds(sort="health_score")).items]
    assert (await verified(own_store)).problems == []

    await as_owner(own_store, f"delete from account_score where account_id = '{worst[0]}'")

    assert [line.id for line in (await ana.finds(sort="health_score")).items] == worst[1:]
    found = await verified(own_store)
    assert found.problems == [f"{book.workspace}: {worst[0]}: it has no row for its score"]
    assert found.is_mended_by_rebuild
    await rebuild_all(own_store)
    assert (await verified(own_store)).problems == []
    assert [line.id for line in (await ana.finds(sort="health_score")).items] == worst


async def test_a_score_that_is_listed_elsewhere_is_named_and_listed_again(clock: FixedClock, sqlite_url: str) -> None:
    """PostgreSQL generates the step, and lets nobody set it."""
    store = await open_store(sqlite_url, clock=clock)
    team = await new_team(Services(store, SECRET))
    account = await (await desk(team, "ana")).opens("Globex")
    await as_owner(store, "update account_score set score = 61.5, step = 2")

    found = await verified(store)

    assert found.problems == [f"{team.workspace}: {account}: its score of 61.5 is listed at step 2"]
    assert found.is_mended_by_rebuild
    await rebuild_all(store)
    assert (await verified(store)).problems == []
    await store.close()


async def test_a_byte_flipped_in_the_file_is_found(sqlite_url: str, clock: FixedClock) -> None:
    store = await open_store(sqlite_url, clock=clock)
    team = await new_team(Services(store, SECRET))
    await (await desk(team, "ana")).opens("Globex Corporation of Springfield")
    await store.close()
    path = store.where.path
    content = bytearray(path.read_bytes())
    spots = [at for at in range(len(content)) if content.startswith(b"Globex Corporation of", at)]
    assert spots

    silent = []
    for at in spots:
        spoiled = bytearray(content)
        spoiled[at] ^= 0x01
        path.write_bytes(spoiled)
        silent += [at] if verify_sqlite(path, clock).sound else []

    # The name stands in the account's row too, whose columns the chain does not cover; its payload is covered.
    assert len(silent) < len(spots)


# -- migrations -------------------------------------------------------------------------------------------------
async def downgrade(store: Store, to: str) -> None:
    """Take the schema back as its owner does."""

    def run(connection: Connection) -> None:
        command.downgrade(alembic_config(connection, app_role=APP_ROLE), to)

    if store.where.is_sqlite:
        engine = create_engine(f"sqlite:///{store.where.path}")
        with engine.begin() as connection:
            run(connection)
        engine.dispose()
        return
    admin = create_async_engine(owner_url(store).set(drivername="postgresql+asyncpg"))
    async with admin.begin() as connection:
        await connection.run_sync(run)
    await admin.dispose()


async def upgrade(store: Store) -> None:
    if store.where.is_sqlite:
        upgrade_sqlite(store.where)
    else:
        await upgrade_postgres(StoreUrl(owner_url(store)), store.where)


@pytest.mark.parametrize(("below", "revision"), list(pairwise(REVISIONS)))
async def test_a_populated_store_goes_down_a_revision_and_up_again_without_loss(
    own_store: Store, book: Team, below: str, revision: str
) -> None:
    before = await remembered_of(own_store, book)  # as of HEAD: this code cannot read the tables of older revisions

    if revision != HEAD:
        await downgrade(own_store, revision)
    await downgrade(own_store, below)
    await upgrade(own_store)

    assert await remembered_of(own_store, book) == before
    found = await verified(own_store)
    assert (found.revision, found.problems) == (HEAD, [])


async def remembered_of(store: Store, team: Team) -> dict[str, Any]:
    """Every row but those of what is kept to search by, which is made from them."""
    return {name: rows for name, rows in (await everything_of(store, team)).items() if "search" not in name}


@pytest.mark.skipif(len(REVISIONS) == 1, reason="there is no older revision to come from")
async def test_a_populated_store_of_the_first_revision_is_upgraded_whole(sqlite_url: str, clock: FixedClock) -> None:
    store = await open_store(sqlite_url, clock=clock)
    team = await new_team(Services(store, SECRET))
    await (await desk(team, "ana")).opens("Globex")
    before = await remembered_of(store, team)
    await store.close()
    await downgrade(store, REVISIONS[0])
    old = verify_sqlite(store.where.path, clock)
    assert (old.revision, old.problems, len(old.notes)) == (REVISIONS[0], [], 1)

    upgraded = await open_store(sqlite_url, clock=clock)

    assert await remembered_of(upgraded, team) == before
    assert verify_sqlite(upgraded.where.path, clock).problems == []
    await upgraded.close()


# -- as it is typed ---------------------------------------------------------------------------------------------
def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


async def test_verify_on_postgresql_as_a_command(postgres: Postgres) -> None:
    name = f"verify_{uuid4().hex[:12]}"
    await clone_database(postgres, name)
    store = await open_store(postgres.app(name))
    await new_team(Services(store, SECRET))
    await as_owner(store, "update change set tool = 'x' where seq = 2")
    await store.close()

    code, out, _ = await anyio.to_thread.run_sync(lambda: run("db", "verify", "--db", postgres.app(name)))

    assert code == 1
    assert "entry 2 (created " in out
