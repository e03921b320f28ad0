"""One write end to end: key, checks, rows, change entries, answer, commit. Every write comes through here.

A use case is a handler: it gets a unit of work and a command, changes records through repositories, flushes, and
returns what it did. It knows nothing of keys, plans, previews or proposals.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cs_mcp.db.base import REMEMBERED
from cs_mcp.db.failures import is_transient, refused_by_the_store
from cs_mcp.db.history.changes import Act, Captured
from cs_mcp.db.history.tellings import told_within
from cs_mcp.db.store import Store
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.contract import Command, FieldChange, Item, LeftOut, RecordChange, View, Written
from cs_mcp.domain.errors import Conflict, NotAllowed
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.plans import PERSON_PLAN_LIVES, PROPOSAL_LIVES, Plan, PlanState
from cs_mcp.domain.rights import Touched, may, needs_a_plan, tiers_of
from cs_mcp.domain.text import Trust, clean_text, defang
from cs_mcp.services.history.tellings import told, wanted

ATTEMPTS = 6
WAITED_SECONDS = 20  # a driver waits for a lock itself; who waited this long is told rather than kept waiting
SHOWN_VALUE = 300
SHOWN_RECORDS = 40


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a handler did: the main record as a view, items of a batch, and what it set off."""

    record: View | None = None
    items: list[Item] = field(default_factory=list[Item])
    triggered: list[str] = field(default_factory=list[str])
    next: str | None = None


CommandT = TypeVar("CommandT", bound=Command)
ResultT = TypeVar("ResultT")
Handler = Callable[[UnitOfWork, Any], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class UseCase:
    command: type[Command]
    handler: Handler
    answer: type[Written[Any]]


async def whole(unit: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Run a unit of work, and again where the store asks for it: a deadlock, a concurrent version, a busy file."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await unit()
        except Exception as failure:
            if is_transient(failure) and attempt < ATTEMPTS and loop.time() - begun < WAITED_SECONDS:
                await asyncio.sleep(0.005 * 2**attempt * (0.5 + secrets.randbelow(1000) / 1000))
                continue
            if (refusal := refused_by_the_store(failure)) is not None:
                raise refusal from failure
            raise
    raise AssertionError("unreachable")


class Writes:
    """Carries out commands. `use_cases` is filled at wiring; a plan names its use case by the tool."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._use_cases: dict[str, UseCase] = {}

    def register(self, command: type[CommandT], handler: Handler, answer: type[Written[Any]]) -> None:
        self._use_cases[command.tool] = UseCase(command, handler, answer)

    def use_case(self, tool: str) -> UseCase:
        return self._use_cases[tool]

    async def perform(self, principal: Principal, command: Command, *, plan: Plan | None = None) -> Any:
        """Carry out, preview or propose one command, and give its answer.

        Runs the whole unit again where the store asks for it, never a part.
        """
        refuse_unless_allowed(principal, command.tool)
        use_case = self.use_case(command.tool)
        act = self._act(principal, command, plan)
        return await whole(lambda: self._once(principal, command, use_case, act, plan))

    def _act(self, principal: Principal, command: Command, plan: Plan | None) -> Act:
        return Act(
            change_id=self.store.ids.new("change"),
            actor_id=principal.user,
            tool=command.tool,
            at=self.store.clock.now(),
            on_behalf_of=principal.on_behalf_of,
            client=principal.client,
            reason=command.why,
            run_id=principal.run,
            plan_id=plan.id if plan is not None else None,
            undoes=command.undoes,
        )

    async def _once(
        self, principal: Principal, command: Command, use_case: UseCase, act: Act, plan: Plan | None
    ) -> Any:
        async with self.store.unit_of_work(principal, act) as work:
            key = command.idempotency_key
            claims = key is not None and not command.preview
            if claims:
                assert key is not None
                earlier = await work.answers.claim(command.tool, key, command.arguments_hash(), work.now)
                if earlier is not None:
                    return use_case.answer.model_validate(earlier | {"already_done": True})
            if plan is not None:
                await work.plans.decide(plan.id, PlanState.committed, by=principal.user, now=work.now, reason=None)
                if not command.skips_moved:
                    await _refuse_moved(work, plan)
            answer = await self._effect(work, command, use_case, plan)
            if claims:
                assert key is not None
                await work.answers.keep(command.tool, key, answer.model_dump(mode="json", exclude_none=True))
            return answer

    async def _effect(self, work: UnitOfWork, command: Command, use_case: UseCase, plan: Plan | None) -> Any:
        principal, policy = work.principal, work.workspace.people_preview
        previewed = command.preview or command.always_planned
        may_only_plan = plan is None and (previewed or principal.is_agent or bool(policy))
        if not may_only_plan:
            outcome = await use_case.handler(work, command)
            await work.flush()
            if plan is None and needs_a_plan(principal, _tiers(work.changes), policy):
                raise NeedsPreview(command.tool)
            if plan is not None:
                await _refuse_strayed(work, plan)
            return await self._done(work, use_case, outcome)
        # In a savepoint, so that a preview leaves nothing behind but its plan.
        async with work.savepoint() as savepoint:
            outcome = await use_case.handler(work, command)
            await work.flush()
            planned = previewed or needs_a_plan(principal, _tiers(work.changes), policy)
            if not planned or not work.changes:
                return await self._done(work, use_case, outcome)
            touched = list(work.changes)
            await savepoint.undo()
        return await self._plan(work, command, use_case, outcome, touched)

    async def _done(self, work: UnitOfWork, use_case: UseCase, outcome: Outcome) -> Any:
        changed = [record_change(entry) for entry in work.changes[:SHOWN_RECORDS]]
        # The answer's record names its account; a lookup for that alone would slow every write.
        known = await told_within(work, wanted(changed, accounts=False))
        return use_case.answer(
            changed=told(changed, known),
            left_out=_beyond(work.changes, f"list_changes with change {work.act.change_id}"),
            record=outcome.record,
            items=outcome.items,
            triggered=outcome.triggered,
            change_id=work.act.change_id if work.changes else None,
            next=outcome.next,
        )

    async def _plan(
        self, work: UnitOfWork, command: Command, use_case: UseCase, outcome: Outcome, touched: list[Captured]
    ) -> Any:
        principal = work.principal
        differences = [record_change(entry) for entry in touched]
        proposal = principal.is_agent
        plan = Plan(
            id=work.ids.new("plan"),
            tool=command.tool,
            arguments=command.arguments(),
            arguments_hash=command.arguments_hash(),
            proposal=proposal,
            state=PlanState.open,
            made_by=principal.user,
            on_behalf_of=principal.on_behalf_of,
            made_at=work.now,
            made_at_seq=await work.head_seq(),
            expires_at=work.now + (PROPOSAL_LIVES if proposal else PERSON_PLAN_LIVES),
            # Records the plan would create have no history yet, so only what it would change is checked at commit.
            differences=[
                change.model_dump(mode="json") | {"created": entry.before is None, "account_id": change.account_id}
                for change, entry in zip(differences, touched, strict=True)
            ],
            reason=command.why,
        )
        told_differences = told(differences[:SHOWN_RECORDS], await told_within(work, wanted(differences)))
        born = {entry.entity_id for entry in touched if entry.before is None}
        accounts = sorted({e.account_id for e in touched if e.account_id is not None and e.account_id not in born})
        await work.plans.add(plan, accounts)
        return use_case.answer(
            plan_id=plan.id,
            proposal=proposal,
            expires_at=plan.expires_at,
            differences=told_differences,
            left_out=_beyond(differences, "list_changes with state 'proposed'"),
            would_trigger=outcome.triggered,
            items=outcome.items,
        )


async def _refuse_moved(work: UnitOfWork, plan: Plan) -> None:
    """A plan is bound to the fields it touches: whoever changed one of them meanwhile comes first."""
    for record, how in (await moved_since(work, plan)).items():
        raise Conflict(
            f"{record} changed since the plan was made: {how}. Nothing was done; the plan stays open.",
            remedy="Preview the write again to see the differences as they are now.",
        )


async def moved_since(work: UnitOfWork, plan: Plan) -> dict[str, str]:
    """Records of which someone set a planned field since the plan was made, and who did what; latest first."""
    planned = {d["id"]: {f["field"] for f in d["fields"]} for d in plan.differences if not d["created"]}
    how: dict[str, str] = {}
    for entry in await work.entries(records=sorted(planned), after_seq=plan.made_at_seq):
        if moved := planned[entry.entity_id] & set(entry.fields):
            said = f"{entry.actor_name or entry.actor_id} set {', '.join(sorted(moved))}"
            how.setdefault(entry.entity_id, f"{said} ({entry.tool}, {entry.change_id})")
    return how


async def _refuse_strayed(work: UnitOfWork, plan: Plan) -> None:
    """A plan touches the records it showed, even where a name in its arguments means another one by now."""
    _, accounts = await work.plans.get(plan.id)
    born = {entry.entity_id for entry in work.changes if entry.before is None}
    shown = {difference["id"] for difference in plan.differences} | born
    touched = {entry.entity_id for entry in work.changes} - shown
    touched |= {entry.account_id for entry in work.changes if entry.account_id is not None} - {*accounts, *born}
    if touched:
        raise Conflict(
            f"The plan would now change {', '.join(sorted(touched))}, which it did not show. "
            "Nothing was done; the plan stays open.",
            remedy="Preview the write again to see the differences as they are now.",
        )


def refuse_unless_allowed(principal: Principal, tool: str) -> None:
    """The tool was not listed for this caller; whoever calls the use case another way is refused here."""
    if not may(principal, tool):
        raise NotAllowed(
            f"Your role {principal.role.value} may not use {tool}.",
            remedy="Ask someone whose role allows it, or an admin to change yours.",
        )


class NeedsPreview(NotAllowed):
    """A write too far-reaching to be carried out unseen."""

    def __init__(self, tool: str) -> None:
        super().__init__(
            f"{tool} would touch more records than may be changed at once unseen. Nothing was done.",
            remedy="Call again with preview: true, show the differences to the person, then call commit_plan.",
        )


def _beyond(records: Sequence[object], call: str) -> list[LeftOut]:
    more = len(records) - SHOWN_RECORDS
    return [LeftOut(what=f"{more} of {len(records)} records", call=call)] if more > 0 else []


def _tiers(entries: list[Captured]) -> Any:
    return tiers_of(Touched(e.entity, e.before is None, frozenset(e.after or {})) for e in entries)


def record_change(entry: Captured) -> RecordChange:
    """One captured change as callers read it; of a new record the fields are in the answer's `record`."""
    fields = (
        []
        if entry.before is None
        else [
            FieldChange(
                field=name,
                before=shown_value(entry.entity, name, entry.before.get(name)),
                after=shown_value(entry.entity, name, (entry.after or {}).get(name)),
            )
            for name in entry.fields
            if name != "removed_at"  # said by `did`
        ]
    )
    account = entry.account_id if entry.account_id != entry.entity_id else None
    return RecordChange(
        id=entry.entity_id, record=entry.entity, did=entry.kind.value, account_id=account, fields=fields
    )


def shown_value(entity: str, name: str, value: Any) -> Any:
    """A recorded value for callers: words of customers are cut, cleaned and made inert."""
    row = REMEMBERED.get(entity)
    trust = row.trust.get(name) if row is not None else None
    if isinstance(value, str) and trust in (Trust.customer, Trust.member):
        return defang(clean_text(value, SHOWN_VALUE))
    return value
