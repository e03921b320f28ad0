"""`cs-mcp demo`: a book of customers to talk to, or a conversation with it to read."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from cs_mcp.cli._run import opened, refusals, run, settings_of

if TYPE_CHECKING:
    from cs_mcp.cli._http import Listener
    from cs_mcp.config import Settings
    from cs_mcp.scoped_server import CustomerSuccessServer
    from cs_mcp.services.wiring import Services

PERSON: Final = "ana"
COLLEAGUE: Final = "lea"
TOKEN_DAYS: Final = 7
BROKEN: Final = 1


class Size(NamedTuple):
    """How large a generated book is to be, and of which seed."""

    accounts: int
    seed: int


def demo(
    http: Annotated[bool, typer.Option("--http", help="Serve it on HTTP: the default")] = False,
    stdio: Annotated[bool, typer.Option("--stdio", help="Serve it on stdio, as Ana Ruiz")] = False,
    tour: Annotated[bool, typer.Option("--tour", help="Show a conversation, then check what it left behind")] = False,
    db: Annotated[
        str | None, typer.Option("--db", metavar="URL", help="Seed this store: a new workspace in it")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Go on with the demo of last time")] = False,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on (127.0.0.1)")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on (8930); 0 takes a free one")] = None,
    accounts: Annotated[
        int | None, typer.Option("--accounts", metavar="N", help="Generate so many customers in place of the stories")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="With --accounts: the same seed makes the same book")] = 1,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="Write the book, and stop")] = False,
) -> None:
    """Try it: some forty made-up customers with their people, contracts, meetings, notes and tasks.

    The demo starts afresh each time, in a file of its own; --keep goes on with it. The tour and --stdio work in a
    passing store unless --db or --keep is given.
    """
    with refusals():
        if http + stdio + tour + no_serve > 1:
            raise typer.BadParameter("Choose one of --http, --stdio, --tour and --no-serve.")
        if accounts is not None and (tour or keep):
            raise typer.BadParameter("--accounts makes a new book: leave out --tour and --keep.")
        settings = settings_of(host=host, port=port, db=db)
        size = Size(accounts, seed) if accounts is not None else None
        if tour:
            raise typer.Exit(run(_tour(settings, passing=db is None)))
        if stdio:
            run(_stdio(settings, size, given=db is not None, keep=keep))
        elif no_serve:
            run(_write(settings, size, given=db is not None, keep=keep))
        else:
            run(_http(settings, size, given=db is not None, keep=keep))


# -- the store --------------------------------------------------------------------------------------------------
def _kept() -> str:
    from cs_mcp.config import data_folder

    return f"sqlite:///{data_folder() / 'demo.db'}"


@asynccontextmanager
async def _demo(settings: Settings, size: Size | None = None) -> AsyncGenerator[tuple[Services, str], None]:
    """The demo book in the store that is named, seeded where the store has no workspace or can take another."""
    async with opened(settings) as services:
        known = await services.store.workspaces()
        if size is not None:
            yield services, await _generated(services, size)
        elif known and services.store.dialect == "sqlite":
            yield services, known[0]
        else:
            from cs_mcp.demo.seed import live_through, seed

            workspace = await seed(services)
            await live_through(services, workspace)
            yield services, workspace


async def _generated(services: Services, size: Size) -> str:
    """The workspace of a generated book; what becomes of it is told on stderr, because stdout may speak MCP."""
    from cs_mcp.cli._progress import Bar
    from cs_mcp.demo.generated.populate import populate
    from cs_mcp.demo.seed import live_through

    with Bar("accounts", size.accounts) as bar:
        made = await populate(services, accounts=size.accounts, seed=size.seed, progress=bar)
    rate, rate_in_store = made.records / made.seconds, made.records / made.seconds_in_store
    print(
        f"{made.accounts:,} accounts, {made.records:,} records in {made.seconds:,.1f} s: {rate:,.0f} rows/s, "
        f"{rate_in_store:,.0f} rows/s in the store alone, each with its history.",
        file=sys.stderr,
    )
    await live_through(services, made.workspace, days=(0,))
    return made.workspace


async def _write(settings: Settings, size: Size | None, *, given: bool, keep: bool) -> None:
    if not given:
        settings = settings.model_copy(update={"db": _kept()})
        if not keep:
            _start_afresh(settings)
    async with _demo(settings, size) as (_, workspace):
        print(f"Workspace {workspace} in {_shown(settings.db)}")


@asynccontextmanager
async def _passing(settings: Settings) -> AsyncGenerator[Settings, None]:
    """The same settings over a store that goes away at the end."""
    with TemporaryDirectory(prefix="cs-mcp-demo-", ignore_cleanup_errors=True) as folder:
        yield settings.model_copy(update={"db": f"sqlite:///{Path(folder) / 'demo.db'}"})


def _email(key: str) -> str:
    from cs_mcp.demo.book import company
    from cs_mcp.demo.seed import email_of

    return email_of(company(), key)


async def _token(services: Services, workspace: str, key: str, label: str) -> str:
    made = await services.identity.create_token(workspace, email=_email(key), label=label, days=TOKEN_DAYS)
    return made.text


# -- stdio ------------------------------------------------------------------------------------------------------
async def _stdio(settings: Settings, size: Size | None, *, given: bool, keep: bool) -> None:
    from cs_mcp.cli.serve import over_stdio

    await over_stdio(settings.log_level, _seeded(settings, size, given=given, keep=keep))


@asynccontextmanager
async def _seeded(
    settings: Settings, size: Size | None, *, given: bool, keep: bool
) -> AsyncGenerator[CustomerSuccessServer, None]:
    from cs_mcp.server import stdio_server

    async with AsyncExitStack() as stack:
        if not given:
            # Hosts start a server more than once at a time; each then has a book of its own.
            passing = None if keep else await stack.enter_async_context(_passing(settings))
            settings = passing or settings.model_copy(update={"db": _kept()})
        services, workspace = await stack.enter_async_context(_demo(settings, size))
        as_person = settings.model_copy(update={"user": _email(PERSON), "workspace": workspace})
        yield await stdio_server(as_person, services)


# -- HTTP -------------------------------------------------------------------------------------------------------
async def _http(settings: Settings, size: Size | None, *, given: bool, keep: bool) -> None:
    from cs_mcp.cli._http import Listener
    from cs_mcp.greeting import configure_logging
    from cs_mcp.server import http_app

    configure_logging(settings.log_level)
    listener = Listener.bound(settings.host, settings.port)
    if not given:
        settings = settings.model_copy(update={"db": _kept()})
        if not keep:
            _start_afresh(settings)
    async with _demo(settings, size) as (services, workspace):
        app: Any = http_app(settings, services)
        token = await _token(services, workspace, PERSON, "demo")
        _introduce(listener, token, settings, _ASKED if size is None else _ASKED_OF_ANY)
        await listener.serve(app)


def _start_afresh(settings: Settings) -> None:
    from cs_mcp.db.store import StoreUrl

    path = StoreUrl.parse(settings.db).path
    for leftover in (path, path.with_name(path.name + "-journal")):
        leftover.unlink(missing_ok=True)


_ASKED: Final = """\
  - Which of my larger customers have no executive sponsor?
  - Log my call with Globex: the CFO joined, our champion leaves in May, they want SSO; follow up Friday.
  - Who changed Globex today? Take back what I just logged."""
_ASKED_OF_ANY: Final = """\
  - Which of my larger customers have no executive sponsor?
  - Which of my renewals close within sixty days, and which are forecast at risk?
  - Whom have I not spoken to for ninety days?"""


def _introduce(listener: Listener, token: str, settings: Settings, asked: str) -> None:
    from cs_mcp.cli.hosts import lines_for_http

    stdio = [sys.executable, "-m", "cs_mcp", "demo", "--stdio"]
    print(
        f"""\
The demo book of Brightline Software is open. You are Ana Ruiz, customer success manager.

  URL    {listener.url}
  Token  {token}
  Store  {_shown(settings.db)}

{lines_for_http(listener.url, token, stdio)}

Ask your assistant:
{asked}

Or watch such a conversation: cs-mcp demo --tour
The token is good for {TOKEN_DAYS} days; Ctrl-C stops the server.""",
        flush=True,
    )


def _shown(url: str) -> str:
    from cs_mcp.db.store import StoreUrl

    return StoreUrl.parse(url).url.render_as_string(hide_password=True)


# -- the tour ---------------------------------------------------------------------------------------------------
async def _tour(settings: Settings, *, passing: bool) -> int:
    if passing:
        async with _passing(settings) as elsewhere:
            return await _converse(elsewhere)
    return await _converse(settings)


async def _converse(settings: Settings) -> int:
    from cs_mcp.cli._http import Listener
    from cs_mcp.demo.checks import checks
    from cs_mcp.demo.tour import TourBroke, converse, voice
    from cs_mcp.greeting import configure_logging
    from cs_mcp.server import http_app

    configure_logging("ERROR")
    settings = settings.model_copy(update={"host": "127.0.0.1"})
    listener = Listener.bound(settings.host, 0)
    async with _demo(settings) as (services, workspace):
        app: Any = http_app(settings, services)
        tokens = [await _token(services, workspace, key, "tour") for key in (PERSON, COLLEAGUE)]
        print(f"A conversation over MCP, with a server on {listener.url}.")
        async with (
            listener.serving(app),
            voice("Ana", listener.url, tokens[0], print) as ana,
            voice("Lea", listener.url, tokens[1], print) as lea,
        ):
            # Caught in here: past the client it would come wrapped in groups of exceptions.
            try:
                script = await converse(ana, lea)
            except TourBroke as broke:
                print(f"\nThe tour stopped: {broke}", file=sys.stderr)
                return BROKEN
    print("\nThe server has stopped. What the store holds:")
    async with opened(settings) as services:
        found = await checks(services, workspace, script)
    for check in found:
        print(check)
    missed = sum(not check.holds for check in found)
    print(f"{missed} of {len(found)} checks differ." if missed else f"All {len(found)} checks hold.")
    return BROKEN if missed else 0
