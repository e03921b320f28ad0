"""`cs-mcp import` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cs_mcp.cli.imports import import_command

app = typer.Typer()
app.command("import")(import_command)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CS_MCP_SECRET", "a secret for tests")
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "accounts.csv").write_text("account_id,name\nA1,Glo[b]ex\nA2,Initech\n", encoding="utf-8")
    return folder


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_an_import_says_what_it_did_and_how_to_undo_it(folder: Path, tmp_path: Path) -> None:
    db = f"sqlite:///{tmp_path / 'new.db'}"

    code, out, err = run(folder, "--db", db)

    assert code == 0
    assert "accounts.csv" in out
    assert "undo takes it back" in out
    assert "accounts.csv: reading 3 lines" in err
    code, out, _ = run(folder, "--db", db)
    assert (code, "Nothing changed." in out) == (0, True)


def test_a_preview_makes_no_store(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.db"

    code, out, _ = run(folder, "--db", f"sqlite:///{path}", "--preview", "--json")

    assert code == 0
    report = json.loads(out)
    assert (report["preview"], report["files"][0]["records"]["created"]) == (True, 2)
    assert not path.exists()


def test_a_stopped_file_exits_with_one_and_fills_the_rejects_file(folder: Path, tmp_path: Path) -> None:
    (folder / "tasks.csv").write_text("task_id,account_id,title\nT1,A9,=1+1\n", encoding="utf-8")
    rejects = tmp_path / "rejects.csv"

    code, out, _ = run(folder, "--db", f"sqlite:///{tmp_path / 'new.db'}", "--rejects", rejects)

    assert code == 1
    assert "tasks.csv, line 2: account_id: no account is called 'A9'" in out
    assert rejects.read_text(encoding="utf-8").startswith("file,line,reason,row")


@pytest.mark.parametrize("wrong", ["no such folder", "no such source", "unknown user"])
def test_what_cannot_be_used_exits_with_two(folder: Path, tmp_path: Path, wrong: str) -> None:
    arguments = {
        "no such folder": [tmp_path / "nowhere"],
        "no such source": [folder, "--source", "salesfarce"],
        "unknown user": [folder, "--as", "nobody@acme.example"],
    }[wrong]

    code, out, err = run(*arguments, "--db", f"sqlite:///{tmp_path / 'new.db'}")

    assert (code, out) == (2, "")
    assert err.strip()
