"""What an export reads of signals and of what people made of them: records of live accounts, and figures of usage
with what was merged into them.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, and_, cast, func, select

from cs_mcp.db.health.overrides import OVERRIDE, HealthOverrideRow
from cs_mcp.db.health.risks import RISK, RiskRow
from cs_mcp.db.people.sponsors import ContactRow
from cs_mcp.db.read_path import Statement
from cs_mcp.db.signals.signals import CompanyEventRow, FeatureRow, InvoiceRow, SurveyResponseRow, TicketRow
from cs_mcp.db.transfer.export_reads import ACCOUNT, email_of, live, named, of_accounts
from cs_mcp.db.usage.rollup import heirs
from cs_mcp.db.usage.usage import USAGE_DAY, USAGE_FEATURE
from cs_mcp.domain.signals.usage import METRICS

TICKETS: Final = of_accounts(
    TicketRow,
    names=(
        "contact_id", "severity", "category", "opened_at", "first_response_at", "resolved_at", "escalated",
        "sla_breached", "csat", "subject", "text",
    ),
)  # fmt: skip
INVOICES: Final = of_accounts(InvoiceRow, names=("amount_minor", "currency", "due_on", "paid_on", "status"))
COMPANY_EVENTS: Final = of_accounts(CompanyEventRow, names=("on", "kind", "note", "source_url", "told_by"))


OVERRIDES: Final = of_accounts(
    HealthOverrideRow,
    email_of(OVERRIDE.c.author_id, "author_email"),
    names=("band", "score_tenths", "reason", "from_on", "expires_on", "ended_on"),
)
RISKS: Final = of_accounts(
    RiskRow,
    email_of(RISK.c.owner_id, "owner_email"),
    names=(
        "category", "state", "severity", "opened_on", "due_on", "summary", "mitigation", "evidence", "outcome",
        "closed_on",
    ),
)  # fmt: skip


def _surveys() -> Any:
    answer: Any = SurveyResponseRow.__table__
    contact: Any = ContactRow.__table__
    names = ("kind", "score", "scale_max", "answered_at", "invited", "loop_state", "comment", "tags")
    return (
        select(
            *named(answer, "own"),
            *named(ACCOUNT, "account"),
            *named(contact, "contact"),
            *(answer.c[name] for name in names),
        )
        .select_from(answer)
        .join(ACCOUNT, and_(live(ACCOUNT), ACCOUNT.c.id == answer.c.account_id))
        .outerjoin(contact, and_(live(contact), contact.c.id == answer.c.contact_id))
        .where(live(answer))
        .order_by(answer.c.id)
    )


def _figures(table: Any, *columns: Any) -> Any:
    """Sums by account and day, what was merged into the account added to it."""
    merged = heirs()
    owner = func.coalesce(merged.c.account_id, table.c.account_id)
    key = (ACCOUNT.c.id, table.c.day, table.c.department)
    return (
        select(*named(ACCOUNT, "account"), table.c.day, table.c.department, *columns)
        .select_from(table)
        .outerjoin(merged, merged.c.record == table.c.account_id)
        .join(ACCOUNT, and_(live(ACCOUNT), ACCOUNT.c.id == owner))
        .where(table.c.workspace == ACCOUNT.c.workspace)
        .group_by(ACCOUNT.c.workspace, *key)
        .order_by(*key)
    )


def _sum(column: Any) -> Any:
    return cast(func.sum(column), BigInteger).label(column.key)


def _usage() -> Any:
    return _figures(
        USAGE_DAY, *(_sum(USAGE_DAY.c[name]) for name in METRICS), func.max(USAGE_DAY.c.summed).label("summed")
    )


def _usage_of_features() -> Any:
    feature: Any = FeatureRow.__table__
    found = _figures(USAGE_FEATURE, feature.c.name.label("feature"), feature.c.is_core, _sum(USAGE_FEATURE.c.events))
    same = and_(feature.c.workspace == USAGE_FEATURE.c.workspace, feature.c.id == USAGE_FEATURE.c.feature_id)
    return found.join(feature, same).group_by(feature.c.id, feature.c.name, feature.c.is_core).order_by(feature.c.id)


USAGE: Final = Statement(_usage)
USAGE_OF_FEATURES: Final = Statement(_usage_of_features)
SURVEYS: Final = Statement(_surveys)
