"""Renewals, through the client: the pipeline, one whole, and what is set."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import bindparam, update

from conftest import Team
from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.accounts.scores import ACCOUNT_SCORE
from cs_mcp.db.bulk import bulk_create
from cs_mcp.db.people.sponsors import ContactRow, SponsorshipRow
from cs_mcp.db.revenue.subscriptions import SubscriptionRow
from cs_mcp.db.store import Store
from cs_mcp.domain.contract import BYTES_PER_TOKEN
from cs_mcp.domain.revenue.subscriptions import Subscription
from cs_mcp.services.renewals.cycles import open_due

from ._client import Desk, Desks, walk, writing
from ._renewals import OFFERS, TODAY, Book, card, moves, sets

NAMES = ["Massive Dynamic", "Initech", "Vandelay Imports", "Globex", "Soylent Foods", "Umbrella Health", "Stark Energy",
         "Wayfarer Travel", "Bluth Homes", "Hooli"]  # fmt: skip
PLACES = ["Berlin", "Lyon", "Oslo", "Porto", "Kyoto", "Lima"]
FIRST = ["Astrid", "Walter", "Priya", "Tom", "Ines", "Dora", "Milo", "Gwen", "Hank", "Ruth"]


@pytest.fixture
def book(store: Store, team: Team) -> Book:
    return Book(store, team.workspace)


@pytest.fixture
async def globex(ana: Desk, book: Book) -> str:
    """An account whose one subscription ends in 75 days, with 30 days' notice."""
    account = await ana.account("Globex")
    await book.signs(account)
    return account


# -- the pipeline -------------------------------------------------------------------------------------------


async def test_a_renewal_opens_with_its_subscription(ana: Desk, globex: str) -> None:
    listed = await ana.done("list_renewals")

    [row] = listed["items"]
    assert {name: row[name] for name in row if name != "id"} == {
        "account": "Globex",
        "account_id": globex,
        "arr": "12000.00",
        "closes_on": "2026-05-30",
        "days_left": 45,
        "band": "unknown",
        "risks": ["no_review", "no_sponsor", "single_threaded"],
    }
    assert listed["currency"] == "USD"
    assert listed["sums"] == [
        {
            "renewals": 1,
            "arr": {"amount": "12000.00", "currency": "USD"},
            "amount": {"amount": "12000.00", "currency": "USD"},
        }
    ]
    assert "notice in 45 days" in listed.text


async def test_sums_tie_out_to_the_rows_of_all_pages_and_never_mix_currencies(
    ana: Desk, book: Book, globex: str
) -> None:
    euro = await ana.account("Ibis", currency="EUR")
    async with writing(book.store, book.workspace) as work:
        work.subscriptions.add(
            Subscription(
                id=work.ids.new("subscription"), account_id=euro, starts_on=TODAY, ends_on=date(2026, 12, 31),
                arr_minor=900_00, currency="EUR",
            )
        )  # fmt: skip
        await work.flush()
        await open_due(work)
    await book.signs(globex, arr=3_000, ends=date(2026, 9, 30))
    await sets(ana, "Ibis", forecast_category="commit", reason="Signed letter")

    page = await ana.done("list_renewals", limit=1, fields=["arr"], group_by="forecast_category")
    rows, cursor = list(page["items"]), page["next_cursor"]
    while cursor:
        later = await ana.done("list_renewals", limit=1, fields=["arr"], group_by="forecast_category", cursor=cursor)
        rows, cursor = rows + later["items"], later.data.get("next_cursor")

    assert [(row["closes_on"], row["arr"], row["currency"]) for row in rows] == [
        ("2026-05-30", "12000.00", "USD"),
        ("2026-09-30", "3000.00", "USD"),
        ("2026-12-31", "900.00", "EUR"),
    ]
    assert [(s["renewals"], s["arr"]["amount"], s["arr"]["currency"]) for s in page["sums"]] == [
        (1, "900.00", "EUR"),
        (2, "15000.00", "USD"),
    ]
    assert sorted((g["group"], g["renewals"], g["arr"]["amount"]) for g in page["groups"]) == [
        ("commit", 1, "900.00"),
        ("none", 2, "15000.00"),
    ]
    assert page["total"] == 3


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"quarter": "current"}, []),
        ({"quarter": "next"}, ["Globex"]),
        ({"quarter": "Q3 FY2026"}, ["Hooli"]),
        ({"period_end": "2026-05-30"}, ["Globex"]),
        ({"period_start": "2026-05-31"}, ["Hooli"]),
        ({"stage": ["discovery"]}, ["Hooli"]),
        ({"stage": ["closed_won"]}, []),
        ({"segment": ["enterprise"]}, ["Hooli"]),
        ({"owner": "me"}, ["Globex"]),
        ({"owner": "Kim Sato"}, ["Hooli"]),
        ({"account": "hooli"}, ["Hooli"]),
        ({"band": ["unknown"]}, ["Globex", "Hooli"]),
        ({"band": ["red"]}, []),
        ({"forecast_category": ["at_risk"]}, ["Hooli"]),
    ],
    ids=str,
)
async def test_filters(csm: Desk, book: Book, filters: dict[str, Any], names: list[str]) -> None:
    await book.signs(await csm.account("Globex"))
    await book.signs(await csm.account("Hooli", segment="enterprise"), ends=date(2026, 8, 1))
    await sets(csm, "Hooli", forecast_category="at_risk", reason="Budget freeze", owner="Kim Sato")
    await moves(csm, "Hooli", "discovery")

    listed = await csm.done("list_renewals", **filters)

    assert [row["account"] for row in listed["items"]] == names
    assert listed["total"] == len(names)


async def test_none_in_a_band_is_not_said_of_what_has_no_band(csm: Desk, book: Book, team: Team, desks: Desks) -> None:
    await book.signs(await csm.account("Globex"))

    renewals = await csm.done("list_renewals", band=["red", "yellow"])
    accounts = await csm.done("find_accounts", band=["red", "yellow"], owner="me")
    later = await csm.done("list_renewals", band=["red"], period_start="2027-01-01")
    nobody = await (await desks.of(team, "ben")).done("list_renewals", band=["red", "yellow"])

    assert (renewals["total"], renewals["notes"]) == (
        0, ["1 renewals fit but for `band`: their health is not known (band unknown)."]
    )  # fmt: skip
    assert renewals["notes"][0] in renewals.text
    assert accounts["notes"] == ["1 accounts fit but for `band`: their health is not known (band unknown)."]
    assert (later["notes"], nobody["notes"]) == ([], [])


async def test_what_cannot_be_read_says_how_to_ask(csm: Desk, book: Book) -> None:
    account = await csm.account("Globex")
    assert "no open renewal" in await csm.refused("list_renewals", renewal="Globex")
    assert '"Q1 FY2026" (the current one)' in await csm.refused("list_renewals", quarter="summer")
    await book.signs(account)
    await book.signs(account, ends=date(2026, 9, 30))
    both = await csm.refused("list_renewals", renewal="Globex")
    assert "2 open renewals: ren_" in both
    assert "closes 2026-09-30" in both
    listed = await csm.done("list_renewals", limit=1)
    assert "cursor does not belong" in await csm.refused("list_renewals", cursor=listed["next_cursor"], band=["red"])


async def test_a_renewal_outside_the_book_is_not_found(desks: Desks, team: Team, book: Book) -> None:
    ana, ben = await desks.of(team, "ana"), await desks.of(team, "ben")
    await book.signs(await ana.account("Globex"))
    [renewal] = (await ana.done("list_renewals")).ids

    hidden = await ben.done("list_renewals")
    assert (hidden["items"], hidden["total"], hidden.data.get("sums", [])) == ([], 0, [])
    known = {"renewal": renewal, "expected_version": 1}
    for tool, arguments in (
        ("list_renewals", {"renewal": renewal, "detail": "full"}),
        ("update_renewal", known | {"closes_on": "2026-06-01"}),
        ("move_renewal", known | {"stage": "discovery"}),
    ):
        assert f"No renewal has the id '{renewal}'." in await ben.refused(tool, **arguments)


async def test_fifty_accounts_at_risk_fit_one_call(csm: Desk, team: Team, store: Store) -> None:
    """ "Red or yellow accounts renewing in 120 days with ARR and sponsor": text and JSON each within 4 000 tokens."""
    owner = team.members["ana"].id
    async with writing(store, team.workspace) as work:
        accounts, contacts, seats, subscriptions = [], [], [], []
        for n in range(60):
            account = {
                "id": work.ids.new("account"), "name": f"{NAMES[n % 10]} {PLACES[n // 10]}", "domain": f"a{n}.example",
                "segment": "mid_market", "tier": "gold", "touch": "mid", "stage": "adoption", "currency": "USD",
                "onboarding_status": "complete", "owner_id": owner, "tags": [], "custom": {}, "arr_minor": 0,
                "health_band": "green" if n % 6 == 5 else ("red", "yellow")[n % 2],
            }  # fmt: skip
            contact = {
                "id": work.ids.new("contact"), "account_id": account["id"], "name": f"{FIRST[n % 10]} Lindqvist",
                "roles": ["executive_sponsor"], "status": "active",
            }  # fmt: skip
            seats.append(
                {
                    "id": work.ids.new("sponsorship"), "account_id": account["id"], "contact_id": contact["id"],
                    "role": "executive_sponsor", "from_on": date(2025, 1, 1),
                }
            )  # fmt: skip
            subscriptions.append(
                {
                    "id": work.ids.new("subscription"), "account_id": account["id"], "starts_on": date(2025, 4, 1),
                    "ends_on": TODAY + timedelta(days=2 * n), "arr_minor": 123_456_00 + n, "currency": "USD",
                    "trial": False, "notice_days": 30, "term_months": 12,
                }
            )  # fmt: skip
            accounts.append(account | {"executive_sponsor_id": contact["id"]})
            contacts.append(contact)
        await bulk_create(work, AccountRow, accounts)
        scores = [{"of": account["id"], "now": 40.0 + n / 3} for n, account in enumerate(accounts)]
        kept = update(ACCOUNT_SCORE).where(ACCOUNT_SCORE.c.account_id == bindparam("of"))
        await work.session.execute(kept.values(score=bindparam("now")), scores)
        await bulk_create(work, ContactRow, contacts)
        await bulk_create(work, SponsorshipRow, seats)
        await bulk_create(work, SubscriptionRow, subscriptions)
        await open_due(work)

    listed = await csm.done(
        "list_renewals", band=["red", "yellow"], period_end=str(TODAY + timedelta(days=120)), limit=50
    )

    assert len(listed["items"]) == listed["total"] == 50
    assert "next_cursor" not in listed.data
    assert all(row["sponsor"].endswith("Lindqvist") and row["arr"] and row["risks"] for row in listed["items"])
    raw = await csm.client.call_tool(
        "list_renewals", {"band": ["red", "yellow"], "period_end": str(TODAY + timedelta(days=120)), "limit": 50}
    )
    structured = raw.model_dump_json(include={"structured_content"}, exclude_none=True)
    assert len(listed.text.encode()) <= 4000 * BYTES_PER_TOKEN
    assert len(structured.encode()) <= 4000 * BYTES_PER_TOKEN


async def test_more_than_a_thousand_are_summed_up_only_when_asked(
    csm: Desk, globex: str, team: Team, store: Store
) -> None:
    async with writing(store, team.workspace) as work:
        bought = [
            {
                "id": work.ids.new("subscription"), "account_id": globex, "starts_on": date(2025, 4, 1),
                "ends_on": TODAY + timedelta(days=n % 90), "arr_minor": 100, "currency": "USD", "trial": False,
                "notice_days": 30, "term_months": 12,
            }
            for n in range(1_001)
        ]  # fmt: skip
        await bulk_create(work, SubscriptionRow, bought)
        await open_due(work)

    listed = await csm.done("list_renewals", account="Globex", limit=5)
    summed = await csm.done("list_renewals", account="Globex", limit=5, exact_total=True)

    assert (listed["total"], listed["sums"]) == ("1000+", [])
    assert "Left out: sums of more than 1000 renewals. Call list_renewals with exact_total true." in listed.text
    assert [row["id"] for row in listed["items"]] == [row["id"] for row in summed["items"]]
    [total] = summed["sums"]
    assert summed["total"] == total["renewals"] >= 1_001
    assert float(total["arr"]["amount"]) >= 1_001


# -- one whole ----------------------------------------------------------------------------------------------


async def test_checkpoints_count_back_from_the_deadline_and_say_what_they_lack(
    csm: Desk, team: Team, desks: Desks, book: Book
) -> None:
    ada = await desks.of(team, "ada")
    account = await csm.account("Globex", tier="platinum")
    await book.signs(account)  # deadline 2026-04-30, 45 days from today
    before = await card(csm, "Globex")
    assert [(c["days"], c["on"], c["state"]) for c in before["checkpoints"]] == [
        (180, "2025-11-01", "missed"),
        (120, "2025-12-31", "missed"),
        (90, "2026-01-30", "missed"),
        (60, "2026-03-01", "due"),
        (30, "2026-03-31", "next"),
    ]
    assert before["gaps"][-1] == "options good, better, best (update_renewal options)"
    assert set(before["risks"]) == {"no_review", "no_sponsor", "single_threaded"}

    for name in ("Hank Scorpio", "Ines Alba"):
        await csm.done("save_contact", account=account, name=name)
    await csm.done("assign_sponsor", account=account, role="executive_sponsor", contact="Hank Scorpio")
    met = [{"contact": "Hank Scorpio"}, {"contact": "Ines Alba"}]
    await csm.done(
        "log_meeting", account=account, kind="value_review", summary="Shown", held_on="2026-03-02", attendees=met,
        roi_shown=True, renewal_intent="renew", forecast_hint="commit",
    )  # fmt: skip
    await sets(
        csm, "Globex", stakeholders_confirmed_on="2026-03-10", decision_criteria=["Uptime <b>99.9</b>"],
        procurement_steps=["Security review"], options=OFFERS,
        concessions=[{"kind": "discount", "value": "5 %", "given_for": "two-year term"}],
    )  # fmt: skip

    answer = await csm.done("list_renewals", renewal="Globex", detail="full")
    after = answer["renewal"]
    assert [c["state"] for c in after["checkpoints"]] == ["met", "met", "met", "met", "next"]
    assert (after["gaps"], after["risks"]) == ([], {})
    assert after["executive_sponsor"]["name"] == "Hank Scorpio"
    assert after["heard"][0]["renewal_intent"] == "renew"
    assert after["last_value_review"]["held_on"] == "2026-03-02"
    assert [(o["tier"], o["amount"]["amount"]) for o in after["options"]] == [
        ("good", "12000.00"),
        ("better", "15000.00"),
        ("best", "20000.00"),
    ]
    assert "- discount: 5 %, given for two-year term" in answer.text
    assert "<b>" not in answer.text
    found: list[str] = []
    walk(answer.data, found.append)
    assert not any("<b>" in text for text in found)
    # Another look at the same account: a price above today's ARR is no risk once ROI was shown.
    await sets(csm, "Globex", amount={"amount": "13000", "currency": "USD"})
    assert (await card(csm, "Globex"))["risks"] == {}
    assert (await ada.done("list_renewals", account=account))["items"][0].get("risks") is None


async def test_risks_grow_old_and_a_rise_without_roi_is_named(csm: Desk, book: Book) -> None:
    account = await csm.account("Globex")
    await book.signs(account)
    await csm.done("save_contact", account=account, name="Hank Scorpio")

    async def risks() -> list[str]:
        [row] = (await csm.done("list_renewals"))["items"]
        return row["risks"]

    reviewed = {"account": account, "kind": "qbr", "summary": "Shown", "attendees": [{"contact": "Hank Scorpio"}]}
    await csm.done("log_meeting", **reviewed, held_on=str(TODAY - timedelta(days=91)))
    assert await risks() == ["no_review", "no_sponsor", "single_threaded"]
    await csm.done("log_meeting", **reviewed, held_on=str(TODAY - timedelta(days=90)))
    assert await risks() == ["no_sponsor", "single_threaded"]

    await sets(csm, "Globex", amount={"amount": "13000", "currency": "USD"})
    assert await risks() == ["no_sponsor", "single_threaded", "price_without_roi"]
    await csm.done("log_meeting", **reviewed, held_on=str(TODAY - timedelta(days=180)), roi_shown=True)
    assert await risks() == ["no_sponsor", "single_threaded"]


async def test_one_engaged_contact_is_one_thread_whoever_was_invited(csm: Desk, book: Book) -> None:
    account = await csm.account("Globex")
    await book.signs(account)
    for name in ("Hank Scorpio", "Ines Alba", "Tom Ode"):
        await csm.done("save_contact", account=account, name=name)

    async def meet(*who: dict[str, Any]) -> list[str]:
        await csm.done("log_meeting", account=account, kind="call", summary="Met", attendees=list(who))
        return (await csm.done("list_renewals"))["items"][0]["risks"]

    assert "single_threaded" in await meet({"contact": "Hank Scorpio"}, {"user": "me"})
    assert "single_threaded" in await meet({"contact": "Hank Scorpio"}, {"contact": "Ines Alba", "attended": False})
    assert "single_threaded" not in await meet({"contact": "Tom Ode"})
    await csm.done("record_departure", account=account, contact="Tom Ode")
    assert "single_threaded" in (await csm.done("list_renewals"))["items"][0]["risks"]


# -- what is set --------------------------------------------------------------------------------------------


async def test_an_update_keeps_what_it_leaves_out_and_is_undone_whole(csm: Desk, book: Book) -> None:
    await book.signs(await csm.account("Globex"))
    [renewal] = (await csm.done("list_renewals")).ids
    await sets(csm, renewal, decision_criteria=["Price"], closes_on="2026-05-15", owner="Kim Sato")

    stale = await csm.refused("update_renewal", renewal=renewal, expected_version=1, procurement_steps=["DPA"])
    assert "Ana Ruiz changed closes_on, decision_criteria, owner_id" in stale
    second = await sets(csm, renewal, procurement_steps=["DPA"], clear=["owner"])
    found = await card(csm, renewal)
    assert (found["decision_criteria"], found["procurement_steps"], found["closes_on"]) == (
        ["Price"],
        ["DPA"],
        "2026-05-15",
    )
    assert (found["deadline_on"], found["term_ends_on"], found["owner"]["name"]) == (
        "2026-04-30",
        "2026-05-30",
        "Ana Ruiz",
    )

    await csm.done("undo_changes", change=second["change_id"])
    back = await card(csm, renewal)
    assert (back["procurement_steps"], back["owner"]["name"], back["closes_on"]) == ([], "Kim Sato", "2026-05-15")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"forecast_category": "commit"}, "forecast moved from none to commit needs a reason"),
        ({"amount": {"amount": "1", "currency": "EUR"}}, "is in USD, the amount given in EUR"),
        ({"amount": {"amount": "-1", "currency": "USD"}}, "below zero"),
        ({"amount": {"amount": "1.005", "currency": "USD"}}, "1.005"),
        ({"stakeholders_confirmed_on": "2026-03-17"}, "in the future"),
        ({"options": [OFFERS[0], OFFERS[0]]}, "Two options are of one tier"),
        ({"owner": "Kim Sato", "clear": ["owner"]}, "both set and cleared"),
        ({"concessions": [{"kind": "discount", "value": "5 %"}]}, "Missing argument 'concessions.0.given_for'"),
        ({"stage": "discovery"}, "Unknown argument 'stage'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_an_update_that_cannot_be_says_why_and_writes_nothing(
    csm: Desk, book: Book, fields: dict[str, Any], said: str
) -> None:
    await book.signs(await csm.account("Globex"))
    head = await csm.head()

    assert said in await csm.refused("update_renewal", renewal="Globex", expected_version=1, **fields)
    assert await csm.head() == head
