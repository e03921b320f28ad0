"""`cs-mcp undo`: take back a write or a whole run, as the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cs_mcp.cli._run import opened, print_json, run, settings_of
from cs_mcp.cli.people import DB, JSON, WORKSPACE

if TYPE_CHECKING:
    from cs_mcp.config import Settings


def undo(
    change: Annotated[str | None, typer.Option("--change", metavar="ID", help="The change_id of one write")] = None,
    run_id: Annotated[str | None, typer.Option("--run", metavar="ID", help="A run or an import: all it wrote")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; kept in the audit trail")] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Say what would be taken back, and do nothing")] = False,
    db: DB = None,
    workspace: WORKSPACE = None,
    as_json: JSON = False,
) -> None:
    """Take back one write, or everything a run or an import wrote.

    A field that somebody changed since is left as it is, and said. An undo is a write too: it can be undone.
    """
    answer = run(_undone(db, workspace, change, run_id, reason, preview))
    if as_json:
        print_json(answer.model_dump(mode="json", exclude_none=True))
    else:
        typer.echo(answer.text("quote"))


async def _undone(
    db: str | None, wanted: str | None, change: str | None, run_id: str | None, reason: str | None, preview: bool
) -> Any:
    from cs_mcp.domain.errors import Invalid
    from cs_mcp.services.history.changes import CommitPlan
    from cs_mcp.services.history.undo import UndoChanges
    from cs_mcp.services.writes import NeedsPreview

    settings: Settings = settings_of(db=db, workspace=wanted)
    if (change is None) == (run_id is None):
        raise Invalid("Undo takes exactly one of --change and --run.", remedy="list_changes shows the ids of both.")
    async with opened(settings) as services:
        workspace = await services.identity.the_workspace(settings.workspace)
        operator = await services.identity.operator(workspace)
        command = UndoChanges(change=change, run=run_id, reason=reason, preview=preview)
        try:
            return await services.writes.perform(operator, command)
        except NeedsPreview:
            # Whoever types the id of a large run means it: plan and word are given in one go.
            plan = await services.writes.perform(operator, command.model_copy(update={"preview": True}))
            return await services.changes.decide(operator, CommitPlan(plan=plan.plan_id))
