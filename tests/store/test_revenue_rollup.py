"""The rollups are the ledger summed up, after every commit and made anew; a movement's money is never edited."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from alembic import command
from book import Desk, desk, history_of, rows_of, unit
from sqlalchemy import Connection, create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from conftest import APP_ROLE, SECRET, Postgres, Team, clone_database, new_team
from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.bulk import RowUpdate, bulk_create, bulk_update
from cs_mcp.db.history.changes import Unrecordable
from cs_mcp.db.revenue.rollup import rebuild
from cs_mcp.db.revenue.subscriptions import ArrMovementRow
from cs_mcp.db.revenue.tables import (
    PAST_ATTRIBUTE,
    REVENUE_BOOK,
    REVENUE_COHORT,
    REVENUE_MONTH,
    REVENUE_RESTATEMENT,
    REVENUE_WINDOW,
)
from cs_mcp.db.search import SHELVES
from cs_mcp.db.store import Store, StoreUrl, open_store
from cs_mcp.db.upgrade import alembic_config, upgrade_postgres, upgrade_sqlite
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.errors import CustomerSuccessError
from cs_mcp.domain.opportunities.opportunities import OpportunityKind
from cs_mcp.domain.revenue.retention import Bar, Posting, retention
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind
from cs_mcp.services.opportunities.saving import SaveOpportunity
from cs_mcp.services.wiring import Services

TODAY = date(2026, 3, 16)
KINDS = list(MovementKind)
MONTHS = [date(2023 + n // 12, n % 12 + 1, 1) for n in range(52)]  # past the last window that a movement can be in


def shifted(month: date, months: int) -> date:
    count = month.year * 12 + month.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)


# -- the sums, worked out again from the movements --------------------------------------------------------------
Kept = dict[str, dict[Any, tuple[int, ...]]]


async def kept(store: Store, team: Team) -> Kept:
    """What the store keeps, without rows of zeros."""
    tables = (
        (REVENUE_MONTH, ("account_id", "month", "currency", "kind"), ("amount_minor", "movements")),
        (REVENUE_BOOK, ("dimension", "value", "month", "currency"), ("amount_minor", "below_minor", "accounts")),
        (
            REVENUE_WINDOW,
            ("dimension", "value", "months", "last_month", "currency", "in_cohort", "bar"),
            ("amount_minor", "accounts"),
        ),
        (
            REVENUE_COHORT,
            ("currency", "started", "month"),
            ("accounts", "arr_minor", "kept_minor", "initial_accounts", "initial_minor"),
        ),
    )
    found: Kept = {}
    for table, keys, sums in tables:
        rows = await rows_of(store, team.workspace, table)
        told = {tuple(row[key] for key in keys): tuple(row[name] for name in sums) for row in rows}
        found[table.name] = {key: values for key, values in told.items() if any(values)}
    return found


async def worked_out(store: Store, team: Team) -> Kept:
    live = [row for row in await rows_of(store, team.workspace, ArrMovementRow.__table__) if row["removed_at"] is None]
    months: defaultdict[Any, list[int]] = defaultdict(lambda: [0, 0])
    by_stream: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in live:
        sums = months[row["account_id"], row["on"].replace(day=1), row["currency"], row["kind"]]
        sums[0] += row["amount_minor"]
        sums[1] += 1
        by_stream[row["account_id"], row["currency"]].append(row)
    accounts = {row["id"]: row for row in await rows_of(store, team.workspace, AccountRow.__table__)}
    past = await rows_of(store, team.workspace, PAST_ATTRIBUTE, "until_at")

    def value_at(account: str, dimension: str, day: date) -> str:
        if not dimension:
            return ""
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        ended = [r for r in past if (r["account_id"], r["field"]) == (account, dimension) and r["until_at"] > start]
        return ended[0]["value"] if ended else accounts[account][dimension]

    book: defaultdict[Any, list[int]] = defaultdict(lambda: [0, 0, 0])
    windows: defaultdict[Any, list[int]] = defaultdict(lambda: [0, 0])
    for (account, currency), rows in by_stream.items():
        at = {m: sum(r["amount_minor"] for r in rows if r["on"] < m) for m in (*MONTHS, shifted(MONTHS[-1], 1))}
        for dimension in ("", "segment", "tier"):
            for month in MONTHS:
                # What a slice holds when a month begins, less what it held when the month before began.
                for start, sign in ((month, -1), (shifted(month, 1), 1)):
                    row = book[dimension, value_at(account, dimension, start), month, currency]
                    row[0] += sign * max(at[start], 0)
                    row[1] += sign * min(at[start], 0)
                    row[2] += sign * (at[start] > 0)
        for length in (1, 3, 12):
            for last in MONTHS[12:]:
                first, end = shifted(last, 1 - length), shifted(last, 1)
                postings = [
                    Posting(account, r["on"], MovementKind(r["kind"]), r["amount_minor"])
                    for r in rows
                    if first <= r["on"] < end
                ]
                found = retention({account: at[first]}, postings)
                for bar, amounts in found.by_bar.items():
                    in_cohort = at[first] > 0 and bar not in (Bar.new, Bar.reactivation)
                    for dimension in ("", "segment", "tier"):
                        value = value_at(account, dimension, first)
                        row = windows[dimension, value, length, last, currency, in_cohort, bar.value]
                        row[0] += sum(amount for _, amount in amounts)
                        row[1] += 1
    cohorts: defaultdict[Any, list[int]] = defaultdict(lambda: [0] * 5)
    for (_, currency), rows in by_stream.items():
        net: Counter[date] = Counter()
        won: Counter[date] = Counter()
        for row in rows:
            net[row["on"].replace(day=1)] += row["amount_minor"]
            won[row["on"].replace(day=1)] += row["amount_minor"] if row["kind"] == "new" else 0
        ordered = [month for month in sorted(net) if net[month] or won[month]]
        started = next((month for month in ordered if won[month] > 0 or net[month] > 0), None)
        if started is None:
            continue
        initial = won[started] if won[started] > 0 else net[started]
        for month in (m for m in ordered if m >= started):
            after = sum(net[m] for m in ordered if m <= month)
            before = after - net[month] if month > started else 0
            moved = ((after > 0) - (before > 0), after - before, min(after, initial) - min(before, initial))
            first = (1, initial) if month == started else (0, 0)
            row = cohorts[currency, started, month]
            for place, change in enumerate((*moved, *first)):
                row[place] += change
    told = {"revenue_month": months, "revenue_book": book, "revenue_window": windows, "revenue_cohort": cohorts}
    return {name: {key: tuple(v) for key, v in sums.items() if any(v)} for name, sums in told.items()}


def started_together(by_stream: dict[tuple[str, str], list[dict[str, Any]]]) -> dict[Any, list[int]]:
    """By currency, start month and month: customers, ARR, ARR up to what was there at the start; and the start."""
    found: defaultdict[Any, list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    for (_, currency), rows in by_stream.items():
        at = {m: sum(r["amount_minor"] for r in rows if r["on"] < m) for m in (*MONTHS, shifted(MONTHS[-1], 1))}
        won = {m: sum(r["amount_minor"] for r in rows if of_month(r, m) and r["kind"] == "new") for m in MONTHS}
        rises = [m for m in MONTHS if won[m] > 0 or at[shifted(m, 1)] > at[m]]
        if not rises:
            continue
        started = rises[0]
        initial = won[started] if won[started] > 0 else at[shifted(started, 1)] - at[started]
        for month in [m for m in MONTHS if m >= started and any(of_month(r, m) for r in rows)]:
            after, before = at[shifted(month, 1)], at[month] if month > started else None
            row = found[currency, started, month]
            if before is None:
                changes = (int(after > 0), after, min(after, initial), 1, initial)
            else:
                kept = min(after, initial) - min(before, initial)
                changes = ((after > 0) - (before > 0), after - before, kept, 0, 0)
            for place, change in enumerate(changes):
                row[place] += change
    return dict(found)


def of_month(row: dict[str, Any], month: date) -> bool:
    return row["on"].replace(day=1) == month


async def holds(store: Store, team: Team) -> None:
    assert await kept(store, team) == await worked_out(store, team)
    sums: Counter[str] = Counter()
    for row in await rows_of(store, team.workspace, ArrMovementRow.__table__):
        if row["removed_at"] is None and row["currency"] == "USD" and row["on"] <= TODAY:
            sums[row["account_id"]] += row["amount_minor"]
    for account in await rows_of(store, team.workspace, AccountRow.__table__):
        assert account["arr_minor"] == sums[account["id"]]


# -- tests ------------------------------------------------------------------------------------------------------
@pytest.fixture
async def lea(team: Team) -> Desk:
    return await desk(team, "lea")


def movement(store: Store, account: str, on: date, kind: MovementKind, minor: int, **told: Any) -> ArrMovement:
    new = {"id": store.ids.new("arr_movement"), "account_id": account, "on": on, "kind": kind, "currency": "USD"}
    return ArrMovement.model_validate({**new, "amount_minor": minor, **told})


async def posts(store: Store, who: Desk, *movements: ArrMovement) -> str:
    async with unit(store, who.principal) as work:
        for one in movements:
            work.movements.add(one)
        return work.act.change_id


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_is_written_the_rollups_and_the_arr_are_the_ledger_summed_up(
    store: Store, team: Team, lea: Desk, seed: int, clock: FixedClock
) -> None:
    """Posts, corrections, undos, undone undos, bulk rows, moves to another account and merges, in any order."""
    random = Random(seed)
    accounts = [await lea.opens(f"Account {n}", currency="USD") for n in range(4)]
    done: list[str] = []

    def anything() -> ArrMovement:
        on = MONTHS[14] + timedelta(days=random.randrange(700))
        amount = random.choice([-500, -120, 100, 100, 250, 900])
        currency = random.choice(["USD", "USD", "USD", "EUR"])
        return movement(store, random.choice(accounts), on, random.choice(KINDS), amount, currency=currency)

    async def post() -> None:
        done.append(await posts(store, lea, *(anything() for _ in range(random.randint(1, 3)))))

    async def reverse() -> None:
        async with unit(store, lea.principal) as work:
            known = await work.movements.of_account(random.choice(accounts))
            if not known:
                return
            wrong = random.choice(known)
            right = wrong.changed(id=store.ids.new("arr_movement"), amount_minor=-wrong.amount_minor, version=0)
            work.movements.add(right.changed(reverses_id=wrong.id))
            done.append(work.act.change_id)

    async def undo() -> None:
        if done:
            with suppress(CustomerSuccessError):  # there is nothing left of it to take back
                done.append((await lea.undoes(done.pop(random.randrange(len(done))))).change_id)

    async def in_bulk() -> None:
        async with unit(store, lea.principal) as work:
            rows = [work.movements.values_of(one) | {"id": one.id} for one in (anything() for _ in range(5))]
            await bulk_create(work, ArrMovementRow, rows)
            done.append(work.act.change_id)

    async def move() -> None:
        async with unit(store, lea.principal) as work:
            known = await work.movements.of_account(random.choice(accounts))
            if known:
                work.movements.save(known[0].changed(account_id=random.choice(accounts)))

    async def reclass() -> None:
        clock.advance(timedelta(days=random.choice([0, 1, 20, 40])))
        told = random.choice([{"segment": random.choice(["smb", "enterprise"])}, {"tier": "gold"}])
        done.append((await lea.updates(random.choice(accounts), **told)).change_id or done[-1])

    await post()
    steps: list[Callable[[], Awaitable[None]]] = [post, post, reverse, undo, undo, in_bulk, move, reclass, reclass]
    for _ in range(14):
        await random.choice(steps)()
        await holds(store, team)


async def test_rollups_made_anew_are_those_that_were_kept(store: Store, team: Team, lea: Desk) -> None:
    acme = await lea.opens("Acme", currency="USD")
    await posts(store, lea, movement(store, acme, date(2024, 5, 3), MovementKind.new, 10_000))
    await posts(store, lea, movement(store, acme, date(2025, 2, 1), MovementKind.contraction, -4_000))
    before = await kept(store, team)
    assert before["revenue_window"]["", "", 12, date(2025, 12, 1), "USD", True, "contraction"] == (-4_000, 1)

    async with unit(store, lea.principal) as work:
        assert await rebuild(await work.wire(), team.workspace, now=work.now, calendar=work.calendar) == 1
    assert await kept(store, team) == before == await worked_out(store, team)


async def test_the_money_of_a_movement_is_never_edited(store: Store, team: Team, lea: Desk) -> None:
    acme = await lea.opens("Acme", currency="USD")
    first = movement(store, acme, date(2025, 5, 3), MovementKind.new, 10_000)
    await posts(store, lea, first)

    for edit in ({"amount_minor": 1}, {"on": TODAY}, {"kind": MovementKind.expansion}, {"currency": "EUR"}):
        with pytest.raises(Unrecordable, match="settled"):
            async with unit(store, lea.principal) as work:
                work.movements.save((await work.movements.get(first.id)).changed(**edit))
    with pytest.raises(Unrecordable, match="settled"):
        async with unit(store, lea.principal) as work:
            await bulk_update(
                work, ArrMovementRow, [RowUpdate(first.id, 1, acme, {"amount_minor": 10_000}, {"amount_minor": 5})]
            )
    async with unit(store, lea.principal) as work:
        work.movements.save((await work.movements.get(first.id)).changed(reason="as told"))
    assert [e["fields"] for e in await history_of(store, team) if e["entity_id"] == first.id][1:] == [["reason"]]


async def test_what_is_told_late_or_taken_back_restates_and_a_first_telling_does_not(
    store: Store, team: Team, lea: Desk, clock: FixedClock
) -> None:
    acme = await lea.opens("Acme", currency="USD")
    first = await posts(
        store,
        lea,
        movement(store, acme, date(2024, 5, 3), MovementKind.new, 10_000),
        movement(store, acme, date(2025, 5, 3), MovementKind.expansion, 500),
    )

    async def marks() -> dict[date, Any]:
        return {row["on"]: row["at"] for row in await rows_of(store, team.workspace, REVENUE_RESTATEMENT)}

    assert await marks() == {}
    clock.advance(timedelta(days=1))
    await posts(store, lea, movement(store, acme, clock.now().date(), MovementKind.expansion, 70))
    assert await marks() == {}
    await posts(store, lea, movement(store, acme, date(2025, 6, 30), MovementKind.expansion, 70))
    assert await marks() == {date(2025, 6, 30): clock.now()}
    await lea.undoes(first)
    assert (await marks()).keys() == {date(2024, 5, 1), date(2025, 5, 1), date(2025, 6, 30)}


@pytest.fixture
def used(store_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """A store of its own, whose schema may go down and up: as it is served, and as its owner sees it."""
    if store_kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'used.db'}"
        upgrade_sqlite(StoreUrl.parse(url))
        return url, url
    postgres: Postgres = request.getfixturevalue("postgres")
    name = f"used_{os.getpid()}"
    asyncio.run(clone_database(postgres, name))
    return postgres.app(name), postgres.owner(name)


async def test_a_store_that_was_in_use_gets_its_rollups_and_past_attributes_with_the_schema(
    used: tuple[str, str], clock: FixedClock
) -> None:
    url, owner = used
    store = await open_store(url, clock=clock)
    team = await new_team(Services(store, SECRET))
    lea = await desk(team, "lea")
    acme = await lea.opens("Acme", segment="smb")
    await posts(store, lea, movement(store, acme, date(2024, 5, 3), MovementKind.new, 10_000))
    await posts(store, lea, movement(store, acme, date(2025, 2, 1), MovementKind.contraction, -4_000))
    clock.advance(timedelta(days=1))
    await lea.updates(acme, segment="enterprise", custom={"region": "EMEA"})
    grows = SaveOpportunity(account=acme, name="Twenty seats", kind=OpportunityKind.seat)
    listed = (await lea.do(grows)).record.id
    assert listed in {row["record"] for row in await rows_of(store, team.workspace, SHELVES["search_text"], "record")}
    before = await kept(store, team), await rows_of(store, team.workspace, PAST_ATTRIBUTE, "field")
    assert [(row["field"], row["value"]) for row in before[1]] == [("custom", {}), ("segment", "smb")]
    await store.close()

    def down(connection: Connection) -> None:
        command.downgrade(alembic_config(connection, app_role=APP_ROLE), "0004")

    if url == owner:
        engine = create_engine(owner)
        with engine.begin() as connection:
            down(connection)
        engine.dispose()
        upgrade_sqlite(StoreUrl.parse(url))
    else:
        admin = create_async_engine(owner.replace("postgresql:", "postgresql+asyncpg:"))
        async with admin.begin() as connection:
            await connection.run_sync(down)
        await admin.dispose()
        await upgrade_postgres(StoreUrl.parse(owner), StoreUrl.parse(url))
    store = await open_store(url, clock=clock)
    assert (await kept(store, team), await rows_of(store, team.workspace, PAST_ATTRIBUTE, "field")) == before
    # Opportunities came with this schema and went with it, out of the index too; new ones are listed again.
    again = (await Desk(Services(store, SECRET), lea.principal).do(grows)).record.id
    found = {row["record"] for row in await rows_of(store, team.workspace, SHELVES["search_text"], "record")}
    assert (again in found, listed in found) == (True, False)
    await store.close()
