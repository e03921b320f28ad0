"""People of a team at work on one store, and ways to look past them at what the store holds."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import URL, func, select

from conftest import Team
from cs_mcp.db.base import Base
from cs_mcp.db.history.changes import CHANGES, PAYLOADS, Act
from cs_mcp.db.store import Store
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.db.workspaces import HEADS
from cs_mcp.domain.contract import Command
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind
from cs_mcp.domain.work.meetings import MeetingKind
from cs_mcp.services.accounts.accounts import CreateAccount, FindAccounts, GetAccount, UpdateAccount
from cs_mcp.services.accounts.views import AccountPage, AccountView
from cs_mcp.services.health.health import AddHealthNote
from cs_mcp.services.history.changes import ChangePage, CommitPlan, ListChanges
from cs_mcp.services.history.undo import UndoChanges
from cs_mcp.services.wiring import Services
from cs_mcp.services.work.meetings import LogMeeting
from cs_mcp.services.work.tasks import CreateTasks, NewTask, UpdateTask

Entry = dict[str, Any]


@dataclass(frozen=True)
class Desk:
    """One caller at work."""

    services: Services
    principal: Principal

    @property
    def id(self) -> str:
        return self.principal.user

    @property
    def name(self) -> str:
        return self.principal.name

    def in_run(self, run: str) -> Desk:
        return Desk(self.services, self.principal.model_copy(update={"run": run}))

    async def do(self, command: Command) -> Any:
        return await self.services.writes.perform(self.principal, command)

    # -- writes ---------------------------------------------------------------------------------------------
    async def opens(self, name: str, **fields: Any) -> str:
        """Create an account; its id."""
        return (await self.do(CreateAccount(name=name, **fields))).record.id

    async def updates(self, account: str, *, version: int | None = None, **fields: Any) -> Any:
        """Update an account at `version`, or at the one it has now."""
        known = version or (await self.sees(account)).version
        return await self.do(UpdateAccount(account=account, expected_version=known, **fields))

    async def notes(self, account: str, text: str, **fields: Any) -> Any:
        return await self.do(AddHealthNote(account=account, text=text, **fields))

    async def meets(self, account: str, summary: str = "We met.", **fields: Any) -> Any:
        told: dict[str, Any] = {"kind": MeetingKind.check_in} | fields
        return await self.do(LogMeeting(account=account, summary=summary, **told))

    async def plans_work(self, account: str, *titles: str, **fields: Any) -> Any:
        return await self.do(CreateTasks(account=account, tasks=[NewTask(title=t) for t in titles], **fields))

    async def updates_task(self, task: str, version: int, **fields: Any) -> Any:
        return await self.do(UpdateTask(task=task, expected_version=version, **fields))

    async def undoes(self, change: str | None = None, **fields: Any) -> Any:
        return await self.do(UndoChanges(change=change, **fields))

    async def commits(self, plan: str, **fields: Any) -> Any:
        return await self.services.changes.decide(self.principal, CommitPlan(plan=plan, **fields))

    async def declines(self, plan: str, reason: str | None, **fields: Any) -> Any:
        return await self.commits(plan, decision="decline", reason=reason, **fields)

    # -- reads ----------------------------------------------------------------------------------------------
    async def sees(self, account: str, **fields: Any) -> AccountView:
        return await self.services.accounts.get(self.principal, GetAccount(account=account, **fields))

    async def finds(self, **fields: Any) -> AccountPage:
        return await self.services.accounts.find(self.principal, FindAccounts(**fields))

    async def found_names(self, **fields: Any) -> list[str]:
        return [line.name for line in (await self.finds(**fields)).items]

    async def changes(self, **fields: Any) -> ChangePage:
        return await self.services.changes.list(self.principal, ListChanges(**fields))


async def desk(team: Team, name: str) -> Desk:
    return Desk(team.services, await team.principal(name))


async def agent_of(team: Team, person: str) -> Desk:
    """The team's agent with a token to act for `person`."""
    principal = await team.services.identity.by_token(await team.token("bot", on_behalf_of=person))
    assert principal is not None
    return Desk(team.services, principal)


# -- writing past the use cases, but through the record -------------------------------------------------------


@asynccontextmanager
async def unit(store: Store, principal: Principal, tool: str = "a test") -> AsyncGenerator[UnitOfWork, None]:
    act = Act(change_id=store.ids.new("change"), actor_id=principal.user, tool=tool, at=store.clock.now())
    async with store.unit_of_work(principal, act) as work:
        yield work


async def post_arr(store: Store, team: Team, account: str, amount_minor: int, on: date) -> str:
    """A movement of the account's ARR; the change_id of the write."""
    async with unit(store, await team.services.identity.operator(team.workspace), "post_arr") as work:
        work.movements.add(
            ArrMovement(
                id=work.ids.new("arr_movement"),
                account_id=account,
                on=on,
                kind=MovementKind.new if amount_minor > 0 else MovementKind.contraction,
                amount_minor=amount_minor,
                currency="USD",
            )
        )
        return work.act.change_id


# -- what the store holds, read without the code under test ---------------------------------------------------


async def rows_of(store: Store, workspace: str, table: Any, *order: str) -> list[dict[str, Any]]:
    """All rows of a workspace's table, in order."""
    wanted = select(table).where(table.c.workspace == workspace).order_by(*(table.c[name] for name in order))
    async with store.writer.connect() as connection:
        if store.dialect == "postgresql":
            await connection.execute(select(func.set_config("app.workspace", workspace, True)))
        found = await connection.execute(wanted)
        return [dict(row) for row in found.mappings()]


async def history_of(store: Store, team: Team) -> list[Entry]:
    """Every entry with its payload, in order."""
    entries = await rows_of(store, team.workspace, CHANGES, "seq")
    payloads = {row["seq"]: row for row in await rows_of(store, team.workspace, PAYLOADS, "seq")}
    return [entry | {name: payloads[entry["seq"]][name] for name in ("before", "after", "salt")} for entry in entries]


async def entries_of(store: Store, team: Team, change: str) -> list[Entry]:
    return [entry for entry in await history_of(store, team) if entry["change_id"] == change]


async def head_of(store: Store, team: Team) -> dict[str, Any]:
    [head] = await rows_of(store, team.workspace, HEADS)
    return head


async def everything_of(store: Store, team: Team) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table that belongs to the team's workspace."""
    return {
        name: await rows_of(store, team.workspace, table, *(c.name for c in table.primary_key))
        for name, table in Base.metadata.tables.items()
        if "workspace" in table.c
    }


def owner_url(store: Store) -> URL:
    return store.where.url.set(username="postgres")


async def as_owner(store: Store, statement: str) -> None:
    """Run SQL as who owns the store: behind every wall and guard."""
    if store.where.is_sqlite:
        with sqlite3.connect(store.where.path, timeout=30) as connection:
            connection.execute(statement)
        connection.close()
        return
    import asyncpg

    connection = await asyncpg.connect(owner_url(store).render_as_string(hide_password=False))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
