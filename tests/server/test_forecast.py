"""The forecast, through the client: its figures, what moved since a day, and how true it was."""

from __future__ import annotations

import base64
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from conftest import Team
from cs_mcp.db.health.scoring_tables import SNAPSHOTS as SCORES
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.contract import BYTES_PER_TOKEN
from cs_mcp.domain.revenue.subscriptions import Subscription
from cs_mcp.domain.revenue.targets import Goal, GoalSubject
from cs_mcp.services.renewals.cycles import open_due

from ._client import Answer, Desk, Desks, writing
from ._renewals import TODAY, Book, moves, sets

DAY = timedelta(days=1)
AUGUST = date(2026, 8, 1)


@pytest.fixture
def book(store: Store, team: Team) -> Book:
    return Book(store, team.workspace)


async def keeps(team: Team) -> int:
    """What the night does; how many renewals it kept."""
    operator = await team.services.identity.operator(team.workspace)
    return (await team.services.forecasts.keep_today(operator)).renewals


def passes(store: Store, days: int) -> date:
    assert isinstance(store.clock, FixedClock)
    store.clock.advance(timedelta(days=days))
    return store.clock.now().date()


async def judged(csm: Desk, book: Book, name: str, category: str | None, arr: int, ends: date, **account: Any) -> str:
    """An account with one renewal of that forecast category; the renewal's id."""
    await book.signs(await csm.account(name, **account), arr=arr, ends=ends)
    if category is not None:
        await sets(csm, name, forecast_category=category, reason=f"Judged {category}")
    return (await csm.done("list_renewals", account=name)).ids[0]


def figures(block: dict[str, Any]) -> tuple[str, int, str, str, str]:
    amounts = (block[name]["amount"] for name in ("forecast", "upside", "expected"))
    return (block["quarter"], block["renewals"], *amounts)


# -- the figures --------------------------------------------------------------------------------------------


async def test_categories_and_groups_add_up_to_the_quarter(csm: Desk, desks: Desks, team: Team, book: Book) -> None:
    may = date(2026, 5, 30)
    await judged(csm, book, "Globex", "commit", 12_000, may, segment="enterprise")
    await judged(csm, book, "Hooli", "best_case", 20_000, may)
    await judged(csm, book, "Initech", "at_risk", 8_000, may)
    await judged(csm, book, "Soylent", "omitted", 5_000, may)
    await judged(csm, book, "Stark", None, 30_000, AUGUST)
    await judged(csm, book, "Umbrella", "commit", 7_000, may)
    ada = await desks.of(team, "ada")
    await ada.done("override_health", account="Globex", band="red", expires_on="2026-04-30", reason="Silent")
    await moves(csm, "Umbrella", "closed_won", reason="Signed", amount={"amount": "9000", "currency": "USD"})

    told = await csm.done("get_forecast", group_by="segment")

    # Red 60 %, not scored 85 %, of what is still open: 7 200 + 17 000 + 6 800 + 4 250, beside 9 000 won.
    assert [figures(block) for block in told["quarters"]] == [
        ("Q2 FY2026", 5, "21000.00", "41000.00", "44250.00"),
        ("Q3 FY2026", 1, "0.00", "0.00", "25500.00"),
    ]
    second = told["quarters"][0]
    assert [(c["category"], c["renewals"], c["arr"], c["amount"], c["expected"]) for c in second["categories"]] == [
        ("won", 1, "7000.00", "9000.00", "9000.00"),
        ("commit", 1, "12000.00", "12000.00", "7200.00"),
        ("best_case", 1, "20000.00", "20000.00", "17000.00"),
        ("at_risk", 1, "8000.00", "8000.00", "6800.00"),
        ("omitted", 1, "5000.00", "5000.00", "4250.00"),
    ]
    assert [(g["group"], g["renewals"], g["forecast"], g["expected"]) for g in second["groups"]] == [
        ("smb", 4, "9000.00", "37050.00"),
        ("enterprise", 1, "12000.00", "7200.00"),
    ]
    assert {line["band"]: (line["won"], line["source"]) for line in told["odds"]} == {
        "green": (0.95, "assumed"), "yellow": (0.85, "assumed"), "red": (0.6, "assumed"), "unknown": (0.85, "assumed"),
    }  # fmt: skip
    assert "forecast = won + commit" in told["formula"]
    assert "fewer than 20 renewals of the band closed" in told.text


async def test_currencies_stand_apart_and_quarters_are_fiscal(ana: Desk, team: Team, book: Book) -> None:
    await judged(ana, book, "Globex", "commit", 12_000, date(2026, 5, 30))
    euro = await ana.account("Ibis", currency="EUR")
    async with writing(book.store, book.workspace) as work:
        [profile] = await work.workspaces.where()
        work.workspaces.save(profile.changed(fiscal_year_starts=2))
        bought = {"starts_on": TODAY, "ends_on": AUGUST, "arr_minor": 900_00, "currency": "EUR"}
        work.subscriptions.add(Subscription(id=work.ids.new("subscription"), account_id=euro, **bought))
        await work.flush()
        await open_due(work)

    told = await ana.done("get_forecast")

    assert [(block["quarter"], block["currency"], block["arr"]["amount"]) for block in told["quarters"]] == [
        ("Q2 FY2027", "USD", "12000.00"),
        ("Q3 FY2027", "EUR", "900.00"),
    ]
    [named] = (await ana.done("get_forecast", quarter="Q2 FY2027"))["quarters"]
    assert (named["starts_on"], named["ends_on"]) == ("2026-05-01", "2026-07-31")


async def test_each_sees_the_forecast_of_their_book(desks: Desks, team: Team, book: Book, store: Store) -> None:
    ana, ben, ada = [await desks.of(team, name) for name in ("ana", "ben", "ada")]
    await judged(ana, book, "Globex", "commit", 12_000, date(2026, 5, 30))
    await judged(ben, book, "Hooli", "commit", 5_000, date(2026, 5, 30))
    await keeps(team)
    day = passes(store, 1)
    await sets(ben, "Hooli", forecast_category="at_risk", reason="Silent")

    whole, of_ana = (
        await ada.done("get_forecast", compare_to=str(TODAY)),
        await ana.done("get_forecast", compare_to=str(TODAY)),
    )
    past = await ana.done("get_forecast", as_of=str(TODAY), quarter="next")
    for_ben = await ada.done("get_forecast", owner="Ben Okafor", compare_to=str(TODAY), quarter="next")

    assert [figures(block)[:3] for block in whole["quarters"]] == [("Q2 FY2026", 2, "12000.00")]
    assert [figures(block)[:3] for block in of_ana["quarters"]] == [("Q2 FY2026", 1, "12000.00")]
    assert (whole["scope"], of_ana["scope"]) == ("the whole workspace", "the books you see")
    assert [line["account"]["name"] for line in whole["compared"]["renewals"]] == ["Hooli"]
    assert of_ana["compared"]["renewals"] == []
    assert [figures(block)[:3] for block in past["quarters"]] == [("Q2 FY2026", 1, "12000.00")]
    assert [block["forecast_before"]["amount"] for block in for_ben["quarters"]] == ["5000.00"]
    assert all("closed" not in line for line in of_ana["odds"]), "how many closed elsewhere is not Ana's to know"
    assert day == TODAY + DAY


async def test_a_goal_stands_beside_what_was_won(csm: Desk, team: Team, book: Book) -> None:
    await judged(csm, book, "Globex", "commit", 12_000, date(2026, 5, 30))
    async with writing(book.store, book.workspace) as work:
        told: dict[str, Any] = {"quarter_start": date(2026, 4, 1), "metric": "renewed_arr", "currency": "USD"}
        mine = {"subject": GoalSubject.user, "user_id": team.members["ana"].id, "amount_minor": 16_000_00}
        for goal in (mine, {"subject": GoalSubject.team, "amount_minor": 90_000_00}):
            work.goals.add(Goal(id=work.ids.new("goal"), **told, **goal))
    await moves(csm, "Globex", "closed_won", reason="Signed")

    [block] = (await csm.done("get_forecast"))["quarters"]

    assert (block["goal"]["amount"], block["attained"]) == ("16000.00", 0.75)


# -- against an earlier day ---------------------------------------------------------------------------------


def sums(told: Answer) -> dict[str, tuple[int, str, str]]:
    return {
        line["shift"]: (line["renewals"], line["forecast_effect"]["amount"], line["expected_effect"]["amount"])
        for line in told["compared"]["sums"]
    }


async def test_what_moved_since_a_day_adds_up(csm: Desk, desks: Desks, team: Team, book: Book, store: Store) -> None:
    may, ids = date(2026, 5, 30), dict[str, str]()
    for name, category, arr in (
        ("Won", "best_case", 10_000), ("Lost", "commit", 4_000), ("Pushed", "commit", 6_000), ("Priced", "commit", 800),
        ("Judged", "at_risk", 3_000), ("Calm", "commit", 500), ("Sick", "best_case", 2_000),
    ):  # fmt: skip
        ids[name] = await judged(csm, book, name, category, arr, may)
    ids["Pulled"] = await judged(csm, book, "Pulled", "commit", 5_000, AUGUST)
    await keeps(team)
    monday = passes(store, 7)
    await moves(csm, "Won", "closed_won", reason="Signed", amount={"amount": "11000", "currency": "USD"})
    await moves(csm, "Lost", "closed_lost", loss_reason="price")
    await sets(csm, "Pushed", closes_on="2026-07-15")
    await sets(csm, "Pulled", closes_on="2026-06-30")
    await sets(csm, "Priced", amount={"amount": "1000", "currency": "USD"})
    await sets(csm, "Judged", forecast_category="commit", reason="They answered")
    await sets(csm, "Calm", decision_criteria=["Price"], closes_on="2026-05-20")
    ids["Added"] = await judged(csm, book, "Added", None, 1_000, may)
    ada = await desks.of(team, "ada")
    await ada.done("override_health", account="Sick", band="red", expires_on="2026-04-30", reason="Outage")

    told = await csm.done("get_forecast", compare_to="2026-03-17", quarter="next")

    assert told["compared"]["compared_to"] == str(TODAY), "the last forecast kept by then"
    assert sums(told) == {
        "won": (1, "11000.00", "2500.00"),
        "lost": (1, "-4000.00", "-3400.00"),
        "pushed": (1, "-6000.00", "-5100.00"),
        "pulled": (1, "5000.00", "4250.00"),
        "recategorised": (1, "3000.00", "0.00"),
        "repriced": (1, "200.00", "170.00"),
        "added": (1, "0.00", "850.00"),
    }
    [block] = told["quarters"]
    assert (block["forecast_before"]["amount"], block["forecast"]["amount"]) == ("11300.00", "20500.00")
    assert (block["expected_before"]["amount"], block["expected"]["amount"]) == ("22355.00", "21125.00")
    assert told["compared"]["health_effect"] == [{"amount": "-500.00", "currency": "USD"}]
    assert {line["shift"]: line["renewal"] for line in told["compared"]["renewals"]} == {
        name: ids[account]
        for name, account in {
            "won": "Won", "lost": "Lost", "pushed": "Pushed", "pulled": "Pulled", "recategorised": "Judged",
            "repriced": "Priced", "added": "Added",
        }.items()
    }  # fmt: skip
    pushed = next(line for line in told["compared"]["renewals"] if line["shift"] == "pushed")
    assert (pushed["was"], pushed["now"]) == ("commit, Q2 FY2026, 6000.00", "commit, Q3 FY2026, 6000.00")
    # Over both quarters nothing left: what was pushed and pulled changed no figure.
    both = await csm.done("get_forecast", compare_to=str(TODAY))
    assert [sums(both)[name][1] for name in ("pushed", "pulled")] == ["0.00", "0.00"]
    # Kept and read again, the same has happened between the two nights.
    await keeps(team)
    passes(store, 30)
    later = await csm.done("get_forecast", compare_to=str(TODAY), as_of=str(monday + DAY), quarter="next")
    assert (later["kept_on"], sums(later), later["quarters"]) == (str(monday), sums(told), told["quarters"])


async def test_a_merge_moves_a_renewal_and_its_past_with_it(csm: Desk, team: Team, book: Book, store: Store) -> None:
    renewal = await judged(csm, book, "Globex", "commit", 12_000, date(2026, 5, 30))
    await csm.account("Globex Corporation")
    await keeps(team)
    passes(store, 1)
    merge = {"kind": "account", "keep": "Globex Corporation", "merge": "Globex", "reason": "One company"}
    planned = await csm.done("merge_records", **merge)
    await csm.done("commit_plan", plan=planned["plan_id"])
    await sets(csm, renewal, forecast_category="best_case", reason="New owner")

    told = await csm.done("get_forecast", compare_to=str(TODAY), owner="me")

    [block], [line] = told["quarters"], told["compared"]["renewals"]
    assert (block["forecast_before"]["amount"], block["forecast"]["amount"]) == ("12000.00", "0.00")
    assert (line["shift"], line["account"]["name"]) == ("recategorised", "Globex Corporation")
    [past] = (await csm.done("get_forecast", as_of=str(TODAY)))["quarters"]
    assert past["forecast"]["amount"] == "12000.00"


async def test_days_that_cannot_be_told_say_what_to_do(csm: Desk, team: Team, book: Book, store: Store) -> None:
    await judged(csm, book, "Globex", "commit", 12_000, date(2026, 5, 30))
    yesterday, tomorrow = str(TODAY - DAY), str(TODAY + DAY)
    assert "No forecast was kept yet. cs-mcp forecast snapshot keeps one" in await csm.refused(
        "get_forecast", compare_to=yesterday
    )
    await keeps(team)
    assert f"the first is of {TODAY}" in await csm.refused("get_forecast", as_of=yesterday)
    assert "is in the future" in await csm.refused("get_forecast", as_of=tomorrow)
    assert f"compare_to {tomorrow} is not before {TODAY}" in await csm.refused("get_forecast", compare_to=tomorrow)
    assert "names no quarter" in await csm.refused("get_forecast", quarter="summer")
    passes(store, 5)
    two = {"as_of": str(TODAY + 2 * DAY), "compare_to": tomorrow}
    assert f"kept on {TODAY} stands for both" in await csm.refused("get_forecast", **two)


async def test_a_long_answer_names_what_it_left_out(csm: Desk, team: Team, book: Book, store: Store) -> None:
    await csm.account("Before")
    await keeps(team)
    await judged(csm, book, "Kept", None, 100, AUGUST)
    await keeps(team)
    passes(store, 1)
    for n in range(30):
        await book.signs(await csm.account(f"Vandelay Imports {n}"), arr=1_000 + n, ends=AUGUST + n * DAY)

    told = await csm.done("get_forecast", compare_to=str(TODAY), limit=30, budget_tokens=1_500, group_by="band")

    assert len(told.text.encode()) <= 1_500 * BYTES_PER_TOKEN
    shown = len(told["compared"]["renewals"])
    assert 0 < shown < 30
    assert told["compared"]["sums"][0]["renewals"] == 30
    assert {"what": f"{30 - shown} renewals that moved", "call": "get_forecast with one quarter"} in told["left_out"]


# -- how true it was ----------------------------------------------------------------------------------------


async def test_accuracy_of_the_total_and_of_each_renewal_ninety_days_out(
    csm: Desk, team: Team, book: Book, store: Store
) -> None:
    closes = TODAY + timedelta(days=92)  # 2026-06-16
    for name, category, arr in (("Exact", "commit", 10_000), ("Near", "commit", 20_000), ("Gone", "best_case", 5_000),
                                ("Foreseen", "omitted", 4_000), ("Slipped", "commit", 1_000)):  # fmt: skip
        await judged(csm, book, name, category, arr, closes)
    await keeps(team)  # 92 days before: not the look that counts
    await sets(csm, "Exact", amount={"amount": "99999", "currency": "USD"})
    await sets(csm, "Exact", amount={"amount": "10000", "currency": "USD"})
    passes(store, 4)  # the night of the 90th day was missed; the next one stands for it
    await keeps(team)
    passes(store, 60)
    await moves(csm, "Exact", "closed_won", reason="Signed")
    await moves(csm, "Near", "closed_won", reason="Signed", amount={"amount": "20900", "currency": "USD"})
    await moves(csm, "Gone", "closed_lost", loss_reason="price")
    await moves(csm, "Foreseen", "closed_lost", loss_reason="product")

    so_far = await csm.done("get_forecast", quarter="current")
    assert [(a["quarter"], a["renewals"], a["still_open"], a["share_close"]) for a in so_far["accuracy"]] == [
        ("Q2 FY2026", 4, 1, 0.75)
    ]
    passes(store, 60)  # into the next quarter
    told = await csm.done("get_forecast", quarter="Q2 FY2026")

    [accuracy] = told["accuracy"]
    assert (accuracy["renewals"], accuracy.get("still_open", 0), accuracy["share_close"], accuracy["goal"]) == (
        5, 0, 0.6, 0.8,
    )  # fmt: skip
    [total] = accuracy["totals"]
    assert [total[name]["amount"] for name in ("forecast", "expected", "won")] == ["31000.00", "34000.00", "30900.00"]
    assert (total["accuracy"], total["expected_accuracy"]) == (0.9968, 0.8997)


async def test_odds_are_learned_from_the_stores_own_closes(desks: Desks, team: Team, book: Book, store: Store) -> None:
    ada = await desks.of(team, "ada")
    scored = {"run_id": "run_1", "rubric": "1.0", "score_tenths": 300, "computed_band": "red", "confidence": 900}
    for n in range(20):
        ends = TODAY + timedelta(days=n)
        account = await ada.account(f"Closed {n}")
        await book.signs(account, arr=1_000, ends=ends)
        async with writing(store, team.workspace) as work:
            for on, band in ((TODAY - timedelta(days=91), "red"), (TODAY - timedelta(days=20), "green")):
                row = {"workspace": team.workspace, "account_id": account, "on": on, "band": band}
                await work.session.execute(insert(SCORES).values(scored | row))
        move = {"reason": "Signed"} if n < 7 else {"loss_reason": "price"}
        await moves(ada, account, "closed_won" if n < 7 else "closed_lost", **move)
    passes(store, 20)

    told = await ada.done("get_forecast")

    found = {line["band"]: (line["won"], line["source"], line["closed"]) for line in told["odds"]}
    assert found["red"] == (0.35, "own history", 20), "the band of 90 days before, not the one at the close"
    assert found["green"] == (0.95, "assumed", 0)


async def test_the_pipeline_is_drawn_when_asked(csm: Desk, book: Book) -> None:
    await judged(csm, book, "Globex", "commit", 12_000, date(2026, 5, 30))
    await moves(csm, "Globex", "discovery")
    await judged(csm, book, "Hooli", None, 30_000, AUGUST)

    raw = await csm.client.call_tool("get_forecast", {"image": True})

    text, picture = raw.content
    assert "Q2 FY2026" in text.text  # type: ignore[union-attr]
    drawn = base64.b64decode(picture.data)  # type: ignore[union-attr]
    assert (drawn[:8], picture.mime_type) == (b"\x89PNG\r\n\x1a\n", "image/png")  # type: ignore[union-attr]
