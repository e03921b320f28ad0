"""What an export says of itself, beside its files: how their cells are written, and where they came from.

A cell of text that a spreadsheet could take for a formula is written with an apostrophe before it, and so is one that
begins with an apostrophe itself. A folder with a manifest is read the other way round: one apostrophe is taken off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ValidationError

from cs_mcp.connectors.tables import CUSTOM, Cells, UnreadableFile
from cs_mcp.domain.accounts.accounts import CustomValue

MANIFEST: Final = "export.json"
# OWASP, CSV injection: with the full-width forms, which some locales of a spreadsheet read alike.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_APOSTROPHE: Final = "'"

CustomType = Literal["text", "number", "boolean", "json"]


class ExportedFile(BaseModel):
    rows: int
    sha256: str


class Manifest(BaseModel):
    """`custom` gives the type of each custom field, "json" where its values are of several."""

    format: Literal["cs-mcp folder 1"] = "cs-mcp folder 1"
    workspace: str
    workspace_name: str
    time_zone: str
    currency: str
    exported_at: str
    custom: dict[str, CustomType]
    files: dict[str, ExportedFile]
    remarks: dict[str, int]


def manifest_in(folder: Path) -> Manifest | None:
    """The manifest of an export's folder; None where it is a folder of someone else's."""
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except OSError:
        return None
    try:
        return Manifest.model_validate_json(text)
    except ValidationError:
        raise UnreadableFile(
            f"{folder / MANIFEST} is no manifest of an export that this version can read.",
            remedy="Export again with this version, or remove the file if the folder is not an export.",
        ) from None


# -- cells ------------------------------------------------------------------------------------------------------
def quoted(text: str) -> str:
    """Text as a cell that no spreadsheet runs."""
    return _APOSTROPHE + text if text.startswith((*_FORMULA, _APOSTROPHE)) else text


def unquoted(cells: Cells) -> Cells:
    """The cells as they were before; blank custom fields are those the account does not have."""
    return {name: text.removeprefix(_APOSTROPHE) for name, text in cells.items() if text or not name.startswith(CUSTOM)}


def type_of(types: set[type]) -> CustomType:
    if types <= {str}:
        return "text"
    if types <= {bool}:
        return "boolean"
    return "number" if types <= {int, float} else "json"


def custom_cell(value: CustomValue, kind: CustomType) -> str:
    if kind == "text":
        return quoted(str(value))
    return json.dumps(value, ensure_ascii=False) if kind != "json" else quoted(json.dumps(value, ensure_ascii=False))


def custom_reader(custom: Mapping[str, CustomType]) -> Any:
    """Gives a custom field's cell its type again."""

    def value(name: str, text: str) -> CustomValue:
        if custom.get(name, "text") == "text":
            return text
        try:
            return json.loads(text)
        except ValueError:
            raise ValueError(f"{name}: {text[:60]!r} is no {custom[name]}, as {MANIFEST} says it is") from None

    return value
