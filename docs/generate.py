"""Writes what the documentation takes from the code: the tables of README.md, and the pages that are all of it.

Run it after a change of a tool or a setting; with --check it writes nothing and fails where something is old.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from cs_mcp.config import Settings
from cs_mcp.connectors.records import RECORDS
from cs_mcp.domain.rights import RIGHTS
from cs_mcp.prompts import PROMPTS
from cs_mcp.resources import PAGES, TEMPLATES, WORKSPACE_PAGES
from cs_mcp.services.health.rubric_files import default_text, read_rubric
from cs_mcp.services.health.rubric_words import page_of
from cs_mcp.services.imports.imports import SHEETS
from cs_mcp.tools import TOOLSETS
from cs_mcp.tools._selection import chosen

ROOT = Path(__file__).parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is old")
    check: bool = parser.parse_args().check
    old = [path for path, text in _documents() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path, text in _documents():
        if path in old and not check:
            path.write_text(text, encoding="utf-8", newline="\n")
    for path in old:
        sys.stdout.write(f"{path.relative_to(ROOT)} {'is old: run docs/generate.py' if check else 'is new'}\n")
    return 1 if check and old else 0


def _documents() -> Iterator[tuple[Path, str]]:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    for name, block in (("tools", _tool_table()), ("settings", _setting_table())):
        text = _replaced(text, name, block)
    yield readme, text
    yield ROOT / "docs" / "tools.md", _tool_page()
    yield ROOT / "docs" / "prompts.md", _prompt_page()
    yield ROOT / "docs" / "import-format.md", _format_page()
    yield ROOT / "docs" / "health.md", _health_page()


def _replaced(text: str, name: str, block: str) -> str:
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    if text.count(start) != 1 or text.count(end) != 1:
        raise SystemExit(f"README.md needs {start} and {end}, once each.")
    head, _, rest = text.partition(start)
    return f"{head}{start}\n{block}\n{end}{rest.partition(end)[2]}"


# -- tools ------------------------------------------------------------------------------------------------------
def _tool_table() -> str:
    everyday = {tool.name for tool in chosen(TOOLSETS)}
    lines = ["| tool | kind | what it does |", "|---|---|---|"]
    for toolset in TOOLSETS:
        for tool in toolset.tools:
            kind = "write" if tool.writes else "read"
            name = f"`{tool.name}`" if tool.name in everyday else f"*`{tool.name}`*"
            lines.append(f"| {name} | {kind} | {tool.description.partition(chr(10))[0]} |")
    return "\n".join(lines)


def _tool_page() -> str:
    parts = ["# Tools", "Made by `docs/generate.py` from the code: what a client lists, in words."]
    for toolset in TOOLSETS:
        for tool in toolset.tools:
            right = RIGHTS[tool.name]
            roles = ", ".join(sorted(role.value for role in right.roles))
            hints: Any = tool.annotations
            kind = "reads" if hints.read_only_hint else "overwrites" if hints.destructive_hint else "adds"
            parts.append(f"## {tool.name}\n\n{tool.description}\n\n*{kind.capitalize()}; "
                         f"scope `{right.scope.value}`; roles {roles}; toolset {toolset.name}.*")  # fmt: skip
            if table := _arguments(tool.described().parameters):
                parts.append(table)
    return "\n\n".join(parts) + "\n"


def _arguments(schema: dict[str, Any]) -> str:
    rows = [
        f"| `{name}`{' (required)' if name in schema.get('required', ()) else ''} | {_kind(field, schema)} "
        f"| {_cell(_description(field, schema))} |"
        for name, field in schema["properties"].items()
    ]
    return "\n".join(["| argument | is | meaning |", "|---|---|---|", *rows]) if rows else ""


def _kind(field: dict[str, Any], root: dict[str, Any]) -> str:
    field = _resolved(field, root)
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_kind(arm, root) for arm in field["anyOf"]))
    if field.get("type") == "array":
        return f"list of {_kind(field['items'], root)}"
    if field.get("type") == "object":
        inner = ", ".join(f"`{name}`" for name in field.get("properties", {}))
        return f"{{{inner}}}" if inner else "object"
    return {"date": "day", "date-time": "instant"}.get(field.get("format", ""), str(field.get("type", "any")))


def _description(field: dict[str, Any], root: dict[str, Any]) -> str:
    return field.get("description") or _resolved(field, root).get("description", "")


def _resolved(field: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    return root["$defs"][field["$ref"].rsplit("/", 1)[1]] if "$ref" in field else field


# -- the rubric -------------------------------------------------------------------------------------------------
_HEALTH_INTRODUCTION = """\
Made by `docs/generate.py` from `src/cs_mcp/rubrics/default.yaml`: the rubric that every workspace starts with. A
workspace's own is at `cs://health/rubric`.

A rubric is one YAML file. `cs-mcp health show > ours.yaml` gives the one in force; change it and its `version`;
`cs-mcp health check ours.yaml` names every fault with its line; `cs-mcp health adopt ours.yaml` makes it the
workspace's own, and `cs-mcp health adopt --default` goes back. `cs-mcp health score` scores every account, and scores
made before keep the version they were made with. A new measure is one entry here and one expression in
`db/facts/measures.py`."""


def _health_page() -> str:
    title, _, rest = page_of(read_rubric(default_text())).partition("\n\n")
    return f"{title}\n\n{_HEALTH_INTRODUCTION}\n\n{rest}"


# -- prompts and resources --------------------------------------------------------------------------------------
def _prompt_page() -> str:
    parts = [
        "# Prompts and resources",
        (
            "Made by `docs/generate.py` from the code. A prompt is two messages: instructions, and a brief on the "
            "account computed at that moment as an embedded resource. The instructions below are the files in "
            "`src/cs_mcp/prompts`; `$account_id` and the like are filled with ids, days and fixed sentences only."
        ),
    ]
    for prompt in PROMPTS:
        listed = prompt.listed()
        rows = [
            f"| `{argument.name}`{' (required)' if argument.required else ''} | {_cell(argument.description or '')} |"
            for argument in listed.arguments or ()
        ]
        table = "\n".join(["| argument | meaning |", "|---|---|", *rows])
        quoted = "\n".join(f"> {line}".rstrip() for line in prompt.file.body.template.strip().splitlines())
        parts.append(f"## {listed.name}\n\n{listed.description}\n\n{table}\n\n{quoted}")
    rows = [f"| `{page.uri}` | {page.description} |" for page in (*PAGES, *WORKSPACE_PAGES)]
    rows += [f"| `{template.uri_template}` | {template.description} |" for template in TEMPLATES]
    parts.append("## Resources\n\n" + "\n".join(["| address | what it is |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


# -- the import format ------------------------------------------------------------------------------------------
def _format_page() -> str:
    parts = [
        "# The import format",
        (
            "Made by `docs/generate.py` from the code. `cs-mcp import FOLDER` reads whichever of these files are "
            "there, as `.csv`, `.jsonl` or `.parquet`, in UTF-8. Days are `YYYY-MM-DD`, instants ISO 8601 with a zone, "
            "money is a decimal in major units, items of a list are separated by `;`. An empty cell empties what is "
            "stored; a column that the file lacks leaves it alone. Importing the same files again changes nothing."
        ),
    ]
    for kind, record in RECORDS.items():
        again = "A row is known again by " + ", ".join(f"`{name}`" for name in record.identity) + "."
        kept = "" if kind in SHEETS else " Rows are read and checked; this version keeps no such records."
        rows = [
            f"| `{'custom.NAME' if name == 'custom' else name}`{' (required)' if field.is_required() else ''} "
            f"| {_cell_kind(field.annotation)} |"
            for name, field in record.model_fields.items()
        ]
        table = "\n".join(["| column | holds |", "|---|---|", *rows])
        parts.append(f"## {kind}\n\n{again}{kept}\n\n{table}")
    return "\n\n".join(parts) + "\n"


_CELLS = {
    date: "day",
    datetime: "instant",
    Decimal: "number",
    float: "number",
    int: "whole number",
    bool: "`true`, `false`",
}


def _cell_kind(annotation: Any) -> str:
    arms = [arm for arm in get_args(annotation) if arm is not type(None)]
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return _cell_kind(arms[0])
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in arms)
    if get_origin(annotation) is tuple:
        return f"list of {_cell_kind(arms[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(f"`{member.value}`" for member in annotation)
    return _CELLS.get(annotation, "text")


# -- settings ---------------------------------------------------------------------------------------------------
def _setting_table() -> str:
    lines = ["| variable | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        if field.default_factory is not None:
            default = "a file in your data folder"
        else:
            default = "" if field.default in (None, []) else f"`{str(field.default).lower()}`"
            default = f"`{field.default}`" if isinstance(field.default, str) else default
        lines.append(f"| `CS_MCP_{name.upper()}` | {default} | {_cell(field.description or '')} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
