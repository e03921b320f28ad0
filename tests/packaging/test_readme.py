"""The README is true: its commands parse, its tables are fresh, and the exchange it quotes takes place."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from _home import Home
from markdown_it import MarkdownIt

from cs_mcp.cli.commands import app
from cs_mcp.cli.hosts import lines_for_http
from cs_mcp.cli.serve import options_of_serve

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
START = ["pip install uv && uv run cs-mcp demo", "pip install uv && uv run pytest"]
HOST_LINES = lines_for_http("http://127.0.0.1:8930/mcp", "TOKEN", ["python"])


def fenced(language: str) -> list[str]:
    return [t.content for t in MarkdownIt().parse(README) if t.type == "fence" and t.info == language]


COMMANDS = [line for block in fenced("sh") for line in block.splitlines()]


def test_the_start_is_two_commands() -> None:
    assert [line for line in COMMANDS if "pip install" in line] == START


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_known(line: str) -> None:
    for part in line.split(" && "):
        words = shlex.split(part)
        if words[:3] == ["uv", "run", "cs-mcp"]:
            parse(words[3:])
        elif words[0] in ("claude", "npx"):
            assert words in [shlex.split(line) for line in HOST_LINES.splitlines() if line.startswith("  ")]
        else:
            assert part in ("pip install uv", "uv run pytest")


def parse(words: list[str]) -> None:
    """Read a command line as the command would, without running it."""
    command: Any = typer.main.get_command(app)
    path: list[str] = []
    while hasattr(command, "commands"):
        path.append(words.pop(0))
        command = command.commands[path[-1]]
    if path == ["serve"]:
        options_of_serve().parse_args(words)
        return
    if path == ["import"]:
        from cs_mcp.cli.imports import import_command

        alone = typer.Typer()
        alone.command()(import_command)
        command = typer.main.get_command(alone)
    command.make_context(" ".join(path), words)


def test_configurations_are_json() -> None:
    for block in fenced("json"):
        assert json.loads(block)["mcpServers"]["cs-mcp"]["args"][-2:] == ["--as", "ana@brightline.example"]


def test_generated_parts_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_links_lead_somewhere_and_the_page_stays_short() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
    assert len(README.splitlines()) < 250


def test_the_exchange_takes_place_and_the_tour_holds(tmp_path: Path) -> None:
    told = Home(tmp_path).run("demo", "--tour")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "✗" not in told.stdout

    [quoted] = fenced("")
    for line in undated(re.sub(r"\n  (?=\w)", " ", quoted)).splitlines():
        assert line.strip().removesuffix("…").strip() in undated(re.sub(r"\n  (?=\w)", " ", told.stdout))


def undated(text: str) -> str:
    """Text without what differs from one day and one run to the next."""
    text = re.sub(r"_…[0-9a-z]{3}", "_ID", text)
    text = re.sub(r"\d{4}-\d{2}-\d{2}", "DAY", text)
    return re.sub(r"leaves in \w+", "leaves in MONTH", text)
