"""Contacts, and the seats of sponsor and champion that their roles speak of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from cs_mcp.db.bulk import bulk_create
from cs_mcp.db.people.sponsors import SponsorshipRow
from cs_mcp.db.read_path import Row
from cs_mcp.domain.people.sponsors import ContactStatus, SponsorRole
from cs_mcp.services.imports import columns as concepts
from cs_mcp.services.imports.columns import Columns
from cs_mcp.services.imports.report import LeftOut
from cs_mcp.services.imports.sheets import Draft, Sheet, update_differing

_SEATS: Final = tuple(role.value for role in SponsorRole)


class ContactSheet(Sheet):
    """A contact's role as executive sponsor or champion is a seat with dates, which the file does not tell.

    A seat opens on the day the import learns of the role, and ends with the departure or the day before the role is
    gone. Someone who had left before we heard of them held it on their last day, which is all that is known. A contact
    whose roles and status are as before changes no seat, so that what people do with seats by hand is left alone.
    """

    concept = concepts.CONTACT

    async def take_gone(self, rows: Sequence[LeftOut]) -> None:
        await self._tell_gone(rows)

    async def write(self, drafts: Sequence[Draft]) -> None:
        await super().write(drafts)
        moved = [(draft, *_held(draft)) for draft in drafts]
        moved = [(draft, before, after) for draft, before, after in moved if before != after]
        left_unseen = [draft for draft in drafts if _left_unseen(draft)]
        known = [draft.id for draft, _, _ in moved if draft.before is not None]
        stored: dict[str, list[Row]] = {}
        for seat in await self.reads.seats(known) if known else []:
            stored.setdefault(seat["contact_id"], []).append(seat)
        creates: list[Columns] = []
        updates: list[tuple[Row, Columns]] = []
        for draft, before, after in moved:
            seats = stored.get(draft.id, [])
            for role in sorted(after - before):
                self._open(draft, role, seats, creates, updates)
            for role in sorted(before - after):
                updates += [(seat, self._ended(draft, seat)) for seat in seats if _is_open(seat, role)]
        for draft in left_unseen:
            day = draft.columns["departed_on"]
            roles = set(_SEATS) & set(draft.columns.get("roles", ()))
            creates += [
                self._seat(draft, role, f"{draft.row.source_id}:{role}") | {"from_on": day, "to_on": day}
                for role in sorted(roles)
            ]
        await bulk_create(self.work, SponsorshipRow, creates)
        tally = await update_differing(self.work, SponsorshipRow, updates)
        tally.created = len(creates)
        if tally.changed:
            self.count_other("sponsorship", tally)

    def _open(
        self, draft: Draft, role: str, seats: Sequence[Row], creates: list[Columns], updates: list[tuple[Row, Columns]]
    ) -> None:
        if any(_is_open(seat, role) for seat in seats):
            return  # someone gave them the seat by hand
        ours = {row["source_id"]: row for row in seats if row["source_system"] == self.source}
        name = f"{draft.row.source_id}:{role}"
        if name in ours and ours[name]["removed_at"] is None:
            name += f":{self.known.today}"  # a second time in the seat
        if name in ours:
            updates.append((ours[name], {"to_on": None}))
        else:
            creates.append(self._seat(draft, role, name) | {"from_on": self.known.today, "to_on": None})

    def _seat(self, draft: Draft, role: str, name: str) -> Columns:
        return {
            "id": self.work.ids.new("sponsorship"),
            "source_system": self.source,
            "source_id": name,
            "account_id": draft.columns["account_id"],
            "contact_id": draft.id,
            "role": role,
        }

    def _ended(self, draft: Draft, seat: Row) -> Columns:
        last = draft.columns.get("departed_on") or self.known.today - timedelta(days=1)
        return {"to_on": max(last, seat["from_on"])}


def _is_open(seat: Row, role: str) -> bool:
    return seat["role"] == role and seat["removed_at"] is None and seat["to_on"] is None


def _held(draft: Draft) -> tuple[set[str], set[str]]:
    """The seats that the contact's roles gave before, and give now."""
    before = draft.before if draft.before is not None and draft.before["removed_at"] is None else {}
    after = (draft.before or {}) | draft.columns
    return _roles(before), _roles(after)


def _roles(contact: Row) -> set[str]:
    gone = contact.get("status") == ContactStatus.departed.value
    return set() if gone else set(_SEATS) & set(contact.get("roles") or ())


def _left_unseen(draft: Draft) -> bool:
    left = draft.columns.get("status") == ContactStatus.departed.value and draft.columns.get("departed_on")
    return draft.before is None and bool(left)
