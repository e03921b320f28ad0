"""The main job on real input, driven by a client we did not write: the MCP Inspector's command line.

Import RavenStack, serve it, log a meeting on one of its accounts, undo it; over stdio and over HTTP with a token, each
in both protocol eras and on both stores. Prompts, addresses and completions beside it, on one store.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from _home import CS_MCP, Home

from _npm import installed
from conftest import PROOF, STORES, pairs

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]

INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
EXTRACT = Path(__file__).parent.parent / "data" / "ravenstack"
WHOLE = Path(__file__).parents[3] / "shared" / "data" / "ravenstack"
RAVENSTACK = Path(os.environ.get("CS_MCP_RAVENSTACK", WHOLE if WHOLE.is_dir() else EXTRACT))
ERAS = ["legacy", "modern"]


@pytest.fixture(scope="session")
def inspector(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The Inspector's command line, installed once a session from npm."""
    return installed(tmp_path_factory, worker_id, "inspector", INSPECTOR) / ".bin" / "mcp-inspector"


class Installation(Home):
    """One user's cs-mcp: a home of its own and a store."""

    def __init__(self, folder: Path, store_url: str) -> None:
        super().__init__(folder)
        self.environment["CS_MCP_DB"] = store_url


@pytest.fixture
def installation(store_url: str, tmp_path: Path) -> Installation:
    """RavenStack imported into a fresh workspace, with one CSM of ours."""
    home = Installation(tmp_path, store_url)
    made = home.json("workspace", "create", "RavenStack")
    home.environment["CS_MCP_WORKSPACE"] = made["id"]
    done = home.run("import", str(RAVENSTACK), "--source", "ravenstack", "--json")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    home.said("user", "add", "ana@raven.example", "--name", "Ana Ruiz", "--role", "csm")
    return home


def inspect(inspector: Path, installation: Installation, target: list[str], *arguments: str) -> Any:
    done = subprocess.run(
        [str(inspector), "--cli", *target, *arguments, "--connect-timeout", "90000", "--format", "json"],
        env=installation.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)["result"]


def call(inspector: Path, installation: Installation, target: list[str], tool: str, **arguments: Any) -> dict[str, Any]:
    given = ["--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments)]
    answer = inspect(inspector, installation, target, *given)
    assert not answer.get("isError"), answer
    return answer["structuredContent"]


def the_main_job(inspector: Path, installation: Installation, target: list[str], era: str) -> None:
    """Find the largest account, log a meeting on it, see it there, undo it, see it gone."""

    def do(tool: str, **arguments: Any) -> dict[str, Any]:
        return call(inspector, installation, [*target, "--protocol-era", era], tool, **arguments)

    largest = do("find_accounts", limit=1, sort="-arr")["items"][0]
    before = do("get_account", account=largest["id"], sections=["meetings", "tasks", "people"])

    logged = do(
        "log_meeting",
        account=largest["name"],
        kind="call",
        summary="The CFO joined and asked for SSO.",
        attendees=[{"name": "Priya Natarajan", "title": "CFO", "level": "c_level"}, {"user": "me"}],
        product_requests=["SSO"],
        follow_ups=[{"title": "Send the SSO one-pager"}],
        idempotency_key=f"the call, {era}",
    )
    after = do("get_account", account=largest["id"], sections=["meetings", "tasks", "people"])
    assert [m["id"] for m in after["meetings"]][:1] == [logged["record"]["meeting"]["id"]]
    assert len(after["tasks"]) == len(before["tasks"]) + 1
    assert after["last_touch_on"] == logged["record"]["meeting"]["held_on"]

    do("undo_changes", change=logged["change_id"])
    again = do("get_account", account=largest["id"], sections=["meetings", "tasks", "people"])
    assert again == before


@pytest.mark.parametrize(("store_kind", "era"), pairs(STORES, ERAS), indirect=["store_kind"])
def test_the_main_job_over_stdio(inspector: Path, installation: Installation, era: str) -> None:
    # The Inspector hands a server it starts only a few variables, so what it needs goes on its command line.
    store = ["--db", installation.environment["CS_MCP_DB"], "--workspace", installation.environment["CS_MCP_WORKSPACE"]]
    the_main_job(inspector, installation, [*CS_MCP, "serve", "--as", "ana@raven.example", *store], era)


@pytest.fixture
def served(installation: Installation) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [*CS_MCP, "serve", "--http", "--port", str(port)],
        env=installation.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/mcp"
    server.terminate()
    assert server.wait(20) == 0, server.stderr.read()
    server.stderr.close()


@pytest.mark.parametrize(("store_kind", "era"), pairs(STORES, ERAS[::-1]), indirect=["store_kind"])
def test_the_main_job_over_http(inspector: Path, installation: Installation, served: str, era: str) -> None:
    token = installation.json("token", "create", "ana@raven.example", "--label", "inspector")["token"]
    assert re.fullmatch(r"cs_[0-9a-z]{18}_[0-9a-z]{18}_[\w-]{43}", token)
    target = [served, "--transport", "http", "--header", f"Authorization: Bearer {token}"]
    the_main_job(inspector, installation, target, era)


# -- prompts, addresses, completions --------------------------------------------------------------------------

MARK = re.compile(r"\b[0-9a-f]{8}(?=[ ⟧])")  # of a fence: another one at each reading
on_one_store = pytest.mark.parametrize("store_kind", ["sqlite"], indirect=True)
Complete = Callable[[str, str, str, str], list[str]]


def what_a_person_starts_from(inspector: Path, installation: Installation, target: list[str], era: str) -> None:
    """Pick an account as it is typed, start from a prompt on it, and open what the prompt embeds by its address."""
    spoken = [*target, "--protocol-era", era]
    largest = call(inspector, installation, spoken, "find_accounts", limit=1, sort="-arr")["items"][0]
    with completing(inspector, installation, target, era) as complete:
        assert largest["name"] in complete("ref/prompt", "qbr_summary", "account", largest["name"][:-1])
        assert complete("ref/prompt", "qbr_summary", "audience", "w") == ["working_team"]
        assert largest["id"] in complete("ref/resource", "cs://accounts/{id}", "id", largest["name"])

    started = inspect(
        inspector, installation, spoken,
        "--method", "prompts/get", "--prompt-name", "qbr_summary",
        "--prompt-args", f"account={largest['name']}", "period_start=2024-01-01", "period_end=2024-03-31",
    )  # fmt: skip
    told, data = started["messages"]
    assert largest["id"] in told["content"]["text"]
    brief = data["content"]["resource"]
    assert brief["mimeType"] == "text/markdown"
    assert largest["name"] in brief["text"]

    [opened] = inspect(inspector, installation, spoken, "--method", "resources/read", "--uri", brief["uri"])["contents"]
    assert MARK.sub("mark", opened["text"]) == MARK.sub("mark", brief["text"])
    assert opened["text"] != brief["text"]


@contextmanager
def completing(inspector: Path, installation: Installation, target: list[str], era: str) -> Iterator[Complete]:
    """Ask for completions, over the Inspector's connections: its one-shot calls have no completion/complete."""
    # Short: the path of the daemon's socket has at most 107 bytes.
    home = Path(tempfile.mkdtemp(prefix="mcpdo-"))
    environment = installation.environment | {
        "MCP_INSPECTOR_DAEMON_DIR": str(home),
        "MCP_INSPECTOR_DAEMON_TOKEN": secrets.token_urlsafe(),
        "MCP_INSPECTOR_SECRET_STORE": "memory",
    }

    def do(*arguments: str) -> str:
        done = subprocess.run(
            [str(inspector.with_name("mcpdo")), "--connection", "here", "--format", "json", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def complete(kind: str, of: str, argument: str, typed: str) -> list[str]:
        said = do(
            "prompts/complete", "--complete-ref-type", kind, "--complete-ref", of,
            "--complete-arg-name", argument, "--complete-arg-value", typed,
        )  # fmt: skip
        return json.loads(said)["values"]

    is_command = not target[0].startswith("http")
    try:
        connection = json.loads(do("connect", "--era", era, *(["--"] if is_command else []), *target))
        assert connection["protocolEra"] == era
        yield complete
    finally:
        do("daemon", "stop")
        shutil.rmtree(home, ignore_errors=True)


@on_one_store
@pytest.mark.parametrize("era", ERAS if PROOF > 1 else ["legacy"])
def test_what_a_person_starts_from_over_stdio(inspector: Path, installation: Installation, era: str) -> None:
    store = ["--db", installation.environment["CS_MCP_DB"], "--workspace", installation.environment["CS_MCP_WORKSPACE"]]
    target = [*CS_MCP, "serve", "--as", "ana@raven.example", *store]
    what_a_person_starts_from(inspector, installation, target, era)


@on_one_store
@pytest.mark.parametrize("era", ERAS if PROOF > 1 else ["modern"])
def test_what_a_person_starts_from_over_http(
    inspector: Path, installation: Installation, served: str, era: str
) -> None:
    token = installation.json("token", "create", "ana@raven.example", "--label", "inspector")["token"]
    target = [served, "--transport", "http", "--header", f"Authorization: Bearer {token}"]
    what_a_person_starts_from(inspector, installation, target, era)
