"""Files as they should not be, from a folder and from HubSpot, and imports that are killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from import_desk import TABLES, Desk, counts, of, open_desk

from conftest import STORES, pairs
from cs_mcp.connectors.reading import UnreadableFile
from cs_mcp.db.store import open_store
from cs_mcp.services.imports.report import ImportReport
from cs_mcp.services.wiring import Services

MIB = 1024 * 1024


@dataclass(frozen=True)
class Source:
    """How a source tells accounts."""

    name: str
    file: str
    header: str

    def row(self, key: str, name: str = "Globex") -> str:
        return f"{key},{name}"

    @property
    def name_column(self) -> str:
        return self.header.partition(",")[2]


SOURCES = [
    Source("folder", "accounts.csv", "account_id,name"),
    Source("hubspot", "company_data.csv", "id,property_name"),
]


once_a_store = pytest.mark.parametrize(("store_kind", "source"), pairs(STORES, SOURCES), indirect=True)


@pytest.fixture(params=SOURCES, ids=lambda source: source.name)
def source(request: pytest.FixtureRequest) -> Source:
    return request.param


@pytest.fixture
async def desk(services: Services, tmp_path: Path) -> Desk:
    return await open_desk(services, tmp_path)


def put(desk: Desk, source: Source, content: str | bytes) -> None:
    (desk.folder / source.file).write_bytes(content.encode() if isinstance(content, str) else content)


async def refused(desk: Desk, source: Source, **options: Any) -> str:
    """What the import says of the file, before it writes anything or when it comes to it; nothing may be stored."""
    try:
        report = await desk.run(source=source.name, **options)
    except UnreadableFile as unreadable:
        said = str(unreadable)
    else:
        assert report.stopped
        [file] = [file for file in report.files if file.kind == "accounts"]
        said = f"{file.rejects[-1].reason}"
    assert await desk.rows("account") == []
    return said


TEXTS = {
    "UTF-16": ("is UTF-16", "utf-16"),
    "UTF-16 without its mark": ("is UTF-16", "utf-16-le"),
    "Latin-1": ("the byte 0xe9 at offset", "latin-1"),
}


@pytest.mark.parametrize("encoding", list(TEXTS))
@pytest.mark.parametrize("keep_going", [False, True])
async def test_another_encoding_is_named_with_file_line_and_remedy(
    desk: Desk, source: Source, encoding: str, keep_going: bool
) -> None:
    told, codec = TEXTS[encoding]
    put(desk, source, f"{source.header}\n{source.row('1')}\n{source.row('2', 'Café')}\n".encode(codec))

    said = await refused(desk, source, keep_going=keep_going)

    assert f"{source.file} {'is UTF-16' if codec != 'latin-1' else 'is not UTF-8'}" in said
    assert told in said
    assert "line 3" in said or codec != "latin-1"
    assert "Save it again as UTF-8" in said


async def test_a_missing_column_is_named(desk: Desk, source: Source) -> None:
    put(desk, source, source.header.replace(source.name_column, "title") + "\n1,Globex\n")

    said = await refused(desk, source)

    assert f"{source.file} lacks the column '{source.name_column}'" in said
    assert "'title'" in said


async def test_an_empty_file_is_named(desk: Desk, source: Source) -> None:
    put(desk, source, "")

    assert f"{source.file} has no header: it is empty" in await refused(desk, source)


async def test_a_file_of_a_header_alone_is_nothing_to_do(desk: Desk, source: Source) -> None:
    put(desk, source, source.header + "\n")

    report = await desk.run(source=source.name)

    assert (report.changed, of(report, "accounts").rows) == (0, 0)


@pytest.mark.parametrize("keep_going", [False, True])
async def test_a_quote_that_is_never_closed_stops_the_file(desk: Desk, source: Source, keep_going: bool) -> None:
    rows = [source.row(str(n)) for n in range(1, 9)] + [source.row("9", '"Globex'), source.row("10")]
    put(desk, source, "\n".join([source.header, *rows]) + "\n")

    said = await refused(desk, source, keep_going=keep_going)

    assert f"{source.file}: a quote opened in the row that starts at line 10 is never closed" in said


async def test_a_mark_and_line_ends_of_windows_make_no_difference(desk: Desk, source: Source) -> None:
    put(desk, source, b"\xef\xbb\xbf" + "\r\n".join([source.header, source.row("1", "Café"), ""]).encode())

    await desk.run(source=source.name)

    assert {key: row["name"] for key, row in (await desk.by_source("account")).items()} == {"1": "Café"}
    put(desk, source, f"{source.header}\n{source.row('1', 'Café')}\n")
    assert (await desk.run(source=source.name)).changed == 0


@once_a_store
async def test_one_bad_row_in_ten_thousand(desk: Desk, source: Source) -> None:
    rows = [source.row(str(n), f"Account {n}") for n in range(10_000)]
    rows[6_543] = source.row("6543", "")
    put(desk, source, "\n".join([source.header, *rows]) + "\n")

    stopped = await desk.run(source=source.name)

    assert (counts(of(stopped, "accounts")), await desk.rows("account")) == ((0, 0, 0, 0), [])
    report = await desk.run(source=source.name, keep_going=True)
    accounts = of(report, "accounts")
    assert (accounts.rows, accounts.skipped, counts(accounts)) == (10_000, 1, (9_999, 0, 0, 0))
    assert [(reject.line, reject.reason) for reject in accounts.rejects] == [
        (6_545, f"{'name' if source.name == 'folder' else source.name_column}: is empty, and every row needs it")
    ]
    stored = {row["source_id"] for row in await desk.rows("account")}
    assert stored == {str(n) for n in range(10_000)} - {"6543"}


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "@SUM(A1)", "-2+3", "=HYPERLINK(https://x.example)"])
async def test_a_formula_is_text(desk: Desk, source: Source, cell: str) -> None:
    put(desk, source, f"{source.header}\n{source.row('1', cell)}\n")

    await desk.run(source=source.name)

    assert (await desk.by_source("account"))["1"]["name"] == cell


MEASURED = """
import resource, sys
from cs_mcp.cli.commands import app
try:
    app()
except SystemExit as end:
    print(f"exit {end.code}", file=sys.stderr)
print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}", file=sys.stderr)
"""


def peak_of(folder: Path, source: Source, tmp_path: Path) -> tuple[int, str]:
    """MiB that the import took at most, and what it said."""
    options = ["--source", source.name, "--db", f"sqlite:///{tmp_path / 'peak.db'}"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "import", str(folder), *options],
        env=os.environ | {"CS_MCP_SECRET": "a secret for tests"},
        capture_output=True,
        text=True,
        check=True,
    )
    *_, last = done.stderr.split()
    return int(last), done.stdout + done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="the peak of memory is asked for the POSIX way")
@pytest.mark.parametrize(("shape", "source"), pairs(["a line", "lines in quotes"], SOURCES), indirect=["source"])
def test_a_row_of_a_hundred_megabytes_is_refused_without_taking_them(
    source: Source, shape: str, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    small = f"{source.header}\n{source.row('1')}\n"
    (folder / source.file).write_text(small)
    usual, _ = peak_of(folder, source, tmp_path)
    with (folder / source.file).open("a") as file:
        file.write('2,"')
        for _ in range(100):
            file.write(("x" * 63 + "\n") * (MIB // 64) if shape == "lines in quotes" else "x" * MIB)
        file.write('"\n')

    peak, said = peak_of(folder, source, tmp_path)

    assert f"{source.file}: the row that starts at line 3 is longer than 1,024 KiB" in said
    print(f"\n{source.name}, {shape} of 100 MiB: {peak} MiB at most, {usual} MiB without it")
    assert peak < usual + 20


# Killed


def book(desk: Desk, source: Source, size: int = 400) -> None:
    """Accounts with a contact, a subscription, a note and a task each."""
    numbers = range(size)
    if source.name == "folder":
        tables = {
            "accounts": ("account_id,name,currency,custom.n", [f"A{n},Account {n},USD,{n}" for n in numbers]),
            "contacts": ("contact_id,account_id,name,roles", [f"C{n},A{n},Contact {n},champion" for n in numbers]),
            "subscriptions": (
                "subscription_id,account_id,starts_on,ends_on,arr",
                [f"S{n},A{n},2025-0{1 + n % 9}-01,2099-12-31,{100 + n}" for n in numbers],
            ),
            "notes": ("note_id,account_id,written_at,text", [f"N{n},A{n},2026-01-01T10:00:00Z,Fine" for n in numbers]),
            "tasks": ("task_id,account_id,title", [f"T{n},A{n},Call" for n in numbers]),
        }
    else:
        tables = {
            "company_data": ("id,property_name,property_n", [f"{n},Account {n},{n}" for n in numbers]),
            "contact_data": (
                "id,property_associatedcompanyid,property_lastname,property_hs_buying_role",
                [f"{n},{n},Contact {n},CHAMPION" for n in numbers],
            ),
            "deal_data": (
                "deal_id,deal_pipeline_stage_id,property_hs_arr,property_closedate",
                [f"{n},closedwon,{100 + n},2025-0{1 + n % 9}-01 10:00:00" for n in numbers],
            ),
            "deal_company_data": ("deal_id,company_id", [f"{n},{n}" for n in numbers]),
            "engagement_company_data": (
                "engagement_id,company_id",
                [f"{kind}{n},{n}" for kind in (1, 2) for n in numbers],
            ),
            "engagement_note_data": (
                "engagement_id,property_hs_timestamp,property_hs_note_body",
                [f"1{n},2026-01-01 10:00:00,<p>Fine</p>" for n in numbers],
            ),
            "engagement_task_data": ("engagement_id,property_hs_task_subject", [f"2{n},Call" for n in numbers]),
        }
    for name, (header, rows) in tables.items():
        (desk.folder / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


async def figures(desk: Desk) -> dict[str, Any]:
    """What an import leaves behind, by source id: no ids, versions or times, which differ from run to run."""
    accounts = await desk.by_source("account")
    columns = ("name", "arr_minor", "currency", "segment", "stage", "custom", "last_touch_on", "renewal_on")
    told = {key: {name: row[name] for name in columns} for key, row in sorted(accounts.items())}
    champions = {key: row["champion_id"] is not None for key, row in accounts.items()}
    keys = {
        table: sorted(str(row["source_id"]) for row in await desk.rows(table) if row["removed_at"] is None)
        for table in ("contact", "sponsorship", "subscription", "arr_movement", "health_note", "task")
    }
    sizes = {table: len(await desk.rows(table)) for table in TABLES}
    return {"accounts": told, "champions": champions, "keys": keys, "rows": sizes}


@pytest.fixture
async def another(services: Services, sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Services]:
    """Where a second workspace can be founded: a SQLite store has but one."""
    if services.store.dialect == "postgresql":
        yield services
        return
    shutil.copy(sqlite_template, tmp_path / "another.db")
    store = await open_store(f"sqlite:///{tmp_path / 'another.db'}", clock=services.store.clock)
    yield Services(store, b"a secret for tests")
    await store.close()


@pytest.mark.faults
@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed the POSIX way")
@once_a_store
async def test_an_import_killed_again_and_again_ends_as_one_that_was_not(
    desk: Desk, source: Source, store_url: str, another: Services, tmp_path: Path
) -> None:
    book(desk, source)
    workspace = await another.identity.found_workspace(name="Undisturbed")
    undisturbed = Desk(another.store, another, await another.identity.operator(workspace), desk.folder)
    other_url = store_url if another.store is desk.store else f"sqlite:///{tmp_path / 'another.db'}"
    whole = process(undisturbed, source, other_url)
    expected = await figures(undisturbed)
    chance = random.Random(source.name)

    seen: list[dict[str, int]] = []
    for at in (whole.files[1], whole.files[len(whole.files) // 2], whole.files[-2]):
        process(desk, source, store_url, at, chance.uniform(0, whole.seconds / len(whole.files)))
        seen.append({table: len(await desk.rows(table)) for table in TABLES})
    done = process(desk, source, store_url)

    assert not done.report.stopped
    assert await figures(desk) == expected
    assert process(desk, source, store_url).report.changed == 0
    # The kills hit: something was missing after at least one, and something was there after at least one.
    assert any(sizes != expected["rows"] for sizes in seen)
    assert any(sizes["account"] for sizes in seen)


class Ended(NamedTuple):
    files: list[str]
    seconds: float
    report: ImportReport


def process(desk: Desk, source: Source, url: str, kill_at: str | None = None, wait: float = 0) -> Ended:
    """`cs-mcp import` in a process of its own; killed `wait` seconds after it came to the file `kill_at`."""
    options = ["--source", source.name, "--db", url, "--workspace", desk.principal.workspace, "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cs_mcp", "import", str(desk.folder), *options],
        env=os.environ | {"CS_MCP_SECRET": "a secret for tests"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    files: list[str] = []
    started = time.monotonic()
    for line in process.stderr:
        started = time.monotonic() if not files else started
        name, reading, _ = line.partition(": reading")
        files += [name] if reading else []
        if reading and name == kill_at:
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
            break
    out, said = process.communicate()
    if kill_at is not None:
        assert process.returncode in (-signal.SIGKILL, 0), said
        return Ended(files, time.monotonic() - started, ImportReport.model_construct())
    assert process.returncode == 0, said
    return Ended(files, time.monotonic() - started, ImportReport.model_validate_json(out))
