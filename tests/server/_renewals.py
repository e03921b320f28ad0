"""Contracts signed where no tool does, and the few calls that tests of renewals repeat."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from conftest import NOW
from cs_mcp.db.store import Store
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind, Subscription
from cs_mcp.services.renewals.cycles import open_due

from ._client import Answer, Desk, writing

TODAY = NOW.date()
ENDS = TODAY + timedelta(days=75)  # 2026-05-30
OFFERS = [
    {"tier": tier, "amount": {"amount": amount, "currency": "USD"}}
    for tier, amount in (("good", "12000"), ("better", "15000"), ("best", "20000"))
]


@dataclass(frozen=True)
class Book:
    """Signs contracts where no tool does: what an import would bring."""

    store: Store
    workspace: str

    async def signs(self, account: str, arr: int = 12_000, ends: date | None = ENDS, **fields: Any) -> str:
        """A subscription with its ARR in the ledger, and the renewal that opens with it; the subscription's id."""
        told: dict[str, Any] = {"starts_on": TODAY - timedelta(days=290), "notice_days": 30, "term_months": 12} | fields
        async with writing(self.store, self.workspace) as work:
            bought = Subscription(
                id=work.ids.new("subscription"), account_id=account, ends_on=ends, arr_minor=arr * 100, currency="USD",
                **told,
            )  # fmt: skip
            work.subscriptions.add(bought)
            work.movements.add(
                ArrMovement(
                    id=work.ids.new("arr_movement"), account_id=account, subscription_id=bought.id,
                    on=bought.starts_on, kind=MovementKind.new, amount_minor=arr * 100, currency="USD",
                )
            )  # fmt: skip
            await work.flush()
            await open_due(work)
        return bought.id

    async def books_end(self, account: str, last_day: date) -> None:
        """The end of all they pay for, booked ahead as an import does."""
        async with writing(self.store, self.workspace) as work:
            there = sum(movement.amount_minor for movement in await work.movements.of_account(account))
            work.movements.add(
                ArrMovement(
                    id=work.ids.new("arr_movement"), account_id=account, on=last_day + timedelta(days=1),
                    kind=MovementKind.churn, amount_minor=-there, currency="USD",
                    source_system="folder", source_id=f"ledger:{account}:{last_day}:churn",
                )
            )  # fmt: skip

    async def ledger(self, account: str) -> list[tuple[str, str, int, str | None]]:
        async with writing(self.store, self.workspace) as work:
            found = await work.movements.of_account(account)
        return sorted((str(m.on), m.kind.value, m.amount_minor // 100, m.reason) for m in found)


async def card(ana: Desk, renewal: str) -> dict[str, Any]:
    return (await ana.done("list_renewals", renewal=renewal, detail="full"))["renewal"]


async def moves(ana: Desk, renewal: str, stage: str, **more: Any) -> Answer:
    version = (await card(ana, renewal))["version"]
    return await ana.done("move_renewal", renewal=renewal, stage=stage, expected_version=version, **more)


async def sets(ana: Desk, renewal: str, **fields: Any) -> Answer:
    version = (await card(ana, renewal))["version"]
    return await ana.done("update_renewal", renewal=renewal, expected_version=version, **fields)


async def is_known(desk: Desk, ada: Desk, account: str, nps: int) -> None:
    """Gives an account enough facts for a score: a sponsor who was met, a ticket, an answer to a survey."""
    await desk.done("save_contact", account=account, name="Priya Nair", level="c_level", department="Finance")
    await desk.done("assign_sponsor", account=account, role="executive_sponsor", contact="Priya Nair")
    met = {"kind": "call", "held_on": str(TODAY), "summary": "Talked", "attendees": [{"contact": "Priya Nair"}]}
    await desk.done("log_meeting", account=account, **met)
    about = {"account": account, "source_id": account}
    opened, answered = f"{TODAY - timedelta(days=9)}T09:00Z", f"{TODAY - timedelta(days=2)}T09:00Z"
    ticket = {"kind": "ticket", "severity": 1 if nps < 5 else 4, "opened_at": opened}
    survey = {"kind": "survey", "survey": "nps", "score": nps, "answered_at": answered}
    await ada.done("record_signals", items=[about | ticket, about | survey])
