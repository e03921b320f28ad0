"""find_accounts: every filter, every order, totals, sums, fields, and pages that stay put while rows change."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, timedelta
from typing import Any

import pytest

from conftest import NOW, Team
from cs_mcp.db.accounts.accounts import AccountRow, name_key
from cs_mcp.db.bulk import bulk_create
from cs_mcp.db.store import Store
from cs_mcp.domain.accounts.accounts import Account, Segment, Stage, Tier
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind

from ._client import Desk, Desks, writing

TODAY = NOW.date()


@pytest.fixture
async def book(csm: Desk, team: Team, store: Store) -> None:
    """Five accounts of Ana's, one of Ben's, one of nobody's."""
    ana, ben = team.members["ana"].id, team.members["ben"].id
    rows: list[tuple[str, int | None, dict[str, Any]]] = [
        ("Alder", 50_000, {
            "segment": Segment.enterprise, "tier": Tier.gold, "stage": Stage.adoption, "domain": "alder.example",
            "renewal_on": date(2026, 4, 1), "tags": ["vip", "emea"], "custom": {"region": "emea", "seats": 5},
        }),
        ("Birch", 20_000, {
            "segment": Segment.mid_market, "renewal_on": date(2026, 6, 30), "tags": ["vip"], "industry": "Wood",
        }),
        ("Cedar 100%", 20_000, {"stage": Stage.renewal, "custom": {"region": "apac", "pilot": True}}),
        ("dogwood_x", None, {"currency": "EUR", "renewal_on": date(2026, 4, 1)}),
        ("Élan", 7_000, {"currency": "EUR", "domain": "elan.example", "tier": Tier.platinum}),
        ("Ben's own", 90_000, {"owner_id": ben}),
        ("Nobody's", 10, {"owner_id": None}),
    ]  # fmt: skip
    async with writing(store, team.workspace) as work:
        for name, arr, fields in rows:
            account = Account(id=work.ids.new("account"), name=name, **{"owner_id": ana, **fields})
            work.accounts.add(account)
            if arr is not None:
                work.movements.add(
                    ArrMovement(
                        id=work.ids.new("arr_movement"), account_id=account.id, on=TODAY, kind=MovementKind.new,
                        amount_minor=arr * 100, currency=account.currency,
                    )
                )  # fmt: skip
    await csm.done("log_meeting", account="Alder", kind="call", held_on="2026-03-01", summary="x",
                   attendees=[{"name": "Priya"}], news=[{"contact": "Priya", "news": "champion"}])  # fmt: skip
    await csm.done("log_meeting", account="Birch", kind="call", held_on="2026-01-05", summary="x",
                   attendees=[{"name": "Omar"}], news=[{"contact": "Omar", "news": "executive_sponsor"}])  # fmt: skip


MINE = ["Alder", "Birch", "Cedar 100%", "Nobody's", "dogwood_x", "Élan"]
FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, MINE),
    ({"segment": ["enterprise", "mid_market"]}, ["Alder", "Birch"]),
    ({"segment": []}, []),
    ({"tier": ["gold", "platinum"]}, ["Alder", "Élan"]),
    ({"stage": ["renewal"]}, ["Cedar 100%"]),
    ({"band": ["unknown"]}, MINE),
    ({"band": ["red"]}, []),
    ({"score": {"min": 0}}, []),
    ({"owner": "me"}, ["Alder", "Birch", "Cedar 100%", "dogwood_x", "Élan"]),
    ({"owner": "Ben Okafor"}, []),
    ({"arr": {"min": "20000"}}, ["Alder", "Birch", "Cedar 100%"]),
    ({"arr": {"min": "20000.01"}}, ["Alder"]),
    ({"arr": {"max": "7000", "currency": "EUR"}}, ["dogwood_x", "Élan"]),
    ({"arr": {"currency": "JPY"}}, []),
    ({"renews_from": "2026-04-01", "renews_to": "2026-04-01"}, ["Alder", "dogwood_x"]),
    ({"renews_from": "2026-04-02"}, ["Birch"]),
    ({"last_touch_before": "2026-03-01"}, ["Birch", "Cedar 100%", "Nobody's", "dogwood_x", "Élan"]),
    ({"last_touch_before": "2026-03-02"}, MINE),
    ({"tag": "vip"}, ["Alder", "Birch"]),
    ({"tag": "vi"}, []),
    ({"custom": {"region": "emea"}}, ["Alder"]),
    ({"custom": {"region": "emea", "seats": 5}}, ["Alder"]),
    ({"custom": {"region": "emea", "seats": 6}}, []),
    ({"custom": {"pilot": True}}, ["Cedar 100%"]),
    ({"custom": {"seats": "5"}}, []),
    ({"text": "ALD"}, ["Alder"]),
    ({"text": "elan.ex"}, ["Élan"]),
    ({"text": "100%"}, ["Cedar 100%"]),
    ({"text": "%"}, ["Cedar 100%"]),
    ({"text": "_"}, ["dogwood_x"]),
    ({"text": "éLAN"}, ["Élan"]),
    ({"missing": ["owner"]}, ["Nobody's"]),
    ({"missing": ["renewal_on", "domain"]}, ["Cedar 100%", "Nobody's"]),
    ({"missing": ["industry"]}, ["Alder", "Cedar 100%", "Nobody's", "dogwood_x", "Élan"]),
    ({"missing": ["executive_sponsor"]}, ["Alder", "Cedar 100%", "Nobody's", "dogwood_x", "Élan"]),
    ({"missing": ["champion"]}, ["Birch", "Cedar 100%", "Nobody's", "dogwood_x", "Élan"]),
    ({"missing": ["last_touch_on"]}, ["Cedar 100%", "Nobody's", "dogwood_x", "Élan"]),
    ({"missing": ["health_score"]}, MINE),
    ({"tag": "vip", "segment": ["enterprise"], "owner": "me"}, ["Alder"]),
]


async def test_each_filter_finds_its_accounts_and_counts_them(book: None, csm: Desk) -> None:
    wrong = []
    for filters, expected in FILTERS:
        found = await csm.done("find_accounts", sort="name", **filters)
        names = sorted(item["name"] for item in found["items"])
        if names != sorted(expected) or found["total"] != len(expected) or "next_cursor" in found.data:
            wrong.append(f"{filters}: {names}, total {found['total']}, expected {expected}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("-arr", [("Alder",), ("Birch", "Cedar 100%"), ("Élan",), ("Nobody's",), ("dogwood_x",)]),
        ("arr", [("dogwood_x",), ("Nobody's",), ("Élan",), ("Birch", "Cedar 100%"), ("Alder",)]),
        ("name", [("Alder",), ("Birch",), ("Cedar 100%",), ("dogwood_x",), ("Nobody's",), ("Élan",)]),
        ("renewal_on", [("Alder", "dogwood_x"), ("Birch",), ("Cedar 100%", "Nobody's", "Élan")]),
        ("last_touch_on", [("Birch",), ("Alder",), ("Cedar 100%", "Nobody's", "dogwood_x", "Élan")]),
        ("-last_touch_on", [("Alder",), ("Birch",), ("Cedar 100%", "Nobody's", "dogwood_x", "Élan")]),
        ("health_score", [tuple(MINE)]),
        ("-health_score", [tuple(MINE)]),
    ],
)
async def test_each_order_pages_through_all_with_nothing_twice_and_empty_last(
    book: None, csm: Desk, sort: str, expected: list[tuple[str, ...]]
) -> None:
    for limit in (1, 2, 4, 200):
        names, cursor = [], {}
        for _ in range(10):
            page = await csm.done("find_accounts", sort=sort, limit=limit, **cursor)
            names += [item["name"] for item in page["items"]]
            assert page["total"] == len(MINE)
            if (token := page.data.get("next_cursor")) is None:
                break
            cursor = {"cursor": token}
        place = iter(names)
        assert [tuple(sorted(next(place) for _ in group)) for group in expected] == [tuple(sorted(g)) for g in expected]
        assert list(place) == []


async def test_a_list_by_arr_says_where_it_compares_amounts_of_several_currencies(book: None, csm: Desk) -> None:
    told = await csm.done("find_accounts")
    assert told["notes"] == [
        "Sorted by the amounts as they are, each in its own currency: compare those of one currency only."
    ]
    for of_one_kind in ({"arr": {"currency": "EUR"}}, {"sort": "name"}):
        assert not (await csm.done("find_accounts", **of_one_kind))["notes"]


async def test_fields_choose_the_columns_and_sums_are_by_currency(book: None, csm: Desk) -> None:
    [bare] = (await csm.done("find_accounts", text="alder", fields=[]))["items"]
    [some] = (await csm.done("find_accounts", text="alder", fields=["domain", "tags", "version", "arr"]))["items"]
    summed = await csm.done("find_accounts", limit=1, sum_arr=True)

    assert set(bare) == {"id", "name"}
    assert some == bare | {
        "domain": "alder.example",
        "tags": ["vip", "emea"],
        "version": 1,
        "arr": {"amount": "50000.00", "currency": "USD"},
    }
    assert summed["arr_total"] == [
        {"amount": "7000.00", "currency": "EUR"},
        {"amount": "90010.00", "currency": "USD"},
    ]
    assert "ARR of all matches: 7,000.00 EUR, 90,010.00 USD" in summed.text
    assert (await csm.done("find_accounts"))["arr_total"] == []


async def test_what_others_own_is_in_no_list_total_or_sum(book: None, csm: Desk, desks: Desks, team: Team) -> None:
    hidden = await csm.done("find_accounts", text="ben's", sum_arr=True)
    leader = await desks.of(team, "lea")
    assert (hidden["items"], hidden["total"], hidden["arr_total"]) == ([], 0, [])
    assert (await leader.done("find_accounts", text="ben's"))["total"] == 1
    assert (await leader.done("find_accounts"))["total"] == 7


async def test_past_a_thousand_the_total_says_so_and_counts_when_asked(csm: Desk, team: Team, store: Store) -> None:
    await fill(store, team, 1_005)
    page = await csm.done("find_accounts", limit=2, sort="name")
    exact = await csm.done("find_accounts", limit=2, sort="name", exact_total=True)
    narrow = await csm.done("find_accounts", limit=2, renews_to="2026-03-25")

    assert page["total"] == "1000+"
    assert "2 of 1000+" in page.text
    assert exact["total"] == 1_005
    assert narrow["total"] == 8
    assert (await csm.done("get_workspace"))["counts"]["accounts"] == "1000+"


@pytest.mark.parametrize("sort", ["name", "renewal_on", "-arr"])
async def test_pages_stay_put_while_rows_come_and_change(csm: Desk, team: Team, store: Store, sort: str) -> None:
    """Whatever was there all along is met exactly once, though accounts are added and renamed between pages."""
    names = await fill(store, team, 60)
    met: Counter[str] = Counter()
    cursor: dict[str, str] = {}
    for number in range(20):
        page = await csm.done("find_accounts", sort=sort, limit=7, **cursor)
        met.update(item["name"] for item in page["items"])
        if (token := page.data.get("next_cursor")) is None:
            break
        cursor = {"cursor": token}
        await csm.account(f"000 new before {number}", renewal_on="2026-01-01")
        await csm.account(f"Account 0{number:03d}x new within", renewal_on=str(TODAY + timedelta(days=number)))
        moved = (await csm.done("get_account", account=f"Account {number * 3:04d}", sections=[]))["version"]
        await csm.done("update_account", account=f"Account {number * 3:04d}", expected_version=moved, employees=number)
    assert [name for name in names if met[name] != 1] == []
    assert max(met.values()) == 1


@pytest.mark.parametrize("budget", [300, 700, 2_000])
async def test_a_budget_binds_text_and_structure_and_the_rest_is_a_cursor_away(
    csm: Desk, team: Team, store: Store, budget: int
) -> None:
    names = await fill(store, team, 60)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(60):
        page = await csm.done("find_accounts", sort="name", limit=50, budget_tokens=budget, **cursor)
        items = page["items"]
        assert len(page.text.encode()) <= budget * 3.3
        assert len(json.dumps(page.data, separators=(",", ":")).encode()) <= budget * 3.3 or len(items) == 1
        seen += [item["name"] for item in items]
        if (token := page.data.get("next_cursor")) is None:
            break
        cursor = {"cursor": token}
    assert seen == names


async def fill(store: Store, team: Team, count: int) -> list[str]:
    """Accounts of Ana's, by the second sanctioned write path."""
    names = [f"Account {number:04d}" for number in range(count)]
    async with writing(store, team.workspace, "import") as work:
        await bulk_create(
            work,
            AccountRow,
            [
                {
                    "id": work.ids.new("account"), "name": name, "name_key": name_key(name), "segment": "smb",
                    "tier": "standard", "touch": "low", "stage": "adoption", "onboarding_status": "complete",
                    "currency": "USD", "owner_id": team.members["ana"].id, "tags": [], "custom": {},
                    "renewal_on": TODAY + timedelta(days=number) if number % 5 else None,
                }
                for number, name in enumerate(names)
            ],
        )  # fmt: skip
    return names
