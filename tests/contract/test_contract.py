"""The contract of every tool: the same today as the file says, and within the rules of tools.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cs_mcp.domain.rights import RIGHTS, Scope
from cs_mcp.greeting import INSTRUCTIONS
from cs_mcp.tools import TOOLSETS
from cs_mcp.tools._selection import chosen
from cs_mcp.tools._toolset import StrictTool

from ._listed import SNAPSHOTS, compact, list_tools, listed, pretty, wire

TOOLS = {tool["name"]: tool for tool in listed()}
HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
VERBS = re.compile(
    "add|assign|commit|create|end|explain|fetch|find|get|list|log|merge|move|override|record|resolve|save|schedule|"
    "search|simulate|start|undo|update"
)
# Who calls, for whom and where comes from the credential: no tool may take it (tools.md, rule 9).
IDENTITY = re.compile(r"workspace|tenant|actor|principal|behalf|caller|scope|(^|_)token$|impersonate|as_user|my_")
DAYS = {"on", "as_of", "period_start", "period_end"}
LISTS = {"find_accounts", "get_timeline", "list_renewals", "list_health_notes", "list_tasks", "list_changes"}
# Tools and bytes of their names, titles, descriptions and inputs, by profile (tools.md, Toolsets).
BUDGETS = {"csm": (32, 36_000), "all": (62, 68_000)}
WHOLE_BUDGET = 100_000

READS = [name for name in TOOLS if RIGHTS[name].scope is Scope.read]
OVERWRITES = {"update", "move", "undo", "commit", "merge", "override", "end", "resolve"}

every_tool = pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))
writes = pytest.mark.parametrize(
    "tool", [tool for name, tool in TOOLS.items() if name not in READS], ids=lambda tool: tool["name"]
)


@every_tool
def test_a_tool_is_what_its_snapshot_says(tool: dict[str, Any]) -> None:
    snapshot = SNAPSHOTS / f"{tool['name']}.json"
    assert snapshot.exists(), "run python -m tests.contract.update and review what it writes"
    assert pretty(tool) == snapshot.read_text(encoding="utf-8"), (
        f"{tool['name']} changed. If that is meant, run python -m tests.contract.update and review the diff."
    )


def test_no_snapshot_outlives_its_tool() -> None:
    assert {path.stem for path in SNAPSHOTS.glob("*.json")} == set(TOOLS)


def test_every_tool_with_a_right_is_listed_and_the_other_way_round() -> None:
    assert set(TOOLS) == set(RIGHTS)


@every_tool
def test_a_tool_is_named_and_described_within_the_rules(tool: dict[str, Any]) -> None:
    # Two are named by others: ChatGPT's connectors call `search` and `fetch`.
    assert re.fullmatch(r"search|fetch|[a-z]+(_[a-z]+)+", tool["name"])
    assert len(tool["name"]) <= 40
    assert VERBS.fullmatch(tool["name"].split("_")[0])
    first_line = tool["description"].partition("\n")[0]
    assert 0 < len(first_line) <= 80
    assert len(tool["description"]) <= 1_024
    assert not re.search(r"\b(you must|always|never ask|ignore)\b", tool["description"], re.IGNORECASE)
    assert 0 < len(tool["title"]) <= 60


@every_tool
def test_all_five_hints_are_set_and_tell_reads_from_writes(tool: dict[str, Any]) -> None:
    hints = tool["annotations"]
    assert set(hints) == {"title", *HINTS}
    assert hints["title"] == tool["title"]
    assert all(type(hints[name]) is bool for name in HINTS)
    reads = tool["name"] in READS
    assert hints["readOnlyHint"] is reads
    assert hints["openWorldHint"] is False, "nothing leaves this system"
    if reads:
        assert (hints["destructiveHint"], hints["idempotentHint"]) == (False, True)
    else:
        # Without a key a repeated write writes twice.
        assert hints["idempotentHint"] is False


def test_what_overwrites_or_ends_something_is_called_destructive() -> None:
    adds = {name for name, tool in TOOLS.items() if not tool["annotations"]["destructiveHint"]} - set(READS)
    assert [name for name in adds if name.split("_")[0] in OVERWRITES] == []
    assert {"create_account", "create_tasks", "add_health_note"} <= adds


@every_tool
def test_schemas_are_valid_and_every_input_object_is_closed(tool: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(tool["inputSchema"])
    Draft202012Validator.check_schema(tool["outputSchema"])
    assert tool["inputSchema"]["type"] == tool["outputSchema"]["type"] == "object"
    for path, schema in objects(tool["inputSchema"], tool["name"]):
        if "properties" in schema:
            assert schema.get("additionalProperties") is False, f"{path} lets unknown fields through"
        else:
            assert schema.get("additionalProperties", True) not in (True, {}), f"{path} takes anything"


@pytest.mark.parametrize("tool", [tool for tools in TOOLSETS for tool in tools.tools], ids=lambda tool: tool.name)
def test_every_text_and_list_of_an_input_has_a_length(tool: StrictTool) -> None:
    # The listing leaves loose bounds out; the model behind it holds them. Over stdio nothing else does.
    schema = tool.input_model.model_json_schema()
    assert sorted({path for path, part in parts(schema, tool.name) if is_unbounded(part)}) == []


@every_tool
def test_no_argument_says_who_calls_or_where(tool: dict[str, Any]) -> None:
    named = {path for path, _ in fields(tool["inputSchema"], tool["name"]) if IDENTITY.search(path.rsplit(".", 1)[-1])}
    assert named == set()


@every_tool
def test_arguments_that_repeat_mean_and_look_the_same(tool: dict[str, Any]) -> None:
    properties = tool["inputSchema"]["properties"]
    if tool["name"] not in READS:
        assert {"idempotency_key", "preview", "reason"} <= set(properties)
    if tool["name"].startswith("update_") and tool["name"] != "update_accounts":  # a plan guards the many
        assert "expected_version" in tool["inputSchema"]["required"]
    if tool["name"] in LISTS:
        assert {"limit", "cursor", "budget_tokens"} <= set(properties)
        assert {"items", "total", "next_cursor", "left_out"} <= set(tool["outputSchema"]["properties"])


@writes
def test_a_write_answers_what_it_changed_or_would(tool: dict[str, Any]) -> None:
    answered = set(tool["outputSchema"]["properties"])
    assert {"changed", "record", "triggered", "already_done", "change_id"} <= answered
    assert {"plan_id", "expires_at", "differences", "would_trigger"} <= answered


def test_dates_are_days_and_choices_are_enums() -> None:
    for name, tool in TOOLS.items():
        for path, schema in fields(tool["inputSchema"], name):
            last = path.rsplit(".", 1)[-1]
            if last.endswith(("_on", "_from", "_to", "_before")) or last in DAYS:
                assert schema.get("format") == "date", path
            if last in ("kind", "status", "priority", "sentiment", "segment", "tier", "stage", "sort", "detail"):
                assert "enum" in schema or "enum" in schema.get("items", {}), path


@pytest.mark.parametrize("profile", list(BUDGETS))
def test_names_descriptions_and_inputs_fit_a_context(profile: Any) -> None:
    offered = [TOOLS[tool.name] for tool in chosen(TOOLSETS, profile=profile)]
    paid = [{key: tool[key] for key in ("name", "title", "description", "inputSchema")} for tool in offered]
    most_tools, most_bytes = BUDGETS[profile]

    assert len(offered) <= most_tools
    assert compact(paid) <= most_bytes, {tool["name"]: compact(tool["inputSchema"]) for tool in offered}


def test_the_whole_list_of_the_everyday_profile_fits() -> None:
    offered = [TOOLS[tool.name] for tool in chosen(TOOLSETS, profile="csm")]
    assert compact({"tools": offered}) <= WHOLE_BUDGET


async def test_the_whole_list_comes_in_one_order() -> None:
    first, second = wire(await list_tools()), wire(await list_tools("legacy"))
    assert first["tools"] == second["tools"] == list(TOOLS.values())
    assert len(INSTRUCTIONS.encode()) <= 2_048, "hosts cut instructions there"


async def test_no_shared_cache_may_keep_the_list() -> None:
    assert (await list_tools()).cache_scope == "private"


# -- walking a schema ---------------------------------------------------------------------------------------


def parts(root: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema, by its path; definitions are followed where they are used."""

    def resolved(schema: dict[str, Any]) -> dict[str, Any]:
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return {**root["$defs"][schema["$ref"].rsplit("/", 1)[1]], **rest} if "$ref" in schema else rest

    def down(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        if not isinstance(schema, dict):
            return
        schema = resolved(schema)
        if "items" in schema:
            schema["items"] = resolved(schema["items"])
        yield path, schema
        for key, part in schema.get("properties", {}).items():
            yield from down(part, f"{path}.{key}")
        for key in ("items", "additionalProperties"):
            yield from down(schema.get(key), path)
        for key in ("anyOf", "allOf", "oneOf"):
            for part in schema.get(key, []):
                yield from down(part, path)

    return down(root, name)


def objects(root: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((path, schema) for path, schema in parts(root, name) if schema.get("type") == "object")


def fields(root: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((path, schema) for path, schema in parts(root, name) if "." in path)


def is_unbounded(schema: dict[str, Any]) -> bool:
    """Whether a text could be of any length, or a list of any number of free values."""
    kind = schema.get("type")
    if kind == "string":
        return not ({"maxLength", "enum", "const", "format"} & set(schema) or _short_pattern(schema.get("pattern", "")))
    if kind == "array":
        return "maxItems" not in schema and "enum" not in schema.get("items", {})
    return False


def _short_pattern(pattern: str) -> bool:
    return bool(pattern) and not re.search(r"[*+]|,\}", pattern)
