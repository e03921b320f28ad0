"""`cs-mcp doctor` on installations that are broken in one way each."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import pytest
from _home import Home
from typer.testing import CliRunner

from conftest import clone_database
from cs_mcp.cli import doctor as checks
from cs_mcp.cli.commands import app
from cs_mcp.db.store import wal_is_safe

if TYPE_CHECKING:
    from conftest import Postgres

ANA = ("--as", "ana@acme.example")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a store in which Ana works, on a port of its own; the path of the store."""
    for name in [name for name in os.environ if name.startswith("CS_MCP_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("CS_MCP_PORT", "0")
    monkeypatch.chdir(tmp_path)
    run("workspace", "create", "Acme Software")
    run("user", "add", "ana@acme.example", "--name", "Ana Ruiz", "--role", "csm")
    return tmp_path / "data" / "cs_mcp" / "cs_mcp.db"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.stderr
    return result.stdout


def examined(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and the worst finding of each check."""
    result = CliRunner().invoke(app, ["doctor", *arguments, "--json"])
    found: dict[str, dict[str, Any]] = {}
    order = ["ok", "warn", "fail"]
    for finding in json.loads(result.stdout):
        known = found.setdefault(finding["check"], finding)
        if order.index(finding["state"]) > order.index(known["state"]):
            found[finding["check"]] = finding
    assert all((finding["remedy"] is None) == (finding["state"] == "ok") for finding in found.values())
    return result.exit_code, found


def ails(check: str, *arguments: str, state: str = "fail", others: tuple[str, ...] = ()) -> str:
    """What the one check says that is not well; the rest is."""
    code, found = examined(*arguments)
    unwell = {name: finding["state"] for name, finding in found.items() if finding["state"] != "ok"}
    assert unwell.pop(check, None) == state, found
    assert set(unwell) <= set(others), found
    assert code == (1 if state == "fail" else 0)
    return f"{found[check]['said']} → {found[check]['remedy']}"


def test_a_sound_installation_is_well(installed: Path) -> None:
    code, found = examined(*ANA)

    assert code == 0
    assert {finding["state"] for finding in found.values()} == {"ok"}
    assert set(found) >= {"Python", "Token key", "SQLite", "Disk", "Store", "Schema", "Workspace", "Person", "Tokens"}
    assert found["Person"]["said"] == "Ana Ruiz: csm, sees own"


def test_the_doctor_changes_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path)

    done = home.run("doctor")

    assert done.returncode == 0
    assert "warn  Store: no file at" in done.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# -- programs and keys ------------------------------------------------------------------------------------------
def test_an_old_python_is_found(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "OLDEST_PYTHON", (99, 0))
    assert "too old" in ails("Python")


def test_a_missing_uvloop_is_found(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda _name: None)
    assert "pip install" in ails("uvloop")


def test_keys_that_are_open_empty_lost_or_short_are_found(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = installed.with_name("token.key")
    key.chmod(0o644)
    assert f"chmod 600 '{key}'" in ails("Token key")
    key.chmod(0o600)
    kept = key.read_bytes()
    key.write_bytes(b"")
    assert "is empty" in ails("Token key")
    key.write_bytes(kept)
    run("token", "create", "ana@acme.example", "--label", "laptop")
    key.unlink()
    assert "the key they were made with is not here" in ails("Tokens")
    monkeypatch.setenv("CS_MCP_SECRET", "short")
    assert "5 characters" in ails("Token key", state="warn")


# -- the store --------------------------------------------------------------------------------------------------
def edit(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_a_store_of_a_newer_version_is_found(installed: Path) -> None:
    edit(installed, "update alembic_version set version_num = '9999'")
    assert "9999" in ails("Schema")


def test_a_store_without_a_schema_is_found_and_left_as_it_is(installed: Path) -> None:
    installed.write_bytes(b"")
    assert "db upgrade" in ails("Schema", state="warn")
    assert installed.read_bytes() == b""


def test_files_that_are_no_store_are_found(installed: Path, tmp_path: Path) -> None:
    edit(tmp_path / "other.db", "create table x (y)")
    assert "something else" in ails("Schema", "--db", f"sqlite:///{tmp_path / 'other.db'}")
    (tmp_path / "text.db").write_text("no database at all, but long enough to be read as one" * 50)
    assert "cannot be read as a SQLite file" in ails("Schema", "--db", f"sqlite:///{tmp_path / 'text.db'}")
    assert "is no file" in ails("Store", "--db", f"sqlite:///{tmp_path}")
    inside = f"sqlite:///{tmp_path / 'text.db' / 'store.db'}"
    assert "is no folder" in ails("Store", "--db", inside)
    assert "not supported" in ails("Store", "--db", "mysql://x")


@pytest.mark.skipif(wal_is_safe(), reason="this SQLite carries the fix")
def test_wal_where_it_can_lose_commits_is_found(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(installed)) as connection:
        connection.execute("pragma journal_mode = wal")
    assert "can lose commits in WAL mode" in ails("SQLite")
    with closing(sqlite3.connect(installed)) as connection:
        connection.execute("pragma journal_mode = truncate")
    monkeypatch.setenv("CS_MCP_SQLITE_JOURNAL", "wal")
    assert "can lose commits in WAL mode" in ails("SQLite")


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(("free", "state"), [(10_000_000, "fail"), (300_000_000, "warn")])
def test_a_disk_without_room_is_found(installed: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _folder: Usage(10**12, 10**12 - free, free))
    assert "Make room" in ails("Disk", state=state)


@pytest.mark.skipif(sys.platform == "win32", reason="rights are POSIX's")
def test_a_store_that_all_may_read_is_found(installed: Path) -> None:
    installed.chmod(0o644)
    installed.parent.chmod(0o755)
    assert f"chmod 600 '{installed}'" in ails("Store", state="warn")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_that_may_not_be_written_is_found(installed: Path) -> None:
    installed.chmod(0o400)
    assert "may not write" in ails("Store")


# -- people -----------------------------------------------------------------------------------------------------
def test_people_and_workspaces_that_are_not_there_are_found(installed: Path) -> None:
    assert "is no user of the workspace" in ails("Person", "--as", "nobody@acme.example")
    assert "holds no workspace 'wsp_x'" in ails("Workspace", "--workspace", "wsp_x")
    edit(installed, "update member set active = 0")
    assert "is inactive" in ails("Person", *ANA)


def test_tokens_that_ended_or_end_soon_are_found(installed: Path) -> None:
    run("token", "create", "ana@acme.example", "--label", "old laptop")
    run("token", "create", "ana@acme.example", "--label", "new laptop", "--days", "3")
    run("token", "create", "ana@acme.example", "--label", "phone")
    gone = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S.000000")
    edit(installed, f"update token set expires_at = '{gone}' where label = 'old laptop'")

    said = ails("Tokens", state="warn")

    assert said.startswith("2 live; 1 expired (old laptop); 1 expire within 7 days (new laptop)")


# -- around it --------------------------------------------------------------------------------------------------
@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_that_another_program_has_is_found(installed: Path, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CS_MCP_PORT", str(taken))
    assert "--port" in ails("Port", state="warn")


def test_a_host_that_starts_what_is_not_there_is_found(installed: Path, tmp_path: Path) -> None:
    cursor, code = tmp_path / ".cursor" / "mcp.json", tmp_path / ".mcp.json"
    run("connect", "cursor", *ANA, "--write")
    run("connect", "claude-code", *ANA, "--write")
    assert examined()[0] == 0
    said = json.loads(cursor.read_text())
    said["mcpServers"]["cs-mcp"]["command"] = str(tmp_path / "gone" / "cs-mcp")
    said["mcpServers"]["another"] = {"command": "/nowhere/another-server"}
    cursor.write_text(json.dumps(said))
    code.write_text("{ // mine\n}")

    told = ails("Cursor", others=("Claude Code",))

    assert "which is not there" in told
    assert "cs-mcp connect cursor" in told
    assert "another-server" not in told


# -- PostgreSQL -------------------------------------------------------------------------------------------------
@pytest.fixture
def database(postgres: Postgres) -> str:
    name = f"doctor_{uuid4().hex[:12]}"
    asyncio.run(clone_database(postgres, name))
    return name


def administer(postgres: Postgres, database: str, statement: str) -> None:
    import asyncpg

    async def execute() -> None:
        connection = await asyncpg.connect(postgres.owner(database))
        await connection.execute(statement)
        await connection.close()

    asyncio.run(execute())


def test_on_postgresql_roles_walls_and_schemas_are_looked_at(
    installed: Path, postgres: Postgres, database: str
) -> None:
    served = postgres.app(database)
    run("workspace", "create", "Acme", "--db", served)
    run("user", "add", "ana@acme.example", "--name", "Ana", "--role", "csm", "--db", served)
    code, found = examined("--db", served, *ANA)
    assert (code, found["Row-level security"]["state"]) == (0, "ok")

    assert "stands above row-level security" in ails("Store", "--db", postgres.owner(database))
    administer(postgres, database, "alter table contact no force row level security")
    assert "not forced on contact" in ails("Row-level security", "--db", served)
    administer(postgres, database, "update alembic_version set version_num = '0000'")
    assert "0000" in ails("Store", "--db", served)
    assert "Check" in ails("Store", "--db", "postgresql://cs_app@127.0.0.1:1/x")
