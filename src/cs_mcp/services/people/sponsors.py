"""People at the customer: the stakeholder map, contacts, sponsor and champion seats, departures."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from cs_mcp.db.people.people_reads import PeopleReads
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Account, TeamMember, TeamRole
from cs_mcp.domain.contract import (
    AccountRef,
    Budget,
    Command,
    LeftOut,
    Name,
    Question,
    Ref,
    Version,
    View,
    fitted,
    shown,
)
from cs_mcp.domain.errors import Conflict, Invalid
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.people.sponsors import Contact, ContactRole, ContactStatus, Level, Sentiment, SponsorRole
from cs_mcp.domain.people.stakeholders import StakeholderMap, stakeholder_map
from cs_mcp.services.accounts.views import ContactLine, PersonRef
from cs_mcp.services.history.versions import check_version
from cs_mcp.services.naming import Names
from cs_mcp.services.people.news import News, People, PersonNews
from cs_mcp.services.work.meeting_answer import contact_line
from cs_mcp.services.writes import Outcome

Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
SEATS = (ContactRole.executive_sponsor, ContactRole.champion)
FreeRole = Literal[
    "primary", "decision_maker", "economic_buyer", "power_user", "procurement", "technical", "detractor"
]  # fmt: skip


class ListContacts(Question):
    account: AccountRef
    role: list[ContactRole] | None = None
    status: Annotated[list[ContactStatus], Field(description="All when absent")] | None = None
    history: Annotated[
        bool, Field(description="Also who held the seats of sponsor and champion, from when to when")
    ] = False
    budget_tokens: Budget = 4000


class SaveContact(Command):
    tool: ClassVar[str] = "save_contact"

    account: Annotated[AccountRef, Field(description="Account: id, domain or name")]
    contact: Annotated[Ref, Field(description="To update: id, e-mail or exact name. Absent: create")] | None = None
    expected_version: Annotated[Version, Field(description="With `contact`: the version you last read")] | None = None
    name: Name | None = None
    email: Email | None = None
    title: Name | None = None
    department: Name | None = None
    level: Level | None = None
    roles: (
        Annotated[list[FreeRole], Field(description="Replaces these roles; sponsor and champion go by assign_sponsor")]
        | None
    ) = None
    sentiment: Sentiment | None = None
    on_leave: bool | None = None
    confirmed_on: Annotated[date, Field(description="Last day we know them to be in their role")] | None = None
    clear: list[Literal["email", "title", "department", "level", "sentiment"]] | None = None
    allow_duplicate: Annotated[bool, Field(description="Create beside a namesake; needs `reason`")] = False


class AssignSponsor(Command):
    tool: ClassVar[str] = "assign_sponsor"

    account: AccountRef
    role: Literal["executive_sponsor", "champion", "our_executive_sponsor"]
    contact: Annotated[
        Ref, Field(description="Contact of the account; one of us for our_executive_sponsor. Id, e-mail or name")
    ]
    since: Annotated[date, Field(description="Today when absent")] | None = None
    correction: Annotated[
        bool, Field(description="The one before was entered by mistake: their time in the seat is removed")
    ] = False


class RecordDeparture(Command):
    tool: ClassVar[str] = "record_departure"

    account: AccountRef
    contact: Annotated[Ref, Field(description="Who: id, e-mail or exact name")]
    on: Annotated[date, Field(description="Their last day, past or to come; today when absent")] | None = None
    successor: Annotated[Name, Field(description="Who follows, known or new")] | None = None


class SeatTime(View):
    """Someone's time as sponsor or champion."""

    id: str
    role: str
    contact: PersonRef
    from_on: date
    to_on: date | None = None

    def text(self, nonce: str) -> str:
        until = f"to {self.to_on}" if self.to_on else "until now"
        return f"- {self.role}: {self.contact.text(nonce)} from {self.from_on} {until}"


class ContactEntry(ContactLine):
    last_touch_on: date | None = None

    def text(self, nonce: str) -> str:
        return super().text(nonce) + f", last met {self.last_touch_on or 'never'}, v{self.version}"


class ContactList(View):
    account: PersonRef
    contacts: list[ContactEntry]
    total: int
    executive_sponsor: PersonRef | None = None
    champion: PersonRef | None = None
    our_executive_sponsor: PersonRef | None = None
    stakeholders: StakeholderMap
    history: list[SeatTime] = []
    left_out: list[LeftOut] = []

    def text(self, nonce: str) -> str:
        def seat(title: str, person: PersonRef | None) -> str:
            return f"{title}: {person.text(nonce) if person else 'none'}"

        grid = self.stakeholders
        lines = [
            f"# People at {self.account.text(nonce)} — {len(self.contacts)} of {self.total}",
            "; ".join(
                [
                    seat("Executive sponsor", self.executive_sponsor),
                    seat("champion", self.champion),
                    seat("our executive sponsor", self.our_executive_sponsor),
                ]
            )
            + ".",
            (
                f"Engaged: {grid.engaged}, {grid.heights} of 3 levels, {grid.functions} functions"
                f"{'; SINGLE-THREADED' if grid.single_threaded else ''} ({grid.formula})."
            ),
        ]
        for height, functions in grid.cells.items():
            lines.append(f"  {height}: " + "; ".join(f"{shown(f)} {', '.join(ids)}" for f, ids in functions.items()))
        lines += [contact.text(nonce) for contact in self.contacts]
        if self.history:
            lines.append("## Seats")
            lines += [seat_time.text(nonce) for seat_time in self.history]
        lines += [f"Left out: {left.what}. Call {left.call}." for left in self.left_out]
        return "\n".join(lines)


class Changed(View):
    """The account's people after a write on them."""

    account: PersonRef
    contacts: list[ContactLine]

    def text(self, nonce: str) -> str:
        return "\n".join([f"On {self.account.text(nonce)}:", *(contact.text(nonce) for contact in self.contacts)])


class Sponsors:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._reads = PeopleReads(store)

    async def list(self, principal: Principal, question: ListContacts) -> ContactList:
        match = await Names.reading(self._store, principal).account(question.account)
        today = (await self._store.workspace(principal.workspace)).calendar.today(self._store.clock.now())
        found = await self._reads.of_account(principal, match.id)
        contacts = [Contact.model_validate({n: row[n] for n in Contact.model_fields}) for row in found.contacts]
        wanted = [
            contact
            for contact in contacts
            if (question.role is None or set(question.role) & set(contact.roles))
            and (question.status is None or contact.status in question.status)
        ]
        entries = [ContactEntry(**contact_line(c).model_dump(), last_touch_on=found.last_met.get(c.id)) for c in wanted]
        kept = fitted(entries, budget_tokens=question.budget_tokens, overhead_bytes=1200)
        names = {contact.id: contact.name for contact in contacts}

        def seat(column: str) -> PersonRef | None:
            record = found.account[column]
            return PersonRef(id=record, name=names.get(record, "?")) if record is not None else None

        ours = next((row for row in found.team if row["role"] == TeamRole.executive_sponsor.value), None)
        return ContactList(
            account=PersonRef(id=match.id, name=found.account["name"]),
            contacts=kept,
            total=len(entries),
            executive_sponsor=seat("executive_sponsor_id"),
            champion=seat("champion_id"),
            our_executive_sponsor=PersonRef(id=ours["user_id"], name=ours["name"]) if ours else None,
            stakeholders=stakeholder_map(contacts, found.last_met, today),
            history=[_seat_time(row, names) for row in found.seats] if question.history else [],
            left_out=[
                LeftOut(what=f"{len(entries) - len(kept)} of {len(entries)} contacts", call="list_contacts with `role`")
            ]
            if len(kept) < len(entries)
            else [],
        )

    async def save(self, work: UnitOfWork, command: SaveContact) -> Outcome:
        account = await self._account(work, command.account)
        fields: dict[str, Any] = {
            name: value
            for name in ("name", "email", "title", "department", "level", "sentiment")
            if (value := getattr(command, name)) is not None
        }
        if command.confirmed_on is not None:
            if command.confirmed_on > work.today:
                raise Invalid(f"confirmed_on {command.confirmed_on} is in the future.", remedy="Give a past day.")
            fields["last_confirmed_on"] = command.confirmed_on
        if command.on_leave is not None:
            fields["status"] = ContactStatus.on_leave if command.on_leave else ContactStatus.active
        for name in command.clear or ():
            if name in fields:
                raise Invalid(f"{name} is both set and cleared.", remedy="Give it in one of the two only.")
            fields[name] = None
        people = People(work, account, as_of=work.today)
        if command.contact is None:
            contact = await self._created(people, command, fields)
        else:
            contact = await people.known(command.contact)
            if command.expected_version is None:
                raise Invalid(
                    f"Updating {contact.id} needs expected_version.",
                    remedy=f"Read it with list_contacts; it is at version {contact.version}.",
                )
            await check_version(work, contact, command.expected_version, "contact")
            if contact.status is ContactStatus.departed and "status" in fields:
                raise Conflict(
                    f"{contact.name} ({contact.id}) departed on {contact.departed_on}.",
                    remedy="Undo the departure, or log in a meeting that they are back.",
                )
        if command.roles is not None:
            seats = [role for role in contact.roles if role in SEATS]
            fields["roles"] = sorted({*seats, *(ContactRole(role) for role in command.roles)})
        people.save(contact.changed(**fields))
        return await _answer(work, account, people)

    async def _created(self, people: People, command: SaveContact, fields: dict[str, Any]) -> Contact:
        if command.name is None:
            raise Invalid("A new contact needs a name.", remedy="Give `name`, or name the `contact` to update.")
        if command.allow_duplicate:
            if command.reason is None:
                raise Invalid("allow_duplicate needs a reason.", remedy="Say in `reason` why they are two people.")
        elif twins := await people.twins(command.name, command.email):
            listed = "; ".join(f"{c.name} ({c.id}, {c.title or 'no title'}, {c.email or 'no e-mail'})" for c in twins)
            raise Conflict(
                f"The account has a contact like {command.name!r}: {listed}. Nothing was done.",
                remedy="Update that contact, or call again with allow_duplicate: true and a reason.",
            )
        fields.pop("name", None)
        return await people.enter(command.name)

    async def assign(self, work: UnitOfWork, command: AssignSponsor) -> Outcome:
        account = await self._account(work, command.account)
        since = command.since or work.today
        people = People(work, account, as_of=work.today)
        if command.role == "our_executive_sponsor":
            await self._seat_ours(work, account, command, people)
        else:
            await people.seat(command.contact, SponsorRole(command.role), since, correction=command.correction)
        return await _answer(work, account, people)

    async def _seat_ours(self, work: UnitOfWork, account: Account, command: AssignSponsor, people: People) -> None:
        member = await Names.writing(work).member(command.contact)
        seats = await work.team.seats(account.id, TeamRole.executive_sponsor)
        if any(seat.user_id == member.id for seat in seats):
            return
        for seat in seats:
            work.team.save(seat.changed(removed_at=work.now))
        work.team.add(
            TeamMember(
                id=work.ids.new("account_team"),
                account_id=account.id,
                user_id=member.id,
                role=TeamRole.executive_sponsor,
            )
        )
        people.triggered.append(f"{member.name} is our executive sponsor for {account.name}.")

    async def depart(self, work: UnitOfWork, command: RecordDeparture) -> Outcome:
        account = await self._account(work, command.account)
        on = command.on or work.today
        people = People(work, account, as_of=work.today)
        await people.learn(
            PersonNews(
                contact=command.contact,
                news=News.departed if on <= work.today else News.leaving,
                on=on,
                successor=command.successor,
            )
        )
        return await _answer(work, account, people)

    async def _account(self, work: UnitOfWork, ref: str) -> Account:
        return await work.accounts.get((await Names.writing(work).account(ref)).id)


async def _answer(work: UnitOfWork, account: Account, people: People) -> Outcome:
    await work.flush()
    return Outcome(
        record=Changed(
            account=PersonRef(id=account.id, name=account.name),
            contacts=[contact_line(work.contacts.now(contact)) for contact in people.touched],
        ),
        triggered=people.triggered,
    )


def _seat_time(row: Row, names: dict[str, str]) -> SeatTime:
    return SeatTime(
        id=row["id"],
        role=row["role"],
        contact=PersonRef(id=row["contact_id"], name=names.get(row["contact_id"], "?")),
        from_on=row["from_on"],
        to_on=row["to_on"],
    )
