"""Diagnostics that need an answer first: the 2026-07-28 way, where a result may be a question (SEP-2322)."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import Context, Resolve
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.server.mcpserver.resolve import Sample
from mcp_types import (
    CallToolResult,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
)

from ._diagnostics import answer, prompt, text, tool

Answered = CallToolResult | InputRequiredResult


def form(message: str, **fields: str) -> InputRequest:
    """A question to the user; `fields` are the JSON types of what is wanted."""
    properties = {name: {"type": kind} for name, kind in fields.items()}
    schema = {"type": "object", "properties": properties, "required": list(fields)}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def question(prompt: str, max_tokens: int = 100) -> InputRequest:
    messages = [SamplingMessage(role="user", content=text(prompt))]
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=messages, max_tokens=max_tokens))


def asked(state: str | None = None, **requests: InputRequest) -> InputRequiredResult:
    return InputRequiredResult(input_requests=requests, request_state=state)


def given(ctx: Context, name: str, kind: type[Any]) -> Any:
    """The client's answer to one question, if there is one of this kind."""
    found = (ctx.input_responses or {}).get(name)
    return found if isinstance(found, kind) else None


@tool
async def test_input_required_result_elicitation(ctx: Context) -> Answered:
    """Ask for a name and greet."""
    user = given(ctx, "user_name", ElicitResult)
    if user is None:
        return asked(user_name=form("What is your name?", name="string"))
    return answer(text(f"Hello, {(user.content or {}).get('name')}!"))


@tool
async def test_streaming_elicitation(ctx: Context) -> Answered:
    """Ask on the response stream."""
    return asked(user_name=form("What is your name?", name="string"))


@tool
async def test_input_required_result_sampling(ctx: Context) -> Answered:
    """Have the client's model answer."""
    said = given(ctx, "capital_question", CreateMessageResult)
    if said is None:
        return asked(capital_question=question("What is the capital of France?"))
    return answer(text(f"The model said: {said.content}"))


@tool
async def test_input_required_result_list_roots(ctx: Context) -> Answered:
    """Ask for the client's roots."""
    found = given(ctx, "client_roots", ListRootsResult)
    if found is None:
        return asked(client_roots=ListRootsRequest())
    return answer(text(", ".join(str(root.uri) for root in found.roots)))


@tool
async def test_input_required_result_request_state(ctx: Context) -> Answered:
    """Carry state from the question to the answer."""
    if ctx.request_state == "asked" and given(ctx, "confirm", ElicitResult):
        return answer(text("state-ok"))
    return asked("asked", confirm=form("Please confirm", ok="boolean"))


@tool
async def test_input_required_result_tampered_state(ctx: Context) -> Answered:
    """Carry state that nobody may change."""
    return await test_input_required_result_request_state(ctx)


@tool
async def test_input_required_result_multiple_inputs(ctx: Context) -> Answered:
    """Ask three questions at once."""
    if ctx.request_state == "asked" and {"user_name", "greeting", "client_roots"} <= set(ctx.input_responses or {}):
        return answer(text("All three."))
    return asked(
        "asked",
        user_name=form("What is your name?", name="string"),
        greeting=question("Generate a greeting", 50),
        client_roots=ListRootsRequest(),
    )


@tool
async def test_input_required_result_multi_round(ctx: Context) -> Answered:
    """Ask twice, one question after the other."""
    if ctx.request_state == "step 1" and given(ctx, "step1", ElicitResult):
        return asked("step 2", step2=form("Step 2: What is your favorite color?", color="string"))
    if ctx.request_state == "step 2" and given(ctx, "step2", ElicitResult):
        return answer(text("Both."))
    return asked("step 1", step1=form("Step 1: What is your name?", name="string"))


@tool
async def test_input_required_result_capabilities(ctx: Context) -> Answered:
    """Ask only what the client said it can answer."""
    can = ctx.client_capabilities
    requests: dict[str, InputRequest] = {}
    if can is not None and can.sampling is not None:
        requests["greeting"] = question("Generate a greeting", 50)
    if can is not None and can.elicitation is not None:
        requests["user_name"] = form("What is your name?", name="string")
    return asked(**requests)


async def _capital() -> Sample:
    return Sample([SamplingMessage(role="user", content=text("What is the capital of France?"))], max_tokens=100)


@tool
async def test_missing_capability(capital: Annotated[CreateMessageResult, Resolve(_capital)]) -> CallToolResult:
    """Need the client's model."""
    return answer(text(str(capital.content)))


@prompt
async def test_input_required_result_prompt(ctx: Context) -> list[UserMessage] | InputRequiredResult:
    """A prompt that asks first."""
    user = given(ctx, "user_context", ElicitResult)
    if user is None:
        return asked(user_context=form("What context should the prompt use?", context="string"))
    return [UserMessage(f"Use this: {(user.content or {}).get('context')}")]
