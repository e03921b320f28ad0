"""A movement that was wrong is taken back by an entry that names it, whatever its source told and told again."""

from __future__ import annotations

import random
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from import_desk import Desk, open_desk

from cs_mcp.domain.contract import Amount
from cs_mcp.domain.renewals.renewals import RenewalStage
from cs_mcp.services.history.undo import UndoChanges
from cs_mcp.services.renewals.closing import MoveRenewal
from cs_mcp.services.revenue.retention import GetRetention
from cs_mcp.services.wiring import Services

ACCOUNTS = "account_id,name,currency\n    A1,Globex,USD\n    A2,Initech,USD"
SAME = ("account_id", "on", "kind", "currency")


@pytest.fixture
async def desk(services: Services, tmp_path: Path) -> Desk:
    desk = await open_desk(services, tmp_path)
    desk.write(accounts=ACCOUNTS)
    return desk


async def reversals(desk: Desk) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each live entry that takes another back, and that other one; they cancel out, and none is taken back twice."""
    rows = {row["id"]: row for row in await desk.rows("arr_movement")}
    live = [row for row in rows.values() if row["removed_at"] is None]
    found = [(row, rows[row["reverses_id"]]) for row in live if row["reverses_id"] is not None]
    for row, taken_back in found:
        assert taken_back["removed_at"] is None
        assert [row[name] for name in SAME] == [taken_back[name] for name in SAME]
        assert row["amount_minor"] == -taken_back["amount_minor"]
    assert len({taken_back["id"] for _, taken_back in found}) == len(found)
    named = {row["id"] for row, _ in found}
    assert named == {row["id"] for row in live if (row["source_id"] or "").endswith("#reversed")}
    return found


def told(chance: random.Random) -> dict[str, tuple[str, str, str, int]]:
    kinds = ("new", "expansion", "price_change", "reactivation")
    return {
        f"V{n}": (chance.choice(("A1", "A2")), f"2025-0{chance.randint(1, 9)}-01", chance.choice(kinds), 100 * n)
        for n in range(1, 5)
    }


def sheet(movements: dict[str, tuple[str, str, str, int]]) -> str:
    rows = [",".join((name, *map(str, values))) for name, values in movements.items()]
    return "\n    ".join(["movement_id,account_id,on,kind,amount", *rows])


@pytest.mark.parametrize("seed", range(3))
async def test_corrections_cancel_what_they_name_whatever_is_told_and_undone(desk: Desk, seed: int) -> None:
    chance = random.Random(seed)
    movements = told(chance)
    runs: list[str] = []
    for _ in range(6):
        if runs and chance.random() < 0.3:
            await desk.services.writes.perform(desk.principal, UndoChanges(run=runs.pop(), reason="wrong file"))
            await reversals(desk)
        changed = chance.choice(sorted(movements))
        movements |= {changed: told(chance)[changed][:3] + (chance.randint(1, 9) * 50,)}
        desk.write(arr_movements=sheet(movements))

        report = await desk.run()

        runs += [report.run_id] if report.changed else []
        await reversals(desk)
        standing = dict.fromkeys(("A1", "A2"), 0)
        for account, _, _, amount in movements.values():
            standing[account] += amount * 100
        assert await desk.arr() == standing
    assert await reversals(desk)


async def test_a_correction_of_a_closed_month_is_named_and_restates_it(desk: Desk) -> None:
    first = {"V1": ("A1", "2025-01-01", "new", 1_000), "V2": ("A1", "2025-06-01", "expansion", 500)}
    desk.write(arr_movements=sheet(first))
    await desk.run()
    asked = GetRetention(period_start=date(2025, 3, 1), period_end=date(2025, 12, 31))
    before = await desk.services.retentions.get(desk.principal, asked)

    desk.write(arr_movements=sheet(first | {"V2": ("A1", "2025-06-01", "expansion", 300)}))
    await desk.run()

    [(entry, taken_back)] = await reversals(desk)
    assert (entry["source_id"], taken_back["source_id"]) == ("V2#reversed", "V2")
    after = await desk.services.retentions.get(desk.principal, asked)
    assert (before.nrr, before.restated) == (1.5, False)
    assert (after.nrr, after.restated) == (1.3, True)


async def test_a_win_names_the_end_it_takes_back_only_where_that_was_its_own(desk: Desk) -> None:
    desk.write(
        subscriptions="""\
    subscription_id,account_id,starts_on,ends_on,arr
    S1,A1,2025-04-01,2026-06-30,1000
    S2,A2,2025-04-01,2026-06-30,700
    S3,A2,2025-04-01,2026-06-30,300
"""
    )
    await desk.run()
    renewals = {row["subscription_id"]: row for row in await desk.rows("renewal")}
    bought = await desk.by_source("subscription")
    for name in ("S1", "S2"):
        renewal = renewals[bought[name]["id"]]
        win = MoveRenewal(
            renewal=renewal["id"],
            expected_version=renewal["version"],
            stage=RenewalStage.closed_won,
            amount=Amount(amount="1200", currency="USD"),
            reason="Signed",
        )
        await desk.services.writes.perform(desk.principal, win)

    rows = {row["id"]: row for row in await desk.rows("arr_movement")}
    named = [row for row in rows.values() if row["reverses_id"] is not None]
    assert [rows[row["reverses_id"]]["source_id"] for row in named] == ["ledger:A1:2026-07-01:churn"]
    assert [row["amount_minor"] for row in named] == [1000_00]
    # The end of S2 was booked together with that of S3: a part of it is taken back.
    assert sorted(r["amount_minor"] for r in rows.values() if (r["note"] or "").startswith("Renewed: takes")) == [
        700_00,
        1000_00,
    ]
