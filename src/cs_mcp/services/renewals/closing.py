"""Moving a renewal through its stages; won and lost close it, post to the ledger and settle its subscription."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Account
from cs_mcp.domain.calendar import add_months
from cs_mcp.domain.contract import Amount, Command, Version
from cs_mcp.domain.errors import Conflict, Invalid
from cs_mcp.domain.renewals.checkpoints import REVIEWS, review_counts_from
from cs_mcp.domain.renewals.ledger import Posted, Posting, balance, lost, names_the_end, won
from cs_mcp.domain.renewals.renewals import ForecastCategory, LossReason, Renewal, RenewalStage, cycle_key
from cs_mcp.domain.renewals.stages import Known, check_move, next_stage
from cs_mcp.domain.renewals.terms import months_of, next_term_end, rolling_term_end
from cs_mcp.domain.revenue.subscriptions import ArrMovement, MovementKind, Subscription
from cs_mcp.services.history.versions import check_version
from cs_mcp.services.imports.postings import DERIVED, REVERSED
from cs_mcp.services.renewals.answer import done
from cs_mcp.services.renewals.cycles import renewal_of
from cs_mcp.services.renewals.renewals import RenewalRef, minor_of, renewal_named
from cs_mcp.services.writes import Outcome

_ONE_DAY = timedelta(days=1)
LONGEST_TERM = 120  # months
NEXT_TERM_BEGINS_WITHIN = timedelta(days=31)
_FALLS = (MovementKind.contraction, MovementKind.churn)


class MoveRenewal(Command):
    tool: ClassVar[str] = "move_renewal"

    renewal: RenewalRef
    expected_version: Version
    stage: RenewalStage
    amount: Annotated[Amount, Field(description="closed_won: ARR of the next term")] | None = None
    loss_reason: Annotated[LossReason, Field(description="closed_lost: why")] | None = None
    term_months: (
        Annotated[int, Field(ge=1, le=LONGEST_TERM, description="closed_won: next term; as before if absent")] | None
    ) = None
    ends_on: Annotated[date, Field(description="closed_won: last day of the next term, to co-term it")] | None = None
    price_change: Annotated[bool, Field(description="closed_won: the difference is price, not volume")] = False


@dataclass(slots=True)
class _Closing:
    """One renewal being closed: its subscription, and the account's ledger in the subscription's currency."""

    work: UnitOfWork
    account: Account
    renewal: Renewal
    subscription: Subscription
    movements: list[ArrMovement]
    said: list[str] = field(default_factory=list[str])

    @property
    def ends_on(self) -> date:
        """The last day of the term, as the subscription has it: a rolling one ends with the renewal's term."""
        subscription = self.subscription
        if subscription.ends_on is not None:
            return subscription.ends_on
        told = self.renewal.term_ends_on
        months = subscription.term_months
        return (rolling_term_end(subscription.starts_on, months, told) if months else None) or told

    @property
    def counts(self) -> bool:
        """Whether it is part of the account's ARR: another currency, or a trial, is not."""
        return self.subscription.currency == self.account.currency and not self.subscription.trial

    @property
    def ledger(self) -> list[Posted]:
        reversed_already = {m.reverses_id for m in self.movements}
        return [
            Posted(m.on, m.kind, m.amount_minor, m.subscription_id, None if m.id in reversed_already else m.id)
            for m in self.movements
            if m.currency == self.account.currency
        ]

    @property
    def books_ends(self) -> bool:
        after = self.ends_on + _ONE_DAY
        if self.subscription.ends_on is None:
            return False
        imported = self.subscription.source_id is not None and _is_derived(self.movements)
        return imported or names_the_end(self.ledger, self.subscription.id, after)

    def post(self, postings: list[Posting], *, new_term: str | None, reason: str | None) -> None:
        for posting in postings:
            if posting.amount_minor == 0:
                continue
            self.work.movements.add(
                ArrMovement(
                    id=self.work.ids.new("arr_movement"),
                    account_id=self.account.id,
                    subscription_id=(new_term if posting.new_term else None) or self.subscription.id,
                    on=posting.on,
                    kind=posting.kind,
                    amount_minor=posting.amount_minor,
                    currency=self.subscription.currency,
                    # An end booked ahead, or taken back, is no loss yet: why the renewal was won does not explain it.
                    reason=reason if posting.kind in _FALLS and posting.note is None else None,
                    note=posting.note,
                    reverses_id=posting.reverses,
                )
            )
            if posting.note is None:
                amount = Amount.of(posting.amount_minor, self.subscription.currency)
                self.said.append(f"Posted {posting.kind.value} of {amount} on {posting.on}.")

    # -- won ------------------------------------------------------------------------------------------------
    async def win(self, command: MoveRenewal, amount_minor: int) -> str | None:
        """The id of the next renewal."""
        old, first_day = self.subscription, self.ends_on + _ONE_DAY
        if amount_minor < old.arr_minor and command.reason is None:
            raise Invalid(
                f"Renewing at {Amount.of(amount_minor, old.currency)} instead of "
                f"{Amount.of(old.arr_minor, old.currency)} is a contraction, which needs a reason. Nothing was done.",
                remedy="Say in `reason` why ARR falls.",
            )
        ends_after = self._next_end(command, first_day)
        if self.ends_on > self.renewal.term_ends_on:
            # Its source has the next term in it already, at the ARR agreed.
            self.said.append(f"{old.id} runs to {self.ends_on} already; its ARR stays as it is.")
            return await self._open_next(old)
        if (successor := await self._in_its_source(first_day)) is not None:
            return await self._renewed_as(successor, amount_minor, first_day)
        if self.counts:
            postings = won(
                self.ledger,
                first_day=first_day,
                arr_minor=old.arr_minor,
                amount_minor=amount_minor,
                books_ends=self.books_ends,
                ends_after=ends_after,
                price_change=command.price_change,
            )
        else:
            postings = []
            self.said.append(f"No ARR was posted: the account's ledger is in {self.account.currency}, and has no rate.")
        goes_on = (
            ends_after is None and amount_minor == old.arr_minor and command.term_months in (None, old.term_months)
        )
        term = old if goes_on else self._new_term(first_day, ends_after, amount_minor, command.term_months)
        self.post(postings, new_term=term.id, reason=command.reason)
        until = f" to {term.ends_on}" if term.ends_on else ""
        self.said.append(f"Renewed from {first_day}{until} at {Amount.of(amount_minor, old.currency)} ({term.id}).")
        return await self._open_next(term)

    def _next_end(self, command: MoveRenewal, first_day: date) -> date | None:
        """The last day of the next term; None where terms follow one another without end."""
        old, told = self.subscription, command.ends_on
        if told is not None:
            if not first_day <= told < add_months(first_day, LONGEST_TERM):
                raise Invalid(
                    f"A term from {first_day} cannot end on {told}. Nothing was done.",
                    remedy=f"Give an `ends_on` after {first_day}, within {LONGEST_TERM} months of it.",
                )
            return told
        if old.ends_on is None:
            return None
        return next_term_end(old.starts_on, old.ends_on, command.term_months or old.term_months)

    async def _in_its_source(self, first_day: date) -> Subscription | None:
        """The next term, where the source has it as a subscription of its own: it begins as this one ends."""
        old = self.subscription
        if old.product is None:
            return None
        for other in await self.work.subscriptions.of_account(self.account.id):
            live = other.id != old.id and other.source_id is not None and other.canceled_on is None and not other.trial
            same = (other.product, other.currency) == (old.product, old.currency)
            if live and same and first_day <= other.starts_on <= first_day + NEXT_TERM_BEGINS_WITHIN:
                return other
        return None

    async def _renewed_as(self, successor: Subscription, amount_minor: int, first_day: date) -> str | None:
        agreed = Amount.of(successor.arr_minor, successor.currency)
        if amount_minor != successor.arr_minor:
            raise Conflict(
                f"{successor.id} of the same product runs from {successor.starts_on} at {agreed} already: a term from "
                f"{first_day} at {Amount.of(amount_minor, successor.currency)} would overlap it. Nothing was done.",
                remedy=f"Win it with amount {agreed.amount}, and {successor.id} is its next term; or correct "
                f"{successor.id} in its source.",
            )
        self.said.append(f"{successor.id} is its next term already, at {agreed}: no ARR was posted.")
        return await self._open_next(successor)

    def _new_term(self, first_day: date, ends_on: date | None, amount_minor: int, months: int | None) -> Subscription:
        """The next term is a subscription of its own: the one before keeps its days and its ARR."""
        old = self.subscription
        if old.ends_on is None:
            self.work.subscriptions.save(old.changed(ends_on=first_day - _ONE_DAY))
        length = months or old.term_months or (months_of(old.starts_on, old.ends_on) if old.ends_on else None)
        return self.work.subscriptions.add(
            old.changed(
                id=self.work.ids.new("subscription"),
                version=0,
                source_system=None,
                source_id=None,
                starts_on=first_day,
                ends_on=ends_on,
                canceled_on=None,
                arr_minor=amount_minor,
                term_months=length,
            )
        )

    async def _open_next(self, term: Subscription) -> str | None:
        # Won before the term's end, the next one to renew is the term after it.
        today = max(self.work.today, self.ends_on + _ONE_DAY) if term.ends_on is None else self.work.today
        opening = renewal_of(self.work.ids.new("renewal"), term, today)
        if opening is None:
            return None
        # An undone win leaves its renewal behind as removed; the same cycle takes it up again.
        before = await self.work.renewals.of_cycle(cycle_key(term.id, opening.term_ends_on))
        if before is None:
            self.work.renewals.add(opening.changed(owner_id=self.renewal.owner_id))
        elif before.removed_at is not None:
            kept = opening.changed(id=before.id, version=before.version, owner_id=self.renewal.owner_id)
            self.work.renewals.save(kept)
            opening = kept
        else:
            opening = before
        self.said.append(f"Opened its next renewal {opening.id}, closing {opening.closes_on}.")
        return opening.id

    # -- lost -----------------------------------------------------------------------------------------------
    def lose(self, command: MoveRenewal, why: LossReason) -> None:
        subscription, first_day = self.subscription, self.ends_on + _ONE_DAY
        books, arr = self.books_ends, subscription.arr_minor if self.counts else 0
        postings = lost(self.ledger, first_day_without=first_day, arr_minor=arr, books_ends=books)
        self.post(postings, new_term=None, reason=why.value)
        if books:
            self._explain_the_end(first_day, why)
        left = balance(self.ledger, first_day) + sum(posting.amount_minor for posting in postings)
        self.work.subscriptions.save(subscription.changed(canceled_on=first_day, auto_renew=False))
        self.said.append(f"{subscription.id} ends on {self.ends_on}.")
        if left <= 0:
            self.said.append(f"{self.account.name} has no ARR from {first_day}.")

    def _explain_the_end(self, first_day: date, why: LossReason) -> None:
        for movement in self.movements:
            named = movement.subscription_id in (None, self.subscription.id)
            if movement.on == first_day and movement.kind in _FALLS and movement.amount_minor < 0 and named:
                if movement.reason is None:
                    self.work.movements.save(movement.changed(reason=why.value))
                self.said.append(f"The ledger has its {movement.kind.value} on {first_day} already.")


def _is_derived(movements: list[ArrMovement]) -> bool:
    """Whether an import derived this ledger from subscriptions, ends included, and it stands."""
    names = {movement.source_id for movement in movements if movement.source_id is not None}
    return any(
        name.startswith(DERIVED) and not name.endswith(REVERSED) and name + REVERSED not in names for name in names
    )


class RenewalMoves:
    async def move(self, work: UnitOfWork, command: MoveRenewal) -> Outcome:
        renewal = await renewal_named(work, command.renewal)
        await check_version(work, renewal, command.expected_version, "renewal")
        account = await work.accounts.get(renewal.account_id)
        to, fields = command.stage, _fields(command, renewal)
        moved = renewal.changed(**fields)
        owned = (renewal.owner_id or account.owner_id) is not None
        since = review_counts_from(renewal.notice_deadline_on or renewal.closes_on)
        reviewed = await work.meetings.any_held(account.id, REVIEWS, since, work.today)
        check_move(Known(moved, owned=owned, reviewed=reviewed), to, reason=command.reason)
        said: list[str] = []
        following: str | None = None
        if to.is_closed:
            fields["closed_on"] = work.today
            if to is RenewalStage.closed_lost:
                fields |= {"forecast_category": ForecastCategory.omitted, "category_reason": None}
            work.renewals.save(moved.changed(stage=to, **fields))
            following = await self._close(work, account, moved, command, said)
        else:
            work.renewals.save(moved.changed(stage=to))
        await work.flush()
        renewal = work.renewals.now(renewal.id)
        return Outcome(
            record=done(renewal, account.name, following=following), triggered=said, next=_next_step(renewal)
        )

    async def _close(
        self, work: UnitOfWork, account: Account, renewal: Renewal, command: MoveRenewal, said: list[str]
    ) -> str | None:
        following: str | None = None
        if renewal.subscription_id is None:
            said.append(f"{renewal.id} names no subscription: no ARR was posted and no next renewal opened.")
        else:
            closing = _Closing(
                work,
                account,
                renewal,
                await work.subscriptions.get(renewal.subscription_id),
                await work.movements.of_account(account.id),
                said,
            )
            if command.stage is RenewalStage.closed_won:
                following = await closing.win(command, renewal.amount_minor)
            else:
                assert renewal.loss_reason is not None, "checked with the move"
                closing.lose(command, LossReason(renewal.loss_reason))
        await work.flush()
        await self._settle_renewal_day(work, account, renewal)
        return following

    async def _settle_renewal_day(self, work: UnitOfWork, account: Account, closed: Renewal) -> None:
        """The account's renewal day follows to the next term, unless it tells of another one."""
        if account.renewal_on not in (None, closed.closes_on, closed.term_ends_on):
            return
        still_open = await work.renewals.open_of_account(account.id)
        day = min((renewal.term_ends_on for renewal in still_open), default=None)
        if day != account.renewal_on:
            current = await work.accounts.get(account.id)
            work.accounts.save(current.changed(renewal_on=day))


def _fields(command: MoveRenewal, renewal: Renewal) -> dict[str, Any]:
    to, fields = command.stage, dict[str, Any]()
    if to is renewal.stage and not to.is_closed:
        raise Conflict(
            f"{renewal.id} is in {to.value} already. Nothing was done.",
            remedy="Use update_renewal for its fields, or name another stage.",
        )
    if command.amount is not None:
        fields["amount_minor"] = minor_of(command.amount, renewal)
    misplaced = [
        name
        for name, given in (
            ("term_months", command.term_months is not None),
            ("ends_on", command.ends_on is not None),
            ("price_change", command.price_change),
        )
        if given and to is not RenewalStage.closed_won
    ]
    if command.loss_reason is not None:
        if to is not RenewalStage.closed_lost:
            misplaced.append("loss_reason")
        fields["loss_reason"] = command.loss_reason.value
    if command.term_months is not None and command.ends_on is not None:
        raise Invalid("term_months and ends_on both say when the next term ends.", remedy="Give one of the two.")
    if misplaced:
        raise Invalid(
            f"{', '.join(misplaced)} does not go with stage {to.value}. Nothing was done.",
            remedy="Leave it out; term_months, ends_on and price_change go with closed_won, "
            "loss_reason with closed_lost.",
        )
    return fields


def _next_step(renewal: Renewal) -> str | None:
    to = next_stage(renewal.stage)
    if to is None:
        return None
    return f"list_renewals with renewal {renewal.id}, detail full, shows what it needs before {to.value}."
