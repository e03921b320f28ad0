"""`cs-mcp night`: all that is done once a day, for the host's scheduler to call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cs_mcp.cli._run import operated, print_json, run, settings_of
from cs_mcp.cli.people import DB, JSON, WORKSPACE

if TYPE_CHECKING:
    from cs_mcp.services.night import Step


def night(db: DB = None, workspace: WORKSPACE = None, as_json: JSON = False) -> None:
    """Open renewals that are due, score every account, keep the forecast, tell owners of metrics that get worse.

    First of all, what was dated ahead and has its day counts: ARR of a term that ended, people who said they leave.
    Once more on the same day changes nothing; a night that was cut short is simply run again.
    """
    steps = run(_done(db, workspace, said=not as_json))
    if as_json:
        print_json([{"step": one.name, "said": one.said, "seconds": round(one.seconds, 3), "notes": list(one.notes),
                     "run": one.run} for one in steps])  # fmt: skip


async def _done(db: str | None, wanted: str | None, *, said: bool) -> list[Step]:
    from cs_mcp.services.night import Nights

    settings = settings_of(db=db, workspace=wanted)
    steps: list[Step] = []
    async with operated(settings) as (store, operator):
        async for step in Nights(store).steps(operator):
            steps.append(step)
            if said:
                typer.echo(f"{step.name}: {step.said} ({step.seconds:.1f} s)")
                for note in step.notes:
                    typer.echo(f"  {note}")
    return steps
