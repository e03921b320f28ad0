"""Tiers proposed for the customers a caller sees, with reasons. It changes none: a person adopts by update_accounts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Annotated, Any, Final

from cs_mcp.db.accounts.tier_reads import TierReads
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.domain.accounts.accounts import Tier
from cs_mcp.domain.accounts.tiers import CustomerFacts, TierProposal, propose
from cs_mcp.domain.calendar import add_months
from cs_mcp.domain.contract import Amount, InOrder, View, shown
from cs_mcp.domain.identity import Principal
from cs_mcp.domain.money import exponent
from cs_mcp.domain.revenue.currency_rates import MissingRate, Rates
from cs_mcp.services.accounts.bulk import MOST_ACCOUNTS
from cs_mcp.services.accounts.views import PersonRef
from cs_mcp.services.criteria import default_tier_text, tier_criteria

REASONS_SHOWN: Final = 5


class TierLine(View):
    """A customer whose tier should be another. `score` is out of 100, from criteria of `known` of the weights."""

    account: PersonRef
    owner: PersonRef | None = None
    arr: Amount
    tier: str
    proposed: str
    score: float | None = None
    known: float
    reasons: list[str]

    def text(self, nonce: str) -> str:
        scored = f"{self.score:.0f} points, {self.known:.0%} known" if self.score is not None else "no points"
        why = "; ".join(shown(reason) for reason in self.reasons)
        return f"- {self.account.text(nonce)}, ARR {self.arr}: {self.tier} → {self.proposed} ({scored}): {why}"


class Adoption(View):
    """The call that makes a proposal true, for a person to preview and commit."""

    tier: str
    accounts: list[str]

    def text(self, nonce: str) -> str:
        return (
            f"To adopt {self.tier}: update_accounts with tier '{self.tier}', a reason, and accounts "
            f"{', '.join(self.accounts)}"
        )


class TierReport(View):
    """`customers` by the tier they have and by the one proposed; `lines` are those that should move, largest first."""

    as_of: date
    scope: str
    criteria: str
    customers: int
    now: Annotated[dict[str, int], InOrder]
    proposed: Annotated[dict[str, int], InOrder]
    lines: list[TierLine]
    adopt: list[Adoption] = []
    without_rate: list[PersonRef] = []

    def text(self, nonce: str) -> str:
        lines = [
            f"# Tiers of {self.customers} customers as of {self.as_of}, {self.scope}, by criteria {self.criteria}",
            "; ".join(
                f"{tier.value}: {self.now.get(tier.value, 0)} now, {self.proposed.get(tier.value, 0)} proposed"
                for tier in Tier
            ),
        ]
        lines += [line.text(nonce) for line in self.lines] or ["Every customer has the tier that is proposed."]
        lines += [one.text(nonce) for one in self.adopt]
        if self.without_rate:
            named = ", ".join(one.text(nonce) for one in self.without_rate)
            lines.append(f"Not ranked, for want of an exchange rate: {named}")
        return "\n".join(lines)


class TierProposals:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._reads = TierReads(store)

    async def propose(self, principal: Principal, criteria_text: str | None = None) -> TierReport:
        """By the criteria that come with cs-mcp, or by those in `criteria_text`; Invalid where they cannot be used."""
        criteria = tier_criteria(criteria_text if criteria_text is not None else default_tier_text())
        profile = await self._store.workspace(principal.workspace)
        today = profile.calendar.today(self._store.clock.now())
        rows = {row["id"]: row for row in await self._reads.customers(principal)}
        known = await self._reads.known(principal, list(rows), today, add_months(today, -12), profile.calendar)
        rates = await self._reads.rates(principal)
        customers: list[CustomerFacts] = []
        without_rate: list[PersonRef] = []
        for row in rows.values():
            arr = _in(profile.currency, row, rates, today)
            if arr is None:
                without_rate.append(PersonRef(id=row["id"], name=row["name"]))
            else:
                customers.append(_facts(row, known.get(row["id"], {}), arr))
        proposals = propose(customers, criteria)
        moving = [one for one in proposals if one.moves]
        return TierReport(
            as_of=today,
            scope="the whole workspace" if principal.sees_all else "the accounts you see",
            criteria=criteria.version,
            customers=len(proposals),
            now=Counter(one.tier.value for one in proposals),
            proposed=Counter(one.proposed.value for one in proposals),
            lines=[_line(one, rows[one.account]) for one in moving],
            adopt=_adoptions(moving),
            without_rate=without_rate,
        )


def _in(currency: str, row: Row, rates: Rates, today: date) -> Fraction | None:
    """ARR in major units of the workspace's currency; None without a rate: nothing is compared across currencies."""
    try:
        rate = rates.on(row["currency"], currency, today)
    except MissingRate:
        return None
    return row["arr_minor"] * rate.factor / 10 ** exponent(currency)


def _facts(row: Row, known: Mapping[str, Any], arr: Fraction) -> CustomerFacts:
    tickets = [known[name] for name in ("tickets_30", "tickets_prev_60") if known.get(name) is not None]
    then = known.get("then_minor") or 0
    return CustomerFacts(
        account=row["id"],
        tier=Tier(row["tier"]),
        arr=arr,
        industry=row["industry"],
        tags=row["tags"],
        employees=row["employees"],
        seats=_whole(known.get("seats_licensed")),
        grown=known["grown_minor"] / then if then > 0 else None,
        term_months=_whole(known.get("term_months")),
        auto_renew=known.get("auto_renew"),
        tickets_90=_whole(sum(tickets)) if tickets else None,
        champion=known.get("champion_present"),
        nps=known.get("nps_latest"),
        integrations=_whole(known.get("integrations")),
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _line(one: TierProposal, row: Row) -> TierLine:
    return TierLine(
        account=PersonRef(id=row["id"], name=row["name"]),
        owner=PersonRef(id=row["owner_id"], name=row["owner_name"] or "?") if row["owner_id"] else None,
        arr=Amount.of(row["arr_minor"], row["currency"]),
        tier=one.tier.value,
        proposed=one.proposed.value,
        score=round(one.score, 1) if one.score is not None else None,
        known=round(one.known_weight, 2),
        reasons=one.reasons[:REASONS_SHOWN],
    )


def _adoptions(moving: Sequence[TierProposal]) -> list[Adoption]:
    """By tier, and no more accounts a call than update_accounts takes."""
    by_tier = {tier: [one.account for one in moving if one.proposed is tier] for tier in Tier}
    return [
        Adoption(tier=tier.value, accounts=ids[start : start + MOST_ACCOUNTS])
        for tier, ids in by_tier.items()
        for start in range(0, len(ids), MOST_ACCOUNTS)
    ]
