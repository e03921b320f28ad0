"""What an export reads: each concept's live records with the names they refer to, streamed out of one snapshot."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final, Protocol

import anyio.to_thread
from sqlalchemy import and_, bindparam, func, select

from cs_mcp.db.accounts.accounts import AccountRow, TeamMemberRow
from cs_mcp.db.backup import copy_store
from cs_mcp.db.base import Remembered
from cs_mcp.db.health.health import HealthNoteRow
from cs_mcp.db.members import MemberRow
from cs_mcp.db.opportunities.opportunities import OpportunityRow
from cs_mcp.db.people.sponsors import ContactRow
from cs_mcp.db.portfolio import any_of, texts
from cs_mcp.db.read_path import Row, Statement
from cs_mcp.db.revenue.subscriptions import ArrMovementRow, SubscriptionRow
from cs_mcp.db.store import Store
from cs_mcp.db.work.meetings import MeetingRow
from cs_mcp.db.work.tasks import TaskRow

PAGE: Final = 2_000


class Snapshot(Protocol):
    """One state of the workspace, for as long as it is open."""

    def pages(self, statement: Statement, **given: Any) -> AsyncGenerator[list[Row], None]: ...

    async def rows(self, statement: Statement, **given: Any) -> list[Row]: ...


class _OfFile:
    """A copy of the file: a read of minutes on the file itself would keep every writer waiting."""

    def __init__(self, connection: sqlite3.Connection, dialect: Any, workspace: str) -> None:
        self._connection = connection
        self._dialect = dialect
        self._workspace = workspace

    async def pages(self, statement: Statement, **given: Any) -> AsyncGenerator[list[Row], None]:
        prepared = statement.prepared(self._dialect)
        arguments = prepared.arguments({"workspace": self._workspace} | given)
        cursor = await anyio.to_thread.run_sync(self._connection.execute, prepared.sql, arguments)
        while raw := await anyio.to_thread.run_sync(cursor.fetchmany, PAGE):
            yield prepared.rows(raw)

    async def rows(self, statement: Statement, **given: Any) -> list[Row]:
        return [row async for page in self.pages(statement, **given) for row in page]


class _OfServer:
    def __init__(self, driver: Any, dialect: Any, workspace: str) -> None:
        self._driver = driver
        self._dialect = dialect
        self._workspace = workspace

    def _asked(self, statement: Statement, given: Mapping[str, Any]) -> tuple[Any, Sequence[Any]]:
        prepared = statement.prepared(self._dialect)
        return prepared, prepared.arguments({"workspace": self._workspace} | dict(given))

    async def pages(self, statement: Statement, **given: Any) -> AsyncGenerator[list[Row], None]:
        prepared, arguments = self._asked(statement, given)
        cursor = await self._driver.cursor(prepared.sql, *arguments)
        while raw := await cursor.fetch(PAGE):
            yield prepared.rows(raw)

    async def rows(self, statement: Statement, **given: Any) -> list[Row]:
        prepared, arguments = self._asked(statement, given)
        return prepared.rows(await self._driver.fetch(prepared.sql, *arguments))


@asynccontextmanager
async def snapshot(store: Store, workspace: str, spill: Path) -> AsyncGenerator[Snapshot, None]:
    """The workspace as it is now. On SQLite a copy of the file lies in the folder `spill` meanwhile."""
    dialect = store.writer.dialect
    if store.where.is_sqlite:
        copy = spill / ".snapshot.db"
        try:
            await anyio.to_thread.run_sync(copy_store, store.where.path, copy)
            with closing(sqlite3.connect(copy, check_same_thread=False, isolation_level=None)) as connection:
                yield _OfFile(connection, dialect, workspace)
        finally:
            copy.unlink(missing_ok=True)
        return
    async with store.writer.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        async with driver.transaction(isolation="repeatable_read", readonly=True):
            await driver.execute("select set_config('app.workspace', $1, true)", workspace)
            yield _OfServer(driver, dialect, workspace)


# -- statements -------------------------------------------------------------------------------------------------
ACCOUNT: Final[Any] = AccountRow.__table__
MEMBER: Final[Any] = MemberRow.__table__
_PARENT: Final[Any] = ACCOUNT.alias("parent")
_NAME: Final = ("id", "source_system", "source_id")


def live(table: Any) -> Any:
    return and_(table.c.workspace == bindparam("workspace"), table.c.removed_at.is_(None))


def named(table: Any, prefix: str) -> list[Any]:
    """What names a record in the files, under `<prefix>_id` and so on."""
    return [table.c[name].label(f"{prefix}_{name}") for name in _NAME]


def email_of(column: Any, label: str) -> Any:
    found = select(MEMBER.c.email).where(live(MEMBER), MEMBER.c.id == column)
    return found.scalar_subquery().label(label)


def of_accounts(row: type[Remembered], *more: Any, names: Sequence[str]) -> Statement:
    """Live records of live accounts, in id order."""
    table: Any = row.__table__

    def build() -> Any:
        return (
            select(*named(table, "own"), *named(ACCOUNT, "account"), *(table.c[name] for name in names), *more)
            .select_from(table)
            .join(ACCOUNT, and_(live(ACCOUNT), ACCOUNT.c.id == table.c.account_id))
            .where(live(table))
            .order_by(table.c.id)
        )

    return Statement(build)


def _accounts() -> Any:
    team: Any = TeamMemberRow.__table__
    manager = (
        select(func.min(MEMBER.c.email))
        .select_from(team)
        .join(MEMBER, and_(live(MEMBER), MEMBER.c.id == team.c.user_id))
        .where(live(team), team.c.account_id == ACCOUNT.c.id, team.c.role == "account_manager")
        .correlate(ACCOUNT)
        .scalar_subquery()
    )
    names = (
        "name", "domain", "industry", "employees", "segment", "tier", "stage", "onboarding_status", "currency",
        "created_on", "renewal_on", "risk_reason", "tags", "custom",
    )  # fmt: skip
    return (
        select(
            *named(ACCOUNT, "own"),
            *named(_PARENT, "parent"),
            *(ACCOUNT.c[name] for name in names),
            email_of(ACCOUNT.c.owner_id, "owner_email"),
            manager.label("account_manager_email"),
        )
        .select_from(ACCOUNT)
        .outerjoin(_PARENT, and_(live(_PARENT), _PARENT.c.id == ACCOUNT.c.parent_id))
        .where(live(ACCOUNT))
        .order_by(ACCOUNT.c.id)
    )


def _movements() -> Any:
    ledger: Any = ArrMovementRow.__table__
    subscription: Any = SubscriptionRow.__table__
    return (
        select(
            *named(ledger, "own"),
            *named(ACCOUNT, "account"),
            *named(subscription, "subscription"),
            *(ledger.c[name] for name in ("on", "kind", "amount_minor", "currency", "note")),
            ACCOUNT.c.currency.label("account_currency"),
        )
        .select_from(ledger)
        .join(ACCOUNT, and_(live(ACCOUNT), ACCOUNT.c.id == ledger.c.account_id))
        .outerjoin(subscription, and_(live(subscription), subscription.c.id == ledger.c.subscription_id))
        .where(live(ledger))
        .order_by(ledger.c.account_id, ledger.c.on, ledger.c.id)
    )


def _users() -> Any:
    names = ("name", "email", "role", "active")
    return select(*named(MEMBER, "own"), *(MEMBER.c[name] for name in names)).where(live(MEMBER)).order_by(MEMBER.c.id)


USERS: Final = Statement(_users)
ACCOUNTS: Final = Statement(_accounts)
CUSTOM_FIELDS: Final = Statement(lambda: select(ACCOUNT.c.custom).where(live(ACCOUNT)))
CONTACTS: Final = of_accounts(
    ContactRow,
    ACCOUNT.c.executive_sponsor_id,
    ACCOUNT.c.champion_id,
    names=("name", "email", "title", "department", "level", "roles", "sentiment", "status", "departed_on"),
)
SUBSCRIPTIONS: Final = of_accounts(
    SubscriptionRow,
    names=(
        "product", "starts_on", "ends_on", "arr_minor", "currency", "seats", "seat_limit", "auto_renew", "term_months",
        "notice_days", "canceled_on", "trial", "payment_method_expires_on",
    ),
)  # fmt: skip
MOVEMENTS: Final = Statement(_movements)
OPPORTUNITIES: Final = of_accounts(
    OpportunityRow,
    email_of(OpportunityRow.__table__.c.owner_id, "owner_email"),
    names=(
        "name", "kind", "trigger", "stage", "amount_minor", "currency", "product", "department", "seats", "hypothesis",
        "pilot_from", "pilot_to", "success_criteria", "opened_on", "expected_on", "closed_on", "early_answer",
        "lost_reason", "evidence", "movement_id",
    ),
)  # fmt: skip
MEETINGS: Final = of_accounts(
    MeetingRow,
    names=("kind", "status", "held_on", "held_at", "attendees", "summary", "sentiment", "recording_url"),
)
NOTES: Final = of_accounts(
    HealthNoteRow,
    email_of(HealthNoteRow.__table__.c.author_id, "author_email"),
    names=("written_on", "text", "sentiment", "risk", "author_name"),
)
TASKS: Final = of_accounts(
    TaskRow,
    email_of(TaskRow.__table__.c.assignee_id, "assignee_email"),
    names=("title", "due_on", "status", "priority"),
)
USERS_BY_ID: Final = Statement(lambda: select(MEMBER.c.id, MEMBER.c.email).where(live(MEMBER)))
# Who attended, by id; removed records too, which are then called by their name.
CONTACT_NAMES: Final = Statement(
    lambda: select(ContactRow.id, ContactRow.name, ContactRow.email, ContactRow.removed_at).where(
        ContactRow.workspace == bindparam("workspace"), any_of(ContactRow.id, texts("listed"))
    )
)
