"""`cs-mcp import`: a folder of a source's files into the store."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final, NamedTuple, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from cs_mcp.cli._run import print_table, refusals, run, settings_of
from cs_mcp.config import Settings
from cs_mcp.connectors.loading import load_source
from cs_mcp.connectors.reading import SOURCES, mapping_of
from cs_mcp.db.store import Store, StoreUrl, open_store
from cs_mcp.domain.errors import Conflict, Invalid
from cs_mcp.domain.text import clean_name
from cs_mcp.services.identity import COMMAND_LINE, Identity, token_secret
from cs_mcp.services.imports.imports import Imports
from cs_mcp.services.imports.report import REJECTS_SHOWN, FileReport, ImportReport, State, Tally

FINE: Final = 0
REJECTED: Final = 1  # unusable input exits with 2, as every refusal does


def import_command(
    path: Annotated[Path | None, typer.Argument(help="The folder that holds the files")] = None,
    source: Annotated[str, typer.Option("--source", help=f"What wrote them: {', '.join(SOURCES)}")] = "folder",
    mapping: Annotated[Path | None, typer.Option("--mapping", help="What stands for what; else as is usual")] = None,
    write_mapping: Annotated[
        Path | None, typer.Option("--write-mapping", help="Write the usual mapping to this file, and import nothing")
    ] = None,
    db: Annotated[str | None, typer.Option("--db", help="The store; else CS_MCP_DB")] = None,
    as_: Annotated[str | None, typer.Option("--as", help="Import as this user (e-mail); else as the operator")] = None,
    workspace: Annotated[str | None, typer.Option("--workspace", help="Where the store holds several")] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Say what would be done, and write nothing")] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Write a file's good rows, list the others")] = False,
    rejects: Annotated[Path | None, typer.Option("--rejects", help="CSV file for the rows that are left out")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON")] = False,
) -> None:
    """Import accounts, contacts, subscriptions and what happened with them. Importing twice changes nothing.

    Each file is written whole or not at all. Exits with 1 if rejected rows stopped a file, 2 if nothing can be read.
    """
    with refusals():
        if write_mapping is not None:
            _write_mapping(source, path, write_mapping)
            raise typer.Exit(FINE)
        if path is None:
            raise Invalid("No folder is named.", remedy="Name the one that holds the files: cs-mcp import FOLDER.")
        settings = settings_of(db=db, workspace=workspace)
    # As the operator unless --as names somebody: CS_MCP_USER is the person of a stdio server.
    settings.user = as_
    options = Options(path, source, mapping, preview, keep_going, rejects)
    report = run(_imported(settings, options))
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        show(report)
    raise typer.Exit(REJECTED if report.stopped else FINE)


class Options(NamedTuple):
    path: Path
    source: str
    mapping: Path | None
    preview: bool
    keep_going: bool
    rejects: Path | None


def _write_mapping(source: str, folder: Path | None, target: Path) -> None:
    """Raises Conflict where the file is there already: it may be somebody's work."""
    text = mapping_of(source, folder)
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Conflict(f"{target} exists.", remedy="Name a new file, and compare the two.") from None
    typer.echo(f"Written: {target}. Edit it, then import with --mapping {target}.")


async def _imported(settings: Settings, options: Options) -> ImportReport:
    async with _store(settings, options.preview) as store:
        identity = Identity(store, token_secret(settings))
        workspace = await identity.ensure_workspace(settings.workspace)
        if settings.user is None:
            principal = await identity.operator(workspace)
        else:
            principal = await identity.by_email(workspace, settings.user, client=COMMAND_LINE)
        with Shown() as progress:
            return await load_source(
                Imports(store),
                principal,
                options.path,
                source=options.source,
                mapping=options.mapping,
                preview=options.preview,
                keep_going=options.keep_going,
                rejects=options.rejects,
                progress=progress,
            )


@asynccontextmanager
async def _store(settings: Settings, preview: bool) -> AsyncGenerator[Store, None]:
    """The store; for the preview of a first import a passing one, because looking must not found a workspace."""
    where = StoreUrl.parse(settings.db)
    if preview and where.is_sqlite and not where.path.exists():
        with tempfile.TemporaryDirectory(prefix="cs-mcp-preview-") as folder:
            store = await open_store(f"sqlite:///{Path(folder) / 'preview.db'}")
            try:
                yield store
            finally:
                await store.close()
        return
    store = await open_store(settings.db, sqlite_journal=settings.sqlite_journal)
    try:
        yield store
    finally:
        await store.close()


class Shown:
    """Progress on stderr: a bar on a terminal, elsewhere a line at each file's start and end."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._last = ""
        self._tasks: dict[str, TaskID] = {}
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True, markup=False))

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_failure: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, file: str, done: int, total: int | None, /) -> None:
        name = clean_name(file)
        if self._bar is not None:
            if file not in self._tasks:
                self._tasks[file] = self._bar.add_task(name, total=total)
            self._bar.update(self._tasks[file], completed=done)
        elif done == 0:
            typer.echo(f"{name}: reading" + (f" {total:,} lines" if total else ""), err=True)
        elif done == total and self._last != file:
            self._last = file
            typer.echo(f"{name}: read", err=True)


def show(report: ImportReport) -> None:
    """The report as a person reads it."""
    rows: list[list[str]] = []
    for file in report.files:
        kept = file.state in (State.done, State.stopped)
        rows.append([clean_name(file.file), f"{file.rows:,}", *_counts(file.records, kept), f"{file.skipped:,}"])
        rows += [[f"  {entity.replace('_', ' ')}", "", *_counts(tally), ""] for entity, tally in file.others.items()]
    would = "would be " if report.preview else ""
    print_table(["file", "rows", *(would + name for name in Tally.model_fields), "skipped"], rows)
    for file in report.files:
        _show_reason(file)
    if report.custom_fields:
        typer.echo("\nCustom fields, with the types found:")
    for found in report.custom_fields:
        values = f" of {', '.join(found.values[:5])}{', …' if len(found.values) > 5 else ''}" if found.values else ""
        typer.echo(f"  {clean_name(found.name)}: {found.type} {clean_name(values)}".rstrip())
    if report.warnings:
        typer.echo("\nThis looks wrong:")
    for warned in report.warnings:
        typer.echo(f"  {warned.kind.value}: {warned.count:,}")
        for example in warned.examples:
            typer.echo(f"    {clean_name(example, 500)}")
    if report.unread_files:
        typer.echo(f"\nNothing reads: {clean_name(', '.join(report.unread_files), 1000)}")
    if report.rejects_file:
        typer.echo(f"\nRows left out, with their reasons: {report.rejects_file}")
    if report.preview:
        typer.echo("\nThis was a preview: nothing was written.")
    elif report.changed:
        typer.echo(f"\nThe import is {report.run_id}: undo takes it back as a whole by this id.")
    else:
        typer.echo("\nNothing changed.")


def _counts(tally: Tally, kept: bool = True) -> list[str]:
    return [f"{getattr(tally, name):,}" if kept else "" for name in Tally.model_fields]


def _show_reason(file: FileReport) -> None:
    if file.state is State.not_read_yet:
        typer.echo(f"\nNot read yet: {clean_name(file.file)} ({file.rows:,} rows) — {file.why}")
    elif file.state is not State.done:
        typer.echo(f"\n{clean_name(file.file)}: {file.state.value.replace('_', ' ')}. {file.why}")
    for reject in file.rejects:
        where = f"line {reject.line}: " if reject.line else ""
        typer.echo(f"  {clean_name(file.file)}, {where}{clean_name(reject.reason, 500)}")
    for why, count in sorted(file.left_out.items(), key=lambda item: -item[1]):
        typer.echo(f"  {clean_name(file.file)}, left out {count:,}: {why}")
    if len(file.rejects) == REJECTS_SHOWN:
        typer.echo("  --rejects FILE lists them all.")
