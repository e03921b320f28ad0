"""Who is high-value, as a metric: tiers as they are and as proposed, and why. It changes none."""

from __future__ import annotations

from collections import Counter

from cs_mcp.db.store import Store
from cs_mcp.domain.accounts.accounts import Tier
from cs_mcp.domain.contract import LeftOut, shown
from cs_mcp.services.accounts.tiers import TierLine, TierProposals
from cs_mcp.services.metrics.metrics import Asked, Definition, Measured, MetricRow, MetricTable

COUNTED = "customers by tier, as they are → as proposed"
MOVES = "customers whose tier should be another, largest first; points of 100, ARR, and why"


class Tiers(Definition):
    past = False
    period = False

    def __init__(self, store: Store) -> None:
        self._proposals = TierProposals(store)

    async def measure(self, asked: Asked) -> Measured:
        report = await self._proposals.propose(asked.principal)
        lines = [
            line
            for line in report.lines
            if asked.owner is None or (line.owner is not None and line.owner.id == asked.owner.id)
        ]
        kept = lines[: asked.limit]
        counted = [
            MetricRow(label=tier.value, before=now, after=then, change=then - now)
            for tier in Tier
            for now, then in [(report.now.get(tier.value, 0), report.proposed.get(tier.value, 0))]
        ]
        told = Measured(
            [
                MetricTable(name="tiers", formula=f"{COUNTED}; criteria {report.criteria}", rows=counted),
                MetricTable(name="moves", formula=MOVES, rows=[_row(line) for line in kept]),
            ],
            notes=[f"Ranked among the {report.customers} customers you see."],
        )
        adopted = Counter(line.proposed for line in kept)
        told.notes += [_adopting(tier, adopted[tier]) for tier in sorted(adopted)]
        if report.without_rate:
            names = ", ".join(one.text("") for one in report.without_rate[: asked.limit])
            told.notes.append(f"{len(report.without_rate)} not ranked, for want of an exchange rate: {names}")
        if len(lines) > len(kept):
            call = "get_metrics with metric 'tiers' and a larger limit, or one owner"
            told.left_out.append(LeftOut(what=f"{len(lines) - len(kept)} of {len(lines)} moves", call=call))
        return told


def _row(line: TierLine) -> MetricRow:
    return MetricRow(
        account=line.account,
        label=f"{line.tier} → {line.proposed}",
        value=line.score,
        arr=[line.arr],
        formula="; ".join(shown(reason) for reason in line.reasons),
    )


def _adopting(tier: str, count: int) -> str:
    return (
        f"A person adopts {tier} for these {count}: update_accounts with their ids as accounts, tier '{tier}', a reason"
    )
