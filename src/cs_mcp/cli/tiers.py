"""`cs-mcp tiers`: who is high-value, as proposals with reasons. Adopting one is a person's word, through the tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cs_mcp.cli._run import operated, print_json, print_table, refusals, run, settings_of
from cs_mcp.cli.people import DB, JSON, WORKSPACE

if TYPE_CHECKING:
    from cs_mcp.services.accounts.tiers import TierReport

tiers = typer.Typer(help="Tiers of customers, as proposals.", no_args_is_help=True, rich_markup_mode=None)

CRITERIA = Annotated[
    Path | None, typer.Option("--criteria", metavar="FILE", help="Judge by this file of criteria", dir_okay=False)
]
_REASONS_SHOWN: Final = 3


@tiers.command("show")
def show() -> None:
    """Print the criteria that come with cs-mcp: what to start changed ones from."""
    from cs_mcp.services.criteria import default_tier_text

    typer.echo(default_tier_text(), nl=False)


@tiers.command("propose")
def propose(criteria: CRITERIA = None, db: DB = None, workspace: WORKSPACE = None, as_json: JSON = False) -> None:
    """Propose a tier for every customer by ARR and criteria, and say why. It changes nothing."""
    with refusals():
        text = _text_of(criteria) if criteria is not None else None
    told = run(_proposed(db, workspace, text))
    if as_json:
        print_json(told.model_dump(mode="json", exclude_none=True))
        return
    typer.echo(f"{told.customers:,} customers as of {told.as_of}, by criteria {told.criteria}.")
    print_table(
        ["account", "owner", "ARR", "now", "proposed", "points", "why"],
        [
            [
                f"{line.account.name} ({line.account.id})",
                line.owner.name if line.owner else None,
                line.arr,
                line.tier,
                line.proposed,
                "" if line.score is None else f"{line.score:.0f}",
                "; ".join(line.reasons[:_REASONS_SHOWN]),
            ]
            for line in told.lines
        ],
    )
    if not told.lines:
        typer.echo("Every customer has the tier that is proposed.")
    for one in told.without_rate:
        typer.echo(f"Not ranked, for want of an exchange rate: {one.name} ({one.id}).")
    for call in told.adopt:
        typer.echo(call.text(""))


async def _proposed(db: str | None, wanted: str | None, text: str | None) -> TierReport:
    from cs_mcp.services.accounts.tiers import TierProposals

    settings = settings_of(db=db, workspace=wanted)
    async with operated(settings) as (store, operator):
        return await TierProposals(store).propose(operator, text)


def _text_of(file: Path) -> str:
    from cs_mcp.domain.errors import Invalid

    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise Invalid(f"{file} cannot be read: {wrong}.", remedy="Name a YAML file saved as UTF-8.") from wrong
