"""Health and completeness over a book, with figures worked out by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import insert, update

from conftest import Team
from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.accounts.scores import ACCOUNT_SCORE
from cs_mcp.db.health.scoring_tables import RUNS, SNAPSHOTS
from cs_mcp.db.history.changes import DERIVED
from cs_mcp.db.store import Store
from cs_mcp.db.usage.usage import USAGE_DAY
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind
from cs_mcp.domain.signals.signals import Ticket

from ._client import Answer, Desk, writing

TODAY = date(2026, 3, 16)
FEBRUARY = date(2026, 2, 14)
NIGHT = date(2026, 3, 15)
AT = datetime(2026, 3, 15, 2, 0, tzinfo=UTC)


async def arrange(store: Store, team: Team, *, arr: dict[str, Any], scores: dict[date, dict[str, Any]]) -> None:
    """ARR of accounts as (day, minor units, currency); of each scored day the score in tenths and the band."""
    ws = team.workspace
    async with writing(store, ws) as work:
        for account, movements in arr.items():
            for on, minor, currency in movements:
                kind = MovementKind.new if minor > 0 else MovementKind.churn
                made = {"on": on, "kind": kind, "amount_minor": minor, "currency": currency}
                work.movements.add(ArrMovement(id=work.ids.new("arr_movement"), account_id=account, **made))
        await work.flush()
        for on, scored in scores.items():
            run = {"workspace": ws, "id": f"run_{on}", "as_of": on, "rubric": "1.0", "accounts": len(scored)}
            await work.session.execute(insert(RUNS).values(run | {"batches": 1, "started_at": AT, "finished_at": AT}))
            for account, (tenths, band) in scored.items():
                row = {"workspace": ws, "account_id": account, "on": on, "run_id": f"run_{on}", "rubric": "1.0"}
                told = {"score_tenths": tenths, "band": band, "computed_band": band, "confidence": 900}
                await work.session.execute(insert(SNAPSHOTS).values(row | told))


def table(answer: Answer, name: str) -> list[dict[str, Any]]:
    [found] = [one for one in answer["tables"] if one["name"] == name]
    assert found["formula"]
    return found["rows"]


def money(row: dict[str, Any]) -> dict[str, str]:
    return {amount["currency"]: amount["amount"] for amount in row["arr"]}


@pytest.fixture
async def book(csm: Desk, team: Team, store: Store) -> dict[str, str]:
    """Four accounts of Ana's: one fell to red, one rose and is paid in euros, one churned, one was never scored."""
    made = {"fell": await csm.account("Fell", segment="enterprise"), "lost": await csm.account("Lost")}
    made["rose"] = await csm.account("Rose", segment="enterprise", currency="EUR")
    made["new"] = await csm.account("New")
    start = date(2025, 1, 1)
    await arrange(
        store,
        team,
        arr={
            made["fell"]: [(start, 100_000_00, "USD"), (date(2026, 3, 1), 20_000_00, "USD")],
            made["rose"]: [(start, 50_000_00, "EUR")],
            made["lost"]: [(start, 7_000_00, "USD"), (date(2026, 3, 2), -7_000_00, "USD")],
        },
        scores={
            FEBRUARY: {made["fell"]: (801, "green"), made["rose"]: (553, "yellow"), made["lost"]: (300, "red")},
            NIGHT: {made["fell"]: (489, "red"), made["rose"]: (621, "yellow")},
        },
    )
    async with writing(store, team.workspace) as work:
        for account, score, band in (("fell", 48.9, "red"), ("rose", 62.1, "yellow")):
            shown = update(AccountRow).where(AccountRow.id == made[account])
            await work.session.execute(shown.values(health_band=band), execution_options={DERIVED: True})
            kept = update(ACCOUNT_SCORE).where(ACCOUNT_SCORE.c.account_id == made[account])
            await work.session.execute(kept.values(score=score))
    lost = (await csm.done("get_account", account=made["lost"], sections=[]))["version"]
    stage = {"to_stage": "churned", "expected_version": lost, "override_reason": "They left"}
    await csm.done("move_account_stage", account=made["lost"], **stage)
    return made


async def test_bands_migration_and_movers_tie_out(csm: Desk, book: dict[str, str]) -> None:
    answer = await csm.done("get_metrics", metric="health", period_start="2026-02-20")

    assert (answer["as_of"], answer["period_start"], answer["scope"]) == (
        "2026-03-16",
        "2026-02-20",
        "the books you see",
    )
    assert [(row["label"], row["accounts"], row["share"], money(row)) for row in table(answer, "by_band")] == [
        ("yellow", 1, 0.3333, {"EUR": "50000.00"}),
        ("red", 1, 0.3333, {"USD": "120000.00"}),
        ("unknown", 1, 0.3333, {"USD": "0.00"}),
    ]
    assert [(row["label"], row["accounts"], money(row)) for row in table(answer, "migration")] == [
        ("green → red", 1, {"USD": "100000.00"}),
        ("yellow → yellow", 1, {"EUR": "50000.00"}),
        ("red → churned", 1, {"USD": "7000.00"}),
        ("not scored → unknown", 1, {"USD": "0.00"}),
    ]
    [fall], [rise] = table(answer, "falls"), table(answer, "rises")
    assert (fall["account"]["id"], fall["before"], fall["after"], fall["change"]) == (book["fell"], 80.1, 48.9, -31.2)
    assert (rise["account"]["id"], rise["change"]) == (book["rose"], 6.8)
    assert any("2026-02-14 stand for 2026-02-20" in note for note in answer["notes"])
    assert "Fell" in answer.text
    assert "80.1 → 48.9 (-31.2)" in answer.text


async def test_a_series_has_the_bands_at_the_end_of_each_period(csm: Desk, book: dict[str, str]) -> None:
    answer = await csm.done("get_metrics", metric="health", period_start="2026-01-01", interval="month")

    series = [(row["slice"], row["label"], row["accounts"], money(row)) for row in table(answer, "series")]
    march = [(row["label"], row["accounts"], money(row)) for row in table(answer, "by_band")]
    assert series == [("2026-03-16", *row) for row in march] + [
        ("2026-02-28", "green", 1, {"USD": "100000.00"}),
        ("2026-02-28", "yellow", 1, {"EUR": "50000.00"}),
        ("2026-02-28", "red", 1, {"USD": "7000.00"}),
    ]  # who has neither score nor ARR was no customer yet
    assert "No night scored in: 2026-01-01 to 2026-01-31." in answer["notes"]
    past = await csm.done("get_metrics", metric="health", as_of="2026-02-28")
    assert [(row["label"], row["accounts"], money(row)) for row in table(past, "by_band")] == [
        row[1:] for row in series[3:]
    ]
    assert "churn has no series here. Leave interval out, or ask get_retention" in await csm.refused(
        "get_metrics", metric="churn", interval="month"
    )


async def test_an_override_counts_in_the_band_and_not_in_the_score(csm: Desk, book: dict[str, str]) -> None:
    given = {"band": "green", "expires_on": "2026-04-01", "reason": "They signed"}
    await csm.done("override_health", account=book["fell"], **given)

    answer = await csm.done("get_metrics", metric="health", period_start="2026-02-14")

    assert ("green → green", 1) in [(row["label"], row["accounts"]) for row in table(answer, "migration")]
    [fall] = table(answer, "falls")
    assert (fall["label"], fall["after"]) == ("green", 48.9)


async def test_a_past_day_has_its_own_bands_and_arr(csm: Desk, book: dict[str, str]) -> None:
    answer = await csm.done("get_metrics", metric="health", as_of="2026-02-15")

    assert [(row["label"], money(row)) for row in table(answer, "by_band")] == [
        ("green", {"USD": "100000.00"}),
        ("yellow", {"EUR": "50000.00"}),
        ("red", {"USD": "7000.00"}),
    ]
    assert any("Who had neither a score nor ARR then is left out" in note for note in answer["notes"])
    assert [one["name"] for one in answer["tables"]] == ["by_band"]
    assert any(
        "no scores are kept from 2026-01-16 or before; the first are of 2026-02-14" in n for n in answer["notes"]
    )


async def test_slices_add_up_to_the_whole(csm: Desk, book: dict[str, str], team: Team) -> None:
    for slice_by, names in (
        ("segment", {"enterprise", "smb"}),
        ("owner", {f"Ana Ruiz ({team.members['ana'].id})"}),
    ):
        answer = await csm.done("get_metrics", metric="health", slice_by=slice_by)
        rows = table(answer, f"by_{slice_by}")
        assert {row["slice"] for row in rows} == names
        whole = {row["label"]: row["accounts"] for row in table(answer, "by_band")}
        for band, count in whole.items():
            assert sum(row["accounts"] for row in rows if row["label"] == band) == count


async def test_figures_cover_what_the_caller_sees(
    csm: Desk, sit: Callable[[str], Awaitable[Desk]], book: dict[str, str], team: Team
) -> None:
    ben, lea, vic = await sit("ben"), await sit("lea"), await sit("vic")
    for metric in ("health", "completeness"):
        empty = await ben.done("get_metrics", metric=metric)
        assert not any(one["rows"] for one in empty["tables"])
    whole = await vic.done("get_metrics", metric="health")
    assert whole["scope"] == "the whole workspace"
    teams = await lea.done("get_metrics", metric="health", owner="ana@acme.example")
    assert (
        table(teams, "by_band")
        == table(whole, "by_band")
        == table(await csm.done("get_metrics", metric="health"), "by_band")
    )
    assert table(await lea.done("get_metrics", metric="health", owner="ben@acme.example"), "by_band") == []


async def test_completeness_names_gaps_by_owner_and_account(
    csm: Desk, book: dict[str, str], team: Team, store: Store
) -> None:
    fell = book["fell"]
    await csm.done("save_contact", account=fell, name="Priya Natarajan")
    await csm.done("assign_sponsor", account=fell, role="executive_sponsor", contact="Priya Natarajan")
    async with writing(store, team.workspace) as work:
        work.tickets.add(Ticket(id=work.ids.new("ticket"), account_id=fell, status="open", opened_at=AT))
        usage = {"workspace": team.workspace, "account_id": fell, "day": TODAY.toordinal(), "department": ""}
        await work.session.execute(insert(USAGE_DAY).values(usage | {"active_users": 3, "summed": 0}))

    answer = await csm.done("get_metrics", metric="completeness")

    gaps = {row["label"]: (row["accounts"], row["share"], money(row)) for row in table(answer, "by_gap")}
    assert gaps["champion"] == (3, 1.0, {"EUR": "50000.00", "USD": "120000.00"})
    assert (
        gaps["executive_sponsor"] == gaps["usage"] == gaps["tickets"] == (2, 0.6667, {"EUR": "50000.00", "USD": "0.00"})
    )
    assert "owner" not in gaps
    [mine] = table(answer, "by_owner")
    assert (mine["slice"], mine["accounts"], mine["share"]) == (f"Ana Ruiz ({team.members['ana'].id})", 3, 0.0)
    assert "executive_sponsor on 2" in mine["lacks"]
    first = table(answer, "accounts")[0]
    assert first["account"]["id"] == fell
    assert first["lacks"] == ["renewal_on", "subscription", "champion", "last_touch_on", "surveys", "invoices"]
    assert any("No account has survey answers, invoices" in note for note in answer["notes"])
    for gap, (count, _, _) in gaps.items():
        listed = await csm.done("find_accounts", missing=[gap], stage=["onboarding"])
        assert listed["total"] == count, gap


async def test_usage_of_a_merged_account_is_the_kept_ones(csm: Desk, team: Team, store: Store) -> None:
    kept, merged = await csm.account("Kept"), await csm.account("Merged")
    async with writing(store, team.workspace) as work:
        usage = {"workspace": team.workspace, "account_id": merged, "day": TODAY.toordinal(), "department": ""}
        await work.session.execute(insert(USAGE_DAY).values(usage | {"active_users": 3, "summed": 0}))
    assert (await csm.done("find_accounts", missing=["usage"])).ids == [kept]

    plan = await csm.done("merge_records", kind="account", keep=kept, merge=merged, reason="One customer")
    await csm.done("commit_plan", plan=plan["plan_id"])

    assert (await csm.done("find_accounts", missing=["usage"])).ids == []


async def test_what_does_not_fit_is_named(csm: Desk, team: Team, store: Store) -> None:
    accounts = [await csm.account(f"Account {number}") for number in range(12)]
    falls = {account: (900 - 10 * n, "green") for n, account in enumerate(accounts)}
    after = dict.fromkeys(accounts, (200, "red"))
    await arrange(store, team, arr={}, scores={FEBRUARY: falls, NIGHT: after})

    ten = await csm.done("get_metrics", metric="health", as_of=str(NIGHT), period_start=str(FEBRUARY))
    assert len(table(ten, "falls")) == 10
    assert [one["what"] for one in ten["left_out"]] == ["smaller falls"]

    small = await csm.done(
        "get_metrics", metric="health", as_of=str(NIGHT), period_start=str(FEBRUARY), budget_tokens=500
    )
    assert len(small.text.encode()) <= 500 * 3.3
    assert table(small, "falls")[0] == table(ten, "falls")[0]
    assert any("rows of falls" in one["what"] for one in small["left_out"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"metric": "health", "as_of": "2026-03-17"}, "in the future"),
        ({"metric": "health", "period_start": "2026-03-16"}, "is not before"),
        ({"metric": "completeness", "as_of": "2026-03-01"}, "known for today alone"),
        ({"metric": "completeness", "period_start": "2026-03-01"}, "has no period"),
        ({"metric": "nrr"}, "metric"),
    ],
)
async def test_a_question_without_an_answer_is_refused(csm: Desk, asked: dict[str, Any], said: str) -> None:
    assert said in await csm.refused("get_metrics", **asked)
