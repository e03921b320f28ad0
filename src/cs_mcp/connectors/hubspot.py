"""HubSpot, as warehouses export it (tables and columns of Fivetran's connector): records of the import format.

What stands for what is in `hubspot.toml`, which a user may change; how a row is put together is in `hubspot_rows`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from cs_mcp.connectors.custom_fields import CustomField, find_custom_fields, typed
from cs_mcp.connectors.hubspot_export import ENGAGEMENTS, KINDS, Export
from cs_mcp.connectors.hubspot_links import Reader, Table
from cs_mcp.connectors.hubspot_rows import Rows
from cs_mcp.connectors.mapping import read_mapping
from cs_mcp.connectors.reading import Reading, SourceFile, UnreadableFile
from cs_mcp.domain.accounts.accounts import CustomValue
from cs_mcp.services.imports.report import CustomFieldFound

_SHIPPED: Final = Path(__file__).with_suffix(".toml")
# Fields without which no row can be read.
_NEEDED: Final = {
    "companies": ("id", "name"),
    "meetings": ("id", "held_at"),
    "calls": ("id", "held_at"),
    "emails": ("id", "held_at"),
    "notes": ("id", "written_at", "body"),
    "tickets": ("id", "opened_at"),
}


def read(path: Path, mapping: Path | None = None) -> Reading:
    """Whichever of `company_data.csv`, `contact_data.csv`, `deal_data.csv`, … are there, by the mapping's names."""
    export = Export(path, read_mapping(_shipped(), mapping, KINDS))
    custom = _custom_fields(export)
    files = [_file(export, name, custom) for name in export.objects]
    found = [
        CustomFieldFound(
            file=export.tables["companies"].path.name,
            column=field.column,
            name=field.name,
            type=field.type.value,
            values=field.values,
        )
        for field in custom
    ]
    return Reading("hubspot", files, _unread(export), export.noticed.warnings, found)


def mapping_text(path: Path | None) -> str:
    """The shipped mapping; with an export, the custom fields that it has and their types too."""
    text = _shipped()
    if path is None:
        return text
    lines: list[str] = []
    for found in _custom_fields(Export(path, read_mapping(text, None, KINDS))):
        column, name = _quoted(found.column), _quoted(found.name)
        values = _on_one_line(", ".join(found.values[:5]))
        comment = f"  # {values}" if values else ""
        lines.append(f'{column} = {{ name = {name}, type = "{found.type}" }}{comment}\n')
    return text + "".join(lines)


def _shipped() -> str:
    return _SHIPPED.read_text(encoding="utf-8")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # its escapes are TOML's too


def _on_one_line(comment: str) -> str:
    return "".join(character if character.isprintable() else " " for character in comment)


def _file(export: Export, name: str, custom: list[CustomField]) -> SourceFile:
    table, mapping = export.tables[name], export.mapping.objects[name]
    engagements = export.engagements if name in ENGAGEMENTS else None
    reader = Reader(mapping, table.header, engagements.columns if engagements else [])
    for field in _NEEDED.get(name, ("id",)):
        if not reader.has(field):
            _refuse_missing(export, name, field, table)
    rows = Rows(export, name, reader, engagements, custom if name == "companies" else [])
    columns = table.columns()
    if name != "companies":
        columns.unread.update(dict.fromkeys(_left_over(export, name)))
    return SourceFile(
        KINDS[name],
        table.path,
        table.path.stat().st_size,
        columns,
        rows.translated,
        rows.told_as,
        _custom_value(export, custom) if name == "companies" else None,
    )


def _refuse_missing(export: Export, name: str, field: str, table: Table) -> None:
    listed = export.mapping.objects[name].columns.get(field, [])
    wanted = " or ".join(repr(column) for column in listed) or f"for {field}"
    raise UnreadableFile(
        f"{table.path.name} lacks the column {wanted}, which every row needs. It has "
        f"{', '.join(repr(column) for column in table.header)}.",
        remedy=f"Add the column, or name the one that holds it in a mapping, under {name}.columns.{field} "
        "(--write-mapping FILE).",
    )


def _left_over(export: Export, name: str) -> list[str]:
    """Columns that the mapping neither reads nor ignores."""
    mapping = export.mapping.objects[name]
    read = set[str]().union(*mapping.columns.values()) | mapping.only_where.keys()
    ignored = [pattern.casefold() for pattern in export.mapping.ignore]
    return [
        column
        for column in export.tables[name].header
        if column and column not in read and not any(fnmatch(column, pattern) for pattern in ignored)
    ]


def _unread(export: Export) -> list[str]:
    """Files that nothing reads, and engagements whose own table is not there, with how many there are."""
    unread: list[str] = []
    for name in sorted(export.others):
        rows = _rows_of(export.folder / name)
        unread.append(name if rows is None else f"{name} ({rows:,} rows)")
    if (engagements := export.tables.get("engagements")) is not None:
        told = {kind for name, kind in ENGAGEMENTS.items() if name in export.tables}
        counts = Counter(cells.get("type", "").strip().upper() for cells in engagements.rows())
        for kind, count in sorted(counts.items()):
            if kind not in told:
                unread.append(f"{engagements.path.name}: {count:,} of type {kind or '(none)'}, which no table tells")
    return unread


def _rows_of(path: Path) -> int | None:
    if path.suffix.casefold() != ".csv":
        return None
    try:
        return sum(1 for _ in Table(path).rows())
    except UnreadableFile:
        return None


def _custom_fields(export: Export) -> list[CustomField]:
    table = export.tables.get("companies")
    if table is None:
        return []
    told = export.mapping.objects["companies"].custom
    return find_custom_fields(table.rows(), _left_over(export, "companies"), told, export.clock.day)


def _custom_value(export: Export, custom: list[CustomField]) -> Callable[[str, str], CustomValue]:
    by_name = {field.name: field for field in custom}

    def value(name: str, text: str) -> CustomValue:
        try:
            return typed(by_name[name].type, text, export.clock.day)
        except ValueError as reason:
            raise ValueError(f"{by_name[name].column}: {reason}") from None

    return value
