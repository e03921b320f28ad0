"""`cs-mcp db backup`, `restore` and `verify`: the store kept safe, put back, and held to its history."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cs_mcp.cli._run import print_json, refusals, run, settings_of
from cs_mcp.domain.errors import Invalid

if TYPE_CHECKING:
    from cs_mcp.config import Settings
    from cs_mcp.db.store import StoreUrl
    from cs_mcp.db.verification import Verified

DB = Annotated[str | None, typer.Option("--db", metavar="URL", help="The store; else CS_MCP_DB")]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON")]
UNSOUND = 1


def backup(
    file: Annotated[Path, typer.Argument(help="The backup to write; its SHA-256 goes beside it")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists")] = False,
    db: DB = None,
    as_json: JSON = False,
) -> None:
    """Copy a SQLite store while its servers run: complete or not at all. Writers wait while pages are copied."""
    with refusals():
        from cs_mcp.db.backup import back_up

        where = _sqlite(
            settings_of(db=db),
            "PostgreSQL is backed up by its own tools.",
            "Run, as a superuser or a role with BYPASSRLS: pg_dump --format=custom --file={file} '{url}'",
            file,
        )
        made = back_up(where.path, file, force=force)
    if as_json:
        print_json(asdict(made))
    else:
        typer.echo(f"Backed up to {made.path}: {made.size_bytes:,} bytes, SHA-256 {made.sha256}.")
        typer.echo("Keep token.key (or CS_MCP_SECRET) with it, or make new tokens after a restore.", err=True)


def restore(
    file: Annotated[Path, typer.Argument(help="A backup that 'cs-mcp db backup' wrote")],
    force: Annotated[bool, typer.Option("--force", help="Also where the store holds changes the backup lacks")] = False,
    db: DB = None,
    as_json: JSON = False,
) -> None:
    """Put a backup in the place of a SQLite store. What was there is kept beside it.

    The backup is verified first. Refused while the store is in use, and where it holds changes that the backup lacks.
    """
    with refusals():
        from cs_mcp.db.backup import restore as put_back
        from cs_mcp.domain.calendar import SystemClock

        where = _sqlite(
            settings_of(db=db),
            "PostgreSQL is restored by its own tools.",
            "Stop the servers and run, as the schema's owner: pg_restore --clean --if-exists --dbname='{url}' {file}; "
            "then 'cs-mcp db upgrade' (with --admin-db) for the rights, and 'cs-mcp db verify'",
            file,
        )
        done = put_back(file, where.path, SystemClock(), force=force)
    if as_json:
        print_json(asdict(done))
    else:
        typer.echo(f"Restored {done.path}: {done.entries:,} changes, all verified.")
        if done.kept is not None:
            typer.echo(f"What was there is {done.kept}.")


def verify(
    file: Annotated[Path | None, typer.Argument(help="A SQLite file, such as a backup; else the store")] = None,
    anchor: Annotated[
        list[str] | None,
        typer.Option("--anchor", metavar="SEQ:HASH", help="An entry noted earlier, which must still be there"),
    ] = None,
    db: DB = None,
    as_json: JSON = False,
) -> None:
    """Hold a store to its history: the chain of changes, the values behind it, and each account's ARR to its ledger.

    On SQLite also the file itself. Exits with 1 where something is wrong. The head it prints is an anchor: kept
    elsewhere, it lets a later check tell a history that was cut short and made to fit.
    """
    with refusals():
        settings = settings_of(db=db)
        anchors = dict(_anchor(text) for text in anchor or ())
    found, checksum = run(_verified(settings, file, anchors))
    if as_json:
        print_json(asdict(found) | {"sound": found.sound, "checksum": checksum})
    else:
        _show(found, checksum)
    raise typer.Exit(0 if found.sound else UNSOUND)


def _anchor(text: str) -> tuple[int, str]:
    seq, _, digest = text.rpartition(":")
    if not seq.isdecimal() or len(digest) != 64:
        raise Invalid(f"{text!r} is no anchor.", remedy="Give it as SEQ:HASH, as 'cs-mcp db verify' prints it.")
    return int(seq), digest


async def _verified(settings: Settings, file: Path | None, anchors: dict[int, str]) -> tuple[Verified, str | None]:
    """What was found, and whether the file has the checksum kept beside it: "fits", "differs", or None for none."""
    from cs_mcp.db.backup import checksum_path, sha256_of, told_checksum
    from cs_mcp.db.store import StoreUrl, open_store
    from cs_mcp.db.verification import verify_postgres, verify_sqlite
    from cs_mcp.domain.calendar import SystemClock

    where = StoreUrl.parse(settings.db)
    if file is None and not where.is_sqlite:
        store = await open_store(settings.db)
        try:
            return await verify_postgres(store, anchors), None
        finally:
            await store.close()
    path = file or where.path
    if not path.is_file():
        raise Invalid(f"There is no file {path}.", remedy="Name a SQLite file, or the store with --db.")
    told = told_checksum(path)
    differs = told is not None and sha256_of(path) != told
    found = verify_sqlite(path, SystemClock(), anchors)
    if differs:
        found.problems.insert(0, f"the checksum differs from {checksum_path(path).name}: the file was altered")
    return found, None if told is None else "differs" if differs else "fits"


def _show(found: Verified, checksum: str | None) -> None:
    erased = f", {found.erased:,} of them erased" if found.erased else ""
    typer.echo(
        f"Schema {found.revision}; {found.entries:,} changes{erased}, {found.records:,} records, "
        f"{found.accounts:,} accounts in {found.workspaces} workspace{'s' * (found.workspaces != 1)}"
        + (f"; checksum {checksum}." if checksum else ".")
    )
    for workspace, head in found.heads.items():
        typer.echo(f"Head of {workspace}: {head}")
    for note in found.notes:
        typer.echo(f"Note: {note}.")
    for problem in found.problems:
        typer.echo(f"WRONG: {problem}.")
    if found.problems_not_told:
        typer.echo(f"WRONG: and {found.problems_not_told:,} problems more.")
    if found.sound:
        typer.echo("All of it holds.")
    elif found.is_mended_by_rebuild:
        typer.echo("The record holds; what is kept beside it does not: 'cs-mcp db rebuild' makes it anew.")
    else:
        typer.echo("This store cannot be trusted as it is: restore a backup.")


def _sqlite(settings: Settings, why: str, how: str, file: Path) -> StoreUrl:
    from cs_mcp.db.store import StoreUrl

    where = StoreUrl.parse(settings.db)
    if not where.is_sqlite:
        url = where.url.set(drivername="postgresql", username="OWNER", password=None)
        raise Invalid(why, remedy=how.format(file=file, url=url.render_as_string()) + ".")
    return where
