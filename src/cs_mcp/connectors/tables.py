"""Rows of text from CSV, JSON Lines and Parquet files, one at a time: what breaks a row, and what stops a file."""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from math import isnan
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from cs_mcp.domain.errors import CustomerSuccessError

LINE_LIMIT: Final = 1024 * 1024  # bytes of one row, over all the lines its quotes span
CUSTOM: Final = "custom."
_BATCH: Final = 10_000
_BOM: Final = b"\xef\xbb\xbf"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")

Cells = dict[str, str]


class UnreadableFile(CustomerSuccessError):
    """A file that cannot be read at all, or not any further."""


@dataclass(frozen=True, slots=True)
class TextRow:
    """A row as text. `line` is where it starts, from 1; in Parquet, the row's number."""

    line: int
    cells: Cells
    broken: str | None = None  # why its cells cannot be told apart


@dataclass(slots=True)
class Columns:
    """The columns a file must and may have, and those met in it that nothing reads."""

    required: frozenset[str]
    known: frozenset[str]
    allows_custom: bool = False
    unread: dict[str, None] = field(default_factory=dict[str, None])

    def name(self, written: str) -> str:
        """A column's name without the spaces around it; known names in any case."""
        name = written.strip()
        if name.casefold() in self.known:
            return name.casefold()
        return CUSTOM + name[len(CUSTOM) :] if name.casefold().startswith(CUSTOM) else name

    def meet(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.known and not (self.allows_custom and name.startswith(CUSTOM)):
                self.unread[name] = None

    def header(self, path: Path, written: list[str]) -> list[str]:
        names = [self.name(name) for name in written]
        if twice := sorted({name for name in names if name and names.count(name) > 1}):
            raise UnreadableFile(
                f"{path.name} has the column {_quoted(twice)} more than once.",
                remedy="Rename or remove the columns that are there twice: only one of them can be meant.",
            )
        if missing := sorted(self.required.difference(names)):
            hint = _separator_hint(written) or f"It has {_quoted(names)}."
            raise UnreadableFile(
                f"{path.name} lacks the column {_quoted(missing)}, which every row needs. {hint}",
                remedy="Add the column, or rename the one that holds it.",
            )
        self.meet(names)
        return names


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _separator_hint(written: list[str]) -> str:
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(written) == 1 and separator in written[0]:
            return f"Its columns are separated by {name}, not by commas."
    return ""


class Lines:
    """The lines of a stream as text: counted, decoded strictly, and no row of them over the limit."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self._path = path
        self._stream = stream
        self._offset = 0
        self._row_bytes = 0
        self.row = 1
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self._stream.readline(LINE_LIMIT + 1)
        if not raw:
            raise StopIteration
        self.number += 1
        self._row_bytes += len(raw)
        if self._row_bytes > LINE_LIMIT:
            raise UnreadableFile(
                f"{self._path.name}: the row that starts at line {self.row} is longer than {LINE_LIMIT // 1024:,} KiB.",
                remedy="Look there for a quote that is never closed, or shorten the text, and import again.",
            )
        start = self._offset
        self._offset += len(raw)
        if start == 0:
            if raw.startswith(_UTF_16) or b"\x00" in raw:
                raise self._wrong_encoding("is UTF-16")
            raw = raw.removeprefix(_BOM)
            start = self._offset - len(raw)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = raw[error.start]
            where = f"at offset {start + error.start:,}, line {self.number}"
            raise self._wrong_encoding(f"is not UTF-8: the byte 0x{byte:02x} {where}, is no part of it") from None

    def next_row(self) -> None:
        """From here on, lines belong to the next row."""
        self.row = self.number + 1
        self._row_bytes = 0

    def _wrong_encoding(self, what: str) -> UnreadableFile:
        return UnreadableFile(
            f"{self._path.name} {what}.", remedy='Save it again as UTF-8 (in Excel: "CSV UTF-8"), and import again.'
        )


@contextmanager
def _opened(path: Path) -> Generator[Lines]:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise UnreadableFile(
            f"{path} cannot be opened: {error.strerror}.", remedy="Check that it is there and that you may read it."
        ) from None
    with stream:
        yield Lines(path, stream)


def csv_rows(path: Path, columns: Columns) -> Iterator[TextRow]:
    # The limit belongs to the process. Rows are limited before their fields, so it only has to be out of the way.
    csv.field_size_limit(LINE_LIMIT)
    with _opened(path) as lines:
        reader = csv.reader(lines, strict=True)
        written = next(_csv_cells(path, lines, reader), None)
        if not isinstance(written, list):
            raise UnreadableFile(
                f"{path.name} has no header: {written or 'it is empty'}.",
                remedy="Its first line must name the columns, separated by commas.",
            )
        names = columns.header(path, written)
        for cells in _csv_cells(path, lines, reader):
            if isinstance(cells, str):
                yield TextRow(lines.row, {}, broken=cells)
            elif len(cells) != len(names):
                reason = f"has {len(cells)} cells where the header has {len(names)} columns"
                yield TextRow(lines.row, dict(zip(names, cells, strict=False)), broken=reason)
            else:
                yield TextRow(lines.row, dict(zip(names, cells, strict=True)))


def _csv_cells(path: Path, lines: Lines, reader: Iterator[list[str]]) -> Iterator[list[str] | str]:
    """The cells of each row that is not blank, or why they cannot be told apart."""
    while True:
        lines.next_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise UnreadableFile(
                    f"{path.name}: a quote opened in the row that starts at line {lines.row} is never closed.",
                    remedy="Close it: everything after it was taken for text of that row.",
                ) from None
            yield f"its quotes or line ends cannot be read ({error})"
            continue
        if any(cells):  # spreadsheets leave lines of nothing but commas at the end
            yield cells


def jsonl_rows(path: Path, columns: Columns) -> Iterator[TextRow]:
    with _opened(path) as lines:
        for text in lines:
            if text.strip():
                row = _json_row(lines.number, text, columns)
                columns.meet(row.cells)
                yield row
            lines.next_row()


def _json_row(line: int, text: str, columns: Columns) -> TextRow:
    try:
        # Numbers stay the text they were written as: no rounding on the way.
        value: Any = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        return TextRow(line, {}, broken=f"is not JSON ({error})")
    if not isinstance(value, dict):
        return TextRow(line, {}, broken='is not a JSON object ({"column": "value", ...})')
    try:
        return TextRow(line, _flattened(cast("dict[str, Any]", value), columns))
    except ValueError as error:
        return TextRow(line, {}, broken=str(error))


def _flattened(fields: dict[str, Any], columns: Columns) -> Cells:
    cells: Cells = {}
    for written, value in fields.items():
        if written == "custom" and isinstance(value, dict):
            custom = cast("dict[str, Any]", value)
            cells |= {CUSTOM + name: cell_text(name, inner) for name, inner in custom.items()}
        else:
            cells[columns.name(written)] = cell_text(written, value)
    return cells


def cell_text(name: str, value: Any) -> str:
    """A typed value as the CSV file would write it."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float():
            return "" if isnan(value) else format(Decimal(repr(value)), "f")
        case Decimal():
            return format(value, "f")
        case int():
            return str(value)
        case datetime() if value.tzinfo is None and value.time() == time.min:
            return value.date().isoformat()  # pandas keeps days as midnights
        case date():
            return value.isoformat()
        case list() | tuple():
            parts = [cell_text(name, part) for part in cast("list[Any]", value)]
            if any(";" in part for part in parts):
                raise ValueError(f"{name}: an item of its list holds ';', which separates items")
            return ";".join(parts)
        case _:
            raise ValueError(f"{name}: a {type(value).__name__} cannot be a cell")


def parquet_rows(path: Path, columns: Columns) -> Iterator[TextRow]:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise UnreadableFile(
            f"{path.name} is a Parquet file, and the library that reads them is not installed.",
            remedy="Install cs-mcp[parquet], or export the file as CSV.",
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            columns.header(path, list(file.schema_arrow.names))
            line = 0
            for batch in file.iter_batches(batch_size=_BATCH):
                for fields in cast("list[dict[str, Any]]", batch.to_pylist()):
                    line += 1
                    try:
                        yield TextRow(line, _flattened(fields, columns))
                    except ValueError as error:
                        yield TextRow(line, {}, broken=str(error))
    except (OSError, ValueError) as error:  # pyarrow's own errors are kinds of these
        raise UnreadableFile(
            f"{path.name} cannot be read as Parquet: {error}.", remedy="Write the file again, or export it as CSV."
        ) from None


READERS: Final[dict[str, Callable[[Path, Columns], Iterator[TextRow]]]] = {
    ".csv": csv_rows,
    ".jsonl": jsonl_rows,
    ".parquet": parquet_rows,
}
