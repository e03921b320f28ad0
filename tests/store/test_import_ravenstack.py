"""RavenStack imported whole, its ledger checked against a computation of its own over the CSV."""

from __future__ import annotations

import csv
import os
from collections import Counter, defaultdict
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import text

from cs_mcp.connectors.loading import load_source
from cs_mcp.db.history.changes import Act
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.revenue.retention import Bar
from cs_mcp.services.imports.imports import Imports
from cs_mcp.services.imports.report import Looks, State
from cs_mcp.services.revenue.retention import GetRetention
from cs_mcp.services.wiring import Services

ROOT = Path(__file__).parents[2]
WHOLE = Path(os.environ.get("CS_MCP_RAVENSTACK") or ROOT.parent / "shared" / "data" / "ravenstack")
IS_WHOLE = (WHOLE / "ravenstack_accounts.csv").is_file()
EXTRACT = ROOT / "tests" / "data" / "ravenstack"
FOLDER = WHOLE if IS_WHOLE else EXTRACT
YEAR_ENDS = [date(year, 12, 31) for year in (2022, 2023, 2024, 2025)]


def table(name: str) -> list[dict[str, str]]:
    with (FOLDER / f"ravenstack_{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def arr_by_account(day: date) -> dict[str, Decimal]:
    """What is live at the end of the day, read off the file: no trial, begun, and not ended by then."""
    found: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in table("subscriptions"):
        begun = date.fromisoformat(row["start_date"]) <= day
        ended = bool(row["end_date"]) and date.fromisoformat(row["end_date"]) <= day
        if row["is_trial"] == "FALSE" and begun and not ended:
            found[row["account_id"]] += Decimal(row["arr_amount"])
    return {account: arr for account, arr in found.items() if arr}


def events_by_key() -> Counter[tuple[str, str, str]]:
    """Uses by account, day and feature, read off the files."""
    account_of = {row["subscription_id"]: row["account_id"] for row in table("subscriptions")}
    events: Counter[tuple[str, str, str]] = Counter()
    for row in table("feature_usage"):
        events[account_of[row["subscription_id"]], row["usage_date"], row["feature_name"]] += int(row["usage_count"])
    return events


async def query(services: Services, principal: Principal, sql: str, **given: Any) -> list[dict[str, Any]]:
    act = Act(services.store.ids.new("change"), "test", "test", services.store.clock.now())
    async with services.store.unit_of_work(principal, act) as work:
        found = await work.session.execute(text(sql), {"w": principal.workspace} | given)
        return [dict(row) for row in found.mappings()]


async def test_the_ledger_of_ravenstack_and_what_moved_in_it_tie_out_to_the_cent(services: Services) -> None:
    identity, imports = services.identity, Imports(services.store)
    principal = await identity.operator(await identity.found_workspace(name="RavenStack"))

    report = await load_source(imports, principal, FOLDER, source="ravenstack")

    assert not report.stopped
    files = {file.kind: file for file in report.files}
    assert {kind: (file.rows, file.records.created) for kind, file in files.items() if file.state is State.done} == {
        "accounts": (len(table("accounts")),) * 2,
        "subscriptions": (len(table("subscriptions")),) * 2,
        "ledger": (0, files["ledger"].records.created),
        "usage": (len(table("feature_usage")), len(events_by_key())),
        "tickets": (len(table("support_tickets")),) * 2,
    }
    assert {kind: file.rows for kind, file in files.items() if file.state is State.not_read_yet} == {
        "churn": len(table("churn_events")),
    }
    for day in YEAR_ENDS:
        rows = await query(
            services,
            principal,
            "select a.source_id, sum(m.amount_minor) as minor from arr_movement m "
            "join account a on a.workspace = m.workspace and a.id = m.account_id "
            'where m.workspace = :w and m."on" <= :day group by a.source_id having sum(m.amount_minor) <> 0',
            day=day if services.store.dialect == "postgresql" else day.isoformat(),
        )
        assert {row["source_id"]: Decimal(int(row["minor"])) / 100 for row in rows} == arr_by_account(day), day
    told = await query(
        services,
        principal,
        "select a.source_id, u.day, f.name, u.events from usage_feature u "
        "join account a on a.workspace = u.workspace and a.id = u.account_id "
        "join feature f on f.workspace = u.workspace and f.id = u.feature_id where u.workspace = :w",
    )
    days = {(row["source_id"], date.fromordinal(row["day"]).isoformat(), row["name"]): row["events"] for row in told}
    assert days == dict(events_by_key())
    totals = await query(
        services, principal, "select sum(feature_events) as n from usage_day where workspace = :w and department = ''"
    )
    assert int(totals[0]["n"]) == sum(events_by_key().values())
    severities = await query(
        services, principal, "select severity, count(*) as n from ticket where workspace = :w group by severity"
    )
    priorities = Counter(row["priority"] for row in table("support_tickets"))
    assert {row["severity"]: row["n"] for row in severities} == {
        rank: priorities[name] for rank, name in enumerate(("urgent", "high", "medium", "low"), 1)
    }
    today = await query(
        services, principal, "select source_id, arr_minor from account where workspace = :w and arr_minor <> 0"
    )
    now = arr_by_account(services.store.clock.now().date())
    assert {row["source_id"]: Decimal(row["arr_minor"]) / 100 for row in today} == now
    warned = {warning.kind: warning.count for warning in report.warnings}
    at_once = sum(row["start_date"] == row["end_date"] for row in table("subscriptions"))
    assert warned[Looks.ended_at_once] == at_once
    assert Looks.no_rate not in warned
    if IS_WHOLE:
        assert files["ledger"].records.created == 4_459
        assert sum(arr_by_account(date(2024, 12, 31)).values()) == Decimal("121915296.00")
    await what_moved_between_year_ends_ties_out(services, principal)


async def what_moved_between_year_ends_ties_out(services: Services, principal: Principal) -> None:
    """The waterfalls, worked out from what each account pays at both ends, by who ever paid before."""
    began: dict[str, date] = {}
    for row in table("subscriptions"):
        started, ended = date.fromisoformat(row["start_date"]), row["end_date"]
        never_live = bool(ended) and date.fromisoformat(ended) <= started
        if row["is_trial"] == "FALSE" and not never_live and Decimal(row["arr_amount"]):
            began[row["account_id"]] = min(started, began.get(row["account_id"], started))
    for start, end in pairwise(YEAR_ENDS):
        before, after = arr_by_account(start), arr_by_account(end)
        wanted: defaultdict[str, Decimal] = defaultdict(Decimal)
        for account in {*before, *after}:
            was, now = before.get(account, Decimal()), after.get(account, Decimal())
            if was and not now:
                wanted["churn"] += was
            elif not was and now:
                wanted["new" if began[account] > start else "reactivation"] += now
            else:
                wanted["expansion"] += max(now - was, Decimal())
                wanted["contraction"] += max(was - now, Decimal())
        question = GetRetention(period_start=start + timedelta(days=1), period_end=end, slice_by="segment")
        told = await services.retentions.get(principal, question)
        found = {name: Decimal(getattr(told.total, name)) for name in (*Bar, "starting_arr", "ending_arr")}
        ends = {"starting_arr": sum(before.values(), Decimal()), "ending_arr": sum(after.values(), Decimal())}
        assert found == dict.fromkeys(Bar, Decimal()) | dict(wanted) | ends, end
        assert (told.accounts_at_start, told.accounts_lost) == (len(before), len(before.keys() - after.keys()))
        if before:
            kept = sum((min(arr, after.get(account, Decimal())) for account, arr in before.items()), Decimal())
            assert told.grr == round(float(kept / ends["starting_arr"]), 4)
        for name, amount in found.items():
            assert sum(Decimal(getattr(part.total, name)) for part in told.slices) == amount


async def test_ravenstack_imported_twice_changes_nothing(services: Services) -> None:
    identity, imports = services.identity, Imports(services.store)
    principal = await identity.operator(await identity.found_workspace(name="RavenStack"))
    await load_source(imports, principal, EXTRACT, source="ravenstack")
    count = "select (select max(seq) from change where workspace = :w) as seq"
    before = await query(services, principal, count)
    accounts = await query(services, principal, "select * from account where workspace = :w order by id")

    report = await load_source(imports, principal, EXTRACT, source="ravenstack")

    assert report.changed == 0
    assert await query(services, principal, count) == before
    assert await query(services, principal, "select * from account where workspace = :w order by id") == accounts
