"""How revenue is counted is set once for the company, and every figure follows, undo included."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from typer.testing import CliRunner

from conftest import SECRET, Team, new_team
from cs_mcp.cli.commands import app
from cs_mcp.db.store import Store, open_store
from cs_mcp.domain.errors import Invalid, NotAllowed
from cs_mcp.domain.revenue.conventions import Conventions
from cs_mcp.domain.revenue.retention import Bar, Posting, retention
from cs_mcp.domain.revenue.subscriptions import ArrMovement
from cs_mcp.domain.revenue.subscriptions import MovementKind as K
from cs_mcp.services.history.undo import UndoChanges
from cs_mcp.services.revenue.settings import RevenueSettings
from cs_mcp.services.wiring import Services

from ._client import Desk, Desks, writing
from ._renewals import Book

YEAR = {"period_start": "2025-01-01", "period_end": "2025-12-31"}
START = date(2024, 3, 1)
LEDGER = {
    "Grew": [(START, K.new, 1000), (date(2025, 2, 1), K.price_change, 50), (date(2025, 8, 9), K.expansion, 200)],
    "Swung": [(START, K.new, 600), (date(2025, 5, 5), K.contraction, -150), (date(2025, 6, 5), K.expansion, 250)],
    "Back": [(START, K.new, 400), (date(2025, 4, 1), K.churn, -400), (date(2025, 9, 1), K.reactivation, 300)],
    "Blink": [(date(2025, 3, 3), K.new, 70), (date(2025, 6, 3), K.churn, -70)],
}
CHOICES: list[dict[str, str]] = [
    {"netting": "none"},
    {"reactivation": "separate"},
    {"price_change": "apart"},
    {"new_and_churned": "shown"},
    {"netting": "none", "price_change": "apart", "reactivation": "separate"},
]
FIGURES = ("nrr", "grr", "logo_churn_rate", "accounts_lost", "cohort", "total", "formula", "conventions", "series")


@pytest.fixture
async def vic(desks: Desks, team: Team) -> Desk:
    """A viewer, who sees the whole workspace."""
    return await desks.of(team, "vic")


@pytest.fixture
async def book(csm: Desk, store: Store, team: Team) -> dict[str, str]:
    made = {name: await csm.account(name) for name in LEDGER}
    async with writing(store, team.workspace) as work:
        for name, posted in LEDGER.items():
            for on, kind, amount in posted:
                movement = {"on": on, "kind": kind, "amount_minor": amount * 100, "currency": "USD"}
                work.movements.add(ArrMovement(id=work.ids.new("arr_movement"), account_id=made[name], **movement))
    return made


async def figures(desk: Desk, **asked: Any) -> dict[str, Any]:
    told = await desk.done("get_retention", **YEAR, interval="quarter", **asked)
    return {name: told.data.get(name) for name in FIGURES}


def by_the_rules(choice: dict[str, str]) -> tuple[float, float, list[int]]:
    """NRR, GRR and the bars of the year, in whole units."""
    first, last = date(2025, 1, 1), date(2025, 12, 31)
    posted = [(name, on, kind, amount) for name, moves in LEDGER.items() for on, kind, amount in moves]
    opening = {name: sum(amount for of, on, _, amount in posted if of == name and on < first) for name in LEDGER}
    window = [Posting(name, on, kind, amount) for name, on, kind, amount in posted if first <= on <= last]
    told = retention(opening, window, Conventions.model_validate(choice))
    assert told.nrr is not None
    assert told.grr is not None
    return round(float(told.nrr), 4), round(float(told.grr), 4), [getattr(told.total, bar.value) for bar in Bar]


def as_told(figures: dict[str, Any]) -> tuple[float, float, list[int]]:
    return figures["nrr"], figures["grr"], [int(Decimal(figures["total"][bar.value])) for bar in Bar]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: "+".join(choice))
async def test_figures_kept_by_one_convention_are_not_read_by_another(
    book: dict[str, str], vic: Desk, csm: Desk, desks: Desks, team: Team, choice: dict[str, str]
) -> None:
    lea = await desks.of(team, "lea")
    before = await figures(vic)
    asked = await figures(vic, conventions=choice)
    mine = await figures(csm, conventions=choice)
    assert (as_told(before), as_told(asked)) == (by_the_rules({}), by_the_rules(choice))
    assert as_told(asked) != as_told(before)
    operator = await team.services.identity.operator(team.workspace)
    settings = RevenueSettings(team.services.store)

    done = await settings.change(operator, choice, "Board's definition")

    assert (done.after, set(done.before)) == (choice, set(choice))
    assert (await figures(vic), await figures(csm)) == (asked, mine)
    assert await figures(vic, conventions=done.before) == before
    assert (await settings.change(operator, choice)).change_id is None
    assert "Board's definition" in (await lea.done("list_changes", limit=5)).text
    assert done.change_id is not None
    await team.services.writes.perform(operator, UndoChanges(change=done.change_id))
    assert await figures(vic) == before


async def test_odds_and_margins_are_used_until_a_workspace_has_its_own(
    book: dict[str, str], vic: Desk, csm: Desk, team: Team, store: Store
) -> None:
    await Book(store, team.workspace).signs(book["Grew"])
    operator = await team.services.identity.operator(team.workspace)
    clv = (await vic.done("get_metrics", metric="clv")).data["tables"]

    await RevenueSettings(store).change(operator, {"odds_unknown": "0.5", "gross_margin": "0.4"})

    told = await csm.done("get_forecast")
    assert {line["band"]: line["won"] for line in told["odds"]}["unknown"] == 0.5
    assert told["quarters"][0]["expected"]["amount"] == "6000.00"
    halved = (await vic.done("get_metrics", metric="clv")).data["tables"]
    assert halved != clv


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"nettin": "none"}, "No setting of revenue is called 'nettin'. Did you mean netting? Settings are netting,"),
        ({"netting": "day"}, "netting cannot be 'day'. It takes window, none; empty is the default."),
        ({"gross_margin": "0"}, "It takes a share above 0, at most 1"),
        ({"discount_rate": "1"}, "It takes a share from 0, below 1"),
        ({"odds_red": "60%"}, "odds_red cannot be '60%'"),
        ({"reactivation_gap_days": "-1"}, "It takes days, 0 to 366"),
    ],
)
async def test_what_cannot_be_set_says_what_can(team: Team, given: dict[str, str | None], said: str) -> None:
    operator = await team.services.identity.operator(team.workspace)
    with pytest.raises(Invalid) as refused:
        await RevenueSettings(team.services.store).change(operator, {"fx": "transaction"} | given)
    assert said in str(refused.value)
    assert (await team.services.store.workspace(team.workspace)).conventions is None


async def test_only_an_admin_sets_it(team: Team) -> None:
    with pytest.raises(NotAllowed, match="cs_leader may not change how revenue is counted"):
        await RevenueSettings(team.services.store).change(await team.principal("lea"), {"netting": "none"})


def test_the_command_line_shows_sets_and_goes_back(sqlite_url: str) -> None:
    async def found() -> None:
        store = await open_store(sqlite_url)
        await new_team(Services(store, SECRET))
        await store.close()

    def said(*words: str, exits: int = 0) -> str:
        answer = CliRunner().invoke(app, ["revenue", *words, "--db", sqlite_url])
        assert answer.exit_code == exits, (answer.stdout, answer.stderr, answer.exception)
        return answer.stdout + answer.stderr

    asyncio.run(found())
    assert "netting: window → none\ngross_margin: 0.8 → 0.75\n" in said("set", "netting=none", "gross_margin=0.75")
    told = {one["name"]: one["value"] for one in json.loads(said("show", "--json"))}
    assert (told["netting"], told["gross_margin"], told["fx"]) == ("none", "0.75", "constant")
    done = json.loads(said("set", "netting=", "--json", "--reason", "As before"))
    assert (done["before"], done["after"]) == ({"netting": "none"}, {"netting": "window"})
    assert "All of it was set so already." in said("set", "gross_margin=0.75")
    assert "has no '='" in said("set", "netting", exits=2)
    assert "takes window, none" in said("set", "netting=day", exits=2)
