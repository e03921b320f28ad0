"""Cohorts through the protocol: a triangle worked out by hand, and generated books against a plain reckoning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import date
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from conftest import Team
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import add_months
from cs_mcp.domain.revenue.currency_rates import ExchangeRate
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind

from ._client import Answer, Desk, writing

Moves = list[tuple[str, str, int]]  # day, kind, major units


async def post(store: Store, team: Team, of: dict[str, Moves], currency: str = "USD") -> None:
    async with writing(store, team.workspace) as work:
        for account, moves in of.items():
            for on, kind, amount in moves:
                made: dict[str, Any] = {"on": date.fromisoformat(on), "kind": MovementKind(kind)}
                made |= {"amount_minor": amount * 100, "currency": currency}
                work.movements.add(ArrMovement(id=work.ids.new("arr_movement"), account_id=account, **made))


@pytest.fixture
async def book(csm: Desk, team: Team, store: Store) -> dict[str, str]:
    """January: one leaves in February and is back in March, one grows, one comes and goes at once. February: one."""
    made = {name: await csm.account(name) for name in ("Back", "Grows", "Gone", "Later")}
    moves: dict[str, Moves] = {
        "Back": [("2025-12-10", "new", 100), ("2026-01-05", "churn", -100), ("2026-02-20", "reactivation", 60)],
        "Grows": [("2025-12-31", "new", 100), ("2026-01-15", "expansion", 50), ("2026-03-02", "expansion", 900)],
        "Gone": [("2025-12-01", "new", 200), ("2025-12-30", "churn", -200)],
        "Later": [("2026-01-01", "new", 400), ("2026-02-03", "contraction", -100)],
    }
    await post(store, team, {made[name]: posted for name, posted in moves.items()})
    return made


def lines(answer: Answer) -> dict[str, tuple[int, str, list[float], list[float], list[float]]]:
    return {
        line["started"]: (line["accounts"], line["arr"]["amount"], line["logos"], line["revenue"], line["gross"])
        for line in answer["cohorts"]
    }


async def test_a_triangle_by_hand(csm: Desk, book: dict[str, str]) -> None:
    answer = await csm.done("get_cohorts")

    assert (answer["complete_to"], answer["scope"], answer["currency"]) == ("2026-02-28", "the books you see", "USD")
    assert lines(answer) == {
        # At the end of December Gone is gone; in January Back is away; March is not over.
        "2025-12-01": (3, "400.00", [0.6667, 0.3333, 0.6667], [0.5, 0.375, 0.525], [0.5, 0.25, 0.4]),
        "2026-01-01": (1, "400.00", [1.0, 1.0], [1.0, 0.75], [1.0, 0.75]),
    }
    # Two cohorts of equal ARR, of three and one customers.
    assert answer["average"]["logos"] == [0.75, 0.5, 0.6667]
    assert answer["average"]["revenue"] == [0.75, 0.5625, 0.525]
    assert "logos 66.7 33.3 66.7 %" in answer.text
    assert "started at 400.00 USD" in answer.text


async def test_by_quarter_and_as_it_was_on_a_day(csm: Desk, book: dict[str, str]) -> None:
    earlier = await csm.done("get_cohorts", as_of="2026-01-31")
    assert lines(earlier)["2025-12-01"][2] == [0.6667, 0.3333]

    quarters = await csm.done("get_cohorts", interval="quarter")
    assert lines(quarters) == {"2025-10-01": (3, "400.00", [0.6667], [0.5], [0.5])}


async def test_the_accounts_of_a_cohort_are_named(csm: Desk, book: dict[str, str]) -> None:
    answer = await csm.done("get_cohorts", cohort="2025-12-24")

    told = {one["id"]: (one["arr_at_start"]["amount"], one["arr"]["amount"]) for one in answer["accounts"]}
    assert told == {
        book["Back"]: ("100.00", "60.00"),
        book["Grows"]: ("100.00", "150.00"),
        book["Gone"]: ("200.00", "0.00"),
    }
    assert f"Gone ({book['Gone']}): 200.00 USD → gone, last moved 2025-12" in answer.text
    two = await csm.done("get_cohorts", cohort="2025-12-24", limit=2)
    assert len(two["accounts"]) == 2
    assert two["left_out"]


async def test_cohorts_are_of_the_callers_book(
    csm: Desk, sit: Callable[[str], Awaitable[Desk]], book: dict[str, str]
) -> None:
    ben, vic = await sit("ben"), await sit("vic")
    assert (await ben.done("get_cohorts"))["cohorts"] == []
    whole = await vic.done("get_cohorts")
    assert whole["scope"] == "the whole workspace"
    assert lines(whole) == lines(await csm.done("get_cohorts"))
    assert lines(await vic.done("get_cohorts", owner="ben@acme.example")) == {}


async def test_other_currencies_need_a_rate(csm: Desk, book: dict[str, str], team: Team, store: Store) -> None:
    euros = await csm.account("Euros", currency="EUR")
    moves: Moves = [("2026-01-10", "new", 100), ("2026-02-01", "contraction", -50)]
    await post(store, team, {euros: moves}, "EUR")

    refused = await csm.refused("get_cohorts")
    assert "no exchange rate from EUR to USD" in refused
    assert "fx_rates.csv" in refused
    assert list(lines(await csm.done("get_cohorts", currency="EUR"))) == ["2026-01-01"]

    async with writing(store, team.workspace) as work:
        rate = {"from_currency": "EUR", "to_currency": "USD", "on": date(2026, 1, 1), "rate": "1.5"}
        work.exchange_rates.add(ExchangeRate(id=work.ids.new("exchange_rate"), **rate))
    answer = await csm.done("get_cohorts")
    assert lines(answer)["2026-01-01"] == (2, "550.00", [1.0, 1.0], [1.0, 0.6818], [1.0, 0.6818])
    assert answer["notes"] == ["EUR is told in USD at the rate of 2026-01-01, for all periods alike."]


async def test_what_does_not_fit_is_named(csm: Desk, team: Team, store: Store) -> None:
    starts = [add_months(date(2024, 1, 1), n) for n in range(24)]
    posted: dict[str, Moves] = {await csm.account(f"A {on}"): [(str(on), "new", 10)] for on in starts}
    await post(store, team, posted)

    twelve = await csm.done("get_cohorts")
    assert len(twelve["cohorts"]) == 12
    assert twelve["left_out"][0]["what"] == "12 earlier cohorts"
    small = await csm.done("get_cohorts", period_start="2024-01-01", budget_tokens=800)
    assert len(small.text.encode()) <= 800 * 3.3
    assert small["cohorts"][-1] == twelve["cohorts"][-1]
    assert "in the future" in await csm.refused("get_cohorts", as_of="2026-03-17")
    assert "not an active ISO 4217 currency" in await csm.refused("get_cohorts", currency="EUX")


@pytest.mark.parametrize("seed", range(4))
async def test_generated_books_are_as_a_plain_reckoning_has_them(
    csm: Desk, team: Team, store: Store, seed: int
) -> None:
    random = Random(seed)
    posted: dict[str, Moves] = {}
    for number in range(12):
        moves, arr = list[tuple[str, str, int]](), 0
        for day in sorted(random.sample(range(500), random.randint(1, 9))):
            rises = arr == 0 or random.random() < 0.5
            kind = ("reactivation" if moves else "new") if arr == 0 else "expansion" if rises else "contraction"
            change = random.randint(1, 90) if rises else -random.randint(1, arr)
            kind = "churn" if arr + change == 0 else kind
            arr += change
            moves.append((str(date.fromordinal(date(2024, 9, 1).toordinal() + day)), kind, change))
        posted[await csm.account(f"Account {number}")] = moves
    await post(store, team, posted)

    answer = await csm.done("get_cohorts", period_start="2024-01-01", budget_tokens=20_000)

    assert {start: told[0:3] for start, told in lines(answer).items()} == reckoned(posted, date(2026, 2, 28))


def reckoned(posted: dict[str, Moves], end: date) -> dict[str, tuple[int, str, list[float]]]:
    """Accounts, ARR at the start and logo retention of each cohort, from the movements one by one."""
    cohorts: defaultdict[str, list[Moves]] = defaultdict(list)
    for moves in posted.values():
        cohorts[moves[0][0][:7] + "-01"].append(moves)
    found: dict[str, tuple[int, str, list[float]]] = {}
    for start, members in sorted(cohorts.items()):
        last, logos = date.fromisoformat(start), list[float]()
        while (last := add_months(last, 1)) <= date.fromordinal(end.toordinal() + 1):
            left = sum(sum(change for on, _, change in moves if on < str(last)) > 0 for moves in members)
            logos.append(round(float(Fraction(left, len(members))), 4))
        won = sum(next(change for _, kind, change in moves if kind == "new") for moves in members)
        found[start] = (len(members), f"{won}.00", logos)
    return found
