"""Measure the product against its floors.

python -m benchmarks                 # everything, both stores, 1 k and 100 k accounts
python -m benchmarks --quick         # 1 k accounts, a minute, asserts zero errors and memory, no times
python -m benchmarks --part scoring --store sqlite --accounts 100000 1000000    # 25 GB and half an hour
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks._bulk import Bulk, bulk
from benchmarks._cold import cold
from benchmarks._crowd import crowd
from benchmarks._imports import EXTRACTS, SOURCES, imported
from benchmarks._latency import NOOP, Timing, measure
from benchmarks._report import Report, conditions
from benchmarks._retention import retention
from benchmarks._scoring import DAYS, Nights, nights
from benchmarks._serving import Served, serving
from benchmarks._stores import KINDS, Kind, Stores, can_run

BOOKS = [1_000, 100_000]
SCORED_BOOKS = [10_000, 100_000]
PARTS = ("calls", "crowd", "bulk", "imports", "scoring", "retention", "cold")
BARS = {
    "get_account": 2.5,
    "find_accounts": 3.0,
    "get_account, own book": 2.5,
    "find_accounts, own book": 3.0,
    "list_renewals": 3.0,
    "update_account": 5.0,
    "add_health_note": 5.0,
}
GROWTH = 1.5
EXPLAIN = 2.0  # explain_health over a year of scores, beside get_account
SEARCH = 10.0  # its slowest twentieth beside the middle of a no-op
BULK = 20_000
COLD = 1.5
# get_retention of a year over five years of movements, beside get_account
RETENTION = {"a year": 5.0, "a year by segment": 40.0, "a year, own book": 40.0}
SCORED = 20_000  # accounts a second, of a night
SCANS = 4.0  # a night beside a plain scan of the usage it is about
YEAR_OF = 10_000  # accounts of which a year of nights is always read
TREND = 2.0  # the scores of an account and what they say, beside get_account, both without the protocol
MEMORY = 150.0  # MB resident at most, of a process that scores a book of any size


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="1 k accounts only; fails on errors and memory, never on a time"
    )
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "cs-mcp-bench", help="kept stores")
    parser.add_argument("--store", choices=KINDS, action="append", help="only this store (repeatable)")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part (repeatable)")
    parser.add_argument("--accounts", type=int, nargs="+", help="sizes of the book, the smallest first")
    parser.add_argument("--days", type=int, default=DAYS, help="days of usage of a book that is scored")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--calls", type=int, default=30, help="calls of each kind in a round")
    for source in SOURCES:
        parser.add_argument(
            f"--{source}",
            type=Path,
            default=EXTRACTS / source,
            help="the export to import; a small extract if not told",
        )
    parser.add_argument("--starts", type=int, default=9, help="cold starts of each server")
    parser.add_argument("--year", action="store_true", help="a year of snapshots of the largest book too: 15 GB")
    parser.add_argument("--protocol", choices=("2025-11-25", "2026-07-28"), default="2025-11-25")
    given = parser.parse_args()
    given.scored = given.accounts or SCORED_BOOKS
    given.accounts = given.accounts or BOOKS
    if given.quick:
        given.accounts, given.scored, given.rounds, given.calls, given.starts = [1_000], [1_000], 2, 10, 2
    return given


async def run(given: argparse.Namespace) -> Report:
    kinds: list[Kind] = [kind for kind in KINDS if can_run(kind) and kind in (given.store or KINDS)]
    parts = given.part or PARTS
    report = Report(conditions(protocol=given.protocol, rounds=given.rounds, calls=given.calls))
    async with Stores.opened(given.data, kinds) as stores:
        if {"calls", "crowd"} & set(parts):
            await _calls_and_crowd(given, kinds, parts, stores, report)
        if "bulk" in parts:
            for kind in kinds:
                postgres = stores.postgres if kind == "postgresql" else None
                size = 800 if given.quick else 10_000
                found = await bulk(kind, await stores.empty(kind), accounts=size, postgres=postgres)
                _tell_bulk(report, found)
        if "imports" in parts:
            for kind, source in itertools.product(kinds, SOURCES):
                _tell(f"import of {source} into {kind}")
                one = await imported(kind, await stores.empty(kind), source, getattr(given, source))
                told = f"{one.rows_per_second:,.0f} rows/s: {one.rows:,} rows in {one.seconds:.2f} s, of which "
                told += f"{one.records:,} records; again, with nothing to change, in {one.seconds_again:.2f} s"
                report.note(f"{kind}: import of {source}", told)
                report.figures[f"import {kind} {source}"] = vars(one)
        if "scoring" in parts:
            for kind in kinds:
                await _nights(given, kind, stores, report)
        if "retention" in parts:
            for kind in kinds:
                await _retention(given, kind, stores, report)
        if "cold" in parts:
            _tell(f"cold starts, {given.starts} each")
            small = [await stores.seeded(kind, given.accounts[0]) for kind in kinds]
            bare, *ours = await cold(small, starts=given.starts)
            report.note("cold start, bare MCPServer", f"{bare.p50:.2f} s; first tool answer {bare.tool_p50:.2f} s")
            for one in ours:
                more = f" ({one.p50:.2f} s; first tool answer {one.tool_p50 / bare.tool_p50:.2f} ×)"
                report.at_most(f"{one.name}: cold start to the first answer", one.p50 / bare.p50, COLD, more)
            report.figures["cold"] = {one.name: {"first": one.first, "tool": one.tool} for one in (bare, *ours)}
    return report


async def _nights(given: argparse.Namespace, kind: Kind, stores: Stores, report: Report) -> None:
    found: list[Nights] = []
    for size in given.scored:
        _tell(f"{kind}: nights of {size:,} accounts with {given.days} days of usage")
        of_a_year = size <= YEAR_OF or (given.year and size <= 100_000)
        url = await stores.empty(kind)
        found.append(await nights(kind, url, size, stores.postgres, days=given.days, of_a_year=of_a_year))
    for night in found:
        at = f"{kind}, {night.accounts:,} accounts"
        first, again = night.first, night.again
        each = ", ".join(f"{one.seconds:.1f}" for one in night.nights)
        more = f" /s (nights of {each} s; the first {first.seconds:.1f} s, the last once more {again.seconds:.1f} s)"
        report.at_least(f"{at}: a night's scoring", night.rate, SCORED, more)
        each = ", ".join(f"{one:.2f}" for one in night.scans)
        by_several = f"; {night.seconds / min(night.scans_at_will):.2f} × one by several" if night.scans_at_will else ""
        more = f" (scans of {each} s{by_several}; {night.days} days)"
        report.at_most(f"{at}: a night / plain scan of its usage", night.seconds / night.scan, SCANS, more)
        report.none_of(f"{at}: snapshots rewritten by the same night again", again.written)
        more = f" ({first.opened_mb:.0f} MB before; the first night {first.peak_mb:.0f} MB)"
        report.megabytes(f"{at}: memory of its nights at most", night.peak_mb, MEMORY, more)
        if night.year is not None:
            more = f" (p50 {night.year.trend:.2f} ms, {night.year.get_account:.2f} ms)"
            of = f"{at}, {night.year.snapshots:,} snapshots: trend / get_account"
            report.at_most(of, night.year.trend / night.year.get_account, TREND, more)
    for small, large in itertools.pairwise(found):
        grown = f"{kind}: {small.accounts:,} → {large.accounts:,}"
        report.note(f"{grown}: an account's share of the night", f"{small.rate / large.rate:.2f} ×")
        report.note(f"{grown}: memory", f"{large.peak_mb / small.peak_mb:.2f} ×")
    report.figures[f"scoring, {kind}"] = [asdict(night) for night in found]


async def _retention(given: argparse.Namespace, kind: Kind, stores: Stores, report: Report) -> None:
    size = given.accounts[-1]
    _tell(f"{kind}: retention over five years of movements of {size:,} accounts")
    prepared = await stores.seeded(kind, size)
    found = await retention(prepared, stores.postgres, given.protocol, given.calls)
    at = f"{kind}, {size:,} accounts"
    for name, took in found.calls.items():
        ratio, more = took / found.get_account, f" (p50 {took:.2f} ms; get_account {found.get_account:.2f} ms)"
        if (bar := RETENTION.get(name)) is not None:
            report.at_most(f"{at}: {name} / get_account", ratio, bar, more)
        else:
            report.note(f"{at}: {name} / get_account", f"{ratio:.2f} ×{more}")
    report.note(f"{at}: rollups of {found.movements:,} movements made anew", f"{found.rebuilt:.1f} s")
    report.figures[f"retention, {kind}"] = vars(found)


async def _calls_and_crowd(
    given: argparse.Namespace, kinds: list[Kind], parts: tuple[str, ...], stores: Stores, report: Report
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        servers: list[Served] = []
        for kind in kinds:
            for size in given.accounts:
                prepared = await stores.seeded(kind, size)
                servers.append(await stack.enter_async_context(serving(prepared)))
        report.conditions["journal"] = {server.name: server.journal for server in servers}
        if "calls" in parts:
            _tell(f"calls: {', '.join(server.name for server in servers)}")
            timings = await measure(servers, protocol=given.protocol, rounds=given.rounds, calls=given.calls)
            _tell_calls(report, servers, timings)
        if "crowd" in parts:
            _tell("sixteen clients")
            for server in servers:
                found = await crowd(server, protocol=given.protocol, calls=12 if given.quick else 60)
                more = f" of {found.calls:,} calls, {found.per_second:,.0f}/s, write p50 {found.write_p50:.0f} p95 "
                more += f"{found.write_p95:.0f} ms; {len(found.errors)} errors of any kind"
                report.none_of(f"{server.name}: lock errors of 16 clients", found.lock_errors, more)
                report.none_of(f"{server.name}: other errors of 16 clients", len(found.errors) - found.lock_errors)
                report.figures[f"crowd {server.name}"] = vars(found)
                for error in found.errors[:2]:
                    print(f"    {error[:600]}")


def _tell_calls(report: Report, servers: list[Served], timings: list[Timing]) -> None:
    by = {(t.server, t.kind): t for t in timings}
    for server in servers:
        floor = by[server.name, NOOP]
        report.note(f"{server.name} ({server.journal}): {NOOP}", f"p50 {floor.p50:.2f} ms, p95 {floor.p95:.2f} ms")
        for kind, bar in BARS.items():
            timing = by[server.name, kind]
            beside = by[server.name, f"{NOOP}, own book"] if kind.endswith("own book") else floor
            more = f" (p50 {timing.p50:.2f} ms, p95 {timing.p95:.2f} ms)"
            report.at_most(f"{server.name}: {kind} / {NOOP}", timing.p50 / beside.p50, bar, more)
        explained, whole = by[server.name, "explain_health, scored"], by[server.name, "get_account, scored"]
        more = f" (p50 {explained.p50:.2f} ms, p95 {explained.p95:.2f} ms)"
        report.at_most(f"{server.name}: explain_health / get_account", explained.p50 / whole.p50, EXPLAIN, more)
        for kind in ("search", "search, own book"):
            timing = by[server.name, kind]
            more = f" (p50 {timing.p50:.2f} ms, p95 {timing.p95:.2f} ms)"
            report.at_most(f"{server.name}: {kind}, p95 / {NOOP}", timing.p95 / floor.p50, SEARCH, more)
    for small, large in itertools.pairwise(servers):
        if small.prepared.kind == large.prepared.kind:
            for kind in (NOOP, *BARS):
                ratio = by[large.name, kind].p50 / by[small.name, kind].p50
                report.at_most(f"{kind}: growth, {small.name} to {large.name}", ratio, GROWTH)
    report.figures["calls"] = {
        f"{t.server}: {t.kind}": {"p50": t.p50, "p95": t.p95, "n": len(t.times)} for t in timings
    }


def _tell_bulk(report: Report, found: Bulk) -> None:
    for what, records, rows in (
        ("created", found.created_per_second, found.rows_a_record),
        ("updated", found.updated_per_second, found.rows_an_update),
    ):
        more = (
            f" rows/s: {records:,.0f} records, {rows:.2f} rows each; {found.bare_per_second / (records * rows):.1f} ×"
        )
        more += " of that in bare tables by the driver alone"
        report.at_least(f"{found.kind}: bulk path, {what}", records * rows, BULK, more)
    said = ", ".join(f"{count:,} {of}" for of, count in found.rows.items())
    report.note(f"{found.kind}: rows created", f"{said}; {found.created_per_second * 3:,.0f} /s without search's")
    for what, sizes in (("created", found.sizes_after_creating), ("updated", found.sizes_of_updates)):
        said = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in sorted(sizes.items()))
        report.note(f"{found.kind}: history of 100 k records {what}", said)
    report.figures[f"bulk {found.kind}"] = vars(found)


def _tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def main() -> int:
    given = arguments()
    if sys.platform == "win32":
        report = asyncio.run(run(given))
    else:
        import uvloop

        report = uvloop.run(run(given))
    report.conditions["load_at_end"] = [round(one, 2) for one in os.getloadavg()] if hasattr(os, "getloadavg") else []
    print("\n" + report.table() + "\n")
    print(", ".join(f"{name} {value}" for name, value in report.conditions.items()))
    print(f"written to {report.save()}")
    failed = [bar for bar in report.bars if bar.met is False and (bar.anywhere or not given.quick)]
    if given.quick:
        return 1 if failed else 0
    print(f"{len(failed)} bars not met" if failed else "all bars met")
    return 0


if __name__ == "__main__":
    sys.exit(main())
