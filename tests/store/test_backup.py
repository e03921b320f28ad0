"""Backups are complete, and restores lose nothing unseen."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import anyio.to_thread
import pytest
from book import desk, post_arr
from typer.testing import CliRunner

from conftest import SECRET, new_team
from cs_mcp.cli.commands import app
from cs_mcp.db.backup import back_up, restore, sha256_of
from cs_mcp.db.store import open_store
from cs_mcp.db.verification import verify_sqlite
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.errors import Conflict, CustomerSuccessError, StoreUnusable
from cs_mcp.services.wiring import Services

TODAY = date(2026, 3, 16)


async def test_backups_among_writers_are_each_a_state_the_store_was_in(
    sqlite_url: str, clock: FixedClock, tmp_path: Path
) -> None:
    store = await open_store(sqlite_url, clock=clock)
    team = await new_team(Services(store, SECRET))
    writing = True

    async def write(name: str) -> int:
        writer = await desk(team, name)
        made = 0
        while writing:
            account = await writer.opens(f"{name} {made}")
            await post_arr(store, team, account, 100 * (made + 1), TODAY)
            made += 1
        return made

    writers = [asyncio.create_task(write(name)) for name in ("ana", "ben", "kim")]
    backups = []
    for number in range(5):
        await asyncio.sleep(0.1)
        backups.append(await anyio.to_thread.run_sync(back_up, store.where.path, tmp_path / f"{number}.db"))
    writing = False
    assert min(await asyncio.gather(*writers)) > 0
    await store.close()

    entries = []
    for number, backup in enumerate(backups):
        target = tmp_path / "restored" / f"{number}.db"
        restored = restore(backup.path, target, clock)
        found = verify_sqlite(target, clock)
        assert (restored.kept, found.problems, found.entries) == (None, [], restored.entries)
        anchors = dict(_anchor(head) for head in found.heads.values())
        assert verify_sqlite(store.where.path, clock, anchors).problems == []
        entries.append(found.entries)
    assert entries == sorted(set(entries)), "the store moved on between the backups"
    reopened = await open_store(f"sqlite:///{tmp_path / 'restored' / '4.db'}", clock=clock)
    assert await reopened.workspaces() == [team.workspace]
    await reopened.close()


def _anchor(text: str) -> tuple[int, str]:
    seq, _, digest = text.partition(":")
    return int(seq), digest


@pytest.fixture
async def closed(sqlite_url: str, clock: FixedClock) -> Path:
    """A store at rest."""
    store = await open_store(sqlite_url, clock=clock)
    team = await new_team(Services(store, SECRET))
    await (await desk(team, "ana")).opens("Globex")
    await store.close()
    return store.where.path


async def written_to(path: Path, clock: FixedClock, name: str) -> None:
    store = await open_store(f"sqlite:///{path}", clock=clock)
    [workspace] = await store.workspaces()
    identity = Services(store, SECRET).identity
    await identity.add_member(workspace, name=name, email=f"{name}@acme.example", role="csm")  # type: ignore[arg-type]
    await store.close()


async def test_a_backup_waits_for_a_write_that_has_begun_to_reach_the_file(
    closed: Path, tmp_path: Path, clock: FixedClock
) -> None:
    before = closed.read_bytes()
    with closing(sqlite3.connect(closed, isolation_level=None)) as writer:
        writer.execute("pragma cache_size = 2")
        writer.execute("begin immediate")
        writer.execute("update change set reason = hex(zeroblob(3000))")
        assert closed.read_bytes() != before, "pages went over to the file before the commit"
        backing_up = asyncio.create_task(anyio.to_thread.run_sync(back_up, closed, tmp_path / "backup.db"))
        await asyncio.sleep(0.5)
        assert not backing_up.done()
        writer.execute("rollback")
    backup = await backing_up

    assert verify_sqlite(backup.path, clock).problems == []


def test_a_backup_is_private_summed_and_never_overwrites(closed: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    first = back_up(closed, target)

    with pytest.raises(Conflict, match="exists already"):
        back_up(closed, target)
    with pytest.raises(Conflict, match="is the store itself"):
        back_up(closed, closed, force=True)
    again = back_up(closed, target, force=True)

    assert target.stat().st_mode & 0o777 == 0o600
    for made in (first, again):
        assert made.size_bytes == closed.stat().st_size
    assert (tmp_path / "backup.db.sha256").read_text() == f"{sha256_of(target)}  backup.db\n"
    assert sorted(path.name for path in tmp_path.glob("*backup*")) == ["backup.db", "backup.db.sha256"]


def test_a_backup_that_fails_leaves_nothing(closed: Path, tmp_path: Path) -> None:
    content = bytearray(closed.read_bytes())
    content[4096 * 3 : 4096 * 6] = bytes(4096 * 3)
    closed.write_bytes(content)
    folder = tmp_path / "backups"
    folder.mkdir()

    with pytest.raises((StoreUnusable, sqlite3.DatabaseError)):
        back_up(closed, folder / "backup.db")

    assert list(folder.iterdir()) == []


async def test_a_restore_refuses_to_lose_changes_and_keeps_what_it_replaces(
    closed: Path, tmp_path: Path, clock: FixedClock
) -> None:
    backup = back_up(closed, tmp_path / "backup.db").path
    await written_to(closed, clock, "zoe")
    written = closed.read_bytes()

    with pytest.raises(Conflict, match="holds 1 change that the backup lacks"):
        restore(backup, closed, clock)
    assert closed.read_bytes() == written
    done = restore(backup, closed, clock, force=True)

    assert done.kept is not None
    assert done.kept.name == "store.db.replaced-20260316T093000Z"
    assert done.kept.read_bytes() == written
    assert sha256_of(closed) == sha256_of(backup)
    assert restore(backup, closed, clock).kept is not None, "a store that is the backup loses nothing"
    # The other way round nothing is lost: the newer store holds all that the older does.
    newer = back_up(done.kept, tmp_path / "newer.db").path
    assert restore(newer, closed, clock).entries == done.entries + 1


async def test_a_restore_refuses_while_a_server_has_the_store_open(
    closed: Path, tmp_path: Path, clock: FixedClock
) -> None:
    backup = back_up(closed, tmp_path / "backup.db").path
    store = await open_store(f"sqlite:///{closed}", clock=clock)
    with pytest.raises(Conflict, match="in use by a running cs-mcp"):
        restore(backup, closed, clock)
    await store.close()

    with closing(sqlite3.connect(closed, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(Conflict, match="in use by another program"):
            restore(backup, closed, clock)

    assert restore(backup, closed, clock).kept is not None


def test_a_backup_that_was_touched_is_not_restored(closed: Path, tmp_path: Path, clock: FixedClock) -> None:
    backup = back_up(closed, tmp_path / "backup.db").path
    before = closed.read_bytes()
    with closing(sqlite3.connect(backup)) as connection, connection:
        connection.execute("update account set arr_minor = 1")

    with pytest.raises(StoreUnusable, match="its checksum differs"):
        restore(backup, closed, clock)
    (tmp_path / "backup.db.sha256").unlink()
    with pytest.raises(StoreUnusable, match=r"does not verify: .*ARR is 1, its ledger says 0"):
        restore(backup, closed, clock)

    assert closed.read_bytes() == before


@pytest.mark.parametrize("which", ["backup", "store"])
def test_a_newer_schema_is_refused(closed: Path, tmp_path: Path, clock: FixedClock, which: str) -> None:
    backup = back_up(closed, tmp_path / "backup.db").path
    (tmp_path / "backup.db.sha256").unlink()
    newer = {"backup": backup, "store": closed}[which]
    with closing(sqlite3.connect(newer)) as connection, connection:
        connection.execute("update alembic_version set version_num = '9999'")

    with pytest.raises(CustomerSuccessError, match="9999"):
        restore(backup, closed, clock)


def test_a_store_too_damaged_to_read_is_replaced(closed: Path, tmp_path: Path, clock: FixedClock) -> None:
    backup = back_up(closed, tmp_path / "backup.db").path
    closed.write_bytes(b"not a store any more" * 500)

    done = restore(backup, closed, clock)

    assert verify_sqlite(closed, clock).sound
    assert done.kept is not None
    assert done.kept.read_bytes().startswith(b"not a store")


def test_a_crashed_writers_journal_does_not_reach_the_restored_store(
    closed: Path, tmp_path: Path, clock: FixedClock
) -> None:
    backup = back_up(closed, tmp_path / "backup.db").path
    with closing(sqlite3.connect(closed, isolation_level=None)) as writer:
        writer.execute("pragma cache_size = 2")
        writer.execute("begin immediate")
        writer.execute("update change set reason = hex(zeroblob(3000))")
        # What a kill leaves: pages written over, and the journal to take them back with.
        torn, journal = tmp_path / "torn.db", tmp_path / "torn.db-journal"
        shutil.copy(closed, torn)
        shutil.copy(closed.with_name(closed.name + "-journal"), journal)
        writer.execute("rollback")
    assert journal.stat().st_size > 512

    done = restore(backup, torn, clock, force=True)

    assert verify_sqlite(torn, clock).problems == []
    assert done.kept is not None
    assert verify_sqlite(done.kept, clock).problems == [], "the torn store was rolled back before it was kept"
    assert not journal.exists() or journal.stat().st_size == 0


# -- as it is typed ---------------------------------------------------------------------------------------------
def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_backup_verify_and_restore_as_commands(closed: Path, tmp_path: Path, clock: FixedClock) -> None:
    db, backup = f"sqlite:///{closed}", tmp_path / "backup.db"

    assert run("db", "backup", backup, "--db", db)[0] == 0
    code, out, _ = run("db", "verify", backup, "--json")
    told = json.loads(out)
    assert (code, told["sound"], told["checksum"], told["problems"]) == (0, True, "fits", [])
    [head] = told["heads"].values()
    assert run("db", "verify", "--db", db, "--anchor", head)[0] == 0
    code, out, _ = run("db", "restore", backup, "--db", db, "--json")
    assert (code, json.loads(out)["entries"]) == (0, told["entries"])

    with closing(sqlite3.connect(backup)) as connection, connection:
        connection.execute("update change set tool = 'x' where seq = 3")
    code, out, _ = run("db", "verify", backup)
    assert code == 1
    assert "WRONG: the checksum differs" in out
    assert "entry 3 (" in out
    code, _, err = run("db", "restore", backup, "--db", db)
    assert (code, "its checksum differs" in err) == (2, True)


@pytest.mark.parametrize(("verb", "tool"), [("backup", "pg_dump"), ("restore", "pg_restore")])
def test_on_postgresql_the_command_says_what_to_run(tmp_path: Path, verb: str, tool: str) -> None:
    code, _, err = run("db", verb, tmp_path / "b.dump", "--db", "postgresql://cs_app:secret@db.example/cs")

    assert code == 2
    assert tool in err
    assert "secret" not in err
