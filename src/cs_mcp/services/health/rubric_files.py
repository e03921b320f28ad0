"""Reading a rubric from its file: YAML into plain values, with the line of everything said about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import yaml

from cs_mcp.db.facts.measures import RAW
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.health.rubric import Rubric
from cs_mcp.domain.health.rubric_check import Path, checked

LARGEST: Final = 256 * 1024
# libyaml's, where PyYAML was built with it: it reads ten times as fast.
_YAML: Final[Any] = yaml  # parts of it are not typed
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something wrong with a file; lines count from 1."""

    line: int
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}. {self.remedy}"


class BadRubric(Invalid):
    def __init__(self, complaints: list[Complaint]) -> None:
        self.complaints = complaints
        first, more = complaints[0], len(complaints) - 1
        super().__init__(
            f"The rubric cannot be used: line {first.line}: {first.what}" + (f" (and {more} more)." if more else "."),
            remedy=f"{first.remedy} 'cs-mcp health check FILE' lists everything.",
        )


@lru_cache(maxsize=16)
def read_rubric(text: str) -> Rubric:
    """The rubric in `text`; BadRubric where it is none."""
    found = examined(text)
    if isinstance(found, Rubric):
        return found
    raise BadRubric(found)


@lru_cache(maxsize=1)
def default_text() -> str:
    return files("cs_mcp").joinpath("rubrics", "default.yaml").read_text("utf-8")


def examined(text: str) -> Rubric | list[Complaint]:
    """The rubric, or all that is wrong with it in the order of the file."""
    if len(text.encode()) > LARGEST:
        return [Complaint(1, f"the file is larger than {LARGEST // 1024} kB", "Shorten it.")]
    try:
        node: Any = _YAML.compose(text, _LOADER)
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        line = mark.line + 1 if mark else 1
        said = f"not YAML: {wrong.problem or wrong.context or 'it cannot be read'}"
        return [Complaint(line, said, "Check indentation, brackets, and quotes around text with a colon.")]
    except yaml.YAMLError as wrong:
        return [Complaint(1, f"not YAML: {wrong}", "Save it as UTF-8 text.")]
    if not isinstance(node, yaml.MappingNode):
        return [Complaint(1, "the file holds no rubric", "Start from 'cs-mcp health show'.")]
    lines: dict[Path, int] = {}
    faults = list(_walked(node, (), lines, set()))
    if faults:
        return faults
    found = checked(_plain(node), RAW)
    if isinstance(found, Rubric):
        return found
    told = [Complaint(_line(lines, problem.path), problem.what, problem.remedy) for problem in found]
    return sorted(told, key=lambda one: one.line)


def _plain(node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {key.value: _plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(one) for one in node.value]
    return _SCALARS.construct_object(node)


_SCALARS: Final[Any] = yaml.SafeLoader("")


def _walked(node: yaml.Node, path: Path, lines: dict[Path, int], seen: set[int]) -> Iterator[Complaint]:
    """Notes the line of every part; yields what plain values cannot hold."""
    lines[path] = node.start_mark.line + 1
    if id(node) in seen or (isinstance(node, yaml.ScalarNode) and not node.tag.startswith("tag:yaml.org,2002:")):
        yield Complaint(lines[path], "anchors and tags are not read here", "Write the value out.")
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                yield Complaint(line, "a name must be a word", "Write `name: value`.")
                continue
            if key.value in keys:
                yield Complaint(line, f"`{key.value}` is said twice", "Keep one of the two.")
            keys.add(key.value)
            yield from _walked(value, (*path, key.value), lines, seen)
            lines[(*path, key.value)] = line
    elif isinstance(node, yaml.SequenceNode):
        for place, one in enumerate(node.value):
            yield from _walked(one, (*path, place), lines, seen)


def _line(lines: dict[Path, int], path: Path) -> int:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)
