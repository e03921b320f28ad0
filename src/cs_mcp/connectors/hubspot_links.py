"""What a HubSpot export tells across its tables: who was merged into whom, and whose company a record is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from cs_mcp.connectors.mapping import ObjectMapping
from cs_mcp.connectors.reading import LeftOut
from cs_mcp.connectors.tables import Cells, Columns, csv_rows
from cs_mcp.services.imports.report import Looks, Warnings

# HubSpot's association types of a record with its primary company, either way round: contact 1 and 2, deal 5 and 6,
# ticket 25 and 26 (developers.hubspot.com, "Association type IDs").
_PRIMARY: Final = frozenset({"1", "2", "5", "6", "25", "26"})
_TRUE: Final = frozenset({"true", "t", "yes", "1"})


def is_true(text: str) -> bool:
    return text.strip().casefold() in _TRUE


class Noticed:
    """What looks wrong, told once a record, however often its row is read."""

    def __init__(self) -> None:
        self.warnings = Warnings()
        self._met: set[tuple[Looks, str]] = set()

    def add(self, kind: Looks, of: str, example: str) -> None:
        if (kind, of) not in self._met:
            self._met.add((kind, of))
            self.warnings.add(kind, example)


class Table:
    """One CSV file of the export; names of columns are in lower case."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def header(self) -> list[str]:
        columns = _Header(frozenset(), frozenset())
        for _ in csv_rows(self.path, columns):
            break
        return columns.names

    def columns(self, *required: str) -> Columns:
        return Columns(frozenset(required), frozenset(self.header))

    def rows(self, *required: str) -> Iterator[Cells]:
        """The rows whose cells can be told apart; raises UnreadableFile where it lacks a required column."""
        return (row.cells for row in csv_rows(self.path, self.columns(*required)) if row.broken is None)


class _Header(Columns):
    names: list[str]

    def header(self, path: Path, written: list[str]) -> list[str]:
        self.names = [name.strip().casefold() for name in written]
        return self.names


class Reader:
    """The fields of one object's rows, by the columns that the mapping names and the table has."""

    def __init__(self, mapping: ObjectMapping, *headers: list[str]) -> None:
        there = set[str]().union(*headers)
        self.columns = {
            field: [column for column in listed if column in there] for field, listed in mapping.columns.items()
        }
        self._defaults = mapping.defaults
        self._only_where = {
            column: {value.casefold() for value in values} for column, values in mapping.only_where.items()
        }

    def why_not_wanted(self, cells: Cells) -> str:
        for column, wanted in self._only_where.items():
            if cells.get(column, "").strip().casefold() not in wanted:
                return f"is none that the mapping asks for ({column})"
        return ""

    def has(self, field: str) -> bool:
        return bool(self.columns.get(field)) or field in self._defaults

    def cell(self, cells: Cells, field: str) -> str:
        for column in self.columns.get(field, ()):
            if text := cells.get(column, "").strip():
                return text
        return self._defaults.get(field, "")

    def flag(self, cells: Cells, field: str) -> bool:
        return is_true(self.cell(cells, field))

    def keys(self, cells: Cells, field: str) -> list[str]:
        return [key for part in self.cell(cells, field).split(";") if (key := part.strip())]


@dataclass(frozen=True, slots=True)
class Person:
    """A contact as an attendee is told: by e-mail, else by name."""

    told_as: str
    company: str


Tables = Mapping[str, Table]


class Merges:
    """Old ids to the records that are left, through any number of merges."""

    def __init__(self) -> None:
        self._into: dict[str, str] = {}

    def add(self, old: str, survivor: str) -> None:
        if old and survivor and old != survivor:
            self._into[old] = survivor

    def survivor(self, key: str) -> str:
        path = [key]
        while (into := self._into.get(path[-1])) is not None:
            if into in path:  # a circle keeps one of its records, the oldest
                return min(path[path.index(into) :], key=lambda one: (len(one), one))
            path.append(into)
        return path[-1]


class People:
    """One object's ids: which are there, which are lost and why, and what was merged into what."""

    def __init__(self, table: Table | None, mapping: ObjectMapping, audit: Table | None = None) -> None:
        self.is_there = table is not None
        self.merges = Merges()
        self.lost: dict[str, str] = {}  # id → why; "" for a live one
        if table is None:
            return
        reader = Reader(mapping, table.header)
        for cells in table.rows():
            key = reader.cell(cells, "id")
            why = "was deleted" if reader.flag(cells, "deleted") else reader.why_not_wanted(cells)
            # Histories tell a record once for each of its states: it is there if one of them is.
            self.lost[key] = why if self.lost.get(key, why) else ""
            for old in reader.keys(cells, "merged_ids"):
                self.merges.add(old, key)
        for cells in audit.rows("canonical_vid", "vid_to_merge") if audit else ():
            # Audits name records that were deleted since; what went into those has no survivor here.
            if cells["canonical_vid"] in self.lost:
                self.merges.add(cells["vid_to_merge"], cells["canonical_vid"])


class Links:
    """Associations, read when they are first asked for."""

    def __init__(
        self, tables: Tables, companies: Callable[[], People], contacts: Callable[[], People], noticed: Noticed
    ) -> None:
        self._tables = tables
        self._companies = companies
        self._contacts = contacts
        self._noticed = noticed
        self._read: dict[str, dict[str, list[tuple[str, bool]]]] = {}
        self.person: Callable[[str], Person | None] = lambda _contact: None

    def _linked(self, table: str, of: str, to: str) -> dict[str, list[tuple[str, bool]]]:
        """Per record the records it is linked with, and whether each is its primary one."""
        if table not in self._read:
            found: dict[str, list[tuple[str, bool]]] = {}
            if (there := self._tables.get(table)) is not None:
                for cells in there.rows(of, to):
                    if not is_true(cells.get("_fivetran_deleted", "")):
                        primary = cells.get("type_id", "").strip() in _PRIMARY
                        found.setdefault(cells[of].strip(), []).append((cells[to].strip(), primary))
            self._read[table] = found
        return self._read[table]

    def contacts_of(self, what: str, key: str) -> list[str]:
        """Contacts of a record, each once, merged ones as those that are left."""
        linked = self._linked(f"{what}_contacts", f"{what}_id", "contact_id").get(key, [])
        merges = self._contacts().merges
        return list(dict.fromkeys(merges.survivor(contact) for contact, _ in linked))

    def company_of(self, what: str, key: str, told: str = "") -> str:
        """The record's company. Raises LeftOut where there is none, or none that can be told."""
        linked = self._linked(f"{what}_companies", f"{what}_id", "company_id").get(key, [])
        linked = ([(told, True)] if told else []) + linked
        lost = ""
        live: dict[str, bool] = {}
        for company, primary in linked:
            company = self._companies().merges.survivor(company)
            if why := self._why_not(company):
                lost = why
            else:
                live[company] = primary or live.get(company, False)
        if not live and what != "contact":
            return self._company_of_contacts(what, key, lost)
        if not live:
            raise LeftOut(lost or "no company is named")
        first = [company for company, primary in live.items() if primary] or list(live)
        taken = min(first, key=lambda company: (len(company), company))
        if len(live) > 1 and len(first) != 1:
            names = ", ".join(sorted(live))
            self._noticed.add(Looks.several_companies, f"{what} {key}", f"{what} {key}: {names}; taken for {taken}")
        return taken

    def _company_of_contacts(self, what: str, key: str, lost: str) -> str:
        people = [self.person(contact) for contact in self.contacts_of(what, key)]
        companies = {person.company for person in people if person is not None and person.company}
        if len(companies) > 1:
            raise LeftOut("no company is named, and its contacts are of several")
        if not companies:
            raise LeftOut(lost or "no company is named")
        return companies.pop()

    def _why_not(self, company: str) -> str:
        known = self._companies()
        if not known.is_there:
            return ""
        lost = known.lost.get(company, "is not in the export")
        return f"the company named {lost}" if lost else ""
