"""The command as people and scripts meet it: processes with a home of their own."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from _home import Home

from cs_mcp.cli.commands import app
from cs_mcp.db.migrations import HEAD

if TYPE_CHECKING:
    from conftest import Postgres

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
posix_signals = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent the POSIX way")


def every_command(group: Any = None, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        path = (*above, name)
        if hasattr(command, "commands"):
            yield from every_command(command, path)
        else:
            yield path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def company(home: Home) -> Home:
    """A home whose store holds a workspace with Ana in it."""
    home.said("workspace", "create", "Acme Software")
    home.said("user", "add", "ana@acme.example", "--name", "Ana Ruiz", "--role", "csm")
    return home


# -- help and refusals ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", list(every_command()), ids=" ".join)
def test_every_command_explains_itself(home: Home, command: tuple[str, ...]) -> None:
    said = home.said(*command, "--help")

    assert said.lower().startswith(f"usage: cs-mcp {' '.join(command)}")
    assert len(said.splitlines()) > 3


def test_the_command_alone_lists_the_commands(home: Home) -> None:
    said = home.run("--help").stdout

    for command in every_command():
        assert f"  {command[0]} " in said


def test_the_version_is_that_of_the_package(home: Home) -> None:
    assert home.json("version") == {"version": home.run("version").stdout.strip()}


@pytest.mark.parametrize(
    ("arguments", "message", "remedy"),
    [
        (("serve",), "The store holds no workspace yet.", "cs-mcp workspace create"),
        (("user", "list"), "The store holds no workspace yet.", "cs-mcp workspace create"),
        (("workspace", "create", "A", "--currency", "EURO"), "'EURO' is not an active ISO 4217 currency.", "EUR"),
        (("workspace", "create", "A", "--time-zone", "Europe/Madird"), "is not an IANA time zone", "Europe/Madrid"),
        (("user", "list", "--db", "mysql://x"), "'mysql' is not supported", "sqlite:///"),
        (("user", "list", "--db", "postgresql://a@127.0.0.1:1/x"), "refused", "Check"),
        (("db", "upgrade", "--db", "postgresql://a@127.0.0.1:1/x"), "owner, and none is named", "--admin-db"),
        (("serve", "--http", "--host", "0.0.0.0"), "no host name is allowed", "--allowed-host"),
        (("serve", "--http", "--log-level", "LOUD"), "log_level is not usable", "CS_MCP_LOG_LEVEL"),
        (("undo",), "exactly one of --change and --run", "list_changes"),
    ],
)
def test_a_refusal_says_what_happened_and_what_to_do(
    home: Home, arguments: tuple[str, ...], message: str, remedy: str
) -> None:
    done = home.run(*arguments)

    assert done.returncode == 2
    assert message in done.stderr
    assert remedy in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


# -- people and tokens ------------------------------------------------------------------------------------------
def test_people_and_tokens_come_and_go(home: Home) -> None:
    workspace = home.json("workspace", "create", "Acme Software", "--currency", "EUR", "--fiscal-year-starts", "4")
    listed = home.json("workspace", "list")
    assert listed == [workspace | {"currency": "EUR", "time_zone": "UTC", "fiscal_year_starts": 4}]

    lea = home.json("user", "add", "lea@acme.example", "--name", "Lea Brandt", "--role", "cs_leader")
    manager = ("--manager", "lea@acme.example")
    ana = home.json("user", "add", "ana@acme.example", "--name", "Ana Ruiz", "--role", "csm", *manager)
    bot = home.json("user", "add", "bot@acme.example", "--name", "Bot", "--role", "agent", "--reach", "own")
    assert ana["manager_id"] == lea["id"]
    assert home.json("user", "list") == [lea, ana, bot]

    token = home.json("token", "create", "ana@acme.example", "--label", "laptop", "--days", "1")
    behalf = ("--for", "ana@acme.example", "--scope", "cs:read")
    assert home.said("token", "create", "bot@acme.example", "--label", "night", *behalf).startswith("cs_")
    tokens = home.json("token", "list")
    assert [(t["email"], t["for"], t["scopes"], t["state"]) for t in tokens] == [
        ("ana@acme.example", None, ["cs:admin", "cs:commit", "cs:read", "cs:write"], "live"),
        ("bot@acme.example", "ana@acme.example", ["cs:read"], "live"),
    ]
    assert token["token"] not in json.dumps(tokens)

    assert home.json("token", "revoke", token["id"]) == {"id": token["id"], "state": "revoked"}
    assert [t["state"] for t in home.json("token", "list")] == ["revoked", "live"]
    assert home.run("token", "revoke", token["id"]).returncode == 2


# -- undo -------------------------------------------------------------------------------------------------------
def test_the_operator_undoes_one_write(company: Home) -> None:
    company.said("user", "add", "typo@acme.example", "--name", "Tipo", "--role", "csm")
    with sqlite3.connect(company.folder / "data" / "cs_mcp" / "cs_mcp.db") as store:
        [change] = store.execute("select change_id from change order by seq desc limit 1").fetchone()
    store.close()

    previewed = company.json("undo", "--change", change, "--preview")
    undone = company.json("undo", "--change", change, "--reason", "A typing mistake")

    assert previewed["plan_id"]
    assert undone["record"] == {"restored": 1, "refused": 0}
    assert [user["email"] for user in company.json("user", "list")] == ["ana@acme.example"]
    assert "undid it already" in company.run("undo", "--change", change).stderr


def test_the_operator_undoes_a_whole_import(company: Home) -> None:
    """More records than a person may change unseen in a tool call."""
    files = company.folder / "files"
    files.mkdir()
    rows = [f"a{number},Customer {number}" for number in range(300)]
    (files / "accounts.csv").write_text("\n".join(["account_id,name", *rows]))
    report = company.json("import", str(files))
    assert report["files"][0]["records"]["created"] == 300

    undone = company.json("undo", "--run", report["run_id"])

    assert undone["record"] == {"restored": 300, "refused": 0}


# -- serving ----------------------------------------------------------------------------------------------------
def test_stdio_carries_the_protocol_alone(company: Home) -> None:
    calls = [
        INITIALIZE,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
        {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "get_workspace", "arguments": {}}},
    ]
    server = company.start("serve", "--as", "ana@acme.example", "--log-level", "DEBUG")
    assert server.stdin is not None
    assert server.stdout is not None
    answers: list[Any] = []
    for call in calls:
        server.stdin.write(json.dumps(call) + "\n")
        server.stdin.flush()
        if "id" in call:
            answers.append(json.loads(server.stdout.readline()))
    rest, _ = server.communicate(timeout=60)

    assert server.returncode == 0
    assert rest == ""
    assert [answer["id"] for answer in answers] == [1, 2, 3]
    assert answers[0]["result"]["serverInfo"]["name"] == "cs-mcp"
    assert "log_meeting" in [tool["name"] for tool in answers[1]["result"]["tools"]]
    assert answers[2]["result"]["structuredContent"]["me"]["name"] == "Ana Ruiz"


@posix_signals
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_a_stdio_server_whose_client_still_holds_on(company: Home, sent: signal.Signals) -> None:
    server = company.start("serve", "--as", "ana@acme.example")
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stderr is not None
    server.stdin.write(json.dumps(INITIALIZE) + "\n")
    server.stdin.flush()
    server.stdout.readline()
    server.send_signal(sent)

    assert server.wait(20) == 0
    assert server.stderr.read() == ""
    server.communicate()


def asked(url: str, token: str | None) -> int:
    head = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    head |= {"authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, json.dumps(INITIALIZE).encode(), head)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code


def listening(server: subprocess.Popen[str]) -> str:
    """The address a server says it listens on."""
    assert server.stderr is not None
    line = server.stderr.readline()
    assert line.startswith("Listening on http://127.0.0.1:"), line + server.stderr.read()
    return line.removeprefix("Listening on ").strip()


@posix_signals
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_http_serves_who_has_a_token_and_ends_in_order(company: Home, sent: signal.Signals) -> None:
    token = company.json("token", "create", "ana@acme.example", "--label", "test")
    server = company.start("serve", "--http", "--port", "0")
    url = listening(server)

    assert asked(url, None) == 401
    assert asked(url, token["token"] + "x") == 401
    assert asked(url, token["token"]) == 200
    company.said("token", "revoke", token["id"])
    assert asked(url, token["token"]) == 401
    taken = company.run("serve", "--http", "--port", url.rpartition(":")[2].removesuffix("/mcp"))
    assert (taken.returncode, "choose another --port" in taken.stderr) == (2, True)

    server.send_signal(sent)
    out, rest = server.communicate(timeout=30)
    assert (server.returncode, out, rest) == (0, "", "")


# -- the demo ---------------------------------------------------------------------------------------------------
@posix_signals
def test_the_demo_prints_what_to_paste_and_serves(home: Home) -> None:
    server = home.start("demo", "--port", "0")
    url = listening(server)
    assert server.stdout is not None
    said: list[str] = []
    while not said or "Ctrl-C" not in said[-1]:
        said.append(server.stdout.readline())
    text = "".join(said)
    token = text.partition("Token  ")[2].split()[0]

    assert url in text
    for host in ("Claude Code", "Claude Desktop", "Cursor", "VS Code", "MCP Inspector", "ChatGPT: not yet"):
        assert f"\n{host}" in text
    assert asked(url, None) == 401
    assert asked(url, token) == 200
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=30)
    assert server.returncode == 0


def test_the_demo_speaks_stdio_as_ana(home: Home) -> None:
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "find_accounts", "arguments": {}}}
    server = home.start("demo", "--stdio")
    assert server.stdin is not None
    assert server.stdout is not None
    for message in (INITIALIZE, {"jsonrpc": "2.0", "method": "notifications/initialized"}, call):
        server.stdin.write(json.dumps(message) + "\n")
        server.stdin.flush()
    answers = [json.loads(server.stdout.readline()) for _ in range(2)]
    server.communicate(timeout=60)

    names = [account["name"] for account in answers[1]["result"]["structuredContent"]["items"]]
    assert "Globex" in names
    assert "Hooli" not in names, "Ben's account is outside Ana's book"
    assert not (home.folder / "data" / "cs_mcp" / "demo.db").exists()


def test_the_tour_holds_on_postgresql(home: Home, postgres: Postgres, postgres_database: str) -> None:
    done = home.run("demo", "--tour", "--db", postgres.app(postgres_database))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout


# -- the schema -------------------------------------------------------------------------------------------------
def test_a_sqlite_store_is_upgraded_ahead(home: Home) -> None:
    url = f"sqlite:///{home.folder / 'elsewhere' / 'store.db'}"

    assert home.json("db", "upgrade", "--db", url) == {"before": None, "after": HEAD, "role": None}
    assert home.json("db", "upgrade", "--db", url)["before"] == HEAD
    assert home.json("workspace", "list", "--db", url) == []


def test_a_postgresql_store_is_upgraded_by_its_owner(home: Home, postgres: Postgres, worker_id: str) -> None:
    import asyncpg

    database = f"upgraded_{worker_id}_{time.time_ns()}"

    async def create() -> None:
        admin = await asyncpg.connect(postgres.owner("postgres"))
        await admin.execute(f'create database "{database}"')
        await admin.close()

    asyncio.run(create())
    owner, served = postgres.owner(database), postgres.app(database)
    before = home.run("workspace", "list", "--db", served)
    upgraded = home.json("db", "upgrade", "--db", served, "--admin-db", owner)
    made = home.json("workspace", "create", "Acme Software", "--db", served)
    again = home.json("db", "upgrade", "--db", served, "--admin-db", owner)

    assert (before.returncode, "no cs_mcp schema yet" in before.stderr) == (2, True)
    assert upgraded == {"before": None, "after": HEAD, "role": "cs_app"}
    assert again == {"before": HEAD, "after": HEAD, "role": "cs_app"}
    assert [found["id"] for found in home.json("workspace", "list", "--db", served)] == [made["id"]]
    refused = home.run("serve", "--http", "--port", "0", "--db", owner)
    assert (refused.returncode, "above row-level security" in refused.stderr) == (2, True)
