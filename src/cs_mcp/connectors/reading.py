"""What a connector hands to the import: files in the order they depend on each other, each read row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol, cast

from pydantic import ValidationError

from cs_mcp.connectors.records import RECORDS, SourceRecord, reason_of
from cs_mcp.connectors.tables import CUSTOM, READERS, Cells, Columns, TextRow, UnreadableFile
from cs_mcp.domain.errors import Invalid

__all__ = ["SOURCES", "Reading", "RejectedRow", "SourceFile", "SourceRow", "UnreadableFile", "folder_at", "open_source"]

SOURCES: Final = ("folder", "ravenstack")


@dataclass(frozen=True, slots=True)
class SourceRow:
    line: int
    record: SourceRecord


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """`raw` is the row as its file has it, empty where its cells could not be told apart."""

    line: int
    raw: dict[str, str]
    reason: str


def _as_it_is(cells: Cells) -> Cells:
    return cells


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file, read into the records of its `kind`.

    `translated` turns a row's cells into those of the import format, or says why not in a ValueError. `told_as` gives
    the file's own column for a field, so that a reason speaks of what its reader sees.
    """

    kind: str
    path: Path
    size_bytes: int
    columns: Columns
    translated: Callable[[Cells], Cells] = _as_it_is
    told_as: Mapping[str, str] = field(default_factory=dict[str, str])

    def rows(self) -> Iterator[SourceRow | RejectedRow]:
        """Every row that is not blank, in the file's order. An UnreadableFile stops it where reading cannot go on."""
        model = RECORDS[self.kind]
        fields = frozenset(model.model_fields)
        for row in READERS[self.path.suffix.lower()](self.path, self.columns):
            yield self._read(row, model, fields)

    def check(self) -> None:
        """Read no further than the first row: raises UnreadableFile where the header already stops the file."""
        for _ in READERS[self.path.suffix.lower()](self.path, self.columns):
            break

    @property
    def warnings(self) -> list[str]:
        """What looks wrong with the file, known once `check` or `rows` met it: columns that nothing reads."""
        unread = ", ".join(repr(name) for name in self.columns.unread)
        return [f"{self.path.name}: nothing reads the column {unread}."] if unread else []

    def _read(self, row: TextRow, model: type[SourceRecord], fields: frozenset[str]) -> SourceRow | RejectedRow:
        if row.broken is not None:
            return RejectedRow(row.line, row.cells, row.broken)
        try:
            return SourceRow(row.line, model.model_validate(_values(self.translated(row.cells), fields)))
        except ValidationError as error:
            return RejectedRow(row.line, row.cells, reason_of(error, self.told_as))
        except ValueError as error:
            return RejectedRow(row.line, row.cells, str(error))


def _values(cells: Cells, fields: frozenset[str]) -> dict[str, Any]:
    """Cells by field; a blank one is None. `custom.<name>` cells are collected, blank ones left out."""
    values: dict[str, Any] = {}
    custom: dict[str, str] = {}
    for name, text in cells.items():
        blank = not text or text.isspace()
        if name in fields:
            values[name] = None if blank else text
        elif not blank and name.startswith(CUSTOM):
            custom[name[len(CUSTOM) :]] = text
    if custom and "custom" in fields:
        values["custom"] = custom
    return values


@dataclass(frozen=True, slots=True)
class Reading:
    """`files` in dependency order; `unread` are the names of the files in the folder that nothing reads."""

    source: str
    files: list[SourceFile]
    unread: list[str]


class Connector(Protocol):
    def read(self, path: Path) -> Reading: ...


def open_source(path: Path | str, source: str = "folder") -> Reading:
    """Find what a folder holds. Nothing is read yet."""
    if source not in SOURCES:
        raise Invalid(f"No source is called {source!r}.", remedy=f"Choose one of {', '.join(SOURCES)}.")
    connector = cast("Connector", import_module(f"cs_mcp.connectors.{source}"))
    return connector.read(Path(path))


def folder_at(path: Path) -> list[Path]:
    """The files of a folder by name, hidden ones left out."""
    if path.is_file():
        raise UnreadableFile(f"{path} is a file.", remedy="Name the folder it is in: files are known by their names.")
    try:
        return sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    except OSError as error:
        raise UnreadableFile(
            f"The folder {path} cannot be read: {error.strerror}.", remedy="Check its path and that you may read it."
        ) from None
