"""Who acts, for whom, and what they may reach. It comes from a verified credential, never from an argument."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from cs_mcp.domain.records import Record


class Role(StrEnum):
    viewer = "viewer"
    csm = "csm"
    account_manager = "account_manager"
    cs_leader = "cs_leader"
    admin = "admin"
    agent = "agent"


class Reach(StrEnum):
    """Whose accounts a person sees. Accounts without an owner are seen by everyone."""

    own = "own"  # owned, on the account team, or covered for a colleague who is away
    team = "team"  # own, and those of everyone who reports to them, however far down
    workspace = "workspace"


DEFAULT_REACH = {
    Role.viewer: Reach.workspace,
    Role.csm: Reach.own,
    Role.account_manager: Reach.own,
    Role.cs_leader: Reach.team,
    Role.admin: Reach.workspace,
    Role.agent: Reach.own,
}


class Scope(StrEnum):
    read = "cs:read"
    write = "cs:write"
    commit = "cs:commit"
    admin = "cs:admin"


EVERY_SCOPE = frozenset(Scope)


class Member(Record):
    """One of us: a person, or an agent of ours."""

    name: str
    email: str
    role: Role
    reach: Reach = Reach.own
    manager_id: str | None = None
    active: bool = True
    cover_id: str | None = None
    cover_from: date | None = None
    cover_to: date | None = None


class Principal(BaseModel):
    """The verified caller. `people` are the members whose books it sees, itself included."""

    model_config = ConfigDict(frozen=True)

    workspace: str
    user: str
    name: str
    role: Role
    reach: Reach
    people: tuple[str, ...]
    scopes: frozenset[Scope] = EVERY_SCOPE
    on_behalf_of: str | None = None
    client: str | None = None
    run: str | None = None

    @property
    def is_agent(self) -> bool:
        return self.role is Role.agent

    @property
    def sees_all(self) -> bool:
        return self.reach is Reach.workspace
