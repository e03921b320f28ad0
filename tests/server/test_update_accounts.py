"""update_accounts: one change to many accounts, planned first, carried out item by item, taken back at once."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Team
from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.bulk import bulk_create
from cs_mcp.db.store import Store
from cs_mcp.domain.renewals.renewals import Renewal

from ._client import Answer, Desk, Desks, writing

WHY = "Ana is on leave from Monday"


async def head(desk: Desk, account: str) -> dict[str, Any]:
    return (await desk.done("get_account", account=account, sections=[])).data


async def update(desk: Desk, account: str, **fields: Any) -> None:
    version = (await head(desk, account))["version"]
    await desk.done("update_account", account=account, expected_version=version, **fields)


@pytest.fixture
async def lea(desks: Desks, team: Team) -> Desk:
    """Lea leads Ana and Ben: she sees both books."""
    return await desks.of(team, "lea")


@pytest.fixture
async def book(csm: Desk) -> dict[str, str]:
    """Ana's book, with a task of hers on each account; on Globex Lea has one too."""
    ids = {
        name: await csm.account(name, segment=segment, tags=tags)
        for name, segment, tags in (
            ("Globex", "enterprise", ["vip"]),
            ("Initech", "smb", []),
            ("Umbrella", "smb", ["vip"]),
        )
    }
    for name in ids:
        await csm.done("create_tasks", account=name, tasks=[{"title": f"Call {name}"}])
    await csm.done("create_tasks", account="Globex", tasks=[{"title": "Sign off", "assignee": "Lea Brandt"}])
    return ids


async def planned(desk: Desk, **arguments: Any) -> Answer:
    return await desk.done("update_accounts", **({"reason": WHY} | arguments))


async def owners(desk: Desk) -> dict[str, str]:
    found = await desk.done("find_accounts", fields=["owner"])
    return {item["name"]: item.get("owner", {}).get("name") for item in found["items"]}


async def assignees(desk: Desk) -> dict[str, str]:
    return {item["title"]: item["assignee"]["name"] for item in (await desk.done("list_tasks"))["items"]}


async def case_holders(desk: Desk) -> dict[str, str]:
    """Who owns the open risk case of each account that has one of these two."""
    found = [await desk.done("get_account", account=name, sections=["risk"]) for name in ("Globex", "Initech")]
    return {answer["name"]: case["owner"]["name"] for answer in found for case in answer["risk"]}


async def test_a_book_is_handed_over_as_planned_and_one_undo_takes_all_back(
    lea: Desk, team: Team, book: dict[str, str], store: Store
) -> None:
    async with writing(store, team.workspace) as work:
        for owner, day in (("ana", 1), ("kim", 2)):
            work.renewals.add(
                Renewal(
                    id=work.ids.new("renewal"), account_id=book["Globex"], owner_id=team.members[owner].id,
                    currency="USD", closes_on=work.today.replace(day=day),
                )
            )  # fmt: skip
    case = (await lea.done("save_risk", account="Globex", category="adoption"))["record"]["id"]
    await lea.done("save_risk", account="Initech", category="sponsor", owner="Lea Brandt")
    before = await lea.head()
    follows = ["open_tasks", "open_renewals", "open_risks"]
    plan = await planned(lea, where={"owner": "Ana Ruiz"}, owner="Ben Okafor", follows=follows, preview=False)

    assert await lea.head() == before
    assert "change_id" not in plan.data
    shown = {(d["record"], d["id"]): d["fields"] for d in plan["differences"]}
    ana, ben = team.members["ana"].id, team.members["ben"].id
    for account in book.values():
        [change] = shown["account", account]
        assert change["field"] == "owner_id"
        assert ana in change["before"]
        assert ben in change["after"]
    assert sorted(record for record, _ in shown) == ["account"] * 3 + ["renewal", "risk"] + ["task"] * 3
    assert plan["would_trigger"] == [
        "3 of 3 accounts to Ben Okafor, 0 are so already; 3 open tasks, 1 open renewals and 1 open risk cases follow."
    ]
    assert (await owners(lea))["Globex"] == "Ana Ruiz"

    done = await lea.done("commit_plan", plan=plan["plan_id"])

    assert done["record"] == {
        "accounts": 3, "changed": 3, "unchanged": 0, "refused": 0, "tasks": 3, "renewals": 1, "risks": 1,
    }  # fmt: skip
    assert await owners(lea) == dict.fromkeys(book, "Ben Okafor")
    # What Lea has to do on Globex stays hers.
    assert await assignees(lea) == {f"Call {name}": "Ben Okafor" for name in book} | {"Sign off": "Lea Brandt"}
    assert await case_holders(lea) == {"Globex": "Ben Okafor", "Initech": "Lea Brandt"}
    [change] = (await lea.done("list_changes", change=done["change_id"]))["items"]
    assert change["reason"] == WHY

    await lea.done("undo_changes", change=done["change_id"])
    assert await owners(lea) == dict.fromkeys(book, "Ana Ruiz")
    assert (await assignees(lea))["Call Globex"] == "Ana Ruiz"
    assert await case_holders(lea) == {"Globex": "Ana Ruiz", "Initech": "Lea Brandt"}
    [found] = (await lea.done("get_account", account="Globex", sections=["risk"]))["risk"]
    assert found["id"] == case


async def test_the_risk_case_of_the_owner_before_goes_with_a_single_account_and_comes_back_with_it(
    lea: Desk, book: dict[str, str]
) -> None:
    await lea.done("save_risk", account="Globex", category="adoption")
    await lea.done("save_risk", account="Initech", category="sponsor", owner="Lea Brandt")
    moved: dict[str, Answer] = {}
    for name in ("Globex", "Initech"):
        version = (await head(lea, name))["version"]
        moved[name] = await lea.done("update_account", account=name, expected_version=version, owner="Ben Okafor")

    assert await case_holders(lea) == {"Globex": "Ben Okafor", "Initech": "Lea Brandt"}
    assert "goes to the new owner too" in moved["Globex"]["triggered"][0]
    assert not moved["Initech"].data.get("triggered")
    await lea.done("undo_changes", change=moved["Globex"]["change_id"])
    assert (await case_holders(lea))["Globex"] == "Ana Ruiz"


async def test_tasks_stay_where_nobody_asks_them_to_follow(lea: Desk, book: dict[str, str]) -> None:
    plan = await planned(lea, accounts=list(book), owner="Ben Okafor")
    await lea.done("commit_plan", plan=plan["plan_id"])
    assert set((await assignees(lea)).values()) == {"Ana Ruiz", "Lea Brandt"}


async def test_fields_tags_and_custom_fields_change_by_filter_and_the_rest_is_said_to_be_so_already(
    csm: Desk, book: dict[str, str]
) -> None:
    plan = await planned(csm, where={"tag": "vip"}, tier="gold", add_tags=["q3"], remove_tags=["vip"], custom={"w": 2})
    done = await csm.done("commit_plan", plan=plan["plan_id"])

    assert {change["id"] for change in done["changed"]} == {book["Globex"], book["Umbrella"]}
    assert [(await head(csm, name))["tags"] for name in ("Globex", "Initech")] == [["q3"], []]
    assert (await head(csm, "Umbrella"))["custom"] == {"w": 2}

    again = await planned(csm, accounts=list(book), tier="gold")
    assert len(again["differences"]) == 1
    assert {(item["id"], item["outcome"]) for item in again["items"]} == {
        (book["Globex"], "unchanged"),
        (book["Umbrella"], "unchanged"),
    }
    nothing = await planned(csm, accounts=["Globex"], tier="gold")
    assert "plan_id" not in nothing.data
    assert "Nothing to change" in nothing.text


async def test_what_moved_since_the_plan_is_skipped_and_reported_the_rest_is_done(
    lea: Desk, csm: Desk, book: dict[str, str]
) -> None:
    plan = await planned(lea, where={"owner": "Ana Ruiz"}, owner="Ben Okafor", follows=["open_tasks"])
    await update(lea, "Initech", owner="me")
    await update(csm, "Umbrella", industry="Pharma")  # not a field of the plan
    [task] = [t for t in (await csm.done("list_tasks", account="Globex"))["items"] if t["title"] == "Call Globex"]
    await csm.done("update_task", task=task["id"], expected_version=task["version"], assignee="Lea Brandt")
    await csm.done("create_tasks", account="Umbrella", tasks=[{"title": "New since"}])

    done = await lea.done("commit_plan", plan=plan["plan_id"])

    assert {change["id"] for change in done["changed"] if change["record"] == "account"} == {
        book["Globex"],
        book["Umbrella"],
    }
    why = {item["id"]: item["why"] for item in done["items"]}
    assert "Lea Brandt set owner_id (update_account" in why[book["Initech"]]
    assert "New since" in await assignees(lea)
    held = await assignees(lea)
    assert (held["Call Globex"], held["Call Umbrella"], held["New since"]) == ("Lea Brandt", "Ben Okafor", "Ana Ruiz")
    assert any("came up since" in reason for reason in why.values())
    assert done["record"]["refused"] == 1


async def test_nothing_is_done_where_every_account_moved_and_the_plan_stays_open(
    csm: Desk, book: dict[str, str]
) -> None:
    plan = await planned(csm, accounts=["Globex"], tier="gold")
    await update(csm, "Globex", tier="platinum")
    said = await csm.refused("commit_plan", plan=plan["plan_id"])
    assert "Nothing could be changed" in said
    assert "set tier" in said
    [waiting] = (await csm.done("list_changes", state="proposed"))["items"]
    assert waiting["plan_id"] == plan["plan_id"]


async def test_an_unknown_account_is_reported_among_those_that_are_planned(
    csm: Desk, desks: Desks, team: Team, book: dict[str, str]
) -> None:
    ben = await desks.of(team, "ben")
    hers = await ben.account("Hidden")
    plan = await planned(csm, accounts=["Globex", hers, "globex", "Nobody"], tier="gold")

    assert [change["id"] for change in plan["differences"]] == [book["Globex"]]
    said = {item["index"]: item["why"] for item in plan["items"]}
    assert sorted(said) == [1, 2, 3]
    assert "No account" in said[1]
    assert "named before, as item 0" in said[2]
    assert "No account" in await csm.refused("update_accounts", accounts=[hers, "Nobody"], tier="gold", reason=WHY)


async def test_a_call_that_says_too_little_or_too_much_is_refused(csm: Desk, book: dict[str, str]) -> None:
    for wrong, word in (
        ({"accounts": ["Globex"], "tier": "gold"}, "reason"),
        ({"tier": "gold", "reason": WHY}, "exactly one of where and accounts"),
        ({"accounts": ["Globex"], "where": {"tag": "vip"}, "tier": "gold", "reason": WHY}, "exactly one of"),
        ({"where": {}, "tier": "gold", "reason": WHY}, "holds no filter"),
        ({"where": {"tag": "none"}, "tier": "gold", "reason": WHY}, "No account fits"),
        ({"accounts": ["Globex"], "reason": WHY}, "changes no field"),
        ({"accounts": ["Globex"], "follows": ["open_tasks"], "tier": "gold", "reason": WHY}, "new owner"),
        ({"accounts": ["Globex"], "owner": "me", "clear": ["owner"], "reason": WHY}, "both set and cleared"),
        ({"accounts": ["Globex"], "owner": "Nobody Known", "reason": WHY}, "No user"),
        ({"where": {"segmnt": ["smb"]}, "tier": "gold", "reason": WHY}, "segment"),
    ):
        assert word in await csm.refused("update_accounts", **wrong), wrong


async def test_at_most_200_accounts_a_call_and_a_plan_of_200_is_carried_out_whole(
    csm: Desk, team: Team, store: Store
) -> None:
    async with writing(store, team.workspace) as work:
        row = {
            "segment": "smb", "tier": "standard", "touch": "low", "stage": "adoption", "currency": "USD", "custom": {},
            "onboarding_status": "complete", "owner_id": team.members["ana"].id, "arr_minor": 0,
        }  # fmt: skip
        tags = [["all", "most"] if number < 200 else ["all"] for number in range(201)]
        rows = [row | {"id": work.ids.new("account"), "name": f"N{n}", "tags": tags[n]} for n in range(201)]
        await bulk_create(work, AccountRow, rows)

    said = await csm.refused("update_accounts", where={"tag": "all"}, tier="gold", reason=WHY)
    assert said.startswith("201 accounts fit these filters; one call changes at most 200.")

    plan = await planned(csm, where={"tag": "most"}, tier="gold")
    assert len(plan["differences"]) == 40
    assert plan["left_out"][0]["what"] == "160 of 200 records"
    done = await csm.done("commit_plan", plan=plan["plan_id"])
    assert done["record"]["changed"] == 200
    found = await csm.done("find_accounts", tier=["gold"], limit=1, exact_total=True)
    assert found["total"] == 200


async def test_me_in_an_agents_proposal_is_whom_it_acts_for_whoever_commits(
    lea: Desk, team: Team, desks: Desks, book: dict[str, str], store: Store
) -> None:
    await update(lea, "Initech", clear=["owner"])
    bot = await desks.of(team, "bot")
    made = await planned(bot, accounts=["Initech"], add_tags=["seen"], owner="me")
    assert made["proposal"]
    await lea.done("commit_plan", plan=made["plan_id"])
    ada = await desks.of(team, "ada")
    assert (await head(ada, "Initech"))["owner"]["name"] == "Night Agent"


async def test_a_key_gives_the_same_plan_again(csm: Desk, book: dict[str, str]) -> None:
    first = await planned(csm, accounts=["Globex"], tier="gold", idempotency_key="bulk-1")
    again = await planned(csm, accounts=["Globex"], tier="gold", idempotency_key="bulk-1")
    assert again["plan_id"] == first["plan_id"]
    assert again["already_done"]
