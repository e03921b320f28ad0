"""Fields of accounts: set, corrected, previewed; stages, new accounts and whole books."""

from __future__ import annotations

import json

from evals._task import After, Checks, Hands, Stagehand, task


def _renews_later(after: After) -> Checks:
    hooli = after.now.account("Hooli")
    yield "it renews on that day", hooli["renewal_on"] == after.now.as_held("last_day_of_month_after_next")
    yield "nothing else of it changed", after.fields_of(hooli["id"]) == {"renewal_on"}


@task(
    "The renewal day we have for Hooli is wrong: it is {last_day_of_month_after_next}. Fix it.",
    person="ben",
    touches=("Hooli",),
    check=_renews_later,
)
async def fix_a_date(hands: Hands) -> None:
    version = await hands.version("Hooli")
    day = hands.last_day_of_month_after_next
    await hands.call("update_account", account="Hooli", expected_version=version, renewal_on=day)


def _onboarded(after: After) -> Checks:
    northwind = after.now.account("Northwind Traders")
    yield "onboarding is complete", northwind["onboarding_status"] == "complete"
    yield "the risk is gone", northwind["risk_reason"] is None
    yield "the tag is on it", json.loads(northwind["tags"]) == ["recovered"]
    yield "its stage is as it was", northwind["stage"] == after.before.account("Northwind Traders")["stage"]
    yield "it is one write", after.is_one_write


@task(
    """Onboarding at Northwind Traders is complete. Set that, take the risk reason off, and tag it `recovered`. Leave
    the stage.""",
    touches=("Northwind Traders",),
    check=_onboarded,
)
async def set_and_clear_fields(hands: Hands) -> None:
    await hands.call(
        "update_account",
        account="Northwind Traders",
        expected_version=await hands.version("Northwind Traders"),
        onboarding_status="complete",
        clear=["risk_reason"],
        add_tags=["recovered"],
    )


def _more_plants(after: After) -> Checks:
    before, now = (json.loads(world.account("Acme Robotics")["custom"]) for world in (after.before, after.now))
    yield "it has nine plants, and the rest of its own fields", now == {**before, "plants": 9}


@task("Acme Robotics has 9 plants now. Our field for it is `plants`.", touches=("Acme Robotics",), check=_more_plants)
async def set_a_field_of_our_own(hands: Hands) -> None:
    version = await hands.version("Acme Robotics")
    await hands.call("update_account", account="Acme Robotics", expected_version=version, custom={"plants": 9})


async def _lea_was_there(hands: Stagehand) -> None:
    async with hands.as_("lea") as lea:
        version = await lea.version("Initech")
        await lea.call("update_account", account="Initech", expected_version=version, add_tags=["watch-list"])


def _told_who(after: After) -> Checks:
    yield "it says who changed it, and what", after.tells("Lea Brandt", "tags")


@task(
    """Set the industry of Initech to Banking. The version I know is 1. If somebody changed the account since, change
    nothing, and tell me who it was and which field.""",
    given=_lea_was_there,
    check=_told_who,
)
async def stop_at_a_stale_version(hands: Hands) -> str:
    return await hands.refused("update_account", account="Initech", expected_version=1, industry="Banking")


def _both_edits(after: After) -> Checks:
    initech = after.now.account("Initech")
    yield "Ana's edit is there", initech["industry"] == "Banking"
    yield "Lea's is too", "watch-list" in json.loads(initech["tags"])
    wrote = [(entry["actor"], tuple(entry["fields"])) for entry in after.entries]
    yield "each is theirs", sorted(wrote) == [("Ana Ruiz", ("industry",)), ("Lea Brandt", ("tags",))]


@task(
    "The industry of Initech is Banking.",
    then={"lea": "Tag Initech `watch-list`."},
    touches=("Initech",),
    check=_both_edits,
)
async def edit_beside_a_colleague(hands: Hands) -> None:
    read = await hands.version("Initech")
    async with hands.as_("lea") as lea:
        await lea.call("update_account", account="Initech", expected_version=read, add_tags=["watch-list"])
    banking = {"account": "Initech", "industry": "Banking"}
    await hands.refused("update_account", expected_version=read, **banking)
    await hands.call("update_account", expected_version=await hands.version("Initech"), **banking)


def _by_plan(after: After) -> Checks:
    hooli = after.now.account("Hooli")
    yield "tier and touch are the new ones", (hooli["tier"], hooli["touch"]) == ("gold", "mid")
    plans = after.now.rows("select * from plan where tool = 'update_account'")
    yield "it was shown first, as a plan", [plan["state"] for plan in plans] == ["committed"]
    yield "that plan was carried out", {entry["plan_id"] for entry in after.entries} == {plan["id"] for plan in plans}


@task(
    "Hooli should be tier gold and touch mid. Show me first what would change; if it is just that, do it.",
    person="ben",
    touches=("Hooli",),
    check=_by_plan,
)
async def preview_then_commit(hands: Hands) -> None:
    version = await hands.version("Hooli")
    plan = await hands.call(
        "update_account", account="Hooli", expected_version=version, tier="gold", touch="mid", preview=True
    )
    [difference] = plan["differences"]
    assert {field["field"] for field in difference["fields"]} == {"tier", "touch"}
    await hands.call("commit_plan", plan=plan["plan_id"])


def _just_shown(after: After) -> Checks:
    yield "it says from whom to whom", after.tells("Ana Ruiz", "Ben Okafor")
    yield "Globex is still Ana's", after.now.account("Globex") == after.before.account("Globex")


@task("What exactly would change if I gave Globex to Ben Okafor? Do not do it, show me.", check=_just_shown)
async def only_preview(hands: Hands) -> str:
    version = await hands.version("Globex")
    shown = await hands.text(
        "update_account", account="Globex", expected_version=version, owner="Ben Okafor", preview=True
    )
    for person in (await hands.call("get_workspace"))["people"]:
        shown = shown.replace(person["id"], person["name"])
    return shown


def _created(after: After) -> Checks:
    tyrell = after.now.account("Tyrell Optics")
    yield (
        "it is as told",
        (tyrell["domain"], tyrell["segment"], tyrell["renewal_on"])
        == (
            "tyrell.example",
            "mid_market",
            after.now.as_held("in_two_months"),
        ),
    )
    yield "it is Ana's", tyrell["owner_id"] == after.now.member("Ana Ruiz")["id"]


@task(
    "We won a customer: Tyrell Optics, tyrell.example, mid-market. It is mine and renews on {in_two_months}.",
    touches=("Tyrell Optics",),
    check=_created,
)
async def create_an_account(hands: Hands) -> None:
    await hands.call(
        "create_account",
        name="Tyrell Optics",
        domain="tyrell.example",
        segment="mid_market",
        owner="me",
        renewal_on=hands.in_two_months,
    )


def _is_there_already(after: After) -> Checks:
    globex = after.before.account("Globex")
    yield "it says which account there is", after.tells("Globex") and after.tells_one_of(globex["id"], globex["domain"])
    yield "there is one Globex", len(after.now.rows("select id from account where domain = 'globex.example'")) == 1


@task(
    "Create an account for Globex Corporation, globex.example. If we have them already, say so and leave it.",
    check=_is_there_already,
)
async def find_instead_of_create(hands: Hands) -> str:
    return await hands.refused("create_account", name="Globex Corporation", domain="globex.example")


def _not_ready(after: After) -> Checks:
    yield "it says what is missing", after.tells_one_of("onboarding is complete", "onboarding is in_progress")


@task(
    "Move Northwind Traders on to adoption if it is ready. If not, tell me what is missing.",
    check=_not_ready,
)
async def refuse_a_stage_too_early(hands: Hands) -> str:
    version = await hands.version("Northwind Traders")
    return await hands.refused(
        "move_account_stage", account="Northwind Traders", to_stage="adoption", expected_version=version
    )


def _moved_all_the_same(after: After) -> Checks:
    northwind = after.now.account("Northwind Traders")
    yield "it is in adoption", northwind["stage"] == "adoption"
    yield "nothing but the stage changed", after.fields_of(northwind["id"]) == {"stage"}
    yield "the history says why", all("Lea" in (entry["reason"] or "") for entry in after.entries)


@task(
    """Move Northwind Traders on to adoption even though onboarding is not complete: Lea agreed, their shops go live
    without the connector.""",
    touches=("Northwind Traders",),
    check=_moved_all_the_same,
)
async def override_a_stage(hands: Hands) -> None:
    await hands.call(
        "move_account_stage",
        account="Northwind Traders",
        to_stage="adoption",
        expected_version=await hands.version("Northwind Traders"),
        override_reason="Lea agreed: the shops go live without the connector",
    )


def _two_currencies(after: After) -> Checks:
    japan, main = after.before.account("Acme Robotics Japan"), after.before.account("Acme Robotics")
    yield "it says that the currencies differ", after.tells(japan["currency"], main["currency"])
    yield "no plan to merge them waits", after.now.rows("select * from plan where tool = 'merge_records'") == []


@task("Merge Acme Robotics Japan into Acme Robotics. If that cannot be done, tell me why.", check=_two_currencies)
async def refuse_to_merge_two_currencies(hands: Hands) -> str:
    return await hands.refused(
        "merge_records", kind="account", keep="Acme Robotics", merge="Acme Robotics Japan", reason="One customer"
    )


def _handed_over(after: After) -> Checks:
    ana, ben = (after.before.member(name)["id"] for name in ("Ana Ruiz", "Ben Okafor"))
    book = {account["id"] for account in after.before.owned_by("Ana Ruiz")}
    yield "she owns nothing any more", after.now.owned_by("Ana Ruiz") == []
    gained = {a["id"] for a in after.now.owned_by("Ben Okafor")} - {
        a["id"] for a in after.before.owned_by("Ben Okafor")
    }
    yield "he owns all that was hers", gained == book
    open_tasks = {t["id"]: t for t in after.now.rows("select * from task where status = 'open' and removed_at is null")}
    was_hers = after.before.rows("select * from task where status = 'open' and assignee_id = :ana", ana=ana)
    hers = {task["id"] for task in was_hers if task["account_id"] in book}
    yield "her open tasks there are his", all(open_tasks[task]["assignee_id"] == ben for task in hers)
    others = after.before.rows("select * from task where assignee_id is not :ana", ana=ana)
    yield "tasks of others stay theirs", all(after.fields_of(task["id"]) == set() for task in others)
    yield "nothing but her book was touched", {entry["account_id"] for entry in after.entries} <= book
    yield "it came by a plan, in one write", after.is_one_write and all(entry["plan_id"] for entry in after.entries)
    yield "with a reason", all(entry["reason"] for entry in after.entries)


@task(
    """Ana goes on parental leave: give Ben Okafor all accounts she owns, with her open tasks and renewals on them. Show
    me how many, then do it.""",
    person="lea",
    touches=None,
    check=_handed_over,
)
async def hand_over_a_book(hands: Hands) -> None:
    plan = await hands.call(
        "update_accounts",
        where={"owner": "Ana Ruiz"},
        owner="Ben Okafor",
        follows=["open_tasks", "open_renewals"],
        reason="Ana's parental leave",
    )
    await hands.call("commit_plan", plan=plan["plan_id"])


def _tagged(after: After) -> Checks:
    enterprise = {account["id"] for account in after.before.owned_by("Ben Okafor", "segment = 'enterprise'")}
    tagged = after.now.values("select account.id from account, json_each(tags) tag where tag.value = 'exec-review'")
    yield "they are tagged, and no others", bool(tagged) and {*tagged} == enterprise
    yield "nothing but their tags changed", all(entry["fields"] == ["tags"] for entry in after.entries)
    yield "it is one write", after.is_one_write


@task(
    "Tag all of Ben's enterprise accounts `exec-review`, for the review on {friday}.",
    person="lea",
    touches=None,
    check=_tagged,
)
async def tag_many(hands: Hands) -> None:
    plan = await hands.call(
        "update_accounts",
        where={"owner": "Ben Okafor", "segment": ["enterprise"]},
        add_tags=["exec-review"],
        reason="The executive review",
    )
    await hands.call("commit_plan", plan=plan["plan_id"])
