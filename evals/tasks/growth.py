"""Expansion: who could grow, what is noted of it, and what a yes or a no does to the books."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from evals._task import After, Checks, Hands, Stagehand, task
from evals._world import Row, World


def _open_one(world: World, account: str) -> Row:
    [one] = world.of_account("opportunity", account, "stage not in ('won', 'lost')")
    return one


async def _version(hands: Hands, account: str) -> tuple[str, int]:
    [one] = (await hands.call("list_opportunities", account=account))["items"]
    return one["id"], one["version"]


# -- who could grow -------------------------------------------------------------------------------------------


def _near_their_limit(after: After) -> Checks:
    """By the newest count of seats of the last two months, against the plan's limit, or the seats without one."""
    found = after.before.rows(
        "select account.name, latest.seats_used as used, sum(coalesce(seat_limit, seats)) as held from account "
        "join subscription on subscription.account_id = account.id and subscription.removed_at is null "
        "and trial = 0 and starts_on <= :today and coalesce(ends_on, '9999') >= :today "
        "and coalesce(canceled_on, '9999') > :today "
        "join usage_day latest on latest.account_id = account.id and latest.department = '' and latest.day = "
        "(select max(day) from usage_day where account_id = account.id and department = '' "
        "and seats_used is not null and day > :since) "
        "where account.removed_at is null and account.owner_id = :ana and account.id not in "
        "(select account_id from opportunity where stage not in ('won', 'lost') and removed_at is null) "
        "group by account.id having used >= 0.85 * held",
        ana=after.before.member("Ana Ruiz")["id"],
        today=after.before.today.isoformat(),
        since=after.before.today.toordinal() - 60,
    )
    yield "it names those and no others", len(found) > 1 and after.names_just(row["name"] for row in found)


@task(
    """Which of my customers use 85 % or more of the seats they may use, and have no open expansion opportunity? Only
    their names.""",
    check=_near_their_limit,
)
async def find_who_is_near_their_seats(hands: Hands) -> str:
    found = await hands.call("list_opportunities", owner="me", look_for=["candidates"], limit=200, budget_tokens=20_000)
    near = [
        one["account"]["name"]
        for one in found["candidates"]
        if any(seen["trigger"] == "near_limit" for seen in one["found"])
    ]
    return "; ".join(near)


# -- noting one -----------------------------------------------------------------------------------------------


def _noted(after: After) -> Checks:
    [new] = after.new("opportunity", "Northwind Traders") or [{}]
    yield (
        "it is a seat opportunity that they asked for",
        (new.get("kind"), new.get("trigger")) == ("seat", "customer_asked"),
    )
    yield (
        "for ten seats at that amount",
        (new.get("seats"), new.get("amount_minor"), new.get("currency")) == (10, 800_000, "EUR"),
    )
    yield "it is expected then", new.get("expected_on") == after.now.as_held("in_two_months")
    yield "nothing is posted", after.new("arr_movement", "Northwind Traders") == []
    yield (
        "it warns that value is not proven",
        after.tells_one_of("first value", "too early", "not proven", "onboarding"),
    )


@task(
    """Lotte at Northwind asked what ten more seats would cost: 8,000 euros a year. Note it as an opportunity, expected
    on {in_two_months}, and tell me whether anything speaks against asking them now.""",
    touches=("Northwind Traders",),
    check=_noted,
)
async def note_an_opportunity(hands: Hands) -> str:
    noted = await hands.call(
        "save_opportunity",
        account="Northwind Traders",
        name="Ten more seats",
        kind="seat",
        trigger="customer_asked",
        evidence=[{"what": "Lotte Visser asked what ten more seats would cost"}],
        seats=10,
        amount={"amount": "8000.00", "currency": "EUR"},
        expected_on=hands.in_two_months,
    )
    return " ".join(noted["triggered"])


# -- a yes and a no -------------------------------------------------------------------------------------------

SECOND_BRAND: dict[str, Any] = {"account": "Wayfarer Travel", "arr": 900_000, "seats": 12}


def _won(after: After) -> Checks:
    account, arr = SECOND_BRAND["account"], SECOND_BRAND["arr"]
    was = _open_one(after.before, account)
    one = after.now.one("select * from opportunity where id = :id", id=was["id"])
    today = after.now.today.isoformat()
    yield "it is won today", (one["stage"], one["closed_on"], one["amount_minor"]) == ("won", today, arr)
    posted = after.new("arr_movement", account)
    told = [(m["on"], m["kind"], m["expansion_kind"], m["amount_minor"]) for m in posted]
    yield "the ledger has the expansion, with its kind", told == [(today, "expansion", "seat", arr)]
    [before], [now] = (world.of_account("subscription", account) for world in (after.before, after.now))
    yield "the contract grew by it", now["arr_minor"] == before["arr_minor"] + arr
    yield "it has the seats", now["seats"] == before["seats"] + SECOND_BRAND["seats"]
    [due], [asked] = (world.of_account("renewal", account) for world in (after.before, after.now))
    yield "its renewal is asked for at the new amount", asked["amount_minor"] == due["amount_minor"] + arr
    grown = after.now.account(account)["arr_minor"] - after.before.account(account)["arr_minor"]
    yield "so did the account's ARR", grown == arr
    yield "it is one write", after.is_one_write


@task(
    """Wayfarer Travel signed the second brand today, twelve seats for 9,000 euros as we offered. Close that opportunity
    as won; João signed on the call, so there was no negotiation.""",
    touches=("Wayfarer Travel",),
    check=_won,
)
async def win_an_opportunity(hands: Hands) -> None:
    one, version = await _version(hands, "Wayfarer Travel")
    await hands.call(
        "save_opportunity", opportunity=one, expected_version=version, stage="won", reason="João signed on the call"
    )


def _taken_back(after: After) -> Checks:
    [win] = {entry["change_id"] for entry in after.before.entries_after(0) if entry["tool"] == "save_opportunity"}
    yield "ledger, contract, renewal and opportunity are as before the win", after.is_undone(change_id=win)
    yield "it is an undo of that win", {entry["undoes"] for entry in after.entries} == {win}


async def _won_too_soon(hands: Stagehand) -> None:
    await win_an_opportunity(hands)


@task(
    "I closed the second brand of Wayfarer Travel as won, but it was the wrong customer who signed. Take that back.",
    touches=("Wayfarer Travel",),
    given=_won_too_soon,
    check=_taken_back,
)
async def undo_a_win(hands: Hands) -> None:
    [win] = (await hands.call("list_changes", account="Wayfarer Travel", by="me"))["items"]
    await hands.call("undo_changes", change=win["change_id"], reason="Another customer signed")


def _declined(after: After) -> Checks:
    was = _open_one(after.before, "Umbrella Health")
    one = after.now.one("select * from opportunity where id = :id", id=was["id"])
    yield "it is lost as of yesterday", (one["stage"], one["closed_on"]) == ("lost", after.now.as_held("yesterday"))
    yield "it says why", "budget" in (one["lost_reason"] or "").lower()
    yield "nothing else changed", after.fields_of(one["id"]) <= {"stage", "closed_on", "lost_reason", "early_answer"}
    yield "nothing is posted", after.new("arr_movement", "Umbrella Health") == []


@task(
    "Clara told me yesterday that the laboratory at Umbrella Health will not happen: there is no budget for it.",
    person="ben",
    touches=("Umbrella Health",),
    check=_declined,
)
async def lose_an_opportunity(hands: Hands) -> None:
    one, version = await _version(hands, "Umbrella Health")
    await hands.call(
        "save_opportunity",
        opportunity=one,
        expected_version=version,
        stage="lost",
        closed_on=hands.yesterday,
        lost_reason="There is no budget for it",
    )


# -- revenue --------------------------------------------------------------------------------------------------


def _worth(world: World, currency: str, on: str) -> Decimal:
    """Dollars that a minor unit is worth at the rate in force on a day."""
    if currency == "USD":
        return Decimal(1) / 100
    [rate] = world.rows(
        "select rate from exchange_rate where from_currency = :currency and to_currency = 'USD' "
        'and removed_at is null and "on" <= :day order by "on" desc limit 1',
        currency=currency,
        day=on,
    )
    return Decimal(rate["rate"]) / (1 if currency == "JPY" else 100)


def _retained(after: After) -> Checks:
    """From the movements alone: what those who paid at the start pay at the end."""
    found = after.before.rows(
        'select account.currency, sum(case when "on" < :first then amount_minor else 0 end) as opening, '
        "sum(amount_minor) as closing from arr_movement movement join account on account.id = movement.account_id "
        "where account.owner_id = :ana and movement.currency = account.currency and account.removed_at is null "
        'and movement.removed_at is null and "on" <= :last group by account.id having opening > 0',
        ana=after.before.member("Ana Ruiz")["id"],
        first=after.before.as_held("a_year_ago"),
        last=after.before.as_held("yesterday"),
    )
    last = after.before.as_held("yesterday")
    worth = {currency: _worth(after.before, currency, last) for currency in {row["currency"] for row in found}}
    opening = sum(row["opening"] * worth[row["currency"]] for row in found)
    closing = sum(row["closing"] * worth[row["currency"]] for row in found)
    kept = sum(min(row["opening"], row["closing"]) * worth[row["currency"]] for row in found)
    yield "there is something to retain, and it moved", 0 < opening != closing
    for name, rate in (("net", closing / opening), ("gross", kept / opening)):
        yield f"it tells the {name} retention", after.tells_one_of(f"{rate:.2%}", f"{rate:.1%}", f"{rate:.0%}")


@task(
    "What were net and gross revenue retention of my customers, all in dollars, from {a_year_ago} to {yesterday}?",
    check=_retained,
)
async def tell_retention_of_my_book(hands: Hands) -> str:
    window = {"period_start": hands.a_year_ago, "period_end": hands.yesterday}
    found = await hands.call("get_retention", owner="me", currency="USD", **window)
    return f"NRR {found['nrr']:.2%}, GRR {found['grr']:.2%}"
