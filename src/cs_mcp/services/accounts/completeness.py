"""The metric `completeness`: which accounts lack which field or feed that their health and renewal need, by CSM."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from cs_mcp.db.accounts.completeness import CompletenessReads
from cs_mcp.db.read_path import Row
from cs_mcp.db.store import Store
from cs_mcp.domain.accounts.completeness import REQUIRED, REQUIRED_FEEDS
from cs_mcp.domain.contract import LeftOut
from cs_mcp.services.accounts.views import PersonRef
from cs_mcp.services.metrics.metrics import Asked, Definition, Measured, MetricRow, MetricTable, amounts

_FORMULA: Final = "accounts that are not churned"


class Completeness(Definition):
    past = False
    period = False

    def __init__(self, store: Store) -> None:
        self._reads = CompletenessReads(store)

    async def measure(self, asked: Asked) -> Measured:
        owner = asked.owner.id if asked.owner else None
        sums, accounts = await self._reads.read(asked.principal, owner, asked.limit)
        left_out: list[LeftOut] = []
        if len(accounts) > asked.limit:
            left_out.append(
                LeftOut(what="further accounts with gaps", call="find_accounts with `missing`, one gap at a time")
            )
        tables = [_gaps(sums), _owners(sums), _accounts(accounts[: asked.limit])]
        return Measured(tables=tables, notes=_notes(sums), left_out=left_out)


def _gaps(sums: Sequence[Row]) -> MetricTable:
    total = sum(row["accounts"] for row in sums)
    rows: list[MetricRow] = []
    for name in REQUIRED:
        lacking = sum(row[f"lacks_{name}"] for row in sums)
        if lacking:
            arr: dict[str, int] = defaultdict(int)
            for row in sums:
                if row[f"lacks_{name}"]:
                    arr[row["currency"]] += row[f"arr_{name}"]
            rows.append(MetricRow(label=name, accounts=lacking, share=round(lacking / total, 4), arr=amounts(arr)))
    rows.sort(key=lambda row: -(row.accounts or 0))
    return MetricTable(name="by_gap", formula=f"{_FORMULA} and lack it, their share of all and their ARR", rows=rows)


def _owners(sums: Sequence[Row]) -> MetricTable:
    names: dict[str | None, str] = {row["owner_id"]: row["owner_name"] or "?" for row in sums}
    rows: list[MetricRow] = []
    for owner, name in names.items():
        mine = [row for row in sums if row["owner_id"] == owner]
        total = sum(row["accounts"] for row in mine)
        lacking = {gap: sum(row[f"lacks_{gap}"] for row in mine) for gap in REQUIRED}
        worst = sorted((gap for gap in REQUIRED if lacking[gap]), key=lambda gap: -lacking[gap])
        rows.append(
            MetricRow(
                slice="no owner" if owner is None else f"{name} ({owner})",
                accounts=total,
                share=round(sum(row["complete"] for row in mine) / total, 4),
                arr=amounts({row["currency"]: row["arr_minor"] for row in mine}),
                lacks=[f"{gap} on {lacking[gap]}" for gap in worst],
            )
        )
    rows.sort(key=lambda row: (row.share or 0, -(row.accounts or 0), row.slice or ""))
    return MetricTable(
        name="by_owner",
        formula=f"{_FORMULA}, by owner; share of them that lack nothing; on how many each gap is",
        rows=rows,
    )


def _accounts(rows: Sequence[Row]) -> MetricTable:
    return MetricTable(
        name="accounts",
        formula="accounts that lack something, largest ARR first",
        rows=[
            MetricRow(
                account=PersonRef(id=row["id"], name=row["name"]),
                arr=amounts({row["currency"]: row["arr_minor"]}),
                lacks=[name for name in REQUIRED if row[f"lacks_{name}"]],
            )
            for row in rows
        ],
    )


def _notes(sums: Sequence[Row]) -> list[str]:
    total = sum(row["accounts"] for row in sums)
    dry = [name for name in REQUIRED_FEEDS if total and sum(row[f"lacks_{name}"] for row in sums) == total]
    notes = ["Gaps are named as in find_accounts' `missing`, which lists the accounts that have one."]
    if dry:
        notes.append(f"No account has {', '.join(REQUIRED_FEEDS[name] for name in dry)}: that feed is not connected.")
    return notes
