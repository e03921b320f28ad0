"""Reads of the people at one account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlalchemy import String, bindparam, select

from cs_mcp.db.accounts.whole import GET, PEOPLE, TEAM
from cs_mcp.db.people.sponsors import SponsorshipRow
from cs_mcp.db.read_path import Row
from cs_mcp.db.scoped import Conditions, Scoped, ScopedReads
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.domain.identity import Principal

_ACCOUNT: Final = bindparam("account", type_=String)
MEETINGS_READ: Final = 500  # enough to know when each contact was last met


def _held(scope: Conditions) -> Any:
    meeting = MeetingRow.__table__
    return (
        select(meeting.c.held_on, meeting.c.attendees)
        .where(*scope, meeting.c.account_id == _ACCOUNT, meeting.c.status == "held")
        .order_by(meeting.c.held_on.desc(), meeting.c.id.desc())
        .limit(MEETINGS_READ)
    )


def _seats(scope: Conditions) -> Any:
    seat = SponsorshipRow.__table__
    return (
        select(seat.c.id, seat.c.role, seat.c.contact_id, seat.c.from_on, seat.c.to_on)
        .where(*scope, seat.c.account_id == _ACCOUNT)
        .order_by(seat.c.role, seat.c.from_on.desc(), seat.c.id.desc())
    )


_HELD: Final = Scoped("meeting", _held)
_SEATS: Final = Scoped("sponsorship", _seats)


@dataclass(frozen=True, slots=True)
class PeopleFound:
    """`last_met`: the last held meeting each contact attended, by contact id."""

    account: Row
    team: list[Row]
    contacts: list[Row]
    seats: list[Row]
    last_met: dict[str, date]


class PeopleReads(ScopedReads):
    async def of_account(self, principal: Principal, account: str) -> PeopleFound:
        """The account must be visible: resolve it first."""
        head, team, contacts, seats, held = await self.rows(
            principal, [GET, TEAM, PEOPLE, _SEATS, _HELD], account=account
        )
        last_met: dict[str, date] = {}
        for meeting in held:
            for attendee in meeting["attendees"]:
                contact = attendee.get("contact_id")
                if contact is not None and attendee.get("attended", True):
                    last_met.setdefault(contact, meeting["held_on"])
        return PeopleFound(head[0], team, contacts, seats, last_met)
