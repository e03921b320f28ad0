"""The file in which a user says how a system's tables become records: a shipped one, and their changes to it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from cs_mcp.connectors.records import RECORDS
from cs_mcp.connectors.tables import UnreadableFile

Tree = dict[str, Any]
# Tables of an object whose keys are its fields; what fields there are, the shipped mapping says.
_BY_FIELD: Final = ("columns", "values", "defaults")
_REMEDY: Final = "Correct that line and import again; --write-mapping FILE writes the whole mapping to compare with."
_KEY: Final = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(\.?)""")


class FieldType(StrEnum):
    text = "text"
    number = "number"
    date = "date"
    boolean = "boolean"
    choice = "choice"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CustomColumn(_Part):
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    type: FieldType | None = None


class ObjectMapping(_Part):
    """One table of the source. Names of columns are lower-case here, whatever the export's case."""

    files: list[str]
    columns: dict[str, list[str]]
    values: dict[str, dict[str, str]] = {}
    defaults: dict[str, str] = {}
    only_where: dict[str, list[str]] = {}
    custom: dict[str, CustomColumn | Literal[False]] = {}
    ends_after_months: Annotated[int, Field(ge=0, le=120)] = 0


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"{name!r} is not a time zone (as Europe/Berlin, America/New_York or UTC)") from None
    return name


class Times(_Part):
    written_in: Annotated[str, AfterValidator(_zone)]
    days_in: Annotated[str, AfterValidator(_zone)]


class Mapping(_Part):
    ignore: list[str]
    times: Times
    links: dict[str, list[str]]
    objects: dict[str, ObjectMapping]


class _Source:
    """The user's file, for telling the line of what is wrong in it."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text

    def wrong(self, place: Sequence[str], what: str) -> UnreadableFile:
        where = ".".join(place)
        return UnreadableFile(f"{self._path.name}, line {self._line(place)}: {where}: {what}.", remedy=_REMEDY)

    def _line(self, place: Sequence[str]) -> int:
        """Where the place is written, or the nearest table around it."""
        best, found = 0, 1
        table: list[str] = []
        for number, line in enumerate(self._text.splitlines(), 1):
            if header := re.match(r"\s*\[([^\[].*?)\]\s*(#.*)?$", line):
                table = list(_keys(header[1]))
                here = table
            else:
                here = [*table, *_keys(line)]
            shared = _shared(here, place)
            if shared > best:
                best, found = shared, number
        return found


def _keys(text: str) -> Iterator[str]:
    """The dotted key that a line of TOML starts with."""
    end, dotted = 0, "."
    while dotted and (match := _KEY.match(text, end)):
        yield next(part for part in match.groups()[:3] if part is not None)
        end, dotted = match.end(), match[4]


def _shared(here: Sequence[str], place: Sequence[str]) -> int:
    count = 0
    for one, other in zip(here, place, strict=False):
        if one != other:
            return 0 if count < len(here) else count
        count += 1
    return count if count == len(here) else 0


def read_mapping(shipped: str, path: Path | None, kinds: dict[str, str]) -> Mapping:
    """The shipped mapping with the user's file laid over it. `kinds` tells each object's kind of record.

    Raises UnreadableFile with the line of what is wrong.
    """
    ours = tomllib.loads(shipped)
    if path is None:
        return Mapping.model_validate(_shaped(ours))
    source, theirs = _parsed(path)
    _refuse_unknown(source, ours, theirs)
    merged = _shaped(_laid_over(ours, theirs))
    try:
        mapping = Mapping.model_validate(merged)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        place = [str(part) for part in detail["loc"] if part not in ("objects", "CustomColumn", "literal[False]")]
        reason = str(detail.get("ctx", {}).get("error", detail["msg"])) + _got(detail["input"])
        raise source.wrong(place, reason) from None
    _refuse_values(source, mapping, kinds)
    return mapping


def _got(value: Any) -> str:
    return f", got {value!r}" if isinstance(value, str | int | float | bool) and str(value) else ""


def _parsed(path: Path) -> tuple[_Source, Tree]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UnreadableFile(
            f"The mapping {path} cannot be read: {error.strerror}.",
            remedy="Check its path; --write-mapping FILE writes one to start from.",
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UnreadableFile(f"{path.name}, line {line}: it is not UTF-8.", remedy="Save it again as UTF-8.") from None
    try:
        return _Source(path, text), tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        line = found[1] if found and found[1] else len(text.splitlines())
        what = re.sub(r" \(at .*\)$", "", str(error))
        raise UnreadableFile(
            f"{path.name}, line {line}: it is not TOML: {what}.",
            remedy='A line is a [table], a # comment, or key = "value"; names with other signs than a-z, 0-9, _ and - '
            "stand in quotes.",
        ) from None


def _shaped(tree: Tree) -> Tree:
    """Objects apart from the rest, and the columns' names in lower case, as rows have them."""
    rest = {name: tree[name] for name in ("ignore", "times", "links") if name in tree}
    objects: Tree = {}
    for name, table in tree.items():
        if name in rest or not isinstance(table, dict):
            continue
        shaped: Tree = dict(cast("Tree", table))
        if isinstance(columns := shaped.get("columns"), dict):
            shaped["columns"] = {f: _lower(listed) for f, listed in cast("Tree", columns).items()}
        for by_column in ("only_where", "custom"):
            if isinstance(named := shaped.get(by_column), dict):
                shaped[by_column] = {key.casefold(): value for key, value in cast("Tree", named).items()}
        objects[name] = shaped
    return rest | {"objects": objects}


def _lower(listed: Any) -> Any:
    if not isinstance(listed, list):
        return listed
    return [name.casefold() if isinstance(name, str) else name for name in cast("list[Any]", listed)]


def _laid_over(ours: Tree, theirs: Tree) -> Tree:
    merged = dict(ours)
    for name, value in theirs.items():
        below = merged.get(name)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[name] = _laid_over(cast("Tree", below), cast("Tree", value)) if both else value
    return merged


def _refuse_unknown(source: _Source, ours: Tree, theirs: Tree) -> None:
    for name, table in theirs.items():
        _refuse_key(source, [], name, ours)
        if name in ("times", "links") and isinstance(table, dict):
            for key in cast("Tree", table):
                _refuse_key(source, [name], key, ours[name])
        if name in ("ignore", "times", "links"):
            continue
        if not isinstance(table, dict):
            raise source.wrong([name], "is a table of its own, as in [companies]")
        for key, inner in cast("Tree", table).items():
            _refuse_key(source, [name], key, ObjectMapping.model_fields)
            if key in _BY_FIELD and isinstance(inner, dict):
                for field in cast("Tree", inner):
                    _refuse_key(source, [name, key], field, ours[name]["columns"])


def _refuse_key(source: _Source, above: Sequence[str], key: str, known: Iterable[str]) -> None:
    known = list(known)
    if key not in known:
        near = get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it may be one of {', '.join(known)}"
        raise source.wrong([*above, key], f"nothing is called that; {hint}".rstrip("?"))


def _refuse_values(source: _Source, mapping: Mapping, kinds: dict[str, str]) -> None:
    """Values and defaults that the record's field could not hold."""
    for name, table in mapping.objects.items():
        fields = RECORDS[kinds[name]].model_fields
        for place, field, value in _told_values(table):
            info = fields.get(field)
            if info is None or not value:
                continue
            try:
                _adapter(info).validate_python(value)
            except ValidationError as error:
                detail = error.errors(include_url=False)[0]
                reason = str(detail.get("ctx", {}).get("error", detail["msg"]))
                raise source.wrong([name, *place], reason) from None


def _adapter(info: FieldInfo) -> TypeAdapter[Any]:
    kind: Any = info.annotation
    for constraint in info.metadata:
        kind = Annotated[kind, constraint]
    return TypeAdapter(kind)


def _told_values(table: ObjectMapping) -> Iterator[tuple[list[str], str, str]]:
    for field, values in table.values.items():
        for theirs, ours in values.items():
            yield ["values", field, theirs], field, ours
    for field, value in table.defaults.items():
        yield ["defaults", field], field, value
