"""Expansion in the demo book: what a customer's file tells of opportunities, as records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from cs_mcp.demo.book import Chance, Customer
from cs_mcp.domain.health.risks import Evidence
from cs_mcp.domain.identity import Member
from cs_mcp.domain.money import Money
from cs_mcp.domain.opportunities.opportunities import Opportunity, OpportunityStage
from cs_mcp.domain.records import Ids
from cs_mcp.domain.revenue.subscriptions import ArrMovement


def opportunities_of(
    customer: Customer,
    account: str,
    ledger: Mapping[date, ArrMovement],
    members: Mapping[str, Member],
    today: date,
    ids: Ids,
) -> Iterator[Opportunity]:
    """`ledger`: the account's movements by day. A won one names the movement of its day, which its contract posted."""

    def day(days: int | None) -> date | None:
        return None if days is None else today + timedelta(days=days)

    def worked_on(chance: Chance) -> dict[str, Any]:
        posted = ledger.get(today + timedelta(days=chance.closed)) if chance.closed is not None else None
        won = chance.stage is OpportunityStage.won and posted is not None
        return {
            "movement_id": posted.id if won and posted else None,
            "subscription_id": posted.subscription_id if won and posted else None,
        }

    for chance in customer.opportunities:
        starts, ends = chance.pilot or (None, None)
        yield Opportunity(
            id=ids.new("opportunity"),
            account_id=account,
            name=chance.name,
            kind=chance.kind,
            trigger=chance.trigger,
            evidence=[Evidence(what=seen.what, on=day(seen.on)) for seen in chance.evidence],
            hypothesis=chance.hypothesis,
            product=chance.product,
            department=chance.department,
            seats=chance.seats,
            pilot_from=day(starts),
            pilot_to=day(ends),
            success_criteria=chance.success_criteria,
            stage=chance.stage,
            amount_minor=Money.of(chance.amount, customer.currency).minor if chance.amount else None,
            currency=customer.currency,
            opened_on=today + timedelta(days=chance.opened),
            expected_on=day(chance.expected),
            closed_on=day(chance.closed),
            early_answer=chance.early_answer,
            lost_reason=chance.lost_reason,
            owner_id=members[chance.owner].id if chance.owner else None,
            **worked_on(chance),
        )
