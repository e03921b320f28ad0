"""Saving an opportunity: found, worked on, won or lost. Winning is in `opportunities.winning`."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from cs_mcp.db.opportunities.expansion_reads import shown_roi
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Account, OnboardingStatus
from cs_mcp.domain.contract import AccountRef, Amount, Command, Name, Ref, ShortText, UserRef, Version, shown
from cs_mcp.domain.errors import Conflict, Invalid
from cs_mcp.domain.money import Money
from cs_mcp.domain.opportunities.expansion import Value, early_because, product_key
from cs_mcp.domain.opportunities.opportunities import (
    EarlyAnswer,
    ExpansionTrigger,
    Opportunity,
    OpportunityKind,
    OpportunityStage,
    check_dates,
    check_move,
    lacking,
    next_stage,
    refuse_closed,
)
from cs_mcp.domain.records import is_id
from cs_mcp.services.criteria import expansion_criteria
from cs_mcp.services.health.risks import GivenEvidence, checked_evidence
from cs_mcp.services.history.versions import check_version
from cs_mcp.services.naming import Names
from cs_mcp.services.opportunities.opportunities import OpportunityRef, unknown
from cs_mcp.services.opportunities.views import opportunity_view
from cs_mcp.services.opportunities.winning import win
from cs_mcp.services.writes import Outcome

# What a wrong value of is worse than none: the rest is set anew.
Clearable = Literal["product", "department", "subscription", "seats", "expected_on", "owner"]
_PLAIN: Final = (
    "name", "kind", "trigger", "hypothesis", "product", "department", "seats", "pilot_from", "pilot_to",
    "success_criteria", "expected_on", "early_answer", "lost_reason",
)  # fmt: skip
_COLUMN: Final = {"owner": "owner_id", "subscription": "subscription_id"}


class SeenFor(GivenEvidence):
    """Evidence, described once where it is listed."""

    what: ShortText
    record: Ref | None = None
    on: date | None = None


class SaveOpportunity(Command):
    tool: ClassVar[str] = "save_opportunity"

    account: Annotated[AccountRef, Field(description="Of a new one")] | None = None
    opportunity: OpportunityRef | None = None
    expected_version: Version | None = None
    name: Name | None = None
    kind: OpportunityKind | None = None
    trigger: ExpansionTrigger | None = None
    evidence: (
        Annotated[
            list[SeenFor], Field(max_length=20, description="Added: what was seen, in which record (id), on which day")
        ]
        | None
    ) = None
    hypothesis: Annotated[ShortText, Field(description="What more they would get of it")] | None = None
    product: Annotated[Name, Field(description="Of a cross-sell: what they would buy")] | None = None
    department: Name | None = None
    subscription: Annotated[Ref, Field(description="Id of the one it grows")] | None = None
    seats: Annotated[int, Field(ge=1, le=1_000_000, description="How many more")] | None = None
    pilot_from: date | None = None
    pilot_to: date | None = None
    success_criteria: Annotated[ShortText, Field(description="What the pilot must show")] | None = None
    stage: OpportunityStage | None = None
    amount: Annotated[Amount, Field(description="ARR it adds")] | None = None
    expected_on: date | None = None
    closed_on: Annotated[date, Field(description="Won or lost on, and ARR from; today when absent")] | None = None
    early_answer: Annotated[EarlyAnswer, Field(description="Would they buy if the pilot holds?")] | None = None
    lost_reason: ShortText | None = None
    owner: UserRef | None = None
    allow_duplicate: Annotated[bool, Field(description="Needs `reason`")] = False
    clear: list[Clearable] | None = None


class OpportunitySaving:
    async def save(self, work: UnitOfWork, command: SaveOpportunity) -> Outcome:
        if command.opportunity is None:
            account, before = await _new(work, command)
        else:
            before = await _known(work, command)
            account = await work.accounts.get(before.account_id)
        after = before.changed(**await _fields(work, account, command))
        after = after.with_evidence(await checked_evidence(work, account, command.evidence or ()))
        check_dates(after)
        to, said = command.stage or before.stage, list[str]()
        if to is not before.stage:
            owned = (after.owner_id or account.owner_id) is not None
            check_move(after, to, owned=owned, reason=command.reason)
            after = after.changed(stage=to)
            if to.is_closed:
                after = await _closed(work, account, after, command, said)
        elif command.closed_on is not None or (command.lost_reason is not None and not to.is_closed):
            raise Invalid(
                "closed_on and lost_reason go with stage won or lost. Nothing was done.",
                remedy="Give `stage` too, or leave them out.",
            )
        if command.opportunity is None:
            work.opportunities.add(after)
        else:
            work.opportunities.save(after)
        await work.flush()
        return await _told(work, account, work.opportunities.now(after.id), said)


async def _known(work: UnitOfWork, command: SaveOpportunity) -> Opportunity:
    assert command.opportunity is not None
    if not is_id(command.opportunity, "opportunity"):
        raise unknown(command.opportunity)
    known = await work.opportunities.get(command.opportunity)
    if command.expected_version is None:
        raise Invalid(
            f"{known.id} is there already, at version {known.version}. Nothing was done.",
            remedy="Give expected_version as you last read it.",
        )
    await check_version(work, known, command.expected_version, "opportunity")
    refuse_closed(known)
    if command.account is not None:
        match = await Names.writing(work).account(command.account)
        if match.id != known.account_id:
            raise Invalid(
                f"{known.id} belongs to {known.account_id}, not to {shown(match.name)} ({match.id}). Nothing was done.",
                remedy="Leave `account` out: an opportunity stays with its account.",
            )
    return known


async def _new(work: UnitOfWork, command: SaveOpportunity) -> tuple[Account, Opportunity]:
    missing = [name for name in ("account", "name", "kind") if getattr(command, name) is None]
    if command.account is None or command.name is None or command.kind is None:
        raise Invalid(
            f"A new opportunity needs {', '.join(missing)}. Nothing was done.",
            remedy="Give them, or name the one to change in `opportunity`: list_opportunities shows the ids.",
        )
    if command.expected_version is not None:
        raise Invalid(
            "expected_version goes with `opportunity`. Nothing was done.",
            remedy="Name the one to change in `opportunity`, or leave expected_version out for a new one.",
        )
    account = await work.accounts.get((await Names.writing(work).account(command.account)).id)
    twins = [
        one
        for one in await work.opportunities.open_of_account(account.id)
        if one.kind is command.kind
        and _same(one.product, command.product)
        and _same(one.department, command.department)
    ]
    if command.allow_duplicate and command.reason is None:
        raise Invalid("allow_duplicate needs a reason.", remedy="Say in `reason` why a second one is right.")
    if twins and not command.allow_duplicate:
        listed = "; ".join(f"{shown(one.name)} ({one.id}, {one.stage.value}, v{one.version})" for one in twins[:5])
        raise Conflict(
            f"{account.name} ({account.id}) has an open {command.kind.value} opportunity: {listed}. Nothing was done.",
            remedy="Add to it with `opportunity` and expected_version; or, where it is another one, "
            "set allow_duplicate and say why in `reason`.",
        )
    opened = Opportunity(
        id=work.ids.new("opportunity"),
        account_id=account.id,
        name=command.name,
        kind=command.kind,
        currency=account.currency,
        opened_on=work.today,
    )
    return account, opened


def _same(one: str | None, other: str | None) -> bool:
    return (one and product_key(one)) == (other and product_key(other))


async def _fields(work: UnitOfWork, account: Account, command: SaveOpportunity) -> dict[str, Any]:
    fields: dict[str, Any] = {name: value for name in _PLAIN if (value := getattr(command, name)) is not None}
    if command.amount is not None:
        fields |= {"amount_minor": _minor(command.amount, account), "currency": account.currency}
    if command.owner is not None:
        fields["owner_id"] = (await Names.writing(work).member(command.owner)).id
    if command.subscription is not None:
        fields["subscription_id"] = await _subscription(work, account, command.subscription)
    for name in command.clear or ():
        column = _COLUMN.get(name, name)
        if column in fields:
            raise Invalid(f"{name} is both set and cleared.", remedy="Give it in one of the two only.")
        fields[column] = None
    return fields


def _minor(amount: Amount, account: Account) -> int:
    money = Money.of(amount.amount, amount.currency)
    if amount.currency != account.currency:
        raise Invalid(
            f"{account.name} ({account.id}) is in {account.currency}, the amount given in {amount.currency}. "
            "Nothing was done.",
            remedy=f"Give the amount in {account.currency}; nothing is converted silently.",
        )
    if money.minor <= 0:
        raise Invalid(f"An expansion of {amount} adds nothing. Nothing was done.", remedy="Give the ARR it would add.")
    return money.minor


async def _subscription(work: UnitOfWork, account: Account, ref: str) -> str:
    there = await work.subscriptions.of_account(account.id)
    if ref in {one.id for one in there}:
        return ref
    listed = "; ".join(f"{shown(one.product or 'subscription')} ({one.id})" for one in there[:5])
    raise Invalid(
        f"{shown(ref)!r} is no subscription of {account.name} ({account.id}). Nothing was done.",
        remedy=f"Name one by its id: {listed}." if listed else "They have none; leave it out.",
    )


async def _closed(
    work: UnitOfWork, account: Account, opportunity: Opportunity, command: SaveOpportunity, said: list[str]
) -> Opportunity:
    on = command.closed_on or work.today
    if on > work.today:
        raise Invalid(f"closed_on {on} is in the future; today is {work.today}.", remedy="Give the day it was closed.")
    if opportunity.stage is OpportunityStage.won:
        opportunity, done = await win(work, account, opportunity, on=on, reason=command.reason)
        said += done
    return opportunity.changed(closed_on=on)


async def _told(work: UnitOfWork, account: Account, opportunity: Opportunity, said: list[str]) -> Outcome:
    roi = await shown_roi(work, account.id)
    onboarded = account.onboarding_status is OnboardingStatus.complete
    value = Value(roi, onboarded, None, account.health_band.value)
    early = early_because(value, expansion_criteria(), work.today)
    if early and not opportunity.stage.is_closed:
        said.append(f"Too early to ask for it: {'; '.join(early)}. Prove the value first.")
    responsible = opportunity.owner_id or account.owner_id
    view = opportunity_view(
        opportunity,
        account.name,
        await work.members.names([responsible]),
        responsible=responsible,
        early=early,
        full=True,
    )
    return Outcome(record=view, triggered=said, next=_next(opportunity, responsible is not None))


def _next(opportunity: Opportunity, owned: bool) -> str | None:
    to = next_stage(opportunity.stage)
    if to is None:
        return None
    missing = lacking(opportunity, to, owned=owned)
    needs = f"needs {', '.join(missing)}" if missing else "has all it needs"
    return (
        f"Next is {to.value}; it {needs} (save_opportunity {opportunity.id}, expected_version {opportunity.version})."
    )
