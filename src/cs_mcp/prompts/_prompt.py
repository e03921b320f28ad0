"""A prompt: a Markdown file that instructs, a typed function that computes the brief, and nothing between the two.

The instructions are the file with a handful of ids, days and fixed sentences in it; whatever people wrote stands in the
brief, which travels as an embedded resource of its own.
"""

from __future__ import annotations

import difflib
import json
import secrets
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from string import Template
from typing import Any, Final, Literal, get_args, get_type_hints

from mcp_types import EmbeddedResource, GetPromptResult, PromptMessage, TextContent, TextResourceContents
from mcp_types import Prompt as ListedPrompt
from mcp_types import PromptArgument as ListedArgument
from pydantic import ValidationError

from cs_mcp.domain.contract import Question
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.text import nonce_of
from cs_mcp.services.briefs.views import Brief
from cs_mcp.services.wiring import Services

MARKDOWN: Final = "text/markdown"
FENCE: Final = "+++"  # front matter in TOML
SHOWN_INPUT: Final = 80

Compute = Callable[[Any, Principal, Services], Awaitable[Brief]]


@dataclass(frozen=True)
class PromptFile:
    """One template: what a client lists, and the instructions."""

    name: str
    title: str
    description: str
    arguments: dict[str, str]
    body: Template
    choices: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    @classmethod
    def read(cls, name: str) -> PromptFile:
        text = files("cs_mcp.prompts").joinpath(f"{name}.md").read_text("utf-8")
        _, head, body = text.split(f"{FENCE}\n", 2)
        told = tomllib.loads(head)
        if told["name"] != name:
            raise TypeError(f"{name}.md calls itself {told['name']!r}")
        return cls(body=Template(body.strip() + "\n"), **told)


@dataclass(frozen=True)
class Prompt:
    """A template with the function behind it."""

    file: PromptFile
    asked: type[Question]
    compute: Compute

    @property
    def name(self) -> str:
        return self.file.name

    def listed(self) -> ListedPrompt:
        fields = self.asked.model_fields
        return ListedPrompt(
            name=self.name,
            title=self.file.title,
            description=self.file.description,
            arguments=[
                ListedArgument(name=name, description=said, required=fields[name].is_required())
                for name, said in self.file.arguments.items()
            ],
        )

    def read_arguments(self, given: Mapping[str, str]) -> Question:
        """Arguments from their texts. A blank one is absent: hosts send the fields a person left empty."""
        said = {name: value for name, value in given.items() if value.strip()}
        try:
            return self.asked.model_validate_strings(said, strict=True)
        except ValidationError as wrong:
            raise _in_words(self, wrong) from wrong

    async def render(self, given: Mapping[str, str], principal: Principal, services: Services) -> GetPromptResult:
        """The instructions, then the brief as it stands now.

        Raises what the brief raises, and Invalid for arguments that cannot be read.
        """
        asked = self.read_arguments(given)
        brief = await self.compute(asked, principal, services)
        mark = nonce_of(secrets.token_bytes(4))
        embedded = EmbeddedResource(
            type="resource",
            resource=TextResourceContents(uri=brief.uri, mime_type=MARKDOWN, text=brief.text(mark)),
        )
        told = TextContent(type="text", text=self._instructions(asked, brief, mark))
        return GetPromptResult(
            description=self.file.description,
            messages=[PromptMessage(role="user", content=told), PromptMessage(role="user", content=embedded)],
        )

    def _instructions(self, asked: Question, brief: Brief, mark: str) -> str:
        # Ids, days, the mark, and sentences of the file: nothing here was written by a customer or a caller.
        known = {
            "mark": mark,
            "account_id": brief.account.id,
            "period_start": str(brief.period_start),
            "period_end": str(brief.period_end),
        }
        chosen = {name: sentences[getattr(asked, name)] for name, sentences in self.file.choices.items()}
        return self.file.body.substitute(known | chosen)


def prompt(function: Compute) -> Prompt:
    """Declare a prompt. Its file has the function's name; its arguments are the fields of the function's first type."""
    file = PromptFile.read(function.__name__)
    asked: type[Question] = next(iter(get_type_hints(function).values()))
    if list(file.arguments) != list(asked.model_fields):
        raise TypeError(f"{file.name}.md lists {list(file.arguments)}, the function takes {list(asked.model_fields)}")
    for name, sentences in file.choices.items():
        if set(choices_of(asked, name)) != set(sentences):
            raise TypeError(f"{file.name}.md has other sentences for {name} than the function has choices")
    return Prompt(file, asked, function)


def choices_of(asked: type[Question], name: str) -> tuple[str, ...]:
    """The values of an argument that is one of a few; none for a free one."""
    annotation: Any = asked.model_fields[name].annotation
    return get_args(annotation) if getattr(annotation, "__origin__", None) is Literal else ()


def _in_words(prompt: Prompt, wrong: ValidationError) -> Invalid:
    """What is wrong with each argument, and what would be right."""
    known = list(prompt.file.arguments)
    said: list[str] = []
    for error in wrong.errors(include_url=False)[:8]:
        name = str(error["loc"][0])[:SHOWN_INPUT]
        shown = json.dumps(str(error["input"])[:SHOWN_INPUT], ensure_ascii=False)
        if error["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name.lower(), known, 1, 0.5)
            said.append(f"Unknown argument {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        elif error["type"] == "missing":
            said.append(f"Missing argument {name!r}.")
        elif error["type"].startswith("date"):
            said.append(f"{name}: give a day as YYYY-MM-DD, got {shown}.")
        else:
            said.append(f"{name}: {error['msg'].removeprefix('Value error, ')}, got {shown}.")
    takes = "; ".join(f"{name} ({what})" for name, what in prompt.file.arguments.items())
    return Invalid(" ".join(said), remedy=f"{prompt.name} takes {takes}.")
