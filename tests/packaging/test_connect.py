"""`cs-mcp connect`: what each host is told, and what happens to the file it is told in."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cs_mcp.cli.commands import app
from cs_mcp.cli.hosts import HOSTS

URL = "http://127.0.0.1:8930/mcp"
TOKEN = "cs_a_token_that_nobody_may_see"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CS_MCP_DB", "CS_MCP_USER", "CS_MCP_WORKSPACE", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path / "AppData"))
    monkeypatch.setenv("CS_MCP_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["connect", *(str(argument) for argument in arguments)])
    return result.exit_code, result.stdout, result.stderr


def told(*arguments: object) -> Any:
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


LOCAL = ("--db", "sqlite:///book.db", "--workspace", "wsp_1", "--as", "ana@acme.example")


@pytest.mark.parametrize("host", HOSTS)
def test_a_local_server_is_named_so_that_it_starts_from_anywhere(host: str, home: Path) -> None:
    entry = told(host, *LOCAL)["configuration"][HOSTS[host].section]["cs-mcp"]

    assert Path(entry["command"]).is_absolute()
    assert Path(entry["command"]).exists()
    start = entry["args"].index("serve")
    assert entry["args"][start:] == [
        *("serve", "--db", f"sqlite:///{home / 'book.db'}", "--as", "ana@acme.example", "--workspace", "wsp_1")
    ]
    assert entry.get("type") == ("stdio" if host == "vscode" else None)


def test_a_server_on_http_is_told_in_each_hosts_own_words() -> None:
    said = {host: told(host, "--url", URL)["configuration"] for host in ("claude-code", "cursor", "vscode")}

    def headers(place: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {place}"}

    assert said == {
        "claude-code": {"mcpServers": {"cs-mcp": {"type": "http", "url": URL, "headers": headers("${CS_MCP_TOKEN}")}}},
        "cursor": {"mcpServers": {"cs-mcp": {"url": URL, "headers": headers("${env:CS_MCP_TOKEN}")}}},
        "vscode": {
            "servers": {"cs-mcp": {"type": "http", "url": URL, "headers": headers("${input:cs-mcp-token}")}},
            "inputs": [
                {"type": "promptString", "id": "cs-mcp-token", "description": "Token of cs-mcp", "password": True}
            ],
        },
    }


def test_claude_code_gets_the_command_that_adds_it(home: Path) -> None:
    code, out, _ = run("claude-code", *LOCAL)

    assert code == 0
    words = shlex.split(out.splitlines()[0])
    assert words[:6] == ["claude", "mcp", "add", "--scope", "user", "cs-mcp"]
    assert words[words.index("serve") + 1 :] == ["--db", f"sqlite:///{home / 'book.db'}", *LOCAL[4:], *LOCAL[2:4]]


# -- files ------------------------------------------------------------------------------------------------------
WHERE = {
    "claude-desktop": {
        "linux": ".config/Claude/claude_desktop_config.json",
        "darwin": "Library/Application Support/Claude/claude_desktop_config.json",
        "win32": "AppData/Claude/claude_desktop_config.json",
    },
    "claude-code": dict.fromkeys(("linux", "darwin", "win32"), ".mcp.json"),
    "cursor": dict.fromkeys(("linux", "darwin", "win32"), ".cursor/mcp.json"),
    "vscode": dict.fromkeys(("linux", "darwin", "win32"), ".vscode/mcp.json"),
}


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("host", HOSTS)
def test_each_host_has_its_file(host: str, platform: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)

    assert HOSTS[host].file().absolute() == home / WHERE[host][platform]


@pytest.mark.parametrize("host", HOSTS)
def test_writing_merges_backs_up_and_is_done_once(host: str, home: Path) -> None:
    path, section = home / "config.json", HOSTS[host].section
    before = {
        "theme": "dark",
        section: {"other": {"command": "x"}, "cs-mcp": {"command": "old"}},
        "inputs": [{"id": 1}],
    }
    text = json.dumps(before, indent=4)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o640)

    first = told(host, *LOCAL, "--write", "--config", path)
    after = json.loads(path.read_text(encoding="utf-8"))
    second = told(host, *LOCAL, "--write", "--config", path)

    assert first["changed"] is True
    assert Path(first["backup"]).read_text(encoding="utf-8") == text
    assert after.pop(section) == before[section] | first["configuration"][section]
    assert after == {"theme": "dark", "inputs": [{"id": 1}]}
    assert path.stat().st_mode & 0o777 == 0o640
    assert (second["changed"], second["backup"]) == (False, None)
    assert len(list(home.glob("config.json.*.bak"))) == 1
    assert [other.name for other in home.iterdir() if other.name.endswith(".partial")] == []


def test_the_prompt_for_a_token_stands_beside_other_inputs_once(home: Path) -> None:
    path = home / ".vscode" / "mcp.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"inputs": [{"id": "mine"}], "servers": {}}), encoding="utf-8")

    told("vscode", "--url", URL, "--write")
    told("vscode", "--url", URL, "--write", "--name", "cs-two")
    assert told("vscode", "--url", URL, "--write")["changed"] is False

    said = json.loads(path.read_text(encoding="utf-8"))
    assert [one["id"] for one in said["inputs"]] == ["mine", "cs-mcp-token", "cs-two-token"]
    assert list(said["servers"]) == ["cs-mcp", "cs-two"]


def test_a_new_file_is_private_and_a_link_stays_a_link(home: Path) -> None:
    real = home / "dotfiles" / "cursor.json"
    real.parent.mkdir()
    link = home / ".cursor" / "mcp.json"
    link.parent.mkdir()
    link.symlink_to(real)

    told("cursor", *LOCAL, "--write")

    assert link.is_symlink()
    assert "cs-mcp" in json.loads(real.read_text(encoding="utf-8"))["mcpServers"]
    assert real.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{\n  // mine\n  "mcpServers": {}\n}', "Comments are no JSON"),
        (b'{"mcpServers": {},}', "line 1, column 19"),
        (b"[]", "holds no JSON object"),
        (b'{"mcpServers": []}', "'mcpServers' is no object"),
        (b'{"x": "\xff"}', "not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_understood_is_left_alone(home: Path, content: bytes, why: str) -> None:
    path = home / "config.json"
    path.write_bytes(content)

    code, out, err = run("cursor", *LOCAL, "--write", "--config", path)

    assert (code, out) == (2, "")
    assert why in err
    assert path.read_bytes() == content
    assert list(home.glob("config.json.*")) == []


# -- secrets ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("host", ["claude-code", "cursor", "vscode"])
def test_a_token_is_in_no_file_unless_it_is_asked_for(host: str, home: Path) -> None:
    code, out, err = run(host, "--url", URL, "--write")
    assert (code, TOKEN in out + err) == (0, False)
    assert all(TOKEN not in path.read_text(encoding="utf-8") for path in home.rglob("*") if path.is_file())

    run(host, "--url", URL, "--write", "--embed-token")

    [path] = [path for path in home.rglob("*mcp.json") if path.is_file()]
    assert f"Bearer {TOKEN}" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message", "remedy"),
    [
        (("cursor",), "whom it acts as", "--as"),
        (("cursor", "--as", "a@b.c", "--db", "postgresql://u:hunter2@h/db"), "holds a password", ".pgpass"),
        (("cursor", "--url", "crm.example.com"), "no address of a server", "http://"),
        (("cursor", "--url", "http://crm.example.com/mcp"), "in clear", "https://"),
        (("cursor", "--url", URL, "--embed-token", "--token-env", "NOT_SET"), "NOT_SET is not set", "NOT_SET"),
        (("claude-desktop", "--url", "https://crm.example.com/mcp"), "OAuth", "--as"),
        (("chatgpt",), "public HTTPS", "--url https://"),
        (("chatgpt", "--url", URL), "public HTTPS", "--url https://"),
        (("chatgpt", "--url", "https://crm.example.com/mcp", "--write"), "its own servers", "--write"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(arguments: tuple[str, ...], message: str, remedy: str) -> None:
    code, out, err = run(*arguments)

    assert (code, out) == (2, "")
    assert message in err
    assert remedy in err
    assert "hunter2" not in err


def test_chatgpt_is_told_what_it_lacks() -> None:
    code, out, _ = run("chatgpt", "--url", "https://crm.example.com/mcp")

    assert code == 0
    assert "Developer mode" in out
    assert "cannot be made yet" in out
