"""The import format itself: a folder of files named after the records they hold."""

from __future__ import annotations

from pathlib import Path

from cs_mcp.connectors.reading import Reading, SourceFile, UnreadableFile, folder_at
from cs_mcp.connectors.records import RECORDS
from cs_mcp.connectors.tables import READERS, Columns


def read(path: Path) -> Reading:
    """`accounts.csv`, `usage.jsonl`, `tickets.parquet`, …: whichever are there."""
    found: dict[str, Path] = {}
    unread: list[str] = []
    for file in folder_at(path):
        kind = file.stem.casefold()
        if kind not in RECORDS or file.suffix.casefold() not in READERS:
            unread.append(file.name)
        elif kind in found:
            raise UnreadableFile(
                f"{path} holds both {found[kind].name} and {file.name}.", remedy="Keep the one that is right."
            )
        else:
            found[kind] = file
    if not found:
        raise UnreadableFile(
            f"{path} holds no file of the import format.",
            remedy=f"Name a file after what it holds ({', '.join(RECORDS)}) with .csv, .jsonl or .parquet, "
            "or name the system the files come from as the source.",
        )
    return Reading("folder", [_file(kind, found[kind]) for kind in RECORDS if kind in found], unread)


def _file(kind: str, path: Path) -> SourceFile:
    fields = RECORDS[kind].model_fields
    columns = Columns(
        required=frozenset(name for name, info in fields.items() if info.is_required()),
        known=frozenset(fields) - {"custom"},
        allows_custom="custom" in fields,
    )
    return SourceFile(kind, path, path.stat().st_size, columns)
