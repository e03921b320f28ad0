"""Prompts, resources and completions beside the tools, each answered as the caller of the request may see it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, Final

from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.shared.exceptions import MCPError
from mcp.shared.uri_template import UriTemplate
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    Completion,
    CompletionArgument,
    CompletionContext,
    GetPromptResult,
    PromptReference,
    ResourceTemplateReference,
)
from mcp_types import Prompt as ListedPrompt
from mcp_types import Resource as ListedResource
from mcp_types import ResourceTemplate as ListedTemplate

from cs_mcp.domain.errors import CustomerSuccessError, NotAllowed, NotFound
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.rights import may
from cs_mcp.domain.text import inert
from cs_mcp.prompts import PROMPTS
from cs_mcp.prompts._prompt import Prompt, choices_of
from cs_mcp.resources import MARKDOWN, PAGES, TEMPLATES, WORKSPACE_PAGES
from cs_mcp.services.completions import Suggestions
from cs_mcp.tools._toolset import ScopedServer

log = logging.getLogger("cs_mcp.server")

SHOWN_INPUT: Final = 120
MOST_COMPLETIONS: Final = 100  # the protocol's own bound
_AS: Final = "get_account"  # a prompt and a record by address read what this tool reads
_PAGES: Final = {page.uri: page for page in PAGES}
_WORKSPACE_PAGES: Final = {page.uri: page for page in WORKSPACE_PAGES}
_PROMPTS: Final = {prompt.name: prompt for prompt in PROMPTS}
_TEMPLATES: Final = [(template, UriTemplate.parse(template.uri_template)) for template in TEMPLATES]


class CustomerSuccessServer(ScopedServer):
    """Everything a client is offered, by overriding public methods of the SDK as `ScopedServer` does for tools."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.completion()(self.complete)

    # -- prompts ------------------------------------------------------------------------------------------------
    async def list_prompts(self) -> list[ListedPrompt]:
        with _in_words("prompts/list"):
            return [prompt.listed() for prompt in PROMPTS] if await self._may_read() else []

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Any = None
    ) -> GetPromptResult:
        with _in_words("prompts/get"):
            principal = await self._reader()
            if name not in _PROMPTS:
                raise NotFound(
                    f"There is no prompt {name[:SHOWN_INPUT]!r}.", remedy=f"Prompts: {', '.join(sorted(_PROMPTS))}."
                )
            return await _PROMPTS[name].render(arguments or {}, principal, self.services)

    # -- resources ----------------------------------------------------------------------------------------------
    async def list_resources(self) -> list[ListedResource]:
        with _in_words("resources/list"):
            own = WORKSPACE_PAGES if await self._may_read() else ()
            return [page.listed() for page in (*PAGES, *own)]

    async def list_resource_templates(self) -> list[ListedTemplate]:
        with _in_words("resources/templates/list"):
            return [template.listed() for template in TEMPLATES] if await self._may_read() else []

    async def read_resource(self, uri: Any, context: Any = None) -> Iterable[ReadResourceContents]:
        address = str(uri)
        with _in_words("resources/read", uri=address):
            return [ReadResourceContents(content=await self._read(address), mime_type=MARKDOWN)]

    async def _read(self, address: str) -> str:
        if address in _PAGES:
            return _PAGES[address].text()
        principal = await self._reader()
        if address in _WORKSPACE_PAGES:
            return await _WORKSPACE_PAGES[address].text(principal, self.services)
        for template, pattern in _TEMPLATES:
            given = pattern.match(address)
            if given is not None:
                texts = {name: value for name, value in given.items() if isinstance(value, str)}
                return await template.text(texts, principal, self.services)
        known = ", ".join([*_PAGES, *_WORKSPACE_PAGES, *(template.uri_template for template in TEMPLATES)])
        # Said here and not as a NotFound, whose words leave without live addresses: these are ours.
        said = f"There is no resource {inert(address[:SHOWN_INPUT])!r}. Resources: {known}."
        raise MCPError(code=INVALID_PARAMS, message=said, data={"uri": address})

    # -- completions --------------------------------------------------------------------------------------------
    async def complete(
        self,
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        with _in_words("completion/complete"):
            if not await self._may_read():
                return Completion(values=[])
            principal = await self.caller.principal()
            chosen = (context.arguments if context is not None else None) or {}
            found = await self._suggested(principal, ref, argument, chosen)
            values = found.values[:MOST_COMPLETIONS]
            more = found.more or len(values) < len(found.values)
            return Completion(values=values, total=None if more else len(values), has_more=more)

    async def _suggested(
        self,
        principal: Principal,
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        chosen: dict[str, str],
    ) -> Suggestions:
        completions, typed = self.services.completions, argument.value[:SHOWN_INPUT]
        if isinstance(ref, PromptReference):
            prompt = _PROMPTS.get(ref.name)
            if prompt is None or argument.name not in prompt.file.arguments:
                return Suggestions([])
            if argument.name == "account":
                return await completions.accounts(principal, typed)
            if argument.name == "contact":
                return await completions.contacts(principal, chosen.get("account", ""), typed)
            return _one_of(prompt, argument.name, typed)
        if ref.uri in {template.uri_template for template in TEMPLATES} and argument.name == "id":
            return await completions.accounts(principal, typed, ids=True)
        return Suggestions([])

    # -- who ----------------------------------------------------------------------------------------------------
    async def _may_read(self) -> bool:
        return may(await self.caller.principal(), _AS)

    async def _reader(self) -> Principal:
        principal = await self.caller.principal()
        if not may(principal, _AS):
            raise NotAllowed("Your credential does not let you read accounts.", remedy="Ask an admin for cs:read.")
        return principal


def _one_of(prompt: Prompt, argument: str, typed: str) -> Suggestions:
    return Suggestions([choice for choice in choices_of(prompt.asked, argument) if choice.startswith(typed)])


@contextmanager
def _in_words(method: str, **data: str) -> Generator[None]:
    """Failures as protocol errors: what is known in its own words, what is not by the id under which the log has it."""
    try:
        yield
    except MCPError:
        raise
    except CustomerSuccessError as known:
        raise MCPError(code=INVALID_PARAMS, message=inert(str(known)), data=data or None) from known
    except Exception as unexpected:
        failure = secrets.token_hex(4)
        log.exception("%s failed, id %s", method, failure)
        raise MCPError(
            code=INTERNAL_ERROR,
            message=f"{method} failed on our side (failure {failure}). Try once more; if it fails again, give the "
            "failure id to whoever runs the server.",
            data=data or None,
        ) from unexpected
