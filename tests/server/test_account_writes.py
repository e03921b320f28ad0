"""create_account and update_account: duplicates, tags, custom fields, parents, currency, what is cleared."""

from __future__ import annotations

import pytest

from conftest import NOW, Team
from cs_mcp.db.store import Store
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind

from ._client import Desk, Desks, head_of, writing


async def seen(desk: Desk, account: str) -> dict[str, object]:
    return (await desk.done("get_account", account=account, sections=[])).data


@pytest.mark.parametrize(
    "twin",
    [
        {"name": "Northwind"},
        {"name": "  NORTHWIND "},
        {"name": "Something else", "domain": "Northwind.EXAMPLE"},
    ],
)
async def test_a_look_alike_comes_back_instead_of_a_second_account(
    csm: Desk, team: Team, store: Store, twin: dict[str, str]
) -> None:
    first = await csm.account("Northwind", domain="northwind.example")
    before = await head_of(store, team.workspace)
    said = await csm.refused("create_account", **twin)
    assert f"Northwind ({first}, northwind.example)" in said
    assert "allow_duplicate: true and a reason" in said
    assert "reason" in await csm.refused("create_account", **twin, allow_duplicate=True)
    assert await head_of(store, team.workspace) == before

    second = await csm.done("create_account", **twin, allow_duplicate=True, reason="Another legal entity")
    assert second["record"]["id"] != first


async def test_what_is_left_out_of_an_account_follows_its_segment_and_workspace(csm: Desk) -> None:
    await csm.account("Plain", owner="Ana Ruiz")
    await csm.account("Large", segment="enterprise", touch="low", currency="EUR", domain="LARGE.example")
    plain, large = await seen(csm, "Plain"), await seen(csm, "Large")
    assert [plain[key] for key in ("segment", "tier", "touch", "stage", "created_on")] == [
        "smb", "standard", "low", "onboarding", "2026-03-16",
    ]  # fmt: skip
    assert plain["arr"] == {"amount": "0.00", "currency": "USD"}
    assert (large["touch"], large["domain"], large["arr"]["currency"]) == ("low", "large.example", "EUR")


async def test_an_update_changes_what_it_names_and_nothing_else(csm: Desk) -> None:
    account = await csm.account("Northwind", industry="Retail", employees=5, tags=["b", "a"], custom={"x": 1, "y": "z"})
    before = await seen(csm, account)
    first = await csm.done(
        "update_account", account=account, expected_version=1, add_tags=["c", "a"], remove_tags=["b", "zz"],
        custom={"x": None, "y": "w", "n": 2.5}, clear=["industry"], employees=0,
    )  # fmt: skip
    after = await seen(csm, account)
    expected = before | {"version": 2, "tags": ["a", "c"], "custom": {"y": "w", "n": 2.5}, "employees": 0}
    del expected["industry"]
    assert after == expected
    assert {f["field"] for f in first["changed"][0]["fields"]} == {"tags", "custom", "industry", "employees"}


async def test_an_update_that_changes_nothing_writes_nothing(csm: Desk, team: Team, store: Store) -> None:
    account = await csm.account("Northwind", tags=["a"])
    before = await head_of(store, team.workspace)
    same = await csm.done("update_account", account=account, expected_version=1, name="Northwind", add_tags=["a"])
    assert "change_id" not in same.data
    assert (same["changed"], same["record"]["version"]) == ([], 1)
    assert "Nothing to change" in same.text
    assert await head_of(store, team.workspace) == before


async def test_setting_and_clearing_one_field_is_refused(csm: Desk) -> None:
    account = await csm.account("Northwind")
    assert "both set and cleared" in await csm.refused(
        "update_account", account=account, expected_version=1, owner="me", clear=["owner"]
    )


async def test_a_stale_version_is_told_who_changed_what(csm: Desk, team: Team, desks: Desks) -> None:
    account = await csm.account("Northwind")
    lea = await desks.of(team, "lea")
    done = await lea.done("update_account", account=account, expected_version=1, tier="gold", employees=3)
    said = await csm.refused("update_account", account=account, expected_version=1, tier="platinum")
    assert "Lea Brandt changed employees, tier on 2026-03-16 09:30 UTC" in said
    assert done["change_id"] in said
    assert "send expected_version 2" in said


async def test_a_family_of_accounts_has_no_circle(csm: Desk) -> None:
    top = await csm.account("Top")
    middle = await csm.account("Middle", parent="Top")
    low = await csm.account("Low", parent=middle)
    assert (await seen(csm, low))["parent_id"] == middle
    for parent in ("Top", "Middle", "Low"):
        said = await csm.refused("update_account", account=top, expected_version=1, parent=parent)
        assert "outside its own family" in said
    await csm.done("update_account", account=low, expected_version=1, parent="Top")
    await csm.done("update_account", account=low, expected_version=2, clear=["parent"])
    assert "parent_id" not in await seen(csm, low)


async def test_a_currency_stays_once_money_moved_in_it(csm: Desk, team: Team, store: Store) -> None:
    free, bound = await csm.account("Free"), await csm.account("Bound")
    async with writing(store, team.workspace) as work:
        work.movements.add(
            ArrMovement(
                id=work.ids.new("arr_movement"), account_id=bound, on=NOW.date(), kind=MovementKind.new,
                amount_minor=100, currency="USD",
            )
        )  # fmt: skip
    await csm.done("update_account", account=free, expected_version=1, currency="JPY")
    assert (await seen(csm, free))["arr"] == {"amount": "0", "currency": "JPY"}
    said = await csm.refused("update_account", account=bound, expected_version=1, currency="EUR")
    assert "has ARR movements in USD" in said
    assert "XYZ" in await csm.refused("update_account", account=free, expected_version=2, currency="XYZ")


async def test_a_key_gives_the_first_answer_again_and_no_second_account(csm: Desk, team: Team, store: Store) -> None:
    first = await csm.done("create_account", name="Once", idempotency_key="k1")
    before = await head_of(store, team.workspace)
    again = await csm.done("create_account", name="Once", idempotency_key="k1")
    assert again.data == first.data | {"already_done": True}
    assert "Already done" in again.text
    assert "with other arguments" in await csm.refused("create_account", name="Twice", idempotency_key="k1")
    assert await head_of(store, team.workspace) == before


async def test_an_agent_proposes_and_a_person_carries_out(csm: Desk, team: Team, desks: Desks) -> None:
    account = await csm.account("Northwind", owner="kim@acme.example")
    kim, bot = await desks.of(team, "kim"), await desks.of(team, "bot")
    assert (await bot.call("get_account", account=account)).refused
    made = await bot.done("create_account", name="Signed Inc", reason="Contract came in")
    assert (made["proposal"], made["expires_at"]) == (True, "2026-03-23T09:30:00Z")
    assert "waits for a person" in made.text
    assert "No account" in await kim.refused("get_account", account="Signed Inc")

    done = await kim.done("commit_plan", plan=made["plan_id"])
    [change] = (await kim.done("list_changes", change=done["change_id"]))["items"]
    assert (change["by_id"], change["plan_id"]) == (team.members["kim"].id, made["plan_id"])
    assert "committed already" in await kim.refused("commit_plan", plan=made["plan_id"])
