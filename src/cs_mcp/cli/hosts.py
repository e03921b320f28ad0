"""Each host's own words for a server of ours: what to paste, and the file it goes into.

Formats: modelcontextprotocol.io (Claude Desktop), code.claude.com/docs/en/mcp, cursor.com/docs/mcp,
code.visualstudio.com/docs/copilot/reference/mcp-configuration.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

NAME: Final = "cs-mcp"

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Local:
    """A server that the host starts itself and speaks to over stdio."""

    command: list[str]

    def started(self) -> Entry:
        program, *arguments = self.command
        return {"command": program, "args": arguments}


@dataclass(frozen=True, slots=True)
class Remote:
    """A server on HTTP. `bearer` is the token, or the host's words for where to take it from."""

    url: str
    bearer: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.bearer}"}


@dataclass(frozen=True, slots=True)
class Host:
    """`section` of its file holds servers by name. `variable` is how the file speaks of an environment variable."""

    title: str
    file: Callable[[], Path]
    section: str = "mcpServers"
    local: Callable[[Local], Entry] = Local.started
    remote: Callable[[Remote], Entry] | None = None
    variable: Callable[[str], str] | None = None

    def entry(self, server: Local | Remote) -> Entry:
        if isinstance(server, Local):
            return self.local(server)
        assert self.remote is not None, f"{self.title} has no servers on HTTP"
        return self.remote(server)


def _app_support(*windows_or_mac: str, linux: str) -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA", "~/AppData/Roaming")).expanduser().joinpath(*windows_or_mac)
    if sys.platform == "darwin":
        return Path("~/Library/Application Support").expanduser().joinpath(*windows_or_mac)
    return Path(os.environ.get("XDG_CONFIG_HOME", "~/.config")).expanduser() / linux


def _typed(server: Remote) -> Entry:
    return {"type": "http", "url": server.url, "headers": server.headers}


HOSTS: Final = {
    "claude-desktop": Host(
        "Claude Desktop",
        lambda: _app_support("Claude", "claude_desktop_config.json", linux="Claude/claude_desktop_config.json"),
    ),
    "claude-code": Host("Claude Code", lambda: Path(".mcp.json"), remote=_typed, variable="${{{}}}".format),
    "cursor": Host(
        "Cursor",
        lambda: Path("~/.cursor/mcp.json").expanduser(),
        remote=lambda server: {"url": server.url, "headers": server.headers},
        variable="${{env:{}}}".format,
    ),
    "vscode": Host(
        "VS Code",
        lambda: Path(".vscode") / "mcp.json",
        section="servers",
        local=lambda server: {"type": "stdio"} | server.started(),
        remote=_typed,
    ),
}


def lines_for_http(url: str, token: str, stdio_command: list[str]) -> str:
    """For a server on HTTP with a bearer token; `stdio_command` is for hosts that start their servers themselves."""
    there, here = Remote(url, token), Local(stdio_command)
    header = f"Authorization: Bearer {token}"
    command = shlex.join(["claude", "mcp", "add", "--transport", "http", NAME, url, "--header", header])
    inspector = shlex.join(
        [
            *("npx", "@modelcontextprotocol/inspector", "--cli", url, "--transport", "http"),
            *("--header", header, "--method", "tools/list"),
        ]
    )

    def pasted(host: str, server: Local | Remote) -> str:
        known = HOSTS[host]
        return json.dumps({known.section: {NAME: known.entry(server)}}, ensure_ascii=False)

    return f"""\
Claude Code:
  {command}

Claude Desktop (claude_desktop_config.json; it starts a server of its own):
  {pasted("claude-desktop", here)}

Cursor (.cursor/mcp.json):
  {pasted("cursor", there)}

VS Code (.vscode/mcp.json):
  {pasted("vscode", there)}

MCP Inspector:
  {inspector}

ChatGPT: not yet. It wants a public HTTPS address and OAuth, and cannot send a token."""
