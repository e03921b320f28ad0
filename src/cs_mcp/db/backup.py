"""Backups of a SQLite store: taken while it is in use, complete or absent, and put back only where nothing is lost."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cs_mcp.db.migrations import REVISIONS
from cs_mcp.db.occupancy import alone
from cs_mcp.db.verification import looking_at, verify_sqlite
from cs_mcp.domain.errors import Conflict, StoreUnusable

if TYPE_CHECKING:
    from cs_mcp.domain.calendar import Clock

_BLOCK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Backup:
    path: Path
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Restored:
    path: Path
    kept: Path | None  # what was there before
    entries: int


def checksum_path(backup: Path) -> Path:
    return backup.with_name(backup.name + ".sha256")


# -- backup -----------------------------------------------------------------------------------------------------
def back_up(store: Path, target: Path, *, force: bool = False) -> Backup:
    """Copy the store as it is between two transactions; writers wait while the pages are copied.

    The backup appears whole or not at all, readable by its owner only, with its SHA-256 beside it in the form that
    `sha256sum -c` reads. Raises Conflict where `target` exists, unless `force`.
    """
    if not store.exists():
        raise StoreUnusable(f"There is no store at {store}.", remedy="Name it with --db or CS_MCP_DB.")
    if target.exists() and (target.samefile(store) or not force):
        same = target.samefile(store)
        raise Conflict(
            f"{target} is the store itself." if same else f"{target} exists already.",
            remedy="Name another file." if same else "Name another file, or add --force to replace it.",
        )
    with _partial(target) as partial:
        copy_store(store, partial)
        _check(partial)
        size, digest = partial.stat().st_size, sha256_of(partial)
        if force:
            # An old checksum beside a new file would call it damaged.
            checksum_path(target).unlink(missing_ok=True)
        _publish(partial, target, force=force)
    with _partial(checksum_path(target)) as partial:
        partial.write_text(f"{digest}  {target.name}\n", encoding="utf-8")
        _publish(partial, checksum_path(target), force=True)
    return Backup(target, size, digest)


def copy_store(store: Path, target: Path) -> None:
    """All pages in one read transaction: in several steps, every commit in between would start the copy over."""
    with looking_at(store) as here, closing(sqlite3.connect(target)) as there:
        here.backup(there)
        # A copy of a WAL file would need two files more to be read.
        there.execute("pragma journal_mode=delete")
    _sync(target)


def _check(copy: Path) -> None:
    with looking_at(copy) as connection:
        said = connection.execute("pragma quick_check(1)").fetchone()[0]
    if said != "ok":
        raise StoreUnusable(
            f"The store is damaged, so its copy would be: {said}.",
            remedy="Run 'cs-mcp db verify' to see how much, and restore an earlier backup.",
        )


# -- restore ----------------------------------------------------------------------------------------------------
def restore(backup: Path, store: Path, clock: Clock, *, force: bool = False) -> Restored:
    """Put a backup in the store's place and keep what was there beside it.

    Raises Conflict where the store is in use, or holds changes that the backup lacks (unless `force`); StoreUnusable
    where the backup is damaged, altered or of a newer version.
    """
    entries = _usable(backup, clock)
    if store.exists() and store.samefile(backup):
        raise Conflict(f"{backup} is the store itself.", remedy="Name a backup of it.")
    store.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with alone(store), _partial(store) as partial:
        if store.exists():
            _settle(store)
            if not force:
                _refuse_to_lose(store, backup)
        shutil.copyfile(backup, partial)
        _sync(partial)
        kept = _keep(store, clock.now()) if store.exists() else None
        _set_journals_aside(store, kept)
        _publish(partial, store, force=True)
    return Restored(store, kept, entries)


def _usable(backup: Path, clock: Clock) -> int:
    """Entries of its history."""
    if not backup.exists():
        raise StoreUnusable(f"There is no file {backup}.", remedy="Name a file that 'cs-mcp db backup' wrote.")
    expected = told_checksum(backup)
    if expected is not None and sha256_of(backup) != expected:
        raise StoreUnusable(
            f"{backup} is not what was backed up: its checksum differs from {checksum_path(backup).name}.",
            remedy="Restore another backup. 'cs-mcp db verify FILE' says what is wrong with this one.",
        )
    verified = verify_sqlite(backup, clock)
    if not verified.sound:
        more = len(verified.problems) - 1 + verified.problems_not_told
        raise StoreUnusable(
            f"{backup} does not verify: {verified.problems[0]}" + (f" (and {more} problems more)." if more else "."),
            remedy="Restore another backup. 'cs-mcp db verify FILE' lists the problems.",
        )
    return verified.entries


def told_checksum(backup: Path) -> str | None:
    """The SHA-256 that was kept beside the file, None where there is none."""
    try:
        return checksum_path(backup).read_text(encoding="utf-8").split()[0]
    except (FileNotFoundError, IndexError):
        return None


def _settle(store: Path) -> None:
    """Nobody writes it now, and its journal is written back. A file too damaged for that is replaced as it is."""
    try:
        with closing(sqlite3.connect(store, timeout=1, isolation_level=None)) as connection:
            connection.execute("pragma locking_mode=exclusive")
            connection.execute("begin exclusive")
            connection.execute("commit")
            connection.execute("pragma journal_mode=delete")
    except sqlite3.OperationalError as busy:
        if "locked" in str(busy) or "busy" in str(busy):
            raise Conflict(
                f"{store} is in use by another program.", remedy="Stop what uses it, then restore."
            ) from busy
        raise
    except sqlite3.DatabaseError:
        return


def _refuse_to_lose(store: Path, backup: Path) -> None:
    """Raise Conflict where the store holds entries that the backup does not."""
    try:
        with looking_at(store) as connection:
            tables = {row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")}
            if not tables:
                return
            if "workspace_head" not in tables:
                raise Conflict(
                    f"{store} is a SQLite file of something else.", remedy="Name another with --db, or add --force."
                )
            revision = connection.execute("select version_num from alembic_version").fetchone()[0]
            heads = connection.execute("select workspace, seq, hash from workspace_head").fetchall()
    except sqlite3.DatabaseError:
        return  # nothing in it can be read, which is what a restore is for
    if revision not in REVISIONS:
        raise Conflict(
            f"{store} was written by a newer version (schema {revision}).",
            remedy="Upgrade cs-mcp and look at it, or add --force to put the backup in its place.",
        )
    with looking_at(backup) as connection:
        known = dict(connection.execute("select workspace, seq from workspace_head").fetchall())
        at = "select 1 from change where workspace = ? and seq = ? and hash = ?"
        for workspace, seq, digest in heads:
            if seq and connection.execute(at, (workspace, seq, digest)).fetchone() is None:
                lost = seq - known[workspace] if known.get(workspace, seq) < seq else None
                what = f"{lost:,} change{'s' * (lost != 1)}" if lost else "a history"
                raise Conflict(
                    f"{store} holds {what} that the backup lacks ({workspace}, up to entry {seq}).",
                    remedy="Back the store up first, then add --force. What is replaced is kept beside it in any case.",
                )


def _keep(store: Path, now: datetime) -> Path:
    """A second name for the store's file, so that it outlives its replacement."""
    kept = store.with_name(f"{store.name}.replaced-{now:%Y%m%dT%H%M%SZ}")
    number = 1
    while kept.exists():
        number += 1
        kept = store.with_name(f"{store.name}.replaced-{now:%Y%m%dT%H%M%SZ}-{number}")
    try:
        os.link(store, kept)
    except OSError:  # a file system without hard links
        shutil.copy2(store, kept)
        _sync(kept)
    return kept


def _set_journals_aside(store: Path, kept: Path | None) -> None:
    """A journal left by a crash would be rolled back into the file that takes the store's name."""
    for suffix in ("-journal", "-wal", "-shm"):
        left = store.with_name(store.name + suffix)
        if kept is not None and left.exists() and left.stat().st_size:
            left.replace(kept.with_name(kept.name + suffix))
        else:
            left.unlink(missing_ok=True)


# -- files ------------------------------------------------------------------------------------------------------
@contextmanager
def _partial(target: Path) -> Generator[Path, None, None]:
    """An empty file beside the target, private, gone at the end unless it was published."""
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield partial
    finally:
        for leftover in (partial, partial.with_name(partial.name + "-journal")):
            leftover.unlink(missing_ok=True)


def _publish(partial: Path, target: Path, *, force: bool) -> None:
    """Give the finished file its name, durably; without `force` only where nothing has it, even by now."""
    _sync(partial)
    if force:
        partial.replace(target)
    else:
        try:
            os.link(partial, target)
        except FileExistsError:
            raise Conflict(f"{target} exists already.", remedy="Name another file.") from None
        except OSError:
            partial.rename(target)
    _sync_folder(target.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
