"""Signals: usage by day, tickets, invoices, survey responses, company events, features.

A contact's department is kept once more by its key: figures of usage name departments by theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from cs_mcp.db.base import Instant
from cs_mcp.db.migrations.walls import raise_wall

revision = "0003"
down_revision = "0002"

JSON: Final = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
ID: Final = sa.String(32).with_variant(sa.String(32, collation="C"), "postgresql")
ORDERED: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
LIVE: Final = "removed_at IS NULL"

Columns = tuple[sa.Column[Any], ...]


def _needed(name: str, type_: Any) -> sa.Column[Any]:
    return sa.Column(name, type_, nullable=False)


RECORDS: Final[dict[str, Columns]] = {
    "ticket": (
        _needed("account_id", ID),
        sa.Column("contact_id", ID),
        sa.Column("severity", sa.SmallInteger()),
        sa.Column("category", sa.Text()),
        _needed("status", sa.String(16)),
        _needed("opened_at", Instant()),
        sa.Column("first_response_at", Instant()),
        sa.Column("resolved_at", Instant()),
        _needed("escalated", sa.Boolean()),
        sa.Column("sla_breached", sa.Boolean()),
        sa.Column("csat", sa.SmallInteger()),
        sa.Column("subject", sa.Text()),
        sa.Column("text", sa.Text()),
    ),
    "invoice": (
        _needed("account_id", ID),
        _needed("amount_minor", sa.BigInteger()),
        _needed("currency", sa.String(3)),
        _needed("due_on", sa.Date()),
        sa.Column("paid_on", sa.Date()),
        _needed("status", sa.String(16)),
    ),
    "survey_response": (
        _needed("account_id", ID),
        sa.Column("contact_id", ID),
        _needed("kind", sa.String(8)),
        _needed("score", sa.Float(53)),
        _needed("scale_max", sa.Integer()),
        _needed("answered_at", Instant()),
        _needed("invited", sa.Boolean()),
        sa.Column("loop_state", sa.String(16)),
        sa.Column("comment", sa.Text()),
        _needed("tags", JSON),
    ),
    "company_event": (
        _needed("account_id", ID),
        _needed("on", sa.Date()),
        _needed("kind", sa.String(24)),
        sa.Column("note", sa.Text()),
        sa.Column("source_url", sa.Text()),
        sa.Column("told_by", sa.Text()),
    ),
    "feature": (_needed("name", sa.Text()), _needed("name_key", ORDERED), sa.Column("is_core", sa.Boolean())),
    "signal_batch": (
        _needed("first_on", sa.Date()),
        _needed("last_on", sa.Date()),
        _needed("rows", sa.Integer()),
        _needed("accounts", sa.Integer()),
        _needed("digest", sa.String(64)),
    ),
}
KEYS: Final = {
    "ticket": {"account_id": "account", "contact_id": "contact"},
    "invoice": {"account_id": "account"},
    "survey_response": {"account_id": "account", "contact_id": "contact"},
    "company_event": {"account_id": "account"},
}
LISTS: Final = {
    "ticket": ("account_id", "opened_at"),
    "invoice": ("account_id", "due_on"),
    "survey_response": ("account_id", "kind", "answered_at"),
    "company_event": ("account_id", "on"),
}
METRICS: Final = (
    "active_users",
    "power_sessions",
    "logins",
    "feature_events",
    "seats_used",
    "integrations",
    "api_calls",
)
FIGURES: Final = (
    *("first_day", "last_day", "seats_used", "integrations", "integrations_prev"),
    *("seats_day", "integrations_day", "integrations_prev_day", "active_now"),
    *("active_7", "active_30", "active_prev_30", "events_30", "events_prev_30", "power_w1", "power_w2", "power_w3"),
    *("sponsor_dept_30", "sponsor_dept_prev_30"),
    *("days_7", "days_30", "days_prev_30", "event_days_30", "event_days_prev_30"),
    *("power_days_w1", "power_days_w2", "power_days_w3", "sponsor_dept_days_30", "sponsor_dept_days_prev_30"),
    *("core_used_30", "core_total"),
)

# What a night reads of a day: the whole account's row, and its sponsor's department's.
BY_DAY: Final = {
    "ix_usage_day_by_day": (
        "department = ''",
        ["active_users", "power_sessions", "feature_events", "seats_used", "integrations"],
    ),
    "ix_usage_day_departments": ("department <> ''", ["department", "active_users"]),
}


def _key(name: str, type_: Any) -> sa.Column[Any]:
    counted: bool | Literal["auto"] = False if isinstance(type_, sa.Integer) else "auto"
    return sa.Column(name, type_, primary_key=True, nullable=False, autoincrement=counted)


def _usage() -> Iterator[tuple[str, list[sa.Column[Any]]]]:
    def account() -> list[sa.Column[Any]]:
        return [_key("workspace", ID), _key("account_id", ID)]

    def figures(names: tuple[str, ...]) -> list[sa.Column[Any]]:
        return [sa.Column(name, sa.BigInteger()) for name in names]

    def when() -> list[sa.Column[Any]]:
        return [_key("day", sa.Integer()), _key("department", sa.Text())]

    yield "usage_day", [*account(), *when(), *figures(METRICS), _needed("summed", sa.Integer())]
    feature = _key("feature_id", ID)
    yield "usage_feature", [*account(), feature, *when(), _needed("events", sa.BigInteger())]
    state = [sa.Column("as_of_day", sa.Integer()), _needed("stale", sa.Boolean()), _needed("touched", sa.Boolean())]
    state += [sa.Column("core_key", sa.String(32)), sa.Column("sponsor_department", sa.Text())]
    yield "usage_rollup", [*account(), *state, *figures(FIGURES)]


def upgrade() -> None:
    for table, columns in RECORDS.items():
        _remember(table, columns)
    tables = dict(_usage())
    for table, columns in tables.items():
        room: dict[str, Any] = {"postgresql_with": {"fillfactor": 50}} if table == "usage_rollup" else {}
        op.create_table(table, *columns, sqlite_with_rowid=False, **room)
    if op.get_bind().dialect.name == "postgresql":
        for name, (where, told) in BY_DAY.items():
            of = ["workspace", "day", "account_id"]
            op.create_index(name, "usage_day", of, postgresql_include=told, postgresql_where=sa.text(where))
        for table in (*RECORDS, *tables):
            raise_wall(op.get_bind(), table)
    op.add_column("contact", sa.Column("department_key", sa.Text(), nullable=True))
    _give_departments_keys(op.get_bind())


def _remember(table: str, columns: Columns) -> None:
    op.create_table(
        table,
        *columns,
        _key("workspace", ID),
        _key("id", ID),
        _needed("version", sa.Integer()),
        sa.Column("removed_at", Instant()),
        sa.Column("source_system", sa.String(32)),
        sa.Column("source_id", ORDERED),
        *(
            sa.ForeignKeyConstraint(
                ["workspace", column],
                [f"{of}.workspace", f"{of}.id"],
                name=f"fk_{table}_workspace_{column}",
                deferrable=True,
                initially="DEFERRED",
            )
            for column, of in KEYS.get(table, {}).items()
        ),
    )
    _index(f"uq_{table}_source", table, ("source_system", "source_id"), "source_id IS NOT NULL", unique=True)
    if table in LISTS:
        _index(f"ix_{table}_account", table, LISTS[table], LIVE)
    if table == "feature":
        _index("uq_feature_name", table, ("name_key",), LIVE, unique=True)


def _index(name: str, table: str, columns: tuple[str, ...], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(
        name, table, ["workspace", *columns], unique=unique, sqlite_where=condition, postgresql_where=condition
    )


def _give_departments_keys(connection: sa.Connection) -> None:
    """As `name_key` makes them; the owner too works behind the wall, one workspace at a time."""
    contact = sa.table("contact", *map(sa.column, ("workspace", "id", "department", "department_key")))
    for (workspace,) in connection.execute(sa.text("select id from workspace")).all():
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.set_config("app.workspace", workspace, True)))
        named = sa.select(contact.c.id, contact.c.department).where(
            contact.c.workspace == workspace, contact.c.department.is_not(None)
        )
        keys = [
            {"of": record, "key": " ".join(department.casefold().split())}
            for record, department in connection.execute(named).all()
            if department.strip()
        ]
        if keys:
            mine = (contact.c.workspace == workspace, contact.c.id == sa.bindparam("of"))
            connection.execute(sa.update(contact).where(*mine).values(department_key=sa.bindparam("key")), keys)


def downgrade() -> None:
    for table in ("usage_rollup", "usage_feature", "usage_day", *reversed(RECORDS)):
        op.drop_table(table)
    op.drop_column("contact", "department_key")
