"""`cs-mcp forecast`: keeping the forecast of a day, which later days are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from cs_mcp.cli._run import opened, print_json, run, settings_of
from cs_mcp.cli.people import DB, JSON, WORKSPACE

if TYPE_CHECKING:
    from cs_mcp.services.revenue.forecast import Snapshot

forecast = typer.Typer(help="The forecast of renewals.", no_args_is_help=True, rich_markup_mode=None)


@forecast.callback()
def _group() -> None:
    """A group, although it has one command yet."""


@forecast.command("snapshot")
def snapshot(db: DB = None, workspace: WORKSPACE = None, as_json: JSON = False) -> None:
    """Keep today's forecast, one row a renewal. Once more on the same day brings it up to date."""
    kept = run(_kept(db, workspace))
    if as_json:
        print_json({"on": kept.on, "renewals": kept.renewals})
    else:
        typer.echo(f"The forecast of {kept.on} is kept: {kept.renewals} renewals.")


async def _kept(db: str | None, wanted: str | None) -> Snapshot:
    settings: Any = settings_of(db=db, workspace=wanted)
    async with opened(settings) as services:
        operator = await services.identity.operator(await services.identity.the_workspace(settings.workspace))
        return await services.forecasts.keep_today(operator)
