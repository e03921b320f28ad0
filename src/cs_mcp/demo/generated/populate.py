"""Writes a generated book into a store through the bulk path, a batch of accounts a transaction."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.bulk import bulk_create
from cs_mcp.db.history.changes import Act
from cs_mcp.db.signals.signals import FeatureRow
from cs_mcp.db.usage.writing import FreshUsage
from cs_mcp.demo.book import company
from cs_mcp.demo.generated.facts import FEATURES, tell_usage
from cs_mcp.demo.generated.rowing import Rows
from cs_mcp.demo.generated.rows import members_and_batches
from cs_mcp.demo.seed import act_of, found_company
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.identity import Principal
from cs_mcp.services.wiring import Services

MOST_ACCOUNTS: Final = 100_000

Progress = Callable[[int], None]  # told how many accounts are in the store


@dataclass(frozen=True, slots=True)
class Populated:
    """`records` leaves out the history, which has an entry for each of them, and figures of usage."""

    workspace: str
    accounts: int
    records: int
    seconds: float
    seconds_in_store: float


async def populate(services: Services, *, accounts: int, seed: int, progress: Progress = lambda _: None) -> Populated:
    """Found the demo company's workspace with a made-up book, the same for the same seed and day; ids differ.

    All batches are one run, so that undo takes the book back by its id. Raises Invalid for a size out of range.
    """
    if not 1 <= accounts <= MOST_ACCOUNTS:
        raise Invalid(f"{accounts} accounts cannot be made.", remedy=f"Ask for 1 to {MOST_ACCOUNTS:,}.")
    started = time.perf_counter()
    workspace, members = await found_company(services)
    store = services.store
    principal = await services.identity.operator(workspace)
    act = replace(act_of(services), run_id=store.ids.new("run"))
    today = (await store.workspace(workspace)).calendar.today(store.clock.now())
    features, usage = {name: store.ids.new("feature") for name in FEATURES}, FreshUsage()
    ours, batches = members_and_batches(
        seed,
        accounts,
        today=today,
        ids=store.ids,
        members=members,
        domain=company().domain,
        made=lambda account, record: tell_usage(usage, account, record, features),
    )
    ours[FeatureRow] = [{"id": record, "name": name, "is_core": FEATURES[name]} for name, record in features.items()]
    records, spent = len(members), 0.0
    loaded, took = await _load(services, principal, act, ours, usage)
    records, spent, done = records + loaded, spent + took, 0
    for rows in batches:
        loaded, took = await _load(services, principal, act, rows, usage)
        records, spent, done = records + loaded, spent + took, done + len(rows[AccountRow])
        progress(done)
    return Populated(workspace, accounts, records, time.perf_counter() - started, spent)


async def _load(services: Services, principal: Principal, act: Act, rows: Rows, usage: FreshUsage) -> tuple[int, float]:
    started = time.perf_counter()
    own = replace(act, change_id=services.store.ids.new("change"), at=services.store.clock.now())
    async with services.store.unit_of_work(principal, own) as work:
        for table, given in rows.items():
            await bulk_create(work, table, given)
        await usage.enter(work)
    return sum(map(len, rows.values())), time.perf_counter() - started
