"""`cs-mcp revenue`: how this company counts its revenue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cs_mcp.cli._run import operated, print_json, print_table, refusals, run, settings_of
from cs_mcp.cli.people import DB, JSON, WORKSPACE

if TYPE_CHECKING:
    from cs_mcp.services.revenue.settings import SettingLine, SettingsChanged

revenue = typer.Typer(help="How revenue is counted.", no_args_is_help=True, rich_markup_mode=None)


@revenue.command("show")
def show(db: DB = None, workspace: WORKSPACE = None, as_json: JSON = False) -> None:
    """Print every setting: its value, the default, and the values it takes."""
    found = run(_shown(db, workspace))
    if as_json:
        print_json([{"name": one.name, "value": one.value, "default": one.default, "values": one.values,
                     "says": one.says} for one in found])  # fmt: skip
        return
    print_table(
        ["setting", "value", "default", "takes", "what it says"],
        [[one.name, one.value, one.default, one.values, one.says] for one in found],
    )


@revenue.command("set")
def set_(
    given: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="An empty VALUE is the default")],
    reason: Annotated[str | None, typer.Option("--reason", help="Why; kept in the audit trail")] = None,
    db: DB = None,
    workspace: WORKSPACE = None,
    as_json: JSON = False,
) -> None:
    """Change settings, all of them or none. Figures of any past day are counted by them from then on."""
    with refusals():
        asked = _asked(given)
    done = run(_changed(db, workspace, asked, reason))
    if as_json:
        print_json({"change": done.change_id, "before": done.before, "after": done.after})
        return
    for name, value in done.after.items():
        typer.echo(f"{name}: {done.before[name]} → {value}")
    if done.change_id is None:
        typer.echo("All of it was set so already.")
    else:
        typer.echo(f"Take it back with 'cs-mcp undo --change {done.change_id}'.")


def _asked(given: list[str]) -> dict[str, str | None]:
    from cs_mcp.domain.errors import Invalid

    asked: dict[str, str | None] = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or name in asked:
            what = "is given twice" if name in asked else "has no '='"
            raise Invalid(f"{word[:60]!r} {what}.", remedy="Write NAME=VALUE, each name once, as in netting=none.")
        asked[name] = value
    return asked


async def _shown(db: str | None, wanted: str | None) -> list[SettingLine]:
    from cs_mcp.services.revenue.settings import RevenueSettings

    settings = settings_of(db=db, workspace=wanted)
    async with operated(settings) as (store, operator):
        return await RevenueSettings(store).all(operator)


async def _changed(
    db: str | None, wanted: str | None, asked: dict[str, str | None], reason: str | None
) -> SettingsChanged:
    from cs_mcp.services.revenue.settings import RevenueSettings

    settings = settings_of(db=db, workspace=wanted)
    async with operated(settings) as (store, operator):
        return await RevenueSettings(store).change(operator, asked, reason)
