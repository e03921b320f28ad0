"""The ledger of an import: movements that a file tells, or that subscriptions imply, and what follows for accounts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Final

from cs_mcp.db.accounts.accounts import AccountRow
from cs_mcp.db.bulk import bulk_create, bulk_update
from cs_mcp.db.read_path import Row
from cs_mcp.db.revenue.subscriptions import ArrMovementRow, SubscriptionRow
from cs_mcp.db.transfer.import_reads import ImportReads
from cs_mcp.db.unit_of_work import UnitOfWork
from cs_mcp.domain.accounts.accounts import Stage
from cs_mcp.domain.contract import Amount
from cs_mcp.domain.money import exponent
from cs_mcp.domain.revenue.currency_rates import MissingRate, Rates
from cs_mcp.domain.revenue.ledger import SubscriptionSpan, derive_movements, first_day_without, overlaps
from cs_mcp.domain.revenue.subscriptions import MovementKind
from cs_mcp.domain.text import clean_text
from cs_mcp.services.imports.columns import Columns, Concept, Known, Told, minor_of, taken, touch_after
from cs_mcp.services.imports.postings import (
    REVERSED,
    Postings,
    by_source_id,
    derived_name,
    is_derived,
    posted_name,
    stands_alone,
)
from cs_mcp.services.imports.report import ImportedRow, Looks, Refused, Tally, Warnings
from cs_mcp.services.imports.sheets import CHUNK, Draft, Sheet, update_differing
from cs_mcp.services.renewals.cycles import open_cycles

PAGE: Final = 1_000  # accounts
_RISES: Final = frozenset({MovementKind.new, MovementKind.expansion, MovementKind.reactivation})
_FALLS: Final = frozenset({MovementKind.contraction, MovementKind.churn})


def _movement(told: Told, known: Known) -> Columns:
    at = known.account_of(told)
    currency = told.get("currency") or at["currency"]
    if currency != at["currency"]:
        raise Refused(
            f"currency: the ledger of {told['account_id']} is in {at['currency']}, this movement in {currency}; "
            f"tell it in {at['currency']}, or give the account the currency {currency}"
        )
    kind, amount = told["kind"], minor_of(told["amount"], currency, "amount")
    columns: Columns = {"account_id": at["id"], "on": told["on"], "kind": kind.value, "amount_minor": amount}
    return columns | {"currency": currency} | taken(told, {"note": "note"}, clean_text)


class MovementSheet(Sheet):
    """Movements of a file. One that changed in its source is reversed and posted anew (imports_postings)."""

    concept = Concept(ArrMovementRow, _movement, lambda _c, _k: {})

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._moved: dict[str, str] = {}  # account → a movement of it that is new or told otherwise, by source id
        # Movements with the sign of the other side, by account and kind: a correction, or a size without its minus.
        self._contrary: defaultdict[tuple[str, str], list[Draft]] = defaultdict(list)

    async def prepare(self, rows: Sequence[ImportedRow]) -> None:
        await super().prepare(rows)
        wanted = sorted({key for row in rows if (key := row.told.get("subscription_id"))})
        found = await self.reads.by_source(SubscriptionRow, wanted) if wanted else {}
        self._subscriptions = {key: row["id"] for key, row in found.items()}

    def columns_of(self, row: ImportedRow, before: Row | None) -> Columns:
        columns = super().columns_of(row, before)
        if "subscription_id" in row.told:
            key = row.told["subscription_id"]
            columns["subscription_id"] = self._subscriptions.get(key)
            if key and key not in self._subscriptions:
                self.known.warnings.add(
                    Looks.unknown_record, f"movement {row.source_id}: no subscription is called {key!r}"
                )
        return columns

    async def save(self, drafts: Sequence[Draft]) -> Tally:
        opposites = await self.reads.by_source(ArrMovementRow, [d.row.source_id + REVERSED for d in drafts])
        tally = Tally()
        postings = Postings(self._new_id, self.source)
        doubtful: list[Draft] = []
        for draft in drafts:
            kind, amount = MovementKind(draft.columns["kind"]), draft.columns["amount_minor"]
            if (kind in _RISES and amount < 0) or (kind in _FALLS and amount > 0):
                self._contrary[draft.columns["account_id"], kind.value].append(draft)
            if draft.before is None:
                postings.settle(draft.row.source_id, draft.columns, {})
                self._moved[draft.columns["account_id"]] = draft.row.source_id
                tally.created += 1
            elif stands_alone(draft.before, opposites.get(draft.row.source_id + REVERSED), draft.columns):
                tally.unchanged += 1
            else:
                doubtful.append(draft)
        accounts = {account for draft in doubtful for account in _accounts_of(draft)}
        rows = by_source_id(await self.reads.movements(sorted(accounts)) if accounts else [], self.source)
        for draft in doubtful:
            posted = len(postings.creates) + len(postings.updates)
            postings.settle(draft.row.source_id, draft.columns, rows)
            if posted == len(postings.creates) + len(postings.updates):
                tally.unchanged += 1
                continue
            self._moved |= dict.fromkeys(_accounts_of(draft), draft.row.source_id)
            if draft.before is not None and draft.before["removed_at"] is not None:
                tally.restored += 1
            else:
                tally.updated += 1
        await bulk_create(self.work, ArrMovementRow, postings.creates)
        await bulk_update(self.work, ArrMovementRow, postings.updates)
        return tally

    async def finish(self) -> None:
        await super().finish()
        accounts = sorted(self._moved)
        for start in range(0, len(accounts), CHUNK):
            await self._object_to_signs(accounts[start : start + CHUNK])
            await self._object_below_zero(accounts[start : start + CHUNK])

    async def _object_to_signs(self, accounts: Sequence[str]) -> None:
        """A churn above zero corrects another one, or it is a size without its minus, and would add what was lost."""
        contrary = {key: drafts for key, drafts in self._contrary.items() if key[0] in accounts}
        if not contrary:
            return
        left = {(row["account_id"], row["kind"]): row["amount_minor"] for row in await self.reads.by_kind(accounts)}
        for (account, kind), drafts in contrary.items():
            falls = MovementKind(kind) in _FALLS
            corrects = left[account, kind] <= 0 if falls else left[account, kind] >= 0
            for draft in drafts:
                name, amount = draft.row.source_id, draft.row.told["amount"]
                if corrects:
                    self.known.warnings.add(Looks.sign, f"{name}: {kind} of {amount}, taken for a correction")
                    continue
                what = "adds ARR, and takes back no other of the account" if falls else "takes ARR away"
                remedy = f"tell it as -{amount}" if falls else "tell it as a contraction or a churn"
                self.objections[name] = (Looks.sign, f"amount: {kind} of {amount} {what}; {remedy}")

    async def _object_below_zero(self, accounts: Sequence[str]) -> None:
        """Nobody pays less than nothing: what makes an account's ledger say so is refused."""
        first = {row["account_id"]: row for row in reversed(await self.reads.below_zero(accounts))}
        movements = await self.reads.live_movements(sorted(first)) if first else []
        for account, day in first.items():
            falls = [
                row["source_id"]
                for row in movements
                if (row["account_id"], row["on"]) == (account, day["on"])
                and (row["amount_minor"] < 0 and row["source_system"] == self.source and row["source_id"])
                and not row["source_id"].endswith(REVERSED)
            ]
            name = posted_name(falls[0]) if falls else self._moved[account]
            told = Amount.of(day["arr_minor"], day["currency"])
            reason = f"amount: with it the ARR of the account is {told} on {day['on']}; correct the amount or the day"
            self.objections[name] = (Looks.below_zero, f"{reason}, or tell the movement that came before it")


def _accounts_of(draft: Draft) -> set[str]:
    return {draft.columns["account_id"], draft.before["account_id"] if draft.before else draft.columns["account_id"]}


@dataclass(slots=True)
class Untold:
    """Accounts of this import whose file leaves a figure to us: source ids."""

    segment: set[str] = field(default_factory=set[str])
    renewal_on: set[str] = field(default_factory=set[str])


@dataclass(slots=True)
class LedgerStep:
    """Derives the movements of the source's accounts, then segments, renewal dates and renewals: one page of accounts.

    An account whose movements some source tells is not derived: what was derived for it before is reversed. An account
    that has movements posted by hand is left as it is, because the same event may be in both, and that is warned of.
    """

    work: UnitOfWork
    reads: ImportReads
    warnings: Warnings
    source: str
    untold: Untold
    derives: bool
    movements: Tally
    accounts: Tally
    renewals: Tally
    rates: Rates
    gap_days: int  # without ARR for no longer, an account renewed late

    async def run(self, after: str) -> str | None:
        """Do the page that starts after an account id; its last id, or None where there is none."""
        page = await self.reads.account_page(after, PAGE)
        if not page:
            return None
        ids = [account["id"] for account in page]
        subscriptions = _grouped(await self.reads.subscriptions(ids))
        await self._post(page, subscriptions, _grouped(await self.reads.movements(ids)))
        await self.work.flush()
        own = [account for account in page if account["source_system"] == self.source]
        await self._settle_accounts(own, subscriptions, await self.reads.arr(ids))
        opened = await open_cycles(self.work, ids)
        for name, count in asdict(opened).items():
            setattr(self.renewals, name, getattr(self.renewals, name) + count)
        return page[-1]["id"]

    async def _post(
        self, page: Sequence[Row], subscriptions: Mapping[str, list[Row]], movements: Mapping[str, list[Row]]
    ) -> None:
        postings = Postings(lambda: self.work.ids.new("arr_movement"), self.source)
        for account in page:
            posted = movements.get(account["id"], [])
            live = [row for row in posted if row["removed_at"] is None]
            told = any(row["source_id"] is not None and not is_derived(row) for row in live)
            if not told and not self.derives:
                continue
            wanted = {} if told else self._wanted(account, subscriptions.get(account["id"], []))
            rows = by_source_id([row for row in posted if is_derived(row)], self.source)
            theirs = Postings(postings.new_id, self.source)
            # By what they were posted under: accounts that were merged have posted under several names.
            names = dict.fromkeys(posted_name(source_id) for source_id in rows)
            for name in {**names, **dict.fromkeys(wanted)}:
                theirs.settle(name, wanted.get(name), rows)
            if (theirs.creates or theirs.updates) and any(row["source_id"] is None for row in live):
                self.warnings.add(Looks.ledger_by_hand, account["source_id"])
                continue
            self.movements.unchanged += sum(row["removed_at"] is None for row in rows.values()) - len(theirs.updates)
            postings.creates += theirs.creates
            postings.updates += theirs.updates
        self.movements.created += len(postings.creates)
        for update in postings.updates:
            restored = "removed_at" in update.fields
            self.movements.restored += restored
            self.movements.updated += not restored
            self.movements.unchanged += restored
        await bulk_create(self.work, ArrMovementRow, postings.creates)
        await bulk_update(self.work, ArrMovementRow, postings.updates)

    def _wanted(self, account: Row, subscriptions: Sequence[Row]) -> dict[str, Columns]:
        """Derived movements by source id. A subscription in another currency than its account's is no part of ARR."""
        spans = [
            SubscriptionSpan(
                account=account["id"],
                subscription=row["id"],
                starts_on=row["starts_on"],
                first_day_without=first_day_without(ends_on=row["ends_on"], canceled_on=row["canceled_on"]),
                arr_minor=row["arr_minor"],
                trial=row["trial"],
                product=row["product"],
            )
            for row in subscriptions
            if row["currency"] == account["currency"]
        ]
        names = {row["id"]: row["source_id"] for row in subscriptions}
        for found in overlaps(spans):
            self.warnings.add(
                Looks.overlap,
                f"{names[found.first]} and {names[found.second]} of account {account['source_id']}, {found.product}, "
                f"{found.start} to {found.to or 'no end'}: end one before the other starts, or leave out one that is "
                "there twice",
            )
        return {
            derived_name(account["source_id"], movement.on, movement.kind.value): {
                "account_id": account["id"],
                "on": movement.on,
                "kind": movement.kind.value,
                "amount_minor": movement.amount_minor,
                "currency": account["currency"],
                "subscription_id": movement.subscription,
            }
            for movement in derive_movements(spans, reactivation_gap_days=self.gap_days)
        }

    async def _settle_accounts(
        self, page: Sequence[Row], subscriptions: Mapping[str, list[Row]], arr: Mapping[str, int]
    ) -> None:
        found: list[tuple[Row, Columns]] = []
        for account in page:
            columns = self._segment(account, arr[account["id"]])
            if account["source_id"] in self.untold.renewal_on:
                ends = _renews_on(subscriptions.get(account["id"], []), self.work.today)
                columns |= {"renewal_on": ends} if ends else {}
            differing = {name: value for name, value in columns.items() if account[name] != value}
            if differing:
                found.append((account, differing))
            if account["stage"] == Stage.churned.value and arr[account["id"]] > 0:
                self.warnings.add(Looks.churned_yet_paying, f"account {account['source_id']} is churned, and has ARR")
        by_hand = await self.reads.set_by_hand([account["id"] for account, _ in found]) if found else {}
        kept = [
            (account, {n: v for n, v in columns.items() if n not in by_hand.get(account["id"], ())})
            for account, columns in found
        ]
        tally = await update_differing(self.work, AccountRow, kept)
        self.accounts.updated += tally.updated

    def _segment(self, account: Row, arr_minor: int) -> Columns:
        """By ARR, where the file tells none. An account without ARR, or in a currency without a rate, keeps its own."""
        workspace, untold = self.work.workspace, account["source_id"] in self.untold.segment
        if not untold or not arr_minor:
            return {}
        try:
            rate = self.rates.on(account["currency"], workspace.currency, self.work.today)
        except MissingRate:
            return {}
        segment = workspace.segment_bounds.segment_of(
            float(arr_minor * rate.factor) / 10 ** exponent(workspace.currency)
        )
        return {"segment": segment} | touch_after(account, segment)


def _grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
    by_account: dict[str, list[Row]] = {}
    for row in rows:
        by_account.setdefault(row["account_id"], []).append(row)
    return by_account


def _renews_on(subscriptions: Sequence[Row], today: date) -> date | None:
    """The earliest end to come among live subscriptions that are no trials."""
    return min(
        (
            row["ends_on"]
            for row in subscriptions
            if row["ends_on"] is not None
            and row["starts_on"] <= today <= row["ends_on"]
            and (row["canceled_on"] is None or today < row["canceled_on"])
            and not row["trial"]
        ),
        default=None,
    )
