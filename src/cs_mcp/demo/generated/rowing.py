"""Rows on their way to the bulk path, by table."""

from __future__ import annotations

from typing import Any

from cs_mcp.db.base import Remembered

Placed = tuple[type[Remembered], dict[str, Any]]
Rows = dict[type[Remembered], list[dict[str, Any]]]
