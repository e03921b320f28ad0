"""People at the customer."""

from __future__ import annotations

from cs_mcp.domain.contract import Written
from cs_mcp.services.people.sponsors import (
    AssignSponsor,
    Changed,
    ContactList,
    ListContacts,
    RecordDeparture,
    SaveContact,
)
from cs_mcp.tools._context import Call
from cs_mcp.tools._toolset import Toolset

sponsors = Toolset("sponsors")


@sponsors.read("List contacts")
async def list_contacts(question: ListContacts, call: Call) -> ContactList:
    """Show the people at an account: roles, sentiment, last met, stakeholder map.

    The map counts engaged people by level and department and says when the account hangs on one person. `history`
    adds who was executive sponsor and champion before.
    """
    return await call.services.sponsors.list(call.principal, question)


@sponsors.write("Save contact", destructive=True)
async def save_contact(command: SaveContact, call: Call) -> Written[Changed]:
    """Create a contact, or with `contact` update one.

    Sponsor and champion are seats with a history: assign_sponsor. Someone who left: record_departure.
    """
    return await call.perform(command)


@sponsors.write("Assign sponsor", destructive=True)
async def assign_sponsor(command: AssignSponsor, call: Call) -> Written[Changed]:
    """Seat an account's executive sponsor, champion or our executive sponsor.

    The one before is kept in the history with the days they held the seat, unless it is a `correction`.
    """
    return await call.perform(command)


@sponsors.write("Record departure", destructive=True)
async def record_departure(command: RecordDeparture, call: Call) -> Written[Changed]:
    """Record that a contact left or will leave, and who follows.

    The answer says which seats fall vacant. A coming last day keeps them active until then.
    """
    return await call.perform(command)
