"""Who was said to leave departs on that day: their seats fall vacant without anybody having to say it once more."""

from __future__ import annotations

from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.services.people.news import People


async def depart_due(work: UnitOfWork) -> tuple[int, list[str]]:
    """Let everyone depart whose last day has come, on that day; how many, and the seats that fall vacant, in words.

    Someone who stayed after all is told back by `back` in log_meeting: that ends the announcement too.
    """
    said: list[str] = []
    due = await work.contacts.leaving_by(work.today)
    for account_id in sorted({contact.account_id for contact in due}):
        account = await work.accounts.get(account_id)
        people = People(work, account, as_of=work.today)
        for contact in due:
            if contact.account_id == account_id:
                await people.departs(contact.id, contact.leaves_on or work.today)
        said += people.triggered
    return len(due), said
