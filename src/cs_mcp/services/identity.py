"""Who is calling: from a bearer token or from configuration, looked up afresh on every call."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from cs_mcp.config import Settings, data_folder
from cs_mcp.db.authentication import Authentication, add_token, revoke_token
from cs_mcp.db.history.changes import Act
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.db.workspaces import found_workspace
from cs_mcp.domain.errors import Conflict, Invalid, NotAllowed, NotFound, StoreUnusable
from cs_mcp.domain.identity import DEFAULT_REACH, EVERY_SCOPE, Member, Principal, Reach, Role, Scope
from cs_mcp.domain.records import is_id
from cs_mcp.domain.workspaces import Workspace

# cs_<workspace>_<token>_<secret>; the ids' own prefixes are left out, the secret is 256 bits in base 64.
_TOKEN: Final = re.compile(r"cs_([0-9a-z]{18})_([0-9a-z]{18})_([A-Za-z0-9_-]{43})\Z")
COMMAND_LINE: Final = "command line"
LONGEST_TOKEN: Final = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class NewToken:
    """`text` is shown once and stored nowhere."""

    id: str
    text: str
    expires_at: datetime


def token_secret(settings: Settings) -> bytes:
    """The key of the HMAC: from the settings, or one kept beside the data, readable by its owner only."""
    if settings.secret:
        return settings.secret.encode()
    path = data_folder() / "token.key"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = secrets.token_hex(32).encode()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _when_written(path)
    with os.fdopen(handle, "wb") as file:
        file.write(key)
    return key


def _when_written(path: Path) -> bytes:
    # Another process made the file between our two looks; it writes 64 bytes in one call.
    for _ in range(1000):
        if key := path.read_bytes():
            return key
    raise StoreUnusable(f"{path} is empty.", remedy="Remove it, and create the tokens again.")


class Identity:
    """Members, tokens, and the way from a credential to a principal."""

    def __init__(self, store: Store, secret: bytes) -> None:
        self._store = store
        self._secret = secret
        self._reads = Authentication(store)

    # -- credentials to principals ------------------------------------------------------------------------
    async def by_token(self, text: str) -> Principal | None:
        """The caller a bearer token stands for, or None: unknown, wrong, expired, revoked, or of someone inactive."""
        parts = _TOKEN.match(text)
        if parts is None:
            return None
        workspace, token_id, _ = (f"wsp_{parts[1]}", f"tok_{parts[2]}", parts[3])
        row, holder, whose, book = await self._reads.token(workspace, token_id, self._today())
        expected = row["secret_hmac"] if row is not None else "0" * 64
        if not hmac.compare_digest(self._hmac(text), expected) or row is None:
            return None
        if row["revoked_at"] is not None or row["expires_at"] <= self._store.clock.now():
            return None
        if holder is None or whose is None or not (holder["active"] and whose["active"]):
            return None
        return Principal(
            workspace=workspace,
            user=holder["id"],
            name=holder["name"],
            role=Role(holder["role"]),
            reach=Reach(whose["reach"]),
            people=tuple(book),
            scopes=frozenset(Scope(scope) for scope in row["scopes"]),
            on_behalf_of=row["on_behalf_of"],
            client=row["label"],
        )

    def _today(self) -> date:
        return self._store.clock.now().date()

    async def by_id(self, workspace: str, member: str, *, client: str) -> Principal | None:
        """An active member as principal, read afresh."""
        row, book = await self._reads.member(workspace, member, self._today())
        if row is None or not row["active"]:
            return None
        return Principal(
            workspace=workspace,
            user=row["id"],
            name=row["name"],
            role=Role(row["role"]),
            reach=Reach(row["reach"]),
            people=tuple(book),
            client=client,
        )

    async def by_email(self, workspace: str, email: str, *, client: str) -> Principal:
        """The person a stdio server acts as."""
        row = await self._reads.member_by_email(workspace, email)
        principal = await self.by_id(workspace, row["id"], client=client) if row is not None else None
        if principal is None:
            raise NotFound(
                f"No active user of the workspace has the e-mail {email!r}.",
                remedy="Name one with --as or CS_MCP_USER; 'cs-mcp user list' shows them, 'cs-mcp user add' adds one.",
            )
        return principal

    # -- the command line, which acts as the operator of the machine -----------------------------------------
    async def operator(self, workspace: str) -> Principal:
        """The command line's own principal. It reaches the whole workspace: whoever runs it can read the store."""
        return Principal(
            workspace=workspace,
            user="operator",
            name="command line",
            role=Role.admin,
            reach=Reach.workspace,
            people=(),
            client=COMMAND_LINE,
        )

    async def the_workspace(self, wanted: str | None) -> str:
        """The workspace to work in: the one named, or the only one there is."""
        known = await self._store.workspaces()
        if wanted is not None:
            if wanted not in known:
                raise NotFound(
                    f"The store holds no workspace {wanted!r}.",
                    remedy=f"Its workspaces: {', '.join(known) or 'none yet'}.",
                )
            return wanted
        if len(known) == 1:
            return known[0]
        raise StoreUnusable(
            "The store holds no workspace yet." if not known else f"The store holds {len(known)} workspaces.",
            remedy="Create one with 'cs-mcp workspace create NAME'."
            if not known
            else f"Name one with --workspace or CS_MCP_WORKSPACE: {', '.join(known)}.",
        )

    async def found_workspace(self, profile: Workspace | None = None, *, name: str = "My company") -> str:
        """Make a workspace with its profile; on SQLite there is one a file."""
        if self._store.dialect == "sqlite" and await self._store.workspaces():
            raise Conflict(
                "This SQLite store has its workspace already.", remedy="Use another file for another company."
            )
        workspace = self._store.ids.new("workspace")
        profile = profile or Workspace(id=self._store.ids.new("workspace_profile"), name=name)
        principal = await self.operator(workspace)
        async with self._store.unit_of_work(principal, self._act("create_workspace"), profile=False) as work:
            await found_workspace(work.session, workspace)
            work.workspaces.add(profile)
        return workspace

    async def ensure_workspace(self, wanted: str | None = None, *, name: str = "My company") -> str:
        """The workspace to work in, made first where the store has none."""
        if wanted is None and not await self._store.workspaces():
            return await self.found_workspace(name=name)
        return await self.the_workspace(wanted)

    def _act(self, tool: str) -> Act:
        store = self._store
        return Act(
            change_id=store.ids.new("change"), actor_id="operator", tool=tool, at=store.clock.now(), client=COMMAND_LINE
        )

    # -- members and tokens ---------------------------------------------------------------------------------
    async def add_member(
        self,
        workspace: str,
        *,
        name: str,
        email: str,
        role: Role,
        reach: Reach | None = None,
        manager: str | None = None,
    ) -> Member:
        email = email.strip().casefold()
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
            raise Invalid(f"{email!r} is not an e-mail address.", remedy="Give it as name@company.example.")
        if await self._reads.member_by_email(workspace, email) is not None:
            raise Conflict(f"{email} is a user already.", remedy="'cs-mcp user list' shows the users.")
        boss = await self._member_row(workspace, manager) if manager else None
        member = Member(
            id=self._store.ids.new("member"),
            name=name,
            email=email,
            role=role,
            reach=reach or DEFAULT_REACH[role],
            manager_id=boss["id"] if boss else None,
        )
        async with self._store.unit_of_work(await self.operator(workspace), self._act("add_user")) as work:
            work.members.add(member)
        return member

    async def members(self, workspace: str) -> list[Member]:
        async with self._store.unit_of_work(await self.operator(workspace), self._act("list_users")) as work:
            return await work.members.where()

    async def _member_row(self, workspace: str, email: str) -> Row:
        row = await self._reads.member_by_email(workspace, email)
        if row is None:
            raise NotFound(f"No user has the e-mail {email!r}.", remedy="'cs-mcp user list' shows the users.")
        return row

    async def create_token(
        self,
        workspace: str,
        *,
        email: str,
        label: str,
        days: int = 90,
        scopes: frozenset[Scope] = EVERY_SCOPE,
        on_behalf_of: str | None = None,
    ) -> NewToken:
        """A token for a member; an agent's may act for a person, whose book then bounds it."""
        if not 1 <= days <= LONGEST_TOKEN.days:
            raise Invalid(f"A token cannot live {days} days.", remedy="Give 1 to 366 days.")
        member = await self._member_row(workspace, email)
        person = await self._member_row(workspace, on_behalf_of) if on_behalf_of else None
        if person is not None and member["role"] != Role.agent.value:
            raise NotAllowed(
                f"{email} is a person and acts for nobody else.", remedy="Give --for only with an agent's token."
            )
        token = self._store.ids.new("token")
        secret = secrets.token_urlsafe(32)
        text = f"cs_{workspace.removeprefix('wsp_')}_{token.removeprefix('tok_')}_{secret}"
        now = self._store.clock.now()
        expires = now + timedelta(days=days)
        async with self._store.unit_of_work(await self.operator(workspace), self._act("create_token")) as work:
            await add_token(
                work.session,
                {
                    "workspace": workspace,
                    "id": token,
                    "member_id": member["id"],
                    "on_behalf_of": person["id"] if person else None,
                    "label": label,
                    "scopes": sorted(scope.value for scope in scopes),
                    "secret_hmac": self._hmac(text),
                    "created_at": now,
                    "created_by": COMMAND_LINE,
                    "expires_at": expires,
                },
            )
        return NewToken(token, text, expires)

    async def tokens(self, workspace: str) -> list[Row]:
        return await self._reads.tokens(workspace)

    async def revoke_token(self, workspace: str, token: str) -> None:
        if not is_id(token, "token"):
            raise Invalid(f"{token!r} is not a token id.", remedy="'cs-mcp token list' shows the ids (tok_…).")
        operator = await self.operator(workspace)
        async with self._store.unit_of_work(operator, self._act("revoke_token")) as work:
            if not await revoke_token(work.session, operator, token, work.now):
                raise NotFound(f"No live token has the id {token!r}.", remedy="'cs-mcp token list' shows the tokens.")

    def _hmac(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()
