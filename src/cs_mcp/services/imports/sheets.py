"""Writing the rows of one file: each chunk is compared with what its source ids name, and what differs is written.

A row whose record was removed is restored: the source states that it exists. That is what makes an undone import
repeatable; whoever removes a record by hand has to remove it from the source's export too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cs_mcp.db.accounts.accounts import AccountRow, TeamMemberRow, name_key
from cs_mcp.db.base import Remembered
from cs_mcp.db.bulk import RowUpdate, bulk_create, bulk_update
from cs_mcp.db.derived import rederive
from cs_mcp.db.history.changes import plain
from cs_mcp.db.read_path import Row
from cs_mcp.db.transfer.import_reads import ImportReads, kinds_of
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import TeamRole
from cs_mcp.domain.revenue.currency_rates import Rates
from cs_mcp.services.imports import columns as concepts
from cs_mcp.services.imports.columns import Columns, Concept, Known
from cs_mcp.services.imports.report import FileReport, ImportedRow, LeftOut, Looks, Refused, Tally

CHUNK: Final = 5_000
_LARGEST: Final = 2**31 - 1


@dataclass(slots=True)
class Draft:
    """A row on its way: `before` is what is stored, None for a new one."""

    row: ImportedRow
    id: str
    before: Row | None
    columns: Columns


def storable(row: type[Remembered], columns: Columns) -> Columns:
    """The columns without empty values where a value is needed; raises Refused for numbers that are too large."""
    needed, small = kinds_of(row)
    for name in small & columns.keys():
        if columns[name] is not None and columns[name] > _LARGEST:
            raise Refused(f"{name}: {columns[name]} is larger than {_LARGEST:,}")
    kept = {name: None if value == "" else value for name, value in columns.items()}
    return {name: value for name, value in kept.items() if value is not None or name not in needed}


async def update_differing(work: UnitOfWork, row: type[Remembered], pairs: Iterable[tuple[Row, Columns]]) -> Tally:
    """Write the columns that differ from the stored row; restores it where it was removed."""
    tally = Tally()
    updates: list[RowUpdate] = []
    for before, columns in pairs:
        fields = {name: value for name, value in columns.items() if plain(value) != plain(before[name])}
        if before["removed_at"] is not None:
            fields.setdefault("removed_at", None)
            tally.restored += 1
        elif fields:
            tally.updated += 1
        else:
            tally.unchanged += 1
            continue
        account = fields.get("account_id", before.get("account_id"))
        updates.append(RowUpdate(before["id"], before["version"], account, before, fields))
    await bulk_update(work, row, updates)
    return tally


async def exchange_rates(work: UnitOfWork) -> Rates:
    """All that are known, read through the workspace's currency."""
    return Rates(await work.exchange_rates.where(), through=work.workspace.currency)


def _beside(before: Row, columns: Columns) -> Columns:
    """What one of two merged rows tells: it empties nothing that the other may have brought."""
    kept = {name: value for name, value in columns.items() if value is not None}
    for name in ("tags", "roles"):
        if name in kept:
            kept[name] = sorted({*before[name], *kept[name]})
    return kept


class Sheet:
    """The rows of one file of one concept, in one transaction."""

    concept: Concept

    def __init__(self, work: UnitOfWork, reads: ImportReads, known: Known, report: FileReport, source: str) -> None:
        self.work = work
        self.reads = reads
        self.known = known
        self.report = report
        self.source = source
        # Source id → why the file contradicts itself there, known after `finish`.
        self.objections: dict[str, tuple[Looks, str]] = {}
        self._left: set[str] = set()

    async def put(
        self, rows: Sequence[ImportedRow], refuse: Callable[[ImportedRow, str], None], is_stopping: Callable[[], bool]
    ) -> None:
        """Write the chunk. `refuse` is told of rows that cannot be stored; a file that is stopping is only checked."""
        await self.prepare(rows)
        stored = await self.stored(rows)
        grown = await self.reads.grown(self.concept.row)
        drafts: list[Draft] = []
        for row in rows:
            before = stored.get(row.source_id)
            if before is not None and before.get("merged_into_id") is not None:
                self.report.records.unchanged += 1  # part of another record now, whose own row tells its fields
                continue
            try:
                columns = storable(self.concept.row, self.columns_of(row, before))
                if before is not None and before["id"] in grown:
                    columns = _beside(before, columns)
                drafts.append(Draft(row, before["id"] if before else self._new_id(), before, columns))
            except Refused as refused:
                refuse(row, str(refused))
        if not is_stopping():
            await self.write(drafts)

    async def prepare(self, rows: Sequence[ImportedRow]) -> None:
        """Fetch what the rows refer to."""
        keys = sorted({row.told["account_id"] for row in rows})
        self.known.accounts = await self.reads.accounts(keys)

    async def stored(self, rows: Sequence[ImportedRow]) -> dict[str, Row]:
        return await self.reads.by_source(self.concept.row, [row.source_id for row in rows])

    def columns_of(self, row: ImportedRow, before: Row | None) -> Columns:
        return self.concept.columns(row.told, self.known)

    async def write(self, drafts: Sequence[Draft]) -> None:
        self.count(self.report.records, await self.save(drafts))

    async def save(self, drafts: Sequence[Draft]) -> Tally:
        concept, known = self.concept, self.known
        new = [concept.first(d.columns, known) | d.columns | self._name(d) for d in drafts if d.before is None]
        await bulk_create(self.work, concept.row, new)
        old = [
            (d.before, self._name(d) | d.columns | concept.settled(d.before, d.columns, known))
            for d in drafts
            if d.before is not None
        ]
        tally = await update_differing(self.work, concept.row, old)
        self._left.update(
            before["account_id"]
            for before, columns in old
            if columns.get("account_id") and columns["account_id"] != before["account_id"]
        )
        tally.created = len(new)
        return tally

    def _name(self, draft: Draft) -> Columns:
        name = {"source_system": self.source, "source_id": draft.row.source_id}
        return name if draft.before is not None else name | {"id": draft.id}

    def _new_id(self) -> str:
        return self.work.ids.new(self.concept.row.__tablename__)

    def count(self, tally: Tally, more: Tally) -> None:
        for name in Tally.model_fields:
            setattr(tally, name, getattr(tally, name) + getattr(more, name))

    def count_other(self, entity: str, more: Tally) -> None:
        self.count(self.report.others.setdefault(entity, Tally()), more)

    async def take_gone(self, rows: Sequence[LeftOut]) -> None:
        """Remove what the source has no more. The source may be wrong, and undoing the import brings it back."""
        for start in range(0, len(rows), CHUNK):
            stored = await self.reads.by_source(
                self.concept.row, [r.gone for r in rows[start : start + CHUNK] if r.gone]
            )
            live = [row for row in stored.values() if row["removed_at"] is None]
            gone = {"removed_at": self.work.now}
            updates = [RowUpdate(row["id"], row["version"], row.get("account_id"), row, gone) for row in live]
            await bulk_update(self.work, self.concept.row, updates)
            self.report.records.removed += len(updates)

    async def _tell_gone(self, rows: Sequence[LeftOut]) -> None:
        """Say what the source has no more and other records here hang on: people decide what becomes of those."""
        for start in range(0, len(rows), CHUNK):
            part = {row.gone: row for row in rows[start : start + CHUNK] if row.gone}
            for key, stored in (await self.reads.by_source(self.concept.row, list(part))).items():
                if stored["removed_at"] is None and stored["source_id"] == key:
                    into = part[key].merged_into
                    became = f"was merged into {into}" if into else "was deleted"
                    what = f"{self.concept.row.__tablename__} {key} ({stored['id']}) {became}"
                    self.known.warnings.add(Looks.gone, what)

    async def finish(self) -> None:
        """After the last chunk: derived columns of accounts that rows moved away from."""
        if self._left:
            entity = self.concept.row.__tablename__
            wire, workspace = await self.work.wire(), self.work.principal.workspace
            await rederive(wire, workspace, self._left, {entity}, self.work.today)


class MemberSheet(Sheet):
    """A member that someone added by hand is taken over by the row with its e-mail, instead of refusing the row."""

    concept = concepts.MEMBER

    async def prepare(self, rows: Sequence[ImportedRow]) -> None:
        self.known.members = await self.reads.members()

    async def take_gone(self, rows: Sequence[LeftOut]) -> None:
        await self._tell_gone(rows)

    async def stored(self, rows: Sequence[ImportedRow]) -> dict[str, Row]:
        found = await super().stored(rows)
        by_hand = {email: member for email, member in self.known.members.items() if member["source_id"] is None}
        for row in rows:
            if row.source_id not in found and (holder := by_hand.pop(row.told["email"].casefold(), None)):
                found[row.source_id] = holder
        self._claims = {email: member["id"] for email, member in self.known.members.items()}
        return found

    def columns_of(self, row: ImportedRow, before: Row | None) -> Columns:
        columns = super().columns_of(row, before)
        mine = before["id"] if before else row.source_id
        if self._claims.setdefault(columns["email"], mine) != mine:
            raise Refused(f"email: another user has {columns['email']!r}")
        return columns


class AccountSheet(Sheet):
    """Accounts, their account managers, and their parents, which may stand further down in the file."""

    concept = concepts.ACCOUNT

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._waiting: dict[str, str] = {}  # child → parent, source ids

    async def prepare(self, rows: Sequence[ImportedRow]) -> None:
        parents = sorted({parent for row in rows if (parent := row.told.get("parent_account_id"))})
        self.known.accounts = await self.reads.accounts(parents) if parents else {}

    def columns_of(self, row: ImportedRow, before: Row | None) -> Columns:
        if row.told.get("parent_account_id") == row.source_id:
            raise Refused("parent_account_id: an account cannot be its own parent")
        columns = super().columns_of(row, before)
        if before is None and "custom" in columns:
            columns["custom"] = {name: value for name, value in columns["custom"].items() if value is not None}
        return columns

    async def take_gone(self, rows: Sequence[LeftOut]) -> None:
        await self._tell_gone(rows)

    async def write(self, drafts: Sequence[Draft]) -> None:
        ids = {key: row["id"] for key, row in self.known.accounts.items()} | {d.row.source_id: d.id for d in drafts}
        for draft in drafts:
            if "parent_account_id" in draft.row.told:
                parent = draft.row.told["parent_account_id"]
                if parent is None or parent in ids:
                    above = ids[parent] if parent else None
                    draft.columns["parent_id"] = above if above != draft.id else None  # the parent was merged into it
                else:
                    self._waiting[draft.row.source_id] = parent
        await super().write(drafts)
        await self._save_managers([d for d in drafts if "account_manager_email" in d.row.told])

    async def _save_managers(self, drafts: Sequence[Draft]) -> None:
        if not drafts:
            return
        role = TeamRole.account_manager.value
        stored = await self.reads.by_source(TeamMemberRow, [f"{d.row.source_id}:{role}" for d in drafts])
        creates: list[Columns] = []
        updates: list[tuple[Row, Columns]] = []
        gone: list[RowUpdate] = []
        for draft in drafts:
            user = self.known.member_of(draft.row.told, "account_manager_email")
            before = stored.get(f"{draft.row.source_id}:{role}")
            if user is None:
                if before is not None and before["removed_at"] is None:
                    fields = {"removed_at": self.work.now}
                    gone.append(RowUpdate(before["id"], before["version"], before["account_id"], before, fields))
            elif before is not None:
                updates.append((before, {"user_id": user, "account_id": draft.id}))
            else:
                name = {"source_system": self.source, "source_id": f"{draft.row.source_id}:{role}"}
                seat = {"id": self.work.ids.new("account_team"), "account_id": draft.id, "user_id": user, "role": role}
                creates.append(name | seat)
        await bulk_create(self.work, TeamMemberRow, creates)
        await bulk_update(self.work, TeamMemberRow, gone)
        tally = await update_differing(self.work, TeamMemberRow, updates)
        tally.created, tally.updated = len(creates), tally.updated + len(gone)
        self.count_other("account_team", tally)

    async def finish(self) -> None:
        waiting = list(self._waiting.items())
        for start in range(0, len(waiting), CHUNK):
            await self._join(waiting[start : start + CHUNK])
        for what, looks in (("name", Looks.shared_name), ("domain", Looks.shared_domain)):
            for shared in await self.reads.shared_by_accounts(what):
                two = f"{shared['first']} and {shared['last']}"
                self.known.warnings.add(looks, f"{shared['value']!r}: {shared['accounts']} accounts, such as {two}")
        foreign = await self.reads.in_another_currency(self.known.currency)
        rates = await exchange_rates(self.work) if foreign else None
        for row in foreign:
            if rates is not None and rates.has(row["currency"], self.known.currency, self.known.today):
                continue
            example = f"account {row['source_id']} is in {row['currency']}, the workspace in {self.known.currency}"
            self.known.warnings.add(Looks.no_rate, example)

    async def _join(self, waiting: Sequence[tuple[str, str]]) -> None:
        children = await self.reads.by_source(AccountRow, [child for child, _ in waiting])
        parents = await self.reads.accounts(sorted({parent for _, parent in waiting}))
        pairs: list[tuple[Row, Columns]] = []
        for child, name in waiting:
            parent = parents.get(name)
            if parent is None:
                self.known.warnings.add(Looks.unknown_record, f"account {child}: no account is called {name!r}")
            pairs.append((children[child], {"parent_id": parent["id"] if parent else None}))
        await update_differing(self.work, AccountRow, pairs)


class SubscriptionSheet(Sheet):
    concept = concepts.SUBSCRIPTION


class MeetingSheet(Sheet):
    concept = concepts.MEETING

    async def prepare(self, rows: Sequence[ImportedRow]) -> None:
        await super().prepare(rows)
        contacts: dict[tuple[str, str], str | None] = {}
        for row in await self.reads.contacts(sorted({account["id"] for account in self.known.accounts.values()})):
            for key in {name_key(row["name"]), name_key(row["email"] or "")} - {""}:
                place = (row["account_id"], key)
                contacts[place] = row["id"] if contacts.get(place, row["id"]) == row["id"] else None  # two: neither
        self.known.contacts = contacts


class NoteSheet(Sheet):
    """A note of a source is kept as the source has it: its rows are updated, its history keeps what they said."""

    concept = concepts.NOTE


class TaskSheet(Sheet):
    concept = concepts.TASK
