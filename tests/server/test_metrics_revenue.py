"""Churn, lifetime value, concentration, renewals, books, goals and the return of CS, with figures made by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

import pytest
from sqlalchemy import insert

from conftest import NOW, Team
from cs_mcp.db.health.scoring_tables import SNAPSHOTS
from cs_mcp.db.store import Store
from cs_mcp.domain.renewals.renewals import CYCLE, Concession, ConcessionKind, Renewal, RenewalStage
from cs_mcp.domain.revenue.currency_rates import ExchangeRate
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind, Subscription
from cs_mcp.domain.revenue.targets import CsCost, Goal, GoalSubject, Target

from ._client import Answer, Desk, writing

Moves = list[tuple[str, str, int]]  # day, kind, major units


async def post(store: Store, team: Team, of: dict[str, Moves]) -> None:
    async with writing(store, team.workspace) as work:
        for account, moves in of.items():
            for on, kind, amount in moves:
                made: dict[str, Any] = {"on": date.fromisoformat(on), "kind": MovementKind(kind), "currency": "USD"}
                made |= {"amount_minor": amount * 100}
                work.movements.add(ArrMovement(id=work.ids.new("arr_movement"), account_id=account, **made))


@pytest.fixture
async def book(csm: Desk, team: Team, store: Store) -> dict[str, str]:
    """Of the year to today: one grew, one left, one shrank, one is new."""
    made = {
        "grew": await csm.account("Grew", segment="enterprise"),
        "left": await csm.account("Left"),
        "shrank": await csm.account("Shrank"),
        "new": await csm.account("New"),
    }
    moves: dict[str, Moves] = {
        "grew": [("2025-01-01", "new", 100_000), ("2025-09-01", "expansion", 20_000)],
        "left": [("2025-01-01", "new", 50_000), ("2025-11-01", "churn", -50_000)],
        "shrank": [("2025-02-01", "new", 30_000), ("2026-01-10", "contraction", -10_000)],
        "new": [("2025-12-01", "new", 40_000)],
    }
    await post(store, team, {made[name]: posted for name, posted in moves.items()})
    return made


async def aim(store: Store, team: Team, metric: str, value: float, **more: Any) -> str:
    async with writing(store, team.workspace) as work:
        made = {"metric": metric, "value": value, "from_on": date(2026, 1, 1)} | more
        work.targets.add(target := Target(id=work.ids.new("target"), **made))
    return target.id


def table(answer: Answer, name: str) -> dict[str, dict[str, Any]]:
    [found] = [one for one in answer["tables"] if one["name"] == name]
    assert found["formula"]
    return {row.get("slice") or row.get("label") or row["account"]["id"]: row for row in found["rows"]}


def worth(row: dict[str, Any], key: str = "amount") -> str:
    return row[key]["amount"]


async def test_churn_is_read_off_the_waterfall(csm: Desk, book: dict[str, str], team: Team, store: Store) -> None:
    target = await aim(store, team, "logo_churn_rate", 0.1, owner_id=team.members["lea"].id)

    answer = await csm.done("get_metrics", metric="churn")

    assert (answer["period_start"], answer["scope"]) == ("2025-04-01", "the books you see")
    assert "netting: window" in answer["conventions"]
    found = table(answer, "churn")
    assert {name: row["value"] for name, row in found.items()} == {
        "logo_churn_rate": 0.3333,
        "revenue_churn": 0.3333,
        "net_churn": 0.2222,
        "expansion_rate": 0.1111,
        "quick_ratio": 1.0,
    }
    logos = found["logo_churn_rate"]
    assert (logos["hits"], logos["of"]) == (1, 3)
    assert (logos["target"]["id"], logos["target"]["met"], logos["target"]["owner"]) == (target, False, "Lea Brandt")
    assert (worth(found["revenue_churn"]), worth(found["revenue_churn"], "of_amount")) == ("60000.00", "180000.00")
    assert all(row["formula"] for row in found.values())
    assert "target 0.1, missed, owner Lea Brandt" in answer.text

    halves = table(await csm.done("get_metrics", metric="churn", slice_by="segment"), "by_segment")
    assert halves["enterprise"]["metrics"]["expansion_rate"] == 0.2
    assert (halves["smb"]["accounts"], halves["smb"]["metrics"]["revenue_churn"]) == (2, 0.75)


async def test_three_worsening_quarters_alert_the_metrics_owner(csm: Desk, team: Team, store: Store) -> None:
    account = await csm.account("Withers")
    falls = [("2025-02-01", 10), ("2025-05-01", 30), ("2025-08-01", 60), ("2025-11-01", 200)]
    moves: Moves = [("2024-06-01", "new", 1000), *((on, "contraction", -by) for on, by in falls)]
    await post(store, team, {account: moves})
    await aim(store, team, "nrr", 1.0, owner_id=team.members["lea"].id)

    alerts = (await csm.done("get_metrics", metric="churn"))["alerts"]

    lea = team.members["lea"].id
    course = "0.99 (2025-01-01) → 0.9697 (2025-04-01) → 0.9375 (2025-07-01) → 0.7778 (2025-10-01)"
    assert alerts[0] == f"nrr got worse 3 quarters in a row: {course}; its owner is Lea Brandt ({lea})."
    assert [alert.split()[0] for alert in alerts] == ["nrr", "grr"]
    assert alerts[1].endswith("it has no owner.")
    assert (await csm.done("get_metrics", metric="churn", as_of="2025-09-29"))["alerts"] == []


async def test_each_form_of_lifetime_value_is_named(csm: Desk, book: dict[str, str]) -> None:
    answer = await csm.done("get_metrics", metric="clv", period_start="2025-03-17")

    found = table(answer, "clv")
    assert (found["churn_a_year"]["value"], found["lifespan_years"]["value"]) == (0.3333, 3.0)
    assert {name: worth(row) for name, row in found.items() if row.get("amount")} == {
        "arpa": "60000.00",
        "clv_margin_over_churn": "144000.00",
        "clv_discounted": "73846.15",  # 60,000 × 0.8 × 2/3 ÷ (1.1 − 2/3)
        "clv_over_lifespan": "180000.00",
    }
    assert "Gross margin 0.8, discount rate 0.1 a year" in answer.text

    calm = await csm.done("get_metrics", metric="clv", as_of="2025-10-31", period_start="2025-03-01")
    bounded = table(calm, "clv")
    assert bounded["clv_margin_over_churn"].get("amount") is None
    assert worth(bounded["clv_discounted"]) == "480000.00"  # 60,000 × 0.8 ÷ 0.1
    assert any("no bound" in note for note in calm["notes"])


async def test_concentration_names_the_largest(csm: Desk, book: dict[str, str]) -> None:
    answer = await csm.done("get_metrics", metric="concentration")

    shares = table(answer, "concentration")
    assert (shares["top_1"]["value"], worth(shares["top_1"])) == (0.6667, "120000.00")
    assert "top_5" not in shares
    assert list(table(answer, "largest")) == [book["grew"], book["new"], book["shrank"]]


async def test_concentration_is_of_all_currencies_together_where_rates_are_known(
    csm: Desk, book: dict[str, str], team: Team, store: Store
) -> None:
    tokyo = await csm.account("Tokyo", currency="JPY")
    async with writing(store, team.workspace) as work:
        given: dict[str, Any] = {"on": date(2024, 1, 1), "kind": MovementKind.new, "currency": "JPY"}
        work.movements.add(
            ArrMovement(id=work.ids.new("arr_movement"), account_id=tokyo, amount_minor=15_000_000, **given)
        )

    apart = await csm.done("get_metrics", metric="concentration")
    assert [row["of_amount"]["currency"] for row in apart["tables"][0]["rows"]] == ["JPY", "USD"]
    assert "There is no exchange rate from JPY to USD on 2026-03-16" in apart["notes"][0]

    async with writing(store, team.workspace) as work:
        rate = {"from_currency": "JPY", "to_currency": "USD", "on": date(2026, 1, 5), "rate": "0.006"}
        work.exchange_rates.add(ExchangeRate(id=work.ids.new("exchange_rate"), **rate))
    whole = await csm.done("get_metrics", metric="concentration")

    [top] = whole["tables"][0]["rows"]  # 15,000,000 JPY are 90,000 USD, of 180,000 USD beside them
    assert (top["value"], top["amount"], top["of_amount"]["amount"]) == (
        0.4444, {"amount": "120000.00", "currency": "USD"}, "270000.00",
    )  # fmt: skip
    assert [row["account"]["id"] for row in whole["tables"][1]["rows"]] == [
        book["grew"], tokyo, book["new"], book["shrank"],
    ]  # fmt: skip
    assert whole["notes"] == ["Converted to USD at the rates in force on 2026-03-16: JPY of 2026-01-05."]


async def renews(store: Store, team: Team, account: str, arr: int, ends: str, **fields: Any) -> None:
    """A contract worth `arr` whose term ends on a day, and its renewal."""
    async with writing(store, team.workspace) as work:
        last = date.fromisoformat(ends)
        bought = {"starts_on": date(2024, 1, 1), "ends_on": last, "arr_minor": arr * 100, "currency": "USD"}
        subscription = Subscription(id=work.ids.new("subscription"), account_id=account, **bought)
        work.subscriptions.add(subscription)
        named = {"source_system": CYCLE, "source_id": f"{subscription.id}:{last}", "closes_on": last}
        told: dict[str, Any] = {
            "amount_minor": arr * 100,
            "currency": "USD",
            "subscription_id": subscription.id,
        } | named
        work.renewals.add(Renewal(id=work.ids.new("renewal"), account_id=account, **told | fields))


@pytest.fixture
async def renewals(book: dict[str, str], team: Team, store: Store) -> dict[str, str]:
    given = [Concession(kind=ConcessionKind.discount, value="5 %", given_for="two years")]
    won, lost = RenewalStage.closed_won, RenewalStage.closed_lost

    def on(day: str, stage: RenewalStage = won, **more: Any) -> dict[str, Any]:
        return {"stage": stage, "closed_on": date.fromisoformat(day)} | more

    await renews(
        store, team, book["grew"], 100, "2025-12-31", **on("2025-12-31", amount_minor=120_00, concessions=given)
    )
    await renews(store, team, book["grew"], 50, "2026-01-31", **on("2026-02-02", amount_minor=40_00))
    await renews(store, team, book["left"], 30, "2025-10-31", **on("2025-10-30", lost))
    await renews(store, team, book["shrank"], 20, "2026-03-01")
    await renews(store, team, book["new"], 60, "2026-02-01", closes_on=date(2026, 5, 1))
    await renews(store, team, book["new"], 999, "2026-03-17", **on("2026-03-10"))
    return book


async def test_renewal_rates_are_of_contracts_due(
    csm: Desk, renewals: dict[str, str], team: Team, store: Store
) -> None:
    await aim(store, team, "renewal_rate", 0.9)
    version = (await csm.done("get_account", account=renewals["grew"], sections=[]))["version"]
    await csm.done("update_account", account=renewals["grew"], expected_version=version, segment="mid_market")

    answer = await csm.done("get_metrics", metric="renewals", slice_by="segment")

    found = table(answer, "renewals")
    assert {name: row["value"] for name, row in found.items()} == {
        "renewal_rate": 0.4,
        "on_time_rate": 0.2,
        "renewal_rate_arr": 0.5385,
        "concession_rate": 0.5,
    }
    assert (found["renewal_rate"]["hits"], found["renewal_rate"]["of"]) == (2, 5)
    assert (worth(found["renewal_rate_arr"]), worth(found["renewal_rate_arr"], "of_amount")) == ("140.00", "260.00")
    assert found["renewal_rate"]["target"]["met"] is False
    [divided] = [one["rows"] for one in answer["tables"] if one["name"] == "by_segment"]
    counted = [(row["slice"], row["hits"], row["of"]) for row in divided if row["label"] == "renewal_rate"]
    assert counted == [("smb", 0, 3), ("enterprise", 2, 2)]  # as the segments were when the year began
    early = table(await csm.done("get_metrics", metric="renewals", as_of="2026-02-01"), "renewals")
    assert (early["renewal_rate"]["hits"], early["renewal_rate"]["of"]) == (1, 4)


async def test_books_with_their_load_and_retention(csm: Desk, book: dict[str, str], team: Team, store: Store) -> None:
    await csm.done("create_tasks", account=book["grew"], tasks=[{"title": "Call", "due_on": "2026-03-13"}])
    await csm.done("log_meeting", account=book["new"], kind="check_in", summary="We met.")

    answer = await csm.done("get_metrics", metric="books")

    [mine] = table(answer, "books").values()
    assert mine["slice"] == f"Ana Ruiz ({team.members['ana'].id})"
    assert (mine["accounts"], mine["arr"], worth(mine)) == (4, [{"amount": "180000.00", "currency": "USD"}], "20000.00")
    assert mine["metrics"] == {
        "nrr": 0.7778,
        "grr": 0.6667,
        "load": 0.0393,  # 1 of 30 enterprise, 3 of 500 pooled
        "overdue_tasks": 1.0,
        "touches_30_days": 1.0,
    }
    assert mine["flag"] == "below its range: 1 enterprise, 3 smb"

    kyoto = await csm.account("Kyoto", currency="JPY")
    async with writing(store, team.workspace) as work:
        paid: dict[str, Any] = {"on": date(2024, 1, 1), "kind": MovementKind.new, "currency": "JPY"}
        work.movements.add(ArrMovement(id=work.ids.new("arr_movement"), account_id=kyoto, amount_minor=900, **paid))
    answer = await csm.done("get_metrics", metric="books")
    [untold] = table(answer, "books").values()
    assert (untold["accounts"], untold["metrics"].keys()) == (5, {"load", "overdue_tasks", "touches_30_days"})
    assert answer["notes"][0].startswith(
        "NRR, GRR and expansion are not told: There is no exchange rate from JPY to USD"
    )


async def test_goals_show_attainment_to_whoever_may_see_it(
    csm: Desk, sit: Callable[[str], Awaitable[Desk]], book: dict[str, str], team: Team, store: Store
) -> None:
    ana, lea = team.members["ana"].id, team.members["lea"].id
    async with writing(store, team.workspace) as work:
        quarter = {"quarter_start": date(2026, 1, 1)}
        for told in (
            {"user_id": ana, "metric": "grr", "value": 0.95},
            {"user_id": ana, "metric": "logo_churn_rate", "value": 0.02},
            {"user_id": lea, "subject": GoalSubject.team, "metric": "expansion_arr", "amount_minor": 10_000_00,
             "currency": "USD"},
            {"user_id": None, "metric": "smiles", "value": 3.0},
        ):  # fmt: skip
            work.goals.add(Goal(id=work.ids.new("goal"), **quarter, **told))
    # Since January: 120,000, 30,000 and 40,000 there; 10,000 went.
    found = table(await csm.done("get_metrics", metric="goals"), "goals")
    assert list(found) == [f"Ana Ruiz ({ana})"]
    rows = (await csm.done("get_metrics", metric="goals"))["tables"][0]["rows"]
    assert [(row["label"], row["value"], row["metrics"]) for row in rows] == [
        ("grr", 0.9474, {"goal": 0.95, "attainment": 0.9972}),
        ("logo_churn_rate", 0.0, {"goal": 0.02}),
    ]
    assert not (await (await sit("ben")).done("get_metrics", metric="goals"))["tables"][0]["rows"]

    leads = (await (await sit("lea")).done("get_metrics", metric="goals"))["tables"][0]["rows"]
    assert leads[0]["label"] == "expansion_arr"
    assert (leads[0]["slice"], worth(leads[0]), leads[0]["metrics"]) == (
        f"team of Lea Brandt ({lea})",
        "0.00",
        {"goal": 1000000.0, "attainment": 0.0},
    )
    whole = (await (await sit("vic")).done("get_metrics", metric="goals"))["tables"][0]["rows"]
    assert [row["flag"] for row in whole if row["slice"] == "everyone"] == ["no figure for this metric"]


async def test_the_return_of_cs_against_the_costs_one_may_see(
    csm: Desk, sit: Callable[[str], Awaitable[Desk]], renewals: dict[str, str], team: Team, store: Store
) -> None:
    async with writing(store, team.workspace) as work:
        told = {"kind": "salary", "currency": "USD"}
        for month, user, amount in (
            (date(2025, 4, 1), "ana", 10_000_00),
            (date(2026, 1, 1), None, 6_000_00),
            (date(2025, 1, 1), "ana", 99_000_00),  # before the period
        ):
            user_id = team.members[user].id if user else None
            work.costs.add(
                CsCost(id=work.ids.new("cs_cost"), month=month, user_id=user_id, amount_minor=amount, **told)
            )
        red: dict[str, Any] = {"band": "red", "computed_band": "red", "confidence": 900, "run_id": "run_1"}
        red |= {"workspace": team.workspace, "account_id": renewals["grew"], "rubric": "1.0", "score_tenths": 300}
        await work.session.execute(insert(SNAPSHOTS).values(red | {"on": date(2025, 10, 20)}))

    mine = table(await csm.done("get_metrics", metric="cs_return"), "cs_return")
    whole_answer = await (await sit("vic")).done("get_metrics", metric="cs_return")
    whole = table(whole_answer, "cs_return")

    assert (worth(mine["cost"]), worth(whole["cost"])) == ("10000.00", "16000.00")
    assert (worth(whole["expansion_arr"]), whole["cs_return"]["value"]) == ("20000.00", 1.25)
    untold = table(await csm.done("get_metrics", metric="cs_return", period_start="2026-03-01"), "cs_return")
    assert not any({"amount", "value"} & untold[name].keys() for name in ("cost", "cost_to_serve", "cs_return"))
    assert (worth(whole["arr_per_csm"]), worth(whole["cost_to_serve"])) == ("180000.00", "4000.00")
    # Nothing was scored long enough ago to tell what becomes of red accounts.
    assert whole["saved_arr"].get("amount") is None
    assert any("nothing is counted as saved" in note for note in whole_answer["notes"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"metric": "clv", "slice_by": "segment"}, "not divided by segment"),
        ({"metric": "books", "as_of": "2026-03-01"}, "known for today alone"),
        ({"metric": "goals", "period_start": "2026-01-01"}, "has no period"),
        ({"metric": "churn", "period_start": "2026-03-16"}, "is not before"),
    ],
)
async def test_a_question_without_an_answer_is_refused(csm: Desk, asked: dict[str, Any], said: str) -> None:
    assert said in await csm.refused("get_metrics", **asked)


async def test_figures_are_of_the_callers_book(
    csm: Desk, sit: Callable[[str], Awaitable[Desk]], renewals: dict[str, str], store: Store
) -> None:
    ben, vic = await sit("ben"), await sit("vic")
    assert table(await ben.done("get_metrics", metric="churn"), "churn")["quick_ratio"].get("value") is None
    assert table(await ben.done("get_metrics", metric="renewals"), "renewals")["renewal_rate"]["of"] == 0
    assert (await ben.done("get_metrics", metric="books"))["tables"][0]["rows"] == []
    assert (await ben.done("get_metrics", metric="concentration"))["tables"][1]["rows"] == []
    for metric in ("churn", "clv", "renewals"):
        everyone = await vic.done("get_metrics", metric=metric)
        assert everyone["tables"] == (await csm.done("get_metrics", metric=metric))["tables"]
        assert everyone["tables"] == (await vic.done("get_metrics", metric=metric, owner="ana@acme.example"))["tables"]
    assert str(NOW.date()) == everyone["as_of"]
