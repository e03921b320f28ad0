"""`cs-mcp health`: the rubric as a file, scores of all accounts, and one account's score with what it is made of."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cs_mcp.cli._run import REFUSED, operated, print_json, print_table, run, settings_of
from cs_mcp.cli.backtest import backtest
from cs_mcp.cli.people import DB, JSON, WORKSPACE

if TYPE_CHECKING:
    from cs_mcp.services.health.rubric_files import Complaint

health = typer.Typer(help="The rubric of health, and scores by it.", no_args_is_help=True, rich_markup_mode=None)
health.command("backtest")(backtest)

FILE = Annotated[Path, typer.Argument(metavar="FILE", help="A rubric, as YAML", dir_okay=False)]
AS_OF = Annotated[
    datetime | None, typer.Option("--as-of", metavar="DATE", formats=["%Y-%m-%d"], help="A past day (today)")
]


@health.command("check")
def check(file: FILE, as_json: JSON = False) -> None:
    """Say all that is wrong with a rubric, line by line; exit with 2 where anything is."""
    from cs_mcp.domain.health.rubric import Rubric
    from cs_mcp.services.health.rubric_files import examined

    found = examined(_text_of(file))
    complaints: list[Complaint] = [] if isinstance(found, Rubric) else found
    if as_json:
        told = [{"line": one.line, "what": one.what, "remedy": one.remedy} for one in complaints]
        print_json({"usable": not complaints, "problems": told})
    elif isinstance(found, Rubric):
        typer.echo(f"{file}: version {found.version}, {len(found.measures)} measures, usable.")
    for one in [] if as_json else complaints:
        typer.echo(f"{file}:{one.line}: {one.what}. {one.remedy}")
    if complaints:
        raise typer.Exit(REFUSED)


@health.command("show")
def show(db: DB = None, workspace: WORKSPACE = None) -> None:
    """Print the rubric in force, as it was written: what to start a changed one from."""
    typer.echo(run(_shown(db, workspace)), nl=False)


async def _shown(db: str | None, wanted: str | None) -> str:
    from cs_mcp.services.health.rubrics import Rubrics

    settings: Any = settings_of(db=db, workspace=wanted)
    async with operated(settings) as (store, operator):
        return await Rubrics(store).text(operator)


@health.command("adopt")
def adopt(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A rubric, as YAML", dir_okay=False)] = None,
    default: Annotated[bool, typer.Option("--default", help="Go back to the rubric that comes with cs-mcp")] = False,
    db: DB = None,
    workspace: WORKSPACE = None,
    as_json: JSON = False,
) -> None:
    """Judge the workspace by a rubric of its own from now on. Earlier scores keep the version they were made with."""
    version = run(_adopted(db, workspace, file, default))
    if as_json:
        print_json({"in_force": version})
    else:
        typer.echo(f"The rubric {version} is in force. 'cs-mcp health score' scores by it.")


async def _adopted(db: str | None, wanted: str | None, file: Path | None, default: bool) -> str:
    from cs_mcp.domain.errors import Invalid
    from cs_mcp.services.health.rubrics import Rubrics

    if (file is None) != default:
        raise Invalid("Name one rubric: a FILE, or --default.", remedy="Give exactly one of the two.")
    text = _text_of(file) if file is not None else None
    settings: Any = settings_of(db=db, workspace=wanted)
    async with operated(settings) as (store, operator):
        return (await Rubrics(store).adopt(operator, text)).version


@health.command("versions")
def versions(db: DB = None, workspace: WORKSPACE = None, as_json: JSON = False) -> None:
    """List the rubrics this workspace was judged by, the newest first."""
    found = run(_versions(db, workspace))
    if as_json:
        print_json([line._asdict() for line in found])
    else:
        print_table(["version", "since", ""], [[v.name, f"{v.adopted_at:%Y-%m-%d}", _in_force(v)] for v in found])


def _in_force(version: Any) -> str:
    return "in force" if version.in_force else ""


async def _versions(db: str | None, wanted: str | None) -> Any:
    from cs_mcp.services.health.rubrics import Rubrics

    settings: Any = settings_of(db=db, workspace=wanted)
    async with operated(settings) as (store, operator):
        return await Rubrics(store).versions(operator)


@health.command("score")
def score(as_of: AS_OF = None, db: DB = None, workspace: WORKSPACE = None, as_json: JSON = False) -> None:
    """Score every account as of today or a past day. Doing it again on the same day changes nothing."""
    done = run(_scored(db, workspace, as_of))
    if as_json:
        print_json({"run": done.id, "as_of": done.as_of, "rubric": done.rubric, "accounts": done.accounts,
                    "written": done.written, "seconds": round(done.seconds, 3)})  # fmt: skip
        return
    same = "" if done.written == done.accounts else f", {done.accounts - done.written:,} as they were"
    typer.echo(
        f"{done.accounts:,} accounts scored as of {done.as_of} by rubric {done.rubric} in {done.seconds:.1f} s{same}. "
        f"Run {done.id}."
    )


async def _scored(db: str | None, wanted: str | None, as_of: datetime | None) -> Any:
    from cs_mcp.services.health.scoring import Scoring

    settings: Any = settings_of(db=db, workspace=wanted)
    async with operated(settings) as (store, operator):
        return await Scoring(store).score_all(operator, as_of.date() if as_of else None)


@health.command("explain")
def explain(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its id, domain or name")],
    as_of: AS_OF = None,
    db: DB = None,
    workspace: WORKSPACE = None,
    as_json: JSON = False,
) -> None:
    """Show what one account's score is made of, as of today or a past day."""
    name, found = run(_explained(db, workspace, account, as_of))
    scored, rubric = found.scored, found.rubric
    weights = rubric.weights(found.segment)
    lines = [line for line in _contributions(found) if line["points"] is not None]
    missing = [measure.title for measure in rubric.measures if scored.points[measure.name] is None]
    tenths = scored.score_tenths
    if as_json:
        print_json({"account": found.account, "as_of": found.as_of, "rubric": rubric.version, "band": scored.band,
                    "score": None if tenths is None else tenths / 10, "computed_band": scored.computed_band,
                    "confidence": scored.confidence / 1000, "rules": scored.rules, "measures": lines,
                    "missing": missing})  # fmt: skip
        return
    shown = "no score" if tenths is None else f"{tenths / 10:.1f}"
    typer.echo(f"{name} ({found.account}) as of {found.as_of}: {shown}, {scored.band}; rubric {rubric.version}")
    typer.echo(f"Confidence {scored.confidence / 10:.0f} %: {len(lines)} of {len(rubric.measures)} measures have data.")
    for rule in rubric.rules:
        if rule.name in scored.rules:
            typer.echo(f"Hard rule: {rule.says} At most {rule.cap} until: {rule.clears}")
    print_table(
        ["measure", "value", "points", "weight", "gives", "costs"],
        [[one["title"], f"{one['value']:g} {one['unit']}", f"{one['points']:.2f}", weights[one["name"]],
          f"{one['gives']:.1f}", f"{one['costs']:.1f}"] for one in lines],
    )  # fmt: skip
    if missing:
        typer.echo(f"No data: {', '.join(missing)}.")


def _contributions(found: Any) -> list[dict[str, Any]]:
    from cs_mcp.domain.health.scoring import contributions, losses

    scored, weights = found.scored, found.rubric.weights(found.segment)
    gives, costs = contributions(weights, scored.points), losses(weights, scored.points)
    return [
        {
            "name": measure.name,
            "title": measure.title,
            "value": scored.raws[measure.name],
            "unit": measure.unit,
            "points": None if points is None else points / 100,
            "gives": gives.get(measure.name, 0) / 10,
            "costs": costs.get(measure.name, 0) / 10,
        }
        for measure in found.rubric.measures
        for points in [scored.points[measure.name]]
    ]


async def _explained(db: str | None, wanted: str | None, account: str, as_of: datetime | None) -> tuple[str, Any]:
    from cs_mcp.domain.errors import Invalid
    from cs_mcp.services.health.scoring import Scoring
    from cs_mcp.services.naming import Names

    settings: Any = settings_of(db=db, workspace=wanted)
    async with operated(settings) as (store, operator):
        match = await Names.reading(store, operator).account(account)
        found = await Scoring(store).of_account(operator, match.id, as_of.date() if as_of else None)
        if found is None:
            raise Invalid(f"{match.name} was no customer on that day.", remedy="Give a day on which it was one.")
        return match.name, found


def _text_of(file: Path) -> str:
    from cs_mcp.domain.errors import Invalid

    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise Invalid(f"{file} cannot be read: {wrong}.", remedy="Name a YAML file saved as UTF-8.") from wrong
