"""Which accounts: filters, gaps and totals."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from evals._answer import money
from evals._task import After, Checks, Hands, task


async def _names(hands: Hands, **filters: object) -> str:
    found = await hands.call("find_accounts", limit=200, budget_tokens=20_000, fields=[], **filters)
    assert found.get("next_cursor") is None, "one page holds the book of one of us"
    return "; ".join(line["name"] for line in found["items"])


def _quiet(after: After) -> Checks:
    since = (after.before.today - timedelta(days=60)).isoformat()
    where = "segment = 'enterprise' and (last_touch_on is null or last_touch_on < :since)"
    quiet = [account["name"] for account in after.before.owned_by("Ben Okafor", where, since=since)]
    yield "it names those and no others", "Hooli" in quiet and after.names_just(quiet)


@task("Which of my enterprise accounts has nobody touched in the last 60 days?", person="ben", check=_quiet)
async def find_the_quiet_ones(hands: Hands) -> str:
    before = hands.today - timedelta(days=60)
    return await _names(hands, owner="me", segment=["enterprise"], last_touch_before=before)


def _no_champion_soon(after: After) -> Checks:
    last = (after.before.today + timedelta(days=180)).isoformat()
    where = "champion_id is null and stage <> 'churned' and renewal_on between :today and :last"
    found = after.before.owned_by("Ana Ruiz", where, today=after.before.today.isoformat(), last=last)
    yield "it names those and no others", bool(found) and after.names_just(account["name"] for account in found)


@task("Which of my accounts renew within the next 180 days and have no champion?", check=_no_champion_soon)
async def find_who_renews_without_a_champion(hands: Hands) -> str:
    last = hands.today + timedelta(days=180)
    return await _names(hands, owner="me", renews_from=hands.today, renews_to=last, missing=["champion"])


def _no_sponsor(after: After) -> Checks:
    where = "executive_sponsor_id is null and segment in ('enterprise', 'mid_market') and stage <> 'churned'"
    found = [account["name"] for account in after.before.owned_by("Ana Ruiz", where)]
    yield "it names those and no others", "Globex" in found and after.names_just(found)


@task(
    "Which of my enterprise and mid-market accounts have no executive sponsor? Leave out those that churned.",
    check=_no_sponsor,
)
async def find_who_lacks_a_sponsor(hands: Hands) -> str:
    live = ["onboarding", "adoption", "value_realization", "expansion", "renewal", "advocacy"]
    return await _names(
        hands, owner="me", segment=["enterprise", "mid_market"], missing=["executive_sponsor"], stage=live
    )


def _team_arr(after: After) -> Checks:
    lea = after.before.member("Lea Brandt")["id"]
    sums = after.before.rows(
        "select currency, sum(arr_minor) as arr, count(*) as accounts from account where segment = 'enterprise' and "
        "owner_id in (select id from member where manager_id = :lea or id = :lea) and removed_at is null group by 1",
        lea=lea,
    )
    for row in sums:
        yield f"it tells the sum in {row['currency']}", after.tells(money(row["arr"], row["currency"]), row["currency"])
    yield "it tells how many there are", after.tells(sum(row["accounts"] for row in sums))


@task(
    "How many enterprise accounts does my team have, and what ARR is that in each currency?",
    person="lea",
    check=_team_arr,
)
async def sum_the_team_arr(hands: Hands) -> str:
    sums: dict[str, Decimal] = {}
    count = 0
    for owner in ("Ana Ruiz", "Ben Okafor"):
        found = await hands.call("find_accounts", owner=owner, segment=["enterprise"], sum_arr=True, fields=[])
        count += found["total"]
        for amount in found["arr_total"]:
            sums[amount["currency"]] = sums.get(amount["currency"], Decimal()) + Decimal(amount["amount"])
    told = ", ".join(f"{arr} {currency}" for currency, arr in sums.items())
    return f"{count} accounts: {told}"


def _nobodys(after: After) -> Checks:
    found = after.before.values("select name from account where owner_id is null and removed_at is null")
    yield "it names those and no others", "Bluth Homes" in found and after.names_just(found)


@task("Which accounts does nobody own?", check=_nobodys)
async def find_who_nobody_owns(hands: Hands) -> str:
    return await _names(hands, missing=["owner"])


def _region(after: After) -> Checks:
    where = "custom ->> 'region' = 'amer' and stage <> 'onboarding'"
    found = [account["name"] for account in after.before.owned_by("Ana Ruiz", where)]
    yield "it names those and no others", len(found) > 1 and after.names_just(found)


@task("Which of my accounts have region amer and are past onboarding?", check=_region)
async def find_by_a_field_of_our_own(hands: Hands) -> str:
    past = ["adoption", "value_realization", "expansion", "renewal", "advocacy", "churned"]
    return await _names(hands, owner="me", custom={"region": "amer"}, stage=past)


def _big_tickets(after: After) -> Checks:
    found = after.before.owned_by("Ben Okafor", "currency = 'USD' and arr_minor between 10000000 and 40000000")
    yield "it names those and no others", bool(found) and after.names_just(account["name"] for account in found)


@task(
    "Which of my accounts pay between 100,000 and 400,000 dollars a year?",
    person="ben",
    check=_big_tickets,
)
async def find_by_arr(hands: Hands) -> str:
    return await _names(hands, owner="me", arr={"min": "100000", "max": "400000", "currency": "USD"})


def _total(after: After) -> Checks:
    for row in after.before.rows(
        "select currency, sum(arr_minor) as arr from account where owner_id = :ana and removed_at is null group by 1",
        ana=after.before.member("Ana Ruiz")["id"],
    ):
        yield f"it tells the sum in {row['currency']}", after.tells(money(row["arr"], row["currency"]), row["currency"])


@task("What ARR do I look after, in each currency? Do not convert anything.", check=_total)
async def sum_a_book(hands: Hands) -> str:
    return await hands.text("find_accounts", owner="me", sum_arr=True, fields=[], limit=1)
