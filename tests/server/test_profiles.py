"""Which tools a server offers: by profile, by toolset, one by one."""

from __future__ import annotations

from typing import Any

import pytest
from mcp import Client

from conftest import Team
from cs_mcp.config import Settings
from cs_mcp.domain.errors import Invalid
from cs_mcp.server import build_server, tools_of
from cs_mcp.tools import TOOLSETS
from cs_mcp.tools._context import FixedCaller

from ._client import Desks

EVERY = {tool.name for toolset in TOOLSETS for tool in toolset.tools}
ADMIN = {"create_account", "update_accounts", "merge_records", "record_signals"}
METRICS = {"get_metrics", "get_health_accuracy", "get_retention", "get_cohorts", "get_forecast"}
GROWTH = {"list_opportunities", "save_opportunity"}
ON_REQUEST = {"move_account_stage", "schedule_meeting", "override_health"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, EVERY - ADMIN - METRICS - GROWTH - ON_REQUEST),
        ({"profile": "leader"}, EVERY),
        ({"profile": "agent"}, EVERY - ADMIN - METRICS),
        ({"profile": "all"}, EVERY),
        ({"tools": ["merge_records"]}, EVERY - ADMIN - METRICS - GROWTH - ON_REQUEST | {"merge_records"}),
        ({"toolsets": ["meetings"]}, {"get_workspace", "search", "fetch", "list_changes", "undo_changes",
                                      "commit_plan", "log_meeting", "schedule_meeting"}),
    ],
    ids=["csm", "leader", "agent", "all", "and one", "toolset"],
)  # fmt: skip
@pytest.mark.parametrize("read_only", [False, True])
async def test_a_server_offers_what_its_settings_choose(
    settings: dict[str, Any], expected: set[str], read_only: bool, team: Team, desks: Desks, era: str
) -> None:
    tools = tools_of(Settings(read_only=read_only, **settings))
    caller = FixedCaller(team.services, team.workspace, team.members["ada"].id)
    desk = await desks.at(Client(build_server(team.services, caller, tools=tools), mode=era))

    listed = set(await desk.names())

    assert listed == {tool for tool in expected if not read_only or not _writes(tool)}
    assert set((await desk.done("get_workspace"))["may_call"]) == listed
    for tool in EVERY - listed:
        assert f"cs-mcp serve --tools {tool} would" in await desk.refused(tool)


def _writes(name: str) -> bool:
    return next(tool.writes for toolset in TOOLSETS for tool in toolset.tools if tool.name == name)


@pytest.mark.parametrize("settings", [{"tools": ["find_account"]}, {"toolsets": ["account"]}])
def test_a_name_nobody_knows_is_refused_with_those_there_are(settings: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="There are: "):
        tools_of(Settings(**settings))
