"""Health: the rubric's versions, a snapshot of each account a day, the runs that made them, overrides and risk cases."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from cs_mcp.db.base import Instant
from cs_mcp.db.migrations.walls import raise_wall

revision = "0004"
down_revision = "0003"

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
ID = sa.String(32).with_variant(sa.String(32, collation="C"), "postgresql")
ORDERED = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TABLES = ("health_rubric", "health_run", "health_snapshot", "account_facts", "account_doubt", "health_override", "risk")
SLOTS = range(1, 33)
FACTS: dict[str, tuple[str, ...]] = {
    "tickets": (
        *("open_sev1", "open_sev2", "open_tickets", "tickets_30", "tickets_prev_60", "resolved_90"),
        *("resolution_seconds", "sla_told_90", "sla_breaches_90", "escalations_90"),
    ),
    "surveys": ("survey_answers", "weighted", "weights", "newest_second"),
    "newest_nps": ("nps_latest",),
    "notes": ("sentiments", "sentiment_sum"),
    "meetings": ("touched_day", "reviewed_day", "attended_365", "sentiments", "sentiment_sum"),
    "attendance": ("engaged_contacts", "engaged_heights", "engaged_functions", "sponsor_met_day"),
    "contacts": ("contacts",),
    "seats": ("sponsors", "champions", "confirmed_day", "sponsor_id", "seated_day", "departed_day"),
    "invoices": ("oldest_due_day", "invoices_365", "late_365"),
    "ledger": ("arr_minor", "contracted_365_minor"),
    "subscriptions": ("seats_licensed", "term_months", "auto_renews", "ends_day"),
    "company_events": ("company_events_180", "bad_events_180"),
    "department": (),
}
DOUBLE = sa.Double[float]()
FACT_TYPES: dict[str, Any] = {"sponsor_id": ID, "nps_latest": DOUBLE}
LIVE: dict[str, Any] = {name: sa.text("removed_at IS NULL") for name in ("sqlite_where", "postgresql_where")}
FROM_A_SOURCE: dict[str, Any] = {
    name: sa.text("source_id IS NOT NULL") for name in ("sqlite_where", "postgresql_where")
}
OPEN: dict[str, Any] = {
    name: sa.text("state = 'open' AND removed_at IS NULL") for name in ("sqlite_where", "postgresql_where")
}


def upgrade() -> None:
    op.create_table(
        "health_rubric",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("adopted_at", Instant(), nullable=False),
        sa.Column("in_force", sa.Boolean(), nullable=False),
        *_record("health_rubric"),
    )
    _source_key("health_rubric")
    op.create_index("uq_health_rubric_name", "health_rubric", ["workspace", "name"], unique=True, **LIVE)
    op.create_table(
        "health_run",
        sa.Column("workspace", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("rubric", sa.String(length=32), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.Column("accounts", sa.Integer(), nullable=False),
        sa.Column("batches", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("facts_key", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_health_run")),
    )
    op.create_index("ix_health_run_as_of", "health_run", ["workspace", "as_of", "id"], unique=False)
    op.create_table(
        "health_snapshot",
        sa.Column("workspace", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("on", sa.Date(), nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("rubric", sa.String(length=32), nullable=False),
        sa.Column("score_tenths", sa.Integer(), nullable=True),
        sa.Column("band", sa.String(length=8), nullable=False),
        sa.Column("computed_band", sa.String(length=8), nullable=False),
        sa.Column("confidence", sa.Integer(), nullable=False),
        sa.Column("rules", sa.Text(), nullable=True),
        *(sa.Column(f"p{slot}", sa.Integer(), nullable=True) for slot in SLOTS),
        *(sa.Column(f"v{slot}", DOUBLE, nullable=True) for slot in SLOTS),
        sa.PrimaryKeyConstraint("workspace", "account_id", "on", name=op.f("pk_health_snapshot")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "account_facts",
        sa.Column("workspace", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("as_of_day", sa.Integer(), nullable=True),
        *(sa.Column(f"{group}_until", sa.Integer(), nullable=True) for group in FACTS),
        *(
            sa.Column(f"{group}_{name}", FACT_TYPES.get(name, sa.BigInteger()), nullable=True)
            for group, names in FACTS.items()
            for name in names
        ),
        sa.PrimaryKeyConstraint("workspace", "account_id", name=op.f("pk_account_facts")),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 80},
    )
    op.create_table(
        "account_doubt",
        sa.Column("workspace", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("groups", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "account_id", name=op.f("pk_account_doubt")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "health_override",
        sa.Column("account_id", ID, nullable=False),
        sa.Column("band", sa.String(length=8), nullable=True),
        sa.Column("score_tenths", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author_id", ID, nullable=True),
        sa.Column("from_on", sa.Date(), nullable=False),
        sa.Column("expires_on", sa.Date(), nullable=False),
        sa.Column("ended_on", sa.Date(), nullable=True),
        *_record("health_override", account_id="account", author_id="member"),
    )
    _source_key("health_override")
    op.create_index("ix_health_override_account", "health_override", ["workspace", "account_id", "from_on"], **LIVE)
    op.create_table(
        "risk",
        sa.Column("account_id", ID, nullable=False),
        sa.Column("category", sa.String(length=24), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=True),
        sa.Column("owner_id", ID, nullable=True),
        sa.Column("opened_on", sa.Date(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("mitigation", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("closed_on", sa.Date(), nullable=True),
        sa.Column("evidence", JSON, nullable=False),
        *_record("risk", account_id="account", owner_id="member"),
    )
    _source_key("risk")
    op.create_index("ix_risk_account", "risk", ["workspace", "account_id", "opened_on"], **LIVE)
    op.create_index("uq_risk_open", "risk", ["workspace", "account_id"], unique=True, **OPEN)
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for table in TABLES:
            raise_wall(connection, table)
    else:
        _figures(connection)


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _record(table: str, **keys: str) -> list[sa.Column[object] | sa.Constraint]:
    """What every remembered row carries, and its keys to other records."""
    return [
        sa.Column("workspace", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.Column("source_system", sa.String(length=32), nullable=True),
        sa.Column("source_id", ORDERED, nullable=True),
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


def _source_key(table: str) -> None:
    columns = ["workspace", "source_system", "source_id"]
    op.create_index(f"uq_{table}_source", table, columns, unique=True, **FROM_A_SOURCE)


def _figures(connection: sa.Connection) -> None:
    """docs/decisions/0009-planner-statistics.md: an account has hundreds of snapshots, a few overrides and risks."""
    figures = {
        ("health_snapshot", "sqlite_autoindex_health_snapshot_1"): "20000000 20000000 200 1",
        ("health_override", "ix_health_override_account"): "10000 10000 2 1",
        ("risk", "ix_risk_account"): "50000 50000 2 1",
    }
    for (table, index), said in figures.items():
        connection.execute(
            sa.text("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (:table, :index, :said)"),
            {"table": table, "index": index, "said": said},
        )
