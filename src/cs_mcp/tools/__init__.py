"""What a model may do. Tools see services and the domain, never SQL."""

from __future__ import annotations

from cs_mcp.tools._toolset import Toolset
from cs_mcp.tools.accounts import accounts
from cs_mcp.tools.core import core
from cs_mcp.tools.growth import growth
from cs_mcp.tools.health import health
from cs_mcp.tools.meetings import meetings
from cs_mcp.tools.renewals import renewals
from cs_mcp.tools.retention import metrics
from cs_mcp.tools.signals import admin
from cs_mcp.tools.sponsors import sponsors
from cs_mcp.tools.tasks import tasks

TOOLSETS: tuple[Toolset, ...] = (core, accounts, sponsors, health, renewals, tasks, meetings, admin, metrics, growth)
