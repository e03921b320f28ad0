"""Hot reads use the indexes made for them: asked of SQLite itself, without ANALYZE, on a book of two thousand."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

import pytest
from book import Desk, desk, unit
from sqlalchemy import event

from conftest import Team
from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.accounts.pages import Sort
from cs_mcp.db.bulk import bulk_create
from cs_mcp.db.store import Store
from cs_mcp.db.work.tasks import TaskRow
from cs_mcp.services.accounts.timeline import GetTimeline
from cs_mcp.services.revenue.cohorts import GetCohorts
from cs_mcp.services.revenue.retention import GetRetention
from cs_mcp.services.work.tasks import ListTasks

ACCOUNTS = 2_000

pytestmark = pytest.mark.parametrize("store_kind", ["sqlite"])


def account(number: int, owner: str) -> dict[str, Any]:
    return {
        "id": f"acc_{number:018}",
        "name": f"Account {number}",
        "domain": f"account{number}.example",
        "segment": "smb",
        "tier": "standard",
        "touch": "low",
        "stage": "adoption",
        "onboarding_status": "complete",
        "owner_id": owner,
        "currency": "USD",
        "tags": [],
        "custom": {},
        "arr_minor": number * 1_000,
    }


def task(number: int, account_id: str, assignee: str) -> dict[str, Any]:
    shape = {"priority": "normal", "status": "open", "origin": "person"}
    return shape | {"id": f"tsk_{number:018}", "account_id": account_id, "title": "Call", "assignee_id": assignee}


@pytest.fixture
async def ada(store: Store, team: Team) -> Desk:
    """Who sees the whole book: every tenth account is Ana's, the others are Ben's."""
    found = await desk(team, "ada")
    ana, ben = team.members["ana"].id, team.members["ben"].id
    accounts = [account(n, ben if n % 10 else ana) for n in range(ACCOUNTS)]
    async with unit(store, found.principal) as work:
        await bulk_create(work, AccountRow, accounts)
        await bulk_create(work, TaskRow, [task(n, a["id"], a["owner_id"]) for n, a in enumerate(accounts)])
    return found


@pytest.fixture
async def ana(ada: Desk, team: Team) -> Desk:
    return await desk(team, "ana")


async def plans_of(store: Store, read: Callable[[], Awaitable[Any]]) -> list[list[str]]:
    """How SQLite goes about each SELECT of a read: the lines of EXPLAIN QUERY PLAN."""
    reads: Any = store.reads
    ran: list[str] = []
    event.listen(reads._engine, "checkout", lambda driver, _record, _proxy: driver.set_trace_callback(ran.append))
    await read()
    connection = sqlite3.connect(store.where.path)
    # The workspace's profile is read anew every few seconds: by whichever read comes then.
    own = [statement for statement in ran if "FROM workspace_profile" not in statement]
    asked = [statement for statement in own if statement.lstrip().upper().startswith(("SELECT", "WITH"))]
    plans = [[row[3] for row in connection.execute(f"explain query plan {statement}")] for statement in asked]
    connection.close()
    return plans


def of_table(plan: list[str], table: str) -> list[str]:
    """The lines that read a table."""
    return [line for line in plan if line.split()[0] in ("SCAN", "SEARCH") and line.split()[1] == table]


def before_names_are_joined(plan: list[str]) -> list[str]:
    """How the page itself is found; after it, only its own rows are joined and put in order."""
    return plan[: plan.index("SCAN page")]


@pytest.mark.parametrize(
    ("sort", "index"),
    [
        ("-arr", "arr"),
        ("renewal_on", "renewal"),
        ("health_score", "score"),
        ("-health_score", "score"),
        ("last_touch_on", "touch"),
    ],
)
async def test_a_page_walks_the_index_of_its_sort_and_sorts_no_book(
    store: Store, ada: Desk, sort: Sort, index: str
) -> None:
    cursor = (await ada.finds(sort=sort)).next_cursor

    first, count = await plans_of(store, lambda: ada.finds(sort=sort))
    later, _ = await plans_of(store, lambda: ada.finds(sort=sort, cursor=cursor))

    for page in (first, later):
        table = "account_score" if sort.endswith("health_score") else "account"
        [walked] = of_table(page, table)
        assert walked.split(" (")[0] == f"SEARCH {table} USING INDEX ix_account_{index}"
        sorts = {line for line in before_names_are_joined(page) if "TEMP B-TREE" in line}
        # Scores are sorted a step at a time: "FOR RIGHT PART OF ORDER BY", or how else that version of SQLite says it.
        assert sorts == set() or (table == "account_score" and sorts != {"USE TEMP B-TREE FOR ORDER BY"})
    assert "COVERING INDEX" in of_table(count, "account")[0]


async def test_a_filtered_count_reads_its_index_alone(store: Store, ada: Desk) -> None:
    # The two statements of the page; what follows says why nothing was found.
    _, count, *_ = await plans_of(store, lambda: ada.finds(segment=["smb"], band=["red"]))

    [account] = of_table(count, "account")
    assert account.startswith("SEARCH account USING COVERING INDEX ix_account_list (workspace=? AND segment=?")


@pytest.mark.parametrize(
    ("filters", "sought"),
    [
        ({"tier": ["gold"], "band": ["red"]}, "segment=? AND health_band=? AND tier=?"),
        (
            {"segment": ["smb"], "renews_from": date(2026, 4, 1), "renews_to": date(2026, 6, 30)},
            "segment=? AND health_band=? AND tier=? AND stage=? AND renewal_on>? AND renewal_on<?",
        ),
    ],
)
async def test_a_count_goes_from_match_to_match_past_columns_left_open(
    store: Store, ada: Desk, filters: dict[str, Any], sought: str
) -> None:
    _, count, *_ = await plans_of(store, lambda: ada.finds(**filters))

    [account] = of_table(count, "account")
    assert account == f"SEARCH account USING COVERING INDEX ix_account_list (workspace=? AND {sought})"


async def test_the_page_of_a_portfolio_scans_no_whole_table(store: Store, ana: Desk) -> None:
    for plan in await plans_of(store, ana.finds):
        assert not any(line.startswith(("SCAN account", "SCAN account_team", "SCAN member")) for line in plan), plan


async def test_a_name_is_looked_up_in_the_indexes_of_what_it_may_be(store: Store, ada: Desk) -> None:
    lookup = (await plans_of(store, lambda: ada.sees("account 77")))[0]

    searches = [line.split(" ", 2)[2] for line in lookup if line.startswith("SEARCH")]
    assert sorted(searches) == [
        "USING INDEX ix_account_domain (workspace=? AND domain=?)",
        "USING INDEX ix_account_name_key (workspace=? AND name_key=?)",
        "USING INDEX sqlite_autoindex_account_1 (workspace=? AND id=?)",
        "USING INDEX sqlite_autoindex_account_1 (workspace=? AND id=?)",
    ]
    assert not any(line.startswith("SCAN") for line in lookup)


async def test_one_account_whole_reads_only_what_is_its_own(store: Store, ada: Desk) -> None:
    plans = await plans_of(store, lambda: ada.sees(f"acc_{77:018}"))

    first_lines = [plan[0].removeprefix("SEARCH ").split(" USING ") for plan in plans]
    assert {table: index.removeprefix("INDEX ") for table, index in first_lines} == {
        "account": "sqlite_autoindex_account_1 (workspace=? AND id=?)",
        "account_team": "ix_account_team_account (workspace=? AND account_id=?)",
        "contact": "ix_contact_account (workspace=? AND account_id=?)",
        "subscription": "ix_subscription_account (workspace=? AND account_id=?)",
        "renewal": "ix_renewal_account (workspace=? AND account_id=?)",
        "task": "ix_task_account (workspace=? AND account_id=? AND status=?)",
        "meeting": "ix_meeting_account (workspace=? AND account_id=?)",
        "health_note": "ix_health_note_account (workspace=? AND account_id=?)",
        "health_override": "ix_health_override_account (workspace=? AND account_id=? AND from_on<?)",
        "health_snapshot": "PRIMARY KEY (workspace=? AND account_id=? AND on<?)",
        "risk": "uq_risk_open (workspace=? AND account_id=?)",
    }


async def test_a_timeline_reads_only_what_is_the_accounts_own(store: Store, ada: Desk) -> None:
    services = ada.services

    plans = await plans_of(store, lambda: services.timeline.get(ada.principal, GetTimeline(account=f"acc_{77:018}")))

    searches = {line.removeprefix("SEARCH ") for plan in plans for line in plan if line.startswith("SEARCH ")}
    of_all = {line for line in searches if line.count("=?") < 2 and "USING" in line}
    assert of_all == set()
    assert "change_payload USING PRIMARY KEY (workspace=? AND seq=?)" in searches
    for table in ("ticket", "survey_response", "company_event", "risk", "health_override"):
        assert any(line.startswith(f"{table} USING INDEX ix_{table}_account") for line in searches), table


async def test_tasks_of_an_account_come_from_its_index(store: Store, ada: Desk) -> None:
    services = ada.services

    plans = await plans_of(store, lambda: services.tasks.list(ada.principal, ListTasks(account=f"acc_{77:018}")))

    page, count = plans[-2:]
    for plan in (page, count):
        assert [line.split(" (")[0] for line in of_table(plan, "task")] == ["SEARCH task USING INDEX ix_task_account"]


async def test_the_feed_starts_at_its_place(store: Store, ada: Desk) -> None:
    feed, _head, *_ = await plans_of(store, lambda: ada.changes(after=1_000))

    [entries] = of_table(feed, "change")
    assert entries == "SEARCH change USING PRIMARY KEY (workspace=? AND seq>?)"
    assert not any("TEMP B-TREE" in line for line in feed)


async def test_the_feed_newest_first_walks_its_key_backwards(store: Store, ada: Desk) -> None:
    feed, _head, *_ = await plans_of(store, ada.changes)

    assert of_table(feed, "change") == ["SEARCH change USING PRIMARY KEY (workspace=?)"]
    assert not any("TEMP B-TREE" in line for line in feed)


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({"record": f"acc_{77:018}"}, "ix_change_record (workspace=? AND entity_id=?)"),
        ({"change": "chg_1"}, "ix_change_write (workspace=? AND change_id=?)"),
        ({"account": f"acc_{77:018}"}, "ix_change_account (workspace=? AND account_id=?)"),
        ({"run": "run_1"}, "ix_change_run (workspace=? AND run_id=?)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_a_part_of_the_history_comes_from_its_index(
    store: Store, ada: Desk, asked: dict[str, str], index: str
) -> None:
    plans = await plans_of(store, lambda: ada.changes(**asked))
    [feed] = [plan for plan in plans if of_table(plan, "change")]

    assert of_table(feed, "change") == [f"SEARCH change USING INDEX {index}"]
    assert not any("TEMP B-TREE" in line for line in feed)


async def test_figures_of_revenue_look_at_what_they_are_about(store: Store, ada: Desk, ana: Desk) -> None:
    async def plans(desk: Desk, **asked: Any) -> list[list[str]]:
        question = GetRetention.model_validate(asked)
        return await plans_of(store, lambda: desk.services.retentions.get(desk.principal, question))

    for plan in await plans(ana):
        assert not any(line.startswith(("SCAN account", "SCAN account_team")) for line in plan), plan
        assert all("account_id=?" in line for line in of_table(plan, "revenue_month")), plan
    whole = await plans(ada)
    [[windows]] = [found for plan in whole if (found := of_table(plan, "revenue_window"))]
    key = "(workspace=? AND dimension=? AND months=? AND last_month>? AND last_month<?)"
    assert windows == f"SEARCH revenue_window USING PRIMARY KEY {key}"
    moved = [line for plan in whole for line in of_table(plan, "arr_movement")]
    by_day = "SEARCH arr_movement USING INDEX ix_arr_movement_on (workspace=?"
    first = f"{by_day})"  # in the order of days, of which it takes one
    assert set(moved) == {f"{by_day} AND on>? AND on<?)", first}
    # What attributes were is looked up for each account, not gone through for each.
    by_owner = [line for plan in await plans(ada, slice_by="owner") for line in of_table(plan, "ranked")]
    assert [line.startswith("SEARCH ranked USING AUTOMATIC") for line in by_owner] == [True]

    started = GetCohorts.model_validate({"cohort": "2025-03-01"})
    members, *_ = await plans_of(store, lambda: ada.services.cohorts.get(ada.principal, started))
    assert "ix_arr_movement_on (workspace=? AND on>? AND on<?)" in of_table(members, "arr_movement")[0]
    assert "account_id=?" in of_table(members, "revenue_month")[0]
