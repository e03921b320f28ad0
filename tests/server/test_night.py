"""The night, step by step and again; who is told that a metric gets worse, and how often."""

from __future__ import annotations

import asyncio
import json
from datetime import date, timedelta
from typing import Any

from typer.testing import CliRunner

from conftest import SECRET, Team, new_team
from cs_mcp.cli.commands import app
from cs_mcp.db.store import Store, open_store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind
from cs_mcp.domain.revenue.targets import Target
from cs_mcp.domain.work.tasks import Task, TaskOrigin
from cs_mcp.services.history.undo import UndoChanges
from cs_mcp.services.night import Nights, Step
from cs_mcp.services.wiring import Services

from ._client import Desk, Desks, writing
from ._renewals import Book

NAMES = ["day", "people", "renewals", "scores", "forecast", "alerts"]


async def a_night(team: Team) -> dict[str, Step]:
    operator = await team.services.identity.operator(team.workspace)
    steps = [step async for step in Nights(team.services.store).steps(operator)]
    assert [step.name for step in steps] == NAMES
    return {step.name: step for step in steps}


async def declining(csm: Desk, store: Store, team: Team, *, owner: str | None = None, currency: str = "USD") -> str:
    """An account whose ARR falls faster each quarter of 2025, and a target for NRR."""
    account = await csm.account("Withers")
    falls = [("2025-02-01", 10), ("2025-05-01", 30), ("2025-08-01", 60), ("2025-11-01", 200)]
    async with writing(store, team.workspace) as work:

        def post(on: str, kind: MovementKind, amount: int) -> None:
            told = {"on": date.fromisoformat(on), "kind": kind, "amount_minor": amount * 100, "currency": currency}
            work.movements.add(ArrMovement(id=work.ids.new("arr_movement"), account_id=account, **told))

        post("2024-06-01", MovementKind.new, 1000)
        for on, by in falls:
            post(on, MovementKind.contraction, -by)
        if owner is not None:
            aim = {"metric": "nrr", "value": 1.0, "from_on": date(2026, 1, 1), "owner_id": owner}
            work.targets.add(Target(id=work.ids.new("target"), **aim))
    return account


async def alerts_of(desk: Desk, **asked: Any) -> list[dict[str, Any]]:
    return (await desk.done("list_tasks", **asked))["items"]


async def test_a_metrics_owner_finds_a_task_once_a_quarter(
    csm: Desk, desks: Desks, team: Team, store: Store, clock: FixedClock
) -> None:
    lea = team.members["lea"]
    account = await declining(csm, store, team, owner=lea.id)

    alerts = (await a_night(team))["alerts"]

    desk = await desks.of(team, "lea")
    [task] = await alerts_of(desk, assignee="Lea Brandt")
    assert (task["account"]["id"], task["priority"], task["due_on"]) == (account, "high", "2026-03-23")
    assert task["title"] == (
        "nrr got worse three quarters in a row: 0.99 → 0.9697 → 0.9375 → 0.7778. Find out why; most was lost here, "
        "-200.00 USD."
    )
    assert alerts.said == f"Owners told of what gets worse: nrr ({task['id']})."
    [unheard] = alerts.notes
    assert unheard.startswith("grr got worse 3 quarters in a row")
    assert "Name one with owner_email in targets.csv." in unheard

    assert (await a_night(team))["alerts"].said == "Nothing new gets worse."
    await desk.done("update_task", task=task["id"], expected_version=1, status="done", outcome="Prices, talked to them")
    clock.advance(timedelta(days=1))
    assert (await a_night(team))["alerts"].said == "Nothing new gets worse."
    assert await alerts_of(desk, assignee="Lea Brandt") == []

    clock.advance(timedelta(days=20))  # the next quarter: it did not get worse again
    assert (await a_night(team))["alerts"].said == "Nothing new gets worse."


async def test_nights_that_meet_tell_an_owner_once(csm: Desk, team: Team, store: Store) -> None:
    account, lea = await csm.account("Withers"), team.members["lea"].id
    purpose = "worsening nrr 2025-10-01"

    async def tell(before_it_ends: asyncio.Event) -> bool:
        async with writing(store, team.workspace) as work:
            told = await work.tasks.was_ever(purpose, lea)
            if not told:
                fields = {"title": "nrr got worse", "purpose": purpose, "assignee_id": lea, "origin": TaskOrigin.alert}
                work.tasks.add(Task(id=work.ids.new("task"), account_id=account, **fields))
            await before_it_ends.wait()
            return told

    over = asyncio.Event()
    first = asyncio.create_task(tell(over))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(tell(over))
    await asyncio.sleep(0.1)
    assert not second.done()
    over.set()
    assert sorted(await asyncio.gather(first, second)) == [False, True]


async def test_what_is_taken_back_is_not_told_again(csm: Desk, team: Team, store: Store) -> None:
    await declining(csm, store, team, owner=team.members["lea"].id)
    run = (await a_night(team))["alerts"].run
    assert run is not None
    operator = await team.services.identity.operator(team.workspace)
    await team.services.writes.perform(operator, UndoChanges(run=run, reason="Known"))

    assert (await a_night(team))["alerts"].run is None
    assert await alerts_of(csm) == []


async def test_figures_without_a_rate_are_said_and_stop_no_night(csm: Desk, team: Team, store: Store) -> None:
    account = await declining(csm, store, team, owner=team.members["lea"].id)
    async with writing(store, team.workspace) as work:
        told = {"on": date(2024, 6, 1), "kind": MovementKind.new, "amount_minor": 100, "currency": "EUR"}
        work.movements.add(ArrMovement(id=work.ids.new("arr_movement"), account_id=account, **told))

    [note] = (await a_night(team))["alerts"].notes
    assert "no exchange rate from EUR to USD" in note


async def test_who_was_said_to_leave_departs_in_the_night_of_that_day(csm: Desk, team: Team, clock: FixedClock) -> None:
    account = await csm.account("Globex")
    await csm.done(
        "log_meeting",
        account=account,
        kind="call",
        summary="Who stays.",
        attendees=[{"name": "Priya Nair"}, {"name": "Tom Ode"}],
        news=[
            {"contact": "Priya Nair", "news": "champion"},
            {"contact": "Priya Nair", "news": "leaving", "on": "2026-03-20", "successor": "Ada Obi"},
            {"contact": "Tom Ode", "news": "leaving", "on": "2026-03-21"},
        ],
    )

    async def people() -> dict[str, Any]:
        told = await csm.done("get_account", account=account, detail="full")
        return {one["name"]: one for one in told["people"]} | {"champion": told.data.get("champion")}

    clock.advance(timedelta(days=3))
    assert (await a_night(team))["people"].run is None
    assert (await people())["champion"]["name"] == "Priya Nair"

    clock.advance(timedelta(days=1))  # her last day
    night = (await a_night(team))["people"]
    assert night.said == "1 people departed whose last day has come."
    assert night.notes == ("Globex has no champion since 2026-03-20: Priya Nair departed.",)
    after = await people()
    assert (after["Priya Nair"]["status"], after["Priya Nair"]["departed_on"]) == ("departed", "2026-03-20")
    assert (after["Tom Ode"]["status"], after["champion"]) == ("active", None)
    assert (await a_night(team))["people"].run is None

    # She stayed after all: taken back by a person, and the announcement with it.
    await csm.done(
        "log_meeting",
        account=account,
        kind="call",
        summary="She stays.",
        news=[{"contact": "Priya Nair", "news": "back"}],
    )
    assert (await a_night(team))["people"].run is None
    assert (await people())["Priya Nair"]["status"] == "active"


async def test_what_was_dated_ahead_counts_from_the_night_of_its_day_on(
    csm: Desk, team: Team, store: Store, clock: FixedClock
) -> None:
    gone, stays = [await csm.account(name) for name in ("Globex", "Hooli")]
    today = clock.now().date()
    async with writing(store, team.workspace) as work:
        for account, kind, on, amount in (
            (gone, MovementKind.new, today, 900),
            (gone, MovementKind.churn, today + timedelta(days=10), -900),
            (stays, MovementKind.new, today, 500),
        ):
            told = {"on": on, "kind": kind, "amount_minor": amount * 100, "currency": "USD"}
            work.movements.add(ArrMovement(id=work.ids.new("arr_movement"), account_id=account, **told))
    await csm.done("schedule_meeting", account=stays, kind="check_in", on=str(today + timedelta(days=9)))

    assert (await a_night(team))["day"].said == "0 accounts brought up to the day."
    head = await csm.head()
    clock.advance(timedelta(days=10))
    assert (await a_night(team))["day"].said == "2 accounts brought up to the day."
    assert (await a_night(team))["day"].said == "0 accounts brought up to the day."

    listed = (await csm.done("find_accounts", fields=["arr", "next_meeting_on"], sort="name"))["items"]
    assert [(row["arr"]["amount"], row.get("next_meeting_on")) for row in listed] == [("0.00", None), ("500.00", None)]
    assert await csm.head() == head  # nobody wrote


async def test_a_night_opens_what_is_due_and_keeps_the_forecast_by_its_own_scores(
    csm: Desk, team: Team, store: Store, clock: FixedClock
) -> None:
    account = await csm.account("Globex")
    await Book(store, team.workspace).signs(account, ends=None, starts_on=date(2025, 4, 1))
    await csm.done("log_meeting", account=account, kind="qbr", summary="Fine", sentiment="positive")
    before = (await csm.done("list_renewals")).ids

    first = await a_night(team)
    assert first["renewals"].said == "0 renewals opened, 0 brought up to date."
    assert first["forecast"].said == "The forecast of 2026-03-16 is kept: 1 renewals."
    assert "1 accounts scored" in first["scores"].said
    again = await a_night(team)
    assert again["scores"].said.endswith(", 0 changed.")

    clock.advance(timedelta(days=16))  # its next term began; nobody closed the last one
    await a_night(team)
    assert set(before) <= set((await csm.done("list_renewals")).ids)


def test_the_command_line_tells_each_step(sqlite_url: str) -> None:
    async def found() -> None:
        store = await open_store(sqlite_url)
        await new_team(Services(store, SECRET))
        await store.close()

    asyncio.run(found())

    said = CliRunner().invoke(app, ["night", "--db", sqlite_url])
    assert (said.exit_code, [line.partition(":")[0] for line in said.stdout.splitlines()]) == (0, NAMES)
    told = json.loads(CliRunner().invoke(app, ["night", "--db", sqlite_url, "--json"]).stdout)
    assert [one["step"] for one in told] == NAMES
    assert told[1]["run"] is None
