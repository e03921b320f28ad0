"""The stages of a renewal, through the client, up to won and lost: what they need and what they post."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import pytest

from conftest import Team
from cs_mcp.db.store import Store

from ._client import Desk, Desks
from ._renewals import ENDS, OFFERS, TODAY, Book, card, moves, sets


@pytest.fixture
def book(store: Store, team: Team) -> Book:
    return Book(store, team.workspace)


@pytest.fixture
async def globex(ana: Desk, book: Book) -> str:
    """An account whose one subscription ends in 75 days, with 30 days' notice."""
    account = await ana.account("Globex")
    await book.signs(account)
    return account


# -- the stages ---------------------------------------------------------------------------------------------


async def test_a_refused_move_names_each_missing_field_and_the_call_that_sets_it(csm: Desk, book: Book) -> None:
    account = await csm.account("Globex")
    await book.signs(account)
    await moves(csm, "Globex", "discovery")

    said = await csm.refused("move_renewal", renewal="Globex", expected_version=2, stage="value_review")
    assert "Missing: stakeholders_confirmed_on (update_renewal); decision_criteria (update_renewal)." in said
    await sets(csm, "Globex", stakeholders_confirmed_on=str(TODAY), decision_criteria=["Price"])
    await moves(csm, "Globex", "value_review")
    said = await csm.refused("move_renewal", renewal="Globex", expected_version=4, stage="proposal")
    assert "a held value review (log_meeting with kind value_review); procurement_steps (update_renewal)" in said
    await csm.done("log_meeting", account=account, kind="value_review", summary="Shown")
    await sets(csm, "Globex", procurement_steps=["Security review"])
    await moves(csm, "Globex", "proposal")
    said = await csm.refused("move_renewal", renewal="Globex", expected_version=6, stage="negotiation")
    assert "options good, better, best (update_renewal); forecast_category (update_renewal)" in said
    await sets(csm, "Globex", options=OFFERS, forecast_category="commit", reason="Verbal yes")

    await moves(csm, "Globex", "negotiation")
    won = await moves(csm, "Globex", "closed_won")

    assert (won["record"]["stage"], won["record"]["closed_on"]) == ("closed_won", str(TODAY))


async def test_a_skipped_stage_takes_a_reason_and_so_does_going_back(csm: Desk, book: Book) -> None:
    await book.signs(await csm.account("Globex"))
    skipping = {"renewal": "Globex", "stage": "closed_won"}

    said = await csm.refused("move_renewal", **skipping, expected_version=1)
    assert "skips discovery, value_review, proposal, negotiation" in said
    await moves(csm, "Globex", "discovery")
    assert "in discovery already" in await csm.refused(
        "move_renewal", renewal="Globex", expected_version=2, stage="discovery"
    )
    assert "not_started is before discovery" in await csm.refused(
        "move_renewal", renewal="Globex", expected_version=2, stage="not_started"
    )
    await moves(csm, "Globex", "not_started", reason="Wrong account")

    won = await moves(csm, "Globex", "closed_won", reason="Auto-renewed")
    assert won["record"]["stage"] == "closed_won"


async def test_winning_renews_the_subscription_posts_the_difference_and_opens_the_next(
    ana: Desk, book: Book, globex: str
) -> None:
    rise = {"amount": "15000", "currency": "USD"}
    won = await moves(ana, "Globex", "closed_won", amount=rise, reason="Signed by e-mail")

    assert await book.ledger(globex) == [
        ("2025-05-30", "new", 12_000, None),
        ("2026-05-31", "expansion", 3_000, None),
    ]
    contract = (await ana.done("get_account", account=globex, sections=["contract", "renewal"])).data
    assert [(s["starts_on"], s["ends_on"], s["arr"]["amount"]) for s in contract["contract"]] == [
        ("2026-05-31", "2027-05-30", "15000.00"),
        ("2025-05-30", "2026-05-30", "12000.00"),
    ]
    assert contract["renewal_on"] == "2027-05-30"
    [following] = contract["renewal"]
    assert (following["id"], following["stage"], following["amount"]["amount"], following["closes_on"]) == (
        won["record"]["next_renewal_id"],
        "not_started",
        "15000.00",
        "2027-05-30",
    )
    assert following["notice_deadline_on"] == "2027-04-30"
    # A closed one stays closed, and the way back is named.
    [closed] = (await ana.done("list_renewals", stage=["closed_won"])).ids
    said = await ana.refused("move_renewal", renewal=closed, expected_version=2, stage="negotiation")
    assert "is closed_won since 2026-03-16" in said
    assert "undo_changes" in said
    assert "is closed_won" in await ana.refused(
        "update_renewal", renewal=closed, expected_version=2, closes_on=str(ENDS)
    )

    await ana.done("undo_changes", change=won["change_id"])
    assert await book.ledger(globex) == [("2025-05-30", "new", 12_000, None)]
    assert [row["id"] for row in (await ana.done("list_renewals"))["items"]] == [closed]


@pytest.mark.parametrize(
    ("amount", "more", "posted"),
    [
        ("12000", {}, []),
        ("9000", {}, [("2026-05-31", "contraction", -3_000, "They grew smaller")]),
        ("13000", {"price_change": True}, [("2026-05-31", "price_change", 1_000, None)]),
    ],
)
async def test_what_winning_posts(
    csm: Desk, book: Book, amount: str, more: dict[str, Any], posted: list[tuple[str, str, int, str | None]]
) -> None:
    account = await csm.account("Globex")
    await book.signs(account)

    await moves(
        csm, "Globex", "closed_won", amount={"amount": amount, "currency": "USD"}, reason="They grew smaller", **more
    )

    assert (await book.ledger(account))[1:] == posted


async def test_a_contraction_and_a_loss_want_their_reasons(csm: Desk, book: Book) -> None:
    await book.signs(await csm.account("Globex"))
    at_the_end = {"renewal": "Globex", "expected_version": 1}

    assert "Missing: loss_reason (move_renewal with `loss_reason`)" in await csm.refused(
        "move_renewal", **at_the_end, stage="closed_lost"
    )
    assert "does not go with stage closed_won" in await csm.refused(
        "move_renewal", **at_the_end, stage="closed_won", loss_reason="price", reason="x"
    )
    assert "Missing: amount (move_renewal with `amount`)" in await csm.refused(
        "move_renewal", **at_the_end, stage="closed_won", amount={"amount": "0", "currency": "USD"}, reason="x"
    )


async def test_losing_ends_the_subscription_and_posts_churn_or_what_is_left_of_it(ana: Desk, book: Book) -> None:
    account = await ana.account("Globex")
    await book.signs(account)
    await book.signs(account, arr=5_000, ends=date(2026, 7, 31))
    first, second = (await ana.done("list_renewals")).ids

    lost = await moves(ana, first, "closed_lost", loss_reason="competition")
    assert (await book.ledger(account))[-1] == ("2026-05-31", "contraction", -12_000, "competition")
    assert (await ana.done("get_account", account=account))["renewal_on"] == "2026-07-31"
    churned = await moves(ana, second, "closed_lost", loss_reason="price")

    assert (await book.ledger(account))[-1] == ("2026-08-01", "churn", -5_000, "price")
    assert "Globex has no ARR from 2026-08-01." in churned["triggered"]
    assert "Globex has no ARR" not in str(lost["triggered"])
    assert (await ana.done("list_renewals"))["items"] == []
    ended = (await ana.done("get_account", account=account, sections=["contract"]))["contract"]
    assert [s["canceled_on"] for s in ended] == ["2026-05-31", "2026-08-01"]
    assert (await card(ana, second))["loss_reason"] == "price"


# -- who, and how -------------------------------------------------------------------------------------------


async def test_an_agents_move_waits_for_a_person_and_is_theirs_to_commit(
    csm: Desk, desks: Desks, team: Team, book: Book
) -> None:
    account = await csm.account("Globex", owner=team.members["bot"].id)
    await book.signs(account)
    bot, ada = await desks.of(team, "bot"), await desks.of(team, "ada")
    proposed = await bot.done(
        "move_renewal", renewal="Globex", expected_version=1, stage="closed_lost", loss_reason="price"
    )
    assert proposed["proposal"] is True
    assert await book.ledger(account) == [("2025-05-30", "new", 12_000, None)]
    forecast = await bot.done(
        "update_renewal", renewal="Globex", expected_version=1, forecast_category="at_risk", reason="Silent"
    )
    assert forecast["proposal"] is True

    done = await ada.done("commit_plan", plan=proposed["plan_id"])

    assert "Posted churn of -12,000.00 USD on 2026-05-31." in done["triggered"]
    assert await book.ledger(account) == [
        ("2025-05-30", "new", 12_000, None),
        ("2026-05-31", "churn", -12_000, "price"),
    ]


async def test_a_preview_writes_nothing_and_its_plan_does_it_all(csm: Desk, book: Book) -> None:
    account = await csm.account("Globex")
    await book.signs(account)
    head = await csm.head()
    previewed = await csm.done(
        "move_renewal", renewal="Globex", expected_version=1, stage="closed_won", reason="Auto", preview=True
    )
    assert await csm.head() == head
    assert "Opened its next renewal" in str(previewed["would_trigger"])

    await csm.done("commit_plan", plan=previewed["plan_id"])

    [following] = (await csm.done("list_renewals"))["items"]
    assert following["closes_on"] == "2027-05-30"


async def test_a_repeated_key_closes_once(csm: Desk, book: Book) -> None:
    account = await csm.account("Globex")
    await book.signs(account)
    move = {"renewal": "Globex", "stage": "closed_lost", "loss_reason": "price", "idempotency_key": "k"}

    answers = await asyncio.gather(*(csm.done("move_renewal", **move, expected_version=1) for _ in range(3)))

    assert sorted(answer["already_done"] for answer in answers) == [False, True, True]
    assert len(await book.ledger(account)) == 2


async def test_a_viewer_reads_the_pipeline_and_moves_nothing(desks: Desks, team: Team, csm: Desk, book: Book) -> None:
    await book.signs(await csm.account("Globex"))
    vic = await desks.of(team, "vic")

    assert len((await vic.done("list_renewals"))["items"]) == 1
    assert not {"update_renewal", "move_renewal"} & set(await vic.names())
