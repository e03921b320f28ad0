"""What closing a renewal posts to the ledger of ARR.

Two ways of keeping a ledger meet here. One posts a contract's end only when it is certain; the other, an import's,
books every end ahead and takes it back when the contract goes on. Closing a renewal keeps to the way it finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from cs_mcp.domain.revenue.subscriptions import MovementKind


class Posted(NamedTuple):
    """A live movement of the account, in the subscription's currency."""

    on: date
    kind: MovementKind
    amount_minor: int
    subscription_id: str | None
    id: str | None = None  # None: nothing may name it as taken back


class Posting(NamedTuple):
    """A movement to post. `new_term`: it belongs to the next term's subscription.

    `reverses`: the movement that it takes back whole; an end of several contracts is one movement, of which a part
    is taken back without a name.
    """

    on: date
    kind: MovementKind
    amount_minor: int
    new_term: bool
    note: str | None = None
    reverses: str | None = None


def balance(ledger: Sequence[Posted], day: date) -> int:
    """ARR at the end of `day`, in minor units."""
    return sum(posted.amount_minor for posted in ledger if posted.on <= day)


def names_the_end(ledger: Sequence[Posted], subscription: str, first_day_without: date) -> bool:
    """Whether the ledger books the end of this very subscription."""
    booked = sum(p.amount_minor for p in ledger if p.subscription_id == subscription and p.on == first_day_without)
    return booked < 0


def _fall(ledger: Sequence[Posted], on: date, amount_minor: int) -> tuple[MovementKind, int]:
    """A fall by `amount_minor` or by what there is, and its kind: churn where nothing is left."""
    there = max(0, balance(ledger, on))
    falls = min(amount_minor, there)
    return (MovementKind.churn if falls == there else MovementKind.contraction), -falls


def won(
    ledger: Sequence[Posted],
    *,
    first_day: date,
    arr_minor: int,
    amount_minor: int,
    books_ends: bool,
    ends_after: date | None,
    price_change: bool,
) -> list[Posting]:
    """The term from `first_day` runs at `amount_minor` instead of `arr_minor`; `ends_after` is its last day, if any."""
    postings: list[Posting] = []
    if books_ends:
        booked = [posted for posted in ledger if posted.on == first_day and posted.amount_minor < 0]
        whole = next((posted for posted in booked if posted.id and posted.amount_minor == -arr_minor), None)
        kind = (whole or booked[0]).kind if booked else MovementKind.churn
        note = f"Renewed: takes back the end of contract booked for {first_day}."
        reverses = whole.id if whole is not None else None
        postings.append(Posting(first_day, kind, arr_minor, new_term=False, note=note, reverses=reverses))
    difference = amount_minor - arr_minor
    if difference:
        rises = MovementKind.expansion if difference > 0 else MovementKind.contraction
        kind = MovementKind.price_change if price_change else rises
        postings.append(Posting(first_day, kind, difference, new_term=True))
    if books_ends and ends_after is not None:
        after = date.fromordinal(ends_after.toordinal() + 1)
        so_far = [*ledger, *(Posted(p.on, p.kind, p.amount_minor, None) for p in postings)]
        kind, falls = _fall(so_far, after, amount_minor)
        postings.append(Posting(after, kind, falls, new_term=True, note="The end of contract, booked ahead."))
    return postings


def lost(ledger: Sequence[Posted], *, first_day_without: date, arr_minor: int, books_ends: bool) -> list[Posting]:
    """The subscription ends; nothing is posted where the ledger has its end, or holds nothing of it."""
    if books_ends:
        return []
    kind, falls = _fall(ledger, first_day_without, arr_minor)
    return [Posting(first_day_without, kind, falls, new_term=False)] if falls else []
