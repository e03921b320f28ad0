"""A process that writes until it is killed, and says so: one line before each write, one line after each answer.

`python _writer.py JOB` writes at once; `python _writer.py --fork JOB` stays warm and forks a writer for every line it
reads. Lines go out in one system call each, so a kill leaves no half line.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cs_mcp.db.store import open_store
from cs_mcp.domain.calendar import SystemClock
from cs_mcp.domain.contract import Command
from cs_mcp.domain.errors import CustomerSuccessError
from cs_mcp.domain.identity import Principal
from cs_mcp.services.accounts.accounts import GetAccount, UpdateAccount
from cs_mcp.services.health.health import AddHealthNote
from cs_mcp.services.history.undo import UndoChanges
from cs_mcp.services.wiring import Services
from cs_mcp.services.work.meetings import LogMeeting
from cs_mcp.services.work.tasks import CreateTasks

COMMANDS: dict[str, type[Command]] = {
    c.tool: c for c in (AddHealthNote, CreateTasks, UpdateAccount, LogMeeting, UndoChanges)
}
# What one write of this stream leaves behind when it is whole.
WHOLE = {
    "add_health_note": Counter({("health_note", "created"): 1}),
    "create_tasks": Counter({("task", "created"): 3}),
    "update_account": Counter({("account", "updated"): 1}),
    "log_meeting": Counter(
        {("meeting", "created"): 2, ("contact", "created"): 1, ("health_note", "created"): 1, ("task", "created"): 2}
    ),
    "undo_changes": Counter(
        {("meeting", "removed"): 2, ("contact", "removed"): 1, ("health_note", "removed"): 1, ("task", "removed"): 2}
    ),
}


@dataclass(frozen=True)
class Job:
    """Which store to write to, as whom, from which number on; `retry` is a write that was never answered."""

    url: str
    workspace: str
    member: str
    accounts: list[str]
    seed: int
    retry: dict[str, Any] | None = None


def say(**line: Any) -> None:
    os.write(1, (json.dumps(line) + "\n").encode())


class Stream:
    """Different writes, one after the other, without end."""

    def __init__(self, services: Services, principal: Principal, job: Job) -> None:
        self._services = services
        self._principal = principal
        self._job = job
        self._random = random.Random(job.seed)
        self._meetings: list[str] = []

    async def run(self) -> None:
        if self._job.retry is not None:
            await self._perform(self._job.retry["tool"], self._job.retry["command"])
        number = 0
        while True:
            number += 1
            tool = self._random.choice(list(COMMANDS))
            await self._one(f"{self._job.seed}-{number}", tool)

    async def one_of_each(self) -> None:
        for tool in COMMANDS:
            await self._one(f"{self._job.seed}-{tool}", tool)

    async def _one(self, number: str, tool: str) -> None:
        if tool == "undo_changes" and not self._meetings:
            tool = "log_meeting"
        await self._perform(tool, await self._next(number, tool))

    @staticmethod
    def command(tool: str, given: dict[str, Any]) -> Command:
        return COMMANDS[tool].model_validate_json(json.dumps(given))

    @staticmethod
    def answered(tool: str, command: Command, answer: Any) -> dict[str, Any]:
        return {
            "done": command.idempotency_key,
            "tool": tool,
            "change_id": answer.change_id,
            "already_done": answer.already_done,
            "records": [(change.record, change.id, change.did) for change in answer.changed],
        }

    async def _perform(self, tool: str, given: dict[str, Any]) -> None:
        command = self.command(tool, given)
        say(trying=command.idempotency_key, tool=tool, command=given)
        try:
            answer = await self._services.writes.perform(self._principal, command)
        except CustomerSuccessError as why:
            say(refused=command.idempotency_key, why=str(why))
            return
        if tool == "log_meeting" and not answer.already_done:
            self._meetings.append(answer.change_id)
        say(**self.answered(tool, command, answer))

    async def _next(self, number: str, tool: str) -> dict[str, Any]:
        account = self._random.choice(self._job.accounts)
        given: dict[str, Any] = {"idempotency_key": number, "reason": number}
        today = SystemClock().now().date()
        match tool:
            case "add_health_note":
                given |= {"account": account, "text": f"Seen in {number}: usage fell.", "sentiment": "negative"}
            case "create_tasks":
                given |= {"account": account, "tasks": [{"title": f"Task {n} of {number}"} for n in range(3)]}
            case "update_account":
                view = await self._services.accounts.get(self._principal, GetAccount(account=account, sections=[]))
                given |= {
                    "account": account,
                    "expected_version": view.version,
                    "industry": f"Industry {number}",
                    "custom": {"number": number},
                }
            case "log_meeting":
                given |= {
                    "account": account,
                    "kind": "qbr",
                    "summary": f"Summary of {number}.",
                    "attendees": [{"name": f"Guest {number}", "title": "CFO"}, {"user": "me"}],
                    "health_note": {"text": f"Note of {number}"},
                    "follow_ups": [{"title": f"Follow-up {n} of {number}"} for n in range(2)],
                    "next_meeting": {"kind": "check_in", "on": str(today + timedelta(days=30))},
                }
            case _:
                given |= {"change": self._meetings.pop()}
        return given


async def write(job: Job, *, warming: bool = False) -> None:
    store = await open_store(job.url, pool_size=1)
    services = Services(store, b"a secret for tests")
    principal = await services.identity.by_id(job.workspace, job.member, client="writer")
    assert principal is not None
    stream = Stream(services, principal, job)
    await (stream.one_of_each() if warming else stream.run())
    await store.close()


def serve_forks(job: dict[str, Any]) -> None:
    """Fork a writer for each line read, and say when it is dead.

    One of each write compiles the statements beforehand; at the fork no loop, thread or connection is open.
    """
    asyncio.run(write(Job(**job, seed=0), warming=True))
    gc.collect()
    gc.freeze()
    say(ready=True)
    for line in sys.stdin:
        assert threading.active_count() == 1, threading.enumerate()
        child = os.fork()
        if child == 0:
            asyncio.run(write(Job(**job, **json.loads(line))))
            os._exit(1)
        say(child=child)
        _, status = os.waitpid(child, 0)
        say(dead=child, signal=status & 0x7F)


if __name__ == "__main__":
    if sys.argv[1] == "--fork":
        serve_forks(json.loads(sys.argv[2]))
    else:
        asyncio.run(write(Job(**json.loads(sys.argv[1]))))
