"""Expansion: an opportunity from its evidence to the ledger, and where the next one may be."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from conftest import Team
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import FixedClock

from ._client import Answer, Desk, Desks
from ._renewals import ENDS, TODAY, Book

USD: dict[str, str] = {"amount": "3000.00", "currency": "USD"}
SEATS: dict[str, Any] = {"name": "Twenty more seats", "kind": "seat", "trigger": "near_limit"}


@pytest.fixture
async def book(team: Team, store: Store) -> Book:
    return Book(store, team.workspace)


@pytest.fixture
async def globex(csm: Desk) -> str:
    return await csm.account("Globex")


async def opened(desk: Desk, account: str, **more: Any) -> dict[str, Any]:
    return (await desk.done("save_opportunity", account=account, **(SEATS | more)))["record"]


async def saved(desk: Desk, known: dict[str, Any], **more: Any) -> Answer:
    return await desk.done("save_opportunity", opportunity=known["id"], expected_version=known["version"], **more)


async def won(desk: Desk, account: str, **more: Any) -> Answer:
    given = {"amount": USD, "stage": "won", "reason": "Signed in our call"} | SEATS | more
    return await desk.done("save_opportunity", account=account, **given)


async def arr_of(desk: Desk, account: str) -> str:
    return (await desk.done("get_account", account=account, sections=[]))["arr"]["amount"]


async def test_an_opportunity_goes_from_evidence_to_the_ledger(csm: Desk, book: Book, globex: str) -> None:
    await book.signs(globex, seats=40, seat_limit=50)
    found = await opened(csm, globex, evidence=[{"what": "38 of 40 seats in use"}])
    assert (found["stage"], found["owner"]["name"], found["opened_on"]) == ("identified", "Ana Ruiz", "2026-03-16")

    step = await saved(csm, found, stage="qualified", hypothesis="Osaka joins in spring")
    assert "it needs amount, success_criteria" in step["next"]
    step = await saved(
        csm, step["record"], stage="proposed", amount=USD, success_criteria="Ten people weekly", seats=20,
        pilot_from="2026-03-01", pilot_to="2026-03-31", early_answer="yes",
    )  # fmt: skip
    step = await saved(csm, step["record"], stage="negotiation", expected_on="2026-04-10")
    done = await saved(csm, step["record"], stage="won", closed_on="2026-03-15")

    assert await book.ledger(globex) == [
        (str(TODAY - timedelta(days=290)), "new", 12_000, None),
        ("2026-03-15", "expansion", 3_000, None),
    ]
    assert done["record"]["movement_id"] in {change["id"] for change in done["changed"]}
    account = await csm.done("get_account", account=globex)
    assert account["arr"]["amount"] == "15000.00"
    [contract] = account["contract"]
    assert (contract["arr"]["amount"], contract["seats"], contract["seat_limit"]) == ("15000.00", 60, 60)
    [renewal] = (await csm.done("list_renewals", account=globex, fields=["amount"]))["items"]
    assert renewal["amount"] == "15000.00"
    story = (await csm.done("get_timeline", account=globex, kinds=["opportunity"]))["items"]
    assert [event["what"] for event in story][-1] == "seat opportunity after near_limit: Twenty more seats"
    assert [event["fields"][0]["after"] for event in story[:-1]] == ["won", "negotiation", "proposed", "qualified"]


async def test_undo_takes_a_win_back_whole(csm: Desk, book: Book, globex: str) -> None:
    await book.signs(globex, seats=40)
    before = await csm.done("get_account", account=globex)
    found = await opened(csm, globex, hypothesis="Osaka joins", amount=USD)
    done = await saved(csm, found, stage="won", reason="Signed in our call")

    await csm.done("undo_changes", change=done["change_id"], reason="Not signed yet")

    after = await csm.done("get_account", account=globex)
    assert after["arr"] == before["arr"]
    assert [line["arr"] for line in after["contract"]] == [line["arr"] for line in before["contract"]]
    assert [line["amount"] for line in after["renewal"]] == [line["amount"] for line in before["renewal"]]
    [back] = (await csm.done("list_opportunities", account=globex))["items"]
    assert (back["stage"], back.get("movement_id")) == ("identified", None)


async def test_another_product_starts_a_contract_that_ends_with_the_one_they_have(
    csm: Desk, book: Book, globex: str
) -> None:
    platform = await book.signs(globex, product="Platform", auto_renew=True)
    assert "does not say which" in await csm.refused(
        "save_opportunity", account=globex, name="Cross", kind="cross_sell", amount=USD, stage="won", reason="Signed"
    )

    done = await won(csm, globex, kind="cross_sell", product="Forecasting")

    assert f"runs to {ENDS}, with {platform}" in done.text
    contract = {one["product"]: one for one in (await csm.done("get_account", account=globex))["contract"]}
    assert (contract["Forecasting"]["arr"]["amount"], contract["Forecasting"]["ends_on"]) == ("3000.00", str(ENDS))
    assert contract["Platform"]["arr"]["amount"] == "12000.00"
    closes = {row["closes_on"] for row in (await csm.done("list_renewals", account=globex))["items"]}
    assert closes == {str(ENDS)}


async def test_an_end_that_an_import_booked_ahead_takes_the_expansion_with_it(
    csm: Desk, book: Book, globex: str
) -> None:
    await book.signs(globex)
    await book.books_end(globex, ENDS)

    await won(csm, globex)

    day_after = ENDS + timedelta(days=1)
    falls = [(kind, amount) for on, kind, amount, _ in await book.ledger(globex) if on == str(day_after)]
    assert sum(amount for _, amount in falls) == -15_000
    assert {kind for kind, _ in falls} == {"churn"}
    assert await arr_of(csm, globex) == "15000.00"


async def test_the_first_arr_of_an_account_is_no_expansion(csm: Desk, book: Book, globex: str) -> None:
    done = await won(csm, globex, kind="cross_sell", product="Platform")
    assert [(kind, amount) for _, kind, amount, _ in await book.ledger(globex)] == [("new", 3_000)]
    assert "Posted new of" in done.text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"stage": "qualified"}, "Missing: hypothesis"),
        ({"stage": "won", "reason": "Signed"}, "Missing: amount"),
        ({"stage": "lost"}, "Missing: lost_reason"),
        ({"stage": "negotiation", "amount": USD, "expected_on": "2026-05-01"}, "skips qualified, proposed"),
        ({"amount": {"amount": "3000", "currency": "EUR"}}, "is in USD, the amount given in EUR"),
        ({"amount": {"amount": "-3000", "currency": "USD"}}, "adds nothing"),
        ({"amount": {"amount": "3000", "currency": "XYZ"}}, "'XYZ' is not an active ISO 4217 currency"),
        ({"stage": "won", "amount": USD, "reason": "x", "closed_on": "2026-03-17"}, "in the future"),
        ({"pilot_from": "2026-04-01", "pilot_to": "2026-03-31"}, "before it starts"),
        ({"lost_reason": "Price"}, "go with stage won or lost"),
        ({"subscription": "sub_1"}, "no subscription of Globex"),
        ({"evidence": [{"what": "Seen", "record": "tkt_1"}]}, "no record of Globex"),
        ({"trigger": None, "stage": "qualified", "hypothesis": "They grow"}, "Missing: evidence or trigger"),
    ],
)
async def test_what_is_refused_writes_nothing(
    csm: Desk, book: Book, globex: str, given: dict[str, Any], said: str
) -> None:
    await book.signs(globex)
    head, ledger = await csm.head(), await book.ledger(globex)
    told = {name: value for name, value in ({"account": globex} | SEATS | given).items() if value is not None}
    assert said in await csm.refused("save_opportunity", **told)
    assert (await csm.head(), await book.ledger(globex)) == (head, ledger)


async def test_a_closed_one_stays_closed_and_a_stale_version_is_told_why(csm: Desk, globex: str) -> None:
    found = await opened(csm, globex)
    await saved(csm, found, department="Osaka")
    stale = await csm.refused("save_opportunity", opportunity=found["id"], expected_version=1, department="Kyoto")
    assert "Ana Ruiz changed department" in stale

    lost = (await saved(csm, found | {"version": 2}, stage="lost", lost_reason="No budget this year"))["record"]
    assert lost["closed_on"] == "2026-03-16"
    said = await csm.refused(
        "save_opportunity", opportunity=found["id"], expected_version=lost["version"], stage="qualified"
    )
    assert "is lost since 2026-03-16" in said
    assert "undo_changes" in said


async def test_a_second_open_one_of_a_kind_is_a_duplicate(csm: Desk, globex: str) -> None:
    first = await opened(csm, globex, department="Sales")
    said = await csm.refused("save_opportunity", account=globex, **SEATS, department="SALES ")
    assert first["id"] in said
    assert "allow_duplicate" in said
    await opened(csm, globex, department="Support")
    await opened(csm, globex, department="Sales", allow_duplicate=True, reason="A second team there")


async def test_it_warns_who_asks_before_value_is_proven(csm: Desk, globex: str) -> None:
    found = await csm.done("save_opportunity", account=globex, **SEATS)
    assert any("first value is not reached" in line and "no quantified ROI" in line for line in found["triggered"])

    version = (await csm.done("get_account", account=globex, sections=[]))["version"]
    await csm.done("update_account", account=globex, expected_version=version, onboarding_status="complete")
    await csm.done("log_meeting", account=globex, kind="qbr", summary="18 % fewer stops", roi_shown=True)

    [row] = (await csm.done("list_opportunities", account=globex))["items"]
    assert row["early"] == []
    assert (await saved(csm, found["record"], department="Osaka"))["triggered"] == []


async def test_the_pipeline_adds_up_and_pages_in_order(csm: Desk, book: Book, globex: str) -> None:
    initech = await csm.account("Initech")
    for account, department, days, amount in (
        (globex, "A", 20, "1000.00"), (initech, "B", 110, "2000.00"), (globex, "C", None, "4000.00"),
        (initech, "D", 20, "8000.00"), (initech, "E", None, None),
    ):  # fmt: skip
        told: dict[str, Any] = {"department": department}
        told |= {"expected_on": str(TODAY + timedelta(days=days))} if days is not None else {}
        told |= {"amount": {"amount": amount, "currency": "USD"}} if amount is not None else {}
        await opened(csm, account, **told)

    whole = await csm.done("list_opportunities", group_by="quarter")
    assert (whole["total"], [one["amount"]["amount"] for one in whole["sums"]]) == (5, ["15000.00"])
    assert [(g["group"], g["opportunities"], g["amount"]["amount"]) for g in whole["groups"]] == [
        ("Q2 FY2026", 2, "9000.00"), ("Q3 FY2026", 1, "2000.00"), ("no day", 2, "4000.00"),
    ]  # fmt: skip
    assert [row.get("expected_on") for row in whole["items"]][2:] == ["2026-07-04", None, None]

    paged: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await csm.done("list_opportunities", limit=2, group_by="quarter", **cursor)
        paged += page.ids
        if "next_cursor" not in page.data:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert paged == whole.ids

    soon = await csm.done("list_opportunities", period_start=str(TODAY), period_end="2026-06-30", account="Initech")
    assert (soon["total"], soon["sums"][0]["amount"]["amount"]) == (1, "8000.00")


async def test_one_outside_the_book_is_not_there(csm: Desk, team: Team, desks: Desks, globex: str) -> None:
    found = await opened(csm, globex, amount=USD)
    ben = await desks.of(team, "ben")
    assert await ben.refused("list_opportunities", opportunity=found["id"]) == (
        f"No opportunity has the id {found['id']!r}. "
        "list_opportunities shows the open ones with their ids; with stage [won, lost] the closed ones."
    )
    assert "has the id" in await ben.refused(
        "save_opportunity", opportunity=found["id"], expected_version=1, department="Osaka"
    )
    book = await ben.done("list_opportunities", group_by="stage", look_for=["candidates", "whitespace"])
    assert (book["total"], book["sums"], book["candidates"], book["whitespace"]) == (0, [], [], [])


async def test_an_agents_opportunity_waits_for_a_person(team: Team, desks: Desks, csm: Desk, book: Book) -> None:
    shared = await csm.account("Shared", owner="bot@acme.example")
    await book.signs(shared)
    bot, lea = await desks.of(team, "bot"), await desks.of(team, "lea")
    plan = await won(bot, shared)
    assert plan["proposal"]
    assert "Would trigger: Posted expansion" in plan.text
    assert len(await book.ledger(shared)) == 1

    ada = await desks.of(team, "ada")
    await ada.done("commit_plan", plan=plan["plan_id"])
    assert [(kind, amount) for _, kind, amount, _ in await book.ledger(shared)][1:] == [("expansion", 3_000)]
    assert lea is not None


async def told(desk: Desk, account: str, day: date, department: str | None = None, **figures: int) -> None:
    item: dict[str, Any] = {"kind": "usage", "account": account, "on": str(day), "figures": figures}
    item |= {"department": department} if department else {}
    await desk.done("record_signals", source="telemetry", items=[item])


async def test_evidence_is_found_in_seats_departments_features_and_funding(
    team: Team, desks: Desks, book: Book
) -> None:
    ada = await desks.of(team, "ada")
    globex = await ada.account("Globex", segment="smb", onboarding_status="complete")
    quiet = await ada.account("Initech")
    await book.signs(globex, seats=40)
    await book.signs(quiet, seats=40)
    for days, departments in ((120, ("Sales",)), (3, ("Sales", "Support"))):
        for department in departments:
            await told(ada, globex, TODAY - timedelta(days=days), department, active_users=5)
    await told(ada, globex, TODAY - timedelta(days=2), seats_used=34)
    await told(ada, quiet, TODAY - timedelta(days=2), seats_used=33)
    for feature, days in (("Dashboards", 100), ("Forecasts", 5)):
        use = {"kind": "usage", "account": globex, "on": str(TODAY - timedelta(days=days)), "feature": feature}
        await ada.done(
            "record_signals", source="telemetry",
            items=[{"kind": "feature", "feature": feature}, use | {"figures": {"feature_events": 9}}],
        )  # fmt: skip
    funding = {"kind": "company_event", "account": globex, "on": "2026-02-01", "event": "funding"}
    await ada.done("record_signals", source="news", items=[funding])

    found = await ada.done("list_opportunities", look_for=["candidates"])

    [candidate] = found["candidates"]
    assert candidate["account"]["name"] == "Globex"
    assert [(one["trigger"], one["kind"], one["on"]) for one in candidate["found"]] == [
        ("near_limit", "seat", "2026-03-14"),
        ("new_department", "seat", "2026-03-13"),
        ("new_use_case", "feature", "2026-03-11"),
        ("company_growth", "seat", "2026-02-01"),
    ]
    assert candidate["found"][0]["what"] == "34 of 40 seats in use (85%)"
    assert candidate["found"][1]["department"] == "support"
    assert candidate["early"] == ["no quantified ROI was ever shown: log_meeting with roi_shown, once it was"]

    for trigger in ("near_limit", "company_growth", "new_use_case"):
        kind = "feature" if trigger == "new_use_case" else "seat"
        await ada.done("save_opportunity", account=globex, name="More", kind=kind, trigger=trigger, department=trigger)
    [left] = (await ada.done("list_opportunities", account=globex, look_for=["candidates"]))["candidates"]
    assert [one["trigger"] for one in left["found"]] == ["new_department"]


async def test_whitespace_is_what_others_of_the_segment_have(team: Team, desks: Desks, book: Book) -> None:
    ada = await desks.of(team, "ada")
    names = {name: await ada.account(name, segment="smb") for name in ("Globex", "Initech", "Hooli")}
    big = await ada.account("Umbrella", segment="enterprise")
    for account, product in (
        (names["Globex"], "Platform"), (names["Initech"], "platform "), (names["Initech"], "Forecasting"),
        (names["Hooli"], "Platform"), (names["Hooli"], "Forecasting"), (big, "Vault"),
    ):  # fmt: skip
        await book.signs(account, product=product)

    found = await ada.done("list_opportunities", account="Globex", look_for=["whitespace"])

    [line] = found["whitespace"]
    assert line["has"] == ["Platform"]
    assert line["lacks"] == [{"product": "Forecasting", "have_it": 2, "of": 3}]

    await ada.done("save_opportunity", account="Globex", name="Forecasts", kind="cross_sell", product="FORECASTING")
    assert (await ada.done("list_opportunities", account="Globex", look_for=["whitespace"]))["whitespace"] == []


async def test_merged_accounts_bring_their_opportunities(csm: Desk, globex: str) -> None:
    twin = await csm.account("Globex Corp")
    theirs = await opened(csm, twin, department="Osaka")
    plan = await csm.done("merge_records", kind="account", keep=globex, merge=twin, reason="One customer")
    await csm.done("commit_plan", plan=plan["plan_id"])
    assert (await csm.done("list_opportunities", account=globex)).ids == [theirs["id"]]


async def test_what_customers_say_comes_back_inert_and_in_budget(csm: Desk, globex: str) -> None:
    link = "See [here](https://evil.example) <b>now</b>"
    found = await opened(
        csm, globex, hypothesis=link, success_criteria=link, evidence=[{"what": link}], department=link
    )
    for n in range(12):
        await opened(csm, globex, department=f"Team {n}", hypothesis=link, evidence=[{"what": f"{link} {n} " * 10}])
    page = await csm.done("list_opportunities", budget_tokens=600)
    assert page["next_cursor"]
    assert len(page.text.encode()) <= 600 * 3.3
    whole = await csm.done("list_opportunities", opportunity=found["id"], detail="full")
    assert "https://" not in str(whole.data) + whole.text
    assert "<b>" not in whole.text


async def test_an_account_shows_its_open_ones_where_all_is_asked_and_as_they_were(
    csm: Desk, desks: Desks, team: Team, globex: str, clock: FixedClock
) -> None:
    found = await opened(csm, globex, amount=USD, expected_on="2026-04-10", hypothesis="See [it](https://evil.example)")
    undated = await opened(csm, globex, department="Sales")
    lost = await opened(csm, globex, department="Support")
    clock.advance(timedelta(days=1))
    await saved(csm, found, stage="qualified")
    await saved(csm, lost, stage="lost", lost_reason="No budget")

    assert "opportunities" not in (await csm.done("get_account", account=globex)).data
    told = await csm.done("get_account", account=globex, detail="full")
    assert [(one["id"], one["stage"]) for one in told["opportunities"]] == [
        (found["id"], "qualified"),
        (undated["id"], "identified"),
    ]
    assert "seat, qualified, 3,000.00 USD, expected 2026-04-10, v2" in told.text
    [was, *_] = (await csm.done("get_account", account=globex, sections=["opportunities"], as_of=str(TODAY)))[
        "opportunities"
    ]
    assert (was["id"], was["stage"], was["expected_on"]) == (found["id"], "identified", "2026-04-10")

    document = await csm.done("fetch", id=found["id"])
    assert document["title"] == "Opportunity at Globex: Twenty more seats (qualified)"
    assert document["url"].endswith(f"/opportunities/{found['id']}")
    assert "Amount: 3,000.00 USD" in document["text"]
    assert "https://evil" not in document["text"]
    assert (await csm.done("search", query=found["id"]))["results"][0]["id"] == found["id"]
    assert (await csm.done("search", query="Twenty evil"))["results"][0]["id"] == found["id"]
    ben = await desks.of(team, "ben")
    assert (await ben.done("search", query="Twenty evil"))["results"] == []
    assert "No account, contact" in await ben.refused("fetch", id=found["id"])
    assert (await ben.done("search", query=found["id"]))["results"] == []


async def test_words_find_one_by_what_it_says_now_and_by_its_accounts_name(csm: Desk, globex: str) -> None:
    async def hits(query: str) -> list[str]:
        return [hit["id"] for hit in (await csm.done("search", query=query))["results"]]

    found = await opened(csm, globex, hypothesis="The warehouse in Osaka joins", product="Forecaster")
    assert await hits("Globex Osaka") == [found["id"]]
    done = await saved(csm, found, hypothesis="The shop in Kyoto joins")
    assert (await hits("Osaka"), await hits("forecaster Kyoto")) == ([], [found["id"]])

    await csm.done("undo_changes", change=done["change_id"])
    assert (await hits("Osaka"), await hits("Kyoto")) == ([found["id"]], [])
    version = (await csm.done("get_account", account=globex, sections=[]))["version"]
    await csm.done("update_account", account=globex, expected_version=version, name="Hooli")
    assert (await hits("Hooli Osaka"), await hits("Globex")) == ([found["id"]], [])
