"""People name things by name: one match is used, several are ranked, none brings the nearest, a write never guesses."""

from __future__ import annotations

import pytest

from conftest import Team
from cs_mcp.db.store import Store
from cs_mcp.domain.identity import Role

from ._client import Desk, Desks, head_of


@pytest.fixture
async def named(csm: Desk) -> dict[str, str]:
    return {
        name: await csm.account(name, **fields)
        for name, fields in {
            "Northwind Traders": {"domain": "northwind.example"},
            "Northern Lights": {},
            "Straße & Søn": {"domain": "strasse.example"},
            "ACME 50% Off_": {},
        }.items()
    }


@pytest.mark.parametrize(
    ("ref", "name", "by"),
    [
        ("{id}", "Northwind Traders", "id"),
        ("Northwind Traders", "Northwind Traders", "exact"),
        ("  northWIND   traders ", "Northwind Traders", "exact"),
        ("northwind.example", "Northwind Traders", "exact"),
        ("NORTHWIND.example", "Northwind Traders", "exact"),
        ("wind trad", "Northwind Traders", "name"),
        ("STRASSE & SØN", "Straße & Søn", "exact"),
        ("50%", "ACME 50% Off_", "name"),
        ("off_", "ACME 50% Off_", "name"),
    ],
)
async def test_a_read_finds_one_account_by_what_people_call_it(
    csm: Desk, named: dict[str, str], ref: str, name: str, by: str
) -> None:
    found = await csm.done("get_account", account=ref.replace("{id}", named[name]), sections=[])
    assert (found["id"], found["name"], found["matched_by"]) == (named[name], name, by)


async def test_a_loose_name_serves_a_read_and_stops_a_write(
    csm: Desk, named: dict[str, str], team: Team, store: Store
) -> None:
    before = await head_of(store, team.workspace)
    assert (await csm.done("list_tasks", account="wind trad"))["total"] == 0
    said = await csm.refused("add_health_note", account="wind trad", text="x")
    assert f"Nearest: Northwind Traders ({named['Northwind Traders']}, northwind.example)" in said
    assert "Call again with the id" in said
    assert await head_of(store, team.workspace) == before


async def test_several_loose_matches_and_misspelt_names_bring_the_nearest_first(
    csm: Desk, named: dict[str, str]
) -> None:
    several = await csm.refused("get_account", account="north")
    misspelt = await csm.refused("get_account", account="Nortwind Tradrs")
    nothing = await csm.refused("get_account", account="qqqqqq")

    assert {name for name in named if name in several} == {"Northwind Traders", "Northern Lights"}
    assert misspelt.index("Northwind Traders") < misspelt.find("Northern Lights") or "Northern Lights" not in misspelt
    assert named["Northwind Traders"] in misspelt
    assert "Nearest" not in nothing
    assert "find_accounts" in nothing


async def test_namesakes_are_told_apart_by_id_and_domain(csm: Desk, named: dict[str, str]) -> None:
    twin = await csm.account("northwind TRADERS", domain="other.example", allow_duplicate=True, reason="A subsidiary")
    for tool, rest in (("get_account", {}), ("add_health_note", {"text": "x"})):
        said = await csm.refused(tool, account="Northwind Traders", **rest)
        assert "2 accounts are called 'Northwind Traders'" in said
        assert all(part in said for part in (twin, "other.example", named["Northwind Traders"], "northwind.example"))
    assert (await csm.done("get_account", account="other.example", sections=[]))["id"] == twin


async def test_colleagues_are_found_by_id_address_name_and_me(csm: Desk, named: dict[str, str], team: Team) -> None:
    ana, ben = team.members["ana"], team.members["ben"]
    await csm.done(
        "create_tasks",
        account="Northwind Traders",
        tasks=[
            {"title": title, "assignee": who}
            for title, who in {
                "a": "me",
                "b": ben.id,
                "c": "BEN@acme.example",
                "d": "ben  okafor",
                "e": "Ana Ruiz",
            }.items()
        ],
    )
    assert (await csm.done("list_tasks", assignee="me"))["total"] == 2
    assert (await csm.done("list_tasks", assignee=ana.email))["total"] == 2
    assert (await csm.done("list_tasks", assignee="Ben Okafor"))["total"] == 3
    assert (await csm.done("list_tasks", assignee="none"))["total"] == 0
    assert "Ben Okafor" in await csm.refused("list_tasks", assignee="Ben Okafur")
    assert "get_workspace" in await csm.refused("list_tasks", assignee="Zzzz")


async def test_colleagues_with_letters_beyond_ascii_are_found_whatever_the_case(
    csm: Desk, named: dict[str, str], team: Team, desks: Desks
) -> None:
    await team.services.identity.add_member(team.workspace, name="Zoë ÅSTRÖM", email="zoe@acme.example", role=Role.csm)
    for ref in ("Zoë ÅSTRÖM", "zoë åström", "ZOË ÅSTRÖM"):
        made = await csm.done("create_tasks", account="Northwind Traders", tasks=[{"title": ref, "assignee": ref}])
        assert made["record"]["tasks"][0]["assignee"]["name"] == "Zoë ÅSTRÖM"


async def test_two_colleagues_of_one_name_are_candidates(csm: Desk, named: dict[str, str], team: Team) -> None:
    other = await team.services.identity.add_member(
        team.workspace, name="Ana Ruiz", email="ana2@acme.example", role=Role.csm
    )
    said = await csm.refused("list_tasks", assignee="ana ruiz")
    assert "2 users are called" in said
    assert other.id in said
    assert team.members["ana"].id in said
    assert (await csm.done("list_tasks", assignee="me"))["total"] == 0
