"""The server's instructions: what repeats on tools is explained there once, and briefly."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from cs_mcp.greeting import INSTRUCTIONS

from ._listed import listed

REPEATED = 3  # on this many tools an argument needs a common explanation
# Fields of an account or a contact: they mean what they are called.
PLAIN = {"industry", "name", "risk_reason", "renewal_on", "title", "text", "domain", "employees", "currency"}


def explains_itself(schema: dict[str, Any]) -> bool:
    """A choice of values, or an object with fields of its own."""
    return bool({"enum", "$ref", "properties", "const"} & (set(schema) | set(schema.get("items", {}))))


def test_every_argument_that_repeats_unexplained_is_in_the_instructions() -> None:
    used: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for tool in listed():
        for name, schema in tool["inputSchema"]["properties"].items():
            used[name].append(schema)
    repeated = {
        name
        for name, schemas in used.items()
        if len(schemas) >= REPEATED and not all("description" in s or explains_itself(s) for s in schemas)
    }

    assert {"idempotency_key", "preview", "limit", "budget_tokens"} <= repeated, "the check sees nothing"
    assert [name for name in sorted(repeated - PLAIN) if f"`{name}" not in INSTRUCTIONS] == []


def test_what_every_caller_needs_is_said_and_fits() -> None:
    for word in ("`expected_version`", "plan_id", "commit_plan", "`cursor`", "`as_of`", "YYYY-MM-DD", "currency",
                 "candidates", "left_out", "cs://guide", "⟦quote"):  # fmt: skip
        assert word in INSTRUCTIONS, word
    assert len(INSTRUCTIONS.encode()) <= 2_048, "hosts cut instructions there"
