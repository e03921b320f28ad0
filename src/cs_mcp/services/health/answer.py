"""Bringing the explanation of a score within its budget: evidence gives way first, then what is worth least."""

from __future__ import annotations

from collections.abc import Iterator

from cs_mcp.domain.contract import BYTES_PER_TOKEN, LeftOut
from cs_mcp.services.health.views import HealthExplained, MeasureLine

_OVERHEAD = 300  # bytes of what `left_out` may come to
# Records told of a measure that loses points, and of one that loses none.
_BRIEF = ((3, 0), (2, 0), (1, 0), (0, 0))
_FULL = ((10, 10), (5, 3), (3, 1), *_BRIEF)


def within_budget(view: HealthExplained, *, budget_tokens: int, full: bool) -> HealthExplained:
    """As much of the answer as fits; what does not is listed with the call that gets it."""
    allowed = budget_tokens * BYTES_PER_TOKEN - _OVERHEAD
    smallest = view
    for smallest in _shrunk(view, full=full):
        if _size(smallest) <= allowed:
            break
    return smallest


def _size(view: HealthExplained) -> int:
    return max(len(view.text("0" * 8).encode()), len(view.model_dump_json(exclude_none=True).encode()))


def _shrunk(view: HealthExplained, *, full: bool) -> Iterator[HealthExplained]:
    call = f"explain_health with account {view.account.id}, as_of {view.scored_on}, "
    for losing, rest in _FULL if full else _BRIEF:
        told = [_with_evidence(line, losing if line.costs else rest) for line in view.measures]
        hidden = sum(line.more_evidence or 0 for line in told if line.costs)
        left = [LeftOut(what=f"{hidden} more records behind these measures", call=call + "detail 'full'")]
        yield view.model_copy(update={"measures": told, "left_out": left if hidden else []})
    bare = [_with_evidence(line, 0) for line in view.measures]
    smaller = view.model_copy(update={"formula": ""})
    for kept in (12, 6, 3, 0):
        left = [LeftOut(what=f"{max(0, len(bare) - kept)} measures and all evidence", call=call + "budget_tokens 4000")]
        smaller = smaller.model_copy(update={"measures": bare[:kept], "missing": [], "left_out": left})
        yield smaller
    left = [LeftOut(what="measures, why it moved, the path up", call=call + "budget_tokens 4000")]
    smaller = smaller.model_copy(update={"left_out": left, "path": None, "why": None})
    yield smaller


def _with_evidence(line: MeasureLine, most: int) -> MeasureLine:
    records = line.evidence or []
    if len(records) <= most:
        return line
    more = (line.more_evidence or 0) + len(records) - most
    return line.model_copy(update={"evidence": records[:most] or None, "more_evidence": more})
