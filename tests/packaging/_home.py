"""A user's home of their own, and commands run in it: as processes, or in this one where only their output matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from cs_mcp.cli.commands import app

CS_MCP = [sys.executable, "-m", "cs_mcp"]


class Home:
    """Where one test's commands keep their data; nothing of the machine's own settings reaches them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ours = {"HOME": str(folder), "XDG_DATA_HOME": str(folder / "data"), "COLUMNS": "120", "NO_COLOR": "1"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CS_MCP_")}
        self.environment = kept | ours

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """A process of its own, with its exit code and both of its outputs."""
        return subprocess.run(
            [*CS_MCP, *arguments],
            env=self.environment | environment,
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=240,
            check=False,
        )

    def said(self, *arguments: str) -> str:
        """What a command that succeeds prints; run in this process."""
        absent = dict.fromkeys(os.environ.keys() - self.environment.keys())
        done = CliRunner().invoke(app, arguments, env=absent | self.environment, prog_name="cs-mcp")
        assert done.exit_code == 0, f"{arguments}: {done.output}\n{done.exception!r}"
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.said(*arguments, "--json"))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*CS_MCP, *arguments],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
