"""`cs-mcp health backtest`: how well the score foretold who left, and weights that would have told better."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cs_mcp.cli._run import opened, print_json, run, settings_of
from cs_mcp.cli.people import DB, JSON, WORKSPACE

if TYPE_CHECKING:
    from cs_mcp.domain.identity import Principal
    from cs_mcp.services.health.accuracy import AccuracyView
    from cs_mcp.services.health.backtest import Every, Replay
    from cs_mcp.services.health.weights_proposed import ProposalView
    from cs_mcp.services.wiring import Services

HORIZON_DAYS: Final = 180
PROPOSAL_MONTHS: Final = 36
_DAY: Final = ["%Y-%m-%d"]


def backtest(
    first: Annotated[
        datetime | None, typer.Option("--from", formats=_DAY, help="First scored day; 18 months back")
    ] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=_DAY, help="Last scored day; today")] = None,
    every: Annotated[str, typer.Option("--every", help="month or quarter")] = "month",
    horizon_days: Annotated[
        int, typer.Option("--horizon", metavar="DAYS", min=60, max=365, help="Churn within so many days counts")
    ] = HORIZON_DAYS,
    propose: Annotated[
        bool, typer.Option("--propose", help="Propose weights, from up to 36 months; adopts nothing")
    ] = False,
    image: Annotated[
        Path | None, typer.Option("--image", metavar="FILE", help="Draw churn by score into this PNG")
    ] = None,
    db: DB = None,
    workspace: WORKSPACE = None,
    as_json: JSON = False,
) -> None:
    """Replay the rubric over past days with only the facts dated by then, and count who left.

    Precision, recall, false alarms and churns flagged 60 days ahead, over all customers and by segment, with intervals.
    """
    told, proposal, drawn = run(
        _done(db, workspace, _Asked(_day(first), _day(last), every, horizon_days, propose, image is not None))
    )
    if image is not None and drawn is not None:
        image.write_bytes(drawn)
    if as_json:
        parts = {"accuracy": told} | ({"proposal": proposal} if proposal is not None else {})
        print_json({name: part.model_dump(mode="json", exclude_none=True) for name, part in parts.items()})
        return
    typer.echo(told.text("quote"))
    if proposal is not None:
        typer.echo("\n" + proposal.text("quote"))
    if image is not None:
        nothing = "Nothing is drawn: no case has both a score and an outcome."
        typer.echo("\n" + (f"Drawn into {image}." if drawn is not None else nothing))


class _Asked:
    def __init__(
        self, first: date | None, last: date | None, every: str, horizon_days: int, propose: bool, draw: bool
    ) -> None:
        if every not in ("month", "quarter"):
            raise typer.BadParameter("Give month or quarter.", param_hint="--every")
        self.first, self.last, self.horizon_days, self.propose, self.draw = first, last, horizon_days, propose, draw
        self.every: Every = "quarter" if every == "quarter" else "month"


def _day(given: datetime | None) -> date | None:
    return given.date() if given is not None else None


async def _done(
    db: str | None, wanted: str | None, asked: _Asked
) -> tuple[AccuracyView, ProposalView | None, bytes | None]:
    from cs_mcp.domain.errors import Invalid
    from cs_mcp.services.charts import can_draw
    from cs_mcp.services.health.accuracy import picture, seen
    from cs_mcp.services.health.weights_proposed import propose

    if asked.draw and not can_draw():
        raise Invalid("A picture needs the extra for charts.", remedy="Install it: pip install 'cs-mcp[charts]'.")
    settings = settings_of(db=db, workspace=wanted)
    async with opened(settings) as services:
        principal = await services.identity.operator(await services.identity.the_workspace(settings.workspace))
        replay = await _replayed(services, principal, asked)
    proposal = propose(replay) if asked.propose else None
    return seen(replay, principal), proposal, await picture(replay) if asked.draw else None


async def _replayed(services: Services, principal: Principal, asked: _Asked) -> Replay:
    from cs_mcp.cli._progress import Bar
    from cs_mcp.domain.calendar import add_months
    from cs_mcp.services.health.accuracy import GetHealthAccuracy

    first = asked.first
    if asked.propose and first is None:
        calendar = (await services.store.workspace(principal.workspace)).calendar
        back = add_months(asked.last or calendar.today(services.store.clock.now()), -PROPOSAL_MONTHS)
        begins = await services.accuracy.begins_on(principal)
        first = max(back, begins) if begins is not None else back
    question = GetHealthAccuracy(
        period_start=first, period_end=asked.last, every=asked.every, horizon_days=asked.horizon_days
    )
    period = await services.accuracy.period(principal, question)
    with Bar("days", len(period.days)) as bar:
        return await services.accuracy.replay(principal, period, progress=bar)
