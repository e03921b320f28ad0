"""Contracts of every shape, renewed and lost through the client: what runs on, what is posted, what comes next."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from conftest import Team
from cs_mcp.db.store import Store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.revenue.subscriptions import Subscription
from cs_mcp.domain.signals.signals import Ticket, TicketStatus
from cs_mcp.services.renewals.cycles import open_due

from ._client import Desk, writing
from ._renewals import ENDS, TODAY, Book, card, moves, sets


@pytest.fixture
def book(store: Store, team: Team) -> Book:
    return Book(store, team.workspace)


async def terms(csm: Desk, account: str) -> list[tuple[str, str | None, str]]:
    """First day, last day and ARR of each contract, in order."""
    found = (await csm.done("get_account", account=account, sections=["contract"]))["contract"]
    return sorted((s["starts_on"], s.get("ends_on"), s["arr"]["amount"]) for s in found)


async def posted(book: Book, account: str) -> list[tuple[str, str, int]]:
    """What is in the ledger after the contracts were signed."""
    return [line[:3] for line in await book.ledger(account) if line[1] != "new"]


async def open_ones(csm: Desk, **asked: Any) -> list[tuple[str, str]]:
    """Close day and last day for notice."""
    listed = await csm.done("list_renewals", fields=["deadline_on"], **asked)
    return [(row["closes_on"], row["deadline_on"]) for row in listed["items"]]


USD_15K = {"amount": "15000", "currency": "USD"}


# -- terms --------------------------------------------------------------------------------------------------


async def test_a_term_is_co_termed_with_another_contract_and_both_are_negotiated_as_one(csm: Desk, book: Book) -> None:
    account = await csm.account("Globex")
    await book.signs(account)  # to 2026-05-30
    await book.signs(account, arr=5_000, ends=date(2026, 12, 31))
    [first, second] = (await csm.done("list_renewals")).ids
    assert (await card(csm, first))["co_terms"] == []

    await moves(csm, first, "closed_won", reason="Signed", amount=USD_15K, ends_on="2026-12-31")

    assert (await terms(csm, account))[1:] == [
        ("2025-05-30", "2026-12-31", "5000.00"),
        ("2026-05-31", "2026-12-31", "15000.00"),
    ]
    # ARR is a year's: a term of seven months does not make it less.
    assert await posted(book, account) == [("2026-05-31", "expansion", 3_000)]
    following = [row_id for row_id in (await csm.done("list_renewals")).ids if row_id != second]
    assert (await card(csm, second))["co_terms"] == following
    assert f"co-terms with {second}" in (await csm.done("list_renewals", renewal=following[0], detail="full")).text
    # The short term was the exception: what follows is a year again.
    await moves(csm, following[0], "closed_won", reason="Signed")
    assert (await terms(csm, account))[-1] == ("2027-01-01", "2027-12-31", "15000.00")


async def test_a_multi_year_term_renews_for_years_at_one_years_arr(csm: Desk, book: Book) -> None:
    account = await csm.account("Globex")
    await book.signs(account)

    await moves(csm, "Globex", "closed_won", reason="Signed", amount=USD_15K, term_months=36)

    assert (await terms(csm, account))[-1] == ("2026-05-31", "2029-05-30", "15000.00")
    assert await posted(book, account) == [("2026-05-31", "expansion", 3_000)]
    assert await open_ones(csm) == [("2029-05-30", "2029-04-30")]
    await moves(csm, "Globex", "closed_won", reason="Signed")
    assert (await terms(csm, account))[-1][:2] == ("2029-05-31", "2032-05-30")


async def test_an_auto_renewing_contract_names_its_notice_day_and_goes_on_without_one(
    csm: Desk, book: Book, store: Store
) -> None:
    account = await csm.account("Globex")
    await book.signs(account, auto_renew=True)
    told = await card(csm, "Globex")
    assert (told["deadline_on"], told["days_left"]) == ("2026-04-30", 45)
    assert told["next_steps"][1] == "It renews by itself after 2026-05-30 unless notice is given by 2026-04-30"
    assert isinstance(store.clock, FixedClock)
    store.clock.advance(timedelta(days=46))
    assert "The last day for notice, 2026-04-30, has passed" in (await card(csm, "Globex"))["next_steps"][1]
    store.clock.advance(timedelta(days=40))  # ten days into the term that began by itself

    told = await card(csm, "Globex")
    assert "subscription_ended" not in told["risks"]
    assert (await csm.done("get_account", account=account, sections=[]))["arr"]["amount"] == "12000.00"
    await moves(csm, "Globex", "closed_won", reason="Renewed by itself")

    assert (await terms(csm, account))[-1] == ("2026-05-31", "2027-05-30", "12000.00")
    assert await posted(book, account) == []


async def test_without_auto_renewal_a_term_that_ended_is_named_a_risk(csm: Desk, book: Book, store: Store) -> None:
    await book.signs(await csm.account("Globex"), auto_renew=False)
    assert isinstance(store.clock, FixedClock)
    store.clock.advance(timedelta(days=90))

    assert "subscription_ended" in (await card(csm, "Globex"))["risks"]


async def test_an_early_renewal_takes_effect_when_the_term_ends(csm: Desk, book: Book) -> None:
    account = await csm.account("Globex")
    await book.signs(account, ends=date(2026, 12, 31))

    won = await moves(csm, "Globex", "closed_won", reason="Signed nine months early", amount=USD_15K)

    assert (won["record"]["closed_on"], won["record"]["closes_on"]) == ("2026-03-16", "2026-12-31")
    assert await posted(book, account) == [("2027-01-01", "expansion", 3_000)]
    assert (await csm.done("get_account", account=account, sections=[]))["arr"]["amount"] == "12000.00"
    assert await open_ones(csm) == [("2027-12-31", "2027-12-01")]


async def test_part_of_an_account_churns_as_a_contraction(csm: Desk, book: Book) -> None:
    account = await csm.account("Globex")
    await book.signs(account, product="Analytics")
    await book.signs(account, arr=5_000, product="Alerts", ends=date(2026, 7, 31))
    analytics, alerts = (await csm.done("list_renewals")).ids

    await moves(csm, analytics, "closed_won", reason="Fewer seats", amount={"amount": "9000", "currency": "USD"})
    await moves(csm, alerts, "closed_lost", loss_reason="product")

    assert await book.ledger(account) == [
        ("2025-05-30", "new", 5_000, None),
        ("2025-05-30", "new", 12_000, None),
        ("2026-05-31", "contraction", -3_000, "Fewer seats"),
        ("2026-08-01", "contraction", -5_000, "product"),
    ]


@pytest.mark.parametrize(
    ("starts_on", "ends_on", "months", "then"),
    [
        # From a month's last day to a month's last day, whatever their lengths.
        ("2026-02-28", "2026-03-30", 1, ["2026-04-29", "2026-05-30"]),
        ("2026-01-31", "2026-04-29", 3, ["2026-07-30", "2026-10-30"]),
        # A term that began on a leap day comes back to it.
        ("2025-05-01", "2026-04-30", 12, ["2027-04-30", "2028-04-30"]),
        ("2024-02-29", "2027-02-27", 12, ["2028-02-28", "2029-02-27"]),
        ("2023-03-01", "2027-02-28", 12, ["2028-02-29", "2029-02-28"]),
    ],
)
async def test_terms_that_begin_at_a_months_end_or_a_leap_day_keep_to_it(
    csm: Desk, book: Book, starts_on: str, ends_on: str, months: int, then: list[str]
) -> None:
    account = await csm.account("Globex")
    told: dict[str, Any] = {"starts_on": date.fromisoformat(starts_on), "term_months": months, "notice_days": None}
    await book.signs(account, ends=date.fromisoformat(ends_on), **told)

    for last_day in then:
        await moves(csm, "Globex", "closed_won", reason="Signed")
        assert (await open_ones(csm))[0][0] == last_day
    days = await terms(csm, account)
    # The next term begins the day after the last: no gap, no overlap.
    assert all(
        date.fromisoformat(before[1] or "") + timedelta(days=1) == date.fromisoformat(after[0])
        for before, after in pairwise(days)
    )


async def test_an_evergreen_contract_has_no_renewal_and_all_its_arr(csm: Desk, book: Book) -> None:
    account = await csm.account("Globex")
    await book.signs(account, ends=None, term_months=None)

    assert (await csm.done("list_renewals"))["items"] == []
    assert (await csm.done("get_account", account=account, sections=[]))["arr"]["amount"] == "12000.00"
    assert (await csm.done("get_forecast"))["quarters"] == []


async def test_a_rolling_contract_can_be_given_an_end(csm: Desk, book: Book) -> None:
    account = await csm.account("Globex")
    await book.signs(account, ends=None, starts_on=date(2025, 4, 1))

    await moves(csm, "Globex", "closed_won", reason="Signed for good", ends_on="2027-12-31")

    assert await terms(csm, account) == [
        ("2025-04-01", "2026-03-31", "12000.00"),
        ("2026-04-01", "2027-12-31", "12000.00"),
    ]
    assert await posted(book, account) == []


# -- what cannot be -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "said", "remedy"),
    [
        ({"amount": {"amount": "0", "currency": "USD"}}, "Missing: amount", "Set what is missing"),
        ({"amount": {"amount": "-5", "currency": "USD"}}, "is below zero", "Give the ARR it renews at"),
        ({"amount": {"amount": "9000", "currency": "EUR"}}, "is in USD, the amount given in EUR", "amount in USD"),
        ({"amount": {"amount": "9000", "currency": "XYZ"}}, "'XYZ' is not an active ISO 4217 currency", "three-letter"),
        ({"amount": {"amount": "9000.001", "currency": "USD"}}, "is not an amount of USD", "at most 2 decimals"),
        ({"ends_on": "2026-05-30"}, "A term from 2026-05-31 cannot end on 2026-05-30", "after 2026-05-31"),
        ({"ends_on": "2036-05-31"}, "cannot end on 2036-05-31", "within 120 months"),
        ({"ends_on": "2027-01-31", "term_months": 8}, "both say when the next term ends", "one of the two"),
        ({"stage": "closed_lost", "loss_reason": "price", "ends_on": "2027-01-31"}, "ends_on does not go", "Leave it"),
        ({"stage": "closed_lost"}, "Missing: loss_reason", "Set what is missing"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_a_close_that_cannot_be_posts_nothing(
    csm: Desk, book: Book, how: dict[str, Any], said: str, remedy: str
) -> None:
    account = await csm.account("Globex")
    await book.signs(account)
    before = (await csm.head(), await book.ledger(account), await terms(csm, account))
    move = {"renewal": "Globex", "expected_version": 1, "stage": "closed_won", "reason": "Signed"} | how

    refused = await csm.refused("move_renewal", **move)

    assert said in refused
    assert remedy in refused
    assert (await csm.head(), await book.ledger(account), await terms(csm, account)) == before


async def test_a_term_its_source_has_already_is_not_counted_twice(csm: Desk, book: Book) -> None:
    account = await csm.account("Globex")
    await book.signs(account, product="Analytics")
    async with writing(book.store, book.workspace) as work:
        after = {"starts_on": ENDS + timedelta(days=1), "ends_on": date(2027, 5, 30), "arr_minor": 15_000_00}
        named = {"product": "Analytics", "currency": "USD", "source_system": "crm", "source_id": "S9"}
        work.subscriptions.add(Subscription(id=work.ids.new("subscription"), account_id=account, **after, **named))
        await work.flush()
        await open_due(work)
    [renewal, _] = (await csm.done("list_renewals")).ids
    ledger = await book.ledger(account)
    move = {"renewal": renewal, "expected_version": 1, "stage": "closed_won", "reason": "Signed"}

    refused = await csm.refused("move_renewal", **move)
    assert "of the same product runs from 2026-05-31 at 15,000.00 USD already" in refused
    assert "would overlap it. Nothing was done." in refused
    assert "Win it with amount 15000.00" in refused
    assert await book.ledger(account) == ledger

    won = await csm.done("move_renewal", **move, amount=USD_15K)
    assert "is its next term already, at 15,000.00 USD: no ARR was posted." in str(won["triggered"])
    assert await book.ledger(account) == ledger
    assert len(await terms(csm, account)) == 2


# -- what endangers it --------------------------------------------------------------------------------------


async def test_an_open_ticket_of_the_worst_severity_is_a_risk_wherever_the_renewal_is_shown(
    csm: Desk, book: Book
) -> None:
    account = await csm.account("Globex")
    await book.signs(account)
    opened = {"account_id": account, "opened_at": datetime(2026, 3, 1, tzinfo=UTC)}
    async with writing(book.store, book.workspace) as work:
        done = {"status": TicketStatus.resolved, "resolved_at": datetime(2026, 3, 2, tzinfo=UTC)}
        work.tickets.add(Ticket(id=work.ids.new("ticket"), **opened, severity=1, **done))
        work.tickets.add(Ticket(id=work.ids.new("ticket"), **opened, severity=2))

    async def shown() -> tuple[bool, bool, bool]:
        [row] = (await csm.done("list_renewals"))["items"]
        whole = (await csm.done("get_account", account=account, sections=["renewal"]))["renewal"][0]
        one = await card(csm, row["id"])
        return "open_sev1" in row["risks"], "open_sev1" in whole["risks"], "open_sev1" in one["risks"]

    assert await shown() == (False, False, False)
    async with writing(book.store, book.workspace) as work:
        work.tickets.add(Ticket(id=work.ids.new("ticket"), **opened, severity=1))
    assert await shown() == (True, True, True)


async def test_an_account_names_the_risks_that_the_pipeline_names(csm: Desk, book: Book) -> None:
    account = await csm.account("Globex")
    await book.signs(account)
    for name in ("Ines Alba", "Tom Ode"):
        await csm.done("save_contact", account=account, name=name)
    met: dict[str, Any] = {"account": account, "kind": "qbr", "summary": "Shown"}
    seen: set[tuple[str, ...]] = set()
    for change in (
        {},
        {"held_on": str(TODAY - timedelta(days=91)), "attendees": [{"contact": "Ines Alba"}]},
        {"held_on": str(TODAY - timedelta(days=90)), "attendees": [{"contact": "Ines Alba"}]},
        {"held_on": str(TODAY), "kind": "call", "attendees": [{"contact": "Tom Ode"}]},
        {"amount": {"amount": "13000", "currency": "USD"}},
        {"held_on": str(TODAY - timedelta(days=170)), "roi_shown": True, "attendees": []},
    ):
        if "amount" in change:
            await sets(csm, "Globex", **change)
        elif change:
            await csm.done("log_meeting", **(met | change))
        [row] = (await csm.done("list_renewals"))["items"]
        [line] = (await csm.done("get_account", account=account, sections=["renewal"]))["renewal"]

        assert line["risks"] == row.get("risks", [])
        seen.add(tuple(line["risks"]))
    assert len(seen) == 4


async def test_a_category_keeps_what_it_was_set_for(csm: Desk, book: Book) -> None:
    await book.signs(await csm.account("Globex"))
    assert "needs a reason" in await csm.refused(
        "update_renewal", renewal="Globex", expected_version=1, forecast_category="commit"
    )

    await sets(csm, "Globex", forecast_category="commit", reason="CFO said yes <b>twice</b>")
    told = await csm.done("list_renewals", renewal="Globex", detail="full")
    assert told["renewal"]["category_reason"].startswith("CFO said yes")
    assert "<b>" not in told.text
    await sets(csm, "Globex", closes_on="2026-05-15", reason="Earlier than thought")
    assert (await card(csm, "Globex"))["category_reason"].startswith("CFO said yes")
    await sets(csm, "Globex", clear=["forecast_category"], reason="Wrong account")
    assert "category_reason" not in await card(csm, "Globex")


@pytest.mark.parametrize(("tier", "starts"), [("gold", "2025-12-31"), ("platinum", "2025-11-01")])
async def test_the_motion_starts_so_many_days_before_the_last_day_for_notice(
    csm: Desk, book: Book, tier: str, starts: str
) -> None:
    await book.signs(await csm.account("Globex", tier=tier))

    assert (await card(csm, "Globex"))["motion_starts_on"] == starts
