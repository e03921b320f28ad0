"""`cs-mcp db`: the store's schema, its backups and its soundness."""

from __future__ import annotations

from typing import Annotated

import typer

from cs_mcp.cli._run import print_json, refusals, run, settings_of
from cs_mcp.cli.backup import backup, restore, verify

db = typer.Typer(help="The store: schema, backups, soundness.", no_args_is_help=True, rich_markup_mode=None)


@db.callback()
def _db() -> None:
    """The store: schema, backups, soundness."""


db.command("backup")(backup)
db.command("restore")(restore)
db.command("verify")(verify)


@db.command("rebuild")
def rebuild(
    db: Annotated[str | None, typer.Option("--db", metavar="URL", help="The store, as it is served")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Make what is kept beside the records anew from them.

    Of revenue the sums by month, the windows, the cohorts; of accounts what their attributes were; of renewals
    their account's band, segment and owner.
    They are kept with every write; this is for a store that was written to by other means.
    """
    with refusals():
        told = run(_rebuilt(settings_of(db=db).db))
    if as_json:
        print_json(told)
    else:
        typer.echo(f"Revenue of {told['accounts']} accounts made anew from the ledger.")
        if told["renewals"]:
            typer.echo(f"{told['renewals']} renewals follow their account again.")


async def _rebuilt(url: str) -> dict[str, int]:
    from cs_mcp.db.store import open_store
    from cs_mcp.services.rebuilding import rebuild_all

    store = await open_store(url)
    try:
        return (await rebuild_all(store))._asdict()
    finally:
        await store.close()


@db.command("upgrade")
def upgrade(
    db: Annotated[str | None, typer.Option("--db", metavar="URL", help="The store, as it is served")] = None,
    admin_db: Annotated[
        str | None, typer.Option("--admin-db", metavar="URL", help="PostgreSQL: the same database as its owner")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Bring a store to this version's schema, and on PostgreSQL prepare the role that serves it.

    SQLite stores are upgraded when they are opened; this does it ahead. On PostgreSQL, --db names the role that
    serves: it is made, with the password given, if it is missing, and may read and write but owns nothing.
    """
    with refusals():
        told = _upgraded(settings_of(db=db).db, admin_db)
    if as_json:
        print_json(told)
    else:
        before = told["before"] or "empty"
        role = f"; {told['role']} may serve it" if told["role"] else ""
        said = "was there already" if told["before"] == told["after"] else f"{before} → {told['after']}"
        typer.echo(f"Schema {said}{role}.")


def _upgraded(url: str, admin_url: str | None) -> dict[str, str | None]:
    from cs_mcp.db.migrations import HEAD
    from cs_mcp.db.store import StoreUrl, sqlite_revision
    from cs_mcp.db.upgrade import upgrade_postgres, upgrade_sqlite
    from cs_mcp.domain.errors import Invalid

    where = StoreUrl.parse(url)
    if where.is_sqlite:
        if admin_url is not None:
            raise Invalid("A SQLite store has no owner to act as.", remedy="Leave --admin-db out.")
        before = sqlite_revision(where.path)
        where.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        upgrade_sqlite(where)
        return {"before": before, "after": HEAD, "role": None}
    if admin_url is None:
        raise Invalid(
            "PostgreSQL is upgraded by the schema's owner, and none is named.",
            remedy="Add --admin-db postgresql://OWNER@HOST/DATABASE; --db keeps naming the role that serves.",
        )
    done = run(upgrade_postgres(StoreUrl.parse(admin_url), where))
    return {"before": done.before, "after": done.after, "role": done.app_role}
