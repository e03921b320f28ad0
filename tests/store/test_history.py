"""Every write leaves its entries, in order and chained; what can be recomputed leaves none."""

from __future__ import annotations

from datetime import date

import pytest
from book import Desk, Entry, agent_of, as_owner, desk, entries_of, head_of, history_of, post_arr, rows_of

from conftest import NOW, Team
from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.history.changes import CHANGES, PAYLOADS
from cs_mcp.db.migrations import HEAD
from cs_mcp.db.store import Store
from cs_mcp.domain.changes import canonical, chained, payload_hash
from cs_mcp.domain.work.meetings import MeetingKind
from cs_mcp.services.people.news import News, PersonNews
from cs_mcp.services.work.meetings import NewAttendee, NewNote, NextMeeting
from cs_mcp.services.work.tasks import NewTask

HASHES = {"hash", "payload_hash", "salt"}


def without_hashes(entry: Entry) -> Entry:
    return {name: value for name, value in entry.items() if name not in HASHES}


@pytest.fixture
async def ana(team: Team) -> Desk:
    return await desk(team, "ana")


async def meets_the_sponsor(person: Desk, account: str) -> str:
    """A meeting that touches six records; its change_id."""
    done = await person.meets(
        account,
        "Priya takes over as sponsor.",
        attendees=[NewAttendee(name="Priya Nair", title="COO")],
        news=[PersonNews(contact="Priya Nair", news=News.executive_sponsor)],
        health_note=NewNote(text="The new sponsor knows the product."),
        follow_ups=[NewTask(title="Send the value summary")],
        next_meeting=NextMeeting(kind=MeetingKind.value_review, on=date(2026, 4, 20)),
    )
    return done.change_id


# -- what an entry says ---------------------------------------------------------------------------------------


async def test_an_update_is_one_entry_with_who_what_and_why(store: Store, team: Team, ana: Desk) -> None:
    acme = await ana.opens("Acme", industry="Freight", tags=["pilot"])
    before = await head_of(store, team)

    done = await ana.updates(
        acme, industry="Logistics", employees=120, add_tags=["emea"], custom={"region": "emea"}, reason="Priya said so"
    )

    [entry] = await entries_of(store, team, done.change_id)
    assert without_hashes(entry) == {
        "workspace": team.workspace,
        "seq": before["seq"] + 1,
        "change_id": done.change_id,
        "entity": "account",
        "entity_id": acme,
        "entity_version": 2,
        "account_id": acme,
        "kind": "updated",
        "fields": ["custom", "employees", "industry", "tags"],
        "before": {"custom": {}, "employees": None, "industry": "Freight", "tags": ["pilot"]},
        "after": {"custom": {"region": "emea"}, "employees": 120, "industry": "Logistics", "tags": ["emea", "pilot"]},
        "at": NOW,
        "actor_id": ana.id,
        "on_behalf_of": None,
        "client": "test",
        "tool": "update_account",
        "reason": "Priya said so",
        "run_id": None,
        "plan_id": None,
        "undoes": None,
        "schema_revision": HEAD,
    }


async def test_a_creation_records_every_column_that_is_not_derived(store: Store, team: Team, ana: Desk) -> None:
    acme = await ana.opens("Acme", renewal_on=date(2026, 9, 1))

    entry = (await history_of(store, team))[-1]

    [row] = [row for row in await rows_of(store, team.workspace, AccountRow.__table__) if row["id"] == acme]
    recorded = {n: v for n, v in row.items() if n not in AccountRow.derived | {"workspace", "id", "version"}}
    recorded |= {"created_on": "2026-03-16", "renewal_on": "2026-09-01"}
    assert (entry["kind"], entry["before"], entry["after"]) == ("created", None, recorded)
    assert entry["fields"] == sorted(recorded)


async def test_a_meeting_is_one_write_with_an_entry_for_each_record(store: Store, team: Team, ana: Desk) -> None:
    acme = await ana.opens("Acme")
    before = await head_of(store, team)

    change = await meets_the_sponsor(ana, acme)

    entries = await entries_of(store, team, change)
    records = sorted((entry["entity"], entry["kind"], entry["entity_version"]) for entry in entries)
    assert records == [
        ("contact", "created", 1),
        ("health_note", "created", 1),
        ("meeting", "created", 1),
        ("meeting", "created", 1),
        ("sponsorship", "created", 1),
        ("task", "created", 1),
    ]
    assert [entry["seq"] for entry in entries] == list(range(before["seq"] + 1, before["seq"] + 7))
    assert {entry["account_id"] for entry in entries} == {acme}


async def test_an_agents_write_names_the_person_it_acts_for(store: Store, team: Team, ana: Desk) -> None:
    acme = await ana.opens("Acme")
    bot = await agent_of(team, "ana")

    done = await bot.in_run("run_of_tonight").notes(acme, "Usage fell by half.")

    [entry] = await entries_of(store, team, done.change_id)
    said = {name: entry[name] for name in ("actor_id", "on_behalf_of", "client", "tool", "run_id")}
    assert said == {
        "actor_id": team.members["bot"].id,
        "on_behalf_of": ana.id,
        "client": "bot's client",
        "tool": "add_health_note",
        "run_id": "run_of_tonight",
    }


async def test_an_update_that_changes_nothing_leaves_nothing(store: Store, team: Team, ana: Desk) -> None:
    acme = await ana.opens("Acme", industry="Freight")
    before = await history_of(store, team)

    done = await ana.updates(acme, industry="Freight", add_tags=[])

    assert (done.change_id, done.changed, done.record.version) == (None, [], 1)
    assert await history_of(store, team) == before


async def test_a_write_that_fails_leaves_no_gap(store: Store, team: Team, ana: Desk) -> None:
    acme = await ana.opens("Acme")
    with pytest.raises(Exception, match="in the future"):
        await ana.notes(acme, "Later", written_on=date(2026, 3, 17))

    await ana.notes(acme, "Now")

    history = await history_of(store, team)
    assert [entry["seq"] for entry in history] == list(range(1, len(history) + 1))
    assert (await head_of(store, team))["seq"] == len(history)


async def test_what_an_entry_held_is_kept_apart_from_the_entry(store: Store, team: Team, ana: Desk) -> None:
    await ana.opens("Acme")

    entries = await rows_of(store, team.workspace, CHANGES, "seq")
    payloads = await rows_of(store, team.workspace, PAYLOADS, "seq")

    assert [row["seq"] for row in payloads] == [row["seq"] for row in entries]
    assert not any("Acme" in str(entry) for entry in entries)
    assert len({row["salt"] for row in payloads}) == len(payloads)


# -- derived columns, removal ---------------------------------------------------------------------------------


async def test_derived_columns_follow_a_meeting_and_its_undo_without_a_version(
    store: Store, team: Team, ana: Desk
) -> None:
    acme = await ana.opens("Acme")
    change = await meets_the_sponsor(ana, acme)

    met = await ana.sees(acme)
    sponsor = met.executive_sponsor.name if met.executive_sponsor else None
    assert (met.version, met.last_touch_on, met.last_meeting_on) == (1, NOW.date(), NOW.date())
    assert (met.next_meeting_on, sponsor) == (date(2026, 4, 20), "Priya Nair")

    await ana.undoes(change)

    undone = await ana.sees(acme)
    assert (undone.version, undone.last_touch_on, undone.last_meeting_on) == (1, None, None)
    assert (undone.next_meeting_on, undone.executive_sponsor) == (None, None)
    assert [e["entity_version"] for e in await history_of(store, team) if e["entity"] == "account"] == [1]


async def test_arr_follows_the_ledger_and_the_undo_of_a_movement(store: Store, team: Team, ana: Desk) -> None:
    acme = await ana.opens("Acme")
    await post_arr(store, team, acme, 1_200_000, date(2026, 1, 1))
    change = await post_arr(store, team, acme, -200_000, date(2026, 3, 1))
    await post_arr(store, team, acme, 900_000, date(2026, 3, 17))

    lessened = await ana.sees(acme)
    await (await desk(team, "ada")).undoes(change)
    restored = await ana.sees(acme)

    assert [(v.version, v.arr.amount) for v in (lessened, restored)] == [(1, "10000.00"), (1, "12000.00")]
    assert not any(e["fields"] == ["arr_minor"] for e in await history_of(store, team))


async def test_removing_keeps_the_row_and_is_an_entry(store: Store, team: Team, ana: Desk) -> None:
    opened = (await ana.changes(account=await ana.opens("Acme"))).items[0]
    acme = opened.records[0].id

    removal = await ana.undoes(opened.change_id)

    [entry] = await entries_of(store, team, removal.change_id)
    assert (entry["kind"], entry["undoes"], entry["entity_version"]) == ("removed", opened.change_id, 2)
    assert (entry["before"], entry["after"]) == ({"removed_at": None}, {"removed_at": NOW.isoformat()})
    [row] = [row for row in await rows_of(store, team.workspace, AccountRow.__table__) if row["id"] == acme]
    assert (row["name"], row["removed_at"], row["version"]) == ("Acme", NOW, 2)

    again = await ana.undoes(removal.change_id)

    [entry] = await entries_of(store, team, again.change_id)
    assert (entry["kind"], entry["before"]) == ("restored", {"removed_at": NOW.isoformat()})
    assert (await ana.sees("Acme")).version == 3


# -- the chain ------------------------------------------------------------------------------------------------


async def first_break(store: Store, team: Team) -> int | None:
    """The place where the history stops holding together, recomputed from the tables; None where it is whole."""
    previous, history = "", await history_of(store, team)
    for place, entry in enumerate(history, start=1):
        held = payload_hash(entry["salt"] or "", canonical(entry["before"]), canonical(entry["after"]))
        erased = entry["before"] is entry["after"] is entry["salt"] is None
        if entry["seq"] != place or entry["hash"] != chained(previous, entry):
            return place
        if held != entry["payload_hash"] and not erased:
            return place
        previous = entry["hash"]
    head = await head_of(store, team)
    return None if (head["seq"], head["hash"]) == (len(history), previous) else len(history) + 1


async def a_full_history(store: Store, team: Team, ana: Desk) -> int:
    """Writes of many kinds; the seq of an update in their midst."""
    acme = await ana.opens("Acme", tags=["pilot", "ümläut", "日本"], custom={"b": 1, "a": 2.5, "on": True})
    await ana.updates(acme, industry="Logistics", reason="Said so")
    middle = (await head_of(store, team))["seq"]
    change = await meets_the_sponsor(ana, acme)
    await ana.undoes(change)
    await (await agent_of(team, "ana")).in_run("run_1").notes(acme, "Quiet.")
    await post_arr(store, team, acme, 100, date(2026, 1, 1))
    return middle


async def test_the_chain_recomputes_from_the_tables(store: Store, team: Team, ana: Desk) -> None:
    await a_full_history(store, team, ana)

    assert await first_break(store, team) is None


TAMPERED = {
    "change_id": "'chg_other'",
    "entity": "'task'",
    "entity_id": "'acc_other'",
    "entity_version": "7",
    "account_id": "'acc_other'",
    "kind": "'created'",
    "fields": "'[]'",
    "at": "'2020-01-01 00:00:00.000000'",
    "actor_id": "'usr_other'",
    "on_behalf_of": "'usr_other'",
    "client": "'another'",
    "tool": "'another'",
    "reason": "'another'",
    "run_id": "'run_other'",
    "plan_id": "'pln_other'",
    "undoes": "'chg_other'",
    "schema_revision": "'0000'",
    "payload_hash": "'0'",
    "hash": "'0'",
}


def test_every_column_of_an_entry_is_tampered_with_below() -> None:
    assert set(TAMPERED) == {column.name for column in CHANGES.c} - {"workspace", "seq"}


async def test_an_altered_entry_breaks_the_chain_there(store: Store, team: Team, ana: Desk) -> None:
    middle = await a_full_history(store, team, ana)
    columns = ", ".join(column.name for column in CHANGES.c if column.name != "workspace")
    where = f"where workspace = '{team.workspace}' and seq = {middle}"
    aside = f"'aside {team.workspace[4:]}'"
    kept = f"from change where workspace = {aside} and seq = {middle}"
    await as_owner(store, f"insert into change (workspace, {columns}) select {aside}, {columns} from change {where}")

    breaks: dict[str, int | None] = {}
    for name, value in TAMPERED.items():
        await as_owner(store, f"update change set {name} = {value} {where}")
        breaks[name] = await first_break(store, team)
        await as_owner(store, f"update change set {name} = (select {name} {kept}) {where}")

    assert breaks == dict.fromkeys(TAMPERED, middle)
    assert await first_break(store, team) is None


@pytest.mark.parametrize("column", ["before", "after", "salt"])
async def test_an_altered_value_breaks_the_chain_there(store: Store, team: Team, ana: Desk, column: str) -> None:
    middle = await a_full_history(store, team, ana)

    value = "'0'" if column == "salt" else """'{"industry": "Mining"}'"""
    await as_owner(
        store,
        f"update change_payload set \"{column}\" = {value} where workspace = '{team.workspace}' and seq = {middle}",
    )

    assert await first_break(store, team) == middle


@pytest.mark.parametrize("last", [False, True], ids=["in the midst", "at the end"])
async def test_a_dropped_entry_breaks_the_chain(store: Store, team: Team, ana: Desk, last: bool) -> None:
    middle = await a_full_history(store, team, ana)
    seq = (await head_of(store, team))["seq"] if last else middle

    for table in ("change", "change_payload"):
        await as_owner(store, f"delete from {table} where workspace = '{team.workspace}' and seq = {seq}")

    assert await first_break(store, team) == seq


async def test_two_swapped_entries_break_the_chain(store: Store, team: Team, ana: Desk) -> None:
    middle = await a_full_history(store, team, ana)

    for table in ("change", "change_payload"):
        mine = f"where workspace = '{team.workspace}' and seq"
        await as_owner(store, f"update {table} set seq = -1 {mine} = {middle}")
        await as_owner(store, f"update {table} set seq = {middle} {mine} = {middle + 1}")
        await as_owner(store, f"update {table} set seq = {middle + 1} {mine} = -1")

    assert await first_break(store, team) == middle


async def erase(store: Store, team: Team, seq: int) -> None:
    await as_owner(
        store,
        "update change_payload set before = null, after = null, salt = null "
        f"where workspace = '{team.workspace}' and seq = {seq}",
    )


async def test_an_erased_payload_leaves_the_chain_whole(store: Store, team: Team, ana: Desk) -> None:
    middle = await a_full_history(store, team, ana)

    await erase(store, team, middle)

    assert await first_break(store, team) is None
    [line] = (await ana.changes(after=middle - 1, limit=1)).items
    assert (line.reason, line.records[0].did, line.records[0].fields) == ("Said so", "updated", [])


async def test_a_write_whose_values_were_erased_cannot_be_undone(store: Store, team: Team, ana: Desk) -> None:
    acme = await ana.opens("Acme", industry="Freight")
    done = await ana.updates(acme, industry="Logistics")
    await erase(store, team, (await head_of(store, team))["seq"])

    with pytest.raises(Exception, match="erased"):
        await ana.undoes(done.change_id)

    assert (await ana.sees(acme)).industry == "Logistics"


FIGURES = [1.0, -0.0, 0.1, 1e-7, 1e15, 1e16, 1e22, 2**53, True, "1e22", "日本"]


async def test_the_chain_recomputes_whatever_a_custom_field_holds(store: Store, team: Team, ana: Desk) -> None:
    acme = await ana.opens("Acme")
    for figure in FIGURES:
        await ana.updates(acme, custom={"figure": figure})

    assert await first_break(store, team) is None
    assert (await ana.sees(acme)).custom == {"figure": FIGURES[-1]}
