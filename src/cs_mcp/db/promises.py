"""What the store keeps of a call beside its effect: the answer to a key, and the plan of a previewed write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    String,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from cs_mcp.db.base import Base, Id, Instant, Json
from cs_mcp.db.read_path import Statement
from cs_mcp.db.wire import Wire
from cs_mcp.domain.errors import Conflict, NotFound
from cs_mcp.domain.plans import Plan, PlanState

ANSWERS_KEPT: Final = timedelta(days=30)

IDEMPOTENCY: Final = Table(
    "idempotency",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("actor_id", Id, primary_key=True),
    Column("tool", String(48), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("arguments_hash", String(64), nullable=False),
    Column("answer", Json),
    Column("at", Instant, nullable=False),
    Index("ix_idempotency_at", "workspace", "at"),
)

PLANS: Final = Table(
    "plan",
    Base.metadata,
    Column("workspace", Id, primary_key=True),
    Column("id", Id, primary_key=True),
    Column("tool", String(48), nullable=False),
    Column("arguments", Json, nullable=False),
    Column("arguments_hash", String(64), nullable=False),
    Column("proposal", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("made_by", Id, nullable=False),
    Column("on_behalf_of", Id),
    Column("made_at", Instant, nullable=False),
    Column("made_at_seq", BigInteger, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("differences", Json, nullable=False),
    Column("accounts", Json, nullable=False),
    Column("reason", Text),
    Column("decided_by", Id),
    Column("decided_at", Instant),
    Column("decision_reason", Text),
    Index("ix_plan_state", "workspace", "state", "id"),
)


def _the_key() -> tuple[Any, ...]:
    c = IDEMPOTENCY.c
    return (
        c.workspace == bindparam("of_workspace"),
        c.actor_id == bindparam("of_actor"),
        c.tool == bindparam("of_tool"),
        c.key == bindparam("of_key"),
    )


# The row goes in first, so a concurrent twin waits on the unique key and then finds our answer.
def _claim() -> Any:
    # Each store's own insert, imported only where it is used: a dialect costs start-up time.
    from sqlalchemy.dialects.sqlite import insert as insert_once

    return insert_once(IDEMPOTENCY).on_conflict_do_nothing().returning(IDEMPOTENCY.c.key)


def _claim_on_postgresql() -> Any:
    from sqlalchemy.dialects.postgresql import insert as insert_once

    return insert_once(IDEMPOTENCY).on_conflict_do_nothing().returning(IDEMPOTENCY.c.key)


_CLAIM: Final = {"postgresql": Statement(_claim_on_postgresql), "sqlite": Statement(_claim)}
_EARLIER: Final = Statement(lambda: select(IDEMPOTENCY.c.arguments_hash, IDEMPOTENCY.c.answer).where(*_the_key()))
_KEEP: Final = Statement(
    lambda: update(IDEMPOTENCY).where(*_the_key()).values(answer=bindparam("new_answer", type_=Json))
)
_FORGET: Final = Statement(
    lambda: delete(IDEMPOTENCY).where(
        IDEMPOTENCY.c.workspace == bindparam("of_workspace"), IDEMPOTENCY.c.at < bindparam("before", type_=Instant)
    )
)


class Answers:
    """Idempotency records: same key and arguments give the first answer again."""

    def __init__(self, wire: Callable[[], Awaitable[Wire]], workspace: str, actor: str) -> None:
        self._wire = wire
        self._workspace = workspace
        self._actor = actor

    def _key(self, tool: str, key: str) -> dict[str, Any]:
        return {"of_workspace": self._workspace, "of_actor": self._actor, "of_tool": tool, "of_key": key}

    async def claim(self, tool: str, key: str, arguments_hash: str, now: datetime) -> dict[str, Any] | None:
        """Take the key, or give the answer of the call that took it."""
        wire = await self._wire()
        row = {
            "workspace": self._workspace,
            "actor_id": self._actor,
            "tool": tool,
            "key": key,
            "arguments_hash": arguments_hash,
            "answer": None,
            "at": now,
        }
        if await wire.rows(_CLAIM[wire.dialect.name], row):
            return None
        [earlier] = await wire.rows(_EARLIER, self._key(tool, key))
        if earlier["arguments_hash"] != arguments_hash:
            raise Conflict(
                f"The idempotency key {key!r} was used before for {tool} with other arguments. Nothing was done.",
                remedy="Repeat the first call exactly to get its answer, or use a new key for a new write.",
            )
        return earlier["answer"]

    async def keep(self, tool: str, key: str, answer: Mapping[str, Any]) -> None:
        await (await self._wire()).many(_KEEP, [self._key(tool, key) | {"new_answer": dict(answer)}])

    async def forget_old(self, now: datetime) -> None:
        """Drop answers past the thirty days they are kept."""
        given = {"of_workspace": self._workspace, "before": now - ANSWERS_KEPT}
        await (await self._wire()).many(_FORGET, [given])


class Plans:
    """Previewed writes, each good for one commit."""

    def __init__(self, session: AsyncSession, workspace: str) -> None:
        self._session = session
        self._workspace = workspace

    async def add(self, plan: Plan, accounts: list[str]) -> None:
        values = plan.model_dump() | {"state": plan.state.value, "accounts": accounts}
        await self._session.execute(insert(PLANS).values(workspace=self._workspace, **values))

    async def get(self, plan_id: str) -> tuple[Plan, list[str]]:
        """The plan, and the accounts it touches."""
        found = (
            (
                await self._session.execute(
                    select(PLANS).where(PLANS.c.workspace == self._workspace, PLANS.c.id == plan_id)
                )
            )
            .mappings()
            .one_or_none()
        )
        if found is None:
            raise no_such_plan(plan_id)
        return Plan.model_validate({name: found[name] for name in Plan.model_fields}), found["accounts"]

    async def decide(self, plan_id: str, state: PlanState, *, by: str, now: datetime, reason: str | None) -> None:
        """Close an open plan, once: of two concurrent decisions the second finds it closed."""
        mine = (PLANS.c.workspace == self._workspace, PLANS.c.id == plan_id)
        done = await self._session.execute(
            update(PLANS)
            .where(*mine, PLANS.c.state == PlanState.open.value, PLANS.c.expires_at > now)
            .values(state=state.value, decided_by=by, decided_at=now, decision_reason=reason)
            .returning(PLANS.c.id)
        )
        if done.scalar_one_or_none() is not None:
            return
        plan, _ = await self.get(plan_id)
        again = "Preview the write again if it is still wanted."
        if plan.state is PlanState.open:
            raise Conflict(f"The plan {plan_id} expired at {plan.expires_at:%Y-%m-%d %H:%M} UTC.", remedy=again)
        raise Conflict(
            f"The plan {plan_id} was {plan.state.value} already. Nothing was done.",
            remedy=f"Call list_changes to see what was done. {again}",
        )


def no_such_plan(plan_id: str) -> NotFound:
    return NotFound(
        f"No plan has the id {plan_id!r}, or it is not yours to decide.",
        remedy="Call list_changes with state 'proposed' to see the plans that wait for you.",
    )
