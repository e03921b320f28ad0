"""The one place that makes a tool strict, hinted, scoped and plain-spoken.

A tool is an async function of one model and the call; the model is its input schema. Only public seams of the SDK
are used: `Tool`, `MCPServer(tools=…)`, `list_tools` and `call_tool`.
"""

from __future__ import annotations

import base64
import difflib
import inspect
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast, get_type_hints

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp_types import CallToolResult, ImageContent, TextContent, ToolAnnotations
from mcp_types import Tool as ListedTool
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_json

from cs_mcp.domain.contract import Input, JsonAnswer, View
from cs_mcp.domain.errors import CustomerSuccessError
from cs_mcp.domain.rights import RIGHTS, may
from cs_mcp.domain.text import inert, nonce_of
from cs_mcp.services.wiring import Services
from cs_mcp.tools._context import Call, Caller

log = logging.getLogger("cs_mcp.tools")

InputT = TypeVar("InputT", bound=Input)
ViewT = TypeVar("ViewT", bound=View)
ToolFunction = Callable[[InputT, Call], Awaitable[ViewT]]

MOST_NAME: Final = 40
MOST_FIRST_LINE: Final = 80
MOST_DESCRIPTION: Final = 1_024
SHOWN_INPUT: Final = 80


class StrictTool(Tool):
    """A tool whose arguments are exactly its schema, and whose failures are sentences."""

    writes: bool
    on_request: bool
    input_model: type[Input]
    output_model: type[BaseModel]
    is_described: bool = False

    def described(self) -> StrictTool:
        """The tool with its schemas, made when first asked for: a server that starts needs none of them."""
        if not self.is_described:
            schema = inlined(closed(_without_class_docs(compact(self.input_model.model_json_schema())), self.name))
            schema.setdefault("properties", {})
            self.parameters = schema
            answer = inlined(_without_class_docs(compact(self.output_model.model_json_schema())))
            self.fn_metadata.output_schema = answer
            cached: dict[str, Any] = vars(self)
            cached["output_schema"] = answer  # the SDK caches it, and may have cached that there was none
            self.is_described = True
        return self

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        # The server's own call_tool goes to `answer`; the SDK would come this way.
        return await cast("ScopedServer", context.mcp_server).call_tool(self.name, arguments, context)

    async def answer(self, arguments: dict[str, Any], call: Call) -> CallToolResult:
        try:
            asked = read_arguments(self, arguments)
            return as_result(await self.fn(asked, call))
        except CustomerSuccessError as known:
            raise ToolError(inert(str(known))) from known
        except ToolError:
            raise
        except Exception as unexpected:
            # Nothing of an unexpected failure reaches the caller but the id under which the log has it.
            failure = secrets.token_hex(4)
            log.exception("tool %s failed, id %s", self.name, failure)
            raise ToolError(
                f"{self.name} failed on our side (failure {failure}). Nothing was written. "
                "Try once more; if it fails again, give the failure id to whoever runs the server."
            ) from unexpected


def as_result(answer: View) -> CallToolResult:
    if isinstance(answer, JsonAnswer):
        content = answer.content(nonce_of(secrets.token_bytes(4)))
        said = json.dumps(content, ensure_ascii=False)
        return CallToolResult(content=[TextContent(type="text", text=said)], structured_content=content)
    # Text has its fences; JSON has none, so every text in it is made inert here, whoever wrote it.
    structured = answer.model_dump(mode="json", exclude_none=True)
    if _may_hold_live_text(structured):
        structured = _inert(structured)
    text = answer.text(nonce_of(secrets.token_bytes(4)))
    pictures = [_picture(png) for png in answer.pictures()]
    return CallToolResult(content=[TextContent(type="text", text=text), *pictures], structured_content=structured)


def _picture(png: bytes) -> ImageContent:
    return ImageContent(type="image", data=base64.b64encode(png).decode(), mime_type="image/png")


# Whatever `inert` would change holds one of these, or is not ASCII; none of them is JSON's own punctuation.
_LIVE: Final = (
    b"<", b"](", b"]:", b"://", b"www.", b"javascript:", b"vbscript:", b"data:",
    b"\x7f", rb"\u", rb"\r", rb"\b", rb"\f",
)  # fmt: skip


def _may_hold_live_text(structured: dict[str, Any]) -> bool:
    """Whether a walk through all texts is needed at all: it costs more than making the answer."""
    raw = to_json(structured).lower()
    return not raw.isascii() or any(mark in raw for mark in _LIVE)


def _inert(value: Any) -> Any:
    if isinstance(value, str):
        return inert(value)
    if isinstance(value, dict):
        return {inert(key): _inert(item) for key, item in cast("dict[str, Any]", value).items()}
    return [_inert(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value


def read_arguments(tool: StrictTool, arguments: Mapping[str, Any]) -> Input:
    """Arguments as strict JSON: dates and enums from text, nothing else coerced, nothing unknown let through."""
    try:
        raw = json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as unsayable:
        raise ToolError(
            "The arguments hold text or numbers that cannot be stored (a lone surrogate, NaN, or nesting too deep). "
            "Nothing was done. Remove them and call again."
        ) from unsayable
    if b"\\u0000" in raw and any(map(_holds_nul, arguments.values())):
        raise ToolError("The arguments hold a NUL character. Nothing was done. Remove it and call again.")
    try:
        return tool.input_model.model_validate_json(raw, strict=True)
    except ValidationError as wrong:
        raise ToolError(inert(in_words(wrong, tool.described().parameters))) from wrong


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, Any]", value)
        return any("\x00" in key or _holds_nul(item) for key, item in pairs.items())
    return isinstance(value, Sequence) and any(map(_holds_nul, cast("Sequence[Any]", value)))


def in_words(wrong: ValidationError, schema: Mapping[str, Any]) -> str:
    """What is wrong with each argument, and what would be right."""
    lines: list[str] = []
    for error in wrong.errors(include_url=False)[:8]:
        line = _one_error(error, schema)
        if line not in lines:
            lines.append(line)
    return " ".join(lines) + " Nothing was done."


def _one_error(error: ErrorDetails, schema: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = _fields_at(schema, error["loc"][:-1])
        last = str(error["loc"][-1])
        # Nearer than a shared letter or two: a wrong name offered is a wrong call made.
        near = difflib.get_close_matches(last.lower(), known, 1, 0.75)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."
        return f"Unknown argument {where[:SHOWN_INPUT]!r}. {hint}"
    if error["type"] == "missing":
        return f"Missing argument {where!r}{_choices(_at(schema, error['loc']))}."
    said = error["msg"].removeprefix("Value error, ")
    if error["type"] in ("date_from_datetime_parsing", "date_parsing", "date_type", "date_from_datetime_inexact"):
        said = "give a day as YYYY-MM-DD"
    elif error["type"] == "model_type" and (known := _fields_at(schema, error["loc"])):
        said = f"give an object, as JSON, with {', '.join(known)}"
    elif error["type"] in ("model_type", "list_type", "dict_type") and isinstance(error["input"], str):
        said += " (send it as JSON, not as a text that holds JSON)"
    shown = json.dumps(error["input"], default=str, ensure_ascii=False)
    shown = shown if len(shown) <= SHOWN_INPUT else shown[:SHOWN_INPUT] + "…"
    return f"{where or 'arguments'}: {said}, got {shown}."


def _fields_at(schema: Mapping[str, Any], path: Sequence[int | str]) -> list[str]:
    """The known fields of the object at `path` of the arguments."""
    return list(_at(schema, path).get("properties", {}))


def _at(schema: Mapping[str, Any], path: Sequence[int | str]) -> Mapping[str, Any]:
    """The schema of what stands at `path` of the arguments; empty where it has none of its own."""
    root, here = schema, schema
    for step in path:
        here = _resolved(root, here)
        here = here.get("items", {}) if isinstance(step, int) else here.get("properties", {}).get(step, {})
    return _resolved(root, here)


def _choices(schema: Mapping[str, Any]) -> str:
    values: list[Any] = schema.get("enum", [])
    return f" (one of {', '.join(map(str, values))})" if values else ""


def _resolved(root: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in schema:
        return root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


# Bounds that only a broken caller meets: they are enforced, and said in words when met.
_UNSAID: Final = frozenset({"minLength", "maxLength", "maxItems", "minItems", "maxProperties", "propertyNames"})


def compact(schema: Any, *, element: bool = False) -> Any:
    """Drop what a model does not need: generated titles, loose bounds, `null` beside a default of null.

    A field that is null is left out of an answer; an `element` of a list stays, null or not.
    """
    if isinstance(schema, list):
        return [compact(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", schema).items():
        if key in ("properties", "$defs"):
            kept[key] = {name: compact(part) for name, part in value.items()}
        elif key not in _UNSAID and not (key == "title" and isinstance(value, str)):
            kept[key] = compact(value, element=key == "items")
    if kept.get("default", ...) in (None, False):
        del kept["default"]
    return _one_arm(kept, element=element)


def _one_arm(schema: dict[str, Any], *, element: bool) -> dict[str, Any]:
    """`anyOf` without its null arm, but for an element's; plain types together as one list."""
    if "anyOf" not in schema:
        return schema
    arms = [arm for arm in schema["anyOf"] if element or arm != {"type": "null"}]
    if all(set(arm) == {"type"} for arm in arms):
        types = sorted({arm["type"] for arm in arms} - ({"integer"} if {"type": "number"} in arms else set[str]()))
        arms = [{"type": types[0] if len(types) == 1 else types}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**arms[0], **rest} if len(arms) == 1 else {**rest, "anyOf": arms}


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Put a definition where it is used, if it is used once or shorter than its reference."""
    definitions: dict[str, Any] = schema.get("$defs", {})
    text = json.dumps(schema)
    for name in list(definitions):
        used = text.count(f'"#/$defs/{name}"')
        size = len(json.dumps(definitions[name], separators=(",", ":")))
        reference = len(name) + 19
        if used == 1 or used * size <= size + used * reference + len(name) + 4:
            schema = _put(schema, name, definitions[name])
            definitions = schema["$defs"]
            del definitions[name]
            text = json.dumps(schema)
    if not definitions:
        schema.pop("$defs", None)
    return schema


def _put(schema: Any, name: str, definition: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_put(item, name, definition) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    given = {key: _put(value, name, definition) for key, value in cast("dict[str, Any]", schema).items()}
    if given.get("$ref") == f"#/$defs/{name}":
        del given["$ref"]
        return {**definition, **given}
    return given


def _without_class_docs(schema: dict[str, Any]) -> dict[str, Any]:
    # A class's docstring tells our readers, not the caller; descriptions of fields tell the caller.
    schema.pop("description", None)
    for part in schema.get("$defs", {}).values():
        part.pop("description", None)
    return schema


def closed(schema: dict[str, Any], tool: str) -> dict[str, Any]:
    """Refuse to declare a tool that would let an unknown field through."""
    for name, part in {tool: schema, **schema.get("$defs", {})}.items():
        if part.get("type") == "object" and part.get("additionalProperties") is not False:
            raise TypeError(f"{name} of {tool} accepts unknown fields: derive it from Input")
    return schema


class Toolset:
    """Tools that belong together and are switched on together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tools: list[StrictTool] = []

    def read(self, title: str) -> Callable[[ToolFunction[Any, Any]], ToolFunction[Any, Any]]:
        """Declare a tool that changes nothing."""
        return self._declare(
            ToolAnnotations(
                title=title, read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
            )
        )

    def write(
        self, title: str, *, destructive: bool = False, idempotent: bool = False, on_request: bool = False
    ) -> Callable[[ToolFunction[Any, Any]], ToolFunction[Any, Any]]:
        """Declare a tool that changes records. `destructive`: it overwrites or ends something that was there.

        `on_request`: the everyday profile leaves it out.
        """
        return self._declare(
            ToolAnnotations(
                title=title,
                read_only_hint=False,
                destructive_hint=destructive,
                idempotent_hint=idempotent,
                open_world_hint=False,
            ),
            on_request=on_request,
        )

    def _declare(
        self, hints: ToolAnnotations, *, on_request: bool = False
    ) -> Callable[[ToolFunction[Any, Any]], ToolFunction[Any, Any]]:
        def declare(function: ToolFunction[Any, Any]) -> ToolFunction[Any, Any]:
            self.tools.append(_tool_of(function, hints, on_request))
            return function

        return declare


def _tool_of(function: Callable[..., Any], hints: ToolAnnotations, on_request: bool) -> StrictTool:
    name = function.__name__
    if name not in RIGHTS:
        raise TypeError(f"{name} has no right in domain/rights.py: a tool nobody may call")
    if len(name) > MOST_NAME:
        raise TypeError(f"{name} is longer than {MOST_NAME} characters")
    description = inspect.cleandoc(function.__doc__ or "")
    first_line = description.partition("\n")[0]
    if not first_line or len(first_line) > MOST_FIRST_LINE or len(description) > MOST_DESCRIPTION:
        raise TypeError(f"{name}: say in one line of {MOST_FIRST_LINE} characters what it does")
    types = get_type_hints(function)
    answer = cast("type[BaseModel]", types.pop("return"))
    asked = cast("type[Input]", next(iter(types.values())))
    return StrictTool(
        fn=function,
        name=name,
        title=hints.title,
        description=description,
        parameters={"type": "object"},
        fn_metadata=FuncMetadata(arg_model=ArgModelBase),
        is_async=True,
        context_kwarg=None,
        annotations=hints,
        writes=not hints.read_only_hint,
        on_request=on_request,
        input_model=asked,
        output_model=answer,
    )


class ScopedServer(MCPServer[Any]):
    """Lists and calls only what this caller may use, on both protocol eras."""

    def __init__(
        self,
        *,
        tools: Sequence[StrictTool],
        services: Services,
        caller: Caller,
        **settings: Any,
    ) -> None:
        self.services = services
        self.caller = caller
        self._ours = {tool.name: tool for tool in tools}
        super().__init__(tools=list(self._ours.values()), **settings)

    def _no_such_tool(self, name: str, role: str) -> str:
        said = f"There is no tool {inert(name[:MOST_NAME])!r} for you"
        if name in self._ours:
            said += f": your role is {role}, or your token is narrower. An admin can widen it"
        elif name in RIGHTS:
            said += f": this server does not offer it (cs-mcp serve --tools {name} would)"
        return f"{said}. Call tools/list to see what you may use."

    @property
    def offered(self) -> frozenset[str]:
        """Names of the tools this server has, whoever calls."""
        return frozenset(self._ours)

    async def list_tools(self) -> list[ListedTool]:
        principal = await self.caller.principal()
        for tool in self._ours.values():
            tool.described()
        return [tool for tool in await super().list_tools() if may(principal, tool.name)]

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        try:
            principal = await self.caller.principal()
        except CustomerSuccessError as refused:
            raise ToolError(str(refused)) from refused
        if name not in self._ours or not may(principal, name):
            raise ToolError(self._no_such_tool(name, principal.role.value))
        return await self._ours[name].answer(arguments, Call(principal, self.services, self.offered))
