"""Wall one: repositories start from what the caller may see. Wall two: PostgreSQL keeps workspaces apart by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from book import Desk, agent_of, as_owner, desk, everything_of, post_arr, unit

from conftest import APP_ROLE, SECRET, Postgres, Team, clone_database, new_team
from cs_mcp.db.base import Base
from cs_mcp.db.migrations.walls import OUTSIDE
from cs_mcp.db.search import SHELVES
from cs_mcp.db.store import Store, open_store
from cs_mcp.domain.accounts.accounts import TeamMember, TeamRole
from cs_mcp.domain.calendar import FixedClock
from cs_mcp.domain.contract import Amount
from cs_mcp.domain.errors import CustomerSuccessError, NotFound
from cs_mcp.domain.identity import Role
from cs_mcp.services.health.health import ListHealthNotes
from cs_mcp.services.wiring import Services
from cs_mcp.services.work.tasks import CreateTasks, ListTasks, NewTask
from cs_mcp.services.workspace import GetWorkspace

# Each account's ARR is a power of two, so that a sum tells which accounts are in it.
BOOK = {"Hers": 1, "His": 2, "Kims": 4, "Shared": 8, "Nobodys": 16}
SEEN_BY = {
    "ana": {"Hers", "Shared", "Nobodys"},
    "ben": {"His", "Nobodys"},
    "lea": {"Hers", "His", "Shared", "Nobodys"},
    "kim": {"Kims", "Shared", "Nobodys"},
    "ada": set(BOOK),
    "vic": set(BOOK),
    "bot": {"Nobodys"},
    "bot for ana": {"Hers", "Shared", "Nobodys"},
}


async def refusal(attempt: Any) -> str:
    with pytest.raises(CustomerSuccessError) as refused:
        await attempt
    return refused.value.message


async def a_book(store: Store, team: Team) -> dict[str, str]:
    """Accounts of several people, each with a task, a note and a meeting; ids by name."""
    owners = {"Hers": "ana", "His": "ben", "Kims": "kim", "Shared": "kim", "Nobodys": None}
    ada = await desk(team, "ada")
    accounts: dict[str, str] = {}
    for name, owner in owners.items():
        given = {"owner": team.members[owner].email} if owner else {}
        account = accounts[name] = await ada.opens(name, domain=f"{name.casefold()}.example", **given)
        await ada.plans_work(account, f"Task of {name}")
        await ada.notes(account, f"Note on {name}")
        await ada.meets(account)
        await post_arr(store, team, account, BOOK[name] * 100, date(2026, 1, 1))
    async with unit(store, ada.principal) as work:
        work.team.add(
            TeamMember(
                id=work.ids.new("account_team"),
                account_id=accounts["Shared"],
                user_id=team.members["ana"].id,
                role=TeamRole.support,
            )
        )
    return accounts


@pytest.fixture
async def book(store: Store, team: Team) -> dict[str, str]:
    return await a_book(store, team)


async def people(team: Team) -> dict[str, Desk]:
    found = {name: await desk(team, name) for name in team.members}
    return found | {"bot for ana": await agent_of(team, "ana")}


async def can_get(person: Desk, account: str) -> bool:
    try:
        await person.sees(account)
    except NotFound:
        return False
    return True


async def seen_by(person: Desk, book: dict[str, str]) -> dict[str, Any]:
    """What each read shows a person of the book: names of accounts, and figures."""
    names = {account: name for name, account in book.items()}
    services, principal = person.services, person.principal
    page = await person.finds(sum_arr=True)
    tasks = await services.tasks.list(principal, ListTasks())
    notes = await services.notes.list(principal, ListHealthNotes())
    changes = await person.changes(after=0, limit=200, budget_tokens=20_000)
    overview = await services.workspaces.get(principal, GetWorkspace())
    changed = {names.get(record.id) for line in changes.items for record in line.records if record.record == "account"}
    on_account = [n for n, a in book.items() if (await person.changes(record=a)).items]
    return {
        "find_accounts": {line.name for line in page.items},
        "total": page.total,
        "sum": page.arr_total,
        "get_account by id": {name for name, account in book.items() if await can_get(person, account)},
        "get_account by name": {name for name in book if await can_get(person, name)},
        "get_account by domain": {name for name in book if await can_get(person, f"{name.casefold()}.example")},
        "list_tasks": {line.account.name for line in tasks.items if line.account},
        "tasks": tasks.total,
        "list_health_notes": {line.account.name for line in notes.items if line.account},
        "list_changes": changed,
        "list_changes by record": set(on_account),
        "counts": {name: overview.counts[name] for name in ("accounts", "open tasks", "health notes", "meetings")},
    }


async def test_every_read_shows_a_person_their_book_and_nothing_else(team: Team, book: dict[str, str]) -> None:
    for name, person in (await people(team)).items():
        seen = SEEN_BY[name]
        assert await seen_by(person, book) == {
            "find_accounts": seen,
            "total": len(seen),
            "sum": [Amount(amount=f"{sum(BOOK[account] for account in seen)}.00", currency="USD")],
            "get_account by id": seen,
            "get_account by name": seen,
            "get_account by domain": seen,
            "list_tasks": seen,
            "tasks": len(seen),
            "list_health_notes": seen,
            "list_changes": seen,
            "list_changes by record": seen,
            "counts": dict.fromkeys(("accounts", "open tasks", "health notes", "meetings"), len(seen)),
        }, name


async def test_a_hidden_account_is_not_there_in_words_either(team: Team, book: dict[str, str]) -> None:
    ben = await desk(team, "ben")

    hidden = await refusal(ben.sees(book["Hers"]))
    unknown = await refusal(ben.sees("acc_" + "0" * 18))
    near = await refusal(ben.sees("Herz"))

    assert hidden.replace(book["Hers"], "…") == unknown.replace("acc_" + "0" * 18, "…")
    assert not any(name in near for name in ("Hers", "Kims", "Shared"))


async def test_nobody_writes_where_they_do_not_see(store: Store, team: Team, book: dict[str, str]) -> None:
    ana, ben = await desk(team, "ana"), await desk(team, "ben")
    hers, his = book["Hers"], book["His"]
    seen = await ana.sees(hers)
    [task], [note], [meeting] = seen.tasks or [], seen.notes or [], seen.meetings or []
    before = await everything_of(store, team)

    attempts = [
        ben.updates(hers, version=1, industry="Freight"),
        ben.updates("Hers", version=1, industry="Freight"),
        ben.updates(his, version=1, parent=hers),
        ben.notes(hers, "Text"),
        ben.notes(his, "Text", corrects=note.id),
        ben.plans_work(hers, "Title"),
        ben.updates_task(task.id, 1, title="Title"),
        ben.meets(hers),
        ben.meets(his, meeting=meeting.id, expected_version=1),
        ben.opens("Child", parent=hers),
        ben.updates(hers, version=1, industry="Freight", preview=True),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound):
            await attempt

    assert await everything_of(store, team) == before


async def test_in_a_batch_the_hidden_item_is_refused_and_the_others_done(team: Team, book: dict[str, str]) -> None:

    ben = await desk(team, "ben")
    tasks = [NewTask(title="Here"), NewTask(title="There", account=book["Hers"])]

    done = await ben.do(CreateTasks(account=book["His"], tasks=tasks))

    assert [item.outcome for item in done.items] == ["done", "refused"]
    assert [task.title for task in done.record.tasks] == ["Here"]


async def test_looking_for_duplicates_tells_nothing_of_a_hidden_account(team: Team, book: dict[str, str]) -> None:
    ben = await desk(team, "ben")

    assert await ben.opens("Hers")


async def test_a_colleague_covers_on_the_days_given_and_no_others(
    store: Store, team: Team, clock: FixedClock, book: dict[str, str]
) -> None:
    async with unit(store, (await desk(team, "ada")).principal) as work:
        away = await work.members.get(team.members["ana"].id)
        cover = {"cover_id": team.members["ben"].id, "cover_from": date(2026, 3, 17), "cover_to": date(2026, 3, 18)}
        work.members.save(away.changed(**cover))

    seen: list[set[str]] = []
    for _ in range(4):
        seen.append(set(await (await desk(team, "ben")).found_names()))
        clock.advance(timedelta(days=1))

    alone, covering = SEEN_BY["ben"], SEEN_BY["ben"] | SEEN_BY["ana"]
    assert seen == [alone, covering, covering, alone]


async def test_a_leader_sees_whoever_reports_however_far_down_even_in_a_circle(
    store: Store, team: Team, book: dict[str, str]
) -> None:
    identity = team.services.identity
    team.members["jo"] = await identity.add_member(
        team.workspace, name="Jo Lind", email="jo@acme.example", role=Role.csm, manager="ana@acme.example"
    )
    await (await desk(team, "ada")).opens("Jos", owner="jo@acme.example")
    async with unit(store, (await desk(team, "ada")).principal) as work:
        lea = await work.members.get(team.members["lea"].id)
        work.members.save(lea.changed(manager_id=team.members["jo"].id))

    assert set(await (await desk(team, "lea")).found_names()) == SEEN_BY["lea"] | {"Jos"}
    assert set(await (await desk(team, "ana")).found_names()) == SEEN_BY["ana"]


async def test_leaving_the_account_team_takes_the_account_away(store: Store, team: Team, book: dict[str, str]) -> None:
    async with unit(store, (await desk(team, "ada")).principal) as work:
        [seat] = await work.team.where()
        work.team.save(seat.changed(removed_at=work.now))

    assert set(await (await desk(team, "ana")).found_names()) == SEEN_BY["ana"] - {"Shared"}


# -- two workspaces in one database -------------------------------------------------------------------------------


@pytest.fixture(params=["both walls", "wall one alone"])
async def shared_database(
    request: pytest.FixtureRequest, postgres: Postgres, clock: FixedClock
) -> AsyncGenerator[Store, None]:
    """A PostgreSQL store; where wall one stands alone, row-level security is switched off."""
    name = f"walls_{uuid4().hex[:12]}"
    await clone_database(postgres, name)
    store = await open_store(postgres.app(name), clock=clock)
    if request.param == "wall one alone":
        for table in set(Base.metadata.tables) - OUTSIDE:
            await as_owner(store, f'alter table "{table}" disable row level security')
    yield store
    await store.close()


async def test_two_workspaces_never_meet(shared_database: Store) -> None:
    services = Services(shared_database, SECRET)
    ours, theirs = await new_team(services, "Ours"), await new_team(services, "Theirs")
    our_book, their_book = await a_book(shared_database, ours), await a_book(shared_database, theirs)
    ada, eve = await desk(ours, "ada"), await desk(theirs, "ada")
    theirs_before = await everything_of(shared_database, theirs)
    proposal = await (await agent_of(theirs, "ana")).updates(their_book["Hers"], tier="gold")
    change = (await eve.changes(record=their_book["Hers"])).items[0].change_id
    seen = await eve.sees(their_book["Hers"])
    [task], [meeting] = seen.tasks or [], seen.meetings or []

    assert (await seen_by(ada, our_book))["total"] == len(BOOK)
    assert [await can_get(ada, account) for account in their_book.values()] == [False] * len(BOOK)
    assert {p.id for p in (await services.workspaces.get(ada.principal, GetWorkspace())).people} == {
        member.id for member in ours.members.values()
    }
    for attempt in (
        ada.updates(their_book["Hers"], version=1, industry="Freight"),
        ada.updates_task(task.id, 1, title="Title"),
        ada.meets(our_book["Hers"], meeting=meeting.id, expected_version=1),
        ada.undoes(change),
        ada.commits(proposal.plan_id),
        ada.updates(our_book["Hers"], version=1, owner=theirs.members["ana"].id),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert (await ada.changes(change=change)).items == []
    assert await services.identity.by_id(ours.workspace, theirs.members["ana"].id, client="test") is None
    theirs_after = await everything_of(shared_database, theirs)
    assert theirs_after | {"plan": [], "token": []} == theirs_before | {"plan": [], "token": []}


@pytest.mark.parametrize("store_kind", ["postgresql"])
async def test_a_token_of_one_workspace_does_not_open_another(services: Services, team: Team) -> None:
    other = await new_team(services, "Theirs")
    token = await team.token("ana")

    swapped = token.replace(team.workspace.removeprefix("wsp_"), other.workspace.removeprefix("wsp_"))

    found = await services.identity.by_token(token)
    assert found is not None
    assert found.workspace == team.workspace
    assert await services.identity.by_token(swapped) is None


# -- wall two, by itself ------------------------------------------------------------------------------------------

TABLES = sorted(set(Base.metadata.tables) - OUTSIDE)


@pytest.fixture
async def raw(postgres: Postgres, postgres_database: str) -> AsyncGenerator[asyncpg.Connection, None]:
    """The application role with SQL of its own."""
    connection = await asyncpg.connect(postgres.app(postgres_database))
    yield connection
    await connection.close()


async def enter(connection: asyncpg.Connection, workspace: str) -> None:
    await connection.execute("select set_config('app.workspace', $1, false)", workspace)


async def counted(connection: asyncpg.Connection) -> dict[str, Any]:
    return {table: await connection.fetchval(f'select count(*) from "{table}"') for table in TABLES}


@pytest.mark.parametrize("store_kind", ["postgresql"])
@pytest.mark.parametrize("inside", [None, "", "wsp_elsewhere"], ids=["no setting", "empty setting", "elsewhere"])
async def test_from_outside_a_workspace_has_no_rows(
    raw: asyncpg.Connection, store: Store, team: Team, book: dict[str, str], inside: str | None
) -> None:
    if inside is not None:
        await enter(raw, inside)
    assert await counted(raw) == dict.fromkeys(TABLES, 0)

    await enter(raw, team.workspace)
    own = await counted(raw)

    held = {name: len(rows) for name, rows in (await everything_of(store, team)).items()}
    assert own == {table: held[table] for table in TABLES}
    assert own["account"] == len(BOOK)


@pytest.mark.parametrize("store_kind", ["postgresql"])
@pytest.mark.parametrize("inside", [None, "wsp_elsewhere"], ids=["no setting", "elsewhere"])
async def test_from_outside_a_workspace_nothing_is_written(
    raw: asyncpg.Connection, store: Store, team: Team, book: dict[str, str], inside: str | None
) -> None:
    before = await everything_of(store, team)
    if inside is not None:
        await enter(raw, inside)

    assert await raw.execute("update account set name = 'Hidden'") == "UPDATE 0"
    assert await raw.execute("delete from idempotency") == "DELETE 0"
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await raw.execute("insert into workspace_head (workspace, seq, hash) values ($1, 0, '')", team.workspace + "x")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await raw.execute(
            "insert into token (workspace, id, member_id, label, scopes, secret_hmac, created_at, created_by, "
            "expires_at) values ($1, 'tok_forged', $2, 'forged', '[]', '', now(), '', now())",
            team.workspace,
            team.members["ada"].id,
        )

    assert await everything_of(store, team) == before


@pytest.mark.parametrize("store_kind", ["postgresql"])
async def test_a_row_cannot_be_moved_to_another_workspace(
    raw: asyncpg.Connection, team: Team, book: dict[str, str]
) -> None:
    await enter(raw, team.workspace)

    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await raw.execute("update workspace_head set workspace = 'wsp_elsewhere'")


@pytest.mark.parametrize("store_kind", ["postgresql"])
async def test_the_setting_stays_in_its_transaction(store: Store, team: Team, book: dict[str, str]) -> None:
    ana = await desk(team, "ana")
    await asyncio.gather(
        *(ana.notes(book["Hers"], f"Note {n}") for n in range(8)),
        *(ana.sees(book["Hers"]) for _ in range(8)),
        *(ana.notes(book["His"], "Refused") for _ in range(4)),
        return_exceptions=True,
    )

    async with AsyncExitStack() as held:
        pool: Any = store.writer.pool
        pooled = [await held.enter_async_context(store.writer.connect()) for _ in range(pool.checkedin())]
        asked = "select current_setting('app.workspace', true), (select count(*) from account)"
        seen = [tuple((await connection.exec_driver_sql(asked)).one()) for connection in pooled]

    assert len(seen) >= 4
    assert {(setting or None, rows) for setting, rows in seen} == {(None, 0)}


@pytest.fixture
async def owner(postgres: Postgres, postgres_database: str) -> AsyncGenerator[asyncpg.Connection, None]:
    connection = await asyncpg.connect(postgres.owner(postgres_database))
    yield connection
    await connection.close()


async def test_every_table_stands_behind_the_wall(owner: asyncpg.Connection) -> None:
    tables = await owner.fetch(
        "select relname, relrowsecurity, relforcerowsecurity from pg_class c join pg_namespace n "
        "on n.oid = c.relnamespace where nspname = 'public' and relkind in ('r', 'p')"
    )
    policies = await owner.fetch("select tablename, permissive, roles, cmd, qual, with_check from pg_policies")
    others = await owner.fetch(
        "select relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where nspname = 'public' and relkind in ('v', 'm', 'f')"
    )

    assert {row["relname"] for row in tables} == {*Base.metadata.tables, "alembic_version"}
    walled = {row["relname"] for row in tables if row["relrowsecurity"] and row["relforcerowsecurity"]}
    assert walled == {row["relname"] for row in tables} - {"workspace", "alembic_version"}
    own = "((workspace)::text = NULLIF(current_setting('app.workspace'::text, true), ''::text))"
    # The owner's one function that looks in the index of search asks for the workspace itself (decision 0008).
    beside = {row["tablename"] for row in policies if (row["cmd"], row["roles"]) == ("SELECT", ["postgres"])}
    assert beside == set(SHELVES)
    policies = [row for row in policies if row["cmd"] == "ALL"]
    assert {(row["qual"], row["with_check"], row["cmd"]) for row in policies} == {(own, own, "ALL")}
    assert sorted(row["tablename"] for row in policies) == sorted(walled)
    assert others == []


async def test_the_application_role_owns_nothing_and_may_little(owner: asyncpg.Connection) -> None:
    role = await owner.fetchrow(
        "select rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolreplication, rolcanlogin from pg_roles "
        "where rolname = $1",
        APP_ROLE,
    )
    owned = await owner.fetchval(
        "select count(*) from pg_shdepend where refobjid = to_regrole($1) and deptype = 'o'", APP_ROLE
    )
    grants = await owner.fetch(
        "select table_name, string_agg(privilege_type, ' ' order by privilege_type) as may "
        "from information_schema.role_table_grants where grantee = $1 group by table_name",
        APP_ROLE,
    )

    assert role is not None
    assert list(role) == [False, False, False, False, False, True]
    assert owned == 0
    special = {
        "alembic_version": "SELECT",
        "workspace": "INSERT SELECT",
        "change": "INSERT SELECT",
        "change_payload": "INSERT SELECT",
        "idempotency": "DELETE INSERT SELECT UPDATE",
        "account_doubt": "DELETE INSERT SELECT UPDATE",
    }
    everywhere = dict.fromkeys(Base.metadata.tables, "INSERT SELECT UPDATE")
    assert {row["table_name"]: row["may"] for row in grants} == everywhere | special
