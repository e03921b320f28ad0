"""The protocol's own conformance suite, and what may be said after it. docs/conformance.md says it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp_types import CreateMessageResult, ElicitResult, TextContent

from conftest import Team
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.server import build_server, http_app
from cs_mcp.tools._context import FixedCaller
from server._client import serving

from ._fixture import DiagnosedServer, diagnosed_app, signed_in
from ._suite import REVISIONS, VERSION, Suite

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "conformance.md"
WITHOUT_A_WAY_BACK = {
    "tools-call-sampling", "tools-call-elicitation", "elicitation-sep1034-defaults", "elicitation-sep1330-enums",
}  # fmt: skip
NOTHING_CHECKED = {"server-sse-multiple-streams"}  # on 2025-11-25, where it wants a session id
REQUIRED = {"2025-11-25": 30, "2026-07-28": 37}
PASSED = {"2025-11-25": 25, "2026-07-28": 37}
# Run and never scored; of these only what passes is kept here.
BEYOND = {"2025-11-25": set[str](), "2026-07-28": {"http-header-validation", "http-custom-header-server-validation"}}
# What asks nothing of a server but what every server has. Calls of tools are not among them: a tool that is not there
# is an error with a text, which is all that tools-call-simple-text and tools-call-error look for.
OF_ANY_SERVER = {
    "2025-11-25": {
        "server-initialize", "ping", "tools-list", "prompts-list", "resources-list", "completion-complete",
        "dns-rebinding-protection",
    },
    "2026-07-28": {
        "tools-list", "prompts-list", "resources-list", "completion-complete", "server-sse-multiple-streams",
        "dns-rebinding-protection", "caching", "sep-2164-resource-not-found", "http-header-validation",
    },
}  # fmt: skip

by_revision = pytest.mark.parametrize("revision", REVISIONS)


def baseline(revision: str) -> Path:
    return HERE / f"expected_failures_{revision}.yml"


@by_revision
@pytest.mark.node
@pytest.mark.timeout(600)
def test_what_a_revision_requires_of_a_server_passes(
    suite: Suite, store_url: str, clock: FixedClock, token: str, tmp_path: Path, revision: str
) -> None:
    with serving(store_url, clock, app=signed_in(diagnosed_app, token)) as http:
        run = suite.run(
            f"{http.url}/mcp", tmp_path / "results",
            "--requirements", revision, "--expected-failures", str(baseline(revision)),
        )  # fmt: skip

    required = suite.required(revision)
    assert run.exit_code == 0, run.output
    assert len(required) == REQUIRED[revision]
    assert required <= set(run.scenarios)
    not_passed = required - run.passed
    assert not_passed == (WITHOUT_A_WAY_BACK | NOTHING_CHECKED if revision == "2025-11-25" else set())
    assert len(required & run.passed) == PASSED[revision]
    assert run.passed - required >= BEYOND[revision]


@by_revision
@pytest.mark.node
@pytest.mark.timeout(600)
def test_the_product_as_it_is_passes_what_needs_no_diagnostics(
    suite: Suite, store_url: str, clock: FixedClock, token: str, tmp_path: Path, revision: str
) -> None:
    with serving(store_url, clock, app=signed_in(http_app, token)) as http:
        run = suite.run(f"{http.url}/mcp", tmp_path / "results", "--requirements", revision)

    assert OF_ANY_SERVER[revision] <= run.passed, run.output


@pytest.mark.node
@pytest.mark.timeout(600)
def test_an_entry_that_passes_by_now_fails_the_run(
    suite: Suite, store_url: str, clock: FixedClock, token: str, tmp_path: Path
) -> None:
    stale = tmp_path / "stale.yml"
    stale.write_text("server:\n  - ping\n", encoding="utf-8")
    with serving(store_url, clock, app=signed_in(http_app, token)) as http:
        run = suite.run(
            f"{http.url}/mcp", tmp_path / "results", "--scenario", "ping", "--expected-failures", str(stale)
        )

    assert run.exit_code == 1
    assert "stale" in run.output.lower()


async def test_the_expected_failures_pass_where_there_is_a_way_back(team: Team) -> None:
    """It is the stateless transport that fails them, not the server: in one process they go through."""
    answers: dict[str, Any] = {
        "username": "ana", "email": "ana@acme.example", "untitledSingle": "option1", "titledSingle": "value1",
        "legacyEnum": "opt1", "untitledMulti": ["option1"], "titledMulti": ["value1"],
    }  # fmt: skip
    asked: dict[str, dict[str, Any]] = {}

    async def fill_in(_context: Any, params: Any) -> ElicitResult:
        fields = params.requested_schema["properties"]
        asked.update(fields)
        return ElicitResult(action="accept", content={name: answers.get(name, field.get("default"))
                                                      for name, field in fields.items()})  # fmt: skip

    async def sample(_context: Any, _params: Any) -> CreateMessageResult:
        said = TextContent(type="text", text="Paris, says the model")
        return CreateMessageResult(role="assistant", content=said, model="test")

    caller = FixedCaller(team.services, team.workspace, team.members["ana"].id)
    server = build_server(team.services, caller, server_type=DiagnosedServer)
    async with Client(server, mode="legacy", elicitation_callback=fill_in, sampling_callback=sample) as client:

        async def said(tool: str, **arguments: str) -> str:
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, result.content
            return result.content[0].text

        assert "Paris, says the model" in await said("test_sampling", prompt="The capital of France?")
        assert "ana@acme.example" in await said("test_elicitation", message="Who are you?")
        assert "John Doe" in await said("test_elicitation_sep1034_defaults")
        assert "option1" in await said("test_elicitation_sep1330_enums")
    assert {name: asked[name]["default"] for name in ("name", "age", "score", "status", "verified")} == {
        "name": "John Doe", "age": 30, "score": 95.5, "status": "active", "verified": True,
    }  # fmt: skip
    assert asked["titledSingle"]["oneOf"][0] == {"const": "value1", "title": "Value1"}


async def test_no_diagnostic_is_in_the_product(team: Team) -> None:
    caller = FixedCaller(team.services, team.workspace, team.members["ada"].id)
    async with Client(build_server(team.services, caller), mode="legacy") as client:
        declared = client.server_capabilities
        tools = {tool.name for tool in (await client.list_tools()).tools}
        prompts = {prompt.name for prompt in (await client.list_prompts()).prompts}
        resources = {str(resource.uri) for resource in (await client.list_resources()).resources}

    assert tools
    assert prompts
    assert not [name for name in tools | prompts | resources if name.startswith("test")]
    # The fixture's handlers of 2025-11-25, which the page says the product has not.
    assert declared.logging is None
    assert not declared.resources.subscribe


def test_the_page_claims_what_is_tested() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert VERSION in page
    for revision in REVISIONS:
        assert re.search(rf"^\| {revision} \| {REQUIRED[revision]} \| {PASSED[revision]} \|", page, re.MULTILINE)
        for scenario in OF_ANY_SERVER[revision]:
            assert f"`{scenario}`" in page
    expected = re.findall(r"^  - (\S+)$", baseline("2025-11-25").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(expected) == WITHOUT_A_WAY_BACK | NOTHING_CHECKED
    assert all(f"`{scenario}`" in page for scenario in expected)
