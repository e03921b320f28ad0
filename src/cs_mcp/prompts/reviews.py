"""Prompts for reviews with a customer."""

from __future__ import annotations

from typing import Literal

from cs_mcp.domain.identity import Principal
from cs_mcp.prompts._prompt import prompt
from cs_mcp.services.briefs.briefs import QbrBrief
from cs_mcp.services.briefs.views import Brief
from cs_mcp.services.wiring import Services


class QbrSummary(QbrBrief):
    audience: Literal["executive", "working_team"] = "executive"


@prompt
async def qbr_summary(ask: QbrSummary, principal: Principal, services: Services) -> Brief:
    return await services.briefs.qbr(principal, ask)
