"""Accounts: find, read whole, update, move on; creating, merging and changing many belong to the admin set."""

from __future__ import annotations

from cs_mcp.domain.contract import Written
from cs_mcp.services.accounts.accounts import CreateAccount, FindAccounts, GetAccount, UpdateAccount
from cs_mcp.services.accounts.bulk import AccountsUpdated, UpdateAccounts
from cs_mcp.services.accounts.lifecycle import MoveAccountStage, StageMoved
from cs_mcp.services.accounts.merge import Merged, MergeRecords
from cs_mcp.services.accounts.timeline import GetTimeline, TimelinePage
from cs_mcp.services.accounts.views import AccountLine, AccountPage, AccountView
from cs_mcp.tools._context import Call
from cs_mcp.tools._toolset import Toolset

accounts = Toolset("accounts")
admin = Toolset("admin")


@accounts.read("Find accounts")
async def find_accounts(question: FindAccounts, call: Call) -> AccountPage:
    """List accounts that match filters, with ARR, health, owner and renewal day.

    Filters combine with AND; values in a list with OR. Use it to narrow a book by segment, band, renewal window, owner
    or what is missing. Then call get_account for one of them.
    """
    return await call.services.accounts.find(call.principal, question)


@accounts.read("Get account")
async def get_account(question: GetAccount, call: Call) -> AccountView:
    """Show one account in a single answer: contract, people, tasks, meetings.

    Use it before any conversation about a customer. `sections` narrows it, detail `full` shows more of each, `as_of`
    shows it as it was on a past day. Its `version` is what update_account wants.
    """
    return await call.services.accounts.get(call.principal, question)


@accounts.read("Get timeline")
async def get_timeline(question: GetTimeline, call: Call) -> TimelinePage:
    """Show everything that happened to an account, typed and dated, newest first.

    Meetings, notes, tasks, sponsors and champions, ARR, renewal stages, contract terms, departures, changes of owner
    and stage, risk cases, health overrides, tickets, surveys, company events. Use it to tell an account's story or to
    see what led to something; list_changes says who edited what.
    """
    return await call.services.timeline.get(call.principal, question)


@accounts.write("Update account", destructive=True)
async def update_account(command: UpdateAccount, call: Call) -> Written[AccountLine]:
    """Change fields of an account: owner, segment, tier, renewal day, tags, custom.

    What is left out stays; `clear` empties fields. ARR follows from its movements and cannot be set. Read the account
    first and send its version; if someone changed it meanwhile, the answer says who and which field.
    """
    return await call.perform(command)


@accounts.write("Move account stage", destructive=True, on_request=True)
async def move_account_stage(command: MoveAccountStage, call: Call) -> Written[StageMoved]:
    """Move an account along its lifecycle, if what the stage asks for is there.

    The stages: onboarding, adoption, value_realization, expansion, renewal, advocacy; churned from any. A refusal names
    each criterion that fails, the fact and what to do. A person may go on with `override_reason`; skipping a stage,
    going back and churned need one.
    """
    return await call.perform(command)


@admin.write("Create account")
async def create_account(command: CreateAccount, call: Call) -> Written[AccountLine]:
    """Create an account, unless one with that name or domain exists.

    Look-alikes come back as candidates instead of a second record. Then add people and meetings with log_meeting.
    """
    return await call.perform(command)


@admin.write("Update accounts", destructive=True)
async def update_accounts(command: UpdateAccounts, call: Call) -> Written[AccountsUpdated]:
    """Change up to 200 accounts alike: hand over a book, set fields, tag.

    Name them by `where` or in `accounts`. The answer is a plan with the differences of each account: show it, then
    call commit_plan, which skips and reports what someone changed meanwhile. One undo_changes takes all of it
    back.
    """
    return await call.perform(command)


@admin.write("Merge records", destructive=True)
async def merge_records(command: MergeRecords, call: Call) -> Written[Merged]:
    """Make one of two accounts, or of two contacts of one account.

    Use it for duplicates. `keep` stays and wins where both say something; its gaps are filled, and all that belongs to
    the other follows. The answer is a plan: show it, then call commit_plan. The old id leads to the kept record.
    """
    return await call.perform(command)
