"""A caller of one's own in the evals: what `open` prints is a server that the task can be done on."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from _home import CS_MCP, Home
from evals._stage import load
from evals._task import TASKS, Hands
from mcp import Client
from mcp.client.stdio import StdioServerParameters

ROOT = Path(__file__).parent.parent.parent
load()


def evals(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "evals", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize("name", ["hand_over_a_book"])
async def test_a_task_is_done_on_the_server_that_open_prints(name: str, tmp_path: Path) -> None:
    folder, answer = tmp_path / "try", tmp_path / "answer.txt"
    told = evals("open", name, str(folder))
    assert told.returncode == 0, told.stderr
    [line] = re.findall(r"Server: +cs-mcp (.+)", told.stdout)
    untouched = evals("score", name, str(folder))

    server = StdioServerParameters(
        command=CS_MCP[0], args=[*CS_MCP[1:], *shlex.split(line)], env=Home(tmp_path).environment
    )
    async with Client(server) as client:
        today = (await client.call_tool("get_workspace", {})).structured_content["today"]
        said = await TASKS[name].caller(Hands(client, date.fromisoformat(today), door=None))
    answer.write_text(said or "", encoding="utf-8")
    done = evals("score", name, str(folder), "--answer", str(answer))

    assert untouched.returncode == 1
    assert (done.returncode, done.stdout.count("does not hold")) == (0, 0), done.stdout
