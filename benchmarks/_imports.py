"""Exports of other systems read into an empty store, from their files to the last commit."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks._stores import Kind
from cs_mcp.connectors.loading import load_source
from cs_mcp.db.store import open_store
from cs_mcp.services.identity import Identity
from cs_mcp.services.imports.imports import Imports
from cs_mcp.services.imports.report import ImportReport

EXTRACTS = Path(__file__).parent.parent / "tests" / "data"
SOURCES = ("ravenstack", "hubspot")


@dataclass(frozen=True)
class Imported:
    """`rows` were read, ledger aside; `records` were written, each with its change and the change's payload."""

    kind: Kind
    source: str
    rows: int
    records: int
    seconds: float
    seconds_again: float

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds


async def imported(kind: Kind, url: str, source: str, folder: Path) -> Imported:
    """The first import, and the second, which must find nothing to change."""
    store = await open_store(url)
    try:
        identity = Identity(store, b"")
        principal = await identity.operator(await identity.found_workspace(name="Benchmark"))

        async def load() -> tuple[ImportReport, float]:
            started = time.perf_counter()
            report = await load_source(Imports(store), principal, folder, source=source, keep_going=True)
            return report, time.perf_counter() - started

        first, seconds = await load()
        second, seconds_again = await load()
        if second.changed:
            raise RuntimeError(f"the second import of {source} changed something")
        rows = sum(file.rows for file in first.files)
        return Imported(kind, source, rows, first.changed, seconds, seconds_again)
    finally:
        await store.close()
