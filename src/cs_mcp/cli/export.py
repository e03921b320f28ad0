"""`cs-mcp export`: the workspace as a folder of the import format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cs_mcp.cli._run import opened, print_json, print_table, run, settings_of

if TYPE_CHECKING:
    from cs_mcp.config import Settings
    from cs_mcp.connectors.folder_writing import ExportReport


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make; new or empty")],
    db: Annotated[str | None, typer.Option("--db", metavar="URL", help="The store; else CS_MCP_DB")] = None,
    workspace: Annotated[
        str | None, typer.Option("--workspace", metavar="ID", help="Where the store holds several")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Write everything live into CSV files that 'cs-mcp import' reads into another store to the same figures.

    The history is not among them: 'cs-mcp db backup' keeps all. Text that a spreadsheet would run as a formula has an
    apostrophe before it, which the import takes off again.
    """
    report = run(_exported(settings_of(db=db, workspace=workspace), folder))
    if as_json:
        print_json(report.model_dump())
        return
    print_table(["file", "rows"], [[name, f"{rows:,}"] for name, rows in report.files.items()])
    for what, count in report.remarks.items():
        typer.echo(f"Note: {count:,} {what}.")
    for row in report.left_out:
        typer.echo(f"Left out: {row}")
    if report.left_out_count > len(report.left_out):
        typer.echo(f"Left out: {report.left_out_count - len(report.left_out):,} rows more.")
    typer.echo(f"\nExported to {report.folder}. It holds customers' data: it is readable by you alone.")


async def _exported(settings: Settings, folder: Path) -> ExportReport:
    from cs_mcp.connectors.folder_writing import write_folder
    from cs_mcp.services.export import Exports

    async with opened(settings) as services:
        workspace = await services.identity.the_workspace(settings.workspace)
        operator = await services.identity.operator(workspace)
        return await write_folder(Exports(services.store), operator, folder)
