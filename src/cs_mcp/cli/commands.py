"""All commands by name. What a command needs is imported when it runs, so that none waits for another's."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any, Final

import typer

from cs_mcp.cli.connect import connect
from cs_mcp.cli.db import db
from cs_mcp.cli.demo import demo
from cs_mcp.cli.doctor import doctor
from cs_mcp.cli.export import export
from cs_mcp.cli.forecast import forecast
from cs_mcp.cli.health import health
from cs_mcp.cli.night import night
from cs_mcp.cli.people import token, user, workspace
from cs_mcp.cli.revenue import revenue
from cs_mcp.cli.tiers import tiers
from cs_mcp.cli.undo import undo

app = typer.Typer(
    help="Customer success as MCP tools, on a store that remembers every change.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
# Commands that read their options themselves.
_OWN_OPTIONS: Final[dict[str, Any]] = {
    "add_help_option": False,
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
}


@app.command("serve", **_OWN_OPTIONS)
def _serve(context: typer.Context) -> None:
    """Serve the tools to MCP clients, over stdio or HTTP."""
    from cs_mcp.cli.serve import serve

    raise typer.Exit(serve(context.args))


app.command("demo")(demo)


@app.command("import", **_OWN_OPTIONS)
def _import(context: typer.Context) -> None:
    """Import a folder of files of another system. Importing twice changes nothing."""
    from cs_mcp.cli.imports import import_command

    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command()(import_command)
    alone(context.args, prog_name="cs-mcp import")


app.command("export")(export)
app.command("connect")(connect)
app.command("doctor")(doctor)
app.command("undo")(undo)
app.command("night")(night)
app.add_typer(workspace, name="workspace")
app.add_typer(user, name="user")
app.add_typer(token, name="token")
app.add_typer(db, name="db")
app.add_typer(health, name="health")
app.add_typer(tiers, name="tiers")
app.add_typer(forecast, name="forecast")
app.add_typer(revenue, name="revenue")


@app.command("version")
def _version(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Print the version."""
    said = version("cs-mcp")
    typer.echo(f'{{"version": "{said}"}}' if as_json else said)
