"""The pipeline, its judgements, its stages, and how a renewal ends."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

from evals._answer import money
from evals._task import After, Checks, Hands, Stagehand, task
from evals._world import Row, World

OPEN = "renewal.stage not in ('closed_won', 'closed_lost') and renewal.removed_at is null"


def _renewal(world: World, account: str) -> Row:
    """The account's earliest renewal; the one that opens after it closes later."""
    return min(world.of_account("renewal", account), key=lambda renewal: renewal["closes_on"])


async def _some_are_not_well(hands: Stagehand) -> None:
    hands.sql("update account set health_band = 'green'")
    hands.sql("update account_score set score = 82")
    for account, band, score in (("Initech", "red", 31), ("Wayfarer Travel", "yellow", 58), ("Globex", "red", 40)):
        hands.sql("update account set health_band = :band where name = :account", band=band, account=account)
        of = "(select id from account where name = :account)"
        hands.sql(f"update account_score set score = :score where account_id = {of}", score=score, account=account)


def _at_risk(after: After) -> Checks:
    found = after.before.rows(
        "select account.name, subscription.arr_minor, renewal.currency from renewal "
        "join account on account.id = renewal.account_id "
        "join subscription on subscription.id = renewal.subscription_id "
        f"where account.owner_id = :ana and {OPEN} and closes_on between :today and :until "
        "and health_band in ('red', 'yellow')",
        ana=after.before.member("Ana Ruiz")["id"],
        today=after.before.today.isoformat(),
        until=(after.before.today + timedelta(days=120)).isoformat(),
    )
    yield "it names those and no others", len(found) > 1 and after.names_just(row["name"] for row in found)
    sums: dict[str, int] = {}
    for row in found:
        sums[row["currency"]] = sums.get(row["currency"], 0) + row["arr_minor"]
    yield "it tells their ARR in each currency", all(after.tells(money(s, c), c) for c, s in sums.items())


@task(
    "Which of my renewals in the next 120 days are red or yellow, and what ARR is that in each currency?",
    given=_some_are_not_well,
    check=_at_risk,
)
async def list_renewals_at_risk(hands: Hands) -> str:
    last = hands.today + timedelta(days=120)
    found = await hands.call(
        "list_renewals", owner="me", band=["red", "yellow"], period_start=hands.today, period_end=last
    )
    names = "; ".join(row["account"] for row in found["items"])
    sums = ", ".join(f"{total['arr']['amount']} {total['arr']['currency']}" for total in found["sums"])
    return f"{names}: {sums}"


def _by_category(after: After) -> Checks:
    sums = after.before.rows(
        "select forecast_category, sum(amount_minor) as amount from renewal "
        "join account on account.id = renewal.account_id "
        "where account.owner_id in (select id from member where manager_id = :lea) and "
        f"{OPEN} and renewal.currency = 'USD' and closes_on between :today and :until "
        "and forecast_category is not null "
        "group by 1",
        lea=after.before.member("Lea Brandt")["id"],
        today=after.before.today.isoformat(),
        until=(after.before.today + timedelta(days=180)).isoformat(),
    )
    yield "there are several categories", len(sums) > 1
    for row in sums:
        figure = money(row["amount"], "USD")
        yield f"it tells what {row['forecast_category']} holds", after.tells(row["forecast_category"], figure)


@task(
    """Of the renewals of Ana and Ben that close in the next 180 days: what amount in dollars stands in each forecast
    category?""",
    person="lea",
    check=_by_category,
)
async def sum_the_pipeline_by_category(hands: Hands) -> str:
    last = hands.today + timedelta(days=180)
    sums: dict[str, Decimal] = {}
    for owner in ("Ana Ruiz", "Ben Okafor"):
        found = await hands.call(
            "list_renewals", owner=owner, period_start=hands.today, period_end=last, group_by="forecast_category"
        )
        for group in found["groups"]:
            if group["amount"]["currency"] == "USD":
                name = group.get("group") or "none"
                sums[name] = sums.get(name, Decimal()) + Decimal(group["amount"]["amount"])
    return ", ".join(f"{name}: {amount} USD" for name, amount in sums.items())


def _lacks(after: After) -> Checks:
    renewal = _renewal(after.before, "Initech")
    yield "it tells the last day for notice", after.tells(after.before.day(renewal["notice_deadline_on"]))
    yield "it tells what is lacking", after.tells_one_of("stakeholders confirmed", "stakeholders")
    yield "it tells what they decide by", after.tells(*json.loads(renewal["decision_criteria"]))


@task("By when can Initech give notice, what do they decide by, and what does their renewal still lack?", check=_lacks)
async def what_a_renewal_lacks(hands: Hands) -> str:
    return await hands.text("list_renewals", renewal="Initech", detail="full")


async def _read(hands: Hands, account: str) -> int:
    rows = (await hands.call("list_renewals", renewal=account))["items"]
    return rows[0]["version"]


def _best_case(after: After) -> Checks:
    renewal = _renewal(after.now, "Wayfarer Travel")
    yield "the category is the new one", renewal["forecast_category"] == "best_case"
    yield "the renewal says why", "brand" in (renewal["category_reason"] or "").lower()
    yield "nothing else changed", after.fields_of(renewal["id"]) == {"forecast_category", "category_reason"}
    yield "the history says why", all("brand" in (entry["reason"] or "").lower() for entry in after.entries)


@task(
    "Wayfarer Travel is best case, no longer commit: the second brand waits for its budget.",
    touches=("Wayfarer Travel",),
    check=_best_case,
)
async def set_a_forecast(hands: Hands) -> None:
    await hands.call(
        "update_renewal",
        renewal="Wayfarer Travel",
        expected_version=await _read(hands, "Wayfarer Travel"),
        forecast_category="best_case",
        reason="The second brand waits for its budget",
    )


def _asks_why(after: After) -> Checks:
    yield "it asks for the reason", after.tells_one_of("reason", "why", "what changed")
    yield "it says what it is now", after.tells_one_of("at_risk", "at risk")


@task("Put the renewal of Initech on commit. I will not say why. If you need to know, tell me.", check=_asks_why)
async def ask_why_before_a_forecast(hands: Hands) -> str:
    version = await _read(hands, "Initech")
    return await hands.refused(
        "update_renewal", renewal="Initech", expected_version=version, forecast_category="commit"
    )


def _names_the_gap(after: After) -> Checks:
    yield "it names what is missing", after.tells_one_of("stakeholders_confirmed_on", "stakeholders")


@task("Move the renewal of Initech to value review. If something is missing, tell me what.", check=_names_the_gap)
async def refuse_a_renewal_stage(hands: Hands) -> str:
    version = await _read(hands, "Initech")
    return await hands.refused("move_renewal", renewal="Initech", expected_version=version, stage="value_review")


def _moved_on(after: After) -> Checks:
    renewal = _renewal(after.now, "Initech")
    yield "it is in value review", renewal["stage"] == "value_review"
    yield (
        "the stakeholders are confirmed as of yesterday",
        renewal["stakeholders_confirmed_on"] == after.now.as_held("yesterday"),
    )
    yield "nothing else changed", after.fields_of(renewal["id"]) == {"stage", "stakeholders_confirmed_on"}


@task(
    "Gwen confirmed yesterday who decides at Initech. Set that, and move their renewal to value review.",
    touches=("Initech",),
    check=_moved_on,
)
async def fill_the_gap_and_move(hands: Hands) -> None:
    set_ = await hands.call(
        "update_renewal",
        renewal="Initech",
        expected_version=await _read(hands, "Initech"),
        stakeholders_confirmed_on=hands.yesterday,
    )
    version = set_["record"]["version"]
    await hands.call("move_renewal", renewal="Initech", expected_version=version, stage="value_review")


def _won(after: After) -> Checks:
    account = "Wayfarer Travel"
    old = _renewal(after.before, account)
    closed = after.now.one("select * from renewal where id = :id", id=old["id"])
    yield "it is won, at that amount", (closed["stage"], closed["amount_minor"]) == ("closed_won", 3_000_000)
    term = after.new("subscription", account)
    first = (after.before.day(old["closes_on"]) + timedelta(days=1)).isoformat()
    yield (
        "the next term starts the day after the last",
        [(t["starts_on"], t["arr_minor"]) for t in term] == [(first, 3_000_000)],
    )
    posted = [(m["on"], m["kind"], m["amount_minor"]) for m in after.new("arr_movement", account)]
    yield "the ledger has the difference", posted == [(first, "expansion", 3_000_000 - old["amount_minor"])]
    yield "its next renewal is open", [r["stage"] for r in after.new("renewal", account)] == ["not_started"]
    yield "the account renews then", after.now.account(account)["renewal_on"] == term[0]["ends_on"] if term else False
    yield "it is one write", after.is_one_write


@task(
    """Wayfarer Travel signed early, for another year at 30,000 euros. Close their renewal as won; that the stages were
    skipped is fine, João signed in our call.""",
    touches=("Wayfarer Travel",),
    check=_won,
)
async def close_a_renewal_as_won(hands: Hands) -> None:
    await hands.call(
        "move_renewal",
        renewal="Wayfarer Travel",
        expected_version=await _read(hands, "Wayfarer Travel"),
        stage="closed_won",
        amount={"amount": "30000.00", "currency": "EUR"},
        reason="João signed in our call",
    )


def _lost(after: After) -> Checks:
    account = "Bluth Homes"
    old = _renewal(after.before, account)
    closed = after.now.one("select * from renewal where id = :id", id=old["id"])
    yield "it is lost, for that reason", (closed["stage"], closed["loss_reason"]) == ("closed_lost", "company_change")
    yield "it is out of the forecast", closed["forecast_category"] == "omitted"
    first = (after.before.day(old["closes_on"]) + timedelta(days=1)).isoformat()
    [term] = after.before.of_account("subscription", account)
    posted = [(m["on"], m["kind"], m["amount_minor"], m["reason"]) for m in after.new("arr_movement", account)]
    yield "the ledger loses all of it the day after", posted == [(first, "churn", -term["arr_minor"], "company_change")]
    today = after.now.account(account)["arr_minor"]
    yield "until then the ARR stands", today == after.before.account(account)["arr_minor"]
    yield "no renewal is open", after.now.of_account("renewal", account, f"{OPEN}") == []


@task(
    "Bluth Homes wound up their business. Close their renewal as lost for that reason.",
    person="ben",
    touches=("Bluth Homes",),
    check=_lost,
)
async def close_a_renewal_as_lost(hands: Hands) -> None:
    await hands.call(
        "move_renewal",
        renewal="Bluth Homes",
        expected_version=await _read(hands, "Bluth Homes"),
        stage="closed_lost",
        loss_reason="company_change",
        reason="They wound up their business",
    )


def _won_back(after: After) -> Checks:
    [close] = {entry["change_id"] for entry in after.before.entries_after(0) if entry["tool"] == "move_renewal"}
    yield "renewal, subscription, ledger and account are as before the close", after.is_undone(change_id=close)
    yield "it is an undo of that close", {entry["undoes"] for entry in after.entries} == {close}


async def _closed_too_soon(hands: Stagehand) -> None:
    await close_a_renewal_as_won(hands)


@task(
    "I closed the renewal of Wayfarer Travel as won today, but they have not signed. Take that back.",
    touches=("Wayfarer Travel",),
    given=_closed_too_soon,
    check=_won_back,
)
async def undo_a_close(hands: Hands) -> None:
    [close] = (await hands.call("list_changes", account="Wayfarer Travel", by="me"))["items"]
    await hands.call("undo_changes", change=close["change_id"], reason="Not signed yet")
