"""Which columns hold free text, and whose words each of them is trusted to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import JSON, String, Table

from cs_mcp.db.base import Json
from cs_mcp.db.search import People, Words
from cs_mcp.domain.text import Trust

NAMES_AND_CODES = 48  # a String this short holds an id, an enum or a code: there is no room for prose

# Text that needs no class, and why. Everything else names one in its row's `trust`.
EXEMPT = {
    "*.source_id": "an opaque key of the source system, shown beside that system's name only",
    "*.hash": "hexadecimal",
    "*.digest": "hexadecimal",
    "*.payload_hash": "hexadecimal",
    "*.arguments_hash": "hexadecimal",
    "*.secret_hmac": "hexadecimal",
    "health_snapshot.rules": "names of hard rules: lower-case letters, digits and _",
    "account.name_key": "derived from name, never shown",
    "account.domain": "its form admits no space, slash or @, and it leaves through `shown`",
    "workspace_profile.time_zone": "a zone's name, checked against the tz database",
    # JSON: lists and maps of short text, which leaves through `shown` and inert in structured answers.
    "account.tags": "one-line names",
    "account.custom": "keys are one-line names, values short text",
    "contact.department_key": "derived from department, never shown",
    "feature.name_key": "derived from name, never shown",
    "usage_day.department": "a one-line name, which leaves through `shown`",
    "usage_feature.department": "a one-line name, which leaves through `shown`",
    "usage_rollup.sponsor_department": "never shown",
    "contact.roles": "values of an enum",
    "meeting.attendees": "ids; a name only where the source named no record, shown as a name",
    "meeting.decisions": "short text",
    "meeting.product_requests": "one-line names",
    "workspace_profile.working_days": "numbers",
    "workspace_profile.holidays": "days",
    "workspace_profile.segment_bounds": "numbers",
    "workspace_profile.people_preview": "values of an enum",
    "workspace_profile.conventions": "numbers and values of enums",
    "past_attribute.value": "an attribute's value, which leaves through `shown`",
    # Derived by triggers for search, and never shown: what is found is read from its own table.
    "search_name.words": "never shown",
    "search_name.seen_by": "ids",
    "search_text.words": "never shown",
    "search_text.seen_by": "ids",
    # The store's own tables: no records, and shown by list_changes alone.
    "change.reason": "a member's words, shown through `shown`",
    "change.client": "the label of a token, shown through `shown`",
    "change.fields": "names of our columns",
    "change_payload.before": "shown field by field with the class of its column",
    "change_payload.after": "shown field by field with the class of its column",
    "plan.arguments": "never shown",
    "plan.differences": "made by `record_change`, which cleans by class",
    "plan.accounts": "ids",
    "plan.reason": "a member's words, shown through `shown`",
    "plan.decision_reason": "never shown",
    "idempotency.key": "never shown but to who sent it",
    "idempotency.answer": "an answer, given again the way it was given first",
    "token.label": "an operator's words, shown on their command line",
    "token.created_by": "our own words",
    "token.scopes": "values of an enum",
}


def is_free_text(column: Any) -> bool:
    if isinstance(column.type, JSON | Json | Words | People):
        return True
    return isinstance(column.type, String) and (column.type.length or NAMES_AND_CODES + 1) > NAMES_AND_CODES


def free_text(tables: Iterable[Table]) -> list[tuple[str, str]]:
    return [(table.name, column.key) for table in tables for column in table.columns if is_free_text(column)]


def unclassified(tables: Iterable[Table], trust: Mapping[str, Mapping[str, Trust]]) -> list[str]:
    """Columns of free text with neither a trust class nor a reason to need none."""
    return [
        f"{table}.{column}"
        for table, column in free_text(tables)
        if not isinstance(trust.get(table, {}).get(column), Trust)
        and f"{table}.{column}" not in EXEMPT
        and f"*.{column}" not in EXEMPT
    ]


def stale(tables: Iterable[Table], trust: Mapping[str, Mapping[str, Trust]]) -> list[str]:
    """Classes and exemptions of columns that are not there any more."""
    known = set(free_text(tables))
    columns = {f"*.{column}" for _, column in known} | {f"{table}.{column}" for table, column in known}
    classed = {f"{table}.{column}" for table, given in trust.items() for column in given}
    return sorted((classed | set(EXEMPT)) - columns)
