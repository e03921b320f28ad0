"""What a run found, as a table for people and as JSON for later."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Bar:
    """One promise and what was found; `met` is None where nothing was promised.

    `anywhere` where it holds on any machine, under any load.
    """

    what: str
    found: str
    bar: str
    met: bool | None
    anywhere: bool = False


@dataclass
class Report:
    conditions: dict[str, Any]
    bars: list[Bar] = field(default_factory=list[Bar])
    figures: dict[str, Any] = field(default_factory=dict[str, Any])

    def at_most(self, what: str, found: float, bar: float, more: str = "") -> None:
        self.bars.append(Bar(what, f"{found:.2f} ×{more}", f"≤ {bar} ×", found <= bar))

    def at_least(self, what: str, found: float, bar: float, more: str = "") -> None:
        self.bars.append(Bar(what, f"{found:,.0f}{more}", f"≥ {bar:,.0f}", found >= bar))

    def none_of(self, what: str, found: int, more: str = "") -> None:
        self.bars.append(Bar(what, f"{found}{more}", "0", found == 0, anywhere=True))

    def megabytes(self, what: str, found: float, bar: float, more: str = "") -> None:
        self.bars.append(Bar(what, f"{found:.0f} MB{more}", f"≤ {bar:.0f} MB", found <= bar, anywhere=True))

    def note(self, what: str, found: str) -> None:
        self.bars.append(Bar(what, found, "", None))

    def table(self) -> str:
        wide = max(len(bar.what) for bar in self.bars)
        middle = max(len(bar.found) for bar in self.bars)
        said = {True: "met", False: "NOT MET", None: ""}
        return "\n".join(
            f"{bar.what:<{wide}}  {bar.found:<{middle}}  {bar.bar:<10} {said[bar.met]}".rstrip() for bar in self.bars
        )

    def save(self) -> Path:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
        bars = [vars(bar) for bar in self.bars]
        text = json.dumps({"conditions": self.conditions, "bars": bars, "figures": self.figures}, indent=1)
        path.write_text(text, encoding="utf-8")
        return path


def conditions(**more: Any) -> dict[str, Any]:
    """Where and under what load: figures of two runs compare only as ratios."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else (0.0, 0.0, 0.0)
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "load_at_start": [round(one, 2) for one in load],
        **more,
    }
