"""The stakeholder map: who is engaged, how many levels high and how many functions wide.

"Three levels high, three functions wide" is the goal; an account that hangs on one engaged person is at risk whoever
that person is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict

from cs_mcp.domain.people.sponsors import Contact, ContactStatus, Level

ENGAGED_DAYS: Final = 90
GOAL: Final = 3
UNKNOWN: Final = "unknown"


class Height(StrEnum):
    executive = "executive"
    management = "management"
    practitioner = "practitioner"


HEIGHT_OF_LEVEL: Final = {
    Level.c_level: Height.executive,
    Level.vp: Height.executive,
    Level.director: Height.management,
    Level.manager: Height.management,
    Level.individual: Height.practitioner,
}


class StakeholderMap(BaseModel):
    """`cells`: height → function (department) → ids of engaged contacts. Ratios are 0–1 of the goal of three."""

    model_config = ConfigDict(frozen=True)

    engaged: int
    heights: int
    functions: int
    height_coverage: float
    function_coverage: float
    single_threaded: bool
    cells: dict[str, dict[str, list[str]]]
    formula: str = (
        f"engaged = active and met in the last {ENGAGED_DAYS} days; coverage = distinct heights or functions ÷ {GOAL}; "
        "single-threaded = fewer than two engaged"
    )


def stakeholder_map(contacts: Sequence[Contact], last_met: Mapping[str, date], today: date) -> StakeholderMap:
    """Where the engaged contacts stand. One without a level or department is engaged, but covers neither."""
    cells: dict[str, dict[str, list[str]]] = {}
    heights: set[str] = set()
    functions: set[str] = set()
    engaged = 0
    for contact in contacts:
        met = last_met.get(contact.id)
        if contact.status is not ContactStatus.active or met is None or (today - met).days > ENGAGED_DAYS:
            continue
        engaged += 1
        height = HEIGHT_OF_LEVEL[contact.level].value if contact.level is not None else UNKNOWN
        function = contact.department or UNKNOWN
        cells.setdefault(height, {}).setdefault(function, []).append(contact.id)
        heights |= {height} - {UNKNOWN}
        functions |= {function.casefold()} - {UNKNOWN}
    return StakeholderMap(
        engaged=engaged,
        heights=len(heights),
        functions=len(functions),
        height_coverage=min(1.0, round(len(heights) / GOAL, 2)),
        function_coverage=min(1.0, round(len(functions) / GOAL, 2)),
        single_threaded=engaged < 2,
        cells=cells,
    )
