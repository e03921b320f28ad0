"""Where am I: who the caller is, what day it is there, and how the workspace counts."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime

from cs_mcp.db.overview import Overview
from cs_mcp.db.store import Store
from cs_mcp.domain.accounts.accounts import Band, Stage, Tier
from cs_mcp.domain.contract import Question, View, shown
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.rights import RIGHTS, WriteTier, may


class GetWorkspace(Question):
    pass


class Person(View):
    id: str
    name: str
    email: str
    role: str


class Quarter(View):
    label: str
    starts_on: date
    ends_on: date

    def text(self, nonce: str) -> str:
        return f"{self.label} ({self.starts_on} to {self.ends_on})"


class WorkspaceView(View):
    id: str
    name: str
    me: Person
    on_behalf_of: str | None = None
    reach: str
    may_call: list[str]
    proposes: list[str]
    today: date
    now: datetime
    time_zone: str
    quarter: Quarter
    currency: str
    segments: dict[str, str]
    tiers: list[str]
    stages: list[str]
    bands: list[str]
    people: list[Person]
    counts: dict[str, int | str]
    history_head: int

    def text(self, nonce: str) -> str:
        behalf = f", on behalf of {self.on_behalf_of}" if self.on_behalf_of else ""
        lines = [
            f"# {shown(self.name)} ({self.id})",
            f"You are {shown(self.me.name)} ({self.me.id}), role {self.me.role}{behalf}; you see: {self.reach}.",
            f"Today is {self.today} ({self.time_zone}), {self.quarter.text(nonce)}. Currency {self.currency}.",
            "You may call: " + ", ".join(self.may_call) + ".",
        ]
        if self.proposes:
            lines.append("These writes of yours become proposals a person commits: " + ", ".join(self.proposes) + ".")
        lines += [
            "Segments by ARR: " + "; ".join(f"{name} {rule}" for name, rule in self.segments.items()) + ".",
            f"Tiers: {', '.join(self.tiers)}. Stages: {', '.join(self.stages)}. Bands: {', '.join(self.bands)}.",
            "You see: " + ", ".join(f"{count} {name}" for name, count in self.counts.items()) + ".",
            "People: " + "; ".join(f"{shown(p.name)} ({p.id}, {p.role})" for p in self.people) + ".",
            f"The history stands at {self.history_head} (cursor for list_changes).",
        ]
        return "\n".join(lines)


class Workspaces:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._overview = Overview(store)

    async def get(
        self, principal: Principal, _question: GetWorkspace, *, offered: Collection[str] = RIGHTS
    ) -> WorkspaceView:
        """`offered`: the tools of the server that is asked."""
        profile = await self._store.workspace(principal.workspace)
        found = await self._overview.read(principal)
        calendar, now = profile.calendar, self._store.clock.now()
        today = calendar.today(now)
        quarter = calendar.quarter_of(today)
        bounds = profile.segment_bounds
        people = [Person(id=row["id"], name=row["name"], email=row["email"], role=row["role"]) for row in found.people]
        me = next(
            (person for person in people if person.id == principal.user),
            Person(id=principal.user, name=principal.name, email="", role=principal.role.value),
        )
        proposes = [tier.value for tier in (WriteTier.bulk, WriteTier.money, WriteTier.lifecycle)]
        return WorkspaceView(
            id=principal.workspace,
            name=profile.name,
            me=me,
            on_behalf_of=principal.on_behalf_of,
            reach={"own": "your own book", "team": "your team's books", "workspace": "the whole workspace"}[
                principal.reach.value
            ],
            may_call=[tool for tool in RIGHTS if tool in offered and may(principal, tool)],
            proposes=proposes if principal.is_agent else [],
            today=today,
            now=now,
            time_zone=profile.time_zone,
            quarter=Quarter(label=quarter.label, starts_on=quarter.starts_on, ends_on=quarter.ends_on),
            currency=profile.currency,
            segments={
                "smb": f"below {bounds.smb_below}",
                "mid_market": f"{bounds.smb_below} to {bounds.enterprise_above}",
                "enterprise": f"above {bounds.enterprise_above}",
            },
            tiers=[tier.value for tier in Tier],
            stages=[stage.value for stage in Stage],
            bands=[band.value for band in Band],
            people=people[:50],
            counts={name: "1000+" if count > 1000 else count for name, count in found.counts.items()},
            history_head=found.head,
        )
