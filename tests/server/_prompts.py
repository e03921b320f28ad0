"""Prompts and addresses as a client meets them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference, ResourceTemplateReference

from ._client import Desk

BRIEF = re.compile(r"⟦brief ([0-9a-f]{8}) · [^⟦⟧]*⟧\n(?P<inside>.*)\n⟦end brief \1⟧", re.DOTALL)
QUOTE = re.compile(r"⟦quote ([0-9a-f]{8}) · [^⟦⟧]*⟧\n(?P<inside>[^⟦⟧]*)\n⟦end \1⟧")


@dataclass(frozen=True)
class Rendered:
    """A prompt's two messages."""

    told: str
    brief: str
    uri: str

    @property
    def mark(self) -> str:
        found = BRIEF.fullmatch(self.brief)
        assert found is not None, self.brief[:200]
        return found[1]

    @property
    def inside(self) -> str:
        return BRIEF.fullmatch(self.brief)["inside"]

    @property
    def outside_quotes(self) -> str:
        return QUOTE.sub("", self.inside)

    def section(self, title: str) -> str:
        """What stands under one heading of the brief."""
        _, _, rest = self.brief.partition(f"### {title}")
        assert rest, f"no section {title!r}"
        return re.split(r"\n#|\n⟦end brief", rest, maxsplit=1)[0]

    @property
    def gaps(self) -> str:
        return self.brief.partition("## Missing")[2]


async def rendered(desk: Desk, prompt: str, **arguments: str) -> Rendered:
    answer = await desk.client.get_prompt(prompt, arguments)
    told, data = answer.messages
    assert (told.role, told.content.type, data.role, data.content.type) == ("user", "text", "user", "resource")
    assert data.content.resource.mime_type == "text/markdown"
    return Rendered(told.content.text, data.content.resource.text, str(data.content.resource.uri))


async def prompt_refused(desk: Desk, prompt: str, **arguments: str) -> str:
    with pytest.raises(MCPError) as refusal:
        await desk.client.get_prompt(prompt, arguments)
    return in_words(refusal.value)


async def resource_refused(desk: Desk, uri: str) -> str:
    with pytest.raises(MCPError) as refusal:
        await desk.client.read_resource(uri)
    return in_words(refusal.value)


def in_words(failure: MCPError) -> str:
    assert failure.error.code == -32602, failure
    return failure.error.message


async def read(desk: Desk, uri: str) -> str:
    [content] = (await desk.client.read_resource(uri)).contents
    assert (content.mime_type, str(content.uri)) == ("text/markdown", uri)
    return content.text


async def completed(client: Client, of: str, argument: str, typed: str, **chosen: str) -> list[str]:
    """Values for an argument of a prompt, or of a template where `of` is an address."""
    ref: Any = PromptReference(name=of) if "://" not in of else ResourceTemplateReference(uri=of)
    answer = await client.complete(ref, {"name": argument, "value": typed}, context_arguments=chosen or None)
    return list(answer.completion.values)
