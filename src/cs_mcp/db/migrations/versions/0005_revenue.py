"""Revenue: dated rates, rollups of the ledger, past attributes, opportunities, forecasts, targets, goals and costs."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from importlib import import_module
from itertools import groupby
from typing import Any, Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from cs_mcp.db.base import Instant
from cs_mcp.db.migrations.walls import raise_wall
from cs_mcp.domain.calendar import Calendar
from cs_mcp.domain.revenue.rollup import DIMENSIONS, Course, Figures, first_day, month_of
from cs_mcp.domain.revenue.subscriptions import MovementKind

search: Final[Any] = import_module("cs_mcp.db.migrations.versions.0002_search")  # no name that `import` takes

revision = "0005"
down_revision = "0004"

JSON: Final = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
ID: Final = sa.String(32).with_variant(sa.String(32, collation="C"), "postgresql")
ORDERED: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
LIVE: Final = "removed_at IS NULL"

Columns = tuple[sa.Column[Any], ...]


def _needed(name: str, type_: Any) -> sa.Column[Any]:
    return sa.Column(name, type_, nullable=False)


RECORDS: Final[dict[str, Columns]] = {
    "exchange_rate": (
        _needed("from_currency", sa.String(3)),
        _needed("to_currency", sa.String(3)),
        _needed("on", sa.Date()),
        _needed("rate", sa.String(40)),
    ),
    "opportunity": (
        _needed("account_id", ID),
        _needed("name", sa.Text()),
        _needed("kind", sa.String(16)),
        sa.Column("trigger", sa.String(24)),
        _needed("evidence", JSON),
        sa.Column("hypothesis", sa.Text()),
        sa.Column("product", sa.Text()),
        sa.Column("department", sa.Text()),
        sa.Column("subscription_id", ID),
        sa.Column("seats", sa.Integer()),
        sa.Column("pilot_from", sa.Date()),
        sa.Column("pilot_to", sa.Date()),
        sa.Column("success_criteria", sa.Text()),
        _needed("stage", sa.String(16)),
        sa.Column("amount_minor", sa.BigInteger()),
        _needed("currency", sa.String(3)),
        _needed("opened_on", sa.Date()),
        sa.Column("expected_on", sa.Date()),
        sa.Column("closed_on", sa.Date()),
        sa.Column("early_answer", sa.String(4)),
        sa.Column("lost_reason", sa.Text()),
        sa.Column("owner_id", ID),
        sa.Column("movement_id", ID),
    ),
    "target": (
        _needed("metric", sa.String(32)),
        sa.Column("segment", sa.String(16)),
        sa.Column("value", sa.Double()),
        sa.Column("amount_minor", sa.BigInteger()),
        sa.Column("currency", sa.String(3)),
        _needed("from_on", sa.Date()),
        sa.Column("to_on", sa.Date()),
        sa.Column("owner_id", ID),
    ),
    "goal": (
        _needed("subject", sa.String(8)),
        sa.Column("user_id", ID),
        _needed("metric", sa.String(32)),
        _needed("quarter_start", sa.Date()),
        sa.Column("value", sa.Double()),
        sa.Column("amount_minor", sa.BigInteger()),
        sa.Column("currency", sa.String(3)),
    ),
    "cs_cost": (
        _needed("month", sa.Date()),
        sa.Column("user_id", ID),
        _needed("kind", sa.String(32)),
        _needed("amount_minor", sa.BigInteger()),
        _needed("currency", sa.String(3)),
    ),
}
KEYS: Final[dict[str, Mapping[str, str]]] = {
    "exchange_rate": {},
    "opportunity": {
        "account_id": "account",
        "subscription_id": "subscription",
        "owner_id": "member",
        "movement_id": "arr_movement",
    },
    "target": {"owner_id": "member"},
    "goal": {"user_id": "member"},
    "cs_cost": {"user_id": "member"},
}
INDEXES: Final = {
    "opportunity": {
        "ix_opportunity_account": ("account_id", "id"),
        "ix_opportunity_stage": ("stage", "expected_on", "id"),
    },
    "target": {"ix_target_metric": ("metric", "from_on")},
    "goal": {"ix_goal_quarter": ("quarter_start", "metric")},
    "cs_cost": {"ix_cs_cost_month": ("month",)},
}
# Derived tables: their columns and how many of them, from the left, make the key.
DERIVED: Final[dict[str, tuple[int, Columns]]] = {
    "revenue_month": (
        5,
        (
            _needed("workspace", ID),
            _needed("account_id", ID),
            _needed("currency", sa.String(3)),
            _needed("month", sa.Date()),
            _needed("kind", sa.String(16)),
            _needed("amount_minor", sa.BigInteger()),
            _needed("movements", sa.Integer()),
        ),
    ),
    "revenue_book": (
        5,
        (
            _needed("workspace", ID),
            _needed("dimension", sa.String(8)),
            _needed("value", sa.String(24)),
            _needed("month", sa.Date()),
            _needed("currency", sa.String(3)),
            _needed("amount_minor", sa.BigInteger()),
            _needed("below_minor", sa.BigInteger()),
            _needed("accounts", sa.Integer()),
        ),
    ),
    "revenue_window": (
        8,
        (
            _needed("workspace", ID),
            _needed("dimension", sa.String(8)),
            _needed("months", sa.SmallInteger()),
            _needed("last_month", sa.Date()),
            _needed("value", sa.String(24)),
            _needed("currency", sa.String(3)),
            _needed("in_cohort", sa.Boolean()),
            _needed("bar", sa.String(16)),
            _needed("amount_minor", sa.BigInteger()),
            _needed("accounts", sa.Integer()),
        ),
    ),
    "revenue_cohort": (
        4,
        (
            _needed("workspace", ID),
            _needed("currency", sa.String(3)),
            _needed("started", sa.Date()),
            _needed("month", sa.Date()),
            _needed("accounts", sa.Integer()),
            _needed("arr_minor", sa.BigInteger()),
            _needed("kept_minor", sa.BigInteger()),
            _needed("initial_accounts", sa.Integer()),
            _needed("initial_minor", sa.BigInteger()),
        ),
    ),
    "revenue_restatement": (
        3,
        (
            _needed("workspace", ID),
            _needed("account_id", ID),
            _needed("on", sa.Date()),
            _needed("at", Instant()),
        ),
    ),
    "past_attribute": (
        4,
        (
            _needed("workspace", ID),
            _needed("field", sa.String(16)),
            _needed("account_id", ID),
            _needed("until_at", Instant()),
            sa.Column("value", JSON),
        ),
    ),
    "forecast_snapshot": (
        3,
        (
            _needed("workspace", ID),
            _needed("on", sa.Date()),
            _needed("renewal_id", ID),
            _needed("account_id", ID),
            sa.Column("owner_id", ID),
            _needed("segment", sa.String(16)),
            _needed("band", sa.String(8)),
            _needed("stage", sa.String(16)),
            sa.Column("category", sa.String(16)),
            _needed("amount_minor", sa.BigInteger()),
            _needed("expected_minor", sa.BigInteger()),
            _needed("arr_minor", sa.BigInteger()),
            _needed("currency", sa.String(3)),
            _needed("close_on", sa.Date()),
            sa.Column("closed_on", sa.Date()),
            sa.Column("milestone", sa.SmallInteger()),
            sa.Column("run_id", ID),
        ),
    ),
}
TABLES: Final = (*RECORDS, *DERIVED)
FOUND: Final = search.Source(
    "opportunity",
    search.TEXTS,
    ("name", "product", "department", "hypothesis", "success_criteria", "lost_reason"),
)
ATTRIBUTES: Final = frozenset({"segment", "tier", "owner_id", "industry", "custom"})


def upgrade() -> None:
    op.add_column("workspace_profile", sa.Column("conventions", JSON, nullable=True))
    op.add_column("arr_movement", sa.Column("reverses_id", ID, nullable=True))
    op.add_column("renewal", sa.Column("category_reason", sa.Text(), nullable=True))
    for table, columns in RECORDS.items():
        op.create_table(table, *columns, *_record(table, KEYS[table]))
        _source_key(table)
        for name, indexed in INDEXES.get(table, {}).items():
            op.create_index(name, table, ["workspace", *indexed], **_where(LIVE))
    op.create_index(
        "uq_exchange_rate_day",
        "exchange_rate",
        ["workspace", "from_currency", "to_currency", "on"],
        unique=True,
        **_where(LIVE),
    )
    for table, (keys, columns) in DERIVED.items():
        key = sa.PrimaryKeyConstraint(*(column.name for column in columns[:keys]), name=op.f(f"pk_{table}"))
        op.create_table(table, *columns, key, sqlite_with_rowid=False)
    op.create_index("ix_arr_movement_on", "arr_movement", ["workspace", "on"], **_where(LIVE))
    op.create_index("ix_revenue_month_size", "revenue_month", ["workspace", "kind", "amount_minor", "month"])
    op.create_index(
        "ix_forecast_snapshot_milestone",
        "forecast_snapshot",
        ["workspace", "milestone", "close_on"],
        **_where("milestone IS NOT NULL"),
    )
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for table in TABLES:
            raise_wall(connection, table)
    search.list_records(connection, FOUND)
    for (workspace,) in connection.execute(sa.text("select id from workspace")).all():
        if connection.dialect.name == "postgresql":
            # The owner too works behind the wall, one workspace at a time.
            connection.execute(sa.select(sa.func.set_config("app.workspace", workspace, True)))
        _remember_attributes(connection, workspace)
        _roll_up(connection, workspace)


def downgrade() -> None:
    connection = op.get_bind()
    for (workspace,) in connection.execute(sa.text("select id from workspace")).all():
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.set_config("app.workspace", workspace, True)))
        search.unlist_records(connection, FOUND)
    for table in reversed(TABLES):
        op.drop_table(table)
    search.drop_functions(connection, FOUND)
    op.drop_column("renewal", "category_reason")
    op.drop_index("ix_arr_movement_on", "arr_movement")
    op.drop_column("arr_movement", "reverses_id")
    op.drop_column("workspace_profile", "conventions")


# -- what is derived, of a store that was in use ----------------------------------------------------------------
def _lightly(table: str) -> Any:
    return sa.table(table, *(sa.column(column.name, column.type) for column in DERIVED[table][1]))


def _put(connection: sa.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    for start in range(0, len(rows), 5_000):
        connection.execute(sa.insert(_lightly(table)), rows[start : start + 5_000])


def _roll_up(connection: sa.Connection, workspace: str) -> None:
    """The rollups of the ledger, as db/revenue/rollup.py keeps them from now on."""
    names = ("workspace", "account_id", "currency", "kind", "removed_at")
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in names]
    ledger = sa.table(
        "arr_movement", *columns, sa.column("on", sa.Date()), sa.column("amount_minor", sa.BigInteger())
    ).c
    live = (
        sa.select(ledger.account_id, ledger.currency, ledger.on, ledger.kind, ledger.amount_minor)
        .where(ledger.workspace == workspace, ledger.removed_at.is_(None))
        .order_by(ledger.account_id, ledger.currency)
    )
    courses = _courses(connection, workspace)
    figures = Figures()
    months: list[dict[str, Any]] = []
    for (account, currency), rows in groupby(connection.execute(live).all(), key=lambda row: (row[0], row[1])):
        ladder: defaultdict[int, defaultdict[MovementKind, int]] = defaultdict(lambda: defaultdict(int))
        counts: Counter[tuple[int, str]] = Counter()
        for _, _, on, kind, amount in rows:
            ladder[month_of(on)][MovementKind(kind)] += amount
            counts[month_of(on), kind] += 1
        figures.add(currency, ladder, courses[account], 1, 0)
        named = {"workspace": workspace, "account_id": account, "currency": currency}
        months += [
            named
            | {"month": first_day(month), "kind": kind.value, "amount_minor": amount}
            | {"movements": counts[month, kind.value]}
            for month, posted in ladder.items()
            for kind, amount in posted.items()
        ]
    _put(connection, "revenue_month", months)
    book = [
        {"workspace": workspace, "dimension": of.dimension, "value": of.value}
        | {"month": first_day(month), "currency": currency}
        | {"amount_minor": sums[0], "below_minor": sums[1], "accounts": sums[2]}
        for (of, currency, month), sums in figures.book().items()
    ]
    _put(connection, "revenue_book", book)
    windows = [
        {"workspace": workspace, "dimension": of.dimension, "value": of.value, "months": key.months}
        | {"last_month": first_day(month), "currency": key.currency, "in_cohort": key.in_cohort}
        | {"bar": key.bar.value, "amount_minor": sums[0], "accounts": sums[1]}
        for (of, key, month), sums in figures.windows().items()
    ]
    _put(connection, "revenue_window", windows)
    names = [column.name for column in DERIVED["revenue_cohort"][1]]
    cohorts = [dict(zip(names, (workspace, *key, *sums), strict=True)) for key, sums in figures.cohorts.items()]
    _put(connection, "revenue_cohort", cohorts)


def _courses(connection: sa.Connection, workspace: str) -> dict[str, dict[str, Course]]:
    """The segment and tier of every account as its months began."""
    given = {"workspace": workspace}
    zone = connection.execute(sa.text("select time_zone from workspace_profile where workspace = :workspace"), given)
    calendar = Calendar(time_zone=zone.scalar() or "UTC")
    t = _lightly("past_attribute").c
    past: defaultdict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    told = sa.select(t.account_id, t.field, t.until_at, t.value).where(t.workspace == workspace)
    for account, field, until, value in connection.execute(told.order_by(t.until_at)):
        if field in DIMENSIONS:
            past[account, field].append((month_of(calendar.day_of(until)), value))
    accounts = connection.execute(sa.text("select id, segment, tier from account where workspace = :workspace"), given)
    return {
        account: {
            "segment": Course(segment, tuple(past[account, "segment"])),
            "tier": Course(tier, tuple(past[account, "tier"])),
        }
        for account, segment, tier in accounts
    }


def _remember_attributes(connection: sa.Connection, workspace: str) -> None:
    """What accounts' attributes were, from the record of changes."""
    told = sa.text(
        'select c.entity_id, c.change_id, c.kind, c.at, cast(p."before" as text) as "before" from change c '
        "join change_payload p on p.workspace = c.workspace and p.seq = c.seq "
        "where c.workspace = :workspace and c.entity = 'account' order by c.seq"
    ).columns(at=Instant())
    created: dict[str, str] = {}
    past: dict[tuple[str, str, Any], dict[str, Any]] = {}
    for account, change, kind, at, before in connection.execute(told, {"workspace": workspace}):
        if kind == "created":
            created[account] = change
        elif before is not None and created.get(account) != change:
            for field, value in json.loads(before).items():
                if field in ATTRIBUTES:
                    row = {"workspace": workspace, "field": field, "account_id": account, "until_at": at}
                    past.setdefault((account, field, at), row | {"value": value})
    _put(connection, "past_attribute", list(past.values()))


def _record(table: str, keys: Mapping[str, str]) -> list[sa.Column[Any] | sa.Constraint]:
    """What every remembered row carries, and its keys to other records."""
    return [
        _needed("workspace", ID),
        _needed("id", ID),
        _needed("version", sa.Integer()),
        sa.Column("removed_at", Instant()),
        sa.Column("source_system", sa.String(32)),
        sa.Column("source_id", ORDERED),
        *(
            sa.ForeignKeyConstraint(
                ["workspace", column],
                [f"{target}.workspace", f"{target}.id"],
                name=op.f(f"fk_{table}_workspace_{column}"),
                initially="DEFERRED",
                deferrable=True,
            )
            for column, target in keys.items()
        ),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f(f"pk_{table}")),
    ]


def _where(condition: str) -> dict[str, Any]:
    return {name: sa.text(condition) for name in ("sqlite_where", "postgresql_where")}


def _source_key(table: str) -> None:
    columns = ["workspace", "source_system", "source_id"]
    op.create_index(f"uq_{table}_source", table, columns, unique=True, **_where("source_id IS NOT NULL"))
