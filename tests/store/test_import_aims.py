"""Targets, goals and costs from a folder: taken once and again, refused with the reason, shown beside figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from import_desk import ACCOUNTS, SUBSCRIPTIONS, USERS, Desk, of, open_desk

from cs_mcp.services.metrics.metrics import GetMetrics, MetricsView
from cs_mcp.services.wiring import Services

TARGETS = """\
    target_id,metric,value,amount,currency,segment,from_on,to_on,owner_email
    T1,nrr,1.1,,,,2026-01-01,,kim@acme.example
    T2,logo_churn_rate,0.05,,,smb,2026-01-01,2026-12-31,
    T3,clv,,250000,USD,,2025-01-01,,
"""
GOALS = """\
    goal_id,metric,quarter_start,value,amount,currency,subject,user_email
    G1,grr,2026-01-01,0.95,,,,ana@acme.example
    G2,expansion_arr,2026-01-01,,10000,,team,
"""
COSTS = """\
    on,amount,currency,user_email,account_id,note
    2026-01-15,9000,,ana@acme.example,,Salary
    2026-02-15,500.50,EUR,,,
"""


@pytest.fixture
async def desk(services: Services, tmp_path: Path) -> Desk:
    desk = await open_desk(services, tmp_path)
    desk.write(
        users=USERS, accounts=ACCOUNTS, subscriptions=SUBSCRIPTIONS, targets=TARGETS, goals=GOALS, cs_costs=COSTS
    )
    return desk


async def asked(desk: Desk, metric: Any) -> MetricsView:
    return await desk.services.metrics.get(desk.principal, GetMetrics(metric=metric))


async def test_they_are_kept_once_and_stand_beside_the_figures(desk: Desk) -> None:
    report = await desk.run()
    for kind, rows in (("targets", 3), ("goals", 2), ("cs_costs", 2)):
        assert (of(report, kind).records.created, of(report, kind).skipped) == (rows, 0), kind
    again = await desk.run()
    assert sum(of(again, kind).records.unchanged for kind in ("targets", "goals", "cs_costs")) == 7

    [worth] = [row for row in (await asked(desk, "clv")).tables[0].rows if row.label == "clv_margin_over_churn"]
    assert worth.target is not None
    assert str(worth.target.amount) == "250,000.00 USD"
    goals = (await asked(desk, "goals")).tables[0].rows
    assert [(row.label, row.metrics["goal"]) for row in goals] == [("expansion_arr", 1_000_000.0), ("grr", 0.95)]


@pytest.mark.parametrize(
    ("kind", "row", "why"),
    [
        ("targets", "T9,nrr,1.1,5,,,2026-01-01,,", "give either a value or an amount"),
        ("targets", "T9,NRR!,1.1,,,,2026-01-01,,", "is no name of a metric"),
        ("targets", "T9,nrr,1.1,,,,2026-02-01,2026-01-01,", "is before from_on"),
        ("goals", "G9,grr,2026-02-01,1,,,,", "which starts 2026-01-01"),
        ("goals", "G9,grr,2026-01-01,1,,,,nobody@acme.example", "nobody has the e-mail"),
        ("cs_costs", "2026-01-15,9000.001,USD,,,", "is not an amount of USD"),
    ],
)
async def test_a_row_that_cannot_be_is_refused_with_the_reason(desk: Desk, kind: str, row: str, why: str) -> None:
    header = {"targets": TARGETS, "goals": GOALS, "cs_costs": COSTS}[kind].splitlines()[0]
    desk.write(**{kind: f"{header}\n    {row}\n"})

    report = of(await desk.run(), kind)

    assert report.records.created == 0
    assert why in report.rejects[0].reason


def test_a_team_is_everyone_below_its_leader() -> None:
    from cs_mcp.services.metrics.goals import owners_of

    managers = {"lea": None, "ana": "lea", "ben": "ana", "kim": None}
    assert owners_of({"user_id": "lea", "subject": "team"}, managers) == {"lea", "ana", "ben"}
    assert owners_of({"user_id": "lea", "subject": "user"}, managers) == {"lea"}
    assert owners_of({"user_id": None, "subject": "team"}, managers) is None
