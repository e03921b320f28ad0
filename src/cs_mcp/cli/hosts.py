"""What to paste into each host so that it finds a server of ours."""

from __future__ import annotations

import json
import shlex
from typing import Final

NAME: Final = "cs-mcp"


def lines_for_http(url: str, token: str, stdio_command: list[str]) -> str:
    """For a server on HTTP with a bearer token; `stdio_command` is for hosts that start their servers themselves."""
    header = f"Authorization: Bearer {token}"
    headers = {"Authorization": f"Bearer {token}"}
    program, *arguments = stdio_command
    command = shlex.join(["claude", "mcp", "add", "--transport", "http", NAME, url, "--header", header])
    inspector = shlex.join(
        [
            *("npx", "@modelcontextprotocol/inspector", "--cli", url, "--transport", "http"),
            *("--header", header, "--method", "tools/list"),
        ]
    )
    desktop = {"mcpServers": {NAME: {"command": program, "args": arguments}}}
    cursor = {"mcpServers": {NAME: {"url": url, "headers": headers}}}
    vs_code = {"servers": {NAME: {"type": "http", "url": url, "headers": headers}}}
    return f"""\
Claude Code:
  {command}

Claude Desktop (claude_desktop_config.json; it starts a server of its own):
  {json.dumps(desktop, ensure_ascii=False)}

Cursor (.cursor/mcp.json):
  {json.dumps(cursor, ensure_ascii=False)}

VS Code (.vscode/mcp.json):
  {json.dumps(vs_code, ensure_ascii=False)}

MCP Inspector:
  {inspector}

ChatGPT: not yet. It wants a public HTTPS address and OAuth, and cannot send a token."""
