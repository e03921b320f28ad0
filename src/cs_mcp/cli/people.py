"""`cs-mcp workspace`, `user` and `token`: who is there, and how they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cs_mcp.cli._run import opened, print_json, print_table, run, settings_of
from cs_mcp.domain.identity import EVERY_SCOPE, Reach, Role, Scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from cs_mcp.services.wiring import Services

DB = Annotated[str | None, typer.Option("--db", metavar="URL", help="The store; else CS_MCP_DB")]
WORKSPACE = Annotated[str | None, typer.Option("--workspace", metavar="ID", help="Where the store holds several")]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON")]

workspace = typer.Typer(help="Companies in the store.", no_args_is_help=True, rich_markup_mode=None)
user = typer.Typer(help="People and agents of a workspace.", no_args_is_help=True, rich_markup_mode=None)
token = typer.Typer(help="Tokens that HTTP clients come in with.", no_args_is_help=True, rich_markup_mode=None)


def _in_workspace(db: str | None, wanted: str | None, act: Callable[[Services, str], Awaitable[Any]]) -> Any:
    """Run one use case in the workspace that was named, or the only one."""

    async def main() -> Any:
        settings = settings_of(db=db, workspace=wanted)
        async with opened(settings) as services:
            return await act(services, await services.identity.the_workspace(settings.workspace))

    return run(main())


# -- workspaces -------------------------------------------------------------------------------------------------
@workspace.command("create")
def create_workspace(
    name: Annotated[str, typer.Argument(help="The company's name")],
    currency: Annotated[str, typer.Option("--currency", help="ISO 4217 code")] = "USD",
    time_zone: Annotated[str, typer.Option("--time-zone", help="IANA name, e.g. Europe/Madrid")] = "UTC",
    fiscal_year_starts: Annotated[
        int, typer.Option("--fiscal-year-starts", metavar="MONTH", min=1, max=12, help="First month, 1 to 12")
    ] = 1,
    db: DB = None,
    as_json: JSON = False,
) -> None:
    """Make a workspace. A SQLite store holds one, a PostgreSQL store as many as you like."""

    async def main() -> str:
        from cs_mcp.domain.calendar import Calendar
        from cs_mcp.domain.money import Money
        from cs_mcp.domain.records import Ids
        from cs_mcp.domain.workspaces import Workspace

        profile = Workspace(
            id=Ids().new("workspace_profile"),
            name=name,
            currency=Money.zero(currency).currency,
            time_zone=Calendar(time_zone=time_zone).time_zone,
            fiscal_year_starts=fiscal_year_starts,
        )
        async with opened(settings_of(db=db)) as services:
            return await services.identity.found_workspace(profile)

    made = run(main())
    if as_json:
        print_json({"id": made, "name": name})
    else:
        typer.echo(f"Made {name} ({made}). Next: cs-mcp user add EMAIL --name NAME --role admin")


@workspace.command("list")
def list_workspaces(db: DB = None, as_json: JSON = False) -> None:
    """List the workspaces of the store."""

    async def main() -> list[dict[str, Any]]:
        async with opened(settings_of(db=db)) as services:
            found = [(known, await services.store.workspace(known)) for known in await services.store.workspaces()]
        shown = ("name", "currency", "time_zone", "fiscal_year_starts")
        return [{"id": known} | {field: getattr(profile, field) for field in shown} for known, profile in found]

    _print(run(main()), as_json)


# -- users ------------------------------------------------------------------------------------------------------
@user.command("add")
def add_user(
    email: Annotated[str, typer.Argument(help="Their e-mail, which names them everywhere")],
    name: Annotated[str, typer.Option("--name", help="As colleagues call them")],
    role: Annotated[Role, typer.Option("--role", help="What they may do")],
    reach: Annotated[Reach | None, typer.Option("--reach", help="Whose accounts they see; by role when absent")] = None,
    manager: Annotated[str | None, typer.Option("--manager", metavar="EMAIL", help="Whom they report to")] = None,
    db: DB = None,
    workspace: WORKSPACE = None,
    as_json: JSON = False,
) -> None:
    """Add a person, or an agent (role agent)."""

    async def add(services: Services, where: str) -> Any:
        return await services.identity.add_member(
            where, name=name, email=email, role=role, reach=reach, manager=manager
        )

    added = _in_workspace(db, workspace, add)
    if as_json:
        print_json(_person(added))
    else:
        typer.echo(f"Added {added.name} ({added.id}): {added.role}, sees {added.reach}.")


@user.command("list")
def list_users(db: DB = None, workspace: WORKSPACE = None, as_json: JSON = False) -> None:
    """List the people and agents of the workspace."""

    async def members(services: Services, where: str) -> Any:
        return await services.identity.members(where)

    _print([_person(member) for member in _in_workspace(db, workspace, members)], as_json)


def _person(member: Any) -> dict[str, Any]:
    return member.model_dump(mode="json", include={"id", "email", "name", "role", "reach", "manager_id", "active"})


# -- tokens -----------------------------------------------------------------------------------------------------
@token.command("create")
def create_token(
    email: Annotated[str, typer.Argument(help="Whose token it is")],
    label: Annotated[str, typer.Option("--label", help="Where it is used, e.g. 'Claude Code on my laptop'")],
    days: Annotated[int, typer.Option("--days", help="How long it lives, 1 to 366")] = 90,
    scope: Annotated[list[Scope] | None, typer.Option("--scope", help="Only these; all when absent")] = None,
    on_behalf_of: Annotated[
        str | None, typer.Option("--for", metavar="EMAIL", help="With an agent's token: the person it acts for")
    ] = None,
    db: DB = None,
    workspace: WORKSPACE = None,
    as_json: JSON = False,
) -> None:
    """Make a bearer token and print it. It is shown this once: the store keeps only a keyed hash."""

    async def create(services: Services, where: str) -> Any:
        return await services.identity.create_token(
            where,
            email=email,
            label=label,
            days=days,
            scopes=frozenset(scope) if scope else EVERY_SCOPE,
            on_behalf_of=on_behalf_of,
        )

    made = _in_workspace(db, workspace, create)
    if as_json:
        print_json({"id": made.id, "token": made.text, "expires_at": made.expires_at.isoformat()})
    else:
        typer.echo(made.text)
        typer.echo(f"{made.id}, good until {made.expires_at:%Y-%m-%d}. It is not shown again.", err=True)


@token.command("list")
def list_tokens(db: DB = None, workspace: WORKSPACE = None, as_json: JSON = False) -> None:
    """List tokens: whose, where used, until when. Their text is stored nowhere."""

    async def tokens(services: Services, where: str) -> list[dict[str, Any]]:
        now = services.store.clock.now()
        names = {member.id: member.email for member in await services.identity.members(where)}
        return [
            {
                "id": row["id"],
                "email": names.get(row["member_id"]),
                "for": names.get(row["on_behalf_of"]),
                "label": row["label"],
                "scopes": " ".join(row["scopes"]) if not as_json else row["scopes"],
                "expires_at": row["expires_at"].isoformat(timespec="seconds"),
                "state": _state(row, now),
            }
            for row in await services.identity.tokens(where)
        ]

    _print(_in_workspace(db, workspace, tokens), as_json)


def _state(row: Any, now: datetime) -> str:
    if row["revoked_at"] is not None:
        return "revoked"
    return "expired" if row["expires_at"] <= now else "live"


@token.command("revoke")
def revoke_token(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id (tok_…)")],
    db: DB = None,
    workspace: WORKSPACE = None,
    as_json: JSON = False,
) -> None:
    """End a token at once."""

    async def revoke(services: Services, where: str) -> None:
        await services.identity.revoke_token(where, token_id)

    _in_workspace(db, workspace, revoke)
    if as_json:
        print_json({"id": token_id, "state": "revoked"})
    else:
        typer.echo(f"Revoked {token_id}.")


def _print(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        typer.echo("None yet.")
