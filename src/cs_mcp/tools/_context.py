"""What a tool is handed beside its arguments: who calls, and the use cases. Never an argument of the caller's."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from cs_mcp.domain.contract import Command
from cs_mcp.domain.errors import NotAllowed
from cs_mcp.domain.identity import Principal
from cs_mcp.services.wiring import Services


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one tool by one verified caller."""

    principal: Principal
    services: Services
    offered: frozenset[str]  # names of the tools of this server

    async def perform(self, command: Command) -> Any:
        """Carry out a write."""
        return await self.services.writes.perform(self.principal, command)


class Caller(Protocol):
    """Where the caller of the current request comes from."""

    async def principal(self) -> Principal: ...


class FixedCaller:
    """A stdio server's person, looked up afresh on every call: a deactivated user stops at once."""

    def __init__(self, services: Services, workspace: str, member: str) -> None:
        self._services = services
        self._workspace = workspace
        self._member = member

    async def principal(self) -> Principal:
        found = await self._services.identity.by_id(self._workspace, self._member, client="stdio")
        if found is None:
            raise NotAllowed("Your user is no longer active.", remedy="Ask an admin of the workspace.")
        return found


_verified: ContextVar[Principal | None] = ContextVar("verified_principal", default=None)


class VerifiedCaller:
    """An HTTP request's principal, set by the gate that checked its bearer token."""

    async def principal(self) -> Principal:
        found = _verified.get()
        if found is None:
            raise NotAllowed("The request carries no verified caller.", remedy="Send a bearer token.")
        return found


verified = _verified
