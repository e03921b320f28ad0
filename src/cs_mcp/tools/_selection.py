"""Which tools a server offers: a profile, or named toolsets; single tools beside them; writes or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from cs_mcp.domain.errors import Invalid
from cs_mcp.tools._toolset import StrictTool, Toolset

Profile = Literal["csm", "leader", "agent", "all"]
# Toolsets of each profile beside the core, and whether it has their tools on request too.
_PROFILES: Final[dict[str, tuple[frozenset[str], bool]]] = {
    "csm": (frozenset({"accounts", "sponsors", "health", "renewals", "tasks", "meetings"}), False),
    "leader": (
        frozenset({"accounts", "sponsors", "health", "renewals", "tasks", "meetings", "admin", "metrics", "growth"}),
        True,
    ),
    "agent": (frozenset({"accounts", "sponsors", "health", "renewals", "tasks", "meetings", "growth"}), True),
}
CORE: Final = "core"


def chosen(
    all_sets: Sequence[Toolset],
    *,
    profile: Profile = "csm",
    toolsets: Sequence[str] = (),
    tools: Sequence[str] = (),
    read_only: bool = False,
) -> list[StrictTool]:
    """Tools in their order. `toolsets` takes the place of the profile; `tools` come beside; the core is always in.

    Invalid where a name is unknown.
    """
    by_name = {tool.name: tool for one in all_sets for tool in one.tools}
    _known(toolsets, [one.name for one in all_sets], "toolset")
    _known(tools, list(by_name), "tool")
    if toolsets:
        sets, on_request = frozenset(toolsets), True
    elif profile == "all":
        sets, on_request = frozenset(one.name for one in all_sets), True
    else:
        sets, on_request = _PROFILES[profile]
    named = {
        tool.name
        for one in all_sets
        if one.name == CORE or one.name in sets
        for tool in one.tools
        if on_request or not tool.on_request
    }
    named.update(tools)
    return [tool for tool in by_name.values() if tool.name in named and not (read_only and tool.writes)]


def _known(given: Sequence[str], known: Sequence[str], kind: str) -> None:
    for name in given:
        if name not in known:
            raise Invalid(f"There is no {kind} {name!r}.", remedy=f"There are: {', '.join(known)}.")
