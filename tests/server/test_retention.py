"""get_retention: whatever is asked, the figures are those of the rules over the ledger, and they tie out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from conftest import Team
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.revenue.conventions import Conventions
from cs_mcp.domain.revenue.currency_rates import ExchangeRate
from cs_mcp.domain.revenue.retention import Bar, Posting, Retention, retention
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind
from cs_mcp.domain.revenue.targets import Target

from ._client import Answer, Desk, Desks, writing

K = MovementKind
YEAR = {"period_start": "2025-01-01", "period_end": "2025-12-31"}
BLOCK = ("starting_arr", *(bar.value for bar in Bar), "ending_arr")


@pytest.fixture
async def vic(desks: Desks, team: Team) -> Desk:
    """A viewer, who sees the whole workspace."""
    return await desks.of(team, "vic")


async def post(store: Store, team: Team, *movements: tuple[str, date, MovementKind, int], currency: str = "USD") -> str:
    """Movements as (account, day, kind, whole units); the change."""
    async with writing(store, team.workspace) as work:
        for account, on, kind, amount in movements:
            made = {"account_id": account, "on": on, "kind": kind, "amount_minor": amount * 100, "currency": currency}
            work.movements.add(ArrMovement(id=work.ids.new("arr_movement"), **made))
        return work.act.change_id


def block(answer: Answer, name: str = "total") -> dict[str, int]:
    """Whole units of a waterfall, bars of nothing left out."""
    told = {key: Decimal(answer[name][key]) for key in BLOCK}
    return {key: int(amount) for key, amount in told.items() if amount}


def behind(answer: Answer) -> dict[str, list[tuple[str, int]]]:
    return {
        bar["bar"]: [(part["name"], int(Decimal(part["amount"]))) for part in bar["largest"]] for bar in answer["bars"]
    }


@pytest.fixture
async def book(csm: Desk, team: Team, store: Store) -> dict[str, str]:
    """Ana's accounts over 2025: one grew and paid more, one shrank, one left, one came, one came back, one blinked."""
    names = ("Grew", "Shrank", "Left", "Came", "Back", "Blink")
    made = {
        name: await csm.account(name, segment="smb" if name in ("Left", "Came") else "enterprise") for name in names
    }
    start = date(2024, 3, 1)
    await post(
        store,
        team,
        (made["Grew"], start, K.new, 1000),
        (made["Grew"], date(2025, 2, 1), K.price_change, 50),
        (made["Grew"], date(2025, 8, 9), K.expansion, 200),
        (made["Shrank"], start, K.new, 600),
        (made["Shrank"], date(2025, 5, 5), K.contraction, -150),
        (made["Left"], start, K.new, 400),
        (made["Left"], date(2025, 7, 1), K.churn, -400),
        (made["Came"], date(2025, 4, 4), K.new, 300),
        (made["Back"], start, K.new, 90),
        (made["Back"], date(2024, 9, 1), K.churn, -90),
        (made["Back"], date(2025, 9, 1), K.reactivation, 80),
        (made["Blink"], date(2025, 3, 3), K.new, 70),
        (made["Blink"], date(2025, 6, 3), K.churn, -70),
    )
    return made


async def test_a_year_with_its_rates_its_waterfalls_and_the_accounts_behind_each_bar(
    book: dict[str, str], csm: Desk, vic: Desk
) -> None:
    for desk, scope in ((vic, "the whole workspace"), (csm, "the books you see")):
        told = await desk.done("get_retention", **YEAR)
        assert (told["nrr"], told["grr"], told["logo_churn_rate"]) == (0.85, 0.725, 0.3333)
        assert (told["accounts_at_start"], told["accounts_lost"], told["currency"]) == (3, 1, "USD")
        assert (told["scope"], told["restated"]) == (scope, False)
        cohort = {"starting_arr": 2000, "expansion": 200, "price_change": 50, "contraction": 150, "churn": 400}
        assert block(told, "cohort") == cohort | {"ending_arr": 1700}
        assert block(told) == cohort | {"new": 300, "reactivation": 80, "ending_arr": 2080}
        assert behind(told) == {
            "new": [("Came", 300)],
            "expansion": [("Grew", 200)],
            "price_change": [("Grew", 50)],
            "contraction": [("Shrank", -150)],
            "churn": [("Left", -400)],
            "reactivation": [("Back", 80)],
        }
        assert "NRR 85.00%, GRR 72.50%, logo churn 33.33% (1 of 3 accounts lost)" in told.text
        assert "nrr = cohort ending_arr / starting_arr" in told.text
        assert "netting window, reactivation nets_out" in told.text


async def test_conventions_may_be_asked_for_and_are_told_with_the_figures(book: dict[str, str], vic: Desk) -> None:
    apart = await vic.done("get_retention", **YEAR, conventions={"price_change": "apart"})
    assert (apart["nrr"], apart["grr"], apart["conventions"]["price_change"]) == (0.825, 0.725, "apart")
    assert apart["formula"]["nrr"] == "(cohort ending_arr - price_change) / starting_arr"
    every = await vic.done("get_retention", **YEAR, conventions={"netting": "none"})
    assert block(every) == block(apart) | {"new": 370, "churn": 470}
    shown = await vic.done("get_retention", **YEAR, conventions={"new_and_churned": "shown"})
    assert block(shown) == block(every)
    assert "Unknown argument" in await vic.refused("get_retention", conventions={"nett": "none"})


async def test_slices_go_by_what_was_so_at_the_start_and_add_up(
    book: dict[str, str], csm: Desk, vic: Desk, clock: FixedClock
) -> None:
    clock.advance(timedelta(days=1))
    for name, told in (("Left", {"segment": "enterprise"}), ("Grew", {"custom": {"region": "EMEA"}})):
        change = (await csm.done("update_account", account=book[name], expected_version=1, **told))["change_id"]
    clock.advance(timedelta(days=30))
    for desk in (vic, csm):
        told = await desk.done("get_retention", **YEAR, slice_by="segment")
        slices = {one["slice"]: one for one in told["slices"]}
        assert (slices["enterprise"]["nrr"], slices["smb"]["nrr"]) == (1.0625, 0.0)
        for key in BLOCK:
            parts = sum(Decimal(one["total"][key]) for one in told["slices"])
            assert parts == Decimal(told["total"][key])
        # Of a window that began after the change, the new segment counts; of custom fields likewise.
        later = await desk.done("get_retention", period_start="2026-04-01", as_of="2026-04-16", slice_by="segment")
        assert {one["slice"]: int(Decimal(one["total"]["starting_arr"])) for one in later["slices"]} == {
            "enterprise": 1780,
            "smb": 300,
        }
        for start, regions in (("2025-01-01", ["none"]), ("2026-04-01", ["EMEA", "none"])):
            told = await desk.done("get_retention", period_start=start, slice_by="custom:region")
            assert sorted(one["slice"] for one in told["slices"]) == regions
    cohorts = await vic.done("get_retention", **YEAR, slice_by="cohort")
    assert {one["slice"]: int(Decimal(one["total"]["ending_arr"])) for one in cohorts["slices"]} == {
        "2024-Q1": 1780,
        "2025-Q2": 300,
    }
    await csm.done("undo_changes", change=change)
    told = await vic.done("get_retention", period_start="2026-04-01", slice_by="custom:region")
    assert sorted(one["slice"] for one in told["slices"]) == ["EMEA", "none"]  # as it was then


async def test_a_segments_target_stands_beside_its_slice(
    book: dict[str, str], csm: Desk, team: Team, store: Store
) -> None:
    async with writing(store, team.workspace) as work:
        for metric, value, segment in (
            ("grr", 0.9, None),
            ("grr", 0.95, "enterprise"),
            ("logo_churn_rate", 0.2, "smb"),
        ):
            aim = {"metric": metric, "value": value, "segment": segment, "from_on": date(2025, 1, 1)}
            work.targets.add(Target(id=work.ids.new("target"), **aim))

    told = await csm.done("get_retention", **YEAR, slice_by="segment")

    assert told["target"] == {"grr": 0.9}
    assert {one["slice"]: one.get("target") for one in told["slices"]} == {
        "enterprise": {"grr": 0.95}, "smb": {"logo_churn_rate": 0.2},
    }  # fmt: skip
    assert "; target GRR 95.00%; all " in told.text
    asked = {"metric": "churn", "period_start": "2025-01-01", "as_of": "2025-12-31", "slice_by": "segment"}
    rows = (await csm.done("get_metrics", **asked))["tables"][1]["rows"]
    missed = {row["slice"]: (row["target"]["value"], row["target"]["met"]) for row in rows if "target" in row}
    assert missed == {"smb": (0.2, False)}
    by_tier = await csm.done("get_retention", **YEAR, slice_by="tier")
    assert not any("target" in one for one in by_tier["slices"])


async def test_another_persons_accounts_are_in_nobodys_figures_but_theirs(
    book: dict[str, str], desks: Desks, team: Team, store: Store, vic: Desk
) -> None:
    ben = await desks.of(team, "ben")
    own = await ben.account("Ben's own", segment="smb")
    await post(store, team, (own, date(2024, 1, 1), K.new, 10))
    for question in ({}, {"slice_by": "segment"}, {"interval": "quarter"}, {"conventions": {"netting": "none"}}):
        told = await ben.done("get_retention", **YEAR, **question)
        assert block(told) == {"starting_arr": 10, "ending_arr": 10}
        assert (told["accounts_at_start"], told["bars"]) == (1, [])
    told = await vic.done("get_retention", **YEAR, owner="ben@acme.example")
    assert block(told) == {"starting_arr": 10, "ending_arr": 10}
    assert told["scope"] == "accounts owned by Ben Okafor today in the whole workspace"


async def test_the_series_flags_three_periods_that_worsened_in_a_row(
    csm: Desk, team: Team, store: Store, vic: Desk
) -> None:
    acme = await csm.account("Acme")
    months = [(acme, date(2025, month, 5), K.contraction, -10 * month) for month in range(1, 5)]
    await post(store, team, (acme, date(2024, 1, 1), K.new, 1000), *months)
    async with writing(store, team.workspace) as work:
        lea = team.members["lea"].id
        target = {"metric": "nrr", "value": 1.1, "from_on": date(2025, 1, 1), "owner_id": lea}
        work.targets.add(Target(id=work.ids.new("target"), **target))
    window = {"period_start": "2025-01-01", "period_end": "2025-04-30"}
    for desk in (vic, csm):
        told = await desk.done("get_retention", **window, interval="month")
        assert [point["nrr"] for point in told["series"]] == [0.99, 0.9798, 0.9691, 0.9574]
        assert [point["period_end"] for point in told["series"]][::3] == ["2025-01-31", "2025-04-30"]
        assert told["target"] == {"nrr": 1.1}
        assert [alert["metric"] for alert in told["alerts"]] == ["nrr", "grr"]
        assert told["alerts"][0]["owner"] == f"Lea Brandt ({lea})"
        assert "Alert: nrr worsened three periods in a row, 99.00% → 97.98% → 96.91% → 95.74%" in told.text
    quarters = await vic.done("get_retention", **window, interval="quarter")
    assert [(p["period_start"], p["period_end"]) for p in quarters["series"]] == [
        ("2025-01-01", "2025-03-31"),
        ("2025-04-01", "2025-04-30"),
    ]
    assert quarters["alerts"] == []


async def test_a_correction_restates_the_past_and_what_was_known_then_is_still_told(
    book: dict[str, str], csm: Desk, vic: Desk, team: Team, store: Store, clock: FixedClock
) -> None:
    before = clock.now().date()
    was = await vic.done("get_retention", **YEAR)
    clock.advance(timedelta(days=3))
    async with writing(store, team.workspace) as work:
        [wrong] = [m for m in await work.movements.of_account(book["Grew"]) if m.kind is K.expansion]
        opposite = {"id": work.ids.new("arr_movement"), "amount_minor": -wrong.amount_minor, "reverses_id": wrong.id}
        work.movements.add(wrong.changed(version=0, **opposite))
        change = work.act.change_id
    for desk in (vic, csm):
        now = await desk.done("get_retention", **YEAR)
        assert (now["restated"], now["nrr"]) == (True, 0.75)
        assert "Restated" in now.text
        then = await desk.done("get_retention", **YEAR, known_on=str(before))
        assert (then["restated"], then["nrr"], block(then)) == (True, 0.85, block(was))
        nothing = await desk.done("get_retention", **YEAR, known_on=str(before - timedelta(1)))
        assert block(nothing) == {}
    await csm.done("undo_changes", change=change)
    again = await vic.done("get_retention", **YEAR)
    assert (block(again), again["nrr"]) == (block(was), was["nrr"])


async def test_currencies_are_converted_at_dated_rates_that_are_named_or_refused(
    csm: Desk, vic: Desk, team: Team, store: Store
) -> None:
    euros = await csm.account("Euro", currency="EUR")
    await post(store, team, (euros, date(2024, 5, 1), K.new, 100), currency="EUR")
    alone = await vic.done("get_retention", **YEAR)
    assert (alone["currency"], block(alone)["starting_arr"]) == ("EUR", 100)  # one currency needs no rate

    dollars = await csm.account("Dollar")
    await post(store, team, (dollars, date(2024, 5, 1), K.new, 100))
    for question in ({}, {"currency": "JPY"}):
        said = await vic.refused("get_retention", **YEAR, **question)
        assert "There is no exchange rate from" in said
        assert "fx_rates.csv" in said
    assert "XXX" in await vic.refused("get_retention", currency="XXX")

    async with writing(store, team.workspace) as work:
        for on, rate in ((date(2024, 1, 1), "1.00"), (date(2025, 6, 1), "1.20")):
            made = {"from_currency": "EUR", "to_currency": "USD", "on": on, "rate": rate}
            work.exchange_rates.add(ExchangeRate(id=work.ids.new("exchange_rate"), **made))
    await post(store, team, (euros, date(2025, 7, 1), K.expansion, 50), currency="EUR")
    for desk in (vic, csm):
        constant = await desk.done("get_retention", **YEAR)
        assert block(constant) == {"starting_arr": 220, "expansion": 60, "ending_arr": 280}
        assert constant["rates_used"] == [{"currency": "EUR", "rate": "1.2", "on": "2025-06-01"}]
        own = await desk.done("get_retention", **YEAR, conventions={"fx": "transaction"})
        assert block(own) == {"starting_arr": 200, "expansion": 60, "ending_arr": 260}
        assert "transaction rates" in own.text
        back = await desk.done("get_retention", **YEAR, currency="EUR")
        assert Decimal(back["total"]["starting_arr"]) == Decimal("183.33")


async def test_all_accounts_behind_a_bar_are_listed_page_by_page(
    csm: Desk, vic: Desk, team: Team, store: Store
) -> None:
    made = [await csm.account(f"Gone {n}") for n in range(7)]
    for n, account in enumerate(made):
        await post(
            store, team, (account, date(2024, 1, 1), K.new, 10 + n), (account, date(2025, 3, 1), K.churn, -10 - n)
        )
    for desk in (vic, csm):
        found: list[tuple[str, str]] = []
        cursor: dict[str, Any] = {}
        while True:
            page = await desk.done("get_retention", **YEAR, bar="churn", limit=3, **cursor)
            assert page["total_items"] == 7
            found += [(item["name"], item["amount"]) for item in page["items"]]
            if page.data.get("next_cursor") is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert found == [(f"Gone {n}", f"-{10 + n}.00") for n in reversed(range(7))]
        assert "more accounts behind each bar" in (await desk.done("get_retention", **YEAR)).text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"period_end": "2099-01-01"}, "End it today or before"),
        ({"period_start": "2026-02-01", "period_end": "2026-01-01"}, "is after 2026-01-01"),
        ({"period_end": "2026-01-01", "as_of": "2026-02-01"}, "name two last days"),
        ({"known_on": "2099-01-01"}, "in the future"),
        ({"interval": "month", "period_start": "2020-01-01"}, "more than 36 months"),
        ({"slice_by": "colour"}, "slice_by"),
    ],
)
async def test_what_cannot_be_answered_is_refused_with_a_remedy(
    vic: Desk, arguments: dict[str, Any], said: str
) -> None:
    assert said in await vic.refused("get_retention", **arguments)


async def test_an_empty_book_has_no_rates(vic: Desk) -> None:
    told = await vic.done("get_retention")
    assert not {"nrr", "grr", "logo_churn_rate"} & told.data.keys()
    assert "NRR none, GRR none, logo churn none (0 of 0 accounts lost)" in told.text
    assert block(told) == {}
    assert told["notes"] == ["No account had ARR when 2025-04-01 began, so there are no rates. The ledger is empty."]


async def test_a_window_before_the_ledger_says_when_it_begins(book: dict[str, str], csm: Desk, vic: Desk) -> None:
    for desk in (csm, vic):
        told = await desk.done("get_retention", as_of="2019-12-31")
        [note] = told["notes"]
        assert note.endswith("so there are no rates. The first movement of the ledger is of 2024-03-01.")
        assert (await desk.done("get_retention", **YEAR))["notes"] == []


async def test_a_custom_field_that_nobody_has_is_not_a_slice_of_none(csm: Desk, vic: Desk) -> None:
    said = await csm.refused("get_retention", slice_by="custom:regoin")
    assert said.startswith("No account you see has custom fields.")
    await csm.account("Globex", custom={"region": "EMEA", "plan": "pro"})
    for desk in (csm, vic):
        said = await desk.refused("get_retention", slice_by="custom:regoin")
        assert "has a custom field 'regoin'. There are custom:region, custom:plan." in said
    assert (await vic.done("get_retention", slice_by="custom:region"))["slices"] == []


# -- any book, any window ---------------------------------------------------------------------------------------
def some_ledger(random: Random, account: str) -> list[tuple[str, date, MovementKind, int]]:
    """Movements that fit the balance they find."""
    days = sorted(random.sample(range(900), random.randint(0, 7)))
    posted: list[tuple[str, date, MovementKind, int]] = []
    balance, known = 0, False
    for day in days:
        target = random.choice([0, 0, 10, 25, 60, 100])
        if target == balance:
            continue
        if balance == 0:
            kind = K.reactivation if known else K.new
        elif target == 0:
            kind = K.churn
        else:
            kind = K.price_change if random.random() < 0.3 else (K.expansion if target > balance else K.contraction)
        posted.append((account, date(2023, 9, 1) + timedelta(days=day), kind, target - balance))
        balance, known = target, True
    return posted


@pytest.mark.parametrize("seed", [5, 6])
async def test_any_window_and_slice_is_what_the_rules_say_of_the_ledger(
    csm: Desk, vic: Desk, team: Team, store: Store, seed: int
) -> None:
    random = Random(seed)
    segments: dict[str, str] = {}
    for n in range(9):
        segment = random.choice(["smb", "mid_market", "enterprise"])
        segments[await csm.account(f"Account {n}", segment=segment)] = segment
    ledger = [movement for account in segments for movement in some_ledger(random, account)]
    await post(store, team, *ledger)

    def expected(start: date, end: date, how: Conventions, segment: str | None = None) -> Retention:
        mine = [m for m in ledger if segment in (None, segments[m[0]])]
        opening = {account: sum(m[3] for m in mine if m[0] == account and m[1] < start) for account in segments}
        return retention(opening, [Posting(*m) for m in mine if start <= m[1] <= end], how)

    def agrees(told: Any, wanted: Retention) -> None:
        for name in ("cohort", "total"):
            shown = {key: Decimal(told[name][key]) for key in BLOCK}
            assert shown == {key: getattr(getattr(wanted, name), key) for key in BLOCK}
        for rate in ("nrr", "grr", "logo_churn_rate"):
            exact = getattr(wanted, rate)
            assert told.get(rate) == (None if exact is None else round(float(exact), 4))
        assert (told["accounts_at_start"], told["accounts_lost"]) == (wanted.accounts_at_start, wanted.accounts_lost)

    full = [date(2024, 1, 1), date(2024, 2, 1), date(2024, 4, 1), date(2025, 1, 1), date(2025, 4, 1)]
    for _ in range(10):
        if random.random() < 0.5:
            start, after = sorted(random.sample(full, 2))
            end = after - timedelta(days=1)
        else:
            start, end = sorted(date(2023, 9, 1) + timedelta(days=random.randrange(900)) for _ in range(2))
        how: dict[str, Any] = random.choice([{}, {}, {"netting": "none"}, {"reactivation": "separate"}])
        question = {"period_start": str(start), "period_end": str(end), "conventions": how}
        for desk in (vic, csm):
            told = await desk.done("get_retention", **question, slice_by=random.choice([None, "segment"]))
            agrees(told.data, expected(start, end, Conventions(**how)))
            for part in told["slices"]:
                agrees(part, expected(start, end, Conventions(**how), part["slice"]))
            for bar in told["bars"]:
                wanted = expected(start, end, Conventions(**how)).by_bar[Bar(bar["bar"])]
                assert bar["accounts"] == len(wanted)
                assert {(p["id"], int(Decimal(p["amount"]))) for p in bar["largest"]} <= set(wanted)
    for _ in range(8):  # no whole year, quarter or month, but near one
        start = date(2024, 1, 1) + timedelta(days=random.randrange(300))
        end = start + timedelta(days=random.choice([364, 364, 365, 91, 29, 31]))
        told = await vic.done("get_retention", period_start=str(start), period_end=str(end))
        agrees(told.data, expected(start, end, Conventions()))


async def test_both_eras_answer_and_the_picture_comes_beside_the_text(
    book: dict[str, str], sit: Callable[[str], Awaitable[Desk]]
) -> None:
    desk = await sit("vic")
    result = await desk.client.call_tool("get_retention", YEAR | {"image": True})
    assert [part.type for part in result.content] == ["text", "image"]
