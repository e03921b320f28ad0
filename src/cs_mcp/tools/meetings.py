"""Meetings."""

from __future__ import annotations

from cs_mcp.domain.contract import Written
from cs_mcp.services.work.meeting_answer import LoggedMeeting
from cs_mcp.services.work.meetings import LogMeeting
from cs_mcp.services.work.scheduling import PlannedMeeting, ScheduleMeeting
from cs_mcp.tools._context import Call
from cs_mcp.tools._toolset import Toolset

meetings = Toolset("meetings")


@meetings.write("Log meeting")
async def log_meeting(command: LogMeeting, call: Call) -> Written[LoggedMeeting]:
    """Record a meeting, call or e-mail and all that came of it, in one step.

    Use it after any contact with a customer: who was there (new people are entered), summary, decisions, a health
    note, news of sponsors and champions, product requests, follow-up tasks, the next meeting. It is one write: one
    undo_changes takes all of it back. The answer says what it set off. `meeting` completes a planned one, or corrects
    a logged one.
    """
    return await call.perform(command)


@meetings.write("Schedule meeting", on_request=True)
async def schedule_meeting(command: ScheduleMeeting, call: Call) -> Written[PlannedMeeting]:
    """Plan a meeting with an account: kind, day, who is invited, agenda.

    Says when a QBR, EBR or value review goes without the executive sponsor. It invites nobody: calendars are people's.
    Once held, log_meeting completes it with its id.
    """
    return await call.perform(command)
