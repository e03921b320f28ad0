"""Health: why a score moved, a word over it, risk cases, signals told, what is missing, and whether to trust it."""

from __future__ import annotations

import json
from datetime import timedelta

from evals._answer import said_in
from evals._task import After, Checks, Hands, Stagehand, task


def _told_why(after: After) -> Checks:
    [bad] = after.before.of_account("health_note", "Initech", "sentiment = 'negative'")
    yield (
        "it names the mood of notes and meetings, and the day of the bad news",
        (after.tells_one_of("sentiment", "mood", "negative") and after.tells(after.before.day(bad["written_on"]))),
    )
    weeks = [_power_sessions(after, week) for week in (0, 2)]
    yield (
        "it names power users, with their sessions of last week and of two weeks before",
        (weeks[0] < weeks[1] and after.tells("power", *weeks)),
    )


def _power_sessions(after: After, weeks_back: int) -> int:
    last = after.before.today.toordinal() - 7 * weeks_back
    return after.before.value(
        "select sum(power_sessions) from usage_day where account_id = :account and department = '' "
        "and day between :last - 6 and :last",
        account=after.before.account("Initech")["id"],
        last=last,
    )


@task(
    "Why did the health of Initech fall over the last month? The two things that weigh most, with figures and days.",
    check=_told_why,
)
async def why_a_score_fell(hands: Hands) -> str:
    month_ago = hands.today - timedelta(days=30)
    told = await hands.call("explain_health", account="Initech", as_of=hands.today, since=month_ago)
    most = {mover["name"] for mover in told["why"]["measures"][:2]}
    lines = [line for line in told["measures"] if line["name"] in most]
    seen = [f"{line['title']}: " + ", ".join(f"{e['on']} {e['what']}" for e in line["evidence"]) for line in lines]
    return f"It went from {told['why']['score_then']} to {told['why']['score_now']}. {'; '.join(seen)}"


def _overridden(after: After) -> Checks:
    [override] = after.new("health_override", "Hooli") or [{}]
    hooli = after.now.account("Hooli")
    yield (
        "it is green for that long",
        ((override.get("band"), override.get("expires_on")) == ("green", after.now.as_held("in_a_month"))),
    )
    yield "with the reason given", said_in(override.get("reason", ""), "pilot")
    yield "lists show it green", hooli["health_band"] == "green"
    yield "the computed score is as it was", after.now.score("Hooli") == after.before.score("Hooli")
    yield "nothing of the account itself changed", after.fields_of(hooli["id"]) == set()


@task(
    """Hooli looks worse than it is, the numbers dip because of their pilot. Count it as green until {in_a_month}.""",
    person="ben",
    touches=("Hooli",),
    check=_overridden,
)
async def count_it_as_green(hands: Hands) -> None:
    reason = "The numbers dip because of their pilot"
    until = hands.in_a_month
    await hands.call("override_health", account="Hooli", band="green", expires_on=until, reason=reason)


def _risk_opened(after: After) -> Checks:
    [case] = after.new("risk", "Globex") or [{}]
    gone = after.before.contact("Globex", "Helena Ford")
    yield "there is an open case about the sponsor", (case.get("category"), case.get("state")) == ("sponsor", "open")
    yield "it is hers", case.get("owner_id") == after.before.member("Ana Ruiz")["id"]
    yield "it is due on that day", case.get("due_on") == after.now.as_held("in_two_months")
    yield "it has the plan", said_in(case.get("mitigation") or "", "CFO")
    evidence = json.loads(case.get("evidence") or "[]")
    yield "who left stands in it as evidence", gone["id"] in {one["record"] for one in evidence}
    yield "it is one write", after.is_one_write


@task(
    """Open a risk case for Globex: Helena Ford, our sponsor, left, put her record in as evidence. I own it; the plan is
    to win the CFO over, and that should have worked by {in_two_months}.""",
    touches=("Globex",),
    check=_risk_opened,
)
async def open_a_risk_case(hands: Hands) -> None:
    people = await hands.call("list_contacts", account="Globex")
    helena = next(person for person in people["contacts"] if person["name"] == "Helena Ford")
    await hands.call(
        "save_risk",
        account="Globex",
        category="sponsor",
        owner="me",
        due_on=hands.in_two_months,
        mitigation="Win the CFO over",
        evidence=[{"what": "Helena Ford, our sponsor, left", "record": helena["id"]}],
    )


async def _a_case_at_hooli(hands: Stagehand) -> None:
    await hands.call("save_risk", account="Hooli", category="adoption", summary="Use falls in two teams")


def _risk_closed(after: After) -> Checks:
    [case] = after.now.of_account("risk", "Hooli")
    yield "it is closed, as of today", (case["state"], case["closed_on"]) == ("closed", after.now.as_held("today"))
    yield "with what came of it", said_in(case["outcome"] or "", "trained")
    yield "what it was about stands as it was", case["summary"] == "Use falls in two teams"


@task(
    "The risk at Hooli is dealt with: both teams were trained and are back. Close the case.",
    person="ben",
    touches=("Hooli",),
    given=_a_case_at_hooli,
    check=_risk_closed,
)
async def close_a_risk_case(hands: Hands) -> None:
    [case] = (await hands.call("get_account", account="Hooli", sections=["risk"]))["risk"]
    outcome = "Both teams were trained and are back"
    await hands.call("save_risk", account="Hooli", expected_version=case["version"], outcome=outcome)


def _signals_kept(after: After) -> Checks:
    globex = after.now.account("Globex")
    [ticket] = after.new("ticket", "Globex") or [{}]
    yield (
        "the ticket is there, severe and open",
        ((ticket.get("source_id"), ticket.get("severity"), ticket.get("status")) == ("HD-77", 1, "open")),
    )
    yesterday = after.before.spoken("yesterday").toordinal()
    users = after.now.values(
        "select active_users from usage_day where account_id = :account and day = :day and department = ''",
        account=globex["id"],
        day=yesterday,
    )
    yield "yesterday's active users are what the feed says", users == [141]
    yield "the row of nobody's is told", after.tells("HD-78")
    yield "nothing but Globex was touched", {entry["account_id"] for entry in after.entries} <= {globex["id"], None}


@task(
    """These came from the help desk and the product, put them in: ticket HD-77 of Globex, opened {yesterday} 09:00 UTC,
    severity 1, "Login fails"; ticket HD-78 of Nowhere Ltd, opened {yesterday} 10:00 UTC, severity 2; and 141 active
    users at Globex {yesterday}. Tell me what could not be recorded.""",
    person="ada",
    touches=None,
    check=_signals_kept,
)
async def tell_signals(hands: Hands) -> str:
    day = hands.yesterday.isoformat()
    items = [
        {"kind": "ticket", "account": "Globex", "source_id": "HD-77", "opened_at": f"{day}T09:00:00Z", "severity": 1,
         "subject": "Login fails"},
        {"kind": "ticket", "account": "Nowhere Ltd", "source_id": "HD-78", "opened_at": f"{day}T10:00:00Z",
         "severity": 2},
        {"kind": "usage", "account": "Globex", "on": day, "figures": {"active_users": 141}},
    ]  # fmt: skip
    done = await hands.call("record_signals", items=items, source="helpdesk")
    bad = [items[item["index"]]["source_id"] + ": " + item["why"] for item in done["items"] if item.get("why")]
    return "; ".join(bad)


def _gaps_counted(after: After) -> Checks:
    lacking = after.before.rows(
        "select account.name, arr_minor from account where removed_at is null and stage <> 'churned' "
        "and champion_id is null"
    )
    yield "it says how many", bool(lacking) and after.tells(len(lacking))


@task(
    "Of all our customers who are still with us, how many have no champion on record?",
    person="ada",
    check=_gaps_counted,
)
async def how_many_lack_a_champion(hands: Hands) -> str:
    told = await hands.call("get_metrics", metric="completeness")
    [table] = [table for table in told["tables"] if table["name"] == "by_gap"]
    [champion] = [row for row in table["rows"] if row["label"] == "champion"]
    return f"{champion['accounts']} have no champion."


def _honest(after: After) -> Checks:
    yield (
        "it says that too few have left to tell",
        after.tells_one_of("too few", "too small", "not enough", "nothing can be said", "cannot be told", "can't tell"),
    )


@task("Can I rely on our health scores to tell me who is going to churn?", person="ada", check=_honest)
async def can_the_score_be_trusted(hands: Hands) -> str:
    return (await hands.call("get_health_accuracy", every="quarter"))["verdict"]
