"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from cs_mcp.db.base import Instant
from cs_mcp.db.migrations.renewals_follow import let_renewals_follow, let_renewals_stand
from cs_mcp.db.migrations.scores_beside import drop_scores_beside, keep_scores_beside
from cs_mcp.db.migrations.statistics import give_statistics
from cs_mcp.db.migrations.walls import OUTSIDE, raise_wall, tables_of

revision = "0001"
down_revision = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
ID = sa.String(32).with_variant(sa.String(32, collation="C"), "postgresql")
ORDERED = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "change",
        sa.Column("workspace", ID, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("change_id", ID, nullable=False),
        sa.Column("entity", sa.String(length=32), nullable=False),
        sa.Column("entity_id", ID, nullable=False),
        sa.Column("entity_version", sa.Integer(), nullable=False),
        sa.Column("account_id", ID, nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("fields", JSON, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("actor_id", ID, nullable=False),
        sa.Column("on_behalf_of", ID, nullable=True),
        sa.Column("client", sa.Text(), nullable=True),
        sa.Column("tool", sa.String(length=48), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("run_id", ID, nullable=True),
        sa.Column("plan_id", ID, nullable=True),
        sa.Column("undoes", ID, nullable=True),
        sa.Column("schema_revision", sa.String(length=32), nullable=False),
        sa.Column("payload_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "seq", name=op.f("pk_change")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_change_account", "change", ["workspace", "account_id", "seq"], unique=False)
    op.create_index("ix_change_record", "change", ["workspace", "entity_id", "seq"], unique=False)
    op.create_index(
        "ix_change_run",
        "change",
        ["workspace", "run_id", "seq"],
        unique=False,
        sqlite_where=sa.text("run_id IS NOT NULL"),
        postgresql_where=sa.text("run_id IS NOT NULL"),
    )
    op.create_index("ix_change_write", "change", ["workspace", "change_id", "seq"], unique=False)
    op.create_table(
        "change_payload",
        sa.Column("workspace", ID, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("before", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("after", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("salt", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("workspace", "seq", name=op.f("pk_change_payload")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "idempotency",
        sa.Column("workspace", ID, nullable=False),
        sa.Column("actor_id", ID, nullable=False),
        sa.Column("tool", sa.String(length=48), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("arguments_hash", sa.String(length=64), nullable=False),
        sa.Column("answer", JSON, nullable=True),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "actor_id", "tool", "key", name=op.f("pk_idempotency")),
    )
    op.create_index("ix_idempotency_at", "idempotency", ["workspace", "at"], unique=False)
    op.create_table(
        "member",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("reach", sa.String(length=16), nullable=False),
        sa.Column("manager_id", ID, nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("cover_id", ID, nullable=True),
        sa.Column("cover_from", sa.Date(), nullable=True),
        sa.Column("cover_to", sa.Date(), nullable=True),
        sa.Column("workspace", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.Column("source_system", sa.String(length=32), nullable=True),
        sa.Column("source_id", ORDERED, nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace", "cover_id"],
            ["member.workspace", "member.id"],
            name=op.f("fk_member_workspace_cover_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["workspace", "manager_id"],
            ["member.workspace", "member.id"],
            name=op.f("fk_member_workspace_manager_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_member")),
    )
    op.create_index("ix_member_cover", "member", ["workspace", "cover_id"], unique=False)
    op.create_index("ix_member_manager", "member", ["workspace", "manager_id"], unique=False)
    op.create_index(
        "uq_member_email",
        "member",
        ["workspace", "email"],
        unique=True,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "uq_member_source",
        "member",
        ["workspace", "source_system", "source_id"],
        unique=True,
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.create_table(
        "plan",
        sa.Column("workspace", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("tool", sa.String(length=48), nullable=False),
        sa.Column("arguments", JSON, nullable=False),
        sa.Column("arguments_hash", sa.String(length=64), nullable=False),
        sa.Column("proposal", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("made_by", ID, nullable=False),
        sa.Column("on_behalf_of", ID, nullable=True),
        sa.Column("made_at", Instant(), nullable=False),
        sa.Column("made_at_seq", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("differences", JSON, nullable=False),
        sa.Column("accounts", JSON, nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("decided_by", ID, nullable=True),
        sa.Column("decided_at", Instant(), nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_plan")),
    )
    op.create_index("ix_plan_state", "plan", ["workspace", "state", "id"], unique=False)
    op.create_table(
        "workspace",
        sa.Column("id", ID, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspace")),
    )
    op.create_table(
        "workspace_head",
        sa.Column("workspace", ID, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("workspace", name=op.f("pk_workspace_head")),
    )
    op.create_table(
        "workspace_profile",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("fiscal_year_starts", sa.Integer(), nullable=False),
        sa.Column("working_days", JSON, nullable=False),
        sa.Column("holidays", JSON, nullable=False),
        sa.Column("segment_bounds", JSON, nullable=False),
        sa.Column("people_preview", JSON, nullable=False),
        sa.Column("workspace", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.Column("source_system", sa.String(length=32), nullable=True),
        sa.Column("source_id", ORDERED, nullable=True),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_workspace_profile")),
    )
    op.create_index(
        "uq_workspace_profile_source",
        "workspace_profile",
        ["workspace", "source_system", "source_id"],
        unique=True,
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.create_table(
        "account",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", ORDERED, nullable=False),
        sa.Column("domain", sa.Text(), nullable=True),
        sa.Column("industry", sa.Text(), nullable=True),
        sa.Column("employees", sa.Integer(), nullable=True),
        sa.Column("segment", sa.String(length=16), nullable=False),
        sa.Column("tier", sa.String(length=16), nullable=False),
        sa.Column("touch", sa.String(length=8), nullable=False),
        sa.Column("stage", sa.String(length=24), nullable=False),
        sa.Column("onboarding_status", sa.String(length=16), nullable=False),
        sa.Column("owner_id", ID, nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("created_on", sa.Date(), nullable=True),
        sa.Column("renewal_on", sa.Date(), nullable=True),
        sa.Column("risk_reason", sa.Text(), nullable=True),
        sa.Column("tags", JSON, nullable=False),
        sa.Column("custom", JSON, nullable=False),
        sa.Column("parent_id", ID, nullable=True),
        sa.Column("source_url", sa.Text(), nullable=True),
        sa.Column("merged_into_id", ID, nullable=True),
        sa.Column("arr_minor", sa.BigInteger(), nullable=False),
        sa.Column("health_band", sa.String(length=8), nullable=False),
        sa.Column("last_touch_on", sa.Date(), nullable=True),
        sa.Column("last_meeting_on", sa.Date(), nullable=True),
        sa.Column("next_meeting_on", sa.Date(), nullable=True),
        sa.Column("executive_sponsor_id", ID, nullable=True),
        sa.Column("champion_id", ID, nullable=True),
        sa.Column("workspace", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.Column("source_system", sa.String(length=32), nullable=True),
        sa.Column("source_id", ORDERED, nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace", "owner_id"],
            ["member.workspace", "member.id"],
            name=op.f("fk_account_workspace_owner_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["workspace", "parent_id"],
            ["account.workspace", "account.id"],
            name=op.f("fk_account_workspace_parent_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["workspace", "merged_into_id"],
            ["account.workspace", "account.id"],
            name=op.f("fk_account_workspace_merged_into_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_account")),
        postgresql_with={"fillfactor": 90},
    )
    op.create_index(
        "ix_account_merged_into",
        "account",
        ["workspace", "merged_into_id"],
        unique=False,
        sqlite_where=sa.text("merged_into_id IS NOT NULL"),
        postgresql_where=sa.text("merged_into_id IS NOT NULL"),
    )
    op.create_index(
        "ix_account_domain",
        "account",
        ["workspace", "domain"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "ix_account_name_key",
        "account",
        ["workspace", "name_key", "id"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    listed, columns = _LISTED[op.get_bind().dialect.name]
    op.create_index(
        listed,
        "account",
        ["workspace", *columns],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    _put_scores_beside()
    op.create_index(
        "ix_account_touch",
        "account",
        ["workspace", "last_touch_on", "id"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "ix_account_owner",
        "account",
        ["workspace", "owner_id", "id"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "ix_account_renewal",
        "account",
        ["workspace", "renewal_on", "id"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "uq_account_source",
        "account",
        ["workspace", "source_system", "source_id"],
        unique=True,
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.create_table(
        "token",
        sa.Column("workspace", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("member_id", ID, nullable=False),
        sa.Column("on_behalf_of", ID, nullable=True),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("secret_hmac", sa.String(length=64), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace", "member_id"],
            ["member.workspace", "member.id"],
            name=op.f("fk_token_workspace_member_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_token")),
    )
    op.create_table(
        "account_team",
        sa.Column("account_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("workspace", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.Column("source_system", sa.String(length=32), nullable=True),
        sa.Column("source_id", ORDERED, nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace", "account_id"],
            ["account.workspace", "account.id"],
            name=op.f("fk_account_team_workspace_account_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["workspace", "user_id"],
            ["member.workspace", "member.id"],
            name=op.f("fk_account_team_workspace_user_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_account_team")),
    )
    op.create_index(
        "ix_account_team_account",
        "account_team",
        ["workspace", "account_id"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "ix_account_team_user",
        "account_team",
        ["workspace", "user_id", "account_id"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "uq_account_team_source",
        "account_team",
        ["workspace", "source_system", "source_id"],
        unique=True,
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.create_table(
        "arr_movement",
        sa.Column("account_id", ID, nullable=False),
        sa.Column("subscription_id", ID, nullable=True),
        sa.Column("on", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("expansion_kind", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("workspace", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.Column("source_system", sa.String(length=32), nullable=True),
        sa.Column("source_id", ORDERED, nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace", "account_id"],
            ["account.workspace", "account.id"],
            name=op.f("fk_arr_movement_workspace_account_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_arr_movement")),
    )
    op.create_index(
        "ix_arr_movement_account",
        "arr_movement",
        ["workspace", "account_id", "on"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "uq_arr_movement_source",
        "arr_movement",
        ["workspace", "source_system", "source_id"],
        unique=True,
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.create_table(
        "contact",
        sa.Column("account_id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("department", sa.Text(), nullable=True),
        sa.Column("level", sa.String(length=16), nullable=True),
        sa.Column("roles", JSON, nullable=False),
        sa.Column("sentiment", sa.String(length=16), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("last_confirmed_on", sa.Date(), nullable=True),
        sa.Column("leaves_on", sa.Date(), nullable=True),
        sa.Column("departed_on", sa.Date(), nullable=True),
        sa.Column("successor_id", ID, nullable=True),
        sa.Column("merged_into_id", ID, nullable=True),
        sa.Column("workspace", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.Column("source_system", sa.String(length=32), nullable=True),
        sa.Column("source_id", ORDERED, nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace", "account_id"],
            ["account.workspace", "account.id"],
            name=op.f("fk_contact_workspace_account_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["workspace", "successor_id"],
            ["contact.workspace", "contact.id"],
            name=op.f("fk_contact_workspace_successor_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["workspace", "merged_into_id"],
            ["contact.workspace", "contact.id"],
            name=op.f("fk_contact_workspace_merged_into_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_contact")),
    )
    op.create_index(
        "ix_contact_merged_into",
        "contact",
        ["workspace", "merged_into_id"],
        unique=False,
        sqlite_where=sa.text("merged_into_id IS NOT NULL"),
        postgresql_where=sa.text("merged_into_id IS NOT NULL"),
    )
    op.create_index(
        "ix_contact_account",
        "contact",
        ["workspace", "account_id"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        # All of them on PostgreSQL: a night reads whom a few accounts met, removed or not, by those accounts.
    )
    op.create_index(
        "ix_contact_email",
        "contact",
        ["workspace", "email"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "uq_contact_source",
        "contact",
        ["workspace", "source_system", "source_id"],
        unique=True,
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.create_table(
        "meeting",
        sa.Column("account_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("held_on", sa.Date(), nullable=False),
        sa.Column("held_at", Instant(), nullable=True),
        sa.Column("attendees", JSON, nullable=False),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("decisions", JSON, nullable=False),
        sa.Column("sentiment", sa.String(length=16), nullable=True),
        sa.Column("renewal_intent", sa.String(length=16), nullable=True),
        sa.Column("forecast_hint", sa.String(length=16), nullable=True),
        sa.Column("product_requests", JSON, nullable=False),
        sa.Column("roi_shown", sa.Boolean(), nullable=False),
        sa.Column("materials_shared_on", sa.Date(), nullable=True),
        sa.Column("recording_url", sa.Text(), nullable=True),
        sa.Column("workspace", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.Column("source_system", sa.String(length=32), nullable=True),
        sa.Column("source_id", ORDERED, nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace", "account_id"],
            ["account.workspace", "account.id"],
            name=op.f("fk_meeting_workspace_account_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_meeting")),
    )
    op.create_index(
        "ix_meeting_account",
        "meeting",
        ["workspace", "account_id", "held_on"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "uq_meeting_source",
        "meeting",
        ["workspace", "source_system", "source_id"],
        unique=True,
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.create_table(
        "subscription",
        sa.Column("account_id", ID, nullable=False),
        sa.Column("product", sa.Text(), nullable=True),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("canceled_on", sa.Date(), nullable=True),
        sa.Column("arr_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("seats", sa.Integer(), nullable=True),
        sa.Column("seat_limit", sa.Integer(), nullable=True),
        sa.Column("auto_renew", sa.Boolean(), nullable=True),
        sa.Column("term_months", sa.Integer(), nullable=True),
        sa.Column("notice_days", sa.Integer(), nullable=True),
        sa.Column("trial", sa.Boolean(), nullable=False),
        sa.Column("payment_method_expires_on", sa.Date(), nullable=True),
        sa.Column("workspace", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.Column("source_system", sa.String(length=32), nullable=True),
        sa.Column("source_id", ORDERED, nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace", "account_id"],
            ["account.workspace", "account.id"],
            name=op.f("fk_subscription_workspace_account_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_subscription")),
    )
    op.create_index(
        "ix_subscription_account",
        "subscription",
        ["workspace", "account_id", "starts_on"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "uq_subscription_source",
        "subscription",
        ["workspace", "source_system", "source_id"],
        unique=True,
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.create_table(
        "task",
        sa.Column("account_id", ID, nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=True),
        sa.Column("assignee_id", ID, nullable=True),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("priority", sa.String(length=8), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("related_id", ID, nullable=True),
        sa.Column("snoozed_until", sa.Date(), nullable=True),
        sa.Column("sla_due_at", Instant(), nullable=True),
        sa.Column("done_on", sa.Date(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("workspace", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.Column("source_system", sa.String(length=32), nullable=True),
        sa.Column("source_id", ORDERED, nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace", "account_id"],
            ["account.workspace", "account.id"],
            name=op.f("fk_task_workspace_account_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["workspace", "assignee_id"],
            ["member.workspace", "member.id"],
            name=op.f("fk_task_workspace_assignee_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_task")),
    )
    op.create_index(
        "ix_task_account",
        "task",
        ["workspace", "account_id", "status", "due_on"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "ix_task_assignee",
        "task",
        ["workspace", "assignee_id", "status", "due_on"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "ix_task_due",
        "task",
        ["workspace", "status", "due_on"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "uq_task_open_purpose",
        "task",
        ["workspace", "account_id", "purpose"],
        unique=True,
        sqlite_where=sa.text("removed_at IS NULL AND status = 'open' AND purpose IS NOT NULL"),
        postgresql_where=sa.text("removed_at IS NULL AND status = 'open' AND purpose IS NOT NULL"),
    )
    op.create_index(
        "uq_task_source",
        "task",
        ["workspace", "source_system", "source_id"],
        unique=True,
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.create_table(
        "health_note",
        sa.Column("account_id", ID, nullable=False),
        sa.Column("written_on", sa.Date(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("sentiment", sa.String(length=16), nullable=True),
        sa.Column("risk", sa.String(length=24), nullable=True),
        sa.Column("author_id", ID, nullable=True),
        sa.Column("author_name", sa.Text(), nullable=True),
        sa.Column("meeting_id", ID, nullable=True),
        sa.Column("corrects_id", ID, nullable=True),
        sa.Column("workspace", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.Column("source_system", sa.String(length=32), nullable=True),
        sa.Column("source_id", ORDERED, nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace", "account_id"],
            ["account.workspace", "account.id"],
            name=op.f("fk_health_note_workspace_account_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["workspace", "author_id"],
            ["member.workspace", "member.id"],
            name=op.f("fk_health_note_workspace_author_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["workspace", "corrects_id"],
            ["health_note.workspace", "health_note.id"],
            name=op.f("fk_health_note_workspace_corrects_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["workspace", "meeting_id"],
            ["meeting.workspace", "meeting.id"],
            name=op.f("fk_health_note_workspace_meeting_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_health_note")),
    )
    op.create_index(
        "ix_health_note_account",
        "health_note",
        ["workspace", "account_id", "written_on"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "uq_health_note_source",
        "health_note",
        ["workspace", "source_system", "source_id"],
        unique=True,
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.create_table(
        "renewal",
        sa.Column("account_id", ID, nullable=False),
        sa.Column("subscription_id", ID, nullable=True),
        sa.Column("owner_id", ID, nullable=True),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("forecast_category", sa.String(length=16), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("expected_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("closes_on", sa.Date(), nullable=False),
        sa.Column("notice_deadline_on", sa.Date(), nullable=True),
        sa.Column("decision_criteria", JSON, nullable=False),
        sa.Column("procurement_steps", JSON, nullable=False),
        sa.Column("risks", JSON, nullable=False),
        sa.Column("options", JSON, nullable=False),
        sa.Column("concessions", JSON, nullable=False),
        sa.Column("stakeholders_confirmed_on", sa.Date(), nullable=True),
        sa.Column("closed_on", sa.Date(), nullable=True),
        sa.Column("loss_reason", sa.Text(), nullable=True),
        sa.Column("account_band", sa.String(length=8), nullable=True),
        sa.Column("account_segment", sa.String(length=16), nullable=True),
        sa.Column("responsible_id", ID, nullable=True),
        sa.Column("workspace", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.Column("source_system", sa.String(length=32), nullable=True),
        sa.Column("source_id", ORDERED, nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace", "account_id"],
            ["account.workspace", "account.id"],
            name=op.f("fk_renewal_workspace_account_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["workspace", "owner_id"],
            ["member.workspace", "member.id"],
            name=op.f("fk_renewal_workspace_owner_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["workspace", "subscription_id"],
            ["subscription.workspace", "subscription.id"],
            name=op.f("fk_renewal_workspace_subscription_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_renewal")),
    )
    op.create_index(
        "ix_renewal_account",
        "renewal",
        ["workspace", "account_id", "closes_on", "id"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "ix_renewal_responsible",
        "renewal",
        ["workspace", "responsible_id", "closes_on", "id"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "ix_renewal_closes",
        "renewal",
        ["workspace", "closes_on", "id"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "uq_renewal_source",
        "renewal",
        ["workspace", "source_system", "source_id"],
        unique=True,
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.create_table(
        "sponsorship",
        sa.Column("account_id", ID, nullable=False),
        sa.Column("contact_id", ID, nullable=False),
        sa.Column("role", sa.String(length=24), nullable=False),
        sa.Column("from_on", sa.Date(), nullable=False),
        sa.Column("to_on", sa.Date(), nullable=True),
        sa.Column("workspace", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.Column("source_system", sa.String(length=32), nullable=True),
        sa.Column("source_id", ORDERED, nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace", "account_id"],
            ["account.workspace", "account.id"],
            name=op.f("fk_sponsorship_workspace_account_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["workspace", "contact_id"],
            ["contact.workspace", "contact.id"],
            name=op.f("fk_sponsorship_workspace_contact_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_sponsorship")),
    )
    op.create_index(
        "ix_sponsorship_account",
        "sponsorship",
        ["workspace", "account_id", "role"],
        unique=False,
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "uq_sponsorship_source",
        "sponsorship",
        ["workspace", "source_system", "source_id"],
        unique=True,
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.create_index(
        "ix_account_arr",
        "account",
        ["workspace", sa.text("arr_minor DESC"), "id"],
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    connection = op.get_bind()
    let_renewals_follow(connection)
    if connection.dialect.name == "postgresql":
        for table in tables_of(connection):
            if table not in OUTSIDE:
                raise_wall(connection, table)
    give_statistics()


# The index of lists, which on PostgreSQL is without what a night changes.
_LISTED = {
    "sqlite": (
        "ix_account_list",
        ("segment", "health_band", "tier", "stage", "renewal_on", "id", "removed_at"),
    ),
    "postgresql": ("ix_account_kind", ("segment", "tier", "stage", "renewal_on", "id")),
}


def _put_scores_beside() -> None:
    """Listed by steps of ten points, which PostgreSQL generates: see db/accounts/scores.py."""
    op.create_table(
        "account_score",
        sa.Column("workspace", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("trend", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("workspace", "account_id", name=op.f("pk_account_score")),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 50},
    )
    generated = [sa.Computed("floor(score / 10.0)", persisted=True)] if op.get_bind().dialect.name != "sqlite" else []
    op.add_column("account_score", sa.Column("step", sa.SmallInteger(), *generated, nullable=True))
    op.create_index("ix_account_score", "account_score", ["workspace", "step", "account_id"], unique=False)
    keep_scores_beside(op.get_bind())


def downgrade() -> None:
    let_renewals_stand(op.get_bind())
    op.drop_index("ix_account_arr", table_name="account")
    op.drop_index(
        "uq_sponsorship_source",
        table_name="sponsorship",
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_sponsorship_account",
        table_name="sponsorship",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_table("sponsorship")
    op.drop_index(
        "uq_renewal_source",
        table_name="renewal",
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_renewal_responsible",
        table_name="renewal",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_index(
        "ix_renewal_closes",
        table_name="renewal",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_index(
        "ix_renewal_account",
        table_name="renewal",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_table("renewal")
    op.drop_index(
        "uq_health_note_source",
        table_name="health_note",
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_health_note_account",
        table_name="health_note",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_table("health_note")
    op.drop_index(
        "uq_task_source",
        table_name="task",
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.drop_index(
        "uq_task_open_purpose",
        table_name="task",
        sqlite_where=sa.text("removed_at IS NULL AND status = 'open' AND purpose IS NOT NULL"),
        postgresql_where=sa.text("removed_at IS NULL AND status = 'open' AND purpose IS NOT NULL"),
    )
    op.drop_index(
        "ix_task_due",
        table_name="task",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_index(
        "ix_task_assignee",
        table_name="task",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_index(
        "ix_task_account",
        table_name="task",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_table("task")
    op.drop_index(
        "uq_subscription_source",
        table_name="subscription",
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_subscription_account",
        table_name="subscription",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_table("subscription")
    op.drop_index(
        "uq_meeting_source",
        table_name="meeting",
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_meeting_account",
        table_name="meeting",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_table("meeting")
    op.drop_index(
        "uq_contact_source",
        table_name="contact",
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_contact_email",
        table_name="contact",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_index(
        "ix_contact_account",
        table_name="contact",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_table("contact")
    op.drop_index(
        "uq_arr_movement_source",
        table_name="arr_movement",
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_arr_movement_account",
        table_name="arr_movement",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_table("arr_movement")
    op.drop_index(
        "uq_account_team_source",
        table_name="account_team",
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_account_team_user",
        table_name="account_team",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_index(
        "ix_account_team_account",
        table_name="account_team",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_table("account_team")
    op.drop_table("token")
    op.drop_index(
        "uq_account_source",
        table_name="account",
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_account_touch",
        table_name="account",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    drop_scores_beside(op.get_bind())
    op.drop_table("account_score")
    op.drop_index(
        _LISTED[op.get_bind().dialect.name][0],
        table_name="account",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_index(
        "ix_account_renewal",
        table_name="account",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_index(
        "ix_account_owner",
        table_name="account",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_index(
        "ix_account_name_key",
        table_name="account",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_index(
        "ix_account_domain",
        table_name="account",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_table("account")
    op.drop_index(
        "uq_workspace_profile_source",
        table_name="workspace_profile",
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.drop_table("workspace_profile")
    op.drop_table("workspace_head")
    op.drop_table("workspace")
    op.drop_index("ix_plan_state", table_name="plan")
    op.drop_table("plan")
    op.drop_index(
        "uq_member_source",
        table_name="member",
        sqlite_where=sa.text("source_id IS NOT NULL"),
        postgresql_where=sa.text("source_id IS NOT NULL"),
    )
    op.drop_index(
        "uq_member_email",
        table_name="member",
        sqlite_where=sa.text("removed_at IS NULL"),
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.drop_index("ix_member_manager", table_name="member")
    op.drop_index("ix_member_cover", table_name="member")
    op.drop_table("member")
    op.drop_index("ix_idempotency_at", table_name="idempotency")
    op.drop_table("idempotency")
    op.drop_table("change_payload")
    op.drop_index("ix_change_write", table_name="change")
    op.drop_index("ix_change_run", table_name="change")
    op.drop_index("ix_change_record", table_name="change")

    op.drop_index("ix_change_account", table_name="change")
    op.drop_table("change")
