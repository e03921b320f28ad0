"""The import format itself: a folder of files named after the records they hold."""

from __future__ import annotations

from pathlib import Path

from cs_mcp.connectors.manifest import MANIFEST, Manifest, custom_reader, manifest_in, unquoted
from cs_mcp.connectors.reading import Reading, SourceFile, UnreadableFile, folder_at
from cs_mcp.connectors.records import RECORDS
from cs_mcp.connectors.tables import READERS, Columns


def read(path: Path) -> Reading:
    """`accounts.csv`, `usage.jsonl`, `tickets.parquet`, …: whichever are there."""
    found: dict[str, Path] = {}
    unread: list[str] = []
    files = folder_at(path)
    manifest = manifest_in(path)
    for file in files:
        if file.name == MANIFEST and manifest is not None:
            continue
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
    return Reading("folder", [_file(kind, found[kind], manifest) for kind in RECORDS if kind in found], unread)


def _file(kind: str, path: Path, manifest: Manifest | None) -> SourceFile:
    fields = RECORDS[kind].model_fields
    columns = Columns(
        required=frozenset(name for name, info in fields.items() if info.is_required()),
        known=frozenset(fields) - {"custom"},
        allows_custom="custom" in fields,
    )
    size = path.stat().st_size
    if manifest is None:
        return SourceFile(kind, path, size, columns)
    custom = custom_reader(manifest.custom)
    return SourceFile(kind, path, size, columns, translated=unquoted, custom_value=custom)
