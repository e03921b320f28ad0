"""The main job on real input, driven by a client we did not write: the MCP Inspector's command line.

Import RavenStack, serve it, log a meeting on one of its accounts, undo it; over stdio and over HTTP with a token, in
both protocol eras, on both stores.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]

INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
EXTRACT = Path(__file__).parent.parent / "data" / "ravenstack"
WHOLE = Path(__file__).parents[3] / "shared" / "data" / "ravenstack"
RAVENSTACK = Path(os.environ.get("CS_MCP_RAVENSTACK", WHOLE if WHOLE.is_dir() else EXTRACT))
CS_MCP = [sys.executable, "-m", "cs_mcp"]


@pytest.fixture(scope="session")
def inspector(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The Inspector's command line, installed once a session from npm."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("Node and npm are missing: the Inspector's command line cannot be driven")
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if worker_id != "master" else base) / "inspector"
    with FileLock(f"{home}.lock"):
        if not (home / "ready").exists():
            home.mkdir(parents=True, exist_ok=True)
            subprocess.run(
                [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(home), INSPECTOR],
                check=True,
                capture_output=True,
                timeout=300,
                env=os.environ | _trusting_the_machine(),
            )
            (home / "ready").touch()
    return home / "node_modules" / ".bin" / "mcp-inspector"


def _trusting_the_machine() -> dict[str, str]:
    """Node trusts its own certificates only; company networks sign with the machine's."""
    bundles = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
    found = next((bundle for bundle in bundles if Path(bundle).exists()), None)
    return {"NODE_EXTRA_CA_CERTS": found} if found and "NODE_EXTRA_CA_CERTS" not in os.environ else {}


class Installation:
    """One user's cs-mcp: a home of its own and a store."""

    def __init__(self, home: Path, store_url: str) -> None:
        self.environment = os.environ | {
            "HOME": str(home),
            "XDG_DATA_HOME": str(home / "data"),
            "CS_MCP_DB": store_url,
            "NO_COLOR": "1",
        }

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*CS_MCP, *arguments], env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))


@pytest.fixture
def installation(store_url: str, tmp_path: Path) -> Installation:
    """RavenStack imported into a fresh workspace, with one CSM of ours."""
    home = Installation(tmp_path, store_url)
    made = home.json("workspace", "create", "RavenStack")
    home.environment["CS_MCP_WORKSPACE"] = made["id"]
    home.run("import", str(RAVENSTACK), "--source", "ravenstack", "--json")
    home.run("user", "add", "ana@raven.example", "--name", "Ana Ruiz", "--role", "csm")
    return home


def inspect(inspector: Path, installation: Installation, target: list[str], *arguments: str) -> Any:
    done = subprocess.run(
        [str(inspector), "--cli", *target, *arguments, "--format", "json"],
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


ERAS = ["legacy", "modern"]


def test_the_main_job_over_stdio(inspector: Path, installation: Installation) -> None:
    # The Inspector hands a server it starts only a few variables, so what it needs goes on its command line.
    store = ["--db", installation.environment["CS_MCP_DB"], "--workspace", installation.environment["CS_MCP_WORKSPACE"]]
    for era in ERAS:
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


def test_the_main_job_over_http(inspector: Path, installation: Installation, served: str) -> None:
    token = installation.json("token", "create", "ana@raven.example", "--label", "inspector")["token"]
    assert re.fullmatch(r"cs_[0-9a-z]{18}_[0-9a-z]{18}_[\w-]{43}", token)
    target = [served, "--transport", "http", "--header", f"Authorization: Bearer {token}"]
    for era in ERAS:
        the_main_job(inspector, installation, target, era)
