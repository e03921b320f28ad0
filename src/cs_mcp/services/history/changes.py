"""The record of changes as people and agents read it: what changed, who did it, what waits for a person."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from cs_mcp.db.history.changes import Act
from cs_mcp.db.history.history import HistoryReads
from cs_mcp.db.history.tellings import Tellings
from cs_mcp.db.promises import no_such_plan
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.domain.contract import (
    AccountRef,
    Budget,
    Command,
    Cursor,
    CursorMark,
    FieldChange,
    Limit,
    Page,
    Place,
    Question,
    RecordChange,
    Ref,
    View,
    Written,
    fitted,
    question_hash,
    shown,
)
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.plans import Plan, PlanState
from cs_mcp.domain.rights import may
from cs_mcp.services.history.tellings import told, wanted
from cs_mcp.services.naming import Names
from cs_mcp.services.writes import Writes, refuse_unless_allowed, shown_value, whole


class ListChanges(Question):
    state: Annotated[
        Literal["made", "proposed"], Field(description="`proposed`: writes that wait for a person's word")
    ] = "made"
    account: AccountRef | None = None
    record: Annotated[Ref, Field(description="Id of any record")] | None = None
    by: Annotated[Ref, Field(description="Who: a person or an agent; id, e-mail, name or `me`")] | None = None
    run: Ref | None = None
    change: Annotated[Ref, Field(description="`change_id` of one write")] | None = None
    made_by_tool: Annotated[str, Field(max_length=48, description="e.g. log_meeting")] | None = None
    period_start: date | None = None
    period_end: date | None = None
    after: (
        Annotated[
            int, Field(ge=0, le=2**53, description="The feed: entries after this place in the history, oldest first")
        ]
        | None
    ) = None
    limit: Annotated[Limit, Field(description="Entries, one a record; those of one write come together")] = 25
    cursor: Cursor | None = None
    budget_tokens: Budget = 4000


class CommitPlan(Command):
    tool: ClassVar[str] = "commit_plan"

    plan: Annotated[Ref, Field(description="`plan_id` of a preview or a proposal")]
    decision: Literal["commit", "decline"] = "commit"


class ChangeLine(View):
    """One write with the records it touched (`seq` of the last one listed), or one plan that waits."""

    seq: int | None = None
    change_id: str | None = None
    plan_id: str | None = None
    at: datetime
    expires_at: datetime | None = None
    by: str
    by_id: str
    on_behalf_of: str | None = None
    client: str | None = None
    tool: str
    reason: str | None = None
    run: str | None = None
    undoes: str | None = None
    records: list[RecordChange]

    def text(self, nonce: str) -> str:
        extra = [
            f"for {self.on_behalf_of}" if self.on_behalf_of else "",
            f"via {shown(self.client)}" if self.client else "",
            f"run {self.run}" if self.run else "",
            f"planned as {self.plan_id}" if self.plan_id and self.change_id else "",
            f"undoes {self.undoes}" if self.undoes else "",
            f"waits until {self.expires_at:%Y-%m-%d %H:%M} UTC" if self.expires_at else "",
            f"reason: {shown(self.reason, 500)}" if self.reason else "",
        ]
        head = f"- {self.at:%Y-%m-%d %H:%M:%S} UTC {shown(self.by)} ({self.by_id}) {self.tool} "
        head += f"{self.change_id or self.plan_id}" + (f" #{self.seq}" if self.seq is not None else "")
        tail = "; ".join(part for part in extra if part)
        lines = [head + (f" [{tail}]" if tail else "")]
        lines += ["  " + record.line() for record in self.records]
        return "\n".join(lines)


class ChangePage(Page[ChangeLine]):
    """`history_head` is the last entry of the history as of this answer: the next `after`."""

    heading = "Changes"
    history_head: int

    def footer(self) -> list[str]:
        return [f"history_head: {self.history_head}", *super().footer()]


class Decided(View):
    plan_id: str
    state: str

    def text(self, nonce: str) -> str:
        return f"Plan {self.plan_id} is {self.state}."


class Declined(Written[Decided]):
    def text(self, nonce: str) -> str:
        again = "Already done by an earlier call with this key." if self.already_done else ""
        told = self.record.text(nonce) if self.record is not None else ""
        return "\n".join(line for line in (again, told, self.next) if line)


class Changes:
    def __init__(self, store: Store, writes: Writes) -> None:
        self._store = store
        self._writes = writes
        self._history = HistoryReads(store)
        self._tellings = Tellings(store)

    async def list(self, principal: Principal, question: ListChanges) -> ChangePage:
        if question.state == "proposed":
            return await self._proposed(principal, question)
        filters = await self._filters(principal, question)
        mark = question_hash(question)
        newest_first = question.after is None
        if question.cursor is not None:
            value = CursorMark.read(question.cursor, mark, Place).value
            filters["before_seq" if newest_first else "after_seq"] = value
        rows, head = await self._history.feed(principal, filters, limit=question.limit, newest_first=newest_first)
        lines = await self._told(principal, [_line(row) for row in rows[: question.limit]])
        entries = fitted(lines, budget_tokens=question.budget_tokens)
        more = len(rows) > len(entries)
        last = entries[-1].seq if entries else None
        next_cursor = CursorMark(of=mark, value=last, id="").token() if more and last is not None else None
        items = _by_write(entries)
        total: int | str = f"{len(items)}+" if more else len(items)
        return ChangePage(items=items, total=total, next_cursor=next_cursor, history_head=head)

    async def _filters(self, principal: Principal, ask: ListChanges) -> dict[str, Any]:
        names = Names.reading(self._store, principal)
        calendar = (await self._store.workspace(principal.workspace)).calendar
        filters: dict[str, Any] = {}
        if ask.account is not None:
            filters["account"] = (await names.account(ask.account)).id
        if ask.by is not None:
            filters["actor"] = (await names.member(ask.by)).id
        plain = {"record": ask.record, "run": ask.run, "change": ask.change, "tool": ask.made_by_tool}
        filters |= {name: value for name, value in plain.items() if value is not None}
        if ask.period_start is not None:
            filters["since_at"] = calendar.start_of(ask.period_start)
        if ask.period_end is not None:
            filters["until_at"] = calendar.end_of(ask.period_end)
        if ask.after is not None:
            filters["after_seq"] = ask.after
        return filters

    async def _proposed(self, principal: Principal, ask: ListChanges) -> ChangePage:
        plans = await self._history.open_plans(principal, self._store.clock.now())
        seen = await self._history.visible_accounts(principal, sorted({a for row in plans for a in row["accounts"]}))
        names = Names.reading(self._store, principal)
        account = (await names.account(ask.account)).id if ask.account else None
        who = (await names.member(ask.by)).id if ask.by else None
        lines = [
            _plan_line(row)
            for row in plans
            if self._concerns(principal, row, seen)
            and account in (None, *row["accounts"])
            and who in (None, row["made_by"], row["on_behalf_of"])
            and ask.made_by_tool in (None, row["tool"])
            and ask.record in (None, *(difference["id"] for difference in row["differences"]))
        ]
        mark = question_hash(ask)
        place = CursorMark.read(ask.cursor, mark, None).id if ask.cursor is not None else ""
        waiting = [line for line in lines if (line.plan_id or "") > place]  # they come in the order of their ids
        items = fitted(await self._told(principal, waiting[: ask.limit]), budget_tokens=ask.budget_tokens)
        last = items[-1].plan_id if len(waiting) > len(items) else None
        return ChangePage(
            items=items,
            total=len(lines),
            next_cursor=CursorMark(of=mark, value=None, id=last).token() if last is not None else None,
            history_head=await self._history.head(principal),
        )

    async def _told(self, principal: Principal, lines: list[ChangeLine]) -> list[ChangeLine]:
        known = await self._tellings.read(principal, wanted(record for line in lines for record in line.records))
        return [line.model_copy(update={"records": told(line.records, known)}) for line in lines]

    def _concerns(self, principal: Principal, row: Row, seen: set[str]) -> bool:
        """Whether a plan is the caller's own, or a proposal on accounts they see."""
        if row["made_by"] == principal.user:
            return True
        return row["proposal"] and not principal.is_agent and set(row["accounts"]) <= seen

    # -- deciding -------------------------------------------------------------------------------------------
    async def decide(self, principal: Principal, command: CommitPlan) -> Written[Any]:
        """Carry out a plan under the person who decides, or decline it with a reason."""
        refuse_unless_allowed(principal, command.tool)
        plan = await self._open(principal, command)
        if command.decision == "decline":
            if command.reason is None:
                raise Invalid("Declining a plan needs a reason.", remedy="Say in `reason` why it should not be done.")
            return await whole(lambda: self._decline(principal, plan, command))
        use_case = self._writes.use_case(plan.tool)
        planned = use_case.command.model_validate(plan.arguments)
        again = planned.model_copy(update={"idempotency_key": command.idempotency_key, "preview": False})
        return await self._writes.perform(principal, again, plan=plan)

    async def _open(self, principal: Principal, command: CommitPlan) -> Plan:
        found = await self._history.plan(principal, command.plan)
        if found is not None:
            plan = Plan.model_validate({name: found[name] for name in Plan.model_fields})
            seen = await self._history.visible_accounts(principal, found["accounts"])
            if self._concerns(principal, found, seen) and may(principal, plan.tool):
                return plan
        raise no_such_plan(command.plan)

    async def _decline(self, principal: Principal, plan: Plan, command: CommitPlan) -> Written[Any]:
        act = Act(
            change_id=self._store.ids.new("change"),
            actor_id=principal.user,
            tool=CommitPlan.tool,
            at=self._store.clock.now(),
        )
        async with self._store.unit_of_work(principal, act) as work:
            key = command.idempotency_key
            if key is not None:
                earlier = await work.answers.claim(command.tool, key, command.arguments_hash(), work.now)
                if earlier is not None:
                    return Declined.model_validate(earlier | {"already_done": True})
            await work.plans.decide(plan.id, PlanState.declined, by=principal.user, now=work.now, reason=command.reason)
            decided = Decided(plan_id=plan.id, state=PlanState.declined.value)
            answer = Declined(record=decided, next="The plan was declined; nothing else was changed.")
            if key is not None:
                await work.answers.keep(command.tool, key, answer.model_dump(mode="json", exclude_none=True))
            return answer


def _line(row: Row) -> ChangeLine:
    before: dict[str, Any] | None = row["before"]
    after: dict[str, Any] = row["after"] or {}
    fields = [
        FieldChange(
            field=name,
            before=shown_value(row["entity"], name, (before or {}).get(name)),
            after=shown_value(row["entity"], name, after.get(name)),
        )
        for name in row["fields"]
        # Of a new record only what it holds: an empty field that stays empty tells nothing.
        if name != "removed_at" and (before is not None or after.get(name) not in (None, [], {}))
    ]
    return ChangeLine(
        seq=row["seq"],
        change_id=row["change_id"],
        plan_id=row["plan_id"],
        at=row["at"],
        by=row["actor_name"] or row["actor_id"],
        by_id=row["actor_id"],
        on_behalf_of=row["on_behalf_of"],
        client=row["client"],
        tool=row["tool"],
        reason=row["reason"],
        run=row["run_id"],
        undoes=row["undoes"],
        records=[
            RecordChange(
                id=row["entity_id"],
                record=row["entity"],
                did=row["kind"],
                account_id=row["account_id"] if row["account_id"] != row["entity_id"] else None,
                fields=fields,
            )
        ],
    )


def _by_write(entries: list[ChangeLine]) -> list[ChangeLine]:
    """Entries of one write that stand together, as one line with all its records."""
    writes: list[ChangeLine] = []
    for entry in entries:
        if writes and writes[-1].change_id == entry.change_id:
            together = writes[-1]
            writes[-1] = together.model_copy(update={"records": together.records + entry.records, "seq": entry.seq})
        else:
            writes.append(entry)
    return writes


def _plan_line(row: Row) -> ChangeLine:
    return ChangeLine(
        plan_id=row["id"],
        at=row["made_at"],
        expires_at=row["expires_at"],
        by=row["made_by_name"] or row["made_by"],
        by_id=row["made_by"],
        on_behalf_of=row["on_behalf_of"],
        tool=row["tool"],
        reason=row["reason"],
        records=[
            RecordChange.model_validate({k: v for k, v in difference.items() if k != "created"})
            for difference in row["differences"]
        ],
    )
