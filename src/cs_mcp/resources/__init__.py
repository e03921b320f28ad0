"""What a client may read by address: pages of explanation, the rubric, an account, the briefs behind the prompts."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from typing import Final, get_args

from mcp_types import Resource as ListedResource
from mcp_types import ResourceTemplate as ListedTemplate
from pydantic import TypeAdapter, ValidationError

from cs_mcp.domain.contract import View
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.text import nonce_of
from cs_mcp.services.accounts.accounts import GetAccount
from cs_mcp.services.briefs.briefs import DetractorBrief, QbrBrief
from cs_mcp.services.briefs.views import BriefKind
from cs_mcp.services.health.rubrics import Rubrics
from cs_mcp.services.wiring import Services

MARKDOWN: Final = "text/markdown"
Parameters = Mapping[str, str]
Read = Callable[[Parameters, Principal, Services], Awaitable[View]]


@dataclass(frozen=True)
class ShippedPage:
    """A page that comes with the program and holds nothing of anybody's data."""

    name: str
    title: str
    description: str

    @property
    def uri(self) -> str:
        return f"cs://{self.name}"

    def text(self) -> str:
        return files("cs_mcp.resources").joinpath(f"{self.name}.md").read_text("utf-8")

    def listed(self) -> ListedResource:
        return ListedResource(
            uri=self.uri, name=self.name, title=self.title, description=self.description, mime_type=MARKDOWN
        )


@dataclass(frozen=True)
class WorkspacePage:
    """A page at one address that says what holds in the caller's workspace."""

    uri: str
    name: str
    title: str
    description: str
    read: Read

    def listed(self) -> ListedResource:
        return ListedResource(
            uri=self.uri, name=self.name, title=self.title, description=self.description, mime_type=MARKDOWN
        )

    async def text(self, principal: Principal, services: Services) -> str:
        return (await self.read({}, principal, services)).text(nonce_of(secrets.token_bytes(4)))


@dataclass(frozen=True)
class ReadableRecords:
    """Records by address, as the caller may see them. `read` raises what the same tool would."""

    uri_template: str
    name: str
    title: str
    description: str
    read: Read

    def listed(self) -> ListedTemplate:
        return ListedTemplate(
            uri_template=self.uri_template,
            name=self.name,
            title=self.title,
            description=self.description,
            mime_type=MARKDOWN,
        )

    async def text(self, given: Parameters, principal: Principal, services: Services) -> str:
        return (await self.read(given, principal, services)).text(nonce_of(secrets.token_bytes(4)))


async def _account(given: Parameters, principal: Principal, services: Services) -> View:
    return await services.accounts.get(principal, GetAccount(account=_ref(given["id"])))


async def _rubric(_given: Parameters, principal: Principal, services: Services) -> View:
    return await Rubrics(services.store).page(principal)


async def _brief(given: Parameters, principal: Principal, services: Services) -> View:
    kind, account = given["kind"], _ref(given["id"])
    if kind == "qbr":
        days = {name: _day(name, given[name]) for name in ("period_start", "period_end") if given.get(name)}
        return await services.briefs.qbr(principal, QbrBrief(account=account, **days))
    if kind == "detractor":
        contact = _ref(given["contact"]) if given.get("contact") else None
        return await services.briefs.detractor(principal, DetractorBrief(account=account, contact=contact))
    raise Invalid(f"There is no brief of the kind {kind[:40]!r}.", remedy=f"Kinds: {', '.join(get_args(BriefKind))}.")


def _ref(text: str) -> str:
    if not 1 <= len(text) <= 200:
        raise Invalid(f"{text[:40]!r} names no record.", remedy="Give an id of 1 to 200 characters.")
    return text


_DAY: Final = TypeAdapter(date)


def _day(name: str, text: str) -> date:
    try:
        return _DAY.validate_strings(text, strict=True)
    except ValidationError as wrong:
        raise Invalid(f"{name}: {text[:40]!r} is no day.", remedy="Give it as YYYY-MM-DD.") from wrong


PAGES: Final = (
    ShippedPage("guide", "How this works", "What is kept, how records are named, how writes go and come back."),
    ShippedPage("glossary", "Terms and formulas", "Terms of the field as used here; each metric with its formula."),
)
WORKSPACE_PAGES: Final = (
    WorkspacePage(
        "cs://health/rubric",
        "rubric",
        "Health rubric",
        "How this workspace scores health: measures, points, weights, bands, hard rules. The one in force.",
        _rubric,
    ),
)
TEMPLATES: Final = (
    ReadableRecords(
        "cs://accounts/{id}",
        "account",
        "Account",
        "One account: contract, people, renewal, tasks, meetings, notes. The same as get_account.",
        _account,
    ),
    ReadableRecords(
        "cs://accounts/{id}/brief/{kind}{?period_start,period_end,contact}",
        "brief",
        "Brief on an account",
        "The facts behind a prompt, with ids, days and gaps. Kinds: qbr, detractor.",
        _brief,
    ),
)
