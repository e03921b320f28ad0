"""Criteria as they are read from their files: what is judged by numbers that a leader may want to change."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import yaml
from pydantic import ValidationError

from cs_mcp.domain.accounts.tiers import TierCriteria
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.opportunities.expansion import ExpansionCriteria

LARGEST: Final = 64 * 1024


@lru_cache(maxsize=1)
def expansion_criteria() -> ExpansionCriteria:
    return ExpansionCriteria.model_validate(yaml.safe_load(_shipped("expansion.yaml")))


@lru_cache(maxsize=1)
def default_tier_text() -> str:
    return _shipped("high_value.yaml")


@lru_cache(maxsize=8)
def tier_criteria(text: str) -> TierCriteria:
    """The criteria in `text`. Raises Invalid with the first thing that is wrong with them."""
    start = "Start from 'cs-mcp tiers show'."
    if len(text.encode()) > LARGEST:
        raise Invalid(f"The file is larger than {LARGEST // 1024} kB.", remedy=start)
    try:
        told: Any = yaml.safe_load(text)
    except yaml.YAMLError as wrong:
        raise Invalid(f"The file is not YAML: {str(wrong).splitlines()[0]}.", remedy=start) from wrong
    try:
        return TierCriteria.model_validate(told)
    except ValidationError as wrong:
        [first, *more] = wrong.errors(include_url=False)
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        beside = f" (and {len(more)} more)" if more else ""
        said = first["msg"].removeprefix("Value error, ")
        raise Invalid(f"{where}: {said}, got {str(first['input'])[:60]!r}{beside}.", remedy=start) from wrong


def _shipped(name: str) -> str:
    return files("cs_mcp").joinpath("criteria", name).read_text("utf-8")
