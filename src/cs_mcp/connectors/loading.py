"""From a folder to the store: reads each file of a source, hands its rows to the import, keeps the rejects."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol, cast

from cs_mcp.connectors.manifest import manifest_in
from cs_mcp.connectors.reading import (
    LeftOutRow,
    Reading,
    RejectedRow,
    SourceFile,
    SourceRow,
    UnreadableFile,
    open_source,
)
from cs_mcp.connectors.records import SubscriptionRecord
from cs_mcp.domain.errors import Conflict, StoreUnusable
from cs_mcp.domain.identity import Principal
from cs_mcp.services.imports.imports import LEDGER, SHEETS, ImportRun, Imports
from cs_mcp.services.imports.report import ImportedRow, ImportReport, LeftOut, Looks, Reject
from cs_mcp.services.imports.sheets import CHUNK

_BLOCK: Final = 1024 * 1024
# A spreadsheet takes a cell that starts with one of these for a formula (OWASP, CSV injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")

Chunk = Sequence[ImportedRow | Reject | LeftOut]


class Progress(Protocol):
    """Told at the start of a file (0), after each chunk, and once the file is in the store (`total`).

    `done` and `total` count lines of the file, or rows where it has no lines; `total` is None where nobody knows.
    """

    def __call__(self, file: str, done: int, total: int | None, /) -> None: ...


def _no_progress(file: str, done: int, total: int | None, /) -> None:
    pass


async def load_source(
    imports: Imports,
    principal: Principal,
    path: Path,
    *,
    source: str = "folder",
    mapping: Path | None = None,
    preview: bool = False,
    keep_going: bool = False,
    rejects: Path | None = None,
    progress: Progress = _no_progress,
) -> ImportReport:
    """Import what `path` holds, each file after those it refers to. Run again, it skips what is unchanged.

    Raises UnreadableFile before anything is written where a header already stops a file.
    """
    if source == "folder":
        _refuse_own_export(path, principal)
    reading = open_source(path, source, mapping)
    for file in reading.files:
        file.check()
    with ExitStack() as stack:
        rejected = _Rejects(rejects, stack)
        async with imports.run(
            principal, source=source, preview=preview, keep_going=keep_going, on_reject=rejected.add
        ) as run:
            run.report.unread_files = reading.unread
            run.report.custom_fields = reading.custom_fields
            run.currency_told_by_subscriptions = _currencies(reading)
            await _load_all(run, reading, progress)
    run.report.rejects_file = str(rejects) if rejected.written else None
    return run.finish()


def _refuse_own_export(path: Path, principal: Principal) -> None:
    """An export calls records by their ids here, which an import takes for names of new ones: all would be twice."""
    manifest = manifest_in(path)
    if manifest is not None and manifest.workspace == principal.workspace:
        raise Conflict(
            f"{path} was exported from this very workspace, so everything in it would be here twice.",
            remedy="Import it into another store; to go back to an earlier state here, use undo or a backup.",
        )


async def _load_all(run: ImportRun, reading: Reading, progress: Progress) -> None:
    kept = [file for file in reading.files if file.kind in SHEETS]
    for file in kept:
        await _load(run, file, progress)
        if file.kind == _last_of_the_ledger(kept):
            progress(LEDGER, 0, None)
            await run.ledger()
    for file in reading.files:
        if file.kind not in SHEETS:
            await _load(run, file, progress)
        for warning in file.warnings:
            run.warnings.add(Looks.unread_column, warning)
    run.warnings.merge(reading.warnings)


def _last_of_the_ledger(files: Sequence[SourceFile]) -> str | None:
    """The kind after which movements can be derived."""
    told = [file.kind for file in files if file.kind in ("accounts", "subscriptions", "arr_movements")]
    return told[-1] if told else None


async def _load(run: ImportRun, file: SourceFile, progress: Progress) -> None:
    total = lines_of(file.path)
    name = file.path.name
    progress(name, 0, total)
    load = run.load if file.kind in SHEETS else run.look
    await load(file.kind, name, _chunks(file, total, progress))
    progress(name, total or 0, total)


def _chunks(file: SourceFile, total: int | None, progress: Progress) -> Iterator[Chunk]:
    chunk: list[ImportedRow | Reject | LeftOut] = []
    try:
        for row in file.rows():
            chunk.append(_incoming(row))
            if len(chunk) == CHUNK:
                yield chunk
                progress(file.path.name, row.line, total)
                chunk = []
    except UnreadableFile as unreadable:
        chunk.append(Reject(0, str(unreadable), final=True))
    yield chunk


def _incoming(row: SourceRow | RejectedRow | LeftOutRow) -> ImportedRow | Reject | LeftOut:
    if isinstance(row, RejectedRow):
        return Reject(row.line, row.reason, row.raw)
    if isinstance(row, LeftOutRow):
        return LeftOut(row.line, str(row.why), row.raw, row.why.gone, row.why.merged_into)
    record = row.record
    told = {name: getattr(record, name) for name in record.model_fields_set}
    return ImportedRow(row.line, ":".join(map(str, record.key)), told)


def lines_of(path: Path) -> int | None:
    """Lines of a text file, counted without reading them as text; None for other files."""
    if path.suffix.casefold() == ".parquet":
        return None
    with path.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(_BLOCK), b""))


def _currencies(reading: Reading) -> Callable[[str], str | None]:
    """The one currency that an account's subscriptions are told in. The file is read when it is first asked for."""

    @cache
    def told() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for file in reading.files:
            for row in file.rows() if file.kind == "subscriptions" else ():
                if isinstance(row, SourceRow) and isinstance(row.record, SubscriptionRecord) and row.record.currency:
                    found.setdefault(row.record.account_id, set()).add(row.record.currency)
        return found

    def currency_of(account_id: str) -> str | None:
        try:
            currencies = told().get(account_id, set())
        except UnreadableFile:
            return None  # said when the file's own turn comes
        return next(iter(currencies)) if len(currencies) == 1 else None

    return currency_of


class _Rejects:
    """The rejects file: file, line, reason, and the row as JSON. It is made at the first reject."""

    def __init__(self, path: Path | None, stack: ExitStack) -> None:
        self._path = path
        self._stack = stack
        self._writer: Any = None

    @property
    def written(self) -> bool:
        return self._writer is not None

    def add(self, file: str, reject: Reject) -> None:
        if self._path is None:
            return
        if self._writer is None:
            try:
                stream = self._stack.enter_context(self._path.open("w", encoding="utf-8", newline=""))
            except OSError as error:
                raise StoreUnusable(
                    f"The rejects file {self._path} cannot be written: {error.strerror}.", remedy="Name another file."
                ) from None
            self._writer = csv.writer(stream)
            self._writer.writerow(["file", "line", "reason", "row"])
        row = json.dumps({name: _shown(value) for name, value in reject.row.items()}, ensure_ascii=False)
        self._writer.writerow([defused(cell) for cell in (file, str(reject.line), reject.reason, row)])


def _shown(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_shown(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    return value if value is None or isinstance(value, str | bool | int) else str(value)


def defused(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return "'" + cell if cell.startswith(_FORMULA) else cell
