"""`cs-mcp import`: a folder of a source's files into the store."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from cs_mcp.config import Settings
from cs_mcp.connectors.loading import load_source
from cs_mcp.connectors.reading import SOURCES
from cs_mcp.db.store import Store, StoreUrl, open_store
from cs_mcp.domain.errors import CustomerSuccessError
from cs_mcp.domain.text import clean_name
from cs_mcp.services.identity import COMMAND_LINE, Identity, token_secret
from cs_mcp.services.imports import Imports
from cs_mcp.services.imports_report import FileReport, ImportReport, State, Tally

FINE: Final = 0
REJECTED: Final = 1
UNUSABLE: Final = 2


def import_command(
    path: Annotated[Path, typer.Argument(help="The folder that holds the files")],
    source: Annotated[str, typer.Option("--source", help=f"What wrote them: {', '.join(SOURCES)}")] = "folder",
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
    settings = Settings()
    told = {"db": db, "user": as_, "workspace": workspace}
    settings = settings.model_copy(update={name: value for name, value in told.items() if value is not None})
    # As the operator unless --as names somebody: CS_MCP_USER is the person of a stdio server.
    settings.user = as_
    try:
        report = asyncio.run(_imported(settings, path, source, preview, keep_going, rejects))
    except CustomerSuccessError as unusable:
        typer.echo(str(unusable), err=True)
        raise typer.Exit(UNUSABLE) from None
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        show(report, Console(markup=False, highlight=False))
    raise typer.Exit(REJECTED if report.stopped else FINE)


async def _imported(
    settings: Settings, path: Path, source: str, preview: bool, keep_going: bool, rejects: Path | None
) -> ImportReport:
    async with _store(settings, preview) as store:
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
                path,
                source=source,
                preview=preview,
                keep_going=keep_going,
                rejects=rejects,
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
        elif done == total:
            typer.echo(f"{name}: read", err=True)


def show(report: ImportReport, console: Console) -> None:
    """The report as a person reads it."""
    would = "would be " if report.preview else ""
    table = Table("file", "rows", *(f"{would}{name}" for name in Tally.model_fields), "skipped", "", box=None)
    for column in table.columns[1:-1]:
        column.justify = "right"
    for file in report.files:
        table.add_row(*_line(file))
        for entity, tally in file.others.items():
            table.add_row(f"  {entity.replace('_', ' ')}", "", *_counts(tally), "", "")
    console.print(table)
    for file in report.files:
        _show_rejects(file, console)
    if report.warnings:
        console.print("\nThis looks wrong:")
    for warned in report.warnings:
        console.print(f"  {warned.kind.value}: {warned.count:,}")
        for example in warned.examples:
            console.print(f"    {clean_name(example, 500)}")
    if report.unread_files:
        console.print(f"\nNothing reads: {clean_name(', '.join(report.unread_files), 1000)}")
    if report.rejects_file:
        console.print(f"\nRows left out, with their reasons: {report.rejects_file}")
    if report.preview:
        console.print("\nThis was a preview: nothing was written.")
    elif report.changed:
        console.print(f"\nThe import is {report.run_id}: undo takes it back as a whole by this id.")
    else:
        console.print("\nNothing changed.")


def _line(file: FileReport) -> list[str]:
    if file.state is State.not_read_yet:
        blank = [""] * len(Tally.model_fields)
        return [clean_name(file.file), f"{file.rows:,}", *blank, f"{file.skipped:,}", f"not read yet: {file.why}"]
    said = "" if file.state is State.done else f"{file.state.value.replace('_', ' ')}: {file.why}"
    return [clean_name(file.file), f"{file.rows:,}", *_counts(file.records), f"{file.skipped:,}", said]


def _counts(tally: Tally) -> list[str]:
    return [f"{getattr(tally, name):,}" for name in Tally.model_fields]


def _show_rejects(file: FileReport, console: Console) -> None:
    if not file.rejects:
        return
    console.print(f"\n{clean_name(file.file)}: rows left out")
    for reject in file.rejects:
        where = f"line {reject.line}: " if reject.line else ""
        console.print(f"  {where}{clean_name(reject.reason, 500)}")
    if file.state is not State.not_read_yet and file.skipped > len(file.rejects):
        console.print("  … and more; --rejects FILE lists them all.")
