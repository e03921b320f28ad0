"""A changed rubric is read with the line of every fault and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cs_mcp.cli.commands import app
from cs_mcp.domain.health.rubric import Rubric
from cs_mcp.services.health.rubric_files import default_text, examined

DEFAULT = default_text()


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


FAULTS = [
    ("weight: 9\n", "wieght: 9\n", "wieght", "`wieght` is not known here", "Did you mean weight?"),
    ("green: 75", "green: 40", "green: 40", "green starts no higher than yellow", "Give green the higher score."),
    ('version: "1.0"', "version: 1.0", "version: 1.0", "`version`: input should be a valid string", "put quotes"),
    ("fact: open_sev1", "fact: open_sev9", "open_sev9", "there is no fact open_sev9", "Correct the condition."),
    ("smb: {active_seats", "smb: {active_sets", "smb: {", "not in this file: `active_sets`", "active_seats?"),
    ("name: touch\n", "name: tuch\n", "name: tuch", "nothing computes a measure `tuch`", "Did you mean touch?"),
    ("[0.3, 40], [0.5, 70]", "[0.5, 40], [0.3, 70]", "[0.5, 40]", "0.3 comes after 0.5", "Order the pairs"),
    ("cap: red", "cap: blue", "cap: blue", "yellow or red", "one of the words"),
    ("weight: 7\n", "weight: heavy\n", "weight: heavy", "'heavy'", "Write a whole number."),
    ("weight: 7\n", "weight: -7\n", "weight: -7", "greater than or equal to 1", "Correct the value"),
    ("min_coverage: 0.3", "min_coverage: 30", "min_coverage: 30", "less than or equal to 1000", "Correct"),
    ("equals: true", "eqals: true", "eqals", "`eqals` is not known here", "Did you mean equals"),
    ("groups:", "groups: [", "groups: [", "not YAML", "Check indentation"),
    (
        "title: Value, says: Whether it brings what it was bought for",
        "title: &v Value, says: *v",
        "&v",
        "anchors",
        "out.",
    ),
    ("min_coverage", "version: x\nmin_coverage", "version: x", "`version` is said twice", "Keep one"),
    ("group: usage\n", "group: usages\n", "group: usages", "belongs to no group", "Did you mean usage?"),
]


@pytest.mark.parametrize(("was", "written", "where", "what", "remedy"), FAULTS, ids=[fault[3] for fault in FAULTS])
def test_a_fault_is_named_with_its_line_and_a_remedy(
    was: str, written: str, where: str, what: str, remedy: str
) -> None:
    text = DEFAULT.replace(was, written, 1)
    assert text != DEFAULT
    found = examined(text)

    assert not isinstance(found, Rubric)
    here = [c for c in found if what in c.what and remedy in c.remedy]
    assert here, [str(c) for c in found]
    assert any(abs(c.line - line_of(text, where)) <= (1 if "YAML" in what else 0) for c in here), [
        str(c) for c in found
    ]


def test_the_shipped_rubric_is_usable() -> None:
    found = examined(DEFAULT)
    assert isinstance(found, Rubric)
    assert len(found.measures) <= 32


def test_the_command_names_file_and_line_and_exits_with_2(tmp_path: Path) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text(DEFAULT.replace("name: touch\n", "name: tuch\n"), encoding="utf-8")

    answer = CliRunner().invoke(app, ["health", "check", str(file)])

    assert answer.exit_code == 2
    assert f"{file}:{line_of(file.read_text(encoding='utf-8'), 'name: tuch')}: nothing computes" in answer.stdout
    good = tmp_path / "good.yaml"
    good.write_text(DEFAULT, encoding="utf-8")
    assert CliRunner().invoke(app, ["health", "check", str(good)]).exit_code == 0
