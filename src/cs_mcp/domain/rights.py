"""Roles × tools: the one table of who may call what, and the tier of every write.

The tier of a write is read off the changes it makes, not off the tool's name: whoever moves money moves
money, by whichever tool. An agent's bulk, money and lifecycle writes become proposals (tools.md, rule 6).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from cs_mcp.domain.identity import Principal, Role, Scope


class WriteTier(StrEnum):
    append = "append"
    edit = "edit"
    money = "money"
    lifecycle = "lifecycle"
    bulk = "bulk"


class Right(NamedTuple):
    scope: Scope
    roles: frozenset[Role]


_EVERYONE = frozenset(Role)
_WRITERS = frozenset({Role.csm, Role.account_manager, Role.cs_leader, Role.admin, Role.agent})
_PEOPLE = _WRITERS - {Role.agent}
_FEEDERS = frozenset({Role.admin, Role.agent})  # facts of other systems come from who runs their feeds

RIGHTS: Final[dict[str, Right]] = {
    "get_workspace": Right(Scope.read, _EVERYONE),
    "search": Right(Scope.read, _EVERYONE),
    "fetch": Right(Scope.read, _EVERYONE),
    "get_timeline": Right(Scope.read, _EVERYONE),
    "find_accounts": Right(Scope.read, _EVERYONE),
    "get_account": Right(Scope.read, _EVERYONE),
    "explain_health": Right(Scope.read, _EVERYONE),
    "list_health_notes": Right(Scope.read, _EVERYONE),
    "list_tasks": Right(Scope.read, _EVERYONE),
    "list_changes": Right(Scope.read, _EVERYONE),
    "list_contacts": Right(Scope.read, _EVERYONE),
    "save_contact": Right(Scope.write, _WRITERS),
    "assign_sponsor": Right(Scope.write, _WRITERS),
    "record_departure": Right(Scope.write, _WRITERS),
    "list_renewals": Right(Scope.read, _EVERYONE),
    "update_renewal": Right(Scope.write, _WRITERS),
    "move_renewal": Right(Scope.write, _WRITERS),
    "list_opportunities": Right(Scope.read, _EVERYONE),
    "save_opportunity": Right(Scope.write, _WRITERS),
    "create_account": Right(Scope.write, _WRITERS),
    "update_account": Right(Scope.write, _WRITERS),
    "move_account_stage": Right(Scope.write, _WRITERS),
    "update_accounts": Right(Scope.write, _WRITERS),
    "merge_records": Right(Scope.write, _WRITERS),
    "record_signals": Right(Scope.write, _FEEDERS),
    "add_health_note": Right(Scope.write, _WRITERS),
    "override_health": Right(Scope.write, _WRITERS),
    "save_risk": Right(Scope.write, _WRITERS),
    "get_metrics": Right(Scope.read, _EVERYONE),
    "get_health_accuracy": Right(Scope.read, _EVERYONE),
    "get_forecast": Right(Scope.read, _EVERYONE),
    "get_retention": Right(Scope.read, _EVERYONE),
    "get_cohorts": Right(Scope.read, _EVERYONE),
    "create_tasks": Right(Scope.write, _WRITERS),
    "update_task": Right(Scope.write, _WRITERS),
    "log_meeting": Right(Scope.write, _WRITERS),
    "schedule_meeting": Right(Scope.write, _WRITERS),
    "undo_changes": Right(Scope.write, _WRITERS),
    "commit_plan": Right(Scope.commit, _PEOPLE),
}


def may(principal: Principal, tool: str) -> bool:
    """Whether this caller is shown the tool and may call it. A tool without a right is nobody's."""
    right = RIGHTS.get(tool)
    return right is not None and principal.role in right.roles and right.scope in principal.scopes


_EVERY_FIELD: Final = "*"
_TIER_OF_FIELD: Final[dict[tuple[str, str], WriteTier]] = {
    ("account", "currency"): WriteTier.money,
    ("account", "renewal_on"): WriteTier.money,
    ("account", "tier"): WriteTier.money,
    ("account", "stage"): WriteTier.lifecycle,
    ("account", "owner_id"): WriteTier.lifecycle,
    ("account", "removed_at"): WriteTier.lifecycle,
    ("subscription", _EVERY_FIELD): WriteTier.money,
    ("arr_movement", _EVERY_FIELD): WriteTier.money,
    ("renewal", _EVERY_FIELD): WriteTier.money,
    ("opportunity", _EVERY_FIELD): WriteTier.money,
    ("workspace_profile", _EVERY_FIELD): WriteTier.lifecycle,
    ("member", _EVERY_FIELD): WriteTier.lifecycle,
    ("health_override", _EVERY_FIELD): WriteTier.lifecycle,
}
_LIFECYCLE_BY_BIRTH: Final = frozenset({"account"})
# Facts that systems tell come in batches as they are; nobody has to look at each.
_TOLD_IN_BATCHES: Final = frozenset(
    {"ticket", "invoice", "survey_response", "company_event", "feature", "signal_batch"}
)
BULK_RECORDS: Final = 200  # one call that touches more records than this is bulk, whatever it is called


class Touched(NamedTuple):
    """One record a write changes: enough to say how far-reaching the write is."""

    entity: str
    created: bool
    fields: frozenset[str]


def tiers_of(touched: Iterable[Touched]) -> frozenset[WriteTier]:
    tiers: set[WriteTier] = set()
    records = 0
    for record in touched:
        records += record.entity not in _TOLD_IN_BATCHES
        tiers.add(WriteTier.append if record.created else WriteTier.edit)
        if record.created and record.entity in _LIFECYCLE_BY_BIRTH:
            tiers.add(WriteTier.lifecycle)
        if whole := _TIER_OF_FIELD.get((record.entity, _EVERY_FIELD)):
            tiers.add(whole)
        if not record.created:
            tiers.update(
                tier for field in record.fields if (tier := _TIER_OF_FIELD.get((record.entity, field))) is not None
            )
    if records > BULK_RECORDS:
        tiers.add(WriteTier.bulk)
    return frozenset(tiers)


_AGENT_PROPOSES: Final = frozenset({WriteTier.money, WriteTier.lifecycle, WriteTier.bulk})


def needs_a_plan(principal: Principal, tiers: frozenset[WriteTier], people_preview: Iterable[str]) -> bool:
    """Whether this write waits for a person's word instead of being carried out at once."""
    if principal.is_agent:
        return bool(tiers & _AGENT_PROPOSES)
    return WriteTier.bulk in tiers or bool({tier.value for tier in tiers} & set(people_preview))
