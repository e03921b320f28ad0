"""What a conversation teaches about people at the customer: who is new, who sponsors, who champions, who leaves."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Account
from cs_mcp.domain.contract import Input, Name, Ref
from cs_mcp.domain.errors import Ambiguous, Conflict, Invalid
from cs_mcp.domain.people.sponsors import (
    Contact,
    ContactRole,
    ContactStatus,
    Level,
    Sentiment,
    SponsorRole,
    Sponsorship,
)
from cs_mcp.services.naming import Names


class News(StrEnum):
    executive_sponsor = "executive_sponsor"
    champion = "champion"
    detractor = "detractor"
    leaving = "leaving"
    departed = "departed"
    on_leave = "on_leave"
    back = "back"


class PersonNews(Input):
    contact: Annotated[Ref, Field(description="Who: id, e-mail or exact name; may be a new attendee of this call")]
    news: Annotated[News, Field(description="executive_sponsor and champion seat them; leaving is known ahead")]
    on: (
        Annotated[date, Field(description="From when; for leaving the last day. The meeting's day when absent")] | None
    ) = None
    successor: Annotated[Name, Field(description="With leaving or departed: who follows, known or new")] | None = None
    sentiment: Sentiment | None = None


class People:
    """Contacts of one account as one write sees and changes them."""

    def __init__(self, work: UnitOfWork, account: Account, *, as_of: date) -> None:
        self._work = work
        self._account = account
        self._as_of = as_of
        self._known: dict[str, Contact] | None = None
        self._seats: list[Sponsorship] = []
        self.touched: list[str] = []
        self.names: dict[str, str] = {}
        self.triggered: list[str] = []

    # -- finding and entering -------------------------------------------------------------------------------
    async def _contacts(self) -> dict[str, Contact]:
        if self._known is None:
            found = await self._work.contacts.of_account(self._account.id)
            self._known = {contact.id: contact for contact in found}
            self._seats = await self._work.sponsorships.of_account(self._account.id)
        return self._known

    async def _find(self, ref: str) -> Contact | None:
        contacts = await self._contacts()
        key = " ".join(ref.casefold().split())
        if ref in contacts:
            return contacts[ref]
        same = [
            c for c in contacts.values() if key in ((c.email or "").casefold(), " ".join(c.name.casefold().split()))
        ]
        if len(same) > 1:
            listed = "; ".join(f"{c.name} ({c.id}, {c.title or 'no title'})" for c in same)
            raise Ambiguous(
                f"{len(same)} contacts of {self._account.name} are called {ref!r}: {listed}. Nothing was done.",
                remedy="Call again with the id of the one you mean.",
            )
        return same[0] if same else None

    async def known(self, ref: str) -> Contact:
        found = await self._find(ref)
        if found is not None:
            return found
        # Not entered in this call either: the resolver's refusal names the nearest.
        match = await Names.writing(self._work).contact(ref, self._account.id)
        return (await self._contacts())[match.id]

    async def twins(self, name: str, email: str | None) -> list[Contact]:
        """Contacts of the account with this name (case aside) or e-mail."""
        key = " ".join(name.casefold().split())
        mail = email.casefold() if email else None
        return [
            contact
            for contact in (await self._contacts()).values()
            if " ".join(contact.name.casefold().split()) == key
            or (mail is not None and (contact.email or "").casefold() == mail)
        ]

    async def enter(self, name: str) -> Contact:
        """Enter a new contact."""
        await self._contacts()
        contact = Contact(
            id=self._work.ids.new("contact"), account_id=self._account.id, name=name, last_confirmed_on=self._as_of
        )
        self._work.contacts.add(contact)
        self._keep(contact)
        self.triggered.append(f"Entered {name} ({contact.id}) as a new contact of {self._account.name}.")
        return contact

    def _keep(self, contact: Contact) -> None:
        assert self._known is not None
        self._known[contact.id] = contact
        self.names[contact.id] = contact.name
        if contact.id not in self.touched:
            self.touched.append(contact.id)

    def save(self, contact: Contact) -> None:
        self._work.contacts.save(contact)
        self._keep(contact)

    async def attendee(
        self,
        ref: str | None,
        name: str | None,
        *,
        email: str | None,
        title: str | None,
        level: Level | None,
        roles: list[ContactRole] | None,
        attended: bool,
    ) -> str:
        """A contact who was there (known by `ref`, or by `name` or `email`, else entered); returns its id."""
        contact: Contact | None
        if ref is not None:
            contact = await self.known(ref)
        else:
            assert name is not None
            contact = (await self._find(email) if email else None) or await self._find(name)
        if contact is None:
            assert name is not None
            contact = await self.enter(name)
        details: dict[str, object] = {
            key: value for key, value in {"email": email, "title": title, "level": level}.items() if value is not None
        }
        if roles:
            details["roles"] = sorted({*contact.roles, *roles})
        if attended:
            if contact.status is ContactStatus.departed and contact.departed_on and contact.departed_on <= self._as_of:
                raise Conflict(
                    f"{contact.name} ({contact.id}) departed on {contact.departed_on}, yet is named as attending on "
                    f"{self._as_of}. Nothing was done.",
                    remedy="Name the right person, or say first with news 'back' that they returned.",
                )
            if contact.last_confirmed_on is None or contact.last_confirmed_on < self._as_of:
                details["last_confirmed_on"] = self._as_of
        self.save(contact.changed(**details))
        return contact.id

    # -- news -----------------------------------------------------------------------------------------------
    async def learn(self, item: PersonNews) -> None:
        contact = await self.known(item.contact)
        on = item.on or self._as_of
        if item.successor is not None and item.news not in (News.leaving, News.departed):
            raise Invalid("successor goes with news leaving or departed only.", remedy="Leave it out.")
        if item.sentiment is not None:
            contact = contact.changed(sentiment=item.sentiment)
        match item.news:
            case News.executive_sponsor:
                await self._seat(contact, SponsorRole.executive_sponsor, on)
            case News.champion:
                await self._seat(contact, SponsorRole.champion, on)
            case News.detractor:
                roles = sorted({*contact.roles, ContactRole.detractor})
                self.save(contact.changed(roles=roles, sentiment=item.sentiment or Sentiment.negative))
            case News.leaving:
                await self._leaves(contact, on, item.successor, departed=on <= self._as_of)
            case News.departed:
                await self._leaves(contact, on, item.successor, departed=True)
            case News.on_leave:
                self.save(contact.changed(status=ContactStatus.on_leave))
            case News.back:
                self.save(
                    contact.changed(
                        status=ContactStatus.active, departed_on=None, leaves_on=None, last_confirmed_on=self._as_of
                    )
                )

    async def departs(self, contact_id: str, on: date) -> None:
        """A known contact is gone since that day; who was noted to follow stays noted."""
        await self._leaves((await self._contacts())[contact_id], on, None, departed=True)

    async def seat(self, ref: str, role: SponsorRole, on: date, *, correction: bool) -> None:
        """Seat a known contact; as a correction, whoever sat there by mistake never did."""
        await self._seat(await self.known(ref), role, on, correction=correction)

    async def _seat(self, contact: Contact, role: SponsorRole, on: date, *, correction: bool = False) -> None:
        if contact.status is ContactStatus.departed:
            raise Conflict(
                f"{contact.name} ({contact.id}) departed on {contact.departed_on} and cannot be {_said(role)}.",
                remedy="Name someone who is there, or say first with news 'back' that they returned.",
            )
        if on > self._as_of:
            raise Invalid(
                f"{contact.name} would be {_said(role)} only from {on}.", remedy="Record it when it has come about."
            )
        current = [seat for seat in self._seats if seat.role is role and seat.to_on is None]
        confirmed = max(filter(None, (contact.last_confirmed_on, on)))
        self.save(contact.changed(roles=sorted({*contact.roles, ContactRole(role.value)}), last_confirmed_on=confirmed))
        if any(seat.contact_id == contact.id for seat in current):
            return
        for seat in current:
            await self._vacate(seat, date.fromordinal(max(on.toordinal() - 1, 1)), never_was=correction)
        seat = Sponsorship(
            id=self._work.ids.new("sponsorship"),
            account_id=self._account.id,
            contact_id=contact.id,
            role=role,
            from_on=on,
        )
        self._work.sponsorships.add(seat)
        self._seats.append(seat)
        word = "instead of" if correction else "after"
        before = f" {word} {self.names.get(current[0].contact_id, current[0].contact_id)}" if current else ""
        self.triggered.append(f"{contact.name} is {_said(role)} of {self._account.name} from {on}{before}.")

    async def _vacate(self, seat: Sponsorship, last_day: date, *, never_was: bool = False) -> None:
        ended = (
            seat.changed(removed_at=self._work.now) if never_was else seat.changed(to_on=max(seat.from_on, last_day))
        )
        self._work.sponsorships.save(ended)
        self._seats = [ended if known.id == seat.id else known for known in self._seats]
        if never_was:
            self._seats.remove(ended)
        holder = (await self._contacts()).get(seat.contact_id)
        if holder is not None:
            self.names[holder.id] = holder.name
            self.save(holder.changed(roles=[role for role in holder.roles if role.value != seat.role.value]))

    async def _leaves(self, contact: Contact, on: date, successor: str | None, *, departed: bool) -> None:
        follows: Contact | None = None
        if successor is not None:
            follows = await self._find(successor) or await self.enter(successor)
            if follows.id == contact.id:
                raise Invalid(f"{contact.name} cannot succeed themselves.", remedy="Name another successor.")
        fields: dict[str, object] = {"leaves_on": on}
        if departed:
            fields |= {"status": ContactStatus.departed, "departed_on": on}
        if follows is not None:
            fields["successor_id"] = follows.id
        self.save(contact.changed(**fields))
        seats = [seat for seat in self._seats if seat.contact_id == contact.id and seat.to_on is None]
        for seat in seats:
            if departed:
                await self._vacate(seat, on)
                self.triggered.append(
                    f"{self._account.name} has no {_said(seat.role)} since {on}: {contact.name} departed."
                )
            else:
                self.triggered.append(
                    f"{contact.name}, {_said(seat.role)} of {self._account.name}, leaves on {on}: "
                    "the seat falls vacant then."
                )
        if follows is not None:
            self.triggered.append(f"{follows.name} ({follows.id}) is noted as successor of {contact.name}.")


def _said(role: SponsorRole) -> str:
    return role.value.replace("_", " ")
