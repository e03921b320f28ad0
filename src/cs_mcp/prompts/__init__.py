"""What a person may start from: instructions as Markdown files, each with the brief it needs."""

from __future__ import annotations

from cs_mcp.prompts._prompt import Prompt
from cs_mcp.prompts.feedback import detractor_outreach
from cs_mcp.prompts.reviews import qbr_summary

PROMPTS: tuple[Prompt, ...] = (qbr_summary, detractor_outreach)
