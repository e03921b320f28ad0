"""Tasks."""

from __future__ import annotations

from cs_mcp.domain.contract import Written
from cs_mcp.services.accounts.views import TaskLine
from cs_mcp.services.work.tasks import CreateTasks, ListTasks, TaskList, TaskPage, UpdateTask
from cs_mcp.tools._context import Call
from cs_mcp.tools._toolset import Toolset

tasks = Toolset("tasks")


@tasks.read("List tasks")
async def list_tasks(question: ListTasks, call: Call) -> TaskPage:
    """Show tasks, earliest due first: of an account, a person, overdue, urgent.

    Open ones by default; snoozed ones are left out until their day. Then call update_task.
    """
    return await call.services.tasks.list(call.principal, question)


@tasks.write("Create tasks")
async def create_tasks(command: CreateTasks, call: Call) -> Written[TaskList]:
    """Create one to fifty tasks on an account; each is reported on its own.

    Without an assignee a task is yours. `purpose` keeps one open task per account and purpose.
    """
    return await call.perform(command)


@tasks.write("Update task", destructive=True)
async def update_task(command: UpdateTask, call: Call) -> Written[TaskLine]:
    """Finish a task with its outcome, snooze, reassign, reprioritise or rename it.

    Get its id and version from list_tasks. Status `done` needs an `outcome`.
    """
    return await call.perform(command)
