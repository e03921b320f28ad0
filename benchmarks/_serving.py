"""Servers of one run, each in a process of its own, with the bearer tokens to call them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks._http import Caller, Protocol
from benchmarks._stores import Prepared, open_prepared
from cs_mcp.db.read_path import Statement
from cs_mcp.services.identity import Identity

SECRET = "a secret for benchmarks"
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Served:
    """A running server over a prepared store, and who calls it: a leader who sees all, a CSM who sees a book."""

    prepared: Prepared
    port: int
    journal: str
    leader: str
    csm: str
    accounts: list[str]
    of_csm: list[str]

    @property
    def name(self) -> str:
        size = f"{self.prepared.accounts // 1000} k" if self.prepared.accounts >= 1000 else str(self.prepared.accounts)
        return f"{self.prepared.kind} {size}"

    def caller(self, token: str, protocol: Protocol) -> Caller:
        return Caller(self.port, token, protocol)


@asynccontextmanager
async def serving(prepared: Prepared, **settings: str) -> AsyncGenerator[Served, None]:
    """A server with these `CS_MCP_…` settings."""
    async with open_prepared(prepared) as store:
        identity = Identity(store, SECRET.encode())
        workspace = prepared.book.workspace
        tokens = [
            (await identity.create_token(workspace, email=email, label="benchmark", days=2)).text
            for email in (prepared.book.leader, prepared.book.csm)
        ]
        of_csm = await _accounts(store, workspace, prepared.book.csm)
        accounts = await _accounts(store, workspace, None)
        journal = store.journal_mode
    environment = {**os.environ, "CS_MCP_DB": prepared.url, "CS_MCP_SECRET": SECRET, "PYTHONPATH": str(ROOT)}
    environment |= {f"CS_MCP_{name.upper()}": value for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks._server", stdout=asyncio.subprocess.PIPE, env=environment, cwd=ROOT
    )
    assert process.stdout is not None
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), 60))
        yield Served(prepared, port, journal, tokens[0], tokens[1], accounts, of_csm)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _accounts(store: object, workspace: str, owner: str | None) -> list[str]:
    """Ids of all accounts, or of those that one member owns."""
    from sqlalchemy import String, bindparam, select

    from cs_mcp.db.accounts.accounts import AccountRow
    from cs_mcp.db.members import MemberRow
    from cs_mcp.db.store import Store

    assert isinstance(store, Store)
    account, member = AccountRow.__table__, MemberRow.__table__
    found = select(account.c.id).where(account.c.workspace == bindparam("workspace")).order_by(account.c.id)
    if owner is not None:
        whose = select(member.c.id).where(
            member.c.workspace == bindparam("workspace"), member.c.email == bindparam("owner", type_=String)
        )
        found = found.where(account.c.owner_id == whose.scalar_subquery())
    [rows] = await store.reads.run([Statement(lambda: found)], {"workspace": workspace, "owner": owner})
    return [row["id"] for row in rows]
