"""What the conformance suite looks for on a server: tools, prompts and resources of fixed names and answers.

Each is what the description of a scenario asks for, under "Server Implementation Requirements".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import anyio
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp_types import (
    AudioContent,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel, Field, create_model

Diagnostic = Callable[..., Any]
TOOLS: list[Diagnostic] = []
PROMPTS: list[Diagnostic] = []
RESOURCES: list[tuple[str, str, Diagnostic]] = []

# One red pixel, and one empty sound.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
PAUSE_SECONDS = 0.05


def tool(function: Diagnostic) -> Diagnostic:
    TOOLS.append(function)
    return function


def prompt(function: Diagnostic) -> Diagnostic:
    PROMPTS.append(function)
    return function


def resource(uri: str, mime_type: str) -> Callable[[Diagnostic], Diagnostic]:
    def declare(function: Diagnostic) -> Diagnostic:
        RESOURCES.append((uri, mime_type, function))
        return function

    return declare


def text(said: str) -> TextContent:
    return TextContent(type="text", text=said)


def image() -> ImageContent:
    return ImageContent(type="image", data=PNG, mime_type="image/png")


def embedded(uri: str, mime_type: str, said: str) -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=said))


def answer(*content: ContentBlock) -> CallToolResult:
    return CallToolResult(content=list(content))


# -- tools: kinds of content ----------------------------------------------------------------------------------


@tool
def test_simple_text() -> CallToolResult:
    """Answer with a text."""
    return answer(text("This is a simple text response for testing."))


@tool
def test_image_content() -> CallToolResult:
    """Answer with an image."""
    return answer(image())


@tool
def test_audio_content() -> CallToolResult:
    """Answer with a sound."""
    return answer(AudioContent(type="audio", data=WAV, mime_type="audio/wav"))


@tool
def test_embedded_resource() -> CallToolResult:
    """Answer with a resource."""
    return answer(embedded("test://embedded-resource", "text/plain", "This is an embedded resource content."))


@tool
def test_multiple_content_types() -> CallToolResult:
    """Answer with a text, an image and a resource."""
    data = json.dumps({"test": "data", "value": 123})
    mixed = embedded("test://mixed-content-resource", "application/json", data)
    return answer(text("Multiple content types test:"), image(), mixed)


@tool
def test_error_handling() -> CallToolResult:
    """Fail in words."""
    raise ToolError("This tool intentionally returns an error for testing")


@tool
def test_x_mcp_header(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> CallToolResult:
    """Take an argument that is also sent as a header."""
    return answer(text(region))


# -- tools: messages beside the answer ------------------------------------------------------------------------


@tool
async def test_tool_with_logging(ctx: Context) -> CallToolResult:
    """Log three messages."""
    await ctx.info("Tool execution started")
    await anyio.sleep(PAUSE_SECONDS)
    await ctx.info("Tool processing data")
    await anyio.sleep(PAUSE_SECONDS)
    await ctx.info("Tool execution completed")
    return answer(text("Logged."))


@tool
async def test_logging_tool(ctx: Context) -> CallToolResult:
    """Log one message, to whoever asked for messages."""
    await ctx.info("Nobody asked for this.")
    return answer(text("Logged."))


@tool
async def test_tool_with_progress(ctx: Context) -> CallToolResult:
    """Report progress three times."""
    await ctx.report_progress(0, 100)
    await anyio.sleep(PAUSE_SECONDS)
    await ctx.report_progress(50, 100)
    await anyio.sleep(PAUSE_SECONDS)
    await ctx.report_progress(100, 100)
    return answer(text("Done."))


@tool
async def test_trigger_tool_change(ctx: Context) -> CallToolResult:
    """Say that the tools changed."""
    await ctx.notify_tools_changed()
    return answer(text("Said."))


@tool
async def test_trigger_prompt_change(ctx: Context) -> CallToolResult:
    """Say that the prompts changed."""
    await ctx.notify_prompts_changed()
    return answer(text("Said."))


# -- tools: requests to the client, as the handshake era sends them ---------------------------------------------


class Somebody(BaseModel):
    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    """SEP-1034: every primitive type with a default."""

    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


def _titled(*values: str) -> list[dict[str, str]]:
    return [{"const": value, "title": value.capitalize()} for value in values]


_OPTIONS = ["option1", "option2", "option3"]
# SEP-1330: the five ways to offer a choice.
CHOICES: dict[str, tuple[type, dict[str, Any]]] = {
    "untitledSingle": (str, {"enum": _OPTIONS}),
    "titledSingle": (str, {"oneOf": _titled("value1", "value2")}),
    "legacyEnum": (str, {"enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]}),
    "untitledMulti": (list[str], {"items": {"type": "string", "enum": _OPTIONS}}),
    "titledMulti": (list[str], {"items": {"anyOf": _titled("value1", "value2")}}),
}
_fields: dict[str, Any] = {name: (kind, Field(json_schema_extra=shape)) for name, (kind, shape) in CHOICES.items()}
Choices = create_model("Choices", **_fields)


@tool
async def test_sampling(prompt: str, ctx: Context) -> CallToolResult:
    """Have the client's model answer a prompt."""
    question = SamplingMessage(role="user", content=text(prompt))
    said = await ctx.session.create_message([question], max_tokens=100, related_request_id=ctx.request_id)
    return answer(text(f"LLM response: {said.content}"))


@tool
async def test_elicitation(message: str, ctx: Context) -> CallToolResult:
    """Ask the user who they are."""
    return answer(text(f"User response: {await ctx.elicit(message, Somebody)}"))


@tool
async def test_elicitation_sep1034_defaults(ctx: Context) -> CallToolResult:
    """Ask the user with defaults filled in."""
    return answer(text(f"Elicitation completed: {await ctx.elicit('Who is it?', Defaults)}"))


@tool
async def test_elicitation_sep1330_enums(ctx: Context) -> CallToolResult:
    """Ask the user to choose."""
    return answer(text(f"Elicitation completed: {await ctx.elicit('Which ones?', Choices)}"))


# -- prompts --------------------------------------------------------------------------------------------------


@prompt
def test_simple_prompt() -> list[UserMessage]:
    """A prompt without arguments."""
    return [UserMessage("This is a simple prompt for testing.")]


@prompt
def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
    """A prompt with two arguments."""
    return [UserMessage(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")]


@prompt
def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803
    """A prompt with a resource in it."""
    data = embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
    return [UserMessage(data), UserMessage("Please process the embedded resource above.")]


@prompt
def test_prompt_with_image() -> list[UserMessage]:
    """A prompt with an image in it."""
    return [UserMessage(image()), UserMessage("Please analyze the image above.")]


# -- resources ------------------------------------------------------------------------------------------------


@resource("test://static-text", "text/plain")
def static_text() -> str:
    """A text."""
    return "This is the content of the static text resource."


@resource("test://static-binary", "image/png")
def static_binary() -> bytes:
    """An image."""
    return base64.b64decode(PNG)


@resource("test://watched-resource", "text/plain")
def watched_resource() -> str:
    """A text to subscribe to."""
    return "Watched resource content"


@resource("test://template/{id}/data", "application/json")
def template_data(id: str) -> str:  # noqa: A002
    """An object for an id."""
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})
