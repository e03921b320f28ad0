"""What a task is: the words, the caller that does it right, and what must be true afterwards."""

from __future__ import annotations

import inspect
import json
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from mcp import Client

from evals._answer import mentioned, said_in
from evals._world import Row, World, days

Door = Callable[[str], AbstractAsyncContextManager[Client]]


class CallerFailed(Exception):
    """A call of the scripted caller was refused, or was not where a refusal was the point."""


@dataclass
class Hands:
    """What a caller has: the tools, through the protocol, and the days people speak of."""

    client: Client
    today: date
    door: Door
    calls: list[str] = field(default_factory=list[str])

    @asynccontextmanager
    async def as_(self, person: str) -> AsyncGenerator[Hands, None]:
        """A colleague at a client of their own; their calls count among the task's."""
        async with self.door(person) as client:
            yield Hands(client, self.today, self.door, self.calls)

    def __getattr__(self, name: str) -> date:
        try:
            return days(self.today)[name]
        except KeyError:
            raise AttributeError(name) from None

    async def call(self, tool: str, **arguments: Any) -> Any:
        """The structured answer of a call that must go through. Days may be given as dates."""
        refused, data, text = await self._call(tool, arguments)
        if refused:
            raise CallerFailed(f"{tool} was refused: {text}")
        return data

    async def text(self, tool: str, **arguments: Any) -> str:
        """What a model reads of the answer."""
        refused, _, text = await self._call(tool, arguments)
        if refused:
            raise CallerFailed(f"{tool} was refused: {text}")
        return text

    async def refused(self, tool: str, **arguments: Any) -> str:
        """The words of a refusal."""
        refused, _, text = await self._call(tool, arguments)
        if not refused:
            raise CallerFailed(f"{tool} should have been refused, and went through: {text}")
        return text

    async def version(self, account: str) -> int:
        """The version of an account, as one reads it before changing it."""
        return (await self.call("get_account", account=account, sections=[]))["version"]

    async def _call(self, tool: str, arguments: dict[str, Any]) -> tuple[bool, Any, str]:
        self.calls.append(tool)
        answer = await self.client.call_tool(tool, _plain(arguments))
        text = "\n".join(part.text for part in answer.content if part.type == "text")
        return bool(answer.is_error), answer.structured_content or {}, text


@dataclass
class Stagehand(Hands):
    """Hands that set a task's scene. `person` in `as_` does by tool what a tool does; `sql` arranges the rest."""

    file: Path = Path()
    load: Callable[[Mapping[str, str]], Awaitable[None]] | None = None

    def sql(self, statement: str, **given: Any) -> None:
        """Arrange what no tool writes, straight in the store's file."""
        with closing(sqlite3.connect(self.file)) as store, store:
            store.execute(statement, given)

    async def imports(self, **files: str) -> None:
        """Import CSV files, by their names without the ending, as the machine's operator."""
        assert self.load is not None
        await self.load(files)


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: _plain(held) for key, held in value.items()}
    return [_plain(held) for held in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class After:
    """What a check sees: the store before and after, and what the person was told."""

    before: World
    now: World
    answer: str

    @property
    def entries(self) -> list[Row]:
        """What the task wrote to the history."""
        return self.now.entries_after(self.before.head())

    @property
    def is_one_write(self) -> bool:
        return len({entry["change_id"] for entry in self.entries}) == 1

    def tells(self, *facts: object) -> bool:
        """Whether the answer holds every fact, whatever its case, spacing, thousands separators and way with days."""
        return all(said_in(self.answer, fact) for fact in facts)

    def tells_one_of(self, *facts: object) -> bool:
        return any(said_in(self.answer, fact) for fact in facts)

    def names_just(self, accounts: Iterable[str]) -> bool:
        """Whether of all accounts the answer names these and no other."""
        every = self.before.values("select name from account where removed_at is null")
        return mentioned(self.answer, every) == {*accounts}

    def new(self, table: str, account: str) -> list[Row]:
        """Rows of an account that were not there before, oldest first."""
        known = {row["id"] for row in self.before.of_account(table, account)}
        return [row for row in self.now.of_account(table, account) if row["id"] not in known]

    def is_undone(self, **whose: str) -> bool:
        """Whether everything of a write (`change_id`) or a run (`run_id`) is taken back: what it made is gone, and
        what it changed holds what it held."""
        [(column, value)] = whose.items()
        entries = [entry for entry in self.before.entries_after(0) if entry[column] == value]
        return bool(entries) and all(map(self._is_back, entries))

    def _is_back(self, entry: Row) -> bool:
        row = self.now.one(f"select * from {entry['entity']} where id = :id", id=entry["entity_id"])
        if entry["kind"] == "created":
            return row["removed_at"] is not None
        held = {
            name: json.loads(row[name]) if isinstance(was, list | dict) else row[name]
            for name, was in entry["before"].items()
        }
        return held == entry["before"]

    def fields_of(self, record: str) -> set[str]:
        """The fields of a record that the task wrote."""
        return {name for entry in self.entries if entry["entity_id"] == record for name in entry["fields"]}


Checks = Iterable[tuple[str, bool]]
Scripted = Callable[[Hands], Awaitable[str | None]]
Setting = Callable[[Stagehand], Awaitable[None]]


@dataclass(frozen=True)
class Task:
    """One task.

    `says` may name days in braces ({friday}). `then` are the words of colleagues, by their key, once that is done.
    `touches` names the accounts whose records may change: () for a question, which must write nothing; None where the
    check itself says which. `given` sets the scene before anybody speaks.
    """

    name: str
    says: str
    person: str
    touches: tuple[str, ...] | None
    caller: Scripted
    check: Callable[[After], Checks]
    then: Mapping[str, str]
    given: Setting | None

    @property
    def people(self) -> tuple[str, ...]:
        return (self.person, *self.then)

    def words(self, today: date) -> dict[str, str]:
        """What each person says, by their key."""
        spoken = {name: f"{day:%A %-d %B %Y}" for name, day in days(today).items()}
        return {who: says.format(**spoken) for who, says in {self.person: self.says, **self.then}.items()}

    def verdict(self, after: After) -> list[tuple[str, bool]]:
        """Each claim and whether it holds; the last ones are the same for every task."""
        claims: list[tuple[str, bool]] = []
        try:
            claims.extend(self.check(after))
        except Exception as odd:  # a store that an assistant left in a way nobody thought of
            claims.append((f"the store can be checked ({type(odd).__name__}: {odd})", False))
        return [*claims, *self._bystanders(after)]

    def _bystanders(self, after: After) -> Checks:
        entries = after.entries
        if self.touches == ():
            yield "nothing was written", entries == []
        elif self.touches is not None:
            named = ", ".join(f":a{n}" for n in range(len(self.touches)))
            allowed = after.now.values(
                f"select id from account where name in ({named})",  # names of this repository's own tasks
                **{f"a{n}": name for n, name in enumerate(self.touches)},
            )
            yield "something was written", entries != []
            yield f"nothing but {', '.join(self.touches)} was touched", {e["account_id"] for e in entries} <= {*allowed}
        keys = {f"p{n}": f"{person}@%" for n, person in enumerate(self.people)}
        ours = after.now.values(
            f"select id from member where {' or '.join(f'email like :{key}' for key in keys)}", **keys
        )
        yield "all is written under the name of who asked", {e["actor_id"] for e in entries} <= {*ours}
        yield "the history grew at its end only", after.now.head() - after.before.head() == len(entries)


TASKS: Final[dict[str, Task]] = {}


def task(
    says: str,
    *,
    check: Callable[[After], Checks],
    person: str = "ana",
    touches: tuple[str, ...] | None = (),
    then: Mapping[str, str] | None = None,
    given: Setting | None = None,
) -> Callable[[Scripted], Scripted]:
    """Enter a scripted caller as the task of its name."""

    def enter(caller: Scripted) -> Scripted:
        name = caller.__name__  # type: ignore[attr-defined]
        if name in TASKS:
            raise ValueError(f"two tasks are called {name}")
        after = {who: _one_line(words) for who, words in (then or {}).items()}
        TASKS[name] = Task(name, _one_line(says), person, touches, caller, check, after, given)
        return caller

    return enter


def _one_line(words: str) -> str:
    return inspect.cleandoc(words).replace("\n", " ")
