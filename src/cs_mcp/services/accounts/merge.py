"""Two accounts, or two contacts of one account, become one. Always a plan first, and one undo takes it back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from cs_mcp.db.accounts.accounts import name_key
from cs_mcp.db.history.merging import Repointed, ancestors, arr_of, replace_attendee, repoint
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Account, TeamRole
from cs_mcp.domain.accounts.merging import Union, look_alikes, union_of_accounts, union_of_contacts
from cs_mcp.domain.contract import AccountRef, Amount, Command, InOrder, Ref, ShortText, View, shown
from cs_mcp.domain.errors import Conflict, Invalid
from cs_mcp.domain.people.sponsors import Contact, ContactStatus, SponsorRole, Sponsorship
from cs_mcp.domain.records import is_id
from cs_mcp.domain.work.tasks import TaskStatus
from cs_mcp.services.accounts.views import PersonRef
from cs_mcp.services.naming import Names
from cs_mcp.services.writes import Outcome

ALIKE_SHOWN: Final = 10
_SHOWN_FIELD: Final = {"owner_id": "owner"}


class MergeRecords(Command):
    tool: ClassVar[str] = "merge_records"
    always_planned: ClassVar[bool] = True

    kind: Literal["account", "contact"]
    keep: Annotated[Ref, Field(description="The record that stays: id, domain or e-mail, or name")]
    merge: Annotated[Ref, Field(description="The record that goes into it")]
    account: Annotated[AccountRef, Field(description="With contacts not named by id: their account")] | None = None
    # A merge is a judgement; pydantic leaves the field without the default of the command above.
    reason: ShortText  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]


class Merged(View):
    """The record that stays, the one that went into it, and how many records follow, by kind."""

    kept: PersonRef
    merged: PersonRef
    followed: Annotated[dict[str, int], InOrder]
    arr: Amount | None = None

    def text(self, nonce: str) -> str:
        arr = f" ARR {self.arr}." if self.arr else ""
        return f"{self.merged.text(nonce)} is part of {self.kept.text(nonce)}.{arr}"


class Merge:
    async def merge(self, work: UnitOfWork, command: MergeRecords) -> Outcome:
        if command.kind == "account":
            return await _accounts(work, command)
        return await _contacts(work, command)


# -- accounts ---------------------------------------------------------------------------------------------------------


async def _accounts(work: UnitOfWork, command: MergeRecords) -> Outcome:
    names = Names.writing(work)
    kept = await work.accounts.get((await names.account(command.keep)).id)
    merged = await work.accounts.get((await names.account(command.merge)).id)
    _refuse_itself(kept, merged)
    if kept.currency != merged.currency:
        raise Conflict(
            f"{kept.name} ({kept.id}) is in {kept.currency} and {merged.name} ({merged.id}) in {merged.currency}: "
            "their ARR cannot be one sum. Nothing was done.",
            remedy="Correct the wrong currency with update_account; it can change while no ARR movement is posted.",
        )
    union = union_of_accounts(kept, merged)
    lines = await _seats_of_one(work, kept, merged)
    lines += await _purposes_once(work, kept, merged)
    union.fields |= await _parent(work, kept, merged)
    team = await _team(work, kept, merged)
    work.accounts.save(kept.changed(**union.fields))
    work.accounts.save(merged.changed(removed_at=work.now, merged_into_id=kept.id))
    people = await work.contacts.of_account(kept.id) + await work.contacts.of_account(merged.id)
    done = await repoint(work, "account", old=merged.id, new=kept.id, but={"account_team"}, settled={"task"})
    await work.flush()
    done.followed["account_team"] = team
    answer = Merged(
        kept=PersonRef(id=kept.id, name=kept.name),
        merged=PersonRef(id=merged.id, name=merged.name),
        followed=dict(+done.followed),
        arr=Amount.of(await arr_of(work, kept.id), kept.currency),
    )
    said = _said(kept, merged, union, done, await _named(work, union)) + lines + _alike(people)
    return Outcome(record=answer, triggered=said)


def _refuse_itself(kept: Account | Contact, merged: Account | Contact) -> None:
    if kept.id == merged.id:
        raise Invalid(
            f"{kept.name} ({kept.id}) cannot be merged with itself. Nothing was done.",
            remedy="Name two records; ids tell namesakes apart.",
        )


async def _seats_of_one(work: UnitOfWork, kept: Account, merged: Account) -> list[str]:
    """Executive sponsor and champion are one person each: the kept account's stay."""
    mine, theirs = await work.sponsorships.of_account(kept.id), await work.sponsorships.of_account(merged.id)
    lines: list[str] = []
    for role in SponsorRole:
        if not any(_is_held(work, seat, role) for seat in mine):
            continue
        for seat in theirs:
            if _is_held(work, seat, role):
                holder = await work.contacts.get(seat.contact_id)
                work.sponsorships.save(_ended(work, seat))
                work.contacts.save(holder.changed(roles=[r for r in holder.roles if r.value != role.value]))
                lines.append(
                    f"{shown(holder.name)} ({holder.id}) is {_words(role)} no more: {shown(kept.name)} has one."
                )
    return lines


def _ended(work: UnitOfWork, seat: Sponsorship) -> Sponsorship:
    if seat.from_on > work.today:
        return seat.changed(removed_at=work.now)
    return seat.changed(to_on=max(seat.from_on, work.today - timedelta(days=1)))


def _is_held(work: UnitOfWork, seat: Sponsorship, role: SponsorRole) -> bool:
    return seat.role is role and (seat.to_on is None or seat.to_on > work.today)


async def _purposes_once(work: UnitOfWork, kept: Account, merged: Account) -> list[str]:
    """One open task per account and purpose: the merged account's gives way."""
    open_already = {task.purpose: task for task in await work.tasks.with_purpose(kept.id)}
    lines: list[str] = []
    for task in await work.tasks.with_purpose(merged.id):
        if (twin := open_already.get(task.purpose)) is not None:
            outcome = f"The same as {twin.id} after the accounts were merged."
            work.tasks.save(task.changed(status=TaskStatus.canceled, outcome=outcome))
            lines.append(f"Task {shown(task.title)} ({task.id}) is canceled: {twin.id} has its purpose.")
    return lines


async def _parent(work: UnitOfWork, kept: Account, merged: Account) -> dict[str, Any]:
    """Where the kept account stands in the family: never below itself."""
    if merged.id in await ancestors(work, kept.id):
        return {"parent_id": merged.parent_id}  # it takes the place above
    above = merged.parent_id
    if kept.parent_id is None and above is not None and kept.id not in (above, *await ancestors(work, above)):
        return {"parent_id": above}
    return {}


async def _team(work: UnitOfWork, kept: Account, merged: Account) -> int:
    """Seat the merged account's team on the kept one; how many.

    The old seats stay on the merged account: they are what lets its people still see it, and undo the merge.
    """
    seats = await work.team.of_account(kept.id)
    taken = {(seat.user_id, seat.role) for seat in seats}
    ours = {seat.role for seat in seats} & {TeamRole.executive_sponsor}
    added = 0
    for seat in await work.team.of_account(merged.id):
        if (seat.user_id, seat.role) in taken or seat.role in ours:
            continue
        taken.add((seat.user_id, seat.role))
        fresh = work.ids.new("account_team")
        work.team.add(seat.changed(id=fresh, account_id=kept.id, source_system=None, source_id=None))
        added += 1
    return added


# -- contacts ---------------------------------------------------------------------------------------------------------


async def _contacts(work: UnitOfWork, command: MergeRecords) -> Outcome:
    kept = await _contact(work, command.keep, command.account)
    merged = await _contact(work, command.merge, command.account)
    _refuse_itself(kept, merged)
    if kept.account_id != merged.account_id:
        raise Conflict(
            f"{kept.name} ({kept.id}) is at {kept.account_id} and {merged.name} ({merged.id}) at {merged.account_id}: "
            "a contact belongs to one account. Nothing was done.",
            remedy="If the accounts are one customer, merge them first, kind 'account'.",
        )
    if kept.status is ContactStatus.departed and merged.status is not ContactStatus.departed:
        raise Conflict(
            f"{kept.name} ({kept.id}) departed on {kept.departed_on}, and {merged.name} ({merged.id}) is "
            f"{merged.status.value}. Nothing was done.",
            remedy=f"Keep {merged.id} and merge {kept.id} into it, or record first that they are back.",
        )
    union = union_of_contacts(kept, merged)
    if kept.successor_id == merged.id:
        union.fields["successor_id"] = None
    await _seats_of_one_person(work, kept, merged)
    work.contacts.save(kept.changed(**union.fields))
    work.contacts.save(merged.changed(removed_at=work.now, merged_into_id=kept.id))
    done = await repoint(work, "contact", old=merged.id, new=kept.id)
    done.followed["meeting"] += await replace_attendee(work, kept.account_id, old=merged.id, new=kept.id)
    await work.flush()
    answer = Merged(
        kept=PersonRef(id=kept.id, name=kept.name),
        merged=PersonRef(id=merged.id, name=merged.name),
        followed=dict(+done.followed),
    )
    return Outcome(record=answer, triggered=_said(kept, merged, union, done, {}))


async def _contact(work: UnitOfWork, ref: str, account: str | None) -> Contact:
    names = Names.writing(work)
    if account is not None:
        return await work.contacts.get((await names.contact(ref, (await names.account(account)).id)).id)
    if not is_id(ref, "contact"):
        raise Invalid(
            f"{ref!r} is no contact's id, and no account is named.", remedy="Name their `account`, or use the id."
        )
    await names.refuse_gone_contact(ref)
    return await work.contacts.get(ref)


async def _seats_of_one_person(work: UnitOfWork, kept: Contact, merged: Contact) -> None:
    """Where both records hold one seat it is held once, since the earlier day."""
    seats = await work.sponsorships.of_account(kept.account_id)
    for role in SponsorRole:
        mine = next((s for s in seats if s.contact_id == kept.id and _is_held(work, s, role)), None)
        theirs = [s for s in seats if s.contact_id == merged.id and _is_held(work, s, role)]
        if mine is None or not theirs:
            continue
        work.sponsorships.save(mine.changed(from_on=min(seat.from_on for seat in (mine, *theirs))))
        for seat in theirs:
            work.sponsorships.save(seat.changed(removed_at=work.now))


# -- what is said -----------------------------------------------------------------------------------------------------


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _said(
    kept: Account | Contact,
    merged: Account | Contact,
    union: Union,
    done: Repointed,
    names: dict[str, str],
) -> list[str]:
    def told(value: Any) -> str:
        return shown(names.get(value, value) if isinstance(value, str) else value)

    lines: list[str] = []
    follows = [f"{count} {_words(table)}{'s' * (count > 1)}" for table, count in sorted((+done.followed).items())]
    if follows:
        lines.append(f"To {shown(kept.name)} ({kept.id}): {', '.join(follows)}.")
    if union.filled:
        filled = ", ".join(_SHOWN_FIELD.get(name, name) for name in union.filled)
        lines.append(f"Filled from {shown(merged.name)}: {filled}.")
    lines += [
        f"{_SHOWN_FIELD.get(one.field, one.field)} stays {told(one.kept)}; {told(one.merged)} gives way."
        for one in union.set_aside
    ]
    lines += [
        f"{_words(table)} {record} is removed: {shown(kept.name)} has its own, and may have one."
        for table, record in done.removed
    ]
    if merged.source_id is not None and kept.source_system != merged.source_system:
        origin = kept.source_system or "none: it was entered by hand"
        lines.append(
            f"{merged.id} comes from {shown(merged.source_system)}, {kept.id} from {shown(origin)}. Later imports will "
            f"not change the fields of {kept.id} from the merged one's row; keep {merged.id} if they should."
        )
    return lines


async def _named(work: UnitOfWork, union: Union) -> dict[str, str]:
    owners = [one for one in union.set_aside if one.field == "owner_id"]
    return await work.members.names([value for one in owners for value in (one.kept, one.merged)])


def _alike(contacts: Sequence[Contact]) -> list[str]:
    pairs = look_alikes(contacts, name_key)
    lines = [
        f"{shown(one.name)} ({one.id}) and {shown(other.name)} ({other.id}) share {shown(what)}: if they are one "
        "person, call merge_records with kind 'contact'."
        for one, other, what in pairs[:ALIKE_SHOWN]
    ]
    if len(pairs) > ALIKE_SHOWN:
        lines.append(f"{len(pairs) - ALIKE_SHOWN} more pairs of contacts look alike: list_contacts shows them.")
    return lines
