"""Writes the import format: a folder that appears whole or not at all, and that an import reads back as it was."""

from __future__ import annotations

import csv
import hashlib
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TextIO, cast

from pydantic import BaseModel, ValidationError

from cs_mcp.connectors.manifest import (
    MANIFEST,
    CustomType,
    ExportedFile,
    Manifest,
    custom_cell,
    custom_reader,
    quoted,
    type_of,
    unquoted,
)
from cs_mcp.connectors.reading import values_of
from cs_mcp.connectors.records import RECORDS, reason_of
from cs_mcp.connectors.tables import CUSTOM, Cells, cell_text
from cs_mcp.domain.errors import Conflict
from cs_mcp.domain.identity import Principal
from cs_mcp.services.export import ExportRun, Exports, Fields

LEFT_OUT_TOLD: Final = 20


class ExportReport(BaseModel):
    """What was written. `left_out` are rows that the format cannot hold, with the reason, the first few."""

    folder: str
    files: dict[str, int] = {}
    remarks: dict[str, int] = {}
    left_out: list[str] = []
    left_out_count: int = 0


async def write_folder(exports: Exports, principal: Principal, folder: Path) -> ExportReport:
    """Export the workspace into a new folder. Raises Conflict where it exists and holds anything."""
    partial = _begun(folder)
    try:
        report = ExportReport(folder=str(folder))
        async with exports.run(principal, spill=partial) as run:
            manifest = await _write_all(run, partial, report)
        _finish(partial, folder, manifest)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return report


def _begun(folder: Path) -> Path:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} exists and is not empty.", remedy="Name a folder that is new or empty.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    partial.mkdir(mode=0o700)
    return partial


def _finish(partial: Path, folder: Path, manifest: Manifest) -> None:
    with _private(partial / MANIFEST) as stream:
        stream.write(manifest.model_dump_json(indent=2) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    if folder.exists():
        folder.rmdir()
    partial.rename(folder)


async def _write_all(run: ExportRun, folder: Path, report: ExportReport) -> Manifest:
    custom: dict[str, CustomType] = {name: type_of(types) for name, types in (await run.custom_fields()).items()}
    files: dict[str, ExportedFile] = {}
    for kind in run.kinds:
        table = _Table(kind, folder / f"{kind}.csv", custom if "custom" in RECORDS[kind].model_fields else {}, report)
        try:
            async for fields in run.records(kind):
                table.add(fields)
        finally:
            table.close()
        files[table.path.name] = ExportedFile(rows=table.rows, sha256=table.sha256())
        report.files[table.path.name] = table.rows
    report.remarks = dict(run.remarks) | report.remarks
    return Manifest(
        workspace=run.id,
        workspace_name=run.workspace.name,
        time_zone=run.workspace.time_zone,
        currency=run.workspace.currency,
        exported_at=run.at.isoformat(timespec="seconds"),
        custom=custom,
        files=files,
        remarks=report.remarks,
    )


class _Table:
    """One CSV file. Each row is read back before it is written, so that no row stops the import of its file."""

    def __init__(self, kind: str, path: Path, custom: Mapping[str, CustomType], report: ExportReport) -> None:
        self.path = path
        self.rows = 0
        self._kind = kind
        self._custom = custom
        self._report = report
        self._model = RECORDS[kind]
        self._names = frozenset(self._model.model_fields)
        self._fields = [name for name in self._model.model_fields if name != "custom"]
        self._custom_value = custom_reader(custom)
        self._stream = _private(path)
        # Every cell in quotes: a line that begins with one cannot be split at a separator that text holds.
        self._writer = csv.writer(self._stream, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        self._writer.writerow([*self._fields, *(CUSTOM + name for name in custom)])

    def add(self, fields: Fields) -> None:
        cells = {name: self._cell(name, fields.get(name)) for name in self._fields}
        theirs: dict[str, Any] = fields.get("custom") or {}
        for name, kind in self._custom.items():
            value = theirs.get(name)
            cells[CUSTOM + name] = "" if value is None else custom_cell(value, kind)
        if self._accepted(cells):
            self._writer.writerow(cells.values())
            self.rows += 1

    def _cell(self, name: str, value: Any) -> str:
        if isinstance(value, list):
            parts = [str(part) for part in cast("list[Any]", value)]
            if any(";" in part for part in parts):
                self._remark(f"{self._kind}: {name} hold a semicolon, which separates them, and have a comma instead")
                parts = [part.replace(";", ",") for part in parts]
            return quoted(";".join(parts))
        return quoted(value) if isinstance(value, str) else cell_text(name, value)

    def _accepted(self, cells: Cells) -> bool:
        """Whether an import takes the row. A value it would refuse is left empty where the row can do without."""
        for _ in range(len(cells)):
            try:
                self._model.model_validate(values_of(unquoted(cells), self._names, self._custom_value))
            except ValidationError as refused:
                name = str(refused.errors(include_url=False)[0]["loc"][0])
                if name not in cells or not cells[name] or self._model.model_fields[name].is_required():
                    self._leave_out(cells, reason_of(refused, {}))
                    return False
                self._remark(f"{self._kind}: {name} is nothing that an import takes, and is left empty")
                cells[name] = ""
            except ValueError as refused:
                self._leave_out(cells, str(refused))
                return False
            else:
                return True
        return False

    def _leave_out(self, cells: Cells, reason: str) -> None:
        self._report.left_out_count += 1
        if len(self._report.left_out) < LEFT_OUT_TOLD:
            self._report.left_out.append(f"{self._kind}: {cells[self._fields[0]]}: {reason}")

    def _remark(self, what: str) -> None:
        self._report.remarks[what] = self._report.remarks.get(what, 0) + 1

    def close(self) -> None:
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()

    def sha256(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def _private(path: Path) -> TextIO:
    """A new file that its owner alone can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", newline="")
