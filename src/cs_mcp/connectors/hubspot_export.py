"""One HubSpot export: its tables, and what they tell about each other's rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from cs_mcp.connectors.cells import is_email
from cs_mcp.connectors.hubspot_links import Links, Noticed, People, Person, Reader, Table, is_true
from cs_mcp.connectors.hubspot_times import Clock
from cs_mcp.connectors.mapping import Mapping
from cs_mcp.connectors.reading import LeftOut, UnreadableFile, folder_at
from cs_mcp.connectors.tables import Cells

# Objects and the kinds of record they become, each after those it refers to.
KINDS: Final = {
    "owners": "users",
    "companies": "accounts",
    "contacts": "contacts",
    "deals": "subscriptions",
    "meetings": "meetings",
    "calls": "meetings",
    "emails": "meetings",
    "notes": "notes",
    "tasks": "tasks",
    "tickets": "tickets",
}
ENGAGEMENTS: Final = {"meetings": "MEETING", "calls": "CALL", "emails": "EMAIL", "notes": "NOTE", "tasks": "TASK"}


def joined(*parts: str) -> str:
    return " ".join(part for part in (part.strip() for part in parts) if part)


@dataclass(frozen=True, slots=True)
class Owner:
    """`email` is "" or no address where the owner cannot be one of our users."""

    id: str
    name: str
    email: str
    deleted: bool


class Engagements:
    """The table that all engagements share; older exports keep owners and times there."""

    def __init__(self, table: Table, columns: Iterable[str]) -> None:
        self.columns = list(columns)
        self._table = table

    @cached_property
    def _rows(self) -> dict[str, Cells]:
        if not self.columns:
            return {}
        rows = self._table.rows("id")
        return {cells["id"].strip(): {name: cells.get(name, "") for name in self.columns} for cells in rows}

    def of(self, key: str) -> Cells:
        return self._rows.get(key, {})


class Export:
    """One export: its tables, and what they tell about each other's rows."""

    def __init__(self, folder: Path, mapping: Mapping) -> None:
        self.mapping = mapping
        self.noticed = Noticed()
        self.clock = Clock(mapping.times)
        by_stem = {file.stem.casefold(): file for file in folder_at(folder) if file.suffix.casefold() == ".csv"}
        self.folder = folder
        self.others = {file.name for file in folder_at(folder)}
        self.tables: dict[str, Table] = {}
        for name, stems in [*((n, o.files) for n, o in mapping.objects.items()), *mapping.links.items()]:
            there = [by_stem[stem.casefold()] for stem in stems if stem.casefold() in by_stem]
            if len(there) > 1:
                both = " and ".join(file.name for file in there)
                raise UnreadableFile(f"{folder} holds both {both}.", remedy="Keep the one that is right.")
            if there:
                self.tables[name] = Table(there[0])
                self.others.discard(there[0].name)
        self.objects = [name for name in KINDS if name in self.tables]
        if not self.objects:
            names = ", ".join(f"{table.files[0]}.csv" for table in mapping.objects.values())
            raise UnreadableFile(
                f"{folder} holds no table of a HubSpot export.",
                remedy=f"Its files are {names}; other names go into the mapping (--write-mapping FILE).",
            )
        self.links = Links(self.tables, lambda: self.companies, lambda: self.contacts, self.noticed)
        self.links.person = lambda contact: self.people.get(contact)

    # -- what tables tell of each other -----------------------------------------------------------------------
    @cached_property
    def companies(self) -> People:
        return People(self.tables.get("companies"), self.mapping.objects["companies"])

    @cached_property
    def contacts(self) -> People:
        audit = self.tables.get("contact_merges")
        return People(self.tables.get("contacts"), self.mapping.objects["contacts"], audit)

    @cached_property
    def deals(self) -> People:
        return People(self.tables.get("deals"), self.mapping.objects["deals"])

    @cached_property
    def tickets(self) -> People:
        return People(self.tables.get("tickets"), self.mapping.objects["tickets"])

    @cached_property
    def people(self) -> dict[str, Person]:
        """Contacts by id, as attendees are told, with the company they work at."""
        found: dict[str, Person] = {}
        for reader, cells in self._rows("contacts"):
            key = reader.cell(cells, "id")
            name = joined(reader.cell(cells, "first_name"), reader.cell(cells, "last_name"))
            try:
                company = self.links.company_of("contact", key, reader.cell(cells, "company"))
            except LeftOut:
                company = ""
            found[key] = Person(reader.cell(cells, "email") or name, company)
        return found

    @cached_property
    def owners(self) -> dict[str, Owner]:
        """Owners by id; of several with one e-mail address, one stands for all."""
        users = {user["id"]: user for user in self._rows_of("users", "id")}
        found: dict[str, Owner] = {}
        for reader, cells in self._rows("owners"):
            user = users.get(reader.cell(cells, "user"), {})
            email = reader.cell(cells, "email")
            name = joined(reader.cell(cells, "first_name"), reader.cell(cells, "last_name"))
            if not is_email(email):
                email = user.get("email", "").strip()
                name = joined(user.get("first_name", ""), user.get("last_name", "")) or name
            key = reader.cell(cells, "id")
            found[key] = Owner(key, name, email.casefold(), reader.flag(cells, "deleted"))
        return found

    @cached_property
    def owner_of_email(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for owner in sorted(self.owners.values(), key=lambda owner: (owner.deleted, len(owner.id), owner.id)):
            if is_email(owner.email):
                found.setdefault(owner.email, owner.id)
        return found

    @cached_property
    def won_stages(self) -> frozenset[str]:
        won = {
            row["stage_id"]
            for row in self._rows_of("deal_stages", "stage_id", "closed_won")
            if is_true(row["closed_won"])
        }
        return frozenset(won | {"closedwon"})  # the stage that every portal starts with

    @cached_property
    def engagements(self) -> Engagements | None:
        table = self.tables.get("engagements")
        if table is None:
            return None
        listed = {
            column
            for name in ENGAGEMENTS
            for field, columns in self.mapping.objects[name].columns.items()
            for column in columns
            if field != "id"
        }
        return Engagements(table, [column for column in table.header if column in listed])

    def _rows(self, name: str) -> Iterator[tuple[Reader, Cells]]:
        if (table := self.tables.get(name)) is not None:
            reader = Reader(self.mapping.objects[name], table.header)
            for cells in table.rows():
                yield reader, cells

    def _rows_of(self, link: str, *needed: str) -> Iterator[Cells]:
        table = self.tables.get(link)
        return iter(()) if table is None else table.rows(*needed)
