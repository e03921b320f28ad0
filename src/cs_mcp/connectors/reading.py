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
from cs_mcp.domain.accounts.accounts import CustomValue
from cs_mcp.domain.errors import Invalid
from cs_mcp.services.imports.report import CustomFieldFound, Warnings

__all__ = [
    "SOURCES",
    "LeftOut",
    "LeftOutRow",
    "Reading",
    "RejectedRow",
    "SourceFile",
    "SourceRow",
    "UnreadableFile",
    "folder_at",
    "mapping_of",
    "open_source",
    "values_of",
]

SOURCES: Final = ("folder", "ravenstack", "hubspot")
MAPPED: Final = ("hubspot",)  # sources that a mapping file speaks of


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


class LeftOut(ValueError):
    """Why a row is not for the store, though nothing is wrong with it. Rows are counted by these words.

    `gone` is the source id of a record that the source has no more, `merged_into` that of the one it went into.
    """

    def __init__(self, why: str, *, gone: str | None = None, merged_into: str | None = None) -> None:
        super().__init__(why)
        self.gone = gone
        self.merged_into = merged_into


@dataclass(frozen=True, slots=True)
class LeftOutRow:
    line: int
    raw: dict[str, str]
    why: LeftOut


def _as_it_is(cells: Cells) -> Cells:
    return cells


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file, read into the records of its `kind`.

    `translated` turns a row's cells into those of the import format, or says why not in a ValueError. `told_as` gives
    the file's own column for a field, so that a reason speaks of what its reader sees. `custom_value` gives a custom
    field's cell its type; without it they are texts, and empty ones are left out.
    """

    kind: str
    path: Path
    size_bytes: int
    columns: Columns
    translated: Callable[[Cells], Cells] = _as_it_is
    told_as: Mapping[str, str] = field(default_factory=dict[str, str])
    custom_value: Callable[[str, str], CustomValue] | None = None

    def rows(self) -> Iterator[SourceRow | RejectedRow | LeftOutRow]:
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

    def _read(
        self, row: TextRow, model: type[SourceRecord], fields: frozenset[str]
    ) -> SourceRow | RejectedRow | LeftOutRow:
        if row.broken is not None:
            return RejectedRow(row.line, row.cells, row.broken)
        try:
            values = values_of(self.translated(row.cells), fields, self.custom_value)
            return SourceRow(row.line, model.model_validate(values))
        except LeftOut as why:
            return LeftOutRow(row.line, row.cells, why)
        except ValidationError as error:
            return RejectedRow(row.line, row.cells, reason_of(error, self.told_as))
        except ValueError as error:
            return RejectedRow(row.line, row.cells, str(error))


def values_of(
    cells: Cells, fields: frozenset[str], custom_value: Callable[[str, str], CustomValue] | None
) -> dict[str, Any]:
    """Cells by field; a blank one is None. `custom.<name>` cells are collected, blank ones left out."""
    values: dict[str, Any] = {}
    custom: dict[str, CustomValue] = {}
    for name, text in cells.items():
        blank = not text or text.isspace()
        if name in fields:
            values[name] = None if blank else text
        elif name.startswith(CUSTOM) and custom_value is not None:
            custom[name[len(CUSTOM) :]] = custom_value(name[len(CUSTOM) :], text)
        elif not blank and name.startswith(CUSTOM):
            custom[name[len(CUSTOM) :]] = text
    if custom and "custom" in fields:
        values["custom"] = custom
    return values


@dataclass(frozen=True, slots=True)
class Reading:
    """`files` in dependency order; `unread` are the names of the files in the folder that nothing reads.

    `warnings` fill while rows are read, each once, however often a file is.
    """

    source: str
    files: list[SourceFile]
    unread: list[str]
    warnings: Warnings = field(default_factory=Warnings)
    custom_fields: list[CustomFieldFound] = field(default_factory=list[CustomFieldFound])


class Connector(Protocol):
    def read(self, path: Path) -> Reading: ...


class MappedConnector(Protocol):
    def read(self, path: Path, mapping: Path | None) -> Reading: ...

    def mapping_text(self, path: Path | None) -> str:
        """The mapping to edit; with a folder, the custom fields found in it too."""
        ...


def _connector(source: str) -> Any:
    if source not in SOURCES:
        raise Invalid(f"No source is called {source!r}.", remedy=f"Choose one of {', '.join(SOURCES)}.")
    return import_module(f"cs_mcp.connectors.{source}")


def _mapped_connector(source: str) -> MappedConnector:
    connector = _connector(source)
    if source not in MAPPED:
        raise Invalid(f"The source {source} takes no mapping.", remedy=f"Mappings are for {', '.join(MAPPED)}.")
    return cast("MappedConnector", connector)


def open_source(path: Path | str, source: str = "folder", mapping: Path | None = None) -> Reading:
    """Find what a folder holds. No more is read than the files' headers, and what a mapping asks for."""
    if mapping is not None or source in MAPPED:
        return _mapped_connector(source).read(Path(path), mapping)
    return cast("Connector", _connector(source)).read(Path(path))


def mapping_of(source: str, path: Path | None) -> str:
    """The source's mapping as a file to edit."""
    return _mapped_connector(source).mapping_text(path)


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
