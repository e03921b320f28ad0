"""Tasks: list them, create up to fifty, finish, snooze, reassign."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from cs_mcp.db.lists import ListReads
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Account
from cs_mcp.domain.contract import (
    AccountRef,
    Budget,
    Command,
    Cursor,
    CursorMark,
    Input,
    Item,
    Limit,
    Name,
    Page,
    Question,
    Ref,
    ShortText,
    UserRef,
    Version,
    View,
    fitted,
    question_hash,
    total_of,
)
from cs_mcp.domain.errors import CustomerSuccessError, Invalid
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.work.tasks import Priority, Task, TaskOrigin, TaskStatus
from cs_mcp.services.accounts.views import PersonRef, TaskLine
from cs_mcp.services.history.versions import check_version
from cs_mcp.services.naming import Names
from cs_mcp.services.writes import Outcome


class ListTasks(Question):
    account: AccountRef | None = None
    assignee: Annotated[Ref, Field(description="One of us: id, e-mail, name or `me`; `none` for unassigned")] | None = (
        None
    )
    status: Annotated[list[TaskStatus], Field(description="Open when absent")] | None = None
    priority: list[Priority] | None = None
    due_from: date | None = None
    due_to: date | None = None
    overdue: Annotated[bool, Field(description="Only open tasks due before today")] = False
    snoozed: Annotated[bool, Field(description="Include tasks snoozed past today")] = False
    exact_total: bool = False
    limit: Limit = 25
    cursor: Cursor | None = None
    budget_tokens: Budget = 4000


class NewTask(Input):
    title: Annotated[Name, Field(description="What to do, e.g. Send the security one-pager")]
    due_on: date | None = None
    assignee: Annotated[Ref, Field(description="You when absent")] | None = None
    priority: Priority = Priority.normal
    purpose: Annotated[Name, Field(description="Short key; one open task per account and purpose")] | None = None
    account: Annotated[Ref, Field(description="Where it differs from the call's account")] | None = None


class CreateTasks(Command):
    tool: ClassVar[str] = "create_tasks"

    account: AccountRef
    tasks: Annotated[list[NewTask], Field(min_length=1, max_length=50)]


class UpdateTask(Command):
    tool: ClassVar[str] = "update_task"

    task: Annotated[Ref, Field(description="Id of the task")]
    expected_version: Version
    status: TaskStatus | None = None
    outcome: Annotated[ShortText, Field(description="What came of it; required with status done")] | None = None
    title: Name | None = None
    due_on: date | None = None
    snooze_until: date | None = None
    assignee: UserRef | None = None
    priority: Priority | None = None
    clear: list[Literal["due_on", "assignee", "snooze_until"]] | None = None


class TaskPage(Page[TaskLine]):
    heading = "Tasks, earliest due first"


class TaskList(View):
    """The tasks of one write."""

    tasks: list[TaskLine]

    def text(self, nonce: str) -> str:
        return "\n".join(task.text(nonce) for task in self.tasks)


class Tasks:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._reads = ListReads(store)

    async def list(self, principal: Principal, question: ListTasks) -> TaskPage:
        today = (await self._store.workspace(principal.workspace)).calendar.today(self._store.clock.now())
        filters = await self._filters(principal, question, today)
        mark = question_hash(question)
        after = None
        if question.cursor is not None:
            cursor = CursorMark.read(question.cursor, mark, date | None)
            after = (cursor.value, cursor.id)
        rows, total = await self._reads.tasks(
            principal, filters, limit=question.limit, after=after, exact_total=question.exact_total
        )
        shown = rows[: question.limit]
        items = fitted([_line(row, today) for row in shown], budget_tokens=question.budget_tokens)
        next_cursor = None
        if len(rows) > len(items):
            last = shown[len(items) - 1]
            next_cursor = CursorMark(of=mark, value=last["due_on"], id=last["id"]).token()
        return TaskPage(items=items, total=total_of(total), next_cursor=next_cursor)

    async def _filters(self, principal: Principal, ask: ListTasks, today: date) -> dict[str, Any]:
        names = Names.reading(self._store, principal)
        filters: dict[str, Any] = {"status": [s.value for s in ask.status or (TaskStatus.open,)]}
        if ask.account is not None:
            filters["account"] = (await names.account(ask.account)).id
        if ask.assignee is not None:
            if ask.assignee.casefold() == "none":
                filters["no_assignee"] = True
            else:
                filters["assignee"] = (await names.member(ask.assignee)).id
        if ask.priority is not None:
            filters["priority"] = [priority.value for priority in ask.priority]
        if ask.due_from is not None:
            filters["due_from"] = ask.due_from
        due_to = ask.due_to
        if ask.overdue:
            filters["status"] = [TaskStatus.open.value]
            yesterday = date.fromordinal(today.toordinal() - 1)
            due_to = yesterday if due_to is None else min(due_to, yesterday)
        if due_to is not None:
            filters["due_to"] = due_to
        if not ask.snoozed:
            filters["awake"] = today
        return filters

    async def create(self, work: UnitOfWork, command: CreateTasks) -> Outcome:
        """Each task on its own: one that is refused is reported, the others are created."""
        names = Names.writing(work)
        main = await work.accounts.get((await names.account(command.account)).id)
        origin = TaskOrigin.agent if work.principal.is_agent else TaskOrigin.person
        items: list[Item] = []
        made: list[tuple[str, Account]] = []
        refused: list[CustomerSuccessError] = []
        for index, new in enumerate(command.tasks):
            try:
                account = main
                if new.account is not None:
                    account = await work.accounts.get((await names.account(new.account)).id)
                task = await new_task(work, account.id, new, origin=origin)
            except CustomerSuccessError as why:
                refused.append(why)
                items.append(Item(index=index, outcome="refused", why=str(why)))
                continue
            made.append((task.id, account))
            items.append(Item(index=index, id=task.id, outcome="done"))
        if not made:
            raise refused[0]
        await work.flush()
        tasks = [(work.tasks.now(task), account) for task, account in made]
        people = await work.members.names(task.assignee_id for task, _ in tasks)
        lines = [written_task(task, account.name, work.today, people) for task, account in tasks]
        return Outcome(record=TaskList(tasks=lines), items=items if refused or len(items) > 1 else [])

    async def update(self, work: UnitOfWork, command: UpdateTask) -> Outcome:
        task = await work.tasks.get(command.task)
        await check_version(work, task, command.expected_version, "task")
        fields: dict[str, Any] = {
            name: value
            for name in ("title", "due_on", "priority", "outcome")
            if (value := getattr(command, name)) is not None
        }
        if command.snooze_until is not None:
            if command.snooze_until <= work.today:
                raise Invalid(
                    f"snooze_until {command.snooze_until} is not after today, {work.today}.",
                    remedy="Give a later day, or clear snooze_until to wake the task.",
                )
            fields["snoozed_until"] = command.snooze_until
        if command.assignee is not None:
            fields["assignee_id"] = (await Names.writing(work).member(command.assignee)).id
        if command.status is not None:
            fields |= _moved(task, command, work.today)
        for name in command.clear or ():
            column = {"assignee": "assignee_id", "snooze_until": "snoozed_until"}.get(name, name)
            if column in fields:
                raise Invalid(f"{name} is both set and cleared.", remedy="Give it in one of the two only.")
            fields[column] = None
        work.tasks.save(task.changed(**fields))
        await work.flush()
        account = await work.accounts.get(task.account_id)
        done = work.tasks.now(task.id)
        people = await work.members.names([done.assignee_id])
        return Outcome(record=written_task(done, account.name, work.today, people))


def _moved(task: Task, command: UpdateTask, today: date) -> dict[str, Any]:
    if command.status is TaskStatus.done and not (command.outcome or task.outcome):
        raise Invalid(
            f"{task.id} cannot be done without an outcome. Nothing was done.",
            remedy="Say in `outcome` what came of it, e.g. 'Sent; Priya confirmed receipt'.",
        )
    return {
        "status": command.status,
        "done_on": today if command.status is TaskStatus.done else None,
        "snoozed_until": None,
    }


async def new_task(
    work: UnitOfWork, account: str, new: NewTask, *, origin: TaskOrigin, related: str | None = None
) -> Task:
    """Enter one task. With a purpose, an open task of the same purpose on the account refuses it."""
    if new.purpose is not None and (twin := await work.tasks.open_with_purpose(account, new.purpose)) is not None:
        raise Invalid(
            f"An open task with the purpose {new.purpose!r} exists: {twin.title} ({twin.id}).",
            remedy="Call update_task on it instead, or leave `purpose` out.",
        )
    me = work.principal.on_behalf_of or work.principal.user
    assignee = (await Names.writing(work).member(new.assignee)).id if new.assignee else me
    task = Task(
        id=work.ids.new("task"),
        account_id=account,
        title=new.title,
        purpose=new.purpose,
        assignee_id=assignee,
        due_on=new.due_on,
        priority=new.priority,
        origin=origin,
        related_id=related,
    )
    return work.tasks.add(task)


def _line(row: Row, today: date) -> TaskLine:
    return TaskLine(
        id=row["id"],
        version=row["version"],
        title=row["title"],
        account=PersonRef(id=row["account_id"], name=row["account_name"]),
        assignee=PersonRef(id=row["assignee_id"], name=row["person_name"] or "?") if row["assignee_id"] else None,
        due_on=row["due_on"],
        overdue=row["status"] == "open" and row["due_on"] is not None and row["due_on"] < today,
        priority=row["priority"],
        status=row["status"],
        purpose=row["purpose"],
        snoozed_until=row["snoozed_until"],
        done_on=row["done_on"],
        outcome=row["outcome"],
    )


def written_task(task: Task, account_name: str, today: date, names: dict[str, str]) -> TaskLine:
    return TaskLine(
        id=task.id,
        version=task.version,
        title=task.title,
        account=PersonRef(id=task.account_id, name=account_name),
        assignee=PersonRef(id=task.assignee_id, name=names.get(task.assignee_id, "?")) if task.assignee_id else None,
        due_on=task.due_on,
        overdue=task.status is TaskStatus.open and task.due_on is not None and task.due_on < today,
        priority=task.priority.value,
        status=task.status.value,
        purpose=task.purpose,
        snoozed_until=task.snoozed_until,
        done_on=task.done_on,
        outcome=task.outcome,
    )
