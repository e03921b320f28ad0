"""Who changed what, how things were, and taking back: a write, a record of it, a run."""

from __future__ import annotations

from decimal import Decimal

from evals._answer import money
from evals._task import After, Checks, Hands, Stagehand, task


async def _tagged_by_mistake(hands: Stagehand) -> None:
    version = await hands.version("Initech")
    await hands.call(
        "update_account",
        account="Initech",
        expected_version=version,
        risk_reason="Nothing to fear here",
        add_tags=["safe"],
    )


def _taken_back(after: After) -> Checks:
    [mistake] = {entry["change_id"] for entry in after.before.entries_after(0) if entry["actor"] == "Ana Ruiz"}
    yield "the account is as before that", after.is_undone(change_id=mistake)
    yield "it is an undo of that write", {entry["undoes"] for entry in after.entries} == {mistake}


@task(
    "My last change to Initech was for another account. Take it back.",
    touches=("Initech",),
    given=_tagged_by_mistake,
    check=_taken_back,
)
async def undo_my_last_change(hands: Hands) -> None:
    [last, *_] = (await hands.call("list_changes", account="Initech", by="me"))["items"]
    await hands.call("undo_changes", change=last["change_id"])


async def _a_call_with_follow_ups(hands: Stagehand) -> None:
    await hands.call(
        "log_meeting",
        account="Acme Robotics",
        kind="call",
        attendees=[{"contact": "Paul Stein"}],
        summary="All is well.",
        follow_ups=[{"title": "Send the user-day programme"}, {"title": "Offer Forecasting to plant four"}],
    )


def _one_record_back(after: After) -> Checks:
    left = {row["title"] for row in after.now.of_account("task", "Acme Robotics", "status = 'open'")}
    yield "that task is gone", "Offer Forecasting to plant four" not in left
    yield "the other one stays", "Send the user-day programme" in left
    calls = after.now.of_account("meeting", "Acme Robotics", "kind = 'call'")
    yield "the call stays", [call["summary"] for call in calls] == ["All is well."]
    yield "one record was touched", len(after.entries) == 1 and after.entries[0]["undoes"] is not None


@task(
    """When I logged today's call with Acme Robotics, the follow-up about Forecasting was a mistake. Undo just that one,
    and keep the call and the other follow-up.""",
    touches=("Acme Robotics",),
    given=_a_call_with_follow_ups,
    check=_one_record_back,
)
async def undo_one_record_of_a_write(hands: Hands) -> None:
    found = await hands.call("list_changes", account="Acme Robotics", by="me", made_by_tool="log_meeting")
    [logged] = found["items"]
    tasks = (await hands.call("list_tasks", account="Acme Robotics"))["items"]
    [mistake] = [item["id"] for item in tasks if item["title"] == "Offer Forecasting to plant four"]
    await hands.call("undo_changes", change=logged["change_id"], records=[mistake])


ACCOUNTS = "account_id,name,domain,owner_email\nx1,Blue Sun,bluesun.example,\nx2,Wernham Hogg,wernham.example,\n"
CONTACTS = "contact_id,account_id,name,title\np1,x1,Kay Frye,Mechanic\np2,x2,David Brent,Manager\n"


async def _a_wrong_import(hands: Stagehand) -> None:
    await hands.imports(accounts=ACCOUNTS, contacts=CONTACTS)


def _run_back(after: After) -> Checks:
    [run] = {entry["run_id"] for entry in after.before.entries_after(0)} - {None}
    came = {entry["entity_id"] for entry in after.before.entries_after(0) if entry["run_id"] == run}
    yield "two accounts and two people came with it", len(came) == 4
    yield "none of them is left", after.is_undone(run_id=run)
    yield "nothing else was touched", {entry["entity_id"] for entry in after.entries} == came
    yield "it is one write", after.is_one_write


@task(
    "The import of today, with Blue Sun and Wernham Hogg, was the wrong file. Take all of it back.",
    person="ada",
    touches=None,
    given=_a_wrong_import,
    check=_run_back,
)
async def undo_a_run(hands: Hands) -> None:
    [change, *_] = (await hands.call("list_changes", account="Blue Sun"))["items"]
    await hands.call("undo_changes", run=change["run"], reason="It was the wrong file")


async def _twice_edited(hands: Stagehand) -> None:
    version = await hands.version("Hooli")
    await hands.call("update_account", account="Hooli", expected_version=version, industry="Media")
    async with hands.as_("lea") as lea:
        await lea.call("update_account", account="Hooli", expected_version=version + 1, industry="Cloud")


def _left_to_lea(after: After) -> Checks:
    yield "it says that Lea changed it since", after.tells("Lea Brandt", "industry")


@task(
    """Take back what I changed on Hooli today. If somebody edited the same thing since, leave it, and tell me who and
    what.""",
    person="ben",
    given=_twice_edited,
    check=_left_to_lea,
)
async def leave_what_a_colleague_edited(hands: Hands) -> str:
    [mine] = (await hands.call("list_changes", account="Hooli", by="me"))["items"]
    return await hands.refused("undo_changes", change=mine["change_id"])


async def _lea_raised_globex(hands: Stagehand) -> None:
    async with hands.as_("lea") as lea:
        version = await lea.version("Globex")
        change = {"tier": "platinum", "reason": "Strategic for the energy sector"}
        await lea.call("update_account", account="Globex", expected_version=version, **change)


def _who_and_why(after: After) -> Checks:
    [entry] = [e for e in after.before.entries_after(0) if e["fields"] == ["tier"]]
    yield "it says who", after.tells(entry["actor"])
    yield "it says from what to what", after.tells(entry["before"]["tier"], entry["after"]["tier"])
    yield "it says why", after.tells(entry["reason"])


@task("Who changed the tier of Globex, from what to what, and why?", given=_lea_raised_globex, check=_who_and_why)
async def who_changed_what(hands: Hands) -> str:
    changes = (await hands.call("list_changes", account="Globex", limit=50))["items"]
    for change in changes:
        for field in (field for record in change["records"] for field in record["fields"]):
            if field["field"] == "tier" and field.get("before"):
                return f"{change['by']}: {field['before']} → {field['after']}, {change['reason']}"
    return ""


async def _a_day_of_ben(hands: Stagehand) -> None:
    async with hands.as_("ben") as ben:
        await ben.call("create_tasks", account="Hooli", tasks=[{"title": "Find who owns the rollout in Asia"}])
        await ben.call("add_health_note", account="Umbrella Health", text="Audit logs are on the roadmap.")


def _his_day(after: After) -> Checks:
    ben = [entry for entry in after.before.entries_after(0) if entry["actor"] == "Ben Okafor"]
    yield "it names each of his writes", bool(ben) and after.tells(*{entry["tool"] for entry in ben})
    yield "it says what they hold", after.tells("Find who owns the rollout in Asia", "Audit logs are on the roadmap")


@task("What did Ben change today?", person="lea", given=_a_day_of_ben, check=_his_day)
async def what_a_colleague_changed(hands: Hands) -> str:
    return await hands.text("list_changes", by="Ben Okafor", period_start=hands.today)


def _arr_then(after: After) -> Checks:
    umbrella = after.before.account("Umbrella Health")
    day = after.before.as_held("half_a_year_ago")
    minor = after.before.value(
        'select sum(amount_minor) from arr_movement where account_id = :id and "on" <= :day', id=umbrella["id"], day=day
    )
    yield "it was another ARR then", minor != umbrella["arr_minor"]
    yield "it tells both", after.tells(money(minor, "EUR"), money(umbrella["arr_minor"], "EUR"))


@task("What was the ARR of Umbrella Health on {half_a_year_ago}, and what is it today?", person="ben", check=_arr_then)
async def arr_as_of_a_day(hands: Hands) -> str:
    then = await hands.call("get_account", account="Umbrella Health", sections=[], as_of=hands.half_a_year_ago)
    now = await hands.call("get_account", account="Umbrella Health", sections=[])
    return f"{then['arr']['amount']} EUR then, {now['arr']['amount']} EUR now"


def _sponsor_then(after: After) -> Checks:
    day = after.before.as_held("a_hundred_days_ago")
    where = "role = 'executive_sponsor' and from_on <= :day and (to_on is null or to_on >= :day)"
    [seat] = after.before.of_account("sponsorship", "Globex", where, day=day)
    yield (
        "it names who sat there then",
        after.tells(after.before.value("select name from contact where id = :id", id=seat["contact_id"])),
    )


@task("Who was the executive sponsor of Globex on {a_hundred_days_ago}?", check=_sponsor_then)
async def sponsor_as_of_a_day(hands: Hands) -> str:
    then = await hands.call("get_account", account="Globex", sections=["people"], as_of=hands.a_hundred_days_ago)
    return then["executive_sponsor"]["name"]


def _book_then(after: After) -> Checks:
    year_ago = after.before.arr_on(after.before.spoken("a_year_ago"), "Ben Okafor")
    yield "there was ARR then", bool(year_ago)
    for currency, minor in year_ago.items():
        yield f"it tells the sum in {currency}", after.tells(money(minor, currency), currency)


@task(
    "What was the ARR of the accounts I own today a year ago, on {a_year_ago}, in each currency?",
    person="ben",
    check=_book_then,
)
async def book_as_of_a_day(hands: Hands) -> str:
    sums: dict[str, Decimal] = {}
    for line in (await hands.call("find_accounts", owner="me", fields=[], limit=200))["items"]:
        then = await hands.call("get_account", account=line["id"], sections=[], as_of=hands.a_year_ago)
        currency = then["arr"]["currency"]
        sums[currency] = sums.get(currency, Decimal()) + Decimal(then["arr"]["amount"])
    return ", ".join(f"{arr} {currency}" for currency, arr in sums.items())


def _why_lost(after: After) -> Checks:
    [churn] = after.before.of_account("arr_movement", "Soylent Foods", "kind = 'churn'")
    yield (
        "it tells when it churned, and how much",
        after.tells(after.before.day(churn["on"]), money(-churn["amount_minor"], churn["currency"]))
        or after.tells(after.before.day(churn["on"]), money(churn["amount_minor"], churn["currency"])),
    )
    yield "it tells why", after.tells(churn["reason"])
    [interview] = after.before.of_account("meeting", "Soylent Foods", "kind = 'exit_interview'")
    yield "it tells when the exit interview was", after.tells(after.before.day(interview["held_on"]))


@task(
    "How did we lose Soylent Foods? When did the ARR go, how much and why, and when was the exit interview?",
    person="ben",
    check=_why_lost,
)
async def tell_how_an_account_was_lost(hands: Hands) -> str:
    return await hands.text("get_timeline", account="Soylent Foods", kinds=["arr", "meeting", "note"])
