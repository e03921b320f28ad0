"""Where am I, what changed, take it back, carry out a plan."""

from __future__ import annotations

from typing import Any

from cs_mcp.domain.contract import View, Written
from cs_mcp.services.history.changes import ChangePage, CommitPlan, ListChanges
from cs_mcp.services.history.undo import UndoChanges, Undone
from cs_mcp.services.search import Document, Fetch, Results, Search
from cs_mcp.services.workspace import GetWorkspace, WorkspaceView
from cs_mcp.tools._context import Call
from cs_mcp.tools._toolset import Toolset

core = Toolset("core")


@core.read("Get workspace")
async def get_workspace(question: GetWorkspace, call: Call) -> WorkspaceView:
    """Show who you are, what you may do, today and the fiscal quarter.

    Start here when you do not know the workspace. Names of people, segments, stages and bands come from here.
    """
    return await call.services.workspaces.get(call.principal, question, offered=call.offered)


@core.read("Search")
async def search(question: Search, call: Call) -> Results:
    """Find accounts, people, notes, meetings, tasks and opportunities by words.

    Every word must occur in the record or in its account's name, so `Globex SSO` finds what was said of SSO with
    Globex; names match from their beginning, and by e-mail or domain. Best first, then newest. Read one with fetch.
    For lists by field use find_accounts, list_tasks or list_health_notes.
    """
    return await call.services.searches.search(call.principal, question)


@core.read("Fetch")
async def fetch(question: Fetch, call: Call) -> Document:
    """Read one record that search found, whole, with its link.

    An account comes with its contract, people, renewal, open tasks, last meetings and notes. To see all that happened
    to it, call get_timeline.
    """
    return await call.services.searches.fetch(call.principal, question)


@core.read("List changes")
async def list_changes(question: ListChanges, call: Call) -> ChangePage:
    """Show who changed what, when and why, with values before and after.

    Newest first; filter by account, record, person, run, write or days. With `after` it is the feed: entries after
    that place in the history, oldest first, none skipped; pass `history_head` of one answer as `after` of the next.
    With state `proposed` it lists writes that wait for a person: commit_plan decides them. To take a write back,
    call undo_changes with its change_id.
    """
    return await call.services.changes.list(call.principal, question)


@core.write("Undo changes", destructive=True)
async def undo_changes(command: UndoChanges, call: Call) -> Written[Undone]:
    """Take back one write, some records of it, or everything a run wrote.

    A record that someone changed since in the same fields, or that others need by now, is left as it is, and the answer
    says for whose sake: take that write back first, newest first. An undo is a write itself: it shows in list_changes
    and can be undone. Find the change_id with list_changes, or use the one a write answered.
    """
    return await call.perform(command)


@core.write("Commit or decline a plan", destructive=True)
async def commit_plan(command: CommitPlan, call: Call) -> Written[View]:
    """Carry out a previewed write or an agent's proposal, or decline it with a reason.

    A plan is good for one decision. It is refused if one of the fields it touches changed since the preview. Show the
    person the differences first; list_changes with state `proposed` lists what waits.
    """
    answer: Any = await call.services.changes.decide(call.principal, command)
    return answer
