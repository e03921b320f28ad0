"""A renewal opens with its subscription. One rule for the import, the demo, the night and a closed cycle.

Each term of a subscription has one renewal, named by `cycle_key`. While nobody has begun to work on it, it follows its
subscription: amount, last day, notice deadline, and away where the subscription is gone or canceled. A term that has
an open renewal already, whoever entered it, gets none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from cs_mcp.db.bulk import RowUpdate, bulk_create, bulk_update
from cs_mcp.db.read_path import Row
from cs_mcp.db.renewals.cycles import CycleReads
from cs_mcp.db.renewals.renewals import RenewalRow
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.renewals.renewals import CYCLE, Renewal, RenewalStage, cycle_key
from cs_mcp.domain.renewals.terms import Term, current_term
from cs_mcp.domain.revenue.subscriptions import Subscription

PAGE: Final = 1_000  # accounts
_LISTS: Final = ("decision_criteria", "procurement_steps", "risks", "options", "concessions")


def term_of(subscription: Mapping[str, Any], today: date) -> Term | None:
    """The term of a stored subscription that is to be renewed next."""
    return current_term(
        starts_on=subscription["starts_on"],
        ends_on=subscription["ends_on"],
        canceled_on=subscription["canceled_on"],
        term_months=subscription["term_months"],
        notice_days=subscription["notice_days"],
        trial=subscription["trial"],
        arr_minor=subscription["arr_minor"],
        today=today,
    )


def _fields(subscription: Mapping[str, Any], term: Term) -> dict[str, Any]:
    return {
        "closes_on": term.ends_on,
        "notice_deadline_on": term.deadline_on,
        "amount_minor": subscription["arr_minor"],
        "currency": subscription["currency"],
    }


def renewal_of(renewal_id: str, subscription: Subscription, today: date) -> Renewal | None:
    """The renewal that opens with a subscription; None where there is nothing to renew."""
    told = dict(subscription)
    term = term_of(told, today)
    if term is None:
        return None
    return Renewal(
        id=renewal_id,
        account_id=subscription.account_id,
        subscription_id=subscription.id,
        source_system=CYCLE,
        source_id=cycle_key(subscription.id, term.ends_on),
        **_fields(told, term),
    )


@dataclass(slots=True)
class Opened:
    """Renewals by what became of them."""

    created: int = 0
    updated: int = 0
    restored: int = 0
    removed: int = 0
    unchanged: int = 0


@dataclass(slots=True)
class _Cycles:
    today: date
    creates: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    updates: list[tuple[Row, dict[str, Any]]] = field(default_factory=list[tuple[Row, dict[str, Any]]])
    settled: int = 0

    def settle(self, subscription: Row, term: Term, known: Sequence[Row], removed: Row | None, new_id: str) -> None:
        """What one subscription's term needs; `known`: its live renewals, and those that name no subscription."""
        key = cycle_key(subscription["id"], term.ends_on)
        of_term = next((row for row in known if row["source_id"] == key or row["closes_on"] == term.ends_on), None)
        mine = [row for row in known if row["subscription_id"] is not None]
        still_open = [row for row in mine if not RenewalStage(row["stage"]).is_closed]
        wanted = _fields(subscription, term)
        if of_term is not None and of_term["source_id"] != key:
            self.settled += 1  # somebody's own record of this term
        elif of_term is not None or still_open:
            found = of_term or still_open[0]
            if _untouched(found, self.today):
                self.updates.append((found, wanted | {"source_id": key}))
            else:
                self.settled += 1
        elif removed is not None and removed["removed_at"] is not None:
            self.updates.append((removed, wanted | {"removed_at": None}))
        else:
            name = {"source_system": CYCLE, "source_id": key, "stage": RenewalStage.not_started.value}
            about = {"account_id": subscription["account_id"], "subscription_id": subscription["id"]}
            lists: dict[str, Any] = {name: [] for name in _LISTS}
            self.creates.append({"id": new_id} | name | about | wanted | lists)


async def open_cycles(work: UnitOfWork, accounts: Sequence[str]) -> Opened:
    """Open what these accounts' subscriptions are due, through the bulk path. Run again, it changes nothing."""
    reads, today = CycleReads(work), work.today
    due = [(row, term) for row in await reads.subscriptions(accounts) if (term := term_of(row, today)) is not None]
    by_subscription: dict[str, list[Row]] = {}
    unnamed: dict[str, list[Row]] = {}
    live = await reads.renewals(accounts)
    renewed = {row["id"] for row, _ in due}
    gone = [row for row in live if _untouched(row, today) and row["subscription_id"] not in renewed]
    for row in live:
        if row["subscription_id"] is not None:
            by_subscription.setdefault(row["subscription_id"], []).append(row)
        else:
            unnamed.setdefault(row["account_id"], []).append(row)
    without = {cycle_key(row["id"], term.ends_on) for row, term in due} - {row["source_id"] for row in live}
    removed = await reads.of_cycles(sorted(without)) if without else {}
    cycles = _Cycles(today)
    for row, term in due:
        known = by_subscription.get(row["id"], []) + unnamed.get(row["account_id"], [])
        key = cycle_key(row["id"], term.ends_on)
        cycles.settle(row, term, known, removed.get(key), work.ids.new("renewal"))
    cycles.updates += [(row, {"removed_at": work.now}) for row in gone]
    return await _write(work, reads, cycles)


def _untouched(row: Row, today: date) -> bool:
    """A renewal that opened by itself, for a term that is still to end, and that no one has moved."""
    return row["source_system"] == CYCLE and row["stage"] == "not_started" and row["closes_on"] >= today


async def _write(work: UnitOfWork, reads: CycleReads, cycles: _Cycles) -> Opened:
    opened = Opened(created=len(cycles.creates), unchanged=cycles.settled)
    differing = [
        (row, fields)
        for row, wanted in cycles.updates
        if (fields := {name: value for name, value in wanted.items() if row[name] != value})
    ]
    worked_on = await reads.worked_on([row["id"] for row, _ in differing]) if differing else {}
    updates: list[RowUpdate] = []
    for row, fields in differing:
        kept = {name: value for name, value in fields.items() if name not in worked_on.get(row["id"], ())}
        if "removed_at" in kept and row["removed_at"] is None and row["id"] in worked_on:
            continue  # somebody set something on it: it is theirs to close
        if kept:
            updates.append(RowUpdate(row["id"], row["version"], row["account_id"], row, kept))
    moved = [update.fields["removed_at"] for update in updates if "removed_at" in update.fields]
    opened.removed = sum(at is not None for at in moved)
    opened.restored = len(moved) - opened.removed
    opened.updated = len(updates) - len(moved)
    opened.unchanged += len(cycles.updates) - len(updates)
    await bulk_create(work, RenewalRow, cycles.creates)
    await bulk_update(work, RenewalRow, updates)
    return opened


async def open_due(work: UnitOfWork) -> Opened:
    """Open what every subscription of the workspace is due."""
    total, after = Opened(), ""
    reads = CycleReads(work)
    while accounts := await reads.accounts(after, PAGE):
        opened = await open_cycles(work, accounts)
        for name in ("created", "updated", "restored", "removed", "unchanged"):
            setattr(total, name, getattr(total, name) + getattr(opened, name))
        after = accounts[-1]
    return total
