"""A scripted conversation through a real MCP client, printed as a person reads it, and what it must leave behind."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

WIDTH: Final = 118
_ID: Final = re.compile(r"\b([a-z]{3})_[0-9a-z]{15}([0-9a-z]{3})\b")
CUSTOMER: Final = "Globex"
SPONSOR: Final = "Martin Cole"
CHAMPION: Final = "Priya Nair"
REQUEST: Final = "SSO"
FOLLOW_UP: Final = "Send Martin Cole the SSO one-pager"
NAMESAKES: Final = ("Wayfarer Travel", "Maria Silva")
OTHER_CUSTOMER: Final = "Initech"
COLLEAGUES_TAG: Final = "watch-list"
RISK: Final = "CIO holds a competing quote; Gwen Park does not defend us"


class TourBroke(Exception):
    """An answer was not what this turn of the conversation is there to show."""


@dataclass
class Script:
    """The days this conversation speaks of, whatever today is; and the writes it made."""

    today: date
    first_log: str = ""
    undo: str = ""
    second_log: str = ""

    @property
    def yesterday(self) -> date:
        return self.today - timedelta(days=1)

    @property
    def friday(self) -> date:
        """The next Friday, never today: a follow-up needs a day."""
        return self.today + timedelta(days=(4 - self.today.weekday() - 1) % 7 + 1)

    @property
    def leaves_on(self) -> date:
        """The last day of the month after next."""
        month = self.today.month + 2
        return date(self.today.year + month // 12, month % 12 + 1, 1) - timedelta(days=1)


@dataclass
class Voice:
    """One person with a client of their own."""

    name: str
    client: Client
    tell: Callable[[str], None]

    async def says(
        self, words: str, tool: str, arguments: dict[str, Any], *, show: Sequence[str] = (), refused: bool = False
    ) -> dict[str, Any]:
        """Tell what the person says, make the call their assistant would make, tell the answer in short.

        `show` picks the lines of the answer that begin so; without it the first one is told.
        """
        self.tell("\n" + textwrap.fill(f"{self.name}: {words}", WIDTH, subsequent_indent="  "))
        self.tell("  → " + _cut(f"{tool} {json.dumps(arguments, ensure_ascii=False) if arguments else ''}"))
        answer = await self.client.call_tool(tool, arguments)
        text = "\n".join(part.text for part in answer.content if part.type == "text")
        lines = text.splitlines()
        told = [line for line in lines if line.lstrip(" -").startswith(tuple(show))] if show else lines[:1]
        for index, line in enumerate(told):
            self.tell(("  ← " if index == 0 else "    ") + _cut(line, 3 if refused else 1))
        if bool(answer.is_error) != refused:
            raise TourBroke(f"{tool} should have been {'refused' if refused else 'carried out'}, and answered: {text}")
        return answer.structured_content or {"text": text}


def _cut(line: str, rows: int = 1) -> str:
    """One line of the screen, or a few, with ids cut to their ends."""
    return textwrap.shorten(_ID.sub(r"\1_…\2", line), rows * WIDTH, placeholder=" …")


@asynccontextmanager
async def voice(name: str, url: str, token: str, tell: Callable[[str], None]) -> AsyncGenerator[Voice, None]:
    """A person's client, over HTTP with their bearer token."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield Voice(name, client, tell)


async def converse(ana: Voice, lea: Voice) -> Script:
    """The conversation. Its days are counted from today, so it works on any day."""
    here = await ana.says("Who am I here, and what day is it?", "get_workspace", {}, show=["You are", "Today is"])
    script = Script(date.fromisoformat(here["today"]))
    await _the_call(ana, script)
    await _two_of_us(ana, lea)
    return script


async def _the_call(ana: Voice, script: Script) -> None:
    quiet = {"segment": ["enterprise", "mid_market"], "missing": ["executive_sponsor"]}
    found = await ana.says(
        "Which of my larger customers have no executive sponsor?", "find_accounts", quiet, show=[CUSTOMER]
    )
    if CUSTOMER not in [item["name"] for item in found["items"]]:
        raise TourBroke(f"{CUSTOMER} should be among the accounts without a sponsor.")
    await ana.says(
        f"What should I know before I call {CUSTOMER}?",
        "get_account",
        {"account": CUSTOMER},
        show=[f"# {CUSTOMER}", "Owner", "Last touch", "Helena Ford ("],
    )
    month = f"{script.leaves_on:%B}"
    done = await ana.says(
        f"Log my call with {CUSTOMER}: the CFO joined and sponsors us from now on, our champion leaves in {month}, "
        f"they want {REQUEST}; follow up Friday.",
        "log_meeting",
        _the_log(script, script.today),
        show=["Done", "Triggered", FOLLOW_UP],
    )
    script.first_log = done["change_id"]
    await ana.says("What did that change?", "list_changes", {"change": script.first_log}, show=["updated", "created"])
    undone = await ana.says(
        "Oops: the call was yesterday. Take it back.",
        "undo_changes",
        {"change": script.first_log, "reason": "Logged on the wrong day"},
        show=["Done", "updated", "removed"],
    )
    script.undo = undone["change_id"]
    again = _the_log(script, script.yesterday) | {"idempotency_key": f"globex-call-{script.yesterday}"}
    done = await ana.says("Log it again, for yesterday.", "log_meeting", again)
    script.second_log = done["change_id"]
    repeated = await ana.says("(The connection dropped; the assistant sends it once more.)", "log_meeting", again)
    if not repeated.get("already_done") or repeated["change_id"] != script.second_log:
        raise TourBroke("The same key should have given the first answer again.")


def _the_log(script: Script, held_on: date) -> dict[str, Any]:
    return {
        "account": CUSTOMER,
        "kind": "call",
        "held_on": held_on.isoformat(),
        "attendees": [{"user": "me"}, {"contact": SPONSOR}, {"contact": CHAMPION}],
        "summary": f"{SPONSOR} joined for the first time and backs the rollout. {CHAMPION} is leaving. "
        f"Audit wants {REQUEST} before the renewal.",
        "sentiment": "neutral",
        "news": [
            {"contact": SPONSOR, "news": "executive_sponsor", "sentiment": "positive"},
            {"contact": CHAMPION, "news": "leaving", "on": script.leaves_on.isoformat()},
        ],
        "health_note": {"text": "A sponsor won, a champion about to be lost.", "risk": "sponsor"},
        "product_requests": [REQUEST],
        "follow_ups": [{"title": FOLLOW_UP, "due_on": script.friday.isoformat(), "priority": "high"}],
    }


async def _two_of_us(ana: Voice, lea: Voice) -> None:
    head: dict[str, Any] = {"account": OTHER_CUSTOMER, "sections": []}
    read = await ana.says(
        f"How does {OTHER_CUSTOMER} stand?", "get_account", head, show=["# ", "Last touch", "Churn risk"]
    )
    seen = {"account": OTHER_CUSTOMER, "expected_version": read["version"]}
    tagged = seen | {"add_tags": [COLLEAGUES_TAG]}
    await lea.says(f"Put {OTHER_CUSTOMER} on the watch list.", "update_account", tagged, show=["updated account"])
    risk = {"risk_reason": RISK}
    refusal = await ana.says(f"Note the risk on {OTHER_CUSTOMER}: {RISK}.", "update_account", seen | risk, refused=True)
    if "Lea Brandt" not in refusal["text"]:
        raise TourBroke("The refusal should say who changed the account meanwhile.")

    company, name = NAMESAKES
    call = {
        "account": company,
        "kind": "call",
        "attendees": [{"contact": name}],
        "summary": "Asked about the second brand.",
    }
    await ana.says(f"Log a call with {name} at {company}.", "log_meeting", call, refused=True)

    read = await ana.says(f"Back to {OTHER_CUSTOMER}: how is it now?", "get_account", head)
    fresh = seen | risk | {"expected_version": read["version"], "preview": True}
    plan = await ana.says(
        "Show me what noting that risk would change.", "update_account", fresh, show=["Nothing", "updated account"]
    )
    await ana.says("Yes, do it.", "commit_plan", {"plan": plan["plan_id"]}, show=["Done"])
