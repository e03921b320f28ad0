"""A won opportunity: what it posts to the ledger, and the contract that carries it from then on.

It grows the subscription it is about, or, for a product they do not have, starts one that ends with the contract they
have. Either way the next renewal is asked for at what they will pay then.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Account
from cs_mcp.domain.calendar import add_months
from cs_mcp.domain.contract import Amount, shown
from cs_mcp.domain.errors import Ambiguous, Conflict, Invalid
from cs_mcp.domain.opportunities.expansion import Booked, growth, product_key
from cs_mcp.domain.opportunities.opportunities import Opportunity, OpportunityKind
from cs_mcp.domain.revenue.ledger import first_day_without
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind, Subscription
from cs_mcp.services.renewals.cycles import renewal_of

_ONE_DAY = timedelta(days=1)


async def win(
    work: UnitOfWork, account: Account, opportunity: Opportunity, *, on: date, reason: str | None
) -> tuple[Opportunity, list[str]]:
    """Post it, effective `on`; the opportunity with its movement and subscription, and what was done in words."""
    amount = opportunity.amount_minor or 0
    if opportunity.currency != account.currency:
        raise Conflict(
            f"{opportunity.id} is in {opportunity.currency}, the ledger of {account.name} ({account.id}) in "
            f"{account.currency}. Nothing was done.",
            remedy=f"Give the `amount` in {account.currency}; nothing is converted silently.",
        )
    said: list[str] = []
    running = [one for one in await work.subscriptions.of_account(account.id) if _runs(one, on, account.currency)]
    grown = _grown_by(opportunity, account, running)
    if grown is not None:
        contract = await _grow(work, grown, opportunity, said)
    else:
        contract = await _start(work, account, opportunity, running, on, said)
    movement = await _post(work, account, contract, opportunity, on, amount, reason, said)
    return opportunity.changed(movement_id=movement, subscription_id=contract.id), said


def _runs(subscription: Subscription, on: date, currency: str) -> bool:
    over = first_day_without(ends_on=subscription.ends_on, canceled_on=subscription.canceled_on)
    begun = subscription.starts_on <= on and (over is None or over > on)
    return begun and not subscription.trial and subscription.currency == currency


def _grown_by(opportunity: Opportunity, account: Account, running: Sequence[Subscription]) -> Subscription | None:
    """The running subscription that grows; None where a new one starts."""
    if opportunity.subscription_id is not None:
        named = next((one for one in running if one.id == opportunity.subscription_id), None)
        if named is None:
            raise Invalid(
                f"{opportunity.subscription_id} does not run on the day it was won. Nothing was done.",
                remedy=f"Name one that does: {_listed(running)}. Or clear `subscription` to start a new one.",
            )
        return named
    fitting = running
    if opportunity.product is not None:
        key = product_key(opportunity.product)
        fitting = [one for one in running if one.product is not None and product_key(one.product) == key]
    elif opportunity.kind is OpportunityKind.cross_sell:
        raise Invalid(
            f"{opportunity.id} sells another product, and does not say which. Nothing was done.",
            remedy="Give `product` in the same call.",
        )
    if len(fitting) > 1:
        raise Ambiguous(
            f"{account.name} ({account.id}) has {len(fitting)} subscriptions that this could grow: "
            f"{_listed(fitting)}. Nothing was done.",
            remedy="Name the one in `subscription`.",
        )
    return fitting[0] if fitting else None


def _listed(subscriptions: Sequence[Subscription]) -> str:
    return "; ".join(f"{shown(one.product or 'subscription')} ({one.id})" for one in subscriptions[:5]) or "none runs"


async def _grow(work: UnitOfWork, grown: Subscription, opportunity: Opportunity, said: list[str]) -> Subscription:
    amount, seats = opportunity.amount_minor or 0, opportunity.seats or 0
    fields: dict[str, int] = {"arr_minor": grown.arr_minor + amount}
    if seats and grown.seats is not None:
        fields["seats"] = grown.seats + seats
        if grown.seat_limit is not None:
            fields["seat_limit"] = max(grown.seat_limit, fields["seats"])
    contract = work.subscriptions.save(grown.changed(**fields))
    counted = f", {fields['seats']} seats" if "seats" in fields else ""
    arr = Amount.of(contract.arr_minor, contract.currency)
    said.append(f"{shown(contract.product or 'The subscription')} ({contract.id}) grows to {arr}{counted}.")
    for renewal in await work.renewals.open_of_account(contract.account_id):
        if renewal.subscription_id == contract.id:
            work.renewals.save(renewal.changed(amount_minor=renewal.amount_minor + amount))
            now = Amount.of(renewal.amount_minor + amount, renewal.currency)
            said.append(f"Its renewal {renewal.id} is asked for at {now}.")
    return contract


async def _start(
    work: UnitOfWork,
    account: Account,
    opportunity: Opportunity,
    running: Sequence[Subscription],
    on: date,
    said: list[str],
) -> Subscription:
    """A subscription of its own that ends with the largest one they have; of a year where they have none."""
    anchor = max(running, key=lambda one: (one.arr_minor, one.id), default=None)
    ends_on = anchor.ends_on if anchor is not None else add_months(on, 12) - _ONE_DAY
    contract = work.subscriptions.add(
        Subscription(
            id=work.ids.new("subscription"),
            account_id=account.id,
            product=opportunity.product,
            starts_on=on,
            ends_on=ends_on,
            arr_minor=opportunity.amount_minor or 0,
            currency=account.currency,
            seats=opportunity.seats,
            auto_renew=anchor.auto_renew if anchor is not None else None,
            term_months=anchor.term_months if anchor is not None else 12,
            notice_days=anchor.notice_days if anchor is not None else None,
        )
    )
    until = f" to {ends_on}" + (f", with {anchor.id}" if anchor is not None else "") if ends_on else ""
    said.append(f"{shown(contract.product or 'A subscription')} ({contract.id}) starts {on} and runs{until or ' on'}.")
    renewal = renewal_of(work.ids.new("renewal"), contract, work.today)
    if renewal is not None:
        work.renewals.add(renewal)
        said.append(f"Opened its renewal {renewal.id}, closing {renewal.closes_on}.")
    return contract


async def _post(
    work: UnitOfWork,
    account: Account,
    contract: Subscription,
    opportunity: Opportunity,
    on: date,
    amount: int,
    reason: str | None,
    said: list[str],
) -> str:
    """The id of the movement of `on`."""
    ledger = [
        Booked(movement.on, movement.amount_minor, movement.kind, movement.subscription_id)
        for movement in await work.movements.of_account(account.id)
        if movement.currency == account.currency
    ]
    over = first_day_without(ends_on=contract.ends_on, canceled_on=contract.canceled_on)
    posted: list[str] = []
    for one in growth(
        ledger,
        on=on,
        amount_minor=amount,
        subscription=contract.id,
        last_day=over - _ONE_DAY if over is not None else None,
    ):
        movement = ArrMovement(
            id=work.ids.new("arr_movement"),
            account_id=account.id,
            subscription_id=contract.id,
            on=one.on,
            kind=one.kind,
            amount_minor=one.amount_minor,
            currency=account.currency,
            expansion_kind=opportunity.kind.value if one.kind is MovementKind.expansion else None,
            reason=reason if one.note is None else None,
            note=one.note,
        )
        work.movements.add(movement)
        posted.append(movement.id)
        if one.note is None:
            said.append(f"Posted {one.kind.value} of {Amount.of(amount, account.currency)} on {one.on}.")
    return posted[0]
