"""Accounts: find, read whole, update; creating one belongs to the admin set."""

from __future__ import annotations

from cs_mcp.domain.contract import Written
from cs_mcp.services.account_views import AccountLine, AccountPage, AccountView
from cs_mcp.services.accounts import CreateAccount, FindAccounts, GetAccount, UpdateAccount
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


@accounts.write("Update account", destructive=True)
async def update_account(command: UpdateAccount, call: Call) -> Written[AccountLine]:
    """Change fields of an account: owner, segment, tier, renewal day, tags, custom.

    What is left out stays; `clear` empties fields. ARR follows from its movements and cannot be set. Read the account
    first and send its version; if someone changed it meanwhile, the answer says who and which field.
    """
    return await call.perform(command)


@admin.write("Create account")
async def create_account(command: CreateAccount, call: Call) -> Written[AccountLine]:
    """Create an account, unless one with that name or domain exists.

    Look-alikes come back as candidates instead of a second record. Then add people and meetings with log_meeting.
    """
    return await call.perform(command)
