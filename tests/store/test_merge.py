"""A merge leaves nothing behind and breaks no rule; its undo gives every row back; later imports keep to it."""

from __future__ import annotations

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from book import Desk, desk, rows_of, unit
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from conftest import NOW, SECRET, Postgres, Team, new_team
from cs_mcp.db.base import REMEMBERED
from cs_mcp.db.history.merging import keys_to, repoint
from cs_mcp.db.store import Store, open_store
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.health.health import HealthNote
from cs_mcp.domain.people.sponsors import Contact, ContactRole, ContactStatus, SponsorRole, Sponsorship
from cs_mcp.domain.renewals.renewals import Renewal
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind, Subscription
from cs_mcp.domain.work.meetings import Attendee, Meeting, MeetingKind, MeetingStatus
from cs_mcp.domain.work.tasks import Task, TaskStatus
from cs_mcp.services.accounts.merge import MergeRecords
from cs_mcp.services.history.changes import CommitPlan
from cs_mcp.services.history.undo import UndoChanges
from cs_mcp.services.wiring import Services

TODAY = NOW.date()
WHY = "One customer"

# -- a book of any shape ----------------------------------------------------------------------------------------------

sides = st.integers(0, 2)  # the kept account, the merged one, and one that has nothing to do with them
days = st.integers(-90, 90).map(lambda d: TODAY + timedelta(days=d))
maybe = st.none() | st.sampled_from(["Freight", "Retail"])
people = st.tuples(sides, st.sampled_from(["a@x.example", "b@x.example", None]), st.sampled_from(list(ContactStatus)))
seats = st.tuples(st.integers(0, 7), st.sampled_from(list(SponsorRole)), days, st.none() | days)
tasks = st.tuples(
    sides, st.sampled_from([None, "qbr", "renew"]), st.sampled_from(list(TaskStatus)), st.none() | st.integers(0, 7)
)
meetings = st.tuples(sides, st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=4), days)
money = st.tuples(sides, st.integers(-10_000, 10_000), days)
books = st.fixed_dictionaries(
    {
        "people": st.lists(people, max_size=8),
        "successions": st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=3),
        "seats": st.lists(seats, max_size=6),
        "tasks": st.lists(tasks, max_size=6),
        "meetings": st.lists(meetings, max_size=3),
        "money": st.lists(money, max_size=4),
        "industries": st.tuples(maybe, maybe),
        "parents": st.tuples(st.none() | sides, st.none() | sides, st.none() | sides),
        "owned": st.tuples(st.booleans(), st.booleans()),
        "kind": st.sampled_from(["account", "account", "contact"]),
    }
)


async def write_book(store: Store, team: Team, book: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Ids of the three accounts and of their contacts."""
    ada = await desk(team, "ada")
    accounts = [await ada.opens(name) for name in ("Kept", "Merged", "Other")]
    family: dict[int, int] = {}
    for child, parent in enumerate(book["parents"]):
        if parent is not None and not _above(family, parent, child):
            family[child] = parent
    async with unit(store, ada.principal) as work:
        found = [await work.accounts.get(account) for account in accounts]
        for side, account in enumerate(found):
            fields: dict[str, Any] = {"parent_id": accounts[family[side]] if side in family else None}
            if side < 2:
                fields |= {"industry": book["industries"][side], "tags": [f"t{side}"]}
                fields |= {"owner_id": team.members["ana"].id if book["owned"][side] else None}
            work.accounts.save(account.changed(**fields))
        contacts = [
            Contact(id=store.ids.new("contact"), account_id=accounts[side], name=f"P{n}", email=email, status=status)
            for n, (side, email, status) in enumerate(book["people"])
        ]
        for old, new in book["successions"]:
            if max(old, new) < len(contacts) and old != new and contacts[old].account_id == contacts[new].account_id:
                contacts[old] = contacts[old].changed(successor_id=contacts[new].id)
        held: set[tuple[str, str]] = set()
        for who, role, since, until in book["seats"]:
            if who >= len(contacts):
                continue
            contact = contacts[who]
            if until is None or until > TODAY:  # one person holds a seat at a time
                if (contact.account_id, role) in held:
                    continue
                held.add((contact.account_id, role))
                contacts[who] = contact.changed(roles=[*contact.roles, ContactRole(role.value)])
            work.sponsorships.add(
                Sponsorship(
                    id=store.ids.new("sponsorship"), account_id=contact.account_id, contact_id=contact.id, role=role,
                    from_on=since, to_on=until,
                )
            )  # fmt: skip
        for contact in contacts:
            work.contacts.add(contact)
        purposes: set[tuple[int, str]] = set()
        for side, purpose, status, related in book["tasks"]:
            if purpose is not None and status is TaskStatus.open:
                if (side, purpose) in purposes:
                    continue
                purposes.add((side, purpose))
            work.tasks.add(
                Task(
                    id=store.ids.new("task"), account_id=accounts[side], title="T", purpose=purpose, status=status,
                    related_id=contacts[related].id if related is not None and related < len(contacts) else None,
                )
            )  # fmt: skip
        for side, attendees, on in book["meetings"]:
            there = [
                Attendee(contact_id=contacts[who].id, attended=attended)
                for who, attended in attendees
                if who < len(contacts) and contacts[who].account_id == accounts[side]
            ]
            meeting = Meeting(
                id=store.ids.new("meeting"), account_id=accounts[side], kind=MeetingKind.call, held_on=on,
                status=MeetingStatus.held if on <= TODAY else MeetingStatus.planned, attendees=there,
            )  # fmt: skip
            work.meetings.add(meeting)
            work.notes.add(
                HealthNote(
                    id=store.ids.new("health_note"), account_id=accounts[side], written_on=TODAY, text="N",
                    meeting_id=meeting.id,
                )
            )  # fmt: skip
        for side, minor, on in book["money"]:
            bought = Subscription(
                id=store.ids.new("subscription"), account_id=accounts[side], starts_on=on, currency="USD"
            )
            work.subscriptions.add(bought)
            work.renewals.add(
                Renewal(
                    id=store.ids.new("renewal"), account_id=accounts[side], subscription_id=bought.id,
                    currency="USD", closes_on=on,
                )
            )  # fmt: skip
            work.movements.add(
                ArrMovement(
                    id=store.ids.new("arr_movement"), account_id=accounts[side], subscription_id=bought.id, on=on,
                    kind=MovementKind.expansion, amount_minor=minor, currency="USD",
                )
            )  # fmt: skip
    return accounts, [contact.id for contact in contacts]


def _above(family: dict[int, int], start: int, wanted: int) -> bool:
    at: int | None = start
    while at is not None:
        if at == wanted:
            return True
        at = family.get(at)
    return False


async def remembered(store: Store, team: Team) -> dict[str, dict[str, dict[str, Any]]]:
    """Every row of every remembered table by id, but for its count of versions."""
    return {
        name: {
            found["id"]: {key: value for key, value in found.items() if key != "version"}
            for found in await rows_of(store, team.workspace, row.__table__, "id")
        }
        for name, row in REMEMBERED.items()
    }


def pair_of(book: dict[str, Any], accounts: list[str], contacts: list[str]) -> tuple[str, str] | None:
    if book["kind"] == "account":
        return accounts[0], accounts[1]
    by_side: dict[int, list[str]] = {}
    for (side, _, status), contact in zip(book["people"], contacts, strict=True):
        by_side.setdefault(side, [])
        if status is not ContactStatus.departed:
            by_side[side].append(contact)
    return next(((mine[0], mine[1]) for mine in by_side.values() if len(mine) > 1), None)


def check_merged(book: dict[str, Any], before: Any, after: Any, kept: str, gone: str, accounts: list[str]) -> None:
    kind = book["kind"]
    assert after[kind][gone]["removed_at"] is not None
    assert after[kind][gone]["merged_into_id"] == kept
    for row, column in keys_to(kind):
        if row.__tablename__ != "account_team":
            left = [r["id"] for r in after[row.__tablename__].values() if r[column] == gone and r["id"] != gone]
            assert left == [], (row.__tablename__, column)
    assert gone not in {task["related_id"] for task in after["task"].values()}
    for meeting in after["meeting"].values():
        there = [who["contact_id"] for who in meeting["attendees"]]
        if kind == "contact":
            assert gone not in there
            assert there.count(kept) <= 1
    open_seats = [
        (seat["account_id"], seat["role"])
        for seat in after["sponsorship"].values()
        if seat["removed_at"] is None and (seat["to_on"] is None or seat["to_on"] > TODAY)
    ]
    assert len(open_seats) == len(set(open_seats))
    for account in accounts:
        ledger = [m for m in after["arr_movement"].values() if m["account_id"] == account and m["on"] <= TODAY]
        assert after["account"][account]["arr_minor"] == sum(m["amount_minor"] for m in ledger)
        above, seen = after["account"][account]["parent_id"], {account}
        while above is not None and after["account"][account]["removed_at"] is None:
            assert above not in seen
            seen.add(above)
            above = after["account"][above]["parent_id"]
    assert {name: len(rows) for name, rows in after.items()} == {name: len(rows) for name, rows in before.items()}


async def play(store: Store, book: dict[str, Any]) -> None:
    team = await new_team(Services(store, SECRET))
    accounts, contacts = await write_book(store, team, book)
    pair = pair_of(book, accounts, contacts)
    if pair is None:
        return
    ada: Desk = await desk(team, "ada")
    before = await remembered(store, team)

    plan = await ada.do(MergeRecords(kind=book["kind"], keep=pair[0], merge=pair[1], reason=WHY))
    assert await remembered(store, team) == before
    done = await ada.services.changes.decide(ada.principal, CommitPlan(plan=plan.plan_id))
    check_merged(book, before, await remembered(store, team), *pair, accounts)

    undone = await ada.do(UndoChanges(change=done.change_id))
    assert undone.record.refused == 0
    assert await remembered(store, team) == before


# Two records of one person who both hold a seat, succeed one another, were in one meeting and have a task.
ONE_PERSON: dict[str, Any] = {
    "people": [(0, "a@x.example", ContactStatus.active), (0, None, ContactStatus.active)],
    "successions": [(0, 1)],
    "seats": [(0, SponsorRole.champion, TODAY, None), (1, SponsorRole.executive_sponsor, TODAY, None)],
    "tasks": [(0, "qbr", TaskStatus.open, 1)],
    "meetings": [(0, [(0, False), (1, True)], TODAY)],
    "money": [],
    "industries": (None, None),
    "parents": (None, None, None),
    "owned": (True, True),
    "kind": "contact",
}
COMMON: dict[str, Any] = {
    "deadline": None,
    "phases": (Phase.explicit, Phase.reuse, Phase.generate),  # a book is small, and shrinking one takes minutes
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


async def played(url: str, book: dict[str, Any]) -> None:
    store = await open_store(url, clock=FixedClock(NOW))
    try:
        await play(store, book)
    finally:
        await store.close()


@settings(max_examples=20, **COMMON)
@given(book=books)
@example(book=ONE_PERSON)
def test_a_merge_keeps_every_rule_and_its_undo_gives_every_row_back(
    book: dict[str, Any], sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("merge") / "store.db"
    shutil.copy(sqlite_template, path)
    asyncio.run(played(f"sqlite:///{path}", book))


@settings(max_examples=8, **COMMON)
@given(book=books)
def test_so_it_does_on_postgresql(book: dict[str, Any], postgres: Postgres, postgres_database: str) -> None:
    asyncio.run(played(postgres.app(postgres_database), book))


# -- what names a record ----------------------------------------------------------------------------------------------


def test_every_key_to_a_customers_record_is_led_on() -> None:
    """Whatever table holds an account's or a contact's id declares it as a key, so that a merge finds it."""
    loose = {"account.executive_sponsor_id", "account.champion_id"}  # derived from sponsorships
    for entity in ("account", "contact"):
        known = {f"{row.__tablename__}.{column}" for row, column in keys_to(entity)}
        named = {
            f"{name}.{column.key}"
            for name, row in REMEMBERED.items()
            for column in row.__table__.c
            if column.key.endswith(f"{entity}_id")
        }
        assert named - loose <= known


async def test_where_an_index_lets_one_stand_the_row_that_comes_is_removed(store: Store, team: Team) -> None:
    """What a use case does not settle itself: rows of tables to come are never lost, nor do they stop the merge."""
    ada = await desk(team, "ada")
    kept, gone = await ada.opens("Kept"), await ada.opens("Gone")
    ids = {}
    async with unit(store, ada.principal) as work:
        for account, purpose in ((kept, "qbr"), (gone, "qbr"), (gone, "renew")):
            task = Task(id=store.ids.new("task"), account_id=account, title="T", purpose=purpose)
            ids[account, purpose] = work.tasks.add(task).id

    async with unit(store, ada.principal) as work:
        done = await repoint(work, "account", old=gone, new=kept)

    rows = {row["id"]: row for row in await rows_of(store, team.workspace, REMEMBERED["task"].__table__, "id")}
    assert done.removed == [("task", ids[gone, "qbr"])]
    assert done.followed == {"task": 1}
    assert {row["account_id"] for row in rows.values()} == {kept}
    assert [record for record, row in rows.items() if row["removed_at"] is not None] == [ids[gone, "qbr"]]
