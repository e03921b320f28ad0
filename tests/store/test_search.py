"""The index of search on both stores: it is the rows it was made from, whatever way they were written."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from book import Desk, agent_of, as_owner, desk, owner_url, rows_of, unit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import APP_ROLE, Postgres, Team, new_team
from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.bulk import RowUpdate, bulk_create, bulk_update
from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.migrations import HEAD
from cs_mcp.db.search import SHELVES, words_of
from cs_mcp.db.store import Store, StoreUrl, open_store
from cs_mcp.db.upgrade import upgrade_postgres, upgrade_sqlite
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.services.search import Search
from cs_mcp.services.wiring import Services

TEXT_TABLES = {"health_note": "text", "task": "title"}


async def found(who: Desk, query: str) -> list[str]:
    answer = await who.services.searches.search(who.principal, Search(query=query))
    return [result.id for result in answer.results]


@pytest.fixture
async def ana(team: Team) -> Desk:
    return await desk(team, "ana")


@pytest.fixture
async def ada(team: Team) -> Desk:
    return await desk(team, "ada")


def note(store: Store, account: str, text: str) -> dict[str, Any]:
    today = store.clock.now().date()
    return {"id": store.ids.new("health_note"), "account_id": account, "written_on": today, "text": text}


# -- kept with the rows ---------------------------------------------------------------------------------------


async def test_rows_of_the_bulk_path_are_found_and_follow_its_updates(store: Store, ada: Desk, ana: Desk) -> None:
    account = await ana.opens("Bulky", owner="me")
    notes = [note(store, account, f"Imported number{n} wombat") for n in range(30)]
    async with unit(store, ada.principal) as work:
        await bulk_create(work, HealthNoteRow, notes)
    assert await found(ana, "number7") == [notes[7]["id"]]

    gone = {"removed_at": store.clock.now()}
    async with unit(store, ada.principal) as work:
        await bulk_update(
            work,
            HealthNoteRow,
            [
                RowUpdate(notes[7]["id"], 1, account, {"text": notes[7]["text"]}, {"text": "Rewritten kiwi"}),
                RowUpdate(notes[8]["id"], 1, account, {"removed_at": None}, gone),
            ],
        )
    assert await found(ana, "number7") == []
    assert await found(ana, "kiwi") == [notes[7]["id"]]
    assert await found(ana, "number8") == []

    async with unit(store, ada.principal) as work:
        await bulk_update(work, HealthNoteRow, [RowUpdate(notes[8]["id"], 2, account, gone, {"removed_at": None})])
    assert await found(ana, "number8") == [notes[8]["id"]]


async def test_a_note_may_come_before_its_account(store: Store, ada: Desk, ana: Desk) -> None:
    account = store.ids.new("account")
    values = {
        "id": account, "name": "Latecomer", "segment": "smb", "tier": "standard", "touch": "low", "stage": "adoption",
        "onboarding_status": "complete", "owner_id": ana.id, "currency": "USD", "tags": [], "custom": {},
    }  # fmt: skip
    written = note(store, account, "Before the ocelot")
    async with unit(store, ada.principal) as work:
        await bulk_create(work, HealthNoteRow, [written])
        await bulk_create(work, AccountRow, [values])
    assert await found(ana, "latecomer ocelot") == [written["id"]]


async def test_what_a_failed_write_entered_is_not_in_the_index(store: Store, ana: Desk) -> None:
    account = await ana.opens("Steady", owner="me")

    async def fail() -> None:
        async with unit(store, ana.principal) as work:
            await bulk_create(work, HealthNoteRow, [note(store, account, "Vanished axolotl")])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await found(ana, "axolotl") == []


async def assert_whole(store: Store, team: Team) -> None:
    """The index says what the rows say: FTS5 checks itself, PostgreSQL is asked to make each row's words again."""
    if store.where.is_sqlite:
        for shelf in SHELVES:
            await as_owner(store, f"insert into {shelf}_index({shelf}_index, rank) values ('integrity-check', 1)")
        return
    admin = await asyncpg.connect(owner_url(store).render_as_string(hide_password=False))
    for table, column in TEXT_TABLES.items():
        wrong = await admin.fetchval(
            f"select count(*) from {table} t left join search_text s on s.workspace = t.workspace and s.record = t.id "
            f"where t.workspace = $1 and (s.record is null or ts_filter(s.words, '{{a}}') is distinct from case "
            f"when t.removed_at is null then setweight(search_words(concat_ws(' ', t.{column}, {EXTRA[table]})), 'A') "
            "else ''::tsvector end or s.seen_by is distinct from search_seen_by(t.workspace, t.account_id))",
            team.workspace,
        )
        assert wrong == 0, table
    await admin.close()


EXTRA = {"health_note": "null::text", "task": "t.outcome"}
WORDS = ["wombat", "Ärger", "kiwi", "SSO", "renewal"]
STEPS = st.lists(
    st.tuples(st.sampled_from(["note", "task", "undo", "redo", "rename", "move"]), st.sampled_from(WORDS)),
    max_size=12,
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_after_any_writes_search_finds_what_a_scan_of_the_rows_finds(
    steps: list[tuple[str, str]], store_url: str, clock: FixedClock
) -> None:
    asyncio.run(_same_as_a_scan(steps, store_url, clock))


async def _same_as_a_scan(steps: list[tuple[str, str]], url: str, clock: FixedClock) -> None:
    store = await open_store(_fresh(url), clock=clock)
    try:
        team = await new_team(Services(store, b"x"))
        people = {name: await desk(team, name) for name in ("ana", "ben", "ada")}
        ada = people["ada"]
        account, owner = await ada.opens("First name", owner=people["ana"].id), "ana"
        made: list[str] = []
        for did, word in steps:
            clock.advance(timedelta(seconds=1))
            if did == "note":
                made.append((await ada.notes(account, f"About {word}, they said.")).change_id)
            elif did == "task":
                made.append((await ada.plans_work(account, f"Ask for {word}")).change_id)
            elif did in ("undo", "redo") and made:
                undone = await ada.undoes(made.pop())
                if did == "redo":
                    await ada.undoes(undone.change_id)
            elif did == "rename":
                await ada.updates(account, name=f"Name with {word}")
            elif did == "move":
                owner = "ben" if owner == "ana" else "ana"
                await ada.updates(account, owner=people[owner].id)
        rows = [
            (row["id"], row[column])
            for table, column in TEXT_TABLES.items()
            for row in await rows_of(store, team.workspace, _table(table), "id")
            if row["removed_at"] is None
        ]
        name = (await ada.sees(account)).name
        for word in WORDS:
            expected = {record for record, said in rows if word.casefold() in said.casefold()}
            expected |= {record for record, _ in rows} if word.casefold() in name.casefold() else set[str]()
            expected |= {account} if word.casefold() in name.casefold() else set[str]()
            for who, reads in people.items():
                seen = set(await found(reads, word)) - {"more_matches"}
                assert seen == (expected if who in (owner, "ada") else set()), (word, who)
        await assert_whole(store, team)
    finally:
        await store.close()


def _fresh(url: str) -> str:
    """A store without a workspace: a copy of a file that is never opened, or the database as it is."""
    if not url.startswith("sqlite"):
        return url
    path = StoreUrl.parse(url).path
    return f"sqlite:///{shutil.copy(path, path.with_name(f'{uuid4().hex}.db'))}"


def _table(name: str) -> Any:
    from cs_mcp.db.base import Base

    return Base.metadata.tables[name]


# -- what people type -----------------------------------------------------------------------------------------

SYNTAX = [
    '"',
    "'",
    "*",
    ":",
    "(",
    ")",
    "^",
    "-",
    "+",
    "NEAR(",
    "AND",
    "OR",
    "NOT",
    "{",
    "}",
    "|",
    "&",
    "!",
    "<->",
    "\\",
]
TYPED = st.one_of(
    st.text(min_size=1, max_size=60),
    st.lists(st.sampled_from([*SYNTAX, "renewal", "ren", "Globex", "½", "ﬁ", "東京", "हिन्दी"]), min_size=1).map(
        " ".join
    ),
    st.lists(st.sampled_from([*SYNTAX, "renewal", "seen_by", "words"]), min_size=1).map("".join),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(typed=TYPED)
def test_nothing_that_is_typed_is_syntax(typed: str, store_url: str) -> None:
    async def ask() -> None:
        store = await open_store(store_url)
        try:
            services = Services(store, b"x")
            workspace = (await store.workspaces() or [await services.identity.found_workspace(name="Typed")])[0]
            operator = await services.identity.operator(workspace)
            await services.searches.search(operator, Search(query=typed.replace("\0", "")[:400] or "x"))
        finally:
            await store.close()

    asyncio.run(ask())


@given(typed=st.text(max_size=400))
def test_words_are_letters_and_digits_alone_and_few(typed: str) -> None:
    words = words_of(typed)
    assert len(words) <= 12
    assert all(word and len(word) <= 64 and not set(word) & set("\"'*:()^-+{}|&!<>\\ ") for word in words)


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("“Renewal” is at-risk/blocked (really)", "renewal risk blocked"),
        ("Über Nacht in ZÜRICH", "uber zurich"),
        ("mail priya@globex.example now", "priya@globex.example"),
        ("версия Один", "версия"),
        ("version 2.4.1 of the API", "2.4.1 api"),
        ("<b>bold</b> claim &amp; more", "bold claim more"),
        ("see https://globex.example/a/b?c=d", "globex.example"),
    ],
)
async def test_both_stores_divide_and_fold_text_alike(ana: Desk, said: str, asked: str) -> None:
    account = await ana.opens("Plain", owner="me")
    written = await ana.notes(account, said)
    assert await found(ana, asked) == [written.record.id]


async def test_a_word_in_very_many_notes_is_answered_from_the_newest(store: Store, ada: Desk, ana: Desk) -> None:
    account = await ana.opens("Busy", owner="me")
    elsewhere = await ada.opens("Elsewhere", owner="ben@acme.example")
    mine = note(store, account, "Common mention of the pangolin")
    async with unit(store, ada.principal) as work:
        await bulk_create(work, HealthNoteRow, [mine])
        await bulk_create(work, HealthNoteRow, [note(store, elsewhere, f"Common words {n}") for n in range(7_000)])

    # What others have is neither found nor hinted, however much of it stands before what is one's own.
    assert await found(ana, "common") == [mine["id"]]
    everything = await found(ada, "common")
    assert len(everything) == 21
    assert everything[-1] == "more_matches"
    assert await found(ada, "common pangolin") == [mine["id"]]


async def test_an_agent_finds_what_its_person_may_see(team: Team, ana: Desk) -> None:
    account = await ana.opens("Hers", owner="me")
    assert await found(await agent_of(team, "ana"), "hers") == [account]
    assert await found(await agent_of(team, "ben"), "hers") == []


# -- migrations and walls ------------------------------------------------------------------------------------


async def _old_book(url: str) -> None:
    """A store of the schema before search, with a note in it, written by SQL alone."""
    columns = {
        "account": "workspace, id, version, name, name_key, segment, tier, touch, stage, onboarding_status, currency, "
        "tags, custom, arr_minor, health_band",
        "health_note": "workspace, id, version, account_id, written_on, text",
    }
    values = {
        "account": "'wsp_1', 'acc_000000000000000001', 1, 'Olden', 'olden', 'smb', 'standard', 'low', 'adoption', "
        "'complete', 'USD', '[]', '{}', 0, 'unknown'",
        "health_note": "'wsp_1', 'nte_000000000000000001', 1, 'acc_000000000000000001', '2026-01-01', 'Old tapir'",
    }
    statements = ["insert into workspace (id) values ('wsp_1')"]
    statements += [f"insert into {table} ({columns[table]}) values ({values[table]})" for table in columns]
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()
        return
    connection = await asyncpg.connect(url)
    await connection.execute("select set_config('app.workspace', 'wsp_1', false)")
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


@pytest.mark.parametrize("store_kind", ["sqlite", "postgresql"])
async def test_a_store_from_before_search_is_indexed_when_it_is_upgraded(
    store_kind: str, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    if store_kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'old.db'}"
        upgrade_sqlite(StoreUrl.parse(url), "0001")
        await _old_book(url)
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        owner = name = f"old_{uuid4().hex[:12]}"
        admin = await asyncpg.connect(postgres.owner("postgres"))
        await admin.execute(f"create role {owner} login")
        await admin.execute(f"create database {name} owner {owner}")
        await admin.close()
        theirs, url = StoreUrl.parse(postgres.app(name).replace(APP_ROLE, owner)), postgres.app(name)
        await upgrade_postgres(theirs, StoreUrl.parse(url), "0001")
        await _old_book(postgres.owner(name))
        # Whoever owns the schema stands behind the wall as well.
        assert (await upgrade_postgres(theirs, StoreUrl.parse(url))).after == HEAD
    store = await open_store(url)
    try:
        services = Services(store, b"x")
        operator = await services.identity.operator("wsp_1")
        answer = await services.searches.search(operator, Search(query="olden tapir"))
        assert [result.id for result in answer.results] == ["nte_000000000000000001"]
    finally:
        await store.close()


@pytest.mark.parametrize("store_kind", ["postgresql"])
async def test_the_look_up_sees_one_workspace_and_no_stranger_may_call_it(
    store: Store, team: Team, ana: Desk, postgres: Postgres, postgres_database: str
) -> None:
    await ana.opens("Walled", owner="me")
    asked = (
        "select count(distinct record) from search_name_look_up(array['walled'], false, array[$1]::text[], 100, 100)"
    )
    app = await asyncpg.connect(postgres.app(postgres_database))
    owner = await asyncpg.connect(postgres.owner(postgres_database))
    try:
        assert await app.fetchval(asked, team.workspace) == 0
        await app.execute("select set_config('app.workspace', 'wsp_elsewhere', false)")
        assert await app.fetchval(asked, team.workspace) == 0
        await app.execute("select set_config('app.workspace', $1, false)", team.workspace)
        assert await app.fetchval(asked, team.workspace) == 1
        stranger = f"stranger_{uuid4().hex[:8]}"
        await owner.execute(f"create role {stranger}")
        await owner.execute(f"set role {stranger}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await owner.fetchval(asked, team.workspace)
    finally:
        await app.close()
        await owner.close()


async def test_the_look_up_of_a_plain_owner_uses_the_index(postgres: Postgres) -> None:
    name = owner = f"plain_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(postgres.owner("postgres"))
    await admin.execute(f"create role {owner} login")
    await admin.execute(f"create database {name} owner {owner}")
    await admin.close()
    theirs = postgres.app(name).replace(APP_ROLE, owner)
    await upgrade_postgres(StoreUrl.parse(theirs), StoreUrl.parse(postgres.app(name)))
    connection = await asyncpg.connect(theirs)
    await connection.execute("set enable_seqscan = off")
    explained = (
        "explain select 1 from search_text where words @@ to_tsquery('simple', 'x') and workspace || '' = 'wsp_1'"
    )
    plan = "\n".join(row[0] for row in await connection.fetch(explained))
    await connection.close()
    assert "gin_search_text" in plan


async def test_the_index_is_not_a_second_history(store: Store, team: Team, ana: Desk) -> None:
    account = await ana.opens("Quiet", owner="me")
    await ana.notes(account, "One")
    await ana.notes(account, "Two")
    held = {name: await rows_of(store, team.workspace, table, "record") for name, table in SHELVES.items()}
    assert [row["record"] for row in held["search_name"]] == [account]
    assert len(held["search_text"]) == 2
