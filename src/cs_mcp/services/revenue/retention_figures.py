"""The figures of a window, found the cheapest way that answers the question.

- `kept`: windows of a month, a quarter or a year of full months, of the whole workspace, by the default conventions:
  rows of the rollups, however large the book.
- `summed`: any window or slice of the whole workspace by the default conventions: one statement over all accounts.
- `each`: everything else, account by account, by the rules of `domain.retention`: one person's book, other
  conventions, what was known on an earlier day.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

from cs_mcp.db.read_path import Row
from cs_mcp.db.revenue import retention_lines as line
from cs_mcp.db.revenue.retention_lines import Span
from cs_mcp.db.revenue.retention_reads import About, RetentionReads, by_kind
from cs_mcp.domain.calendar import Calendar, add_months
from cs_mcp.domain.errors import Invalid
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.revenue.conventions import Conventions
from cs_mcp.domain.revenue.retention import Bar, Tally
from cs_mcp.domain.revenue.rollup import DIMENSIONS, EVERYTHING, LENGTHS, month_of
from cs_mcp.domain.revenue.subscriptions import MovementKind

MOST_CHANGES: Final = 200_000  # of movements since `known_on`
MOST_CORRECTED: Final = 20_000  # accounts by which a window may differ from a kept one
MOST_DAYS_APART: Final = 40
NO_SLICE: Final = EVERYTHING
_KINDS_OF: Final = {bar: MovementKind(bar.value) for bar in Bar}

Tallies = dict[tuple[str, str], Tally]  # slice, currency


@dataclass(frozen=True, slots=True)
class Book:
    """Whose accounts, by which rules, divided how."""

    principal: Principal
    calendar: Calendar
    conventions: Conventions
    owner: str | None = None
    slice_by: str | None = None
    custom_key: str | None = None
    known_on: date | None = None

    @property
    def by_default(self) -> bool:
        usual = Conventions(price_change=self.conventions.price_change, fx=self.conventions.fx)
        return self.conventions == usual and self.known_on is None

    @property
    def is_whole(self) -> bool:
        return self.principal.sees_all and self.owner is None


@dataclass(slots=True)
class Told:
    """A movement as it was known then; one that is known now and was not, the other way round."""

    account: str
    currency: str
    on: date
    kind: MovementKind
    amount: int


@dataclass(slots=True)
class Corrections:
    """What to add to the ledger of today to have the one that was known then."""

    told: list[Told] = field(default_factory=list[Told])

    def apply(self, lines: dict[tuple[str, str], tuple[int, dict[MovementKind, int]]], span: Span) -> None:
        for one in self.told:
            if one.on > span.end:
                continue
            opening, posted = lines.get((one.account, one.currency), (0, {}))
            if one.on < span.start:
                opening += one.amount
            else:
                posted = posted | {one.kind: posted.get(one.kind, 0) + one.amount}
            lines[one.account, one.currency] = (opening, posted)

    def touches(self, span: Span) -> bool:
        left: defaultdict[tuple[str, str, date, MovementKind], int] = defaultdict(int)
        for one in self.told:
            left[one.account, one.currency, one.on, one.kind] += one.amount
        return any(amount and key[2] <= span.end for key, amount in left.items())


class Figures:
    """Tallies of windows of one book, by slice and currency."""

    def __init__(self, reads: RetentionReads, book: Book) -> None:
        self._reads = reads
        self.book = book
        self._corrections: Corrections | None = None
        self._people: dict[str, str] | None = None
        self._accounts: list[str] | None = None

    async def accounts(self) -> list[str] | None:
        """Those that count; None: all of the workspace."""
        if self._accounts is None and not self.book.is_whole:
            self._accounts = await self._reads.accounts(self.book.principal, self.book.owner)
        return self._accounts

    # -- which way -----------------------------------------------------------------------------------------------
    async def of(self, spans: Sequence[Span]) -> list[Tallies]:
        """Of each window. Windows that are kept are read together."""
        book = self.book
        plain = book.by_default and book.is_whole and (book.slice_by or EVERYTHING) in (EVERYTHING, *DIMENSIONS)
        lengths = {_length(span) for span in spans}
        if plain and len(lengths) == 1 and (length := lengths.pop()) is not None:
            return await self._kept(spans, length)
        if plain:
            return [await self._kept_or_near(span) for span in spans]
        if book.by_default and book.is_whole:
            return [await self._summed(span) for span in spans]
        return [await self._each(span) for span in spans]

    async def about(self, span: Span) -> About:
        closed_at = self.book.calendar.end_of(span.end)
        about = await self._reads.about(self.book.principal, span, closed_at, await self.accounts())
        if self.book.known_on is not None:
            about = about._replace(restated=(await self.corrections()).touches(span))
        return about

    # -- from the rollups ----------------------------------------------------------------------------------------
    async def _kept(self, spans: Sequence[Span], length: int) -> list[Tallies]:
        lasts = [add_months(span.month_after, -1) for span in spans]
        kept = await self._reads.kept(
            self.book.principal,
            self.book.slice_by or EVERYTHING,
            length=length,
            first=min(lasts),
            until=max(span.month_after for span in spans),
        )
        return [self._of_kept(span, last, kept.book, kept.windows) for span, last in zip(spans, lasts, strict=True)]

    async def _kept_or_near(self, span: Span) -> Tallies:
        """A window that cuts months differs from one that is kept by few days: by the accounts that moved in them."""
        if (length := _length(span)) is not None:
            return (await self._kept([span], length))[0]
        near = _nearest(span, self.book.calendar.today(self._reads.store.clock.now()))
        if near is None:
            return await self._summed(span)
        principal = self.book.principal
        head = (min(span.start, near.start), max(span.start, near.start))
        ends = (span.end + timedelta(days=1), near.month_after)
        accounts = await self._reads.between(principal, head, (min(ends), max(ends)), MOST_CORRECTED + 1)
        if len(accounts) > MOST_CORRECTED:
            return await self._summed(span)
        length = _length(near)
        assert length is not None
        [found] = await self._kept([near], length)
        if not accounts:
            return found
        for window, sign in ((near, -1), (span, 1)):
            for key, tally in (await self._summed(window, accounts)).items():
                found.setdefault(key, Tally()).plus(tally, sign=sign)
        return {
            key: tally for key, tally in found.items() if tally.starting or tally.apart or any(tally.accounts.values())
        }

    def _of_kept(self, span: Span, last: date, book: Sequence[Row], windows: Sequence[Row]) -> Tallies:
        found: defaultdict[tuple[str, str], Tally] = defaultdict(Tally)
        for row in book:
            if row["month"] < span.start:
                tally = found[row["value"], row["currency"]]
                tally.starting += row["amount_minor"]
                tally.apart += row["below_minor"]
                tally.at_start += row["accounts"]
        for row in windows:
            if row["last_month"] == last:
                tally, bar = found[row["value"], row["currency"]], Bar(row["bar"])
                tally.moved[row["in_cohort"], bar] += row["amount_minor"]
                tally.accounts[bar] += row["accounts"]
                if bar is Bar.churn and row["in_cohort"]:
                    tally.lost += row["accounts"]
        return {
            key: tally for key, tally in found.items() if tally.starting or tally.apart or any(tally.accounts.values())
        }

    # -- one statement over the book -----------------------------------------------------------------------------
    async def _summed(self, span: Span, accounts: Sequence[str] | None = None) -> Tallies:
        """Of all accounts, or of those named."""
        book = self.book
        rows = await self._reads.sums(
            book.principal,
            span,
            accounts=accounts,
            slice_by=book.slice_by,
            custom_key=book.custom_key,
            began_at=book.calendar.start_of(span.start),
        )
        found: defaultdict[tuple[str, str], Tally] = defaultdict(Tally)
        for row in rows:
            label = await self._label(row) if book.slice_by is not None else NO_SLICE
            _add_sums(found[label, row["currency"]], row)
        return dict(found)

    # -- account by account --------------------------------------------------------------------------------------
    async def _each(self, span: Span) -> Tallies:
        book = self.book
        lines = {
            (row["account_id"], row["currency"]): (row["opening"], by_kind(row))
            for row in await self._reads.lines(book.principal, span, await self.accounts())
        }
        if book.known_on is not None:
            (await self.corrections()).apply(lines, span)
        return await self.tallied(span, lines)

    async def tallied(
        self, span: Span, lines: Mapping[tuple[str, str], tuple[int, Mapping[MovementKind, int]]]
    ) -> Tallies:
        labels = await self._labels(span)
        found: defaultdict[tuple[str, str], Tally] = defaultdict(Tally)
        for (account, currency), (opening, posted) in lines.items():
            label = NO_SLICE if labels is None else labels.get(account, "none")
            found[label, currency].add(account, opening, posted, self.book.conventions)
        return {key: tally for key, tally in found.items() if tally.starting or tally.apart or tally.by_bar}

    async def largest(self, span: Span, bars: Iterable[Bar]) -> dict[str, Tally]:
        """Of the whole workspace, by currency: the accounts with the largest movements, with what each netted to."""
        kinds = [_KINDS_OF[bar] for bar in bars]
        accounts = await self._reads.largest(self.book.principal, span, kinds)
        found: defaultdict[str, Tally] = defaultdict(Tally)
        for row in await self._reads.lines(self.book.principal, span, accounts):
            found[row["currency"]].add(row["account_id"], row["opening"], by_kind(row), self.book.conventions)
        return dict(found)

    # -- what was known then -------------------------------------------------------------------------------------
    async def corrections(self) -> Corrections:
        if self._corrections is None:
            assert self.book.known_on is not None
            until = self.book.calendar.end_of(self.book.known_on)
            seq = await self._reads.entry_at(self.book.principal, until)
            entries, movements = await self._reads.since(
                self.book.principal, seq, MOST_CHANGES + 1, await self.accounts()
            )
            if len(entries) > MOST_CHANGES:
                raise Invalid(
                    f"More than {MOST_CHANGES} changes of the ledger were made since {self.book.known_on}.",
                    remedy="Give a later known_on, or ask about one owner's accounts.",
                )
            self._corrections = corrections(entries, movements)
        return self._corrections

    # -- slices --------------------------------------------------------------------------------------------------
    async def _labels(self, span: Span) -> dict[str, str] | None:
        book = self.book
        if book.slice_by is None:
            return None
        began_at = book.calendar.start_of(span.start)
        accounts = await self.accounts()
        rows = await self._reads.attributes(
            book.principal, span, book.slice_by, accounts=accounts, custom_key=book.custom_key, began_at=began_at
        )
        return {row["account_id"]: await self._label(row) for row in rows}

    async def _label(self, row: Row) -> str:
        value: Any = row["slice_now"]
        if self.book.slice_by == "cohort":
            return "none" if value is None else f"{value.year}-Q{(value.month + 2) // 3}"
        if row["slice_changed"] or (self.book.slice_by == "custom" and value is not None):
            then = row["slice_then"] if row["slice_changed"] else value
            value = json.loads(then) if then is not None else None
        if value is None or value == "":
            return "none"
        if self.book.slice_by == "owner":
            if self._people is None:
                self._people = await self._reads.people(self.book.principal)
            return f"{self._people.get(value, '?')} ({value})"
        return json.dumps(value) if isinstance(value, bool) else str(value)


def _length(span: Span) -> int | None:
    """In months, where the window is one that is kept."""
    if span.is_cut:
        return None
    months = month_of(span.month_after) - month_of(span.start)
    return months if months in LENGTHS else None


def _nearest(span: Span, today: date) -> Span | None:
    """The kept window that differs from this one by the fewest days, if those are few.

    Days to come do not count: little is told of them ahead. So a window that ends today is the one of its whole month.
    """
    after, tomorrow = span.end + timedelta(days=1), today + timedelta(days=1)
    found: list[tuple[int, Span]] = []
    for first in (span.opening_month, add_months(span.opening_month, 1)):
        for length in LENGTHS:
            end = add_months(first, length)
            days = abs((span.start - first).days) + abs((after - min(end, tomorrow)).days)
            found.append((days, Span.of(first, end - timedelta(days=1))))
    days, near = min(found, key=lambda one: one[0])
    return near if days <= MOST_DAYS_APART else None


def _add_sums(tally: Tally, row: Row) -> None:
    bar, accounts, net = row["bar"], row["accounts"], row["net"]
    there = bar in (line.KEPT, line.RISE, line.CONTRACTION, line.CHURN)
    if there:
        tally.starting += row["opening"]
        tally.at_start += accounts
    else:
        tally.apart += row["opening"]
    if bar == line.RISE:
        parts = ((Bar.price_change, row["price"], row["priced"]), (Bar.expansion, net - row["price"], row["rest"]))
    else:
        told = {line.BELOW_RISE: Bar.expansion, line.BELOW_FALL: Bar.contraction}.get(bar)
        if told is None and bar in (line.CHURN, line.CONTRACTION, line.NEW, line.REACTIVATION):
            told = Bar(bar)
        parts = () if told is None else ((told, net, accounts),)
    for told, amount, count in parts:
        if count:
            tally.moved[there, told] += amount
            tally.accounts[told] += count
    tally.lost += accounts if bar == line.CHURN else 0


def corrections(entries: Sequence[Row], movements: Mapping[str, Row]) -> Corrections:
    """From the entries made since then, newest first, and the movements as they are now."""
    then: dict[str, dict[str, Any] | None] = {}
    for entry in entries:
        movement = entry["entity_id"]
        state = then[movement] if movement in then else dict(movements[movement])
        if entry["kind"] == "created":
            then[movement] = None
        else:
            then[movement] = None if state is None else state | (entry["before"] or {})
    found = Corrections()
    for movement, state in then.items():
        for known, sign in ((movements[movement], -1), (state, 1)):
            if known is not None and known["removed_at"] is None:
                found.told.append(_told(known, sign))
    return found


def _told(known: Mapping[str, Any], sign: int) -> Told:
    on = known["on"] if isinstance(known["on"], date) else date.fromisoformat(known["on"])
    return Told(known["account_id"], known["currency"], on, MovementKind(known["kind"]), sign * known["amount_minor"])
