"""Prompts that answer what customers told us."""

from __future__ import annotations

from cs_mcp.domain.identity import Principal
from cs_mcp.prompts._prompt import prompt
from cs_mcp.services.briefs.briefs import DetractorBrief
from cs_mcp.services.briefs.views import Brief
from cs_mcp.services.wiring import Services


@prompt
async def detractor_outreach(ask: DetractorBrief, principal: Principal, services: Services) -> Brief:
    return await services.briefs.detractor(principal, ask)
